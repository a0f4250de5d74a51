"""The gradient of a table of which only some rows were looked up.

`table.index(i)` has the pair (rows, values) as gradient: no computation and no
table-sized array. Only the ops named in the architecture know the pair; every
other consumer asks for `densify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from wyrm_py.graph.op import Array
    from wyrm_py.nodes import Node


@dataclass(frozen=True, eq=False)
class RowGradient:
    """Gradient that is zero outside the looked-up rows.

    rows : index node, any shape S, in [0, R)
    values : node, shape (*S, D)
    """

    rows: Node
    values: Node


@dataclass
class RowArrays:
    """Accumulated rows of one table: rows int64 (K,), values (K, D)."""

    rows: Array
    values: Array

    @classmethod
    def of(cls, rows: Array, values: Array) -> RowArrays:
        """Flatten a look-up of any shape into K rows."""
        return cls(
            np.array(rows, dtype=np.int64).reshape(-1),
            np.array(values).reshape(-1, values.shape[-1]),
        )

    def joined(self, other: RowArrays) -> RowArrays:
        """Return both, one after the other; repeated rows stay repeated."""
        return RowArrays(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.values, other.values]),
        )

    def coalesced(self) -> RowArrays:
        """Return each row once, repeated rows summed in order of arrival.

        Rows come in the order of their first arrival, as in native code.
        """
        unique, first, inverse = np.unique(
            self.rows, return_index=True, return_inverse=True
        )
        if len(unique) == len(self.rows):
            return self
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        values = np.zeros((len(unique), self.values.shape[1]), self.values.dtype)
        np.add.at(values, place[inverse], self.values)
        return RowArrays(unique[order], values)

    def to_scipy(self, shape: tuple[int, ...]) -> Any:
        """Return a scipy.sparse array of the table's shape, rows coalesced."""
        summed = self.coalesced()
        order = np.argsort(summed.rows)
        rows, values = summed.rows[order], summed.values[order]
        counts = np.zeros(shape[0] + 1, np.int64)
        counts[rows + 1] = shape[1]
        columns = np.tile(np.arange(shape[1]), len(rows))
        return sparse.csr_array(
            (values.reshape(-1), columns, np.cumsum(counts)), shape=shape
        )

    def add_to(self, dense: Array) -> None:
        """Add the rows into a dense array of the table's shape."""
        np.add.at(dense, self.rows, self.values)
