"""Rows of a constant CSR matrix, chosen by row numbers that a step works out.

The rows may be drawn in the same step (a negative item's features), so how many
entries they store is known only when the op runs: the one length that is not the
batch's or a column's. `wyrm_py.sparse_rows` is what the user calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Op, Spec, require_index
from wyrm_py.ops.gather import check_rows

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer


@dataclass(frozen=True)
class CsrRows(Op):
    """The stored entries of rows (b,) of a CSR matrix (R, `columns`), row by row.

    Inputs: rows (b,), starts (R + 1,), indices and data (all entries), and a leaf of
    shape (n,) that takes the length. Outputs: column numbers (n,), values (n,), for
    each entry its place in rows (n,), and the lengths (b,). `gives_rising_rows`
    says that column numbers rise within each row of the matrix.
    """

    columns: int
    gives_rising_rows: bool
    shape_only = (4,)
    sizes_input = 4

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        rows, _, _, data, entries = inputs
        require_index(self.name, rows)
        if len(rows.shape) != 1:
            raise ShapeError(
                f"sparse_rows: row numbers in one axis are required, got {rows.shape}. "
                "Reshape the index node."
            )
        numbers = Spec(entries.shape, rows.dtype)
        return numbers, Spec(entries.shape, data.dtype), numbers, rows

    def size(self, *inputs: Array) -> int:
        rows, starts = inputs[:2]
        check_rows("sparse_rows", rows, len(starts) - 1)
        return int((starts[rows + 1] - starts[rows]).sum())

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {0: inputs[1].shape[0] - 1}

    def rows_below(self, *inputs: Spec) -> int:
        return self.columns

    def forward(self, out: Any, *inputs: Array) -> None:
        rows, starts, indices, data, _ = inputs
        columns, values, segments, lengths = out
        lengths[...] = starts[rows + 1] - starts[rows]
        segments[...] = np.repeat(np.arange(len(rows)), lengths)
        before = np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(starts[rows], lengths) + np.arange(len(columns)) - before
        columns[...], values[...] = indices[places], data[places]

    def stands_in(self, out: Any, *inputs: Operand) -> Sequence[Operand | None] | None:
        """Of a single row the entries lie together: they are read where they are."""
        rows, _, indices, data, entries = inputs
        if not rows.is_scalar:
            return None

        def place(k: str) -> str:
            return _first(entries) if k == "0" else f"({_first(entries)} + {k})"

        columns = out[0].reading(lambda k: f"u64({indices.at(place(k))})")
        values = out[1].reading(lambda k: data.at(place(k)))
        return columns, values, out[2].reading(lambda _: "u64(0)"), None

    def emit(self, writer: Writer, out: Any, *inputs: Operand) -> None:
        rows, starts, indices, data, entries = inputs
        columns, values, segments, lengths = out
        count, first = entries.extents[0].text, _first(entries)

        def write_span(place: Sequence[str]) -> tuple[str, str]:
            row, start, end = (writer.fresh("m") for _ in range(3))
            writer.line(f"{row} = {rows.at(*place)}")
            writer.line(f"{start} = u64({starts.at(row)})")
            writer.line(f"{end} = u64({starts.at(f'({row} + u64(1))')})")
            writer.line(f"{lengths.at(*place)} = {end} - {start}")
            return start, end

        if rows.is_scalar:
            start, end = write_span("0")
            writer.line(f"{first} = {start}")
            writer.line(f"{count} = {end} - {start}")
            return
        writer.line(f"{first} = u64(0)")
        writer.line(f"{count} = u64(0)")
        with writer.loops(rows.extents) as place:
            start, end = write_span(place)
            entry = writer.fresh("j")
            with writer.block(f"for {entry} in range({start}, {end}):"):
                writer.line(f"{columns.at(count)} = u64({indices.at(entry)})")
                writer.line(f"{values.at(count)} = {data.at(entry)}")
                writer.line(f"{segments.at(count)} = u64({place[0]})")
                writer.line(f"{count} = {count} + u64(1)")


def _first(entries: Operand) -> str:
    """Return the name of where the entries of a single row begin."""
    return f"start_{entries.extents[0].text}"
