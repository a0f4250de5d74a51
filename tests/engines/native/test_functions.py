"""Native elementwise functions against float64 NumPy over all of float32."""

import math
import os
import platform
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

from wyrm_py.engines import functions
from wyrm_py.engines.native import functions as native_functions

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="Numba is switched off: nothing is native"
)
assert native_functions  # imported for what it registers

FLAGS = {"reassoc", "nsz", "arcp", "contract", "afn"}  # those of a compiled step
TRUTHS = {
    "exp": np.exp,
    "ln": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x < 0, np.exp(-np.abs(x)), 1) / _decayed(x),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "sin": np.sin,
    "cos": np.cos,
}
EXACT = {
    "sqrt": np.sqrt,
    "absolute": np.absolute,
    "floor": np.floor,
    "sign": np.sign,
}
BINARY = {"maximum": np.maximum, "minimum": np.minimum}
PACKED = [*TRUTHS, *EXACT, *BINARY, "power"]
_EDGES = """
    0 -0 1 -1 inf -inf nan 1e-45 -1e-45 1.1754944e-38 3.4028235e38 -3.4028235e38
    1e-30 -1e-30 1e-20 88.72284 88.72283 89 -87.5 -100 -103.97208 -103.9721 -104 -1e30
    0.99999994 1.0000001 -0.99999994 -1.0000001 0.625 0.34657359 -0.34657359 -17.4
"""
SPECIALS = np.array([float(edge) for edge in _EDGES.split()], dtype=np.float32)
_kernels: dict[tuple[str, bool, int], object] = {}


def _decayed(x):
    return 1 + np.exp(-np.abs(x))


def _kernel(name, fast=True, count=1):
    """Return the compiled loop that applies a function to each element."""
    if (name, fast, count) not in _kernels:
        arguments = ("x", "y", "z")[:count]
        elements = ", ".join(f"{argument}[i]" for argument in arguments)
        text = (
            f"def loop({', '.join(arguments)}, out):\n"
            f"    for i in range(out.size):\n        out[i] = {name}({elements})\n"
        )
        scope = {name: getattr(functions, name)}
        exec(text, scope)
        options = {"fastmath": FLAGS} if fast else {}
        compiled = numba.njit(error_model="numpy", **options)(scope["loop"])
        _kernels[name, fast, count] = compiled
    return _kernels[name, fast, count]


def _argument_count(name):
    return getattr(functions, name).__code__.co_argcount


def _native(name, *columns, fast=True, out=None):
    out = np.empty_like(columns[0]) if out is None else out
    _kernel(name, fast, len(columns))(*columns, out)
    return out


def _samples():
    """Return floats of every sign and exponent, tiny to infinite, and specials."""
    dense = np.arange(0, 2**32, 5003, dtype=np.uint64).astype(np.uint32)
    near_one = np.float32(1) + np.linspace(-0.3, 0.6, 100_001, dtype=np.float32)
    small = np.linspace(-1.5, 1.5, 200_001, dtype=np.float32)
    usual = np.linspace(-105, 92, 300_001, dtype=np.float32)
    return np.concatenate([dense.view(np.float32), near_one, small, usual, SPECIALS])


def _ulps(result, truth):
    """Return |result - truth| in float32 units in the last place of the truth.

    Infinities and NaN must agree exactly (0 or inf); a truth that rounds to
    infinity in float32 must be infinite.
    """
    with np.errstate(all="ignore"):
        result = result.astype(np.float64)
        rounded = truth.astype(np.float32)
        plain = np.isfinite(rounded)
        same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
        exponent = np.frexp(np.where(plain, truth, 1.0))[1]
        unit = np.ldexp(1.0, np.maximum(exponent - 24, -149))
        error = np.abs(result - truth) / unit
    error[~np.isfinite(result)] = np.inf
    return np.where(plain, error, np.where(same, 0.0, np.inf))


def _truth(name, x):
    with np.errstate(all="ignore"):
        return (TRUTHS | EXACT)[name](x.astype(np.float64))


@pytest.mark.parametrize("name", TRUTHS)
def test_native_float32_stays_within_two_ulps_over_the_whole_range(name):
    x = _samples()
    errors = _ulps(_native(name, x), _truth(name, x))
    assert errors.max() <= 2.0, f"{name}({x[errors.argmax()]!r})"


@pytest.mark.parametrize("name", ["exp", "ln", "tanh", "sigmoid"])
def test_errors_are_those_of_the_document(name):
    text = (Path(__file__).parents[3] / "docs/numerics.md").read_text()
    (row,) = re.findall(rf"\| `{name}` \| \[(.+), (.+)\] \| (\S+) (\w+)", text)
    low, high, stated = map(float, row[:3])
    rng, count = np.random.default_rng(0), 1_000_000
    if low > 0:
        x = np.exp(rng.uniform(np.log(low), np.log(high), count)).astype(np.float32)
    else:
        x = rng.uniform(low, high, count).astype(np.float32)
    truth = _truth(name, x)
    errors = np.abs(_native(name, x) - truth)
    largest = (errors / truth if row[3] == "relative" else errors).max()
    assert 0.85 * stated < largest <= stated


@pytest.mark.parametrize("name", TRUTHS)
def test_numpy_twin_is_rounded_once(name):
    x = _samples()
    errors = _ulps(getattr(functions, name)(x), _truth(name, x))
    assert errors.max() <= 0.5001


@pytest.mark.parametrize("name", [*TRUTHS, *EXACT])
def test_fast_math_flags_change_no_bit(name):
    x = _samples()
    exact = _native(name, x, fast=False)
    np.testing.assert_array_equal(_native(name, x), exact)
    numbers = ~np.isnan(exact)
    same = np.signbit(_native(name, x)) == np.signbit(exact)
    assert same[numbers].all()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_functions_equal_numpy(name, dtype):
    with np.errstate(all="ignore"):
        x = _samples().astype(dtype)
        np.testing.assert_array_equal(_native(name, x), EXACT[name](x))


@pytest.mark.parametrize("name", TRUTHS)
def test_native_float64_is_accurate(name):
    x = np.concatenate([np.linspace(-750, 750, 40_001), np.linspace(-1, 1, 1001)])
    x = np.concatenate([x, SPECIALS.astype(np.float64), [1e-300, -1e-300, 5e-324]])
    np.testing.assert_allclose(_native(name, x), _truth(name, x), rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sin"])
def test_sign_of_zero_and_tiny_values_is_kept(name):
    x = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-30, -1e-30], np.float32)
    result = _native(name, x)
    np.testing.assert_array_equal(result, x)
    np.testing.assert_array_equal(np.signbit(result), np.signbit(x))


def test_results_reach_down_to_the_smallest_subnormal():
    x = np.array([-100.0, -103.0], np.float32)
    expected = np.exp(x.astype(np.float64)).astype(np.float32)
    for name in ("exp", "sigmoid", "softplus"):
        np.testing.assert_array_equal(_native(name, x), expected)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maximum_and_minimum_propagate_nan(name, dtype):
    x, y = (a.ravel().astype(dtype) for a in np.meshgrid(SPECIALS, SPECIALS))
    np.testing.assert_array_equal(_native(name, x, y), BINARY[name](x, y))


def _bases_and_exponents():
    """Return pairs: any bits, results within range, bases near 1, small wholes."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, (2, 200_000), dtype=np.uint32).view(np.float32)
    positive = np.abs(bits[0])
    near_one = rng.uniform(0.9, 1.1, 200_000)
    with np.errstate(all="ignore"):
        spread = rng.uniform(-105, 90, 200_000)
        pairs = [
            bits,
            (positive, spread / np.log(positive.astype(np.float64))),
            (near_one, spread / np.log(near_one)),
            (bits[0], rng.integers(-5, 6, 200_000)),
            np.stack(np.meshgrid(SPECIALS, SPECIALS)).reshape(2, -1),
            np.stack(np.meshgrid(SPECIALS, [-3, -2, -0.5, 0.5, 2, 3])).reshape(2, -1),
        ]
        return [np.concatenate([p[k] for p in pairs]).astype("f4") for k in (0, 1)]


def test_power_stays_within_two_ulps_and_keeps_the_special_cases_of_c():
    base, exponent = _bases_and_exponents()
    with np.errstate(all="ignore"):
        truth = np.power(base.astype(np.float64), exponent.astype(np.float64))
    for result in (_native("power", base, exponent), functions.power(base, exponent)):
        errors = _ulps(result, truth)
        worst = errors.argmax()
        assert errors[worst] <= 2.0, (base[worst], exponent[worst])
        numbers = ~np.isnan(truth)
        np.testing.assert_array_equal(
            np.signbit(result)[numbers], np.signbit(truth)[numbers]
        )


def test_float64_power_equals_numpy():
    base, exponent = (column.astype(np.float64) for column in _bases_and_exponents())
    with np.errstate(all="ignore"):
        truth = np.power(base, exponent)
    np.testing.assert_allclose(_native("power", base, exponent), truth, rtol=1e-15)


def test_where_takes_either_side_and_lets_the_other_be_nan():
    condition = np.array([True, False, True])
    a = np.array([1, np.nan, 3], np.float32)
    b = np.array([np.nan, 2, np.inf], np.float32)
    expected = np.array([1, 2, 3], np.float32)
    out = np.empty(3, np.float32)
    np.testing.assert_array_equal(_native("where", condition, a, b, out=out), expected)
    np.testing.assert_array_equal(functions.where(condition, a, b), expected)
    assert functions.where(True, a[0], b[0]) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_finite_sees_infinities_and_nan_under_fast_math(dtype):
    x = SPECIALS.astype(dtype)
    found = _native("is_finite", x, out=np.empty(x.size, np.bool_))
    np.testing.assert_array_equal(found, np.isfinite(x))


ON_X86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="reads x86 assembly or chooses an x86 processor; not checked elsewhere",
)


@ON_X86
@pytest.mark.parametrize("name", PACKED)
def test_loops_are_packed_and_call_no_library(name):
    columns = [np.ones(8, np.float32)] * _argument_count(name)
    _native(name, *columns)
    kernel = _kernel(name, True, len(columns))
    assemblies = kernel.inspect_asm()
    assembly = next(a for s, a in assemblies.items() if s[0].dtype == numba.float32)
    packed = re.findall(
        r"\bv?(?:mul|fn?madd\w+|sqrt|rndscale|round|and|max|min|cmp\w*)"
        r"(?:p[sd]|d|q)\b.*%[xyz]mm",
        assembly,
    )
    assert packed, assembly
    library = {"ln": "log", "power": "pow"}.get(name, name)
    assert not re.search(rf"\b({library}|floor|sqrt|f(abs|ma|max|min))f?\b", assembly)


@pytest.mark.parametrize("name", functions.__all__)
def test_numpy_forms_keep_float32_and_warn_of_nothing(name):
    count = _argument_count(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (SPECIALS, np.float32(-200), np.float32("nan"), np.float64(1e308)):
            columns = [x] * count
            if name == "where":
                columns[0] = np.isfinite(x)
            result = getattr(functions, name)(*columns)
            expected = np.bool_ if name == "is_finite" else x.dtype
            assert result.dtype == expected
            assert np.shape(result) == np.shape(x)


@ON_X86
def test_a_processor_without_fused_multiply_add_gives_the_same_bits():
    program = """
import hashlib, numba, numpy, wyrm_py.engines.native.functions
from wyrm_py.engines.functions import *
@numba.njit(error_model="numpy")
def loop(x, out):
    for i in range(out.size):
        out[i] = exp(x[i]) + ln(x[i]) + tanh(x[i]) + sigmoid(-x[i]) + sin(x[i])
x = numpy.linspace(0.01, 80, 10_001, dtype=numpy.float32)
out = numpy.empty_like(x)
loop(x, out)
(assembly,) = loop.inspect_asm().values()
print(hashlib.sha256(out).hexdigest(), "vfmadd" in assembly)
"""
    plain = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    (bits, _), (plain_bits, fused) = (
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | chosen,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for chosen in ({}, plain)
    )
    assert fused == "False"
    assert plain_bits == bits


def test_scalars_compile_as_well():
    @numba.njit(error_model="numpy", fastmath=FLAGS)
    def loss(x):
        return -functions.ln(functions.sigmoid(x))

    assert loss(np.float32(0)) == np.float32(math.log(2))
