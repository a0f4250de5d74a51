"""Parts of matrix products that fit the registers, as LLVM functions.

C (rows, columns) = or += A B in three forms: `tile` (rows of B contiguous) scales
vectors of B by numbers of A, `dots` (rows of A and columns of B contiguous) adds up
vectors of products, `turn` copies columns into rows so that `tile` fits. Strides
count numbers. Each sum runs over K in one fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wyrm_py.engines.native.vectors import (
    INT,
    REALS,
    Values,
    Vectors,
    at,
    calling,
    define,
    has_avx512,
    lanes_of,
    loop,
)

ROWS = 6
VECTORS = 4 if has_avx512() else 2
"""A full tile is 6 rows of VECTORS registers: 24 of 32, or 12 of 16, hold sums."""
MASKS_ARE_FREE = has_avx512()
"""Else tiles of whole registers go without (a third faster on AVX2)."""
PARTIAL = 1000
"""Added to the number of a tile whose last register is not whole, there."""
CHAINS = 8
"""Sums kept apart in small tiles: a fused step has 4 cycles, two start in each."""


def dots_of(kind: str) -> int:
    """Return how many inner products `dots` computes side by side."""
    return min(CHAINS, lanes_of(kind))


Reads = Callable[[Any, int, Sequence[Any]], Callable[[Any], tuple[Values, Any]]]
"""How a tile reads: gives, for step k, addresses of A (one a row) and of B's row."""


def tile(kind: str) -> Any:
    """Return the intrinsic tile(rows, vectors, c, c_row, a, a_row, a_column, b, b_row,
    depth, tail, more): `tail` (1 to all) lanes of the last vector count.
    """
    return _tiles(kind, "wyrm_tile", _by_strides)


def listed_tile(kind: str) -> Any:
    """Return the intrinsic of a tile whose a_row, a_column and b_row are addresses of
    tables of offsets: rows and columns of A and rows of B lie anywhere.
    """
    return _tiles(kind, "wyrm_listed_tile", _by_lists)


def _by_strides(builder: Any, rows: int, given: Sequence[Any]) -> Any:
    a, a_row, a_column, b, b_row = given

    def places(k: Any) -> tuple[Values, Any]:
        left = at(builder, a, (k, a_column))
        found = [at(builder, left, (INT(i), a_row)) for i in range(rows)]
        return found, at(builder, b, (k, b_row))

    return places


def _by_lists(builder: Any, rows: int, given: Sequence[Any]) -> Any:
    a, a_rows, a_columns, b, b_rows = given
    tables = [
        builder.inttoptr(x, INT.as_pointer()) for x in (a_rows, a_columns, b_rows)
    ]

    def offset(table: int, k: Any) -> Any:
        return builder.load(at(builder, tables[table], k))

    starts = [at(builder, a, offset(0, INT(i))) for i in range(rows)]

    def places(k: Any) -> tuple[Values, Any]:
        column = offset(1, k)
        found = [at(builder, start, column) for start in starts]
        return found, at(builder, b, offset(2, k))

    return places


def _tiles(kind: str, name: str, reads: Reads) -> Any:
    def build(module: Any) -> Any:
        if name in module.globals:
            return module.globals[name]
        where = REALS[kind].as_pointer()
        given = [where, INT, where, INT, INT, where, INT, INT, INT, INT]
        function, builder = define(module, name, [INT, INT, *given])
        function.attributes.discard("noinline")
        function.attributes.add("alwaysinline")
        rows, vectors, *arguments = function.args
        number = builder.add(builder.mul(rows, INT(2 * VECTORS)), vectors)
        if not MASKS_ARE_FREE:
            partial = builder.icmp_unsigned("<", arguments[-2], INT(lanes_of(kind)))
            number = builder.add(number, builder.select(partial, INT(PARTIAL), INT(0)))
        masked = {0: True} if MASKS_ARE_FREE else {0: False, PARTIAL: True}
        end = builder.append_basic_block()
        switch = builder.switch(number, end)
        for i in range(1, ROWS + 1):
            for j in range(1, (2 * VECTORS if i == 1 else VECTORS) + 1):
                for offset in masked:
                    block = builder.append_basic_block()
                    switch.add_case(INT(i * 2 * VECTORS + j + offset), block)
                    builder.position_at_end(block)
                    own = f"{name}_{i}x{j}_{offset}"
                    size = (i, j, masked[offset])
                    builder.call(
                        _tile(module, kind, own, size, given, reads), arguments
                    )
                    builder.branch(end)
        builder.position_at_end(end)
        builder.ret_void()
        return function

    return calling(build, kind, (2, 4, 7))


def _tile(
    module: Any,
    kind: str,
    name: str,
    size: tuple[int, int, bool],
    given: Sequence[Any],
    reads: Reads,
) -> Any:
    rows, vectors, masked = size
    function, builder = define(module, name, given)
    c, c_row, *sources, depth, tail, more = function.args
    places = reads(builder, rows, sources)
    v = Vectors(builder, kind)
    masks = [None] * (vectors - 1) + [v.first(tail) if masked else None]
    cells = [(i, j) for i in range(rows) for j in range(vectors)]

    def place(i: int, j: int) -> Any:
        return at(builder, c, (INT(i), c_row), INT(j * v.lanes))

    def step(k: Any, sums: Values) -> Values:
        left, right = places(k)
        wide = [
            v.load(at(builder, right, INT(j * v.lanes)), mask)
            for j, mask in enumerate(masks)
        ]
        scales = [v.broadcast(number) for number in left]
        pairs = zip(cells, sums, strict=True)
        return [v.fused(scales[i], wide[j], total) for (i, j), total in pairs]

    apart = max(1, CHAINS // len(cells))
    width = len(cells)

    def steps(k: Any, sums: Values) -> Values:
        parts = [sums[u * width : (u + 1) * width] for u in range(apart)]
        new = [step(builder.add(k, INT(u)), part) for u, part in enumerate(parts)]
        return [total for part in new for total in part]

    # what is added to is not read where C is only written: it may hold anything
    again = v.splat(builder.icmp_unsigned("!=", more, INT(0)))
    started = [
        v.load(place(i, j), builder.and_(masks[j] or v.everything, again))
        for i, j in cells
    ]
    blank = [v.zero] * (width * (apart - 1))
    k, sums = loop(builder, INT(0), depth, apart, started + blank, steps)
    while len(sums) > width:
        half = len(sums) // 2
        pairs = zip(sums[:half], sums[half:], strict=True)
        sums = [builder.fadd(x, y) for x, y in pairs]
    if apart > 1:
        _, sums = loop(builder, k, depth, 1, sums, step)
    for (i, j), total in zip(cells, sums, strict=True):
        v.store(total, place(i, j), masks[j])
    builder.ret_void()
    return function


def dots(kind: str, rows: int) -> Any:
    """Return the intrinsic dots(c, c_row, a, a_row, b, b_column, depth, count, more)
    for some rows and `count` (1 to dots_of) columns.
    """

    def build(module: Any) -> Any:
        name = f"wyrm_dots_{rows}"
        return module.globals.get(name) or _dots(module, kind, name, rows)

    return calling(build, kind, (0, 2, 4))


def _dots(module: Any, kind: str, name: str, rows: int) -> Any:
    where = REALS[kind].as_pointer()
    given = [where, INT, where, INT, where, INT, INT, INT, INT]
    function, builder = define(module, name, given)
    c, c_row, a, a_row, b, b_column, depth, count, more = function.args
    v, width = Vectors(builder, kind), dots_of(kind)
    left = [at(builder, a, (INT(i), a_row)) for i in range(rows)]
    right = _columns(builder, b, b_column, count, width)

    def step(k: Any, sums: Values, mask: Any = None) -> Values:
        xs = [v.load(at(builder, pointer, k), mask) for pointer in left]
        ys = [v.load(at(builder, pointer, k), mask) for pointer in right]
        pairs = [(x, y) for x in xs for y in ys]
        return [v.fused(x, y, s) for (x, y), s in zip(pairs, sums, strict=True)]

    blank = [v.zero] * (rows * width)
    k, sums = loop(builder, INT(0), depth, v.lanes, blank, step)
    # the last loop runs once or never, over what is left of K
    left_over = v.first(builder.sub(depth, k))
    end = builder.add(depth, INT(v.lanes - 1))
    _, sums = loop(
        builder, k, end, v.lanes, sums, lambda k, sums: step(k, sums, left_over)
    )
    out = Vectors(builder, kind, width)
    mask = out.first(count)
    again = builder.and_(mask, out.splat(builder.icmp_unsigned("!=", more, INT(0))))
    for i in range(rows):
        place = at(builder, c, (INT(i), c_row))
        total = _lane_sums(v, sums[i * width : (i + 1) * width])
        out.store(builder.fadd(total, out.load(place, again)), place, mask)
    builder.ret_void()
    return function


def _columns(builder: Any, b: Any, stride: Any, count: Any, wanted: int) -> Values:
    """Return the addresses of columns; the last one again beyond `count`."""
    last = builder.sub(count, INT(1))
    numbers = [
        builder.select(builder.icmp_unsigned("<", INT(j), count), INT(j), last)
        for j in range(wanted)
    ]
    return [at(builder, b, (number, stride)) for number in numbers]


def _lane_sums(v: Vectors, vectors: Values) -> Any:
    """Return one vector with the sum of the lanes of each vector; at most one a lane.

    Groups of lanes are halved: the lower halves of two vectors side by side, plus
    the upper ones, are a vector with groups half as long.
    """
    group, count = v.lanes, len(vectors)
    while group > 1:
        half = group // 2
        starts = range(0, v.lanes, group)
        low = [g + k for g in starts for k in range(half)]
        if len(vectors) > 1:
            low += [v.lanes + lane for lane in low]
            pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        else:
            low = low[: count * half]
            pairs = [(vectors[0], vectors[0])]
        high = [lane + half for lane in low]
        vectors = [
            v.builder.fadd(v.shuffle(x, y, low), v.shuffle(x, y, high))
            for x, y in pairs
        ]
        group = half
    return vectors[0]


def turn(kind: str, exact: bool = False) -> Any:
    """Return the intrinsic turn(to, to_row, b, b_column, depth, count): copy `count`
    (1 to all lanes) contiguous columns of length `depth` into rows of one vector.

    Unless `exact`, whole vectors are written, and rows up to the next multiple of
    the lanes.
    """

    def build(module: Any) -> Any:
        name = "wyrm_turn_exact" if exact else "wyrm_turn"
        return module.globals.get(name) or _turn(module, kind, name, exact)

    return calling(build, kind, (0, 2))


def _turn(module: Any, kind: str, name: str, exact: bool) -> Any:
    where = REALS[kind].as_pointer()
    function, builder = define(module, name, [where, INT, where, INT, INT, INT])
    to, to_row, b, b_column, depth, count = function.args
    v = Vectors(builder, kind)
    columns = _columns(builder, b, b_column, count, v.lanes)
    own = v.first(count) if exact else None

    def copy(mask: Any) -> Callable[[Any, Values], Values]:
        def body(k: Any, _: Values) -> Values:
            block = [v.load(at(builder, column, k), mask) for column in columns]
            for i, row in enumerate(_transposed(v, block)):
                place, lanes = builder.add(k, INT(i)), own
                if exact and mask is not None:
                    inside = v.splat(builder.icmp_unsigned("<", place, depth))
                    lanes = builder.and_(own, inside)
                v.store(row, at(builder, to, (place, to_row)), lanes)
            return []

        return body

    k, _ = loop(builder, INT(0), depth, v.lanes, [], copy(None))
    end = builder.add(depth, INT(v.lanes - 1))
    loop(builder, k, end, v.lanes, [], copy(v.first(builder.sub(depth, k))))
    builder.ret_void()
    return function


def align(kind: str) -> Any:
    """Return the intrinsic align(to, to_row, b, b_row, depth, count): copy `depth` rows
    of `count` (1 to all lanes) numbers into rows of one vector.
    """

    def build(module: Any) -> Any:
        name = "wyrm_align"
        return module.globals.get(name) or _align(module, kind, name)

    return calling(build, kind, (0, 2))


def _align(module: Any, kind: str, name: str) -> Any:
    where = REALS[kind].as_pointer()
    function, builder = define(module, name, [where, INT, where, INT, INT, INT])
    to, to_row, b, b_row, depth, count = function.args
    v = Vectors(builder, kind)
    mask = v.first(count)

    def body(k: Any, _: Values) -> Values:
        row = v.load(at(builder, b, (k, b_row)), mask)
        v.store(row, at(builder, to, (k, to_row)))
        return []

    loop(builder, INT(0), depth, 1, [], body)
    builder.ret_void()
    return function


def _transposed(v: Vectors, block: Values) -> Values:
    """Return a square block with rows and columns exchanged, by halves of halves."""
    half = v.lanes // 2
    while half:
        low = [k - half + v.lanes if k & half else k for k in range(v.lanes)]
        high = [k + v.lanes if k & half else k + half for k in range(v.lanes)]
        for i in range(v.lanes):
            if not i & half:
                x, y = block[i], block[i + half]
                block[i], block[i + half] = v.shuffle(x, y, low), v.shuffle(x, y, high)
        half //= 2
    return block


def copy(kind: str) -> Any:
    """Return the intrinsic copy(to, to_row, to_column, b, b_row, b_column, m, n): copy
    (m, n) numbers one by one, between any strides.
    """

    def build(module: Any) -> Any:
        name = "wyrm_copy"
        return module.globals.get(name) or _copy(module, kind, name)

    return calling(build, kind, (0, 3))


def _copy(module: Any, kind: str, name: str) -> Any:
    where = REALS[kind].as_pointer()
    given = [where, INT, INT, where, INT, INT, INT, INT]
    function, builder = define(module, name, given)
    to, to_row, to_column, b, b_row, b_column, m, n = function.args

    def row(i: Any, _: Values) -> Values:
        def number(j: Any, _: Values) -> Values:
            value = builder.load(at(builder, b, (i, b_row), (j, b_column)))
            builder.store(value, at(builder, to, (i, to_row), (j, to_column)))
            return []

        loop(builder, INT(0), n, 1, [], number)
        return []

    loop(builder, INT(0), m, 1, [], row)
    builder.ret_void()
    return function
