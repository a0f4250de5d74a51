"""The control page: what workers and their driver tell each other while they run.

Plain words in shared memory, the same for threads and processes. Work is a row of
tickets, `epoch * blocks + block`; a worker claims the next one, runs it, writes
its loss and marks it done. Only the claim needs a lock. Nothing here is read
inside a native loop, where it would never be seen to change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wyrm_py.parameters import SharedArray
from wyrm_py.parameters.segment import SegmentLock

# Rows of the words, one cache line each, so that polling one never slows another.
_NEXT, _REDO, _STOP, _ALLOWED = range(4)

# A worker's own line: nobody else writes there.
_WORKER = np.dtype(
    {
        "names": ["ready", "started", "ended", "examples", "busy", "diverged"],
        "formats": ["i8", "f8", "f8", "f8", "f8", "i8"],
        "offsets": [0, 8, 16, 24, 32, 40],
        "itemsize": 64,
    }
)

# Marks are kept for this many blocks, then used again for later epochs.
_MARKS = 1 << 20

# A worker that waits for the others starts without them after this many seconds:
# they may wait for it in turn, where several runs share too few processes.
_PATIENCE = 30.0


Done = Mapping[int, tuple[float, float]]
"""Blocks of an epoch that are done: sum of losses and sum of weights of each."""


class ControlPage:
    """State of one run in shared memory; pickles as handles."""

    def __init__(
        self,
        words: SharedArray,
        redo: SharedArray,
        workers: SharedArray,
        marks: SharedArray,
        sums: SharedArray,
        epochs: int,
    ):
        self._parts = (words, redo, workers, marks, sums)
        self._words: NDArray[np.int64] = words.array
        self._redo: NDArray[np.int64] = redo.array
        self._ready = workers.array["ready"]
        self._started = workers.array["started"]
        self._ended = workers.array["ended"]
        self.examples: NDArray[np.float64] = workers.array["examples"]
        self.busy: NDArray[np.float64] = workers.array["busy"]  # seconds
        self._diverged = workers.array["diverged"]  # ticket + 1 of the first
        self._marks: NDArray[np.uint8] = marks.array  # (ring, blocks)
        self._sums: NDArray[np.float64] = sums.array  # (ring, blocks, 2)
        self.ring, self.blocks = marks.array.shape
        self.epochs = epochs
        self.workers = len(workers.array)

    @classmethod
    def create(cls, blocks: int, epochs: int, workers: int, *, stepwise: bool) -> Self:
        """Make the page of a run; `stepwise` waits for leave between epochs."""
        ring = 1 if stepwise else min(epochs, max(2, _MARKS // blocks))
        page = cls(
            SharedArray.create((_ALLOWED + 1, 8), np.int64),
            SharedArray.create((workers,), np.int64),
            SharedArray.create((workers,), _WORKER),
            SharedArray.create((ring, blocks), np.uint8),
            SharedArray.create((ring, blocks, 2), np.float64),
            epochs,
        )
        page._words[_ALLOWED, 0] = ring
        return page

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self._parts, self.epochs)

    # What workers do.

    def lock(self) -> SegmentLock:
        """Return the lock for `claim`; every worker needs one of its own."""
        return self._parts[0].lock()

    def claim(self, lock: SegmentLock) -> int | None:
        """Take the next ticket, None if there are no more."""
        # A file lock costs 1.8 us a claim and ends with its holder. A compiled
        # atomic costs 0.2 us, and 0.25 s to compile in every new process.
        words = self._words
        with lock:
            position, count = int(words[_REDO, 0]), int(words[_REDO, 1])
            if position < count:
                words[_REDO, 0] = position + 1
                return int(self._redo[position])
            ticket = int(words[_NEXT, 0])
            if ticket >= self.epochs * self.blocks:
                return None
            words[_NEXT, 0] = ticket + 1
            return ticket

    def start_together(self, worker: int) -> None:
        """Say that a worker is ready, and wait until all are (or a stop)."""
        self._ready[worker] = 1
        deadline = time.monotonic() + _PATIENCE
        _wait(
            lambda: (
                self.stopped or bool(self._ready.all()) or time.monotonic() > deadline
            )
        )
        self._started[worker] = self._ended[worker] = time.monotonic()

    def wait_for_epoch(self, epoch: int) -> None:
        """Wait until an epoch may be worked on (or a stop)."""
        if epoch >= self._words[_ALLOWED, 0]:
            _wait(lambda: self.stopped or epoch < int(self._words[_ALLOWED, 0]))

    def is_done(self, epoch: int, block: int) -> bool:
        """Whether a block of a current epoch is done: the run was resumed after it."""
        return bool(self._marks[epoch % self.ring, block])

    def finish(
        self, worker: int, ticket: int, loss: float, weight: float, began: float
    ) -> None:
        """Write what a block gave, then mark it done: the driver looks at any time."""
        epoch, block = divmod(ticket, self.blocks)
        self._ended[worker] = ended = time.monotonic()
        self.examples[worker] += weight
        self.busy[worker] += ended - began
        self._sums[epoch % self.ring, block] = loss, weight
        if not np.isfinite(loss):
            self._diverged[worker] = ticket + 1
            self.stop()
        self._marks[epoch % self.ring, block] = 1

    # What both do.

    @property
    def stopped(self) -> bool:
        """Whether workers are to end after their block."""
        return bool(self._words[_STOP, 0])

    def stop(self) -> None:
        """Ask all workers to end after their block."""
        self._words[_STOP, 0] = 1

    # What the driver does.

    @property
    def diverged(self) -> tuple[int, int] | None:
        """Epoch and block whose loss was NaN or infinite, the first of several."""
        told = self._diverged[self._diverged > 0]
        return divmod(int(told.min()) - 1, self.blocks) if told.size else None

    def done(self, epoch: int) -> int:
        """Number of blocks of an epoch that are done; the epoch is a current one."""
        return int(np.count_nonzero(self._marks[epoch % self.ring]))

    def mark(self, done: Done) -> None:
        """Take over blocks of the first epoch that were done before this run."""
        for block, sums in done.items():
            self._sums[0, block] = sums
            self._marks[0, block] = 1

    def done_blocks(self, epoch: int) -> Done:
        """Return the done blocks of a current epoch with their sums."""
        row = epoch % self.ring
        numbers = np.flatnonzero(self._marks[row])
        sums = self._sums[row, numbers]
        return {
            int(b): (float(s), float(w))
            for b, (s, w) in zip(numbers, sums, strict=True)
        }

    def sums(self, epoch: int) -> tuple[float, float]:
        """Sum of the losses and of the weights of an epoch's done blocks."""
        done = self._marks[epoch % self.ring] == 1
        loss, weight = self._sums[epoch % self.ring][done].sum(axis=0)
        return float(loss), float(weight)

    def release(self, epoch: int) -> None:
        """Forget a finished epoch and give leave for the one that takes its place."""
        self._marks[epoch % self.ring] = 0
        self._words[_ALLOWED, 0] = epoch + 1 + self.ring

    @property
    def claimed(self) -> int:
        """Number of tickets that were ever claimed."""
        return int(self._words[_NEXT, 0])

    def unfinished(self, first: int) -> list[int]:
        """Tickets that were claimed and not done, from the epoch `first` on."""
        allowed = int(self._words[_ALLOWED, 0])
        claimed = range(first * self.blocks, self.claimed)
        place = [divmod(ticket, self.blocks) for ticket in claimed]
        return [
            ticket
            for ticket, (epoch, block) in zip(claimed, place, strict=True)
            if epoch >= allowed or not self._marks[epoch % self.ring, block]
        ]

    def prepare(self, redo: list[int]) -> None:
        """Set up a start of all workers that begins with the given tickets."""
        self._redo[: len(redo)] = redo
        self._words[_REDO, :2] = 0, len(redo)
        self._words[_STOP, 0] = 0
        self._ready[...] = 0
        self._started[...] = np.inf
        self._ended[...] = -np.inf

    def seconds(self) -> float:
        """Time from the start of the first worker to the end of the last block."""
        return max(0.0, float(self._ended.max() - self._started.min()))


def _wait(over: Callable[[], bool]) -> None:
    """Sleep until `over()`, in naps that grow from 50 us to 0.25 ms."""
    nap = 5e-5
    while not over():
        time.sleep(nap)
        nap = min(2 * nap, 2.5e-4)
