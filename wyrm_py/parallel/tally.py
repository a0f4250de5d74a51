"""The books of a run: what was done, what was lost, what the callbacks are told."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from wyrm_py.errors import WorkerLostError
from wyrm_py.parallel.page import ControlPage, Done
from wyrm_py.progress import Progress

MAX_REPEATS = 3  # times that the same block is done again after a worker died
SHOW = 0.1  # seconds between two progress reports

_log = logging.getLogger("wyrm_py")
_log.addHandler(logging.NullHandler())  # without one, Python prints warnings


@dataclass
class BlockReport:
    """What a run came to.

    Attributes
    ----------
    losses : list of float
        Sum of losses by sum of weights, one a complete epoch.
    examples : float
        Sum of the weights of all blocks done.
    seconds : float
        From all workers ready to the last block done, without callbacks and
        without replacing workers.
    workers : int
        Workers in use, at most one a block.
    epoch_seconds : list of float
        Share of each complete epoch in `seconds`.
    worker_examples, worker_seconds : list of float
        Weights of the blocks that each worker did, and how long it was at them.
    restarts : int
        How often workers had to be replaced.
    stopped : bool
        Whether `on_epoch` ended the run.
    diverged : tuple of int, optional
        Epoch and block whose loss was NaN or infinite; it ended the run.
    """

    losses: list[float] = field(default_factory=list)
    examples: float = 0.0
    seconds: float = 0.0
    workers: int = 1
    epoch_seconds: list[float] = field(default_factory=list)
    worker_examples: list[float] = field(default_factory=list)
    worker_seconds: list[float] = field(default_factory=list)
    restarts: int = 0
    stopped: bool = False
    diverged: tuple[int, int] | None = None


class Tally:
    """Adds up a run and tells the callbacks."""

    def __init__(
        self,
        blocks: int,
        epochs: int,
        on_progress: Callable[[Progress], object] | None,
        on_epoch: Callable[[int, float], bool | None] | None,
        on_block: Callable[[Callable[[], Done]], object] | None,
        report: BlockReport,
    ):
        self.blocks, self.epochs = blocks, epochs
        self.on_progress, self.on_epoch = on_progress, on_epoch
        self.on_block = on_block
        self.report = report
        self.clock: Callable[[], float] = lambda: 0.0  # seconds worked, callbacks too
        self.shares: Callable[[], tuple[list[float], list[float]]] = lambda: ([], [])
        self.epoch = 0  # the first that is not complete
        self.epoch_began = self._shown = time.monotonic()
        self.excluded = 0.0  # seconds of callbacks between blocks
        self._last_callback = 0.0

    def end_epoch(self, loss: float, weight: float) -> bool:
        """Count a complete epoch; return whether the run is to end."""
        self.count_callback()
        mean = loss / weight if weight else float("nan")
        self.report.losses.append(mean)
        self.report.examples += weight
        self.epoch += 1
        self.report.seconds = max(0.0, self.clock() - self.excluded)
        shared = sum(self.report.epoch_seconds)
        self.report.epoch_seconds.append(max(0.0, self.report.seconds - shared))
        self._take_shares()
        if self.on_epoch is not None:
            began = time.monotonic()
            self.report.stopped = bool(self.on_epoch(self.epoch - 1, mean))
            self._last_callback = time.monotonic() - began
        self.epoch_began = time.monotonic()
        return self.report.stopped

    def end_block(self, done: Callable[[], Done]) -> None:
        """Tell `on_block`, while all workers wait."""
        if self.on_block is not None:
            began = time.monotonic()
            self.tell(done)
            self._last_callback += time.monotonic() - began

    def tell(self, done: Callable[[], Done]) -> None:
        """Tell `on_block`, with a report that is up to date."""
        if self.on_block is not None:
            self.report.seconds = max(0.0, self.clock() - self.excluded)
            self._take_shares()
            self.on_block(done)

    def count_callback(self) -> None:
        """Exclude the last callback from the time: blocks were done after it."""
        self.excluded += self._last_callback
        self._last_callback = 0.0

    def show(
        self, done: int, sums: Callable[[], tuple[float, float]], last: bool = False
    ) -> None:
        """Report the progress of the current epoch, if it is time to."""
        now = time.monotonic()
        if self.on_progress is None or (now - self._shown < SHOW and not last):
            return
        self._shown = now
        loss, weight = sums() if done else (0.0, 0.0)
        mean = loss / weight if weight else float("nan")
        if last and self.report.losses and not done:
            mean = self.report.losses[-1]
        self.on_progress(
            Progress(
                min(self.epoch, self.epochs - 1),
                self.epochs,
                self.epoch * self.blocks + done,
                self.epochs * self.blocks,
                self.report.examples + weight,
                mean,
            )
        )

    def finish(self, done: int, sums: Callable[[], tuple[float, float]]) -> None:
        """Report the end, with what was done of an incomplete epoch."""
        self.show(done, sums, last=True)
        if done:
            self.count_callback()
            self.report.examples += sums()[1]
        self.report.seconds = max(0.0, self.report.seconds - self.excluded)
        self._take_shares()

    def _take_shares(self) -> None:
        self.report.worker_examples, self.report.worker_seconds = self.shares()


class Deaths:
    """Counts deaths of workers, by the blocks they were at."""

    def __init__(self) -> None:
        self._repeats: Counter[int] = Counter()
        self._fruitless = 0
        self._finished = 0

    def count(self, redo: list[int], page: ControlPage, died: str) -> None:
        """Count one death, or give up with a WorkerLostError."""
        self._repeats.update(redo)
        finished = page.claimed - len(redo)
        self._fruitless = 0 if finished > self._finished else self._fruitless + 1
        self._finished = finished
        worst = [t for t in redo if self._repeats[t] > MAX_REPEATS]
        if worst or self._fruitless > MAX_REPEATS:
            raise WorkerLostError(
                f"workers died {MAX_REPEATS + 1} times {_named(worst, page)}: {died}. "
                "Run with n_jobs=1 to see the fault in this process; exit by SIGKILL "
                "often means that memory ran out."
            )
        _log.warning("a worker died, %d blocks are done again: %s", len(redo), died)


def _named(tickets: list[int], page: ControlPage) -> str:
    if not tickets:
        return "before they did a block"
    places = [divmod(ticket, page.blocks) for ticket in tickets]
    return "at " + ", ".join(f"block {block} of epoch {e}" for e, block in places)
