"""Matrix products by kernel: right everywhere, and nothing written elsewhere."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE

from wyrm_py.engines.native import kernel_calls, kernels

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
CANARY = 7.0


def compiled(dtype):
    """Return the kernel as a function of twelve numbers."""
    address = kernels.address(f"gemm_{np.dtype(dtype).str[1:]}")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 12)(address)


def strides(matrix):
    return [step // matrix.itemsize for step in matrix.strides]


def call(kernel, c, a, b, more):
    """Call a kernel on views of arrays."""
    left, right = strides(a), strides(b)
    kernel(
        *(c.ctypes.data, strides(c)[0]),
        *(a.ctypes.data, *left),
        *(b.ctypes.data, *right),
        *(c.shape[0], c.shape[1], a.shape[1]),
        more,
    )


def call_twin(c, a, b, more):
    """Call the plain Python form on the flat arrays below the views."""
    places = []
    for view in (c, a, b):
        base = view
        while base.base is not None:
            base = base.base
        start = (view.ctypes.data - base.ctypes.data) // view.itemsize
        places.append((base.reshape(-1), start))
    (flat_c, at_c), (flat_a, at_a), (flat_b, at_b) = places
    kernel_calls.gemm(
        np.zeros(1, np.uint64),
        *(flat_c, at_c, strides(c)[0]),
        *(flat_a, at_a, *strides(a)),
        *(flat_b, at_b, *strides(b)),
        *(c.shape[0], c.shape[1], a.shape[1]),
        more,
    )


def matrix(rng, shape, layout, dtype):
    """Return random numbers with rows, columns or nothing contiguous."""
    rows, columns = shape
    if layout == "rows":
        return rng.standard_normal((rows + 1, columns + 3)).astype(dtype)[1:, :columns]
    if layout == "columns":
        wide = rng.standard_normal((columns + 1, rows + 3)).astype(dtype)
        return wide[1:, :rows].T
    if layout == "apart":
        wide = rng.standard_normal((2 * rows, 3 * columns)).astype(dtype)
        return wide[::2, ::3]
    one = rng.standard_normal((rows, 1)).astype(dtype)
    return np.broadcast_to(one, shape)  # one column again and again


LAYOUTS = ("rows", "columns", "apart", "repeated")
EDGES = (
    (1, 1, 1),
    (1, 16, 1),
    (1, 17, 33),
    (2, 8, 16),
    (7, 9, 15),
    (7, 65, 31),
    (8, 64, 64),
    (31, 63, 257),
    (33, 129, 513),
    (193, 5, 3),
    (385, 70, 2),
    (2, 3, 0),
    (0, 20, 5),
)


def random_shapes(rng, count):
    return [
        tuple(int(n) for n in np.exp(rng.uniform(0, np.log(90), 3)))
        for _ in range(count)
    ]


def check(dtype, multiply, shapes):
    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    for number, (m, n, k) in enumerate(shapes):
        for left in LAYOUTS:
            for right in LAYOUTS:
                a = matrix(rng, (m, k), left, dtype)
                b = matrix(rng, (k, n), right, dtype)
                held = np.full((m + 2, n + 40), CANARY, dtype)
                more = number % 2
                multiply(held[1 : 1 + m, 3 : 3 + n], a, b, more)
                expected = np.full(held.shape, CANARY)
                product = a.astype(np.float64) @ b.astype(np.float64)
                expected[1 : 1 + m, 3 : 3 + n] = product + CANARY * more
                size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
                bound = (np.pad(size, ((1, 1), (3, 37))) + CANARY) * eps * (k + 1)
                bound[0] = bound[-1] = bound[:, :3] = bound[:, 3 + n :] = 0.0
                error = np.abs(held - expected)
                assert (error <= bound).all(), (m, n, k, left, right)


@BOTH
def test_products_of_every_shape_and_stride_are_those_of_float64(dtype):
    kernel = compiled(dtype)
    shapes = [*EDGES, *random_shapes(np.random.default_rng(1), 60)]
    check(dtype, lambda *given: call(kernel, *given), shapes)


@BOTH
def test_the_plain_python_form_computes_the_same(dtype):
    check(dtype, call_twin, EDGES[:8])


@pytest.mark.slow
@BOTH
def test_products_of_every_small_shape(dtype):
    kernel = compiled(dtype)
    lengths = (*range(1, 20), 31, 32, 33, 64, 65)
    shapes = [(m, n, k) for m in range(1, 15) for n in lengths for k in lengths]
    check(dtype, lambda *given: call(kernel, *given), shapes)


NARROW = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+popcnt",
}


@pytest.mark.slow
def test_products_are_right_in_registers_of_32_bytes_too():
    these = [__file__, "-k", "not 32_bytes", "-p", "no:cacheprovider", "-q"]
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *these],
        cwd=root,
        env=os.environ | NARROW,
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
    )
    assert run.returncode == 0, run.stdout


@BOTH
def test_a_row_of_single_columns_apart_is_written_in_place(dtype):
    kernel = compiled(dtype)
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((9, 5), (5, 1)))
    held = np.full((9, 4), CANARY, dtype)
    call(kernel, held[:, 1:2], a, b, 0)
    np.testing.assert_allclose(held[:, 1:2], a @ b, rtol=1e-5)
    assert (held[:, [0, 2, 3]] == CANARY).all()


@BOTH
def test_what_is_only_written_is_not_read(dtype):
    kernel = compiled(dtype)
    for m, n, k in [(1, 40, 8), (5, 70, 3), (40, 70, 300)]:
        for b in (np.ones((k, n), dtype), np.ones((n, k), dtype).T):
            held = np.full((m, n), np.nan, dtype)
            call(kernel, held, np.ones((m, k), dtype), b, 0)
            assert (held == k).all()


@BOTH
def test_infinities_and_nan_reach_only_their_own_rows_and_columns(dtype):
    kernel = compiled(dtype)
    rng = np.random.default_rng(3)
    for m, n, k in [(3, 20, 17), (9, 33, 40), (40, 70, 300)]:
        for turned in (False, True):
            a = rng.standard_normal((m, k)).astype(dtype)
            b = rng.standard_normal((n, k) if turned else (k, n)).astype(dtype)
            b = b.T if turned else b
            a[1, 2], b[3, n - 1] = np.nan, np.inf
            held = np.zeros((m, n), dtype)
            call(kernel, held, a, b, 0)
            bad = ~np.isfinite(held)
            assert bad[1].all() and bad[:, n - 1].all()
            assert bad.sum() == n + m - 1


@BOTH
def test_the_same_call_gives_the_same_bits_wherever_operands_lie(dtype):
    kernel = compiled(dtype)
    rng = np.random.default_rng(4)
    for m, n, k in [(1, 48, 128), (5, 37, 19), (64, 130, 300)]:
        a = rng.standard_normal((m, k)).astype(dtype)
        b = rng.standard_normal((k, n)).astype(dtype)
        results = []
        for shift in range(4):
            memory = np.zeros(m * n + 8, dtype)
            held = memory[shift : shift + m * n].reshape(m, n)
            call(kernel, held, a, b, 0)
            results.append(held.tobytes())
        assert len(set(results)) == 1


def test_the_plain_python_form_refuses_to_leave_its_arrays():
    flat, kernel = np.zeros(6), np.zeros(1, np.uint64)
    with pytest.raises((ValueError, TypeError), match="buffer|strides"):
        kernel_calls.gemm(kernel, flat, 0, 3, flat, 0, 3, 1, flat, 1, 3, 1, 2, 3, 2, 0)
