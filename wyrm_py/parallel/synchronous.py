"""Synchronous mode: rounds that give the same bits for a seed and `n_jobs`.

In a round every worker takes one step's gradient at the same parameters; then
the gradients are applied in the order of the workers. Which thread computes a
gradient does not matter for the result, so short rounds run in the calling
thread, where they cost less than handing them out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any, Protocol

from wyrm_py.parallel.page import Done
from wyrm_py.parallel.tally import BlockReport, Tally
from wyrm_py.parallel.tasks import Blocks
from wyrm_py.progress import Progress

WORTH_A_THREAD = 50_000
"""Elements of one gradient from which on a thread pays: about 50 microseconds."""


class RoundWorker(Protocol):
    """One worker: takes gradients and applies them, in two separate calls."""

    def fill(self, epoch: int, block: int) -> int:
        """Make the order of a block; return its number of examples."""

    def collect(self, begin: int, end: int, epoch: int, draw: int) -> float:
        """Take the gradient of examples [begin, end) of the block; sum of losses."""

    def apply(self) -> None:
        """Update the parameters by the gradient taken last."""


Step = tuple[int, int, int, int]
Turn = tuple[int, RoundWorker, Step]


def run_rounds(
    workers: Sequence[RoundWorker],
    blocks: Blocks,
    epochs: int,
    batch_size: int,
    work: int,
    on_progress: Callable[[Progress], object] | None = None,
    on_epoch: Callable[[int, float], bool | None] | None = None,
    on_block: Callable[[Callable[[], Done]], object] | None = None,
    done: Done | None = None,
    report: BlockReport | None = None,
) -> BlockReport:
    """Run all epochs in rounds; see `run_blocks` for callbacks, `done` and report."""
    report = report or BlockReport()
    report.workers = len(workers)
    tally = Tally(blocks.count, epochs, on_progress, on_epoch, on_block, report)
    examples = [0.0] * len(workers)
    began = ended = time.monotonic()
    tally.clock = lambda: ended - began
    tally.shares = lambda: (examples, [tally.clock() - tally.excluded] * len(workers))
    finished = dict(done or {})

    def sums() -> tuple[float, float]:
        losses, weights = zip(*finished.values(), strict=True)
        return math.fsum(losses), math.fsum(weights)

    with ThreadPoolExecutor(len(workers)) as pool:
        spread = pool.map if work >= WORTH_A_THREAD and len(workers) > 1 else map
        for epoch in range(epochs):
            waiting = [b for b in range(blocks.count) if b not in finished]
            for first in range(0, len(waiting), len(workers)):
                chosen = waiting[first : first + len(workers)]
                turns = [
                    _steps(worker, blocks, batch_size, epoch, block)
                    for worker, block in zip(workers, chosen, strict=False)
                ]
                losses = _round(workers, turns, spread)
                ended = time.monotonic()
                for k, block in enumerate(chosen):
                    count = blocks.length(block)
                    examples[k] += count
                    finished[block] = losses[k] / blocks.mean_weight, count
                if not math.isfinite(sum(losses)):
                    report.diverged = epoch, chosen[0]
                    break
                tally.show(len(finished), sums)
                tally.end_block(finished.copy)
            if report.diverged is not None or tally.end_epoch(*sums()):
                break
            finished.clear()
    report.seconds = ended - began
    tally.finish(0, sums)
    return report


def _round(
    workers: Sequence[RoundWorker], turns: Sequence[Iterator[Step]], spread: Any
) -> list[float]:
    """Run one block of each worker, step by step; return the sums of losses.

    Ends early at a loss that is not finite: another step may spoil the parameters.
    """
    losses = [0.0] * len(turns)
    for steps in zip_longest(*turns):
        busy = [(k, workers[k], step) for k, step in enumerate(steps) if step]
        for (k, _, _), loss in zip(busy, spread(_collect, busy), strict=True):
            losses[k] += loss
        for _, worker, _ in busy:
            worker.apply()
        if not all(map(math.isfinite, losses)):
            break
    return losses


def _steps(
    worker: RoundWorker, blocks: Blocks, size: int, epoch: int, block: int
) -> Iterator[Step]:
    """Give the steps of one worker in a block, batch after batch."""
    epoch += blocks.first_epoch
    count = worker.fill(epoch, block)
    for number, begin in enumerate(range(0, count, size)):
        draw = (block << 32) + number  # each step draws from streams of its own
        yield begin, min(begin + size, count), epoch, draw


def _collect(turn: Turn) -> float:
    _, worker, (begin, end, epoch, draw) = turn
    return worker.collect(begin, end, epoch, draw)
