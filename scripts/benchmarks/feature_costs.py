"""What features cost in training: WARP with more and more of them on MovieLens 100K.

A user and an item sum as many rows as they have stored feature values, beside a row
of their own; so an example without features reads three rows of vectors, and training
may slow down in proportion to the rows, at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from . import datasets
from .measure import Measurement, Recorder, mark, per_example, summarise
from .verdict import Verdict, missing

NAME = "features"
COUNTS = (0, 1, 2, 4, 8, 16)
"""Stored values of each user, and of each item."""
POOL = 200
"""Different features to have."""
EPOCHS = 7


def features(rows: int, count: int, seed: int) -> Any:
    """Return `count` different random features for each row."""
    rng = np.random.default_rng(seed)
    picked = np.argpartition(rng.random((rows, POOL)), count, axis=1)[:, :count]
    starts = np.arange(rows + 1) * count
    values = np.full(rows * count, 1.0 / count, np.float32)
    return sparse.csr_array((values, picked.ravel(), starts), (rows, POOL))


def measure(recorder: Recorder, data: Path, quick: bool) -> None:
    """Train in turns with each number of features, and record the times."""
    from wyrm_py.data import Interactions
    from wyrm_py.models import FactorizationRecommender

    dataset = datasets.movielens(data / "ml-100k")
    ids = {"user_ids": np.arange(dataset.n_users)}
    ids["item_ids"] = np.arange(dataset.n_items)
    interactions = Interactions.from_codes(*dataset.columns(), **ids)
    readings: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for turn in range(1 if quick else 5):
        for loss in ("warp", "bpr"):
            for count in COUNTS:
                given: dict[str, Any] = {}
                if count:
                    given["user_features"] = features(dataset.n_users, count, 1)
                    given["item_features"] = features(dataset.n_items, count, 2)
                marks = [mark()]
                model = FactorizationRecommender(loss, epochs=EPOCHS, random_state=turn)
                model.fit(
                    interactions,
                    callbacks=[lambda _, marks=marks: marks.append(mark())],
                    **given,
                )
                found = per_example(marks[1:], dataset.examples, 3)
                readings.setdefault((loss, count), []).extend(found)
    for (loss, count), times in readings.items():
        record = Measurement(NAME, "wyrm_py", {"loss": loss, "features": count})
        recorder.add(record.timed(summarise(times)))


def _best(record: Measurement) -> float:
    """Return the least CPU time: other programs only ever slow one down."""
    assert record.cpu_best is not None
    return record.cpu_best


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare the slowdown with the rows that are read and written."""
    found = []
    for loss in ("warp", "bpr"):
        what = f"{loss} with features: slowdown against rows summed"
        target = "slowdown <= 1 + features"
        plain = recorder.find(NAME, "wyrm_py", loss=loss, features=0)
        if plain is None:
            found.append(missing(what, target))
            continue
        slower = {}
        for count in COUNTS[1:]:
            record = recorder.find(NAME, "wyrm_py", loss=loss, features=count)
            if record is not None:
                slower[count] = _best(record) / _best(plain)
        measured = ", ".join(f"{k} features {v:.1f}x" for k, v in slower.items())
        held = all(times <= 1 + count for count, times in slower.items())
        found.append(Verdict(what, target, measured, held))
    return found
