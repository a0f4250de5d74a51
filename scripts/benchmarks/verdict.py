"""One verdict: a target beside what was measured."""

from __future__ import annotations

from typing import NamedTuple

from .measure import Measurement

NOT_MEASURED = "not measured"


class Verdict(NamedTuple):
    """One line of the verdict table; `held` is None where nothing was measured."""

    what: str
    target: str
    measured: str
    held: bool | None


def missing(what: str, target: str) -> Verdict:
    """Return the verdict where a figure is not there."""
    return Verdict(what, target, NOT_MEASURED, None)


def cpu_ns(record: Measurement) -> float:
    """Return the CPU time of a record that has one, ns per example."""
    assert record.cpu_ns_per_example is not None
    return record.cpu_ns_per_example
