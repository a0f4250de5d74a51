"""Toy tasks: what a run did is counted in shared memory."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wyrm_py.parameters import SharedArray


def add_one(counts, epoch, block, lock):
    with lock:
        counts[epoch, block] += 1


@dataclass
class Count:
    """Counts every block; its loss is known, and needs all 52 bits to add up."""

    counts: SharedArray
    seconds: float = 0.0  # of work a block

    @classmethod
    def make(cls, epochs, blocks, **settings):
        return cls(SharedArray.create((epochs, blocks), np.int64), **settings)

    def open(self, worker):
        lock = self.counts.lock()

        def run(epoch, block):
            self.before(epoch, block)
            time.sleep(self.seconds)
            add_one(self.counts.array, epoch, block, lock)
            return loss(epoch, block), 2.0

        return run

    def before(self, epoch, block):
        pass


def loss(epoch, block):
    return (epoch + 1) * 1000.0 + block


def mean_loss(epoch, blocks):
    return sum(loss(epoch, block) for block in range(blocks)) / (2 * blocks)


@dataclass
class Fail(Count):
    """Fails at one block, the first `times` times."""

    at: tuple[int, int] = (0, 3)
    how: str = "kill"
    times: int = 1
    tries: SharedArray = None

    def __post_init__(self):
        self.tries = SharedArray.create((1,), np.int64)

    def before(self, epoch, block):
        if (epoch, block) == self.at and self.tries.array[0] < self.times:
            self.tries.array[0] += 1
            fail(self.how)


def fail(how):
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "_exit":
            os._exit(3)
        case "exit":
            raise SystemExit(5)
        case "error":
            error = ValueError("on purpose")
            error.add_note("block note")
            raise error
        case "unpicklable":

            class LocalError(Exception):
                def __init__(self, one, two):
                    super().__init__(f"{one} {two}")

            raise LocalError("cannot", "travel")


@dataclass
class Diverge(Count):
    """One block has a loss that is not finite."""

    at: tuple[int, int] = (1, 2)
    value: float = float("nan")

    def open(self, worker):
        inner = super().open(worker)

        def run(epoch, block):
            total, weight = inner(epoch, block)
            return (self.value if (epoch, block) == self.at else total), weight

        return run


@dataclass
class InTurn:
    """Another task, of which no block begins before it was done in the epoch before.

    Workers go on to the next epoch as they like, but no example is ever in two hands.
    """

    task: object
    done: SharedArray  # epochs of each block

    def open(self, worker):
        inner = self.task.open(worker)

        def run(epoch, block):
            while self.done.array[block] < epoch:
                time.sleep(1e-4)
            found = inner(epoch, block)
            self.done.array[block] = epoch + 1
            return found

        return run


@dataclass
class HalfUntil:
    """Another task, whose first epoch stays half done until a file is there."""

    task: object
    path: Path
    half: int

    def open(self, worker):
        inner = self.task.open(worker)

        def run(epoch, block):
            while (epoch or block >= self.half) and not self.path.exists():
                time.sleep(0.001)
            return inner(epoch, block)

        return run
