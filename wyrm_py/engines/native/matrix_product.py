"""The source of the kernel for matrix products: which parts run, in which order.

Small products go straight to the registers. Larger ones copy panels of B, DEPTH by
WIDTH numbers, to the stack, where they stay in the second cache while tiles of A
run over them; A is read in place. GFLOP/s measured on one thread with AVX-512, here
and in OpenBLAS 0.3 (through numpy.matmul, whose call takes 0.7 us):

    1x48x128   104   15     32x784x128   164   98     512x512x512     147  149
    4x16x128   126   19     32x128x784^T 130   71     1000x1000x1000  127  145
    48x4x128^T  98   42     676x288x64   165  132     64x676x288^T    139   97

So there is no second way through a BLAS, which would start threads of its own below
each worker.
"""

TEXT = '''\
"""Matrix products of {kind}, compiled once by wyrm_py; safe to delete."""

from wyrm_py.engines.native.kernels import kernel, part, u64
from wyrm_py.engines.native.tiles import (
    DOTS, ROWS, VECTORS, align, dots, move, tile, turn,
)
from wyrm_py.engines.native.vectors import SIZES, lanes_of, scratch

SIZE, LANES = u64(SIZES["{kind}"]), u64(lanes_of("{kind}"))
HEIGHT, WIDTH = u64(ROWS), u64(VECTORS) * LANES  # of a tile
DEPTH = u64(256)  # of a panel of B: 64 KiB
BLOCK = u64(192)  # rows of A that meet a panel before the next one is copied
FEW, LONG = u64(4), u64(64)  # below FEW rows of A (times four if K is LONG) columns
# of B are read as they lie, else turned into rows
MANY = u64(64)  # rows of A for which it pays to copy rows of B into a panel
NONE, ONE, TWO, FOUR, COLUMNS = u64(0), u64(1), u64(2), u64(4), u64(DOTS)

tile, align, turn, move = (f("{kind}") for f in (tile, align, turn, move))
dots_1, dots_2 = dots("{kind}", 1), dots("{kind}", 2)
panel_memory = scratch("{kind}", int((DEPTH + LANES) * WIDTH))


@part
def pack(to, b, b_row, b_column, depth, width):
    for j in range(NONE, width, LANES):
        start, place = b + j * b_column * SIZE, to + j * SIZE
        count = min(LANES, width - j)
        if b_column == ONE:
            align(place, WIDTH, start, b_row, depth, count)
        elif b_row == ONE:
            turn(place, WIDTH, start, b_column, depth, count)
        else:
            for k in range(depth):
                for i in range(count):
                    number = start + (k * b_row + i * b_column) * SIZE
                    move(place + (k * WIDTH + i) * SIZE, number)


@part
def inner_products(c, c_row, a, a_row, b, b_column, m, n, k, more):
    for i in range(NONE, m, TWO):
        left = a + i * a_row * SIZE
        for j in range(NONE, n, COLUMNS):
            to = c + (i * c_row + j) * SIZE
            right, count = b + j * b_column * SIZE, min(COLUMNS, n - j)
            if i + ONE < m:
                dots_2(to, c_row, left, a_row, right, b_column, k, count, more)
            else:
                dots_1(to, c_row, left, a_row, right, b_column, k, count, more)


@part
def tiles(c, c_row, a, a_row, a_column, b, b_row, m, n, depth, more):
    """The product with rows of B side by side, of one or more panels."""
    width = WIDTH
    if m == ONE:
        width = TWO * WIDTH
    rows = m
    if m > HEIGHT:  # as equal as can be: 4 and 3 rather than 6 and 1
        count = (m + HEIGHT - ONE) // HEIGHT
        rows = (m + count - ONE) // count
    for j in range(NONE, n, width):
        columns = min(width, n - j)
        vectors = (columns + LANES - ONE) // LANES
        tail = columns - (vectors - ONE) * LANES
        to, left, right = c + j * SIZE, a, b + j * SIZE
        for i in range(NONE, m, rows):
            tile(
                min(rows, m - i), vectors, to, c_row, left, a_row, a_column,
                right, b_row, depth, tail, more,
            )  # fmt: skip
            to, left = to + rows * c_row * SIZE, left + rows * a_row * SIZE


@part
def blocks(c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, k, more):
    panel = panel_memory()
    for p in range(NONE, max(k, ONE), DEPTH):
        depth = min(DEPTH, k - p)
        for i in range(NONE, m, BLOCK):
            for j in range(NONE, n, WIDTH):
                width, rows = min(WIDTH, n - j), min(BLOCK, m - i)
                right = b + (p * b_row + j * b_column) * SIZE
                pack(panel, right, b_row, b_column, depth, width)
                left = a + (i * a_row + p * a_column) * SIZE
                to, again = c + (i * c_row + j) * SIZE, more if p == NONE else ONE
                tiles(
                    to, c_row, left, a_row, a_column, panel, WIDTH, rows, width,
                    depth, again,
                )  # fmt: skip


@kernel(12)
def run(c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, k, more):
    if n == ONE and c_row == ONE:  # a column is a row, and the product transposed
        a, a_row, a_column, b, b_row, b_column = b, b_column, b_row, a, a_column, a_row
        m, n = ONE, m
    if b_column == ONE and (m < MANY or n <= WIDTH):
        tiles(c, c_row, a, a_row, a_column, b, b_row, m, n, k, more)
    elif b_row == ONE and a_column == ONE and m < (FEW if k < LONG else FOUR * FEW):
        inner_products(c, c_row, a, a_row, b, b_column, m, n, k, more)
    else:
        blocks(c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, k, more)
'''
