"""Loops of 4 and 8 iterations: which they are, and that they become vectors."""

import re

import numba
import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.engines.native import runtime
from wyrm_py.engines.native.runtime import short_range, u64
from wyrm_py.engines.native.short_loops import short_lengths
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan

native = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="Numba is switched off: nothing is native"
)


def test_a_short_length_bounds_a_loop_without_loops_inside():
    nested = [
        "for j_0 in range(length8_):",
        "    for j_1 in range(length5_):",
        "        x[j_0 * length5_ + j_1] = 0",
        "for j_2 in range(entries0):",
        "    for j_3 in range(length4_):",
        "        x[j_2 * length4_ + j_3] = 0",
        "    y = 1",
    ]
    assert short_lengths(nested) == {4}
    assert short_lengths(["for j_0 in range(length8_):", "    y = 1"]) == {8}
    assert short_lengths(["for j_0 in range(length8_ * batch):", "    y = 1"]) == set()
    assert short_lengths(["for j_0 in range(length16_):", "    y = 1"]) == set()
    assert short_lengths(["x[length8_] = 1"]) == set()


def _step(width):
    table = wp.ParameterNode(np.zeros((9, width), np.float32), name="table")
    row = wp.IndexInputNode([0])
    return generate(Plan.training(table.index(row).square()), wp.Adagrad(0.1)).text


def test_only_short_widths_are_written_down():
    assert "d0 = u64(8)" in _step(8)
    assert "in short_range(d0):" in _step(8)
    assert re.search(r"\brange\(d0\)", _step(8)) is None
    for width in (2, 3, 9, 16, 32):
        assert "short_range" not in _step(width)
        assert f"d0 = u64({width})\n" not in _step(width)


def _rows_of_eight(values, sums, rows, count):
    total = np.float64(0)
    for k in range(count):
        row = rows[k]
        for j in short_range(u64(8)):
            value = values[row * u64(8) + j]
            held = sums[row * u64(8) + j] + value * value
            sums[row * u64(8) + j] = held
            values[row * u64(8) + j] = value - value / np.sqrt(held)
    return total


@native
def test_a_short_loop_is_vectors_without_a_loop():
    one, rows = numba.types.CPointer(numba.float32), numba.types.CPointer(numba.uint64)
    signature = numba.float64(one, one, rows, numba.uint64)
    options = {"error_model": "numpy", "fastmath": runtime.FASTMATH}
    make = numba.njit(signature, pipeline_class=runtime.NoAlias, **options)
    (text,) = make(_rows_of_eight).inspect_llvm().values()
    assert re.search(r"call[^\n]*<\d+ x float> @llvm\.sqrt", text)
    assert not re.search(r"call[^\n]* float @llvm\.sqrt", text)


@pytest.mark.parametrize(
    ("width", "dtype"), [(4, np.float64), (7, np.float32), (8, np.float32)]
)
def test_steps_of_short_widths_agree_with_numpy(width, dtype):
    rng = np.random.default_rng(0)
    given = rng.standard_normal((9, width))
    rows = rng.integers(0, 9, (30, 3))
    fitted = {}
    for engine in ("native", "numpy"):
        table = wp.ParameterNode(given, dtype=dtype)
        index = wp.IndexInputNode([0, 0, 0])
        loss = (table.index(index).sum(0) ** 2 - 1).square().sum()
        wp.fit(loss, wp.Adagrad(0.1), {index: rows}, engine=engine, random_state=0)
        fitted[engine] = table.value
    assert not np.allclose(fitted["numpy"], given, atol=0.01)
    np.testing.assert_allclose(fitted["native"], fitted["numpy"], rtol=1e-4, atol=1e-5)
