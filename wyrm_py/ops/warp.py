"""WARP's search: draw rows until one scores within a margin of the positive.

Like the samplers of sampling.py it draws from the stream of its own op, and its
row numbers pass no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Op, Spec, require_floats
from wyrm_py.ops.gather import check_rows
from wyrm_py.ops.sampling import (
    INDEX,
    check_users,
    contains,
    emit_contains,
    emit_span,
    known_of,
    require_last,
    require_users,
)

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer

T = TypeVar("T")

EXACT_WORDS = 1 << 17
"""Words of a sieve with a bit for every row: 1 MiB, a core's second-level cache."""


@dataclass(frozen=True)
class Given(Generic[T]):
    """The inputs of a search by name; those left out are empty.

    bias : (R, 1) of a table (R, D); last : (b,); features : starts, columns and values
    of CSR rows; known : user (b,), starts and rows of those not to be found, and their
    sieve, if they have one
    """

    query: T
    table: T
    score: T
    bias: Sequence[T]
    last: Sequence[T]
    features: Sequence[T]
    known: Sequence[T]


@dataclass(frozen=True)
class SampleWarp(Op):
    """Draw rows until one violates the margin.

    Where nothing is found the weight is zero and the row the last one drawn: a
    step of one example then does nothing, in a batch no row is hit in particular.

    Inputs: query (b, D), table (R, D), positive score (b, 1), and as the flags say
    those of `Given`. Outputs: row (b,), weight (b, 1). A known row costs a try, as
    in LightFM. With features the rows drawn are those of the CSR matrix, which
    add up rows of the table.
    """

    max_tries: int
    margin: float
    has_bias: bool
    has_last: bool = False
    has_features: bool = False
    sieve_is_exact: bool = False
    random = True
    idle_output = 1

    def given(self, inputs: Sequence[T]) -> Given[T]:
        """Return the inputs by name."""
        last = 3 + self.has_bias
        features = last + self.has_last
        return Given(
            query=inputs[0],
            table=inputs[1],
            score=inputs[2],
            bias=inputs[3:last],
            last=inputs[last:features],
            features=inputs[features : self._user],
            known=inputs[self._user :],
        )

    def infer(self, *inputs: Spec) -> tuple[Spec, Spec]:
        given = self.given(inputs)
        query, table, score = given.query, given.table, given.score
        require_floats(self.name, query, table, score)
        rows = query.shape[0] if len(query.shape) == 2 else -1
        if len(table.shape) != 2 or query.shape != (rows, table.shape[1]):
            raise ShapeError(
                f"sample_warp: the query must be (b, D) for a table (R, D), got "
                f"{query.shape} and {table.shape}."
            )
        if score.shape != (rows, 1):
            raise ShapeError(
                f"sample_warp: the positive score must be ({rows}, 1), got "
                f"{score.shape}."
            )
        for bias in given.bias:
            if bias.shape != (table.shape[0], 1):
                raise ShapeError(
                    f"sample_warp: the bias must be ({table.shape[0]}, 1), got "
                    f"{bias.shape}."
                )
        row = Spec((rows,), INDEX)
        for last in given.last:
            require_last(self.name, row, last)
        require_users(self.name, row, given.known[:1])
        return row, score

    @property
    def _user(self) -> int:
        return 3 + self.has_bias + self.has_last + 3 * self.has_features

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        user, last = self._user, 3 + self.has_bias
        limits = {last: self.rows_below(*inputs)} if self.has_last else {}
        if len(inputs) > user:
            limits[user] = inputs[user + 1].shape[0] - 1
        return limits

    def rows_below(self, *inputs: Spec) -> int:
        given = self.given(inputs)
        return (
            given.features[0].shape[0] - 1 if given.features else given.table.shape[0]
        )

    def forward(self, out: Any, *inputs: Any) -> None:
        stream, *rest = inputs
        given = self.given(rest)
        query, table = given.query, given.table
        count = len(given.features[0]) - 1 if given.features else len(table)
        check_users(self.name, given.known)
        for last in given.last:
            check_rows(self.name, last, count)
        items, weights = out
        for b in range(len(query)):
            mine = known_of(given.known, (b,))
            rows = int(given.last[0][b]) + 1 if given.last else count
            weights[b] = 0
            floor = given.score[b, 0] - table.dtype.type(self.margin)
            for tries in range(1, self.max_tries + 1):
                items[b] = row = stream.below(rows)
                if self._score(given, b, row) > floor and not contains(mine, row):
                    weights[b] = np.log(max((rows - 1) // tries, 1))
                    break

    def _score(self, given: Given[Array], b: int, row: int) -> Any:
        columns: Any = [row]
        values: Any = np.ones(1, given.table.dtype)
        if given.features:
            starts, indices, data = given.features
            span = slice(starts[row], starts[row + 1])
            columns, values = indices[span], data[span]
        score = given.table[columns] @ given.query[b]
        for bias in given.bias:
            score = score + bias[columns, 0]
        return np.dot(values, score)

    def emit(self, writer: Writer, out: Any, *inputs: Operand) -> None:
        given = self.given(inputs)
        item, weight = out
        kind = given.table.type
        count = (given.features or [given.table])[0].extents[0].text
        limit = f"({count} - u64(1))" if given.features else count
        with writer.loops(item.extents) as place:
            for last in given.last:
                limit = writer.fresh("w")
                writer.line(f"{limit} = {last.at(*place)} + u64(1)")
            floor, row = writer.fresh("w"), writer.fresh("w")
            writer.line(f"{row} = u64(0)")
            writer.line(f"{weight.at(*place, '0')} = {kind}(0)")
            start = f"{given.score.at(*place, '0')} - {kind}({self.margin!r})"
            writer.line(f"{floor} = {start}")
            if given.known:
                span = emit_span(writer, place, given.known)
            tries = writer.fresh("j")
            with writer.block(f"for {tries} in range({self.max_tries}):"):
                writer.line(f"{row} = {writer.draw_below(limit)}")
                total = _emit_score(writer, given, place, row)
                with writer.block(f"if {total} > {floor}:"):
                    if given.known:  # looked for only now: few draws come so far
                        hit = self._emit_known(writer, given.known, place, span, row)
                        with writer.block(f"if {hit}:"):
                            writer.line("continue")
                    rank = f"({limit} - u64(1)) // u64({tries} + 1)"
                    largest = f"maximum({kind}({rank}), {kind}(1))"
                    writer.line(f"{weight.at(*place, '0')} = ln({largest})")
                    writer.line("break")
            writer.line(f"{item.at(*place)} = {row}")

    def _emit_known(
        self,
        writer: Writer,
        known: Sequence[Operand],
        place: Sequence[str],
        span: tuple[str, str],
        row: str,
    ) -> str:
        """Write whether a row is known; return the name of the answer."""
        hit = writer.fresh("hit")
        user, _, rows, *sieves = known
        for sieve in sieves:
            bit, word = writer.fresh("m"), writer.fresh("m")
            bits = f"(u64(64) * {sieve.extents[1].text})"
            writer.line(f"{bit} = {row} & ({bits} - u64(1))")
            member = user.at(*place[: len(user.extents)])
            writer.line(f"{word} = u64({sieve.at(member, f'({bit} >> u64(6))')})")
            writer.line(f"{hit} = (({word} >> ({bit} & u64(63))) & u64(1)) == u64(1)")
            if not self.sieve_is_exact:
                with writer.block(f"if {hit}:"):
                    emit_contains(writer, hit, span, rows, row)
        if not sieves:
            emit_contains(writer, hit, span, rows, row)
        return hit


def known_sieve(starts: Array, rows: Array, count: int) -> Array | None:
    """Return which rows, modulo the number of bits, each user knows: one bit each.

    Words of 64 bits, shape (U, words). It is exact if that many bits fit into a
    core's cache, else 512 a user (a cache line), and None where users know so few
    rows that it would be larger than what it stands for. On MovieLens 100K a step
    of WARP takes 114 ns without and 76 ns with it.
    """
    users = len(starts) - 1
    words = max(1, 1 << max(0, count - 1).bit_length() >> 6)
    if users * words > EXACT_WORDS:
        words = 8
        if users * words * 8 > 16 * len(rows):
            return None
    sieve = np.zeros((users, words), np.uint64)
    places = np.asarray(rows, np.uint64) & np.uint64(64 * words - 1)
    owners = np.repeat(np.arange(users), np.diff(starts))
    bits = np.uint64(1) << (places & np.uint64(63))
    np.bitwise_or.at(sieve, (owners, (places >> np.uint64(6)).astype(np.intp)), bits)
    return sieve.view(np.int64)


def _emit_score(
    writer: Writer, given: Given[Operand], place: Sequence[str], row: str
) -> str:
    """Write the score of a drawn row; return its name."""
    kind, total = given.table.type, writer.fresh("w")

    def product(column: str) -> str:
        """Write the score of one row of the table."""
        part = writer.fresh("w")
        first = "0" if not given.bias else given.bias[0].at(column, "0")
        writer.line(f"{part} = {kind}({first})")
        with writer.loop(given.table.extents[1]) as j:
            factors = f"{given.query.at(*place, j)} * {given.table.at(column, j)}"
            writer.line(f"{part} = {part} + {factors}")
        return part

    if not given.features:
        return product(row)
    starts, indices, data = given.features
    first, count = writer.fresh("m"), writer.fresh("m")
    writer.line(f"{first} = u64({starts.at(row)})")
    writer.line(f"{count} = u64({starts.at(f'({row} + u64(1))')}) - {first}")
    query, entries, span = given.query.within(*place), (indices, data), (first, count)
    call = writer.row_product(
        "dot_of_rows", query, given.table, entries, span, given.bias
    )
    if call is not None:
        writer.line(f"{total} = {call}")
        return total
    writer.line(f"{total} = {kind}(0)")
    entry = writer.fresh("j")
    with writer.block(f"for {entry} in range({first}, {first} + {count}):"):
        column = writer.fresh("r")
        writer.line(f"{column} = u64({indices.at(entry)})")
        part = product(column)
        writer.line(f"{total} = {total} + {data.at(entry)} * {part}")
    return total
