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

from wyrm_py.engines.native.kernels import kernel, u64
from wyrm_py.engines.native.tiles import (
    ROWS, VECTORS, align, copy, dots, dots_of, tile, turn,
)
from wyrm_py.engines.native.vectors import SIZES, lanes_of, scratch

SIZE, LANES = u64(SIZES["{kind}"]), u64(lanes_of("{kind}"))
HEIGHT, WIDTH = u64(ROWS), u64(VECTORS) * LANES  # of a tile
DEPTH = u64(256)  # of a panel of B: 64 KiB
BLOCK = u64(192)  # rows of A that meet a panel before the next one is copied
FEW, LONG = u64(4), u64(64)  # below FEW rows of A (times four if K is LONG) columns
# of B are read as they lie, else turned into rows
MANY = u64(64)  # rows of A for which it pays to copy rows of B into a panel
NONE, ONE, TWO, FOUR, COLUMNS = u64(0), u64(1), u64(2), u64(4), u64(dots_of("{kind}"))

tile, align, turn, copy = (f("{kind}") for f in (tile, align, turn, copy))
dots_1, dots_2 = dots("{kind}", 1), dots("{kind}", 2)
panel_memory = scratch("{kind}", int((DEPTH + LANES) * WIDTH))


@kernel(12)
def run(c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, k, more):
    if n == ONE and c_row == ONE:  # a column is a row, and the product transposed
        a, a_row, a_column, b, b_row, b_column = b, b_column, b_row, a, a_column, a_row
        m, n = ONE, m
    rows = max(m, ONE)  # of a tile; there may be no rows at all
    if m > HEIGHT:  # as equal as can be: 4 and 3 rather than 6 and 1
        count = (m + HEIGHT - ONE) // HEIGHT
        rows = (m + count - ONE) // count
    if b_column == ONE and (m < MANY or n <= WIDTH):
        wide = WIDTH
        if m == ONE:
            wide = TWO * WIDTH
        for j in range(NONE, n, wide):
            width = min(wide, n - j)
            vectors = (width + LANES - ONE) // LANES
            tail = width - (vectors - ONE) * LANES
            to, left, right = c + j * SIZE, a, b + j * SIZE
            for i in range(NONE, m, rows):
                tile(
                    min(rows, m - i), vectors, to, c_row, left, a_row, a_column,
                    right, b_row, k, tail, more,
                )  # fmt: skip
                to, left = to + rows * c_row * SIZE, left + rows * a_row * SIZE
        return
    few = FEW if k < LONG else FOUR * FEW
    if b_row == ONE and a_column == ONE and m < few:
        for i in range(NONE, m, TWO):
            left = a + i * a_row * SIZE
            for j in range(NONE, n, COLUMNS):
                to = c + (i * c_row + j) * SIZE
                right, count = b + j * b_column * SIZE, min(COLUMNS, n - j)
                if i + ONE < m:
                    dots_2(to, c_row, left, a_row, right, b_column, k, count, more)
                else:
                    dots_1(to, c_row, left, a_row, right, b_column, k, count, more)
        return
    panel = panel_memory()
    for p in range(NONE, max(k, ONE), DEPTH):
        depth, again = min(DEPTH, k - p), more if p == NONE else ONE
        for top in range(NONE, m, BLOCK):
            bottom = min(m, top + BLOCK)
            for j in range(NONE, n, WIDTH):
                width = min(WIDTH, n - j)
                vectors = (width + LANES - ONE) // LANES
                tail = width - (vectors - ONE) * LANES
                for i in range(NONE, vectors):
                    at = j + i * LANES
                    start = b + (p * b_row + at * b_column) * SIZE
                    count = min(LANES, n - at)
                    to = panel + i * LANES * SIZE
                    if b_column == ONE:
                        align(to, WIDTH, start, b_row, depth, count)
                    elif b_row == ONE:
                        turn(to, WIDTH, start, b_column, depth, count)
                    else:
                        copy(to, WIDTH, ONE, start, b_row, b_column, depth, count)
                for i in range(top, bottom, rows):
                    to = c + (i * c_row + j) * SIZE
                    left = a + (i * a_row + p * a_column) * SIZE
                    tile(
                        min(rows, bottom - i), vectors, to, c_row, left, a_row,
                        a_column, panel, WIDTH, depth, tail, again,
                    )  # fmt: skip
'''
