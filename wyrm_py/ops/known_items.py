"""Rows that a user knows already: drawn among, and chosen by their order of score.

What the k-order statistic losses are made of: `sample_known` and `kth_best` of
`wyrm_py.known_items` are what the user calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Op, Spec, require_floats, require_index
from wyrm_py.ops.sampling import INDEX, check_users, emit_span, known_of

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer


@dataclass(frozen=True)
class SampleKnown(Op):
    """Rows drawn evenly, with repetition, from those that each user knows.

    Inputs: limit (its length is the number of rows), user (b,), starts, known. Output:
    rows (b, count). Who knows none gets row 0.
    """

    count: int
    random = True
    shape_only = (0,)

    def infer(self, *inputs: Spec) -> Spec:
        user = inputs[1]
        require_index(self.name, user)
        if len(user.shape) != 1:
            raise ShapeError(
                f"sample_known: users in one axis are required, got {user.shape}."
            )
        return Spec((user.shape[0], self.count), INDEX)

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {1: inputs[2].shape[0] - 1}

    def rows_below(self, *inputs: Spec) -> int:
        return inputs[0].shape[0]

    def forward(self, out: Array, *inputs: Any) -> None:
        stream, _, *known = inputs
        check_users(self.name, known)
        for b in range(len(out)):
            mine = known_of(known, (b,))
            for j in range(self.count):
                out[b, j] = mine[stream.below(len(mine))] if len(mine) else 0

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        _, *known = inputs
        with writer.loop(out.extents[0]) as b:
            start, stop = emit_span(writer, [b], known)
            with writer.loop(out.extents[1]) as j:
                writer.line(f"{out.at(b, j)} = u64(0)")
                with writer.block(f"if {stop} > {start}:"):
                    row = writer.draw_below(f"({stop} - {start})")
                    mine = known[2].at(f"({start} + {row})")
                    writer.line(f"{out.at(b, j)} = u64({mine})")


@dataclass(frozen=True)
class KthBest(Op):
    """The row number whose score is the k-th largest of each line; no gradient.

    Inputs: scores (b, n), rows (b, n). Output: rows (b,). Equal scores count in the
    order of their places.
    """

    k: int
    moves_rows = True

    def infer(self, *inputs: Spec) -> Spec:
        scores, rows = inputs
        require_floats(self.name, scores)
        require_index(self.name, rows)
        if len(scores.shape) != 2 or scores.shape != rows.shape:
            raise ShapeError(
                "kth_best: scores and row numbers of one shape (b, n) are required, "
                f"got {scores.shape} and {rows.shape}."
            )
        if self.k > scores.shape[1]:
            raise ShapeError(
                f"kth_best: k must be at most the {scores.shape[1]} scores of a line, "
                f"got {self.k}."
            )
        return Spec(scores.shape[:1], INDEX)

    def forward(self, out: Array, *inputs: Array) -> None:
        scores, rows = inputs
        places = np.argsort(-scores, axis=1, kind="stable")[:, self.k - 1]
        out[...] = np.take_along_axis(rows, places[:, None], 1)[:, 0]

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        """Count for each score how many stand before it: lines are short."""
        scores, rows = inputs
        with writer.loops(out.extents) as place:
            mine, other, before = (writer.fresh("w") for _ in range(3))
            writer.line(f"{out.at(*place)} = {rows.at(*place, 'u64(0)')}")
            with writer.loop(scores.extents[1]) as j:
                writer.line(f"{mine} = {scores.at(*place, j)}")
                writer.line(f"{before} = u64(0)")
                with writer.loop(scores.extents[1]) as m:
                    writer.line(f"{other} = {scores.at(*place, m)}")
                    earlier = f"u64(({other} == {mine}) & (u64({m}) < u64({j})))"
                    writer.line(f"{before} += u64({other} > {mine}) + {earlier}")
                with writer.block(f"if {before} == u64({self.k - 1}):"):
                    writer.line(f"{out.at(*place)} = {rows.at(*place, j)}")
