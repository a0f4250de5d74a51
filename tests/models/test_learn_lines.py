"""Lines are learned as they come; a signal saves and ends."""

import io
import signal
import subprocess
import sys

import pyarrow as pa
import pytest
from waiting import PATIENCE

from wyrm_py.errors import DataError
from wyrm_py.models import FactorizationRecommender
from wyrm_py.models.learn_lines import learn_lines

LEARN = """
import sys
from wyrm_py.models import FactorizationRecommender
from wyrm_py.models.learn_lines import learn_lines

def report(progress):
    print(progress.events, flush=True)

model = FactorizationRecommender(loss="bpr", width=4, random_state=0)
learn_lines(model, sys.stdin.buffer, sys.argv[1], every=100, report=report)
print("end", flush=True)
"""


def test_lines_are_learned_reported_and_saved(tmp_path):
    lines = "".join(f"u{k % 30},i{k % 7}\n" for k in range(1050))
    path = tmp_path / "model.wyrm"
    done = subprocess.run(
        [sys.executable, "-c", LEARN, path], input=lines, text=True, stdout=-1
    )
    reported = [str(100 * k) for k in range(1, 11)]
    assert done.stdout.split() == [*reported, "1050", "end"]
    model = FactorizationRecommender.load(path)
    assert sorted(model.items_.ids) == [f"i{k}" for k in range(7)]
    assert len(model.recommend("u3", n=3).ids) == 3


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_saves_and_has_its_usual_effect(tmp_path, number, code):
    path = tmp_path / "model.wyrm"
    with subprocess.Popen(
        [sys.executable, "-c", LEARN, path],
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True},
        stderr=subprocess.DEVNULL,
    ) as learner:
        learner.stdin.write("".join(f"{k % 30},{k % 7}\n" for k in range(100_000)))
        learner.stdin.flush()
        assert learner.stdout.readline() == "100\n"
        learner.send_signal(number)
        assert learner.wait(timeout=PATIENCE) == code
        assert "end" not in learner.stdout.read()
    assert len(FactorizationRecommender.load(path).items_) == 7


def test_nothing_to_learn_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "m.wyrm"
    path.write_bytes(b"precious")
    with pytest.raises(DataError, match="at least one event"):
        learn_lines(FactorizationRecommender(), io.BytesIO(b""), path)
    assert path.read_bytes() == b"precious"


def test_pyarrow_leaves_signals_alone_meanwhile(monkeypatch):
    """Its readers set handlers of their own for a moment, and lose some signals."""
    calls = []
    monkeypatch.setattr(pa, "enable_signal_handlers", calls.append)
    model = FactorizationRecommender(loss="bpr", width=4, random_state=0)
    lines = iter(["1,2\n", "2,1\n"])
    learn_lines(model, lines, every=2, report=lambda _: calls.append("learned"))
    assert calls == [False, "learned", True]
