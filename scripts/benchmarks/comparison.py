"""BPR matrix factorisation: wyrm_py, the hand-fused loop and the peers side by side.

The systems take turns, so that a slow minute of the machine hits all of them alike, and
every one trains the same positives for the same number of epochs before it is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .datasets import Dataset
from .hand_fused import HandFused
from .measure import Measurement, Recorder, per_example, summarise
from .peers import Implicit, LightFM, System, Torch
from .quality import Quality, judge, popularity
from .wyrm import Wyrm

Factory = Callable[[], System]


def compare(
    name: str,
    dataset: Dataset,
    factories: Sequence[Factory],
    recorder: Recorder,
    *,
    epochs: int,
    rounds: int,
    chunk: int,
) -> None:
    """Train every system `rounds` times in turn and record one measurement each.

    Parameters
    ----------
    epochs : epochs of each training; the first counts as warm-up and is not timed.
    chunk : epochs that make one reading.
    """
    results = [_Result(factory) for factory in factories]
    for turn in range(rounds):
        for result in results:
            result.train(dataset, epochs, turn, chunk)
    for result in results:
        recorder.add(result.measurement(name, epochs))


class _Result:
    """What one system has shown so far, over all its turns."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._readings: list[tuple[float, float]] = []
        self._judged: list[Quality] = []
        self._seconds: list[float] = []
        self._others: list[float] = []
        self._failure: str | None = None

    def train(self, dataset: Dataset, epochs: int, turn: int, chunk: int) -> None:
        """Train and judge a new model; a failure ends this system's turns."""
        if self._failure is not None:
            return
        try:
            system = self._factory()
            if turn == 0:
                system.train(dataset, 1, seed=0)
            marks = system.train(dataset, epochs, seed=turn + 1)
            scores = system.scores()
        except Exception as error:
            # one system that fails must not cost the figures of the others
            self._failure = f"{type(error).__name__}: {error}".splitlines()[0]
            return
        self._readings += per_example(marks[1:], system.examples(dataset), chunk)
        self._seconds.append((marks[-1].wall - marks[0].wall) / 1e9)
        self._others.append((marks[-1] - marks[1]).others())
        if scores is not None:
            self._judged.append(judge(scores, dataset))

    def measurement(self, name: str, epochs: int) -> Measurement:
        """Return the record: medians of the times, means of the qualities."""
        system = self._factory()
        record = Measurement(name, system.system, system.config)
        if self._failure is not None:
            record.failure = self._failure
            return record
        record.timed(summarise(self._readings))
        seconds = round(float(np.median(self._seconds)), 3)
        others = round(float(np.median(self._others)), 2)
        record.extra = {
            "epochs": epochs,
            "train_seconds": seconds,
            "cores_held_by_others": others,
        }
        if self._judged:
            auc, precision = np.mean(self._judged, axis=0)
            record.auc = round(float(auc), 4)
            record.precision_at_10 = round(float(precision), 4)
        return record


def baseline(name: str, dataset: Dataset, recorder: Recorder) -> None:
    """Record how well plain popularity does."""
    quality = popularity(dataset)
    recorder.add(
        Measurement(
            name,
            "popularity",
            {},
            auc=round(quality.auc, 4),
            precision_at_10=round(quality.precision_at_10, 4),
        )
    )


def movielens(dataset: Dataset, recorder: Recorder, quick: bool) -> None:
    """MovieLens 100K, width 32."""
    baseline("movielens", dataset, recorder)
    fast: list[Factory] = [
        lambda: HandFused("adagrad", ahead=False),
        lambda: Wyrm("adagrad"),
        lambda: Wyrm("adagrad", negatives="uniform, unknown"),
        lambda: Wyrm("adagrad", negatives="popular, unknown"),
        lambda: HandFused("sgd", ahead=False),
        lambda: Wyrm("sgd"),
        lambda: Wyrm("adagrad", jobs=2, backend="processes"),
        lambda: Wyrm("adagrad", jobs=2, backend="threads"),
        lambda: Implicit(1),
        lambda: Implicit(2),
        lambda: LightFM(1),
        lambda: LightFM(2),
    ]
    compare(
        "movielens",
        dataset,
        fast,
        recorder,
        epochs=9 if quick else 21,
        rounds=1 if quick else 5,
        chunk=4,
    )
    slow: list[Factory] = [
        lambda: Wyrm("adagrad", engine="numpy", limit=500 if quick else 2000),
        lambda: Torch("adagrad", 1, steps=200),
        lambda: Torch("sgd", 1, steps=200),
    ]
    compare("movielens", dataset, slow, recorder, epochs=6, rounds=1, chunk=1)
    batches: list[Factory] = [
        lambda: Torch("adagrad", 256, steps=None),
        lambda: Torch("sgd", 256, steps=None),
    ]
    epochs = 3 if quick else 21
    compare("movielens", dataset, batches, recorder, epochs=epochs, rounds=1, chunk=1)


def synthetic(dataset: Dataset, recorder: Recorder, quick: bool) -> None:
    """100,000 users, 50,000 items, width 64: tables beyond the caches."""
    baseline("synthetic", dataset, recorder)
    fast: list[Factory] = [
        lambda: HandFused("adagrad", ahead=False, learning_rate=0.1),
        lambda: HandFused("adagrad", ahead=True, learning_rate=0.1),
        lambda: Wyrm("adagrad"),
        lambda: Wyrm("adagrad", negatives="popular, unknown"),
        lambda: Wyrm("adagrad", jobs=2, backend="processes"),
        lambda: Wyrm("adagrad", jobs=2, backend="threads"),
        lambda: HandFused("sgd", ahead=False, learning_rate=0.1),
        lambda: HandFused("sgd", ahead=True, learning_rate=0.1),
        lambda: Wyrm("sgd"),
        lambda: Wyrm("sgd", jobs=2, backend="processes"),
        lambda: Wyrm("sgd", jobs=2, backend="threads"),
    ]
    epochs = 3 if quick else 4
    rounds = 1 if quick else 2
    compare("synthetic", dataset, fast, recorder, epochs=epochs, rounds=rounds, chunk=1)
    peers: list[Factory] = [
        lambda: Implicit(1),
        lambda: Implicit(2),
        lambda: LightFM(1),
        lambda: LightFM(2),
    ]
    compare("synthetic", dataset, peers, recorder, epochs=epochs, rounds=1, chunk=1)
    slow: list[Factory] = [
        lambda: Torch("adagrad", 1, steps=20),
        lambda: Torch("adagrad", 256, steps=20),
        lambda: Torch("sgd", 256, steps=20),
    ]
    compare("synthetic", dataset, slow, recorder, epochs=4, rounds=1, chunk=1)


def warp(dataset: Dataset, recorder: Recorder, quick: bool) -> None:
    """WARP on MovieLens 100K, ten epochs; the seconds are those of the whole `fit`."""
    factories: list[Factory] = [
        lambda: Wyrm("adagrad", negatives="warp"),
        lambda: Wyrm("adagrad", jobs=2, negatives="warp"),
        lambda: LightFM(1, loss="warp"),
    ]
    rounds = 1 if quick else 3
    compare("warp", dataset, factories, recorder, epochs=10, rounds=rounds, chunk=3)
