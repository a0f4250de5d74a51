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
from typing import Protocol

from wyrm_py.parallel.blocks import BlockReport
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


def run_rounds(
    workers: Sequence[RoundWorker],
    blocks: Blocks,
    epochs: int,
    batch_size: int,
    work: int,
    on_progress: Callable[[Progress], object] | None = None,
    on_epoch: Callable[[int, float], object] | None = None,
    report: BlockReport | None = None,
) -> BlockReport:
    """Run all epochs in rounds; see `run_blocks` for callbacks and report."""
    report = report or BlockReport()
    report.workers = len(workers)
    with ThreadPoolExecutor(len(workers)) as pool:
        spread = pool.map if work >= WORTH_A_THREAD and len(workers) > 1 else map
        for epoch in range(epochs):
            began = time.perf_counter()
            loss = 0.0
            turns = [
                _steps(worker, blocks, batch_size, epoch, k, len(workers))
                for k, worker in enumerate(workers)
            ]
            for steps in zip_longest(*turns):
                busy = [(w, s) for w, s in zip(workers, steps, strict=True) if s]
                loss += math.fsum(spread(_collect, busy))
                for worker, _ in busy:
                    worker.apply()
                if not math.isfinite(loss):
                    report.diverged = (epoch, 0)
                    return report
            report.seconds += time.perf_counter() - began
            report.examples += blocks.total
            report.losses.append(loss / blocks.mean_weight / blocks.total)
            if on_progress is not None:
                on_progress(
                    Progress(
                        epoch,
                        epochs,
                        (epoch + 1) * blocks.count,
                        epochs * blocks.count,
                        report.examples,
                        report.losses[-1],
                    )
                )
            if on_epoch is not None and on_epoch(epoch, report.losses[-1]):
                report.stopped = True
                return report
    return report


def _steps(
    worker: RoundWorker, blocks: Blocks, size: int, epoch: int, first: int, of: int
) -> Iterator[Step]:
    """Give the steps of one worker: every `of`-th block, batch after batch."""
    epoch += blocks.first_epoch
    for block in range(first, blocks.count, of):
        count = worker.fill(epoch, block)
        for number, begin in enumerate(range(0, count, size)):
            draw = (block << 32) + number  # each step draws from streams of its own
            yield begin, min(begin + size, count), epoch, draw


def _collect(turn: tuple[RoundWorker, Step]) -> float:
    worker, (begin, end, epoch, draw) = turn
    return worker.collect(begin, end, epoch, draw)
