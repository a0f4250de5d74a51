"""Rows of tables, and sums over the parts of a ragged value.

`table.index(i)` is the one op whose gradient is a pair (rows, values).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import GraphError, IndexRangeError, ShapeError
from wyrm_py.graph.op import Array, Op, Spec, View, require_floats, require_index
from wyrm_py.graph.rows import RowGradient
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node
    from wyrm_py.ops.methods import Value
    from wyrm_py.sparse_rows import SparseRows


class Index(View):
    """Rows of a table (R, D) by an index of shape S: value (*S, D)."""

    looks_up = (0, 1)

    def infer(self, *inputs: Spec) -> Spec:
        table, rows = inputs
        require_floats(self.name, table)
        require_index(self.name, rows)
        if len(table.shape) != 2:
            raise ShapeError(
                f"index: tables are two-dimensional (rows, width), got "
                f"{table.shape}. Reshape with `.reshape(-1, 1)`?"
            )
        return Spec((*rows.shape, table.shape[1]), table.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        table, rows = inputs
        check_rows(self.name, rows, len(table))
        np.take(table, rows, axis=0, out=out, mode="clip")

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {1: inputs[0].shape[0]}

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        return out.gathering(*inputs)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[RowGradient, None]:
        return RowGradient(inputs[1], g), None


class ScatterRows(Op):
    """A dense table of the shape of `like` from (rows, values)."""

    shape_only = (2,)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[2].shape, inputs[1].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        rows, values, _ = inputs
        out[...] = 0
        np.add.at(out, rows.reshape(-1), values.reshape(-1, out.shape[1]))

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        rows, values, _ = inputs
        writer.fill(out, "0")
        with writer.loops(rows.extents) as place:
            row = writer.fresh("r")
            writer.line(f"{row} = {rows.at(*place)}")
            with writer.loop(out.extents[1]) as j:
                writer.line(f"{out.at(row, j)} += {values.at(*place, j)}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Any, ...]:
        return None, g.index(inputs[0]), None


class SegmentSum(Op):
    """Sum the rows of each segment: (n, ...) by segment numbers (n,) to (b, ...).

    The third input has b as its first axis; an empty segment sums to 0.
    """

    shape_only = (2,)
    adds_rows = 2

    def infer(self, *inputs: Spec) -> Spec:
        x, segments, lengths = inputs
        require_floats(self.name, x)
        if x.shape[:1] != segments.shape:
            raise ShapeError(
                f"segment_sum: the first axis of {x.shape} must be that of the "
                f"ragged node, {segments.shape}."
            )
        return Spec((lengths.shape[0], *x.shape[1:]), x.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        x, segments, _ = inputs
        out[...] = 0
        np.add.at(out, segments, x)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        x, segments, _ = inputs
        writer.fill(out, "0")
        with writer.loop(x.extents[0]) as k:
            segment = writer.fresh("r")
            writer.line(f"{segment} = {segments.at(k)}")
            with writer.loops(x.extents[1:]) as index:
                writer.line(f"{out.at(segment, *index)} += {x.at(k, *index)}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Any, ...]:
        _, segments, lengths = inputs
        return g._apply(SegmentSpread(), segments, lengths), None, None


class WeightedRows(Op):
    """Sums of looked-up rows by weight: row s of (b, D) of the entries of segment s.

    Inputs: table (R, D), rows (n,), weights (n,), segments (n,), lengths (b,). The
    product of CSR rows and a table in one pass; its gradient goes by rows.
    """

    shape_only = (4,)
    looks_up = (0, 1)

    def infer(self, *inputs: Spec) -> Spec:
        table, rows, weights, _, lengths = inputs
        require_floats(self.name, table, weights)
        require_index(self.name, rows)
        dtype = np.result_type(table.dtype, weights.dtype)
        return Spec((*lengths.shape, table.shape[1]), dtype)

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {1: inputs[0].shape[0]}

    def vanishes(self, *zero: bool) -> bool:
        return zero[0] or zero[2]

    def forward(self, out: Array, *inputs: Array) -> None:
        table, rows, weights, segments, _ = inputs
        check_rows("index", rows, len(table))
        out[...] = 0
        np.add.at(out, segments, table[rows] * weights[:, None])

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        table, rows, weights, segments, lengths = inputs
        if lengths.is_scalar:
            entries = rows, weights
            call = writer.row_product("sum_of_rows", out.within("0"), table, entries)
            if call is not None:
                writer.line(call)
                return
        writer.fill(out, "0")
        with writer.loop(rows.extents[0]) as k:
            row, weight, segment = (writer.fresh("r") for _ in range(3))
            writer.line(f"{row} = {rows.at(k)}")
            writer.line(f"{weight} = {weights.at(k)}")
            writer.line(f"{segment} = {segments.at(k)}")
            with writer.loop(out.extents[1]) as j:
                writer.line(f"{out.at(segment, j)} += {weight} * {table.at(row, j)}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Any, ...]:
        table, rows, weights, segments, lengths = inputs
        spread = g._apply(SegmentSpread(), segments, lengths)
        products = (spread * table.index(rows)).sum(axis=1)
        return (
            RowGradient(rows, spread * weights.expand_dims(1)),
            None,
            products,
            None,
            None,
        )


class SegmentSpread(View):
    """Repeat row s of a value (b, ...) for each member of segment s."""

    shape_only = (2,)

    def infer(self, *inputs: Spec) -> Spec:
        value, segments, _ = inputs
        return Spec((*segments.shape, *value.shape[1:]), value.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0][inputs[1]]

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        value, segments, _ = inputs

        def read(*index: str) -> str:
            return value.at(segments.at(index[0]), *index[1:])

        return out.reading(read)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Any, ...]:
        _, segments, lengths = inputs
        return g._apply(SegmentSum(), segments, lengths), None, None


class SegmentLengths(Op):
    """Length of each segment as a float (b,), at least 1: a safe divisor."""

    shape_only = (1, 2)

    def infer(self, *inputs: Spec) -> Spec:
        _, lengths, like = inputs
        return Spec(lengths.shape, like.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        segments, _, _ = inputs
        counts = np.bincount(segments, minlength=len(out))
        out[...] = np.maximum(counts, 1)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        segments = inputs[0]
        writer.fill(out, "0")
        with writer.loop(segments.extents[0]) as k:
            writer.line(f"{out.at(segments.at(k))} += {out.type}(1)")
        with writer.loop(out.extents[0]) as s:
            writer.line(f"{out.at(s)} = maximum({out.at(s)}, {out.type}(1))")


def check_rows(name: str, rows: Array, limit: int) -> None:
    """Raise an IndexRangeError naming the first row outside [0, limit)."""
    if rows.size and (rows.min() < 0 or rows.max() >= limit):
        bad = np.flatnonzero((rows.reshape(-1) < 0) | (rows.reshape(-1) >= limit))[0]
        raise IndexRangeError(
            f"{name}: row numbers must be in [0, {limit}), got "
            f"{rows.reshape(-1)[bad]} at position {bad}. Negative numbers do not "
            "count from the end here."
        )


def kept_rows(rows: Array, limit: int) -> Array:
    """Return a copy of row numbers in [0, limit), in 32 bits where they fit.

    Native code trusts what was checked, so nobody else may write to it.
    """
    return np.array(rows, np.int32 if limit <= 1 << 31 else np.int64)


class GatherMethods(Methods):
    """Looking up rows, and sums over ragged parts."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _row_numbers(self, rows: Value) -> Node: ...

    def index(self, rows: Value) -> Node:
        """Return rows of a table (R, D) by an index of shape S: (*S, D).

        `rows` is an index node, or row numbers that stay: an int, a list or an
        integer array. The gradient of a ParameterNode is a pair (rows, values).
        """
        return self._apply(Index(), self._row_numbers(rows))

    def segment_sum(self, ragged: Node | SparseRows) -> Node:
        """Sum the rows (n, ...) that belong to each example: (b, ...).

        `ragged` is the IndexInputNode, SparseInputNode or SparseRows whose entries the
        rows stand for; without a batch, b is 1. An empty example sums to 0.
        """
        return self._apply(SegmentSum(), *_parts(ragged))

    def _weighted_rows(
        self, rows: Node, weights: Node, ragged: Node | SparseRows
    ) -> Node:
        """Return the product of CSR rows, given by their parts, with this table."""
        return self._apply(WeightedRows(), rows, weights, *_parts(ragged))

    def segment_mean(self, ragged: Node | SparseRows) -> Node:
        """Average the rows (n, ...) that belong to each example: (b, ...)."""
        total = self.segment_sum(ragged)
        segments, lengths = _parts(ragged)
        counts = self._apply_to(SegmentLengths(), segments, lengths, total)
        for _ in total.shape[1:]:
            counts = counts.expand_dims(-1)
        return total / counts


def _parts(ragged: Node | SparseRows) -> tuple[Node, Node]:
    segments: Node | None = getattr(ragged, "segments", None)
    lengths: Node | None = getattr(ragged, "lengths", None)
    if segments is None or lengths is None:
        raise GraphError(
            "segment_sum: takes the ragged node the rows came from, an "
            "IndexInputNode with `capacity`, a SparseInputNode or SparseRows, got "
            f"{ragged!r}."
        )
    return segments, lengths
