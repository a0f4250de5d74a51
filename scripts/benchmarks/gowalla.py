"""Gowalla's check-ins, LightGCN's split: trained on train and valid, tested on test.

WARP on two cores, beside LightFM's with its own defaults and as many epochs. The time
is that of the whole training call; where other programs hold the cores, the CPU time of
both threads is halved: what two idle cores would take.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from .measure import Mark, Measurement, Recorder, mark
from .verdict import Verdict, missing

NAME = "gowalla"
USERS, ITEMS = 29_858, 40_981
WIDTH, EPOCHS, TOP = 64, 12, 20
RECALL, SECONDS = 0.155, 60.0


def read(folder: Path, *parts: str) -> Any:
    """Return the check-ins of some parts as a CSR matrix of users and items."""
    users, items = [], []
    for part in parts:
        with gzip.open(folder / f"{part}.txt.gz", "rt") as lines:
            for line in lines:
                user, *met = map(int, line.split())
                users += [user] * len(met)
                items += met
    places = np.array(users, np.int32), np.array(items, np.int32)
    ones = np.ones(len(users), np.float32)
    return sparse.csr_array((ones, places), shape=(USERS, ITEMS))


def measure(recorder: Recorder, data: Path, quick: bool) -> None:
    """Train both systems, and record recall at 20 and the time of training."""
    folder = data / "gowalla-lightgcn"
    train, test = read(folder, "train", "valid"), read(folder, "test")
    epochs = 2 if quick else EPOCHS
    for system, run in (("FactorizationRecommender", _ours), ("LightFM", _lightfm)):
        record = Measurement(
            f"{NAME}-quick" if quick else NAME, system, {"workers": 2, "width": WIDTH}
        )
        try:
            vectors, spent = run(train, epochs)
            record.extra = _judged(vectors, spent, train, test)
        except Exception as error:
            record.failure = f"{type(error).__name__}: {error}".splitlines()[0]
        recorder.add(record)


def _ours(train: Any, epochs: int) -> tuple[tuple[Any, ...], Mark]:
    from wyrm_py.models import FactorizationRecommender

    settings = {"width": WIDTH, "l2": 0.4, "max_tries": 100}
    warm = FactorizationRecommender(epochs=0, n_jobs=2, **settings)
    warm.fit(train[:100])  # compiles the step
    model = FactorizationRecommender(
        epochs=epochs, n_jobs=2, random_state=0, **settings
    )
    before = mark()
    model.fit(train)
    spent = mark() - before
    return (model.user_vectors_, model.item_vectors_, model.item_biases_), spent


def _lightfm(train: Any, epochs: int) -> tuple[tuple[Any, ...], Mark]:
    from lightfm import LightFM

    model = LightFM(WIDTH, loss="warp", random_state=0)
    before = mark()
    model.fit(sparse.coo_matrix(train), epochs=epochs, num_threads=2)
    spent = mark() - before
    return (model.user_embeddings, model.item_embeddings, model.item_biases), spent


def _judged(
    vectors: tuple[Any, ...], spent: Mark, train: Any, test: Any
) -> dict[str, float]:
    from wyrm_py.evaluation import ranking_metrics

    users, items, biases = vectors
    found = ranking_metrics(users, items, train, test, biases, top=TOP)
    return {
        "recall_at_20": round(found.recall, 4),
        "ndcg_at_20": round(found.ndcg, 4),
        "epochs": EPOCHS,
        "wall_s": round(spent.wall / 1e9, 1),
        "cpu_s": round(spent.cpu / 1e9, 1),
        "cores_held_by_others": round(spent.others(), 2),
    }


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare recall and time with what is asked for."""
    what = f"Gowalla, WARP, width {WIDTH}, two cores"
    target = f"Recall@{TOP} >= {RECALL} within {SECONDS:g} s"
    ours = recorder.find(NAME, "FactorizationRecommender")
    theirs = recorder.find(NAME, "LightFM")
    if ours is None:
        return [missing(what, target)]
    busy = ours.extra["cores_held_by_others"] > 0.05
    seconds = ours.extra["cpu_s"] / 2 if busy else ours.extra["wall_s"]
    recall = ours.extra["recall_at_20"]
    measured = f"{recall:.4f} in {seconds:.1f} s"
    if busy:
        measured += " (half the CPU time: others held the cores)"
    if theirs is not None:
        found, spent = theirs.extra["recall_at_20"], theirs.extra["cpu_s"] / 2
        measured += f"; LightFM {found:.4f} in {spent:.1f} s (half the CPU time)"
    held = recall >= RECALL and seconds <= SECONDS
    return [Verdict(what, target, measured, held)]
