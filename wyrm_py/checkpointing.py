"""Checkpoints while `fit` runs: what a killed training goes on from."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wyrm_py.checkpoint import require_writable, save
from wyrm_py.errors import SettingError
from wyrm_py.leaves import ParameterNode
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.history import History


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `fit` keeps a run in a file, for `fit(..., checkpoint=)`.

    Parameters
    ----------
    path : str or path-like, in an existing folder; replaced atomically
    what : what to keep, as for `save`: a Layer, or parameter nodes with names; None
        keeps `loss.parameters()`
    every : float > 0, seconds between two
    keep : int >= 1, files: `path` is the newest, `path.1` the one before, ...

    Raises
    ------
    SettingError
        If a setting is impossible.

    Notes
    -----
    Written between two blocks of examples (about a tenth of a second), and at the
    end. With one worker and in synchronous mode training pauses meanwhile and the
    file is one moment of the run: resumed from it, also from the middle of an epoch,
    the run comes to the same bits as one that was never interrupted. Several Hogwild
    workers go on; the blocks they are at are done again after resuming.

    A folder that cannot be written to is an OSError before training. If a file
    cannot be written later, or a value is no longer finite, the one before stays,
    the logger "wyrm_py" has a warning, and training goes on.

    To go on, on the same graph over the same data, with the epochs that are left::

        history = wp.History()
        wp.load(path, loss.parameters(), optimizer=optimizer, history=history)
        left = 10 - len(history.losses)
        wp.fit(loss, optimizer, inputs, epochs=left, resume=history)
    """

    path: str | os.PathLike[str]
    what: Any = None
    every: float = 60.0
    keep: int = 1

    def __post_init__(self) -> None:
        whole = isinstance(self.keep, int) and not isinstance(self.keep, bool)
        if not whole or self.keep < 1:
            raise SettingError(
                f"Checkpoint: keep must be an integer of at least 1, got {self.keep!r}."
            )
        if not isinstance(self.every, int | float) or not self.every > 0:
            raise SettingError(
                "Checkpoint: every must be a number of seconds above zero, got "
                f"{self.every!r}."
            )

    def require_writable(self) -> None:
        """Raise the OSError that writing would raise."""
        require_writable(self.path)

    def write(
        self,
        parameters: Sequence[ParameterNode],
        optimizer: Optimizer,
        history: History,
    ) -> None:
        """Write one and keep the older ones; `parameters` if `what` is None."""
        what = parameters if self.what is None else self.what
        path = Path(self.path)
        names = [path, *(Path(f"{path}.{k}") for k in range(1, self.keep))]
        spare = path.with_name(f".{path.name}.older.tmp")
        spare.unlink(missing_ok=True)
        if self.keep > 1 and path.exists():
            os.link(path, spare)  # so that `path` is there at every moment
        save(path, what, optimizer=optimizer, history=history)
        for older, newer in itertools.pairwise(reversed(names[1:])):
            if newer.exists():
                newer.replace(older)
        if spare.exists():
            spare.replace(names[1])
