"""The recommender beside LightFM on MovieLens 100K: how fast, and how good.

Both train WARP at width 32: on the `ua` split (ratings of 4 and 5, ten epochs), where
they are timed too, and on random 80/20 splits of all ratings (each a positive, thirty
epochs). Explicit ratings are predicted on `ua`; LightFM has no such loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import comparison, datasets
from .datasets import Dataset
from .measure import Mark, Measurement, Recorder, mark
from .peers import LightFM
from .quality import Scores
from .verdict import Verdict, cpu_ns, missing

NAME, RANDOM, EXPLICIT = "recommenders", "recommenders-random", "recommenders-explicit"
SPLITS = 3
LEAST = {"AUC": 0.935, "P@10": 0.335, "MRR": 0.63}
"""What WARP must come to on the random splits."""


class Recommender:
    """`FactorizationRecommender` as it is."""

    system = "FactorizationRecommender"

    def __init__(self, threads: int, loss: str = "warp") -> None:
        self.config = {"loss": loss, "workers": threads}
        self._settings = {"loss": loss, "n_jobs": threads}
        self.model: Any = None

    def train(self, dataset: Dataset, epochs: int, seed: int) -> list[Mark]:
        """Run one `fit`; a callback gives the marks of the epochs."""
        from wyrm_py.data import Interactions
        from wyrm_py.models import FactorizationRecommender

        ids = {"user_ids": np.arange(dataset.n_users)}
        ids["item_ids"] = np.arange(dataset.n_items)
        self.model = FactorizationRecommender(
            width=dataset.width, epochs=epochs, random_state=seed, **self._settings
        )
        marks = [mark()]
        self.model.fit(
            Interactions.from_codes(*dataset.columns(), **ids),
            callbacks=[lambda _: marks.append(mark())],
        )
        return marks

    def examples(self, dataset: Dataset) -> int:
        """Return the examples between two marks."""
        return dataset.examples

    def scores(self) -> Scores:
        """Return what ranks a user's items; the user's own bias does not."""
        model = self.model
        users, items, biases = (
            model.user_vectors_,
            model.item_vectors_,
            model.item_biases_,
        )
        return lambda block: np.asarray(users[block] @ items.T + biases, np.float32)


def measure(recorder: Recorder, data: Path, quick: bool) -> None:
    """Record speed and quality on `ua`, and quality on random splits."""
    folder = data / "ml-100k"
    comparison.compare(
        NAME,
        datasets.movielens(folder),
        [
            lambda: Recommender(1),
            lambda: LightFM(1, loss="warp"),
            lambda: Recommender(2),
            lambda: LightFM(2, loss="warp"),
        ],
        recorder,
        epochs=10,
        rounds=2 if quick else 7,
        chunk=3,
    )
    _random_splits(recorder, folder)
    _explicit(recorder, folder)


def _random_splits(recorder: Recorder, folder: Path) -> None:
    """Record means over three splits, with one ruler for both systems."""
    from wyrm_py.data import read_ratings
    from wyrm_py.data.split import random_split
    from wyrm_py.evaluation import ranking_metrics

    ratings = read_ratings(folder / "u.data.gz")
    for make in (lambda: Recommender(1), lambda: LightFM(1, loss="warp")):
        found, name, failure = [], make().system, None
        for seed in range(SPLITS):
            train, test = random_split(ratings, 0.2, seed)
            dataset = Dataset("movielens", 32, train.csr(), test.csr())
            system: Any = make()
            try:
                system.train(dataset, epochs=30, seed=seed)
            except Exception as error:
                failure = f"{type(error).__name__}: {error}".splitlines()[0]
                break
            vectors = _vectors(system)
            judged = ranking_metrics(*vectors[:2], train.csr(), test.csr(), vectors[2])
            found.append((judged.auc, judged.precision, judged.mrr))
        record = Measurement(RANDOM, name, {"splits": SPLITS}, failure=failure)
        if failure is None:
            means = np.mean(found, axis=0).round(4).tolist()
            record.extra = dict(zip(LEAST, means, strict=True))
        recorder.add(record)


def _vectors(system: Any) -> tuple[Any, Any, Any]:
    if isinstance(system, Recommender):
        model = system.model
        return model.user_vectors_, model.item_vectors_, model.item_biases_
    model = system._model
    return model.user_embeddings, model.item_embeddings, model.item_biases


def _explicit(recorder: Recorder, folder: Path) -> None:
    """Record the RMSE of predicted ratings on `ua`."""
    from wyrm_py.data import read_ratings
    from wyrm_py.models import FactorizationRecommender

    train, test = (read_ratings(folder / f"ua.{part}.gz") for part in ("base", "test"))
    found = [
        -FactorizationRecommender("squared", random_state=seed).fit(train).score(test)
        for seed in range(SPLITS)
    ]
    record = Measurement(EXPLICIT, Recommender.system, {"loss": "squared"})
    record.extra = {"RMSE": round(float(np.mean(found)), 4)}
    recorder.add(record)


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare with LightFM and with what is asked for."""
    return [*_on_ua(recorder), *_on_random_splits(recorder), _of_ratings(recorder)]


def _on_ua(recorder: Recorder) -> list[Verdict]:
    found = []
    for threads in (1, 2):
        ours = recorder.find(NAME, Recommender.system, workers=threads)
        theirs = recorder.find(NAME, "LightFM", workers=threads)
        speed = f"recommender, WARP on MovieLens 100K, {threads} thread(s): examples/s"
        rank = f"recommender, WARP on MovieLens 100K, {threads} thread(s): ranking"
        fast, good = ">= 6x LightFM's", "AUC >= 0.92, P@10 above LightFM's"
        if ours is None or theirs is None:
            found += [missing(speed, fast), missing(rank, good)]
            continue
        ratio = cpu_ns(theirs) / cpu_ns(ours)
        times = f"{ratio:.1f}x ({cpu_ns(ours):.0f} ns, {cpu_ns(theirs):.0f} ns)"
        found.append(Verdict(speed, fast, times, ratio >= 6))
        assert ours.auc and ours.precision_at_10 and theirs.precision_at_10
        measured = (
            f"AUC {ours.auc:.3f} (LightFM {theirs.auc:.3f}), "
            f"P@10 {ours.precision_at_10:.4f} (LightFM {theirs.precision_at_10:.4f})"
        )
        held = ours.auc >= 0.92 and ours.precision_at_10 > theirs.precision_at_10
        found.append(Verdict(rank, good, measured, held))
    return found


def _on_random_splits(recorder: Recorder) -> list[Verdict]:
    what = "recommender, WARP on random splits of MovieLens 100K, 30 epochs"
    target = ", ".join(f"{name} >= {least}" for name, least in LEAST.items())
    ours = recorder.find(RANDOM, Recommender.system)
    theirs = recorder.find(RANDOM, "LightFM")
    if ours is None:
        return [missing(what, target)]
    measured = ", ".join(f"{name} {ours.extra[name]:.4f}" for name in LEAST)
    if theirs is not None:
        figures = ", ".join(f"{theirs.extra[name]:.4f}" for name in LEAST)
        measured += f" (LightFM {figures})"
    held = all(ours.extra[name] >= least for name, least in LEAST.items())
    return [Verdict(what, target, measured, held)]


def _of_ratings(recorder: Recorder) -> Verdict:
    what, target = "recommender, explicit ratings of MovieLens 100K", "RMSE <= 0.93"
    ours = recorder.find(EXPLICIT, Recommender.system)
    if ours is None:
        return missing(what, target)
    error = ours.extra["RMSE"]
    return Verdict(what, target, f"RMSE {error:.4f}", error <= 0.93)
