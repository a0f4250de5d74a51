"""Tables that grow in place while they are trained on and read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import SharedMemoryFullError
from wyrm_py.leaves import ParameterNode
from wyrm_py.parameters import HogwildParameter
from wyrm_py.parameters.block import copy_block

BLOCK = 1024
"""Rows that are drawn together: which numbers a row begins with depends on the seed
and its number alone, not on when the table grew."""
RESERVED = 1 << 24
"""Rows that address space is set aside for: 10 GiB at width 32, which cost nothing
until they are used."""


class GrowingTable:
    """A table of float32 rows in shared memory, with rows ahead of those in use.

    Parameters
    ----------
    first : float32 array, shape (R, D), R >= 0
        Rows to begin with.
    scale : float >= 0
        Standard deviation of the normal values that further rows begin with.
    seed : int >= 0
    number : int >= 0
        Of the table: tables of one seed differ.
    name : str
        Of the node.
    reserved : int >= 1
        Rows that there is to be room for without moving.

    Attributes
    ----------
    node : ParameterNode
        Stays the same, also when the table moves.
    parameter : HogwildParameter
        The memory; another one after the table has moved.

    Raises
    ------
    SharedMemoryFullError
        If the system has no room.
    """

    def __init__(
        self,
        first: NDArray[np.float32],
        scale: float,
        seed: int,
        number: int,
        name: str,
        reserved: int = RESERVED,
    ) -> None:
        self._width, self._scale = first.shape[1], scale
        self._seed, self._number = seed, number
        rows = _whole_blocks(len(first))
        table = np.concatenate([first, self._drawn(len(first), rows)])
        reserved = max(_whole_blocks(reserved), rows)
        self.parameter = _reserve(table, reserved)
        self.node = ParameterNode.shared(self.parameter, name)

    def require(self, rows: int) -> None:
        """Have at least that many rows.

        In place up to `capacity`: addresses stay, workers and readers go on. Beyond it
        the table moves, which nobody may be working on meanwhile.

        Raises
        ------
        SharedMemoryFullError
            If the system has no room; the table is as before.
        """
        before = self.parameter.rows
        if rows <= before:
            return
        wanted = _whole_blocks(max(rows, before + before // 4))
        if rows > self.capacity:
            moved = _reserve(self.parameter.value, 4 * wanted)
            copy_block(self.parameter, moved)
            self.node.move(moved)
            self.parameter = moved
        wanted = min(wanted, self.capacity)
        self.parameter.grow(wanted)
        self.parameter.value[before:] = self._drawn(before, wanted)

    @property
    def capacity(self) -> int:
        """Rows there is room for without moving."""
        return self.parameter.capacity // BLOCK * BLOCK

    def _drawn(self, begin: int, end: int) -> NDArray[np.float32]:
        """Return what rows [begin, end) begin with; `end` is a whole block's."""
        blocks = range(begin // BLOCK, end // BLOCK)
        if not blocks or not self._scale:
            return np.zeros((end - begin, self._width), np.float32)
        rows = [
            np.random.default_rng([self._seed, self._number, block]).standard_normal(
                (BLOCK, self._width), np.float32
            )
            for block in blocks
        ]
        drawn = np.concatenate(rows)[begin % BLOCK :]
        drawn *= np.float32(self._scale)
        return drawn


def _whole_blocks(rows: int) -> int:
    return -(-max(rows, 1) // BLOCK) * BLOCK


def _reserve(table: NDArray[np.float32], rows: int) -> HogwildParameter:
    """Return a parameter with room for that many rows, or for as many as can be."""
    while True:
        try:
            return HogwildParameter(table, capacity=max(rows, len(table)))
        except SharedMemoryFullError:  # a limit of address space or of file sizes
            if rows <= 2 * len(table):
                raise
            rows //= 4
