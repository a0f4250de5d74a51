"""Sequence recommenders on MovieLens 100K, by the protocol of sbr-rs, one worker.

A fifth of the users is left out; the last item of each of them is ranked, given the
others, which are masked; equal scores count against the model. Ten epochs, width 32.
All figures are means over five splits: one split has some 190 test users, and the
figures of single splits scatter by hundredths.

sbr-rs, for which the figures of one split are known, is not run: EWMA with WARP 0.141,
with hinge loss 0.111, in 0.5 s; LSTM with WARP 0.086 to 0.097 at 32 items, in 3.5 s.
Beside our defaults the table has its settings: Adagrad at 0.16, l2 of 4e-4, 5 tries.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .measure import Measurement, Recorder
from .verdict import Verdict, missing

SPLITS = 5
EPOCHS = 10
SBR = {
    "learning_rate": 0.16,
    "l2": 4e-4,
    "max_tries": 5,
    "initial_scale": 1 / 32,
    "negatives": 1,
}


class Line(NamedTuple):
    """A model, its targets (seconds are of ten epochs), and sbr-rs's figure."""

    title: str
    settings: dict[str, Any]
    mrr: float
    seconds: float | None
    theirs: str


LINES = (
    Line("EWMA, WARP", {"loss": "warp"}, 0.13, 0.2, "0.141 in 0.5 s"),
    Line("EWMA, hinge", {"loss": "hinge"}, 0.11, None, "0.111"),
    Line(
        "LSTM, WARP, 32 items",
        {"model": "lstm", "max_sequence_length": 32},
        0.09,
        1.2,
        "0.086 to 0.097 in 3.5 s",
    ),
    Line(
        "LSTM, WARP, 128 items",
        {"model": "lstm", "max_sequence_length": 128},
        0.10,
        None,
        "above 0.10",
    ),
)


def measure(recorder: Recorder, data: Path, quick: bool) -> None:
    """Record mean reciprocal ranks and the CPU seconds of ten epochs."""
    import wyrm_py as wp

    ratings = wp.data.movielens_100k(data / "ml-100k")
    splits = [
        wp.data.user_split(ratings, 0.2, random_state=k)
        for k in range(1 if quick else SPLITS)
    ]
    for line in LINES:
        _record(recorder, line.title, line.settings, splits)
        if "model" not in line.settings:
            theirs = line.settings | SBR
            _record(recorder, f"{line.title}, sbr-rs's settings", theirs, splits)


def _record(
    recorder: Recorder, title: str, settings: dict[str, Any], splits: list[Any]
) -> None:
    runs = [_run(train, test, settings, k) for k, (train, test) in enumerate(splits)]
    ranks, seconds = zip(*runs, strict=True)
    record = Measurement("sequence", "wyrm_py", {"model": title})
    record.extra = {
        "mrr": round(float(np.mean(ranks)), 4),
        "mrr_error": round(float(np.std(ranks) / np.sqrt(len(ranks))), 4),
        "cpu_s": round(min(seconds), 3),
        "splits": len(splits),
    }
    recorder.add(record)


def _run(
    train: Any, test: Any, settings: dict[str, Any], seed: int
) -> tuple[float, float]:
    """Return the MRR, and the CPU seconds of all epochs, compilation left out."""
    from wyrm_py.models import SequenceRecommender

    marks: list[float] = []
    model = SequenceRecommender(epochs=EPOCHS, random_state=seed, **settings)
    model.fit(train, callbacks=[lambda history: marks.append(time.process_time())])
    after_first = marks[-1] - marks[0]
    return model.score(test), after_first * EPOCHS / (EPOCHS - 1)


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare ranks and seconds with the targets."""
    found = []
    for line in LINES:
        what = f"MovieLens 100K, sequences: {line.title} (sbr-rs, one split: "
        what += f"{line.theirs})"
        limit = "" if line.seconds is None else f", <= {line.seconds:g} s"
        target = f"MRR >= {line.mrr:g}{limit}"
        record = recorder.find("sequence", model=line.title)
        if record is None:
            found.append(missing(what, target))
            continue
        mrr, seconds = record.extra["mrr"], record.extra["cpu_s"]
        measured = f"MRR {mrr:.3f} +- {record.extra['mrr_error']:.3f}, {seconds:.2f} s"
        title = f"{line.title}, sbr-rs's settings"
        if beside := recorder.find("sequence", model=title):
            measured += f" (with sbr-rs's settings {beside.extra['mrr']:.3f})"
        fast = line.seconds is None or seconds <= line.seconds
        found.append(Verdict(what, target, measured, mrr >= line.mrr and fast))
    return found
