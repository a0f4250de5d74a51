"""The command line trains, recommends, and answers mistakes with one clear line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from waiting import PATIENCE

from wyrm_py.cli import run
from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.models import FactorizationRecommender

DATA = Path(__file__).parents[1] / "../shared/data/ml-100k"
FAST = ["--epochs", "2", "--width", "8", "--jobs", "1"]


@pytest.fixture(scope="module")
def table() -> str:
    """Return ratings as tab-separated text."""
    data = synthetic_ratings(2_000, 60, 80)
    rows = zip(data.users, data.items, data.ratings, strict=True)
    return "".join(
        f"{data.user_ids[u]}\t{data.item_ids[i]}\t{r:g}\t0\n" for u, i, r in rows
    )


@pytest.fixture(scope="module")
def model(table, tmp_path_factory) -> Path:
    """Return a model trained by the command."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "r.data").write_text(table)
    output = folder / "m.wyrm"
    assert run(["fit", str(folder / "r.data"), *FAST, "--output", str(output)]) == 0
    return output


def lines_of(capsys) -> list[list[str]]:
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("loss", ["bpr", "warp", "logistic"])
def test_fit_prints_a_table_and_saves_the_model(loss, table, tmp_path, capsys):
    (tmp_path / "r").write_text(table)
    output = tmp_path / "out.wyrm"
    arguments = ["fit", str(tmp_path / "r"), "--model", loss, "-o", str(output), *FAST]
    assert run([*arguments, "--positive-from", "3"]) == 0
    shown = capsys.readouterr()
    for part in ("AUC", "precision@10", "recall@10", "MRR", "NDCG@10", "popularity"):
        assert part in shown.out
    assert "examples/s" in shown.out
    assert "without the test ratings" in shown.out
    assert shown.out.isprintable() or not set(shown.out) & set("\x1b\r\b")
    loaded = FactorizationRecommender.load(output)
    assert (loaded.loss, loaded.width, loaded.epochs) == (loss, 8, 2)


def test_without_ratings_synthetic_ones_are_made(tmp_path, capsys):
    output = tmp_path / "m"
    assert run(["fit", "--epochs", "1", "--jobs", "1", "-o", str(output)]) == 0
    shown = capsys.readouterr()
    assert "100,000 ratings of 2,000 users for 1,500 items" in shown.out
    assert "planted tastes" in shown.err


def test_recommend_prints_unseen_items_best_first(model, table, capsys):
    assert run(["recommend", str(model), "--user", "user7", "--top", "5"]) == 0
    rows = lines_of(capsys)
    assert [len(row) for row in rows] == [2] * 5
    scores = [float(score) for _, score in rows]
    assert scores == sorted(scores, reverse=True)
    loaded = FactorizationRecommender.load(model)
    (begin, end), met = loaded.seen_.of_users(loaded.users_.codes(["user7"]))
    seen = set(loaded.items_.take(met[begin:end]))
    assert seen
    assert seen.isdisjoint(item for item, _ in rows)


def test_include_seen_ranks_every_item(model, capsys):
    arguments = ["recommend", str(model), "--user", "user7", "--top", "1000"]
    assert run(arguments) == 0
    unseen = lines_of(capsys)
    assert run([*arguments, "--include-seen"]) == 0
    everything = lines_of(capsys)
    assert len(everything) == 80
    assert [row for row in everything if row in unseen] == unseen


def test_titles_stand_beside_the_ids(model, tmp_path, capsys):
    (tmp_path / "t").write_bytes("item1|Café\nitem2|x\n".encode("latin-1"))
    arguments = ["recommend", str(model), "--user", "user1", "--top", "80"]
    assert run([*arguments, "--include-seen", "--titles", str(tmp_path / "t")]) == 0
    titles = {row[0]: row[2] for row in lines_of(capsys)}
    assert titles["item1"] == "Café"
    assert titles["item3"] == "?"


def test_columns_can_be_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    who, what = rng.integers(0, 9, 200), rng.integers(0, 30, 200)
    pq.write_table(pa.table({"what": what, "who": who}), tmp_path / "r.parquet")
    arguments = ["fit", str(tmp_path / "r.parquet"), "-o", str(tmp_path / "m"), *FAST]
    assert run(arguments) == 1
    assert "the columns are 'what', 'who'" in capsys.readouterr().err
    assert run([*arguments, "--user-column", "who", "--item-column", "0"]) == 0
    assert FactorizationRecommender.load(tmp_path / "m").users_.ids.dtype.kind == "i"
    capsys.readouterr()
    assert run(["recommend", str(tmp_path / "m"), "--user", "3", "--top", "1"]) == 0


def test_movielens_is_learned(tmp_path, capsys):
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    output = str(tmp_path / "m")
    arguments = ["fit", str(DATA / "u.data.gz"), "--positive-from", "4", "-o", output]
    assert run([*arguments, "--epochs", "5", "--jobs", "1"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (warp,) = (row[1:] for row in rows if row[:1] == ["warp"])
    (popular,) = (row[1:] for row in rows if row[:1] == ["popularity"])
    assert float(warp[0]) > 0.9
    assert all(float(a) > float(b) for a, b in zip(warp, popular, strict=True))
    titles = ["--titles", str(DATA / "u.item.gz")]
    assert run(["recommend", output, "--user", "196", *titles]) == 0
    shown = lines_of(capsys)
    assert len(shown) == 10
    assert all(len(row) == 3 and row[2] != "?" for row in shown)


MISTAKES = [
    (["fit", "nowhere.csv"], 1, "no such file"),
    (["fit", "bad.csv"], 1, "bad.csv, line 3: "),
    (["fit", "good.csv", "--rating-column", "points"], 1, "no column 'points'"),
    (["fit", "good.csv", "--positive-from", "9"], 1, "no rating reaches 9"),
    (["fit", "good.csv", "--test-share", "2"], 2, "test_share"),
    (["fit", "good.csv", "--model", "best"], 2, "--model"),
    (["fit", "good.csv", "--width", "0"], 2, "--width"),
    (["fit", "good.csv", "--jobs", "0"], 2, "n_jobs"),
    (["fit", "good.csv", "--learning-rate", "-1"], 2, "learning_rate"),
    (
        ["fit", "good.csv", "--model", "bpr", "--learning-rate", "1e30"],
        1,
        "Lower the learning rate",
    ),
    (["fit", "good.csv", "--output", "no/such/folder/m"], 1, "no/such/folder"),
    (["fit", "good.csv", "--colour"], 2, "--colour"),
    (["recommend", "nowhere.wyrm", "--user", "1"], 1, "nowhere.wyrm"),
    (["recommend", "good.csv", "--user", "1"], 1, "good.csv"),
    (["recommend", "MODEL", "--user", "user99x"], 1, "'user99x' is not among"),
    (["recommend", "MODEL"], 2, "--user"),
    (["recommend", "MODEL", "--user", "user1", "--top", "0"], 2, "--top"),
    (["recommend", "MODEL", "--user", "user1", "--titles", "no"], 1, "no such file"),
    (["forecast"], 2, "forecast"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_an_exit_code(
    arguments, code, message, model, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text("user,item,rating\n" + "a,x,5\nb,y,4\nc,z,3\nb,x,4\n")
    Path("bad.csv").write_text("user,item,rating\na,x,5\nb,y\na,y,3\nb,x,5\n")
    given = [str(model) if word == "MODEL" else word for word in arguments]
    assert run(given) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("wyrm: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "good.csv"]


def test_help_and_version_are_fine(capsys):
    for arguments in (["--help"], ["fit", "--help"], ["recommend", "--help"]):
        assert run(arguments) == 0
        assert "Usage: wyrm" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("wyrm 0.")


def command(*arguments: str | Path) -> list[str]:
    start = "import sys; from wyrm_py.cli import main; main()"
    return [sys.executable, "-c", start, *map(str, arguments)]


TELLS = """
import sys
from wyrm_py.cli import main
from wyrm_py.parallel.tally import Tally

def end_epoch(self, *sums):
    if self.epoch == 0:
        print("an epoch is done", file=sys.stderr, flush=True)
    return plain(self, *sums)

plain, Tally.end_epoch = Tally.end_epoch, end_epoch
main()
"""


def test_ctrl_c_ends_with_130_and_no_model(tmp_path):
    output = tmp_path / "m"
    arguments = ["fit", "--epochs", "100000", "--output", str(output)]
    with subprocess.Popen(
        [sys.executable, "-c", TELLS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stderr is not None
        assert "planted tastes" in process.stderr.readline()
        assert process.stderr.readline() == "an epoch is done\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == "wyrm: interrupted; nothing was saved.\n"
    assert out == ""
    assert not output.exists()


def test_a_reader_that_stops_early_is_no_error(model):
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ("recommend", model, "--user", "user1", "--top", "80")
    with os.fdopen(writer, "wb") as closed:
        process = subprocess.run(
            command(*arguments), stdout=closed, stderr=subprocess.PIPE, text=True
        )
    assert process.stderr == ""
    assert process.returncode == 0
