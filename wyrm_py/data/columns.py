"""Columns: row k of every column is example k.

Turns what a user hands to `fit` into the flat arrays that steps read, checked
once and completely: shapes, dtypes, NaN, row numbers in range, equal lengths.
Nothing is copied that already has the right form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    MissingColumnError,
    ShapeError,
)
from wyrm_py.graph.op import Array
from wyrm_py.leaves import IndexInputNode, LeafNode, SparseInputNode, named
from wyrm_py.nodes import Node
from wyrm_py.parameters import SharedArray
from wyrm_py.values import INDEX, as_array, as_csr

MOST_EXAMPLES = 1 << 32
"""The order of examples is made of uint32."""


class Column:
    """A checked column of one leaf.

    `arrays` are the flat arrays by part ("" of a dense leaf), `count` the number
    of examples, `longest` the most entries of one example of a ragged leaf. CSR
    rows are `distinct` if their columns rise: none comes twice in an example.
    """

    distinct = False

    def __init__(
        self, leaf: LeafNode, given: Any, batched: bool, who: str = "fit"
    ) -> None:
        self.leaf = leaf
        self.who = f"{who}: the column of {leaf!r}"
        self.longest = 0
        self.shape: tuple[int, ...] = ()
        if isinstance(leaf, SparseInputNode):
            self._take_csr(given, batched)
        elif isinstance(leaf, IndexInputNode) and leaf.capacity is not None:
            self._take_ragged(given)
        else:
            self._take_dense(given, batched)

    @classmethod
    def over(
        cls, leaf: LeafNode, shape: tuple[int, ...], arrays: Mapping[str, Any]
    ) -> Column:
        """Return a column over arrays that were checked before."""
        column = cls.__new__(cls)
        column.leaf, column.shape, column.count = leaf, shape, shape[0]
        column.arrays = {
            part: a.array if isinstance(a, SharedArray) else a
            for part, a in arrays.items()
        }
        return column

    def _take_csr(self, given: Any, batched: bool) -> None:
        leaf = self.leaf
        matrix = as_csr(self.who, given)
        if matrix.shape[1] != leaf.shape[1]:
            raise ShapeError(
                f"{self.who} must have {leaf.shape[1]} columns, got {matrix.shape}."
            )
        if not batched and leaf.shape[0] != 1:
            raise ShapeError(
                f"{self.who}: the node holds {leaf.shape[0]} rows. Build it with "
                "one row, or give `batch_size`."
            )
        offsets = np.ascontiguousarray(matrix.indptr, INDEX)
        self._take_count(matrix.shape[0])
        self.shape = matrix.shape
        entries = slice(int(offsets[-1]))
        data = _floats(self.who, matrix.data[entries], leaf.dtype, offsets)
        self.arrays = {
            "indices": _rows(self.who, matrix.indices[entries]),
            "data": data,
        }
        self._cut(offsets)
        self.distinct = bool(matrix.has_canonical_format)  # looks at all indices

    def _take_count(self, count: int) -> None:
        """Keep the number of examples, before anything of their size is copied."""
        if count >= MOST_EXAMPLES:
            raise DataError(
                f"{self.who} must be of below 2**32 examples, got {count:,}. Train on "
                "them in parts, with `wp.Learner` or by several fits."
            )
        self.count = count

    def _take_ragged(self, given: Any) -> None:
        column = given
        try:
            if isinstance(given, tuple) and len(given) == 2:
                column = RaggedColumn(*given)
            elif isinstance(given, RaggedColumn):  # checked again: it can be written
                column = RaggedColumn(given.values, given.offsets)
            else:
                column = RaggedColumn.of(given)
        except (DataError, DTypeError, ShapeError) as error:
            raise type(error)(f"{self.who}: {error}") from None
        self._take_count(len(column))
        self.shape = (self.count,)
        self.arrays = {"indices": _rows(self.who, column.values)}
        self._cut(column.offsets)
        capacity = getattr(self.leaf, "capacity", 0)
        if self.longest > capacity:
            longest = int(np.argmax(np.diff(column.offsets)))
            raise ShapeError(
                f"{self.who} may hold {capacity} row numbers an example, its "
                f"`capacity`, got {self.longest} in example {longest}."
            )

    def _cut(self, offsets: Array) -> None:
        self.arrays["offsets"] = offsets
        self.longest = int(np.diff(offsets).max(initial=0))

    def _take_dense(self, given: Any, batched: bool) -> None:
        leaf = self.leaf
        if sparse.issparse(given):
            raise DTypeError(
                f"{self.who} must be dense, got a scipy.sparse "
                "matrix. Use a SparseInputNode."
            )
        array = as_array(self.who, given)
        if batched and not leaf.shape:
            raise ShapeError(
                f"{self.who}: with `batch_size` the node needs a first axis for the "
                "batch. Build it with shape (1,)."
            )
        shape = leaf.shape[1:] if batched else leaf.shape
        wide = [n for n in shape if n != 1]
        if array.ndim == 0 or [n for n in array.shape[1:] if n != 1] != wide:
            wanted = f"({', '.join(['N', *map(str, shape)])}{'' if shape else ','})"
            raise ShapeError(
                f"{self.who} must have the shape {wanted}, one row an example; axes "
                f"of length one may be left out. Got {array.shape}."
            )
        self._take_count(len(array))
        take = _rows if leaf.spec.is_index else _floats
        self.arrays = {"": take(self.who, array, leaf.dtype).reshape(-1)}
        self.shape = (self.count, *shape)

    def check_rows(self, node: Node, limit: int) -> None:
        """Raise an IndexRangeError if a row number is outside [0, limit)."""
        part = "" if "" in self.arrays else "indices"
        rows = self.arrays[part]
        if rows.size == 0:
            return
        low, high = rows.min(), rows.max()
        if low >= 0 and high < limit:
            return
        bad = int(np.flatnonzero((rows < 0) | (rows >= limit))[0])
        if part:
            example = np.searchsorted(self.arrays["offsets"], bad, side="right") - 1
        else:
            example = np.intp(bad // max(rows.size // self.count, 1))
        raise IndexRangeError(
            f"{self.who} must hold row numbers in [0, {limit}), "
            f"got {rows[bad]} in example {example}. Nothing was changed."
        )

    def feed(self, examples: Array, batched: bool) -> None:
        """Set the leaf to some examples: the NumPy engine's way to read."""
        leaf = self.leaf
        if isinstance(leaf, SparseInputNode):
            parts = (self.arrays[name] for name in ("data", "indices", "offsets"))
            rows = sparse.csr_array(tuple(parts), shape=self.shape)
            leaf._set_rows(rows[examples])
        elif isinstance(leaf, IndexInputNode) and leaf.capacity is not None:
            offsets, values = self.arrays["offsets"], self.arrays["indices"]
            spans = [values[offsets[e] : offsets[e + 1]] for e in examples]
            lengths = np.array([len(span) for span in spans], INDEX)
            leaf._set_entries(np.concatenate(spans).astype(INDEX), lengths)
        else:
            table = self.arrays[""].reshape(self.shape)
            rows = table[examples] if batched else table[examples[0]]
            leaf._held(np.ascontiguousarray(rows, leaf.dtype))


def take_columns(
    leaves: Sequence[LeafNode],
    inputs: Mapping[Any, Any],
    batched: bool,
    who: str = "fit",
) -> dict[LeafNode, Column]:
    """Return a checked column for each leaf, all of one length.

    Raises
    ------
    MissingColumnError
        If a leaf has no column.
    DataError
        If a key is not an input under the node, columns differ in length, or
        there are no examples.
    """
    if not isinstance(inputs, Mapping):
        raise DataError(
            f"{who}: `inputs` must be a mapping {{node: column}}, got "
            f"{type(inputs).__name__}."
        )
    strangers = [key for key in inputs if key not in leaves]
    if strangers:
        raise DataError(
            f"{who}: `inputs` names {', '.join(map(repr, strangers))}, which the node "
            f"does not read. Its inputs are {named(leaves) or 'none'}."
        )
    missing = [leaf for leaf in leaves if leaf not in inputs]
    if missing:
        raise MissingColumnError(
            f"{who}: no column for {named(missing)}. Every input under the node must "
            "be named in `inputs`."
        )
    columns = {leaf: Column(leaf, inputs[leaf], batched, who) for leaf in leaves}
    counts = {column.count for column in columns.values()}
    if len(counts) > 1:
        listed = ", ".join(f"{c.count} of {leaf!r}" for leaf, c in columns.items())
        raise DataError(f"{who}: columns must have one length, got {listed}.")
    if counts == {0}:
        raise DataError(f"{who}: the columns are empty. Give at least one example.")
    return columns


def _floats(who: str, array: Array, dtype: Any, offsets: Array | None = None) -> Array:
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{who} must hold numbers, got dtype {array.dtype}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is named below
        column = np.ascontiguousarray(array, dtype)
    if not np.isfinite(column).all():
        place = tuple(np.argwhere(~np.isfinite(column))[0])
        example = place[0]
        if offsets is not None:
            example = np.searchsorted(offsets, example, side="right") - 1
        raise DataError(
            f"{who} holds {array[place]} in example {example}; every value must be "
            f"finite in {np.dtype(dtype)}. Nothing was changed."
        )
    return column


def _rows(who: str, array: Array, _dtype: Any = None) -> Array:
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(INDEX)  # an empty list is float64 in NumPy
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"{who} must hold integer row numbers, got dtype "
            f"{array.dtype}. Convert with `.astype(np.int64)`?"
        )
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(INDEX).max:
        raise IndexRangeError(f"{who}: row number {array.max()} is beyond int64.")
    kept = array.dtype.newbyteorder("=") == np.int32
    return np.ascontiguousarray(array, np.int32 if kept else INDEX)
