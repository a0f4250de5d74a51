"""Copies of blocks by kernel: every order of axes, and nothing written elsewhere."""

import ctypes
from itertools import permutations

import numpy as np
import pytest

from wyrm_py.engines.native import kernel_calls, kernels

CANARY = 7.0
SHAPES = [
    (1, 1, 1, 1),
    (1, 1, 1, 17),
    (1, 3, 1, 5),
    (2, 3, 4, 5),
    (1, 16, 2, 33),
    (3, 1, 20, 17),
    (2, 15, 1, 16),
]


def strides(array):
    return [step // array.itemsize for step in array.strides]


def by_kernel(to, b):
    kind = to.dtype.str[1:]
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 14)(
        kernels.address(f"block_copy_{kind}")
    )
    run(to.ctypes.data, b.ctypes.data, *b.shape, *strides(to), *strides(b))


def in_python(to, b):
    flat = [x.base.reshape(-1) if x.base is not None else x for x in (to, b)]
    starts = [
        (x.ctypes.data - whole.ctypes.data) // x.itemsize
        for x, whole in zip((to, b), flat, strict=True)
    ]
    kernel_calls.block_copy(
        np.zeros(1, np.uint64),
        *(flat[0], starts[0], *strides(to)),
        *(flat[1], starts[1], *strides(b)),
        *b.shape,
    )


def placed(shape, order, gap, values):
    """Return a view of this shape in a larger flat array, its axes in an order."""
    steps, step = [0] * 4, gap
    for axis in reversed(order):
        steps[axis] = step
        step *= shape[axis] + gap - 1
    flat = values(step + 9)
    view = np.ndarray(
        shape, flat.dtype, flat, 4 * flat.itemsize, [s * flat.itemsize for s in steps]
    )
    return view, flat


@pytest.mark.parametrize("copy", [by_kernel, in_python])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_is_copied_and_what_lies_around_it_is_not_touched(copy, dtype):
    rng = np.random.default_rng(0)

    def numbers(n):
        return rng.standard_normal(n).astype(dtype)

    def canaries(n):
        return np.full(n, CANARY, dtype)

    for shape in SHAPES:
        for order in permutations(range(4)):
            for gaps in ((1, 1), (1, 2), (2, 1), (2, 3)):
                b, _ = placed(shape, order, gaps[0], numbers)
                to, flat = placed(shape, range(4), gaps[1], canaries)
                copy(to, b)
                np.testing.assert_array_equal(to, b)
                assert (flat == CANARY).sum() == flat.size - to.size


def test_axes_of_stride_zero_repeat():
    b = np.broadcast_to(np.arange(6.0).reshape(2, 1, 3, 1), (2, 4, 3, 5))
    to = np.empty((2, 4, 3, 5))
    by_kernel(to, b)
    np.testing.assert_array_equal(to, b)
