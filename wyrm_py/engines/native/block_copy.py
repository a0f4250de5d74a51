"""The kernel that copies blocks of up to four axes with any strides.

Axes that follow each other in both arrays become one; rows are copied by vectors,
and where rows of one array are columns of the other, by turning square blocks.
"""

from __future__ import annotations

from typing import Any

from wyrm_py.engines.native.vectors import (
    INT,
    REALS,
    Values,
    Vectors,
    at,
    calling,
    define,
    loop,
)

TEXT = '''\
"""Copies of blocks of {kind}, compiled once by wyrm_py; safe to delete."""

from wyrm_py.engines.native.block_copy import rows
from wyrm_py.engines.native.kernels import kernel, u64
from wyrm_py.engines.native.tiles import copy, turn
from wyrm_py.engines.native.vectors import SIZES, lanes_of

SIZE, LANES = u64(SIZES["{kind}"]), u64(lanes_of("{kind}"))
NONE, ONE = u64(0), u64(1)

rows, turn, copy = rows("{kind}"), turn("{kind}", exact=True), copy("{kind}")


@kernel(14)
def run(to, b, n0, n1, n2, n3, t0, t1, t2, t3, s0, s1, s2, s3):
    for _ in range(3):  # join inner axes, move those of length one outward
        if n3 == ONE or n2 == ONE or (t2 == n3 * t3 and s2 == n3 * s3):
            if n3 == ONE:
                n3, t3, s3 = n2, t2, s2
            else:
                n3 = n3 * n2
            n2, t2, s2, n1, t1, s1, n0 = n1, t1, s1, n0, t0, s0, ONE
        elif n1 == ONE or (t1 == n2 * t2 and s1 == n2 * s2):
            n2, n1, t1, s1, n0 = n2 * n1, n0, t0, s0, ONE
        elif t0 == n1 * t1 and s0 == n1 * s1:
            n1, n0 = n1 * n0, ONE
    if t3 != ONE:  # the last axis: side by side in `to`
        if t2 == ONE:
            n2, t2, s2, n3, t3, s3 = n3, t3, s3, n2, t2, s2
        elif t1 == ONE:
            n1, t1, s1, n3, t3, s3 = n3, t3, s3, n1, t1, s1
        elif t0 == ONE:
            n0, t0, s0, n3, t3, s3 = n3, t3, s3, n0, t0, s0
    if s3 != ONE and s2 != ONE:  # the one before it: side by side in b
        if s1 == ONE:
            n1, t1, s1, n2, t2, s2 = n2, t2, s2, n1, t1, s1
        elif s0 == ONE:
            n0, t0, s0, n2, t2, s2 = n2, t2, s2, n0, t0, s0
    for i in range(n0):
        for j in range(n1):
            left, right = to + (i * t0 + j * t1) * SIZE, b + (i * s0 + j * s1) * SIZE
            if t3 == ONE and s3 == ONE:
                rows(left, t2, right, s2, n2, n3)
            elif t3 == ONE and s2 == ONE:
                for k in range(NONE, n3, LANES):
                    column, count = right + k * s3 * SIZE, min(LANES, n3 - k)
                    turn(left + k * SIZE, t2, column, s3, n2, count)
            else:
                copy(left, t2, t3, right, s2, s3, n2, n3)
'''


def rows(kind: str) -> Any:
    """Return the intrinsic rows(to, to_row, b, b_row, count, width): copy `count` rows
    of `width` numbers.
    """

    def build(module: Any) -> Any:
        name = "wyrm_rows"
        return module.globals.get(name) or _rows(module, kind, name)

    return calling(build, kind, (0, 2))


def _rows(module: Any, kind: str, name: str) -> Any:
    where = REALS[kind].as_pointer()
    function, builder = define(module, name, [where, INT, where, INT, INT, INT])
    to, to_row, b, b_row, count, width = function.args
    v = Vectors(builder, kind)

    def row(k: Any, _: Values) -> Values:
        target, source = at(builder, to, (k, to_row)), at(builder, b, (k, b_row))

        def vector(j: Any, _: Values) -> Values:
            v.store(v.load(at(builder, source, j)), at(builder, target, j))
            return []

        j, _ = loop(builder, INT(0), width, v.lanes, [], vector)
        mask = v.first(builder.sub(width, j))
        v.store(v.load(at(builder, source, j), mask), at(builder, target, j), mask)
        return []

    loop(builder, INT(0), count, 1, [], row)
    builder.ret_void()
    return function
