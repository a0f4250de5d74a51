import io
import subprocess
import sys

import pytest
from waiting import PATIENCE

from wyrm_py.progress import Progress, progress_bar

QUIET = """
import sys
from wyrm_py.progress import progress_bar
with progress_bar(True) as move:
    assert move is None
assert not any(name.split(".")[0] == "rich" for name in sys.modules)
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(asked=True):
    with progress_bar(asked) as move:
        if move is not None:
            move(Progress(0, 4, 0, 40, 0.0, float("nan")))
            move(Progress(2, 4, 25, 40, 2_500_000.0, 0.123456))
    return move


def test_bar_shows_epoch_loss_and_speed_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    show()
    text = terminal.getvalue()
    for words in ("epoch 3/4", "62%", "loss 0.12346", "examples/s"):
        assert words in text


def test_bar_is_not_shown_unless_asked_for(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert show(asked=False) is None
    assert terminal.getvalue() == ""


def test_nothing_is_shown_without_a_terminal(capfd):
    assert show() is None
    assert capfd.readouterr() == ("", "")


def test_process_without_stderr_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert show() is None


def test_bar_ends_with_an_exception(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt), progress_bar() as move:
        assert move is not None
        raise KeyboardInterrupt
    show()  # rich would refuse a second live display


def test_rich_is_imported_only_when_shown():
    done = subprocess.run(
        [sys.executable, "-c", QUIET],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
