"""What each command prints, as text and as JSON, and what it refuses."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import models
from wyrm_py.cli import run
from wyrm_py.data.synthetic import synthetic_ratings

FAST = ["--epochs", "2", "--width", "8", "--jobs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with ratings, a factorisation and a sequence model of them."""
    made = tmp_path_factory.mktemp("commands")
    data = synthetic_ratings(2_000, 60, 80)
    times = np.random.default_rng(0).permutation(len(data))
    rows = zip(data.users, data.items, data.ratings, times, strict=True)
    lines = [
        f"{data.user_ids[u]},{data.item_ids[i]},{r:g},{t}\n" for u, i, r, t in rows
    ]
    made.joinpath("all.csv").write_text("user,item,rating,timestamp\n" + "".join(lines))
    for name, model in (("m", "warp"), ("e", "ewma"), ("s", "squared")):
        output = str(made / f"{name}.wyrm")
        arguments = ["fit", str(made / "all.csv"), "-o", output, "--model", model]
        assert run([*arguments, *FAST]) == 0
    return made


def answer(capsys, *arguments) -> str:
    """Return what a command printed after it went well."""
    capsys.readouterr()
    assert run([str(one) for one in arguments]) == 0
    return capsys.readouterr().out


def record(capsys, *arguments):
    """Return the one JSON object that a command printed."""
    printed = answer(capsys, *arguments, "--json")
    assert printed.count("\n") == 1
    return json.loads(printed)


@pytest.mark.parametrize("file", ["m.wyrm", "e.wyrm"])
def test_recommend_says_what_the_model_says(folder, capsys, file):
    model = models.load(folder / file)
    ids, scores = model.recommend("user3", 4)
    found = record(capsys, "recommend", folder / file, "--user", "user3", "--top", 4)
    assert found["user"] == "user3"
    assert [one["id"] for one in found["items"]] == list(ids)
    assert [one["score"] for one in found["items"]] == pytest.approx(list(scores))
    lines = answer(
        capsys, "recommend", folder / file, "--user", "user3", "--top", 4
    ).splitlines()
    assert [line.split("\t")[0] for line in lines] == list(ids)


@pytest.mark.parametrize("file", ["m.wyrm", "e.wyrm"])
def test_a_new_user_is_known_by_the_items_met(folder, capsys, file):
    model = models.load(folder / file)
    ids, _ = model.recommend_history(["item1", "item5"], 3)
    arguments = ("--item", "item1", "--item", "item5", "--top", 3)
    found = record(capsys, "recommend", folder / file, *arguments)
    assert found["met"] == ["item1", "item5"]
    assert [one["id"] for one in found["items"]] == list(ids)
    assert not {"item1", "item5"} & {one["id"] for one in found["items"]}


def test_similar_prints_neighbours_with_titles(folder, capsys):
    folder.joinpath("titles").write_text("item2|Two\n")
    lines = answer(
        *(capsys, "similar", folder / "m.wyrm", "--item", "item1", "--top", 79),
        *("--titles", folder / "titles"),
    ).splitlines()
    rows = [line.split("\t") for line in lines]
    ids, _ = models.load(folder / "m.wyrm").similar_items("item1", 79)
    assert [row[0] for row in rows] == list(ids)
    assert {row[0]: row[2] for row in rows}["item2"] == "Two"
    users = record(capsys, "similar", folder / "m.wyrm", "--user", "user1")
    assert users["user"] == "user1"
    assert "user1" not in {one["id"] for one in users["items"]}


def test_evaluate_measures_known_users_and_counts_the_others(folder, capsys):
    test = "user,item,rating\n" + "".join(f"user{k},item{k},4\n" for k in range(1, 9))
    folder.joinpath("test.csv").write_text(test + "stranger,item1,5\nuser1,nothing,5\n")
    arguments = ("evaluate", folder / "m.wyrm", folder / "test.csv", "--include-seen")
    found = record(capsys, *arguments)
    assert found["unknown"] == 2
    model = models.load(folder / "m.wyrm")
    pairs = [(f"user{k}", f"item{k}") for k in range(1, 9)]
    measured = model.metrics(
        wp.data.Interactions(*zip(*pairs, strict=True)), exclude_seen=False
    )
    assert found["auc"] == pytest.approx(measured.auc)
    assert found["users"] == 8
    assert "AUC" in answer(capsys, *arguments)


def test_fit_prints_a_record_of_the_run(folder, tmp_path, capsys):
    arguments = ("fit", folder / "all.csv", "-o", tmp_path / "m", *FAST)
    found = record(capsys, *arguments, "--report", tmp_path / "r.html")
    assert found["train"] + found["test"] == 2_000
    assert len(found["losses"]) == found["epochs"] == 2
    assert 0 < found["metrics"]["auc"] < 1
    assert set(found["metrics"]) == set(found["popularity"])
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_report_writes_a_page_from_a_model(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert str(page) in answer(capsys, "report", folder / "m.wyrm", "-o", page)
    HTMLParser().feed(page.read_text())
    history = record(capsys, "report", folder / "m.wyrm")
    assert history["losses"] == pytest.approx(
        models.load(folder / "m.wyrm").history_.losses
    )
    assert f"{history['losses'][-1]:.4g}"[:4] in page.read_text()


def test_verify_tells_a_whole_file_from_a_damaged_one(folder, tmp_path, capsys):
    assert record(capsys, "verify", folder / "m.wyrm")["whole"] is True
    assert "is whole: factorization" in answer(capsys, "verify", folder / "m.wyrm")
    content = bytearray((folder / "m.wyrm").read_bytes())
    content[-9] ^= 1
    (tmp_path / "bad").write_bytes(content)
    assert run(["verify", str(tmp_path / "bad")]) == 1
    assert "damaged" in capsys.readouterr().err


def test_benchmark_prints_speed_and_quality(capsys):
    arguments = ("benchmark", "--ratings", 2000, "--epochs", 1, "--jobs", 1)
    found = record(capsys, *arguments, "--model", "bpr")
    (one,) = found["runs"]
    assert (one["model"], one["workers"]) == ("bpr", 1)
    assert one["examples_per_second"] > 0
    assert 0 < one["auc"] < 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["recommend", "m.wyrm"], 2, "--user or --item"),
        (["recommend", "m.wyrm", "--user", "a", "--item", "b"], 2, "--user or --item"),
        (["recommend", "m.wyrm", "--item", "itemX"], 1, "'itemX'"),
        (["similar", "m.wyrm"], 2, "--item or --user"),
        (["evaluate", "m.wyrm", "nowhere.csv"], 1, "nowhere.csv"),
        (["report", "all.csv"], 1, "all.csv"),
        (["verify", "all.csv"], 1, "all.csv"),
        (["fit", "all.csv", "--model", "ewma", "--report", "no/r.html"], 1, "no"),
        (["verify", "m.wyrm", "--x"], 2, "See `wyrm verify --help`"),
        (["nothing"], 2, "See `wyrm --help`"),
    ],
)
def test_a_mistake_is_one_line(folder, capsys, monkeypatch, arguments, code, message):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert run(arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("wyrm: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err
    assert sorted(folder.iterdir()) == before


def test_every_command_has_help(capsys):
    commands = "fit evaluate recommend similar learn report verify benchmark".split()
    for command in commands:
        shown = answer(capsys, command, "--help")
        assert f"Usage: wyrm {command}" in shown
        assert "--json" in shown


def test_learn_reads_lines_and_goes_on_from_a_model(folder, tmp_path, capsys):
    output = tmp_path / "l.wyrm"
    arguments = ["learn", folder / "all.csv", "-o", output, "--width", 8, "--json"]
    printed = answer(capsys, *arguments, "--every", 800)
    records = [json.loads(line) for line in printed.splitlines()]
    assert len(records) >= 2  # a chunk may go past the mark
    assert records[-1]["events"] == 2000
    assert records[-1]["users"] == 60
    assert all(record["events_per_second"] > 0 for record in records)
    assert len(models.load(output).recommend("user3", 4).ids) == 4
    before = models.load(output).user_vectors_.copy()
    assert "loss" in answer(
        capsys, "learn", folder / "all.csv", "-o", output, "--from", output
    )
    after = models.load(output)
    assert after.user_vectors_.shape == before.shape == (60, 8)
    assert not np.allclose(after.user_vectors_, before)


def test_learn_takes_features_of_the_integer_ids_of_a_model(tmp_path, capsys):
    path, events = tmp_path / "int.wyrm", tmp_path / "events.csv"
    pairs = [(u, i) for u in range(20) for i in range(20) if (u + i) % 3 == 0]
    data = wp.data.Interactions(*zip(*pairs, strict=True))
    model = models.FactorizationRecommender(width=4, epochs=1, random_state=0)
    model.fit(data).save(path)
    events.write_text("user,item\n1,500\n2,501\n30,500\n")
    items, users = tmp_path / "items.csv", tmp_path / "users.csv"
    items.write_text("item,genre\n500,war|drama\n501,war\n3,drama\n")
    users.write_text("user,country\n30,se\n")
    given = ["--item-features", items, "--user-features", users]
    found = record(capsys, "learn", events, "--from", path, "-o", path, *given)
    assert (found["users"], found["items"]) == (21, 22)
    learned = models.load(path)
    assert list(learned.item_features_.names.ids) == ["genre:war", "genre:drama"]
    assert list(learned.user_features_.names.ids) == ["country:se"]
    best = learned.recommend(None, 3, features=[["country:se"]]).ids
    assert best.shape == (1, 3)


def test_text_finds_the_integer_ids_of_a_model(folder, tmp_path, capsys):
    path, events = tmp_path / "int.wyrm", tmp_path / "events.csv"
    pairs = [(u, i) for u in range(20) for i in range(20) if (u + i) % 3 == 0]
    events.write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in pairs))
    data = wp.data.Interactions(*zip(*pairs, strict=True))
    model = models.FactorizationRecommender(width=4, epochs=1, random_state=0)
    model.fit(data).save(path)
    found = record(capsys, "learn", events, "--from", path, "-o", path)
    assert (found["users"], found["items"]) == (20, 20)
    assert record(capsys, "evaluate", path, events, "--include-seen")["unknown"] == 0
    model.partial_fit(data)
    for kind, asked in (("user", "7"), ("item", "9")):
        best = record(capsys, "recommend", path, f"--{kind}", asked, "--top", 3)
        assert all(isinstance(one["id"], int) for one in best["items"])
    hashed = models.FactorizationRecommender(width=4, random_state=0)
    hashed.begin_stream(user_buckets=64).partial_fit(data).save(path)
    best = record(capsys, "recommend", path, "--user", "7", "--top", 3)["items"]
    assert [one["id"] for one in best] == hashed.recommend(7, 3).ids.tolist()
    assert run(["recommend", str(path), "--user", "x"]) == 1
    assert "user 'x' is none: the users are of type int64" in capsys.readouterr().err


def test_learn_goes_on_only_from_a_factorisation(folder, capsys):
    given = ["learn", str(folder / "all.csv"), "--from", str(folder / "e.wyrm")]
    assert run([*given, "-o", str(folder / "m2.wyrm")]) == 1
    assert "SequenceRecommender" in capsys.readouterr().err


def test_models_that_recommend_nothing_are_refused(folder, tmp_path, capsys):
    path = tmp_path / "words.wyrm"
    models.SkipGram(width=4, epochs=1).fit([["a", "b", "c", "a"]] * 20).save(path)
    ratings = str(folder / "all.csv")
    for arguments in (
        ["recommend", str(path), "--user", "a"],
        ["similar", str(path), "--item", "a"],
        ["evaluate", str(path), ratings],
    ):
        assert run(arguments) == 1
        assert "holds a SkipGram, a recommender is required" in capsys.readouterr().err
    assert run(["learn", ratings, "-o", str(path), "--save-every", "-1"]) == 2
