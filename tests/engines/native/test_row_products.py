"""Weighted sums of rows in registers, natively and as plain Python, against NumPy."""

import numpy as np
import pytest

from wyrm_py.engines.native import build
from wyrm_py.engines.native.runtime import place_of_part

TEXT = """
from wyrm_py.engines.functions import *
from wyrm_py.engines.native.row_products import *
from wyrm_py.engines.native.runtime import *


@part([{real}], [{real}], [{real}], [{row}], [{real}], [u8])
def steps(out, table, bias, rows, weights, n):
    width = n[u64(0)]
    sum_of_rows(out, u64(2), table, width, rows, weights, n[u64(1)], n[u64(2)])
    first = n[u64(1)]
    count = n[u64(2)]
    a = dot_of_rows(out, u64(2), table, width, rows, weights, first, count)
    b = dot_of_rows(out, u64(2), table, width, rows, weights, first, count, bias)
    out[u64(0)] = a
    out[u64(1)] = b
    return f8(0)


@entry
def run(address):
    table = array_at(address, u64(7), u64)
    functions = array_at(table[0], u64(1), u8)
    out = array_at(table[1], u64({size}), {real})
    rows_of = array_at(table[2], u64({size}), {real})
    bias = array_at(table[3], u64({size}), {real})
    rows = array_at(table[4], u64({size}), {row})
    weights = array_at(table[5], u64({size}), {real})
    n = array_at(table[6], u64(3), u8)
    return call(functions, u64(0), out, rows_of, bias, rows, weights, n)
"""
TABLE_ROWS, ENTRIES = 9, 12


def run(text, arrays, compiled):
    """Run a module on arrays."""
    functions = np.zeros(1, np.uint64)
    if compiled:
        module = build.load_module(text)
        functions[0] = place_of_part(module.steps)
        entry = module.run
    else:
        entry = build.run_in_python(text)
    held = [functions, *arrays]
    addresses = np.array([x.ctypes.data for x in held], np.uint64)
    entry(addresses.ctypes.data)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("real", "row"), [("f4", "i4"), ("f8", "i8"), ("f4", "u8")])
def test_sums_and_products_of_rows_are_those_of_numpy(real, row, compiled):
    rng = np.random.default_rng(0)
    text = TEXT.format(real=real, row=row, size=TABLE_ROWS * 100)
    for width in (1, 3, 8, 16, 31, 32, 33, 80, 100):
        table = rng.standard_normal((TABLE_ROWS, width)).astype(real)
        table = np.resize(table, TABLE_ROWS * 100)
        bias = rng.standard_normal(TABLE_ROWS * 100).astype(real)
        rows = np.resize(rng.integers(0, TABLE_ROWS, ENTRIES).astype(row), bias.size)
        weights = np.resize(rng.standard_normal(ENTRIES).astype(real), bias.size)
        for first, count in ((3, 0), (0, 1), (4, 2), (5, 7)):
            out = np.full(TABLE_ROWS * 100, 7, real)
            sizes = np.array([width, first, count], np.uint64)
            run(text, [out, table, bias, rows, weights, sizes], compiled)
            used = slice(first, first + count)
            whole = table[: TABLE_ROWS * width].reshape(TABLE_ROWS, width)
            numbers = rows[used].astype(int)
            expected = weights[used] @ whole[numbers]
            found = out[2 : width + 2]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            product = expected @ expected
            with_bias = product + weights[used] @ bias[numbers]
            both = [product, with_bias]
            np.testing.assert_allclose(out[:2], both, rtol=1e-5, atol=1e-5)
            assert (out[width + 2 :] == 7).all()
