"""Nodes that draw rows: negative samplers. WARP's search is in warp.py.

A sampler's value is integer and passes no gradient. It draws from the stream
of its own op, the same numbers in both engines. Known positives come as CSR
rows, sorted, shared by all workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wyrm_py.errors import DataError, GraphError, SettingError, ShapeError
from wyrm_py.graph.op import Array, Op, Spec, require_index
from wyrm_py.ops.gather import check_rows

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node

INDEX = np.dtype(np.int64)
MOST_ROWS = 1 << 32


@dataclass(frozen=True)
class SampleUniform(Op):
    """Rows drawn evenly; with known rows, evenly from all others.

    Inputs: like (its shape, with an axis of `draws` more if that is a number), limit
    (its length), and if some rows are known user, starts, known. One draw a row: the
    r-th row that is not known is found by bisection, so there is nothing to reject.
    """

    draws: int | None = None
    random = True
    shape_only = (0, 1)

    def infer(self, *inputs: Spec) -> Spec:
        require_index(self.name, inputs[0])
        require_users(self.name, inputs[0], inputs[2:3])
        return _drawn(inputs[0], self.draws)

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {2: inputs[3].shape[0] - 1} if len(inputs) > 2 else {}

    def rows_below(self, *inputs: Spec) -> int:
        return inputs[1].shape[0]

    def forward(self, out: Array, *inputs: Any) -> None:
        stream, _, limit, *known = inputs
        check_users(self.name, known)
        for place in np.ndindex(out.shape):
            mine = known_of(known, place)
            row = stream.below(len(limit) - len(mine))
            # known[j] - j counts the free rows before the j-th known one
            out[place] = row + np.searchsorted(
                mine - np.arange(len(mine)), row, side="right"
            )

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        limit = inputs[1].extents[0].text
        with writer.loops(out.extents) as place:
            if len(inputs) == 2:
                writer.line(f"{out.at(*place)} = {writer.draw_below(limit)}")
                return
            start, stop = emit_span(writer, place, inputs[2:])
            row = writer.draw_below(f"({limit} - ({stop} - {start}))")

            def before(middle: str) -> str:
                known = f"u64({inputs[4].at(middle)})"
                return f"{known} - ({middle} - {start}) <= {row}"

            low = _emit_bisection(writer, (start, stop), before)
            writer.line(f"{out.at(*place)} = {row} + ({low} - {start})")


@dataclass(frozen=True)
class SampleUpTo(Op):
    """Rows drawn evenly from [0, last], with a last row for each example.

    Inputs: like (as for SampleUniform), last. What is drawn is checked through `last`,
    which must be a row number of the tables that the draw is looked up in.
    """

    draws: int | None = None
    random = True
    shape_only = (0,)
    moves_rows = True

    def infer(self, *inputs: Spec) -> Spec:
        require_index(self.name, inputs[0])
        require_last(self.name, inputs[0], inputs[1])
        return _drawn(inputs[0], self.draws)

    def forward(self, out: Array, *inputs: Any) -> None:
        stream, _, last = inputs
        for place in np.ndindex(out.shape):
            out[place] = stream.below(int(last[place[: last.ndim]]) + 1)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        last = inputs[1]
        with writer.loops(out.extents) as place:
            newest = last.at(*place[: len(last.extents)])
            drawn = writer.draw_below(f"({newest} + u64(1))")
            writer.line(f"{out.at(*place)} = {drawn}")


@dataclass(frozen=True)
class SamplePopular(Op):
    """Rows drawn in proportion to counts, by Walker's alias method.

    Inputs: like (as for SampleUniform), thresholds, aliases, and if some rows are
    known user, starts, known: then a known row is drawn again, up to `max_tries`
    times, and after that the next row that is not known is taken.
    """

    draws: int | None = None
    max_tries: int = 32
    random = True
    shape_only = (0,)

    def infer(self, *inputs: Spec) -> Spec:
        require_index(self.name, inputs[0])
        require_users(self.name, inputs[0], inputs[3:4])
        return _drawn(inputs[0], self.draws)

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {3: inputs[4].shape[0] - 1} if len(inputs) > 3 else {}

    def rows_below(self, *inputs: Spec) -> int:
        return inputs[1].shape[0]

    def forward(self, out: Array, *inputs: Any) -> None:
        stream, _, thresholds, aliases, *known = inputs
        check_users(self.name, known)
        for place in np.ndindex(out.shape):
            mine = known_of(known, place)
            for _ in range(self.max_tries):
                bits = stream.draw()
                row = ((bits >> 32) * len(thresholds)) >> 32
                if bits & 0xFFFFFFFF >= thresholds[row]:
                    row = int(aliases[row])
                if not contains(mine, row):
                    break
            while contains(mine, row):
                row = (row + 1) % len(thresholds)
            out[place] = row

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        _, thresholds, aliases, *known = inputs
        limit = thresholds.extents[0].text
        with writer.loops(out.extents) as place:
            row = writer.fresh("r")
            writer.line(f"{row} = u64(0)")
            if not known:
                self._emit_draw(writer, row, limit, thresholds, aliases)
                writer.line(f"{out.at(*place)} = {row}")
                return
            span = emit_span(writer, place, known)
            hit = writer.fresh("hit")
            writer.line(f"{hit} = True")
            with writer.block(f"for {writer.fresh('j')} in range({self.max_tries}):"):
                self._emit_draw(writer, row, limit, thresholds, aliases)
                emit_contains(writer, hit, span, known[2], row)
                with writer.block(f"if not {hit}:"):
                    writer.line("break")
            with writer.block(f"while {hit}:"):
                writer.line(f"{row} = {row} + u64(1)")
                with writer.block(f"if {row} == {limit}:"):
                    writer.line(f"{row} = u64(0)")
                emit_contains(writer, hit, span, known[2], row)
            writer.line(f"{out.at(*place)} = {row}")

    def _emit_draw(
        self,
        writer: Writer,
        row: str,
        limit: str,
        thresholds: Operand,
        aliases: Operand,
    ) -> None:
        bits = writer.draw()
        writer.line(f"{row} = ((({bits} >> u64(32)) * {limit}) >> u64(32))")
        low = f"({bits} & u64(4294967295))"
        with writer.block(f"if {low} >= u64({thresholds.at(row)}):"):
            writer.line(f"{row} = u64({aliases.at(row)})")


def _drawn(like: Spec, draws: int | None) -> Spec:
    return Spec(like.shape if draws is None else (*like.shape, draws), INDEX)


# -- known rows, shared by the samplers -----------------------------------------


def require_users(name: str, like: Spec, users: Sequence[Spec]) -> None:
    for user in users:
        require_index(name, user)
        if user.shape[:1] != like.shape[:1] or len(user.shape) > len(like.shape):
            raise ShapeError(
                f"{name}: one user an example is needed, got users of shape "
                f"{user.shape} for draws of shape {like.shape}."
            )


def require_last(name: str, like: Spec, last: Spec) -> None:
    """Raise unless `last` gives one row number an example."""
    require_index(name, last)
    if last.shape != like.shape[:1]:
        raise ShapeError(
            f"{name}: one last row an example is needed, got `last` of shape "
            f"{last.shape} for draws of shape {like.shape}."
        )


def check_users(name: str, known: Sequence[Array]) -> None:
    if known:
        check_rows(name, known[0], len(known[1]) - 1)


def known_of(known: Sequence[Array], place: tuple[int, ...]) -> Array:
    if not known:
        return np.empty(0, INDEX)
    user, starts, rows = known[:3]
    mine = user[place[: user.ndim]]
    return np.asarray(rows[starts[mine] : starts[mine + 1]])


def contains(mine: Array, row: int) -> bool:
    at = int(np.searchsorted(mine, row))
    return at < len(mine) and mine[at] == row


def emit_span(
    writer: Writer, place: Sequence[str], known: Sequence[Operand]
) -> tuple[str, str]:
    """Write where a user's known rows stand."""
    user, starts = known[:2]
    mine, start, stop = writer.fresh("r"), writer.fresh("m"), writer.fresh("m")
    writer.line(f"{mine} = {user.at(*place[: len(user.extents)])}")
    writer.line(f"{start} = u64({starts.at(mine)})")
    writer.line(f"{stop} = u64({starts.at(f'({mine} + u64(1))')})")
    return start, stop


def emit_contains(
    writer: Writer, hit: str, span: tuple[str, str], known: Operand, row: str
) -> None:
    """Write a bisection that sets `hit` if the row is among known[span]."""
    low = _emit_bisection(writer, span, lambda m: f"u64({known.at(m)}) < {row}")
    writer.line(f"{hit} = False")
    with writer.block(f"if {low} < {span[1]}:"):
        writer.line(f"{hit} = u64({known.at(low)}) == {row}")


def _emit_bisection(
    writer: Writer, span: tuple[str, str], before: Callable[[str], str]
) -> str:
    """Write a search for the first place in a span that is not `before`.

    By selects instead of branches: which half is taken cannot be predicted. A
    search costs about 24 ns an example on MovieLens 100K; with one length for all
    users, so that its end is predictable too, it was dearer.
    """
    low, left, half, middle, goes = (writer.fresh("m") for _ in range(5))
    writer.line(f"{low} = {span[0]}")
    writer.line(f"{left} = {span[1]} - {span[0]}")
    with writer.block(f"while {left} > u64(0):"):
        writer.line(f"{half} = {left} >> u64(1)")
        writer.line(f"{middle} = {low} + {half}")
        writer.line(f"{goes} = {before(middle)}")
        writer.line(f"{low} = where({goes}, {middle} + u64(1), {low})")
        writer.line(f"{left} = where({goes}, {left} - {half} - u64(1), {half})")
    return low


def alias_tables(counts: Array) -> tuple[Array, Array]:
    """Return thresholds in [0, 2**32] and aliases that draw like `counts`.

    Source: Walker, "An efficient method for generating discrete random
    variables with general distributions", ACM TOMS 3 (1977); Vose's
    construction (1991), with running sums in place of its two stacks.
    """
    share = counts * (len(counts) / counts.sum())
    aliases = np.arange(len(counts))
    small, large = np.flatnonzero(share < 1), np.flatnonzero(share >= 1)
    if len(small) and len(large):
        # small ones are filled in turn by the large one whose surplus is not used up;
        # one that gave more than that is below 1 and filled by the next
        wanted, spare = np.cumsum(1 - share[small]), np.cumsum(share[large] - 1)
        before = np.append(0, wanted[:-1])
        giver = np.searchsorted(spare, before, side="right")
        aliases[small] = large[np.minimum(giver, len(large) - 1)]
        taker = np.searchsorted(wanted, spare[:-1], side="right")
        used = np.flatnonzero(taker < len(small))
        used = used[before[taker[used]] < spare[used]]
        aliases[large[used]] = large[used + 1]
        share[large] = 1
        share[large[used]] -= wanted[taker[used]] - spare[used]
    return np.minimum(share * 2.0**32, 2.0**32).astype(np.int64), aliases


def require_rows(name: str, rows: Any) -> int:
    """Return a number of rows to draw from, or raise a SettingError."""
    whole = isinstance(rows, int | np.integer) and not isinstance(rows, bool)
    if not whole or not 0 < rows < MOST_ROWS:
        raise SettingError(
            f"{name}: the number of rows must be an integer in [1, 2**32), got "
            f"{rows!r}."
        )
    return int(rows)


def require_draws(name: str, draws: Any) -> int | None:
    """Return how many rows are drawn for each element, or raise a SettingError."""
    if draws is None:
        return None
    whole = isinstance(draws, int | np.integer) and not isinstance(draws, bool)
    if not whole or draws < 1:
        raise SettingError(
            f"{name}: draws must be an integer above zero or None, got {draws!r}."
        )
    return int(draws)


def require_counts(name: str, counts: ArrayLike) -> Array:
    """Return counts as float64, or raise a DataError."""
    try:
        array = np.asarray(counts, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    fits = array.size and np.isfinite(array).all() and (array >= 0).all()
    if not fits or array.ndim != 1 or not 0 < array.sum() < np.inf:
        raise DataError(
            f"{name}: counts must be finite, not negative and not all zero, "
            "one-dimensional with one number a row."
        )
    return array


def require_user(name: str, known: Any, user: Node | None) -> None:
    """Raise a GraphError unless `known` and `user` come together."""
    if (known is None) != (user is None):
        raise GraphError(
            f"{name}: `known` and `user` go together: the known rows of each user, "
            "and the index node of the example's user."
        )
