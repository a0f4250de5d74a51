"""Systems that train one and the same network take turns and are recorded.

As in `comparison`, a slow minute of the machine hits all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .measure import Mark, Measurement, Recorder, mark, per_example, summarise


class Contender(Protocol):
    """A network with its training loop in one system."""

    system: str
    config: dict[str, Any]

    def marks(self, passes: int) -> list[Mark]:
        """Train; the readings at the start and after each pass. The first warms up."""

    @property
    def examples(self) -> int:
        """Training examples in a pass."""


class _Turns(NamedTuple):
    contender: Contender
    readings: list[tuple[float, float]]
    others: list[float]


def take_turns(
    name: str,
    factories: Sequence[type[Contender]],
    recorder: Recorder,
    *,
    rounds: int,
    passes: int,
) -> None:
    """Train every system `rounds` times in turn and record one measurement each.

    Parameters
    ----------
    factories : each builds a system; one that fails costs only its own figures.
    passes : timed passes of each turn; one more warms up.
    """
    turns = []
    for factory in factories:
        try:
            turns.append(_Turns(factory(), [], []))
        except Exception as error:
            recorder.add(_failed(name, factory.system, {}, error))
    for _ in range(rounds):
        for turn in list(turns):
            contender = turn.contender
            try:
                marks = contender.marks(passes + 1)[1:]
            except Exception as error:
                config = contender.config
                recorder.add(_failed(name, contender.system, config, error))
                turns.remove(turn)
                continue
            turn.readings.extend(per_example(marks, contender.examples))
            turn.others.append((marks[-1] - marks[0]).others())
    for contender, readings, others in turns:
        record = Measurement(name, contender.system, contender.config)
        record.timed(summarise(readings))
        record.extra["cores_held_by_others"] = round(float(np.median(others)), 2)
        recorder.add(record)


def _failed(
    name: str, system: str, config: dict[str, Any], error: Exception
) -> Measurement:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return Measurement(name, system, config, failure=reason)


def marked(body: Callable[[], object], passes: int) -> list[Mark]:
    """Run a pass after another; the readings at the start and after each."""
    marks = [mark()]
    for _ in range(passes):
        body()
        marks.append(mark())
    return marks
