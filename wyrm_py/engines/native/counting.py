"""Counting how many numbers of an array are above a score, a register at a time.

LLVM's own vectoriser widens each comparison to 64 bits before it adds them up, and
takes eight times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from wyrm_py.engines.native.vectors import INT, SHORT, Values, Vectors, at, loop


def counts(values: Any, begin: Any, end: Any, score: Any) -> tuple[int, int]:
    """Return how many of values[begin:end] are above a score, and above or level.

    Parameters
    ----------
    values : float32 array, one dimension
        NaN is neither.
    begin, end : 0 <= begin <= end <= len(values)
    score : float32
    """
    part = values[begin:end]
    return int(np.sum(part > score)), int(np.sum(part >= score))


@overload(counts, inline="always")
def _counts(values: Any, begin: Any, end: Any, score: Any) -> Any:
    def native(values: Any, begin: Any, end: Any, score: Any) -> Any:
        return _count(values, begin, end, score)

    return native


@intrinsic
def _count(_typing: Any, values: Any, begin: Any, end: Any, score: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(
            context, builder, value=given[0]
        )
        first, count = given[1], builder.sub(given[2], given[1])
        start = at(builder, array.data, first)
        v = Vectors(builder, "f4")
        level = v.splat(given[3])
        blank = ir.Constant(ir.VectorType(SHORT, v.lanes), None)

        def body(k: Any, sums: Values, mask: Any = None) -> Values:
            numbers = v.load(at(builder, start, k), mask)
            found = []
            for sign, total in zip((">", ">="), sums, strict=True):
                hits = builder.fcmp_ordered(sign, numbers, level)
                if mask is not None:
                    hits = builder.and_(hits, mask)
                found.append(builder.sub(total, builder.sext(hits, blank.type)))
            return found

        k, sums = loop(builder, INT(0), count, v.lanes, [blank, blank], body)
        rest = v.first(builder.sub(count, k))
        stop = builder.add(count, INT(v.lanes - 1))
        _, sums = loop(
            builder, k, stop, v.lanes, sums, lambda k, sums: body(k, sums, rest)
        )
        totals = [_sum_of_lanes(builder, total, v.lanes) for total in sums]
        return context.make_tuple(builder, signature.return_type, totals)

    result = types.UniTuple(types.int64, 2)
    return result(values, types.int64, types.int64, types.float32), generate


def _sum_of_lanes(builder: Any, vector: Any, lanes: int) -> Any:
    name = f"llvm.vector.reduce.add.v{lanes}i32"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(SHORT, [vector.type]), name
    )
    return builder.zext(builder.call(function, [vector]), INT)
