"""What emitted modules import for weighted sums of a few rows of a table.

Rows stay in registers from the first entry to the last: loops of text would load and
store the sum again for each row, or add up the lanes of each row's product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from wyrm_py.engines.native.operands import type_name
from wyrm_py.engines.native.strict import Real
from wyrm_py.engines.native.vectors import INT, Values, Vectors, at, loop

__all__ = ["dot_of_rows", "rounded_sum", "sum_of_rows"]

Body = Callable[[Any, Values, Values, Any], Values]

LANES, BLOCK = {"f4": 8, "f8": 4}, 4
"""Numbers of a vector, and vectors of a row that are held at once: vectors of 64 bytes
are no faster here, and slow down what stands around them."""


def sum_of_rows(
    out: Any, start: Any, table: Any, width: Any,
    rows: Any, weights: Any, first: Any, count: Any,
) -> None:  # fmt: skip
    """Write the sum of rows of a table (R, width), each times its weight.

    Rows and weights are the `count` entries of two arrays from `first` on.
    """
    out[int(start) : int(start + width)] = _summed(
        table, width, rows, weights, first, count
    )


def dot_of_rows(
    query: Any, start: Any, table: Any, width: Any,
    rows: Any, weights: Any, first: Any, count: Any, *bias: Any,
) -> Any:  # fmt: skip
    """Return the product of a query with what `sum_of_rows` writes.

    With biases (R,) each row counts with its own beside its product.
    """
    entries = rows, weights, first, count
    total = query[int(start) : int(start + width)] @ _summed(table, width, *entries)
    for each in bias:
        total = total + _summed(each, 1, *entries)[0]
    return total


def rounded_sum(a: Any, b: Any) -> Any:
    """Return a + b, of two products each of them rounded.

    What takes itself away then comes to zero, also natively: after a fused product
    and sum Adagrad would take its first step along the rest.
    """
    return a + b


def _summed(
    table: Any, width: Any, rows: Any, weights: Any, first: Any, count: Any
) -> Any:
    entries = slice(int(first), int(first + count))
    starts = np.asarray(rows[entries], np.int64) * int(width)
    return weights[entries] @ table[np.add.outer(starts, np.arange(int(width)))]


class _Rows:
    """Appends instructions for the rows that a call names."""

    def __init__(self, builder: Any, signature: Any, given: Any) -> None:
        self.builder = builder
        _, _, self.table, self.width, rows, weights, first, self.count = given[:8]
        self.bias = given[8:]
        self.unsigned = not signature.args[1][3].dtype.signed
        self.rows = at(builder, rows, first)
        self.weights = at(builder, weights, first)
        kind = type_name(as_dtype(signature.args[0].dtype))
        self.vectors = Vectors(builder, kind, LANES[kind])

    def over_blocks(self, body: Body, carried: Values) -> Values:
        """Give each block of columns and its sums to a body that returns `carried`."""
        builder, lanes = self.builder, self.vectors.lanes

        def block(column: Any, carried: Values) -> Values:
            return body(column, self._sums(column, BLOCK), carried, None)

        column, carried = loop(
            builder, INT(0), self.width, BLOCK * lanes, carried, block
        )
        left = builder.sub(self.width, column)

        def rest(offset: Any, carried: Values) -> Values:
            """What is left is less than a block: vectors with a mask."""
            mask = self.vectors.first(builder.sub(left, offset))
            place = builder.add(column, offset)
            return body(place, self._sums(place, 1, mask), carried, mask)

        padded = builder.add(left, INT(lanes - 1))
        return loop(builder, INT(0), padded, lanes, carried, rest)[1]

    def _sums(self, column: Any, size: int, mask: Any = None) -> Values:
        """Return the sums of some vectors of columns, and those of the biases."""
        builder, vectors = self.builder, self.vectors
        table = at(builder, self.table, column)

        def entry(k: Any, sums: Values) -> Values:
            row = builder.load(at(builder, self.rows, k))
            extend = builder.zext if self.unsigned else builder.sext
            row = row if row.type == INT else extend(row, INT)
            weight = builder.load(at(builder, self.weights, k))
            several = vectors.splat(weight)
            place = at(builder, table, (row, self.width))
            found = [
                vectors.fused(
                    several,
                    vectors.load(at(builder, place, INT(n * vectors.lanes)), mask),
                    total,
                )
                for n, total in enumerate(sums[:size])
            ]
            for bias, total in zip(self.bias, sums[size:], strict=True):
                part = builder.fmul(weight, builder.load(at(builder, bias, row)))
                found.append(builder.fadd(total, part, ("contract",)))
            return found

        zeros = [vectors.zero] * size + [vectors.real(0)] * len(self.bias)
        return loop(builder, INT(0), self.count, 1, zeros, entry)[1]


@intrinsic
def _sum_of_rows(_typing: Any, out: Any, *rest: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, packed: Any) -> Any:
        given = _unpacked(builder, packed)
        rows = _Rows(builder, signature, given)

        def store(column: Any, sums: Values, carried: Values, mask: Any) -> Values:
            place = at(builder, given[0], given[1], column)
            for n, total in enumerate(sums):
                lane = INT(n * rows.vectors.lanes)
                rows.vectors.store(total, at(builder, place, lane), mask)
            return carried

        rows.over_blocks(store, [])
        return context.get_dummy_value()

    return types.void(out, types.StarArgTuple(rest)), generate


@overload(sum_of_rows)
def _sum_of_rows_overload(
    out: Any, start: Any, table: Any, width: Any,
    rows: Any, weights: Any, first: Any, count: Any,
) -> Any:  # fmt: skip
    def native(
        out: Any, start: Any, table: Any, width: Any,
        rows: Any, weights: Any, first: Any, count: Any,
    ) -> None:  # fmt: skip
        _sum_of_rows(out, start, table, width, rows, weights, first, count)

    return native


@intrinsic
def _dot_of_rows(_typing: Any, query: Any, *rest: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, packed: Any) -> Any:
        given = _unpacked(builder, packed)
        rows = _Rows(builder, signature, given)
        vectors = rows.vectors

        def add(column: Any, sums: Values, carried: Values, mask: Any) -> Values:
            place = at(builder, given[0], given[1], column)
            result, bias = carried
            many = len(sums) - len(rows.bias)
            for n, total in enumerate(sums[:many]):
                lane = INT(n * rows.vectors.lanes)
                factor = vectors.load(at(builder, place, lane), mask)
                result = vectors.fused(factor, total, result)
            return [result, *sums[many:], bias][:2]

        result, bias = rows.over_blocks(add, [vectors.zero, vectors.real(0)])
        return builder.fadd(bias, vectors.total(result))

    return query.dtype(query, types.StarArgTuple(rest)), generate


@overload(dot_of_rows)
def _dot_of_rows_overload(
    query: Any, start: Any, table: Any, width: Any,
    rows: Any, weights: Any, first: Any, count: Any, *bias: Any,
) -> Any:  # fmt: skip
    def native(
        query: Any, start: Any, table: Any, width: Any,
        rows: Any, weights: Any, first: Any, count: Any, *bias: Any,
    ) -> Any:  # fmt: skip
        return _dot_of_rows(
            query, start, table, width, rows, weights, first, count, *bias
        )

    return native


@intrinsic
def _rounded_sum(_typing: Any, a: Any, b: Any) -> Any:
    def generate(_context: Any, builder: Any, _sign: Any, given: Any) -> Any:
        left, right = (Real(builder, value) for value in given)
        return (left + right).value

    return a(a, b), generate


@overload(rounded_sum)
def _rounded_sum_overload(a: Any, b: Any) -> Any:
    def native(a: Any, b: Any) -> Any:
        return _rounded_sum(a, b)

    return native


def _unpacked(builder: Any, packed: Any) -> list[Any]:
    return [packed[0], *cgutils.unpack_tuple(builder, packed[1])]
