"""Fills the History of a run from what its driver counts."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from wyrm_py.machine import describe_machine
from wyrm_py.parallel.history import History, Unfinished
from wyrm_py.parallel.page import Done
from wyrm_py.parallel.rates import Rates
from wyrm_py.parallel.tally import BlockReport
from wyrm_py.parallel.tasks import Blocks


class Recording:
    """A run's History while it grows.

    Parameters
    ----------
    before : History that the run goes on from; stays as it is
    settings : what `fit` was called with
    """

    def __init__(
        self,
        before: History,
        report: BlockReport,
        rates: Rates,
        blocks: Blocks,
        settings: dict[str, Any],
    ) -> None:
        self._before, self._report = before, report
        self._rates, self._blocks = rates, blocks
        self.history = copy.deepcopy(before)
        self.history.settings = settings
        self.history.machine = describe_machine()
        self.history.started = before.started or datetime.now(UTC).isoformat(
            timespec="seconds"
        )
        self._examples = before.samples_per_second * before.seconds
        self._carried = 0.0  # seconds of the epoch that was under way
        if before.unfinished is not None:
            self._examples -= sum(map(blocks.length, before.unfinished.blocks))
            self._carried = before.seconds - sum(before.epoch_seconds)

    def update(self) -> None:
        """Write what the run has come to, with all complete epochs."""
        history, before, report = self.history, self._before, self._report
        epochs, done = len(before.losses), len(report.losses)
        history.losses[:] = before.losses + report.losses
        history.seconds = before.seconds + report.seconds
        history.workers = report.workers
        if history.seconds > 0:
            examples = self._examples + report.examples
            history.samples_per_second = examples / history.seconds
        seconds = [*report.epoch_seconds]
        if seconds:
            seconds[0] += self._carried
            history.unfinished = None
        history.epoch_seconds[:] = [*_padded(before.epoch_seconds, epochs), *seconds]
        known = max(epochs, len(history.learning_rates))
        history.learning_rates[:] = [
            *_padded(history.learning_rates, known),
            *(self._rates.learning_rate(k, 0) for k in range(known, epochs + done)),
        ]
        history.worker_examples[:] = _added(
            before.worker_examples, report.worker_examples
        )
        history.worker_seconds[:] = _added(before.worker_seconds, report.worker_seconds)

    def at(self, done: Done) -> History:
        """Return a copy in the middle of an epoch, of which some blocks are done."""
        self.update()
        history = copy.deepcopy(self.history)
        if done:
            examples = history.samples_per_second * history.seconds
            examples += sum(weight for _, weight in done.values())
            history.samples_per_second = examples / (history.seconds or 1.0)
            history.unfinished = Unfinished(
                self._blocks.total,
                self._blocks.size,
                list(done),
                [loss for loss, _ in done.values()],
            )
        return history


def restored(unfinished: Unfinished | None, blocks: Blocks) -> Done:
    """Return the blocks that are not to be done again."""
    if unfinished is None:
        return {}
    pairs = zip(unfinished.blocks, unfinished.losses, strict=True)
    return {block: (loss, blocks.length(block)) for block, loss in pairs}


def _padded(values: Sequence[float], count: int) -> list[float]:
    """Return values of all epochs; those that an older file lacks are NaN."""
    return [*values, *[math.nan] * (count - len(values))]


def _added(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip_longest(first, second, fillvalue=0.0)]
