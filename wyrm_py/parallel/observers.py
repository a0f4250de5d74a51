"""Who looks on while a run trains: validation, stopping, callbacks, checkpoints."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from wyrm_py.errors import WyrmError
from wyrm_py.leaves import ParameterNode
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.history import History
from wyrm_py.parallel.page import Done
from wyrm_py.parallel.recording import Recording
from wyrm_py.parallel.stopping import EarlyStopping, Snapshot
from wyrm_py.parallel.validation import Validation
from wyrm_py.parameters import ParameterBlock

Callback = Callable[[History], object]

_log = logging.getLogger("wyrm_py")


@runtime_checkable
class CheckpointFile(Protocol):
    """Where checkpoints go: see `wyrm_py.checkpointing`."""

    @property
    def every(self) -> float:
        """Seconds between two."""

    def require_writable(self) -> None:
        """Raise the OSError that writing would raise."""

    def write(
        self,
        parameters: Sequence[ParameterNode],
        optimizer: Optimizer,
        history: History,
    ) -> None:
        """Write one."""


@dataclass
class Observers:
    """What `fit` was given to look on."""

    callbacks: Sequence[Callback]
    validation: Validation
    stop: EarlyStopping | None
    checkpoint: CheckpointFile | None

    def __post_init__(self) -> None:
        self._best: Snapshot | None = None

    @property
    def at_epochs(self) -> bool:
        """Whether somebody looks at the parameters after each epoch."""
        return bool(self.callbacks or self.validation or self.stop)

    def end_epoch(
        self,
        history: History,
        jobs: int,
        moved: dict[int, ParameterBlock],
        blocks: Sequence[ParameterBlock],
    ) -> bool:
        """Look at the parameters; return whether the run is to end."""
        self.validation.run(history, jobs, moved)
        over = self._is_over(history, blocks)
        ends = [_is_true(callback(history)) for callback in self.callbacks]
        return over or any(ends)

    def _is_over(self, history: History, blocks: Sequence[ParameterBlock]) -> bool:
        if self.stop is None:
            return False
        last = len(history.losses) - 1
        history.best_epoch = self.stop.best(history)
        if self.stop.restore_best and history.best_epoch == last:
            self._best = Snapshot(blocks)
        return last - history.best_epoch >= self.stop.patience

    def finish(self, history: History, blocks: Sequence[ParameterBlock]) -> None:
        """Go back to the best epoch, if that was asked for."""
        if self.stop is None or history.best_epoch in (None, len(history.losses) - 1):
            return
        if self._best is not None:
            self._best.restore(blocks)
        elif self.stop.restore_best:
            _log.warning(
                "the best epoch, %s, was before this run was resumed: its parameters "
                "are not restored",
                history.best_epoch,
            )


class Saver:
    """Writes checkpoints between blocks, at most one every so many seconds.

    Training goes on if a file cannot be written: the next try comes in its time.
    """

    def __init__(
        self,
        checkpoint: CheckpointFile,
        parameters: Sequence[ParameterNode],
        optimizer: Optimizer,
        recording: Recording,
    ) -> None:
        self._checkpoint, self._parameters = checkpoint, parameters
        self._optimizer, self._recording = optimizer, recording
        self._first_epoch = optimizer.epoch - len(recording.history.losses)
        self._due = time.monotonic() + checkpoint.every

    def on_block(self, done: Callable[[], Done]) -> None:
        """Write if it is time to."""
        if time.monotonic() >= self._due:
            self.write(done())

    def write(self, done: Done) -> None:
        """Write a checkpoint in which these blocks of the epoch are done."""
        history = self._recording.at(done)
        optimizer = copy.copy(self._optimizer)
        optimizer.epoch = self._first_epoch + len(history.losses)
        try:
            self._checkpoint.write(self._parameters, optimizer, history)
        except (OSError, WyrmError) as error:
            _log.warning("no checkpoint was written, training goes on: %s", error)
        self._due = time.monotonic() + self._checkpoint.every


def _is_true(answer: object) -> bool:
    return isinstance(answer, bool | np.bool_) and bool(answer)
