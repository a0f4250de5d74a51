"""The source of the kernel for matrix products: which parts run, in which order.

Small products go straight to the registers. Larger ones copy panels of B, DEPTH
by WIDTH numbers, into rows on the stack, which stay in the second cache while
tiles of A run over them. Measured on one thread (AVX-512), GFLOP/s here and in
OpenBLAS 0.3 (bound by numpy.matmul's overhead of 0.7 us where small):
1x48x128 84 and 15, 32x784x128 97 and 99, the transposed 32x128x784 127 and 73,
676x288x64 144 and 128, 1000x1000x1000 127 and 152. So there is no second way
through a BLAS, which would start threads of its own below each worker.
"""

TEXT = '''\
"""Matrix products of {kind}, compiled once by wyrm_py; safe to delete."""

from wyrm_py.engines.native.kernels import kernel, part, u64
from wyrm_py.engines.native.tiles import DOTS, ROWS, VECTORS, dots, move, tile, turn
from wyrm_py.engines.native.vectors import SIZES, lanes_of, scratch

SIZE, LANES = u64(SIZES["{kind}"]), u64(lanes_of("{kind}"))
HEIGHT, WIDTH = u64(ROWS), u64(VECTORS) * LANES  # of a tile
DEPTH = u64(256)  # of a panel of B: 64 KiB
BLOCK = u64(192)  # rows of A that meet a panel before the next one is copied
FEW = u64(8)  # rows for which it does not pay to copy columns of B into rows
MANY = u64(32)  # rows for which it pays to copy rows of B side by side
NONE, ONE, TWO, COLUMNS = u64(0), u64(1), u64(2), u64(DOTS)

tile, turn, move = tile("{kind}"), turn("{kind}"), move("{kind}")
dots_1, dots_2 = dots("{kind}", 1), dots("{kind}", 2)
panel_memory = scratch("{kind}", int((DEPTH + LANES) * WIDTH))


@part
def pack(to, b, b_row, b_column, depth, width):
    if b_row == ONE:
        for j in range(NONE, width, LANES):
            start = b + j * b_column * SIZE
            turn(to + j * SIZE, WIDTH, start, b_column, depth, min(LANES, width - j))
        return
    for k in range(depth):
        for j in range(width):
            start = b + (k * b_row + j * b_column) * SIZE
            move(to + (k * WIDTH + j) * SIZE, start)


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
def tiles(c, c_row, a, a_row, a_column, b, b_row, m, width, depth, more):
    """C (m, width) of one panel."""
    vectors = (width + LANES - ONE) // LANES
    tail = width - (vectors - ONE) * LANES
    rows = m
    if m > HEIGHT:  # as equal as can be: 4 and 3 rather than 6 and 1
        count = (m + HEIGHT - ONE) // HEIGHT
        rows = (m + count - ONE) // count
    for i in range(NONE, m, rows):
        to, left = c + i * c_row * SIZE, a + i * a_row * SIZE
        high = min(rows, m - i)
        tile(
            high, vectors, to, c_row, left, a_row, a_column, b, b_row, depth, tail, more
        )


@kernel(12)
def run(c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, k, more):
    if n == ONE and c_row == ONE:  # a column is a row, and the product transposed
        a, a_row, a_column, b, b_row, b_column = b, b_column, b_row, a, a_column, a_row
        m, n = ONE, m
    if b_column != ONE and b_row == ONE and a_column == ONE and m < FEW:
        inner_products(c, c_row, a, a_row, b, b_column, m, n, k, more)
        return
    panel = panel_memory()
    packed = b_column != ONE or (m >= MANY and n > WIDTH)
    high, deep = (BLOCK, DEPTH) if packed else (m, k)
    for p in range(NONE, max(k, ONE), max(deep, ONE)):
        depth = min(deep, k - p)
        for i in range(NONE, m, max(high, ONE)):
            for j in range(NONE, n, WIDTH):
                width = min(WIDTH, n - j)
                right, right_row = b + (p * b_row + j * b_column) * SIZE, b_row
                if packed:
                    pack(panel, right, b_row, b_column, depth, width)
                    right, right_row = panel, WIDTH
                left = a + (i * a_row + p * a_column) * SIZE
                to, rows = c + (i * c_row + j) * SIZE, min(high, m - i)
                again = more if p == NONE else ONE
                tiles(
                    to, c_row, left, a_row, a_column, right, right_row, rows, width,
                    depth, again,
                )  # fmt: skip
'''
