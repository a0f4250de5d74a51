"""The optimizer's numbers for every block of a run.

Workers do not wait for each other between epochs, so each looks up the learning
rate of the block it is about to run; the driver writes the table, and changes it
when a callback changes a setting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wyrm_py.errors import SettingError
from wyrm_py.graph.op import Array
from wyrm_py.optim import Optimizer
from wyrm_py.optim.schedules import Schedule
from wyrm_py.parameters import SharedArray

PLACES = 64
"""At how many places of an epoch a schedule is looked up, if it changes within."""


class Rates:
    """Settings and learning rates of a run; pickles as handles if they are shared.

    Parameters
    ----------
    epochs : of the run, which starts at the optimizer's `epoch`
    blocks : of an epoch
    first : number that workers give to the first epoch
    shared : whether workers are processes
    """

    def __init__(
        self, optimizer: Optimizer, epochs: int, blocks: int, first: int, shared: bool
    ) -> None:
        schedule = optimizer.learning_rate
        rows = places = 1
        if isinstance(schedule, Schedule):
            rows = max(1, epochs)
            places = min(PLACES, blocks) if schedule.within_epochs else 1
        self._scheduled = isinstance(schedule, Schedule)
        self._blocks, self._first = blocks, first
        names = list(optimizer.settings())
        self._place = names.index("learning_rate")
        numbers, table = np.zeros(len(names)), np.zeros((rows, places))
        self._numbers: Any = SharedArray.copy_of(numbers) if shared else numbers
        self._table: Any = SharedArray.copy_of(table) if shared else table
        self.write(optimizer, 0)

    def write(self, optimizer: Optimizer, done: int) -> None:
        """Take over the optimizer's settings, which stands after `done` epochs.

        Raises
        ------
        SettingError
            If a schedule gives an impossible rate, or came in place of a number.
        """
        schedule, table = optimizer.learning_rate, _array(self._table)
        if isinstance(schedule, Schedule):
            if not self._scheduled:
                raise SettingError(
                    "fit: learning_rate cannot become a schedule while a fit runs. "
                    "Start with a schedule."
                )
            rows, places = table.shape
            for row in range(done, rows):
                epoch = optimizer.epoch + row - done
                table[row] = [schedule(epoch + j / places) for j in range(places)]
        else:
            table[...] = schedule
        _array(self._numbers)[:] = list(optimizer.settings().values())

    def at(self, epoch: int, block: int) -> Array:
        """Return the settings for a block, in the order of `Optimizer.settings`.

        To be copied: without a schedule it is the array that `write` changes.
        """
        numbers = _array(self._numbers)
        if not self._scheduled:
            return numbers
        table, numbers = _array(self._table), numbers.copy()
        row = min(epoch - self._first, len(table) - 1)
        numbers[self._place] = table[row, block * table.shape[1] // self._blocks]
        return numbers

    def learning_rate(self, epoch: int, block: int) -> float:
        """Return the learning rate of a block."""
        return float(self.at(epoch, block)[self._place])


def _array(held: Any) -> Array:
    array: Array = held.array if isinstance(held, SharedArray) else held
    return array
