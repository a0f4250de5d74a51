"""Rows of a CSR matrix inside a graph: features of users and items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from wyrm_py.errors import DataError, DTypeError, GraphError, ShapeError
from wyrm_py.graph.op import Array
from wyrm_py.growing_rows import GrowingRows
from wyrm_py.leaves import Constant
from wyrm_py.nodes import Node, apply
from wyrm_py.ops.csr_rows import CsrRows
from wyrm_py.ops.gather import kept_rows
from wyrm_py.values import INDEX, as_csr, float_dtype

if TYPE_CHECKING:
    from wyrm_py.ops.methods import Value


class Entries(Constant):
    """A leaf without values whose length an op sets: `CsrRows.sizes_input`.

    `longest` is the most entries that one row has, of growing `rows` so far.
    """

    __slots__ = ("_longest", "rows")

    def __init__(self, longest: int, rows: GrowingRows | None = None) -> None:
        super().__init__(np.empty(0, INDEX), INDEX)
        self._longest, self.rows = longest, rows

    @property
    def longest(self) -> int:
        """At least the most entries that one row has."""
        return self._longest if self.rows is None else self.rows.longest


@dataclass(frozen=True)
class SparseRows:
    """The chosen rows (b, F) of a CSR matrix: see `sparse_rows`.

    Attributes
    ----------
    indices : index node, shape (n,); column numbers of all stored entries
    data : node, shape (n,); their values
    segments, lengths : index nodes, shapes (n,) and (b,)
        The place of each entry among the b rows, and the entries of each row.
    shape : (b, F)
    """

    indices: Node
    data: Node
    segments: Node
    lengths: Node
    columns: int
    growing: GrowingRows | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows chosen, and of columns, (b, F)."""
        return self.lengths.shape[0], self.columns

    def dot(self, table: Value) -> Node:
        """Return the rows (b, F) times a table (F, D): (b, D), gradient by rows.

        Raises
        ------
        ShapeError
            The table is not (F, D); of growing rows it may have more rows.
        """
        factor = self.data._constant(table)
        if self.growing is not None:
            self.growing.require_table("dot", factor)
        elif len(factor.shape) != 2 or factor.shape[0] != self.columns:
            raise ShapeError(
                f"dot: inner sizes differ, left {self.shape}, right {factor.shape}."
            )
        return factor._weighted_rows(self.indices, self.data, self)


def sparse_rows(matrix: Any, index: Node, dtype: DTypeLike = np.float32) -> SparseRows:
    """Choose rows of a scipy matrix by an index node, also a drawn one.

    What a SparseInputNode is for rows that come from a column, this is for rows
    known before: the features of the users, or of the items, where the item may be
    a negative that the step draws itself.

    Parameters
    ----------
    matrix : scipy.sparse matrix of finite numbers, (R, F), or GrowingRows
        A matrix is copied, once for all workers; growing rows are read where they are.
    index : index node, shape (b,), values in [0, R)
    dtype : float32 (default) or float64

    Returns
    -------
    SparseRows
        Its `dot(table)` gives (b, D) for a table (F, D); `segment_sum` and
        `segment_mean` of a node take it as they take a ragged leaf.

    Raises
    ------
    DTypeError, DataError, IndexRangeError
        If these are no scipy rows of finite numbers, or no well-formed ones.
    GraphError
        If `index` is no node.
    ShapeError
        If `index` has several axes.

    Notes
    -----
    An empty row gives zeros. Inside the body of a `scan` only engine="numpy" has it.
    """
    if not isinstance(index, Node):
        raise GraphError(f"sparse_rows: takes an index node, got {index!r}.")
    if not index.spec.is_index:
        raise DTypeError(f"sparse_rows: takes an integer index node, got {index!r}.")
    kind = float_dtype("sparse_rows", dtype)
    growing = None
    if isinstance(matrix, GrowingRows):
        growing, width = matrix, matrix.shape[1]
        parts, entries = matrix.leaves("sparse_rows", kind), Entries(0, matrix)
        op = CsrRows(max(width, 1), gives_rising_rows=True)
    else:
        parts, width = csr_constants("sparse_rows", matrix, kind), int(matrix.shape[1])
        starts, indices, _ = (part.value for part in parts)
        entries = Entries(int(np.diff(starts).max(initial=0)))
        op = CsrRows(width, _rise(starts, indices))
    columns, values, segments, lengths = apply(op, index, *parts, entries)
    return SparseRows(columns, values, segments, lengths, width, growing)


def _rise(starts: Array, indices: Array) -> bool:
    """Whether column numbers rise within each row."""
    falls = np.flatnonzero(np.diff(indices) <= 0) + 1
    return bool(np.isin(falls, starts).all())


def csr_constants(
    owner: str, matrix: Any, dtype: np.dtype[Any]
) -> tuple[Constant, Constant, Constant]:
    """Return starts, column numbers and values of CSR rows: checked copies."""
    rows = as_csr(owner, matrix)
    stored = slice(int(rows.indptr[-1]))
    with np.errstate(over="ignore"):  # too large for float32 is infinite
        data = rows.data[stored].astype(dtype)
    if not np.isfinite(data).all():
        bad = int(np.argmin(np.isfinite(data)))
        row = np.searchsorted(rows.indptr, bad, side="right") - 1
        raise DataError(
            f"{owner}: finite numbers are required, found {rows.data[bad]} in row "
            f"{row}."
        )
    return (
        Constant(np.array(rows.indptr, INDEX), INDEX),
        Constant(kept_rows(rows.indices[stored], rows.shape[1]), INDEX),
        Constant(data, dtype),
    )
