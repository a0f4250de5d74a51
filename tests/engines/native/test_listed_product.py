"""Products of listed parts: values, accumulation, and nothing written elsewhere."""

import ctypes

import numpy as np
import pytest

from wyrm_py.engines.native import kernel_calls, kernels

CANARY = 7.0
SIZES = [
    (1, 1, 1),
    (1, 17, 3),
    (5, 16, 9),
    (7, 33, 40),
    (9, 141, 20),
    (16, 64, 1),
    (13, 130, 7),
    (6, 15, 0),
]


def by_kernel(c, c_row, a, rows, columns, b, shifts, sizes, more):
    address = kernels.address(f"listed_product_{c.dtype.str[1:]}")
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 11)(address)
    places = [x.ctypes.data for x in (a, rows, columns, b, shifts)]
    run(c.ctypes.data, c_row, *places, *sizes, more)


def in_python(c, c_row, a, rows, columns, b, shifts, sizes, more):
    kernel = np.zeros(1, np.uint64)
    left, right = (a, 0, rows, columns), (b, 0, shifts)
    kernel_calls.listed_product(kernel, c, 0, c_row, *left, *right, *sizes, more)


@pytest.mark.parametrize("product", [by_kernel, in_python])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_of_listed_parts(product, dtype):
    """Parts overlap; against sums in float64, K units in the last place."""
    rng = np.random.default_rng(0)
    for m, n, k in SIZES:
        a = rng.standard_normal(50).astype(dtype)
        b = rng.standard_normal(60 + n).astype(dtype)
        rows, columns, shifts = (
            rng.integers(0, top, count).astype(np.uint64)
            for top, count in ((20, m), (30, k), (60, k))
        )
        left = a[(rows[:, None] + columns).astype(int)].astype(np.float64)
        right = b[(shifts[:, None] + np.arange(n, dtype=np.uint64)).astype(int)]
        expected = left.reshape(m, k) @ right.astype(np.float64).reshape(k, n)
        wide = n + 3
        c = np.full(m * wide + 5, CANARY, dtype)
        for times in (1, 2):
            product(c, wide, a, rows, columns, b, shifts, (m, n, k), times - 1)
            found = c[: m * wide].reshape(m, wide)
            bound = 4 * (k + 1) * np.finfo(dtype).eps * 4
            np.testing.assert_allclose(
                found[:, :n], times * expected, rtol=bound, atol=bound
            )
            assert (found[:, n:] == CANARY).all()
            assert (c[m * wide :] == CANARY).all()
