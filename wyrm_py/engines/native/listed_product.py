"""The source of the kernel of the convolutions: a product of parts that lie anywhere.

C[i, j] = or += sum over k of A[rows[i] + columns[k]] * B[shifts[k] + j], with tables
of offsets, so that the rows of B may be overlapping parts of an image and no window
is copied. It shares the tiles of the matrix product. Measured on one core (AVX-512,
float32, cells that are computed and dropped not counted), GFLOP/s forward, towards
the input and towards the kernel: 3x3 from 16 to 32 channels of 13x13 cells 103, 93
and 123; from 1 to 16 channels of 28x28 cells (K = 9) 51, 38 and 50.
"""

TEXT = '''\
"""Products of listed parts of {kind}, compiled once by wyrm_py; safe to delete."""

from wyrm_py.engines.native.kernels import kernel, part, u64
from wyrm_py.engines.native.tiles import ROWS, VECTORS, listed_tile
from wyrm_py.engines.native.vectors import SIZES, lanes_of

SIZE, LANES, ENTRY = u64(SIZES["{kind}"]), u64(lanes_of("{kind}")), u64(8)
HEIGHT, WIDTH = u64(ROWS), u64(VECTORS)  # of a tile
NONE, ONE = u64(0), u64(1)

tile = listed_tile("{kind}")


@part
def even(count, most):
    """Split as evenly as can be: 5 and 5 rather than 6 and 4."""
    pieces = (count + most - ONE) // most
    return (count + pieces - ONE) // pieces


@kernel(11)
def run(c, c_row, a, rows, columns, b, shifts, m, n, k, more):
    vectors = (n + LANES - ONE) // LANES
    high, wide = even(m, HEIGHT), even(vectors, WIDTH)
    for j in range(NONE, vectors, wide):
        width, start = min(wide, vectors - j), j * LANES * SIZE
        tail = min(n - (j + width - ONE) * LANES, LANES)
        for i in range(NONE, m, high):
            to = c + i * c_row * SIZE + start
            some = rows + i * ENTRY
            tile(
                min(high, m - i), width, to, c_row, a, some, columns, b + start, shifts,
                k, tail, more,
            )  # fmt: skip
'''
