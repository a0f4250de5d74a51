"""Columns of lists: values and offsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wyrm_py.data.rows import as_rows
from wyrm_py.errors import DataError, DTypeError
from wyrm_py.graph.op import Array
from wyrm_py.values import INDEX, as_array


class RaggedColumn:
    """A column of lists of row numbers of varying length.

    Parameters
    ----------
    values : integer array, shape (total,): the lists one after the other
    offsets : integer array, shape (N + 1,), from 0 to total, not falling: example
        k has values[offsets[k]:offsets[k + 1]]

    `RaggedColumn.of(lists)` makes one from a list of lists.
    """

    def __init__(self, values: ArrayLike, offsets: ArrayLike) -> None:
        self.values = as_array("RaggedColumn", values)
        self.offsets = as_array("RaggedColumn", offsets)
        if self.values.size == 0:
            self.values = self.values.astype(INDEX)
        for name, array in (("values", self.values), ("offsets", self.offsets)):
            _require_rows(f"RaggedColumn: {name}", array)
        self.values = np.ascontiguousarray(self.values)
        self.offsets = np.ascontiguousarray(self.offsets, INDEX)
        ends = self.offsets[:1].tolist() + self.offsets[-1:].tolist()
        if ends != [0, len(self.values)] or (np.diff(self.offsets) < 0).any():
            raise DataError(
                "RaggedColumn: offsets must start at 0, never fall and end at the "
                f"number of values, {len(self.values)}, got {ends}."
            )

    @classmethod
    def of(cls, lists: Sequence[ArrayLike]) -> RaggedColumn:
        """Return a column of some lists, empty ones allowed."""
        if not isinstance(lists, Iterable):
            raise DataError(f"RaggedColumn: takes a list of lists, got {lists!r}.")
        parts = [np.atleast_1d(as_array("RaggedColumn", part)) for part in lists]
        lengths = [len(part) for part in parts]
        full = [part for part in parts if part.size]
        for part in full:
            _require_rows("RaggedColumn: each list", part)
        values = np.concatenate(full) if full else np.empty(0, INDEX)
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]).astype(INDEX))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Any) -> Any:
        """Return one list as an array, or some lists as a column.

        Parameters
        ----------
        rows : int, slice, integers of shape (K,), or a mask of shape (N,)

        Raises
        ------
        IndexRangeError
            There is no such list; negative numbers are refused as well.
        """
        if isinstance(rows, int | np.integer):
            row = int(np.asarray(as_rows("RaggedColumn", [rows], len(self)))[0])
            return self.values[self.offsets[row] : self.offsets[row + 1]]
        chosen = as_rows("RaggedColumn", rows, len(self))
        starts = self.offsets[:-1][chosen]
        lengths = self.offsets[1:][chosen] - starts
        return RaggedColumn(*gather_spans(self.values, starts, lengths))


def gather_spans(values: Array, starts: Array, lengths: Array) -> tuple[Array, Array]:
    """Return the spans values[start:start + length] one after the other, and offsets.

    Parameters
    ----------
    values : array, shape (total,)
    starts, lengths : integers, shape (K,)
    """
    offsets = np.zeros(len(starts) + 1, INDEX)
    np.cumsum(lengths, out=offsets[1:])
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return values[places], offsets


def _require_rows(who: str, array: Array) -> None:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DTypeError(
            f"{who} must be a one-dimensional integer array, got {array.dtype} of "
            f"shape {array.shape}."
        )
