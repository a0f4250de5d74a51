"""float32 transcendentals as straight-line arithmetic that LLVM vectorises.

Each formula is a range reduction, a minimax polynomial and a reconstruction with
bit casts, without branches, calls or tables. Over the whole range, subnormal
results included, each stays within 2 ulps of the exact value (measured: see
`tests/engines/native/test_functions.py`). Reductions follow W. J. Cody and
W. Waite, "Software Manual for the Elementary Functions" (1980).
The coefficients are minimax fits of relative error, rounded to float32 one after
another from the lowest order. A fused multiply-add is assumed to be cheap;
without hardware for it the results are the same but slow.
"""

import math

from wyrm_py.engines.native.strict import Bits, Real, fma, polynomial, select

_LOG2_E = math.log2(math.e)
_LN2 = math.log(2.0)
_LN2_HIGH = 0.693359375  # nine bits: times any exponent it is exact
_LN2_LOW = _LN2 - _LN2_HIGH
_ROUNDER = 1.5 * 2.0**23  # adding it leaves the nearest whole number in low bits
_ROUNDER_BITS = 0x4B400000
_EXPONENT = -0x00800000  # mask of sign and exponent, as int32
_SMALLEST_NORMAL = 2.0**-126

# (e**f - 1 - f) / f**2 on |f| <= ln(2) / 2: 0.05 ulp of e**f
_EXP = tuple(
    float.fromhex(digits)
    for digits in (
        "0x1.fffffcp-2",
        "0x1.555492p-3",
        "0x1.5558aep-5",
        "0x1.123988p-7",
        "0x1.6a4f88p-10",
    )
)
# the same, for the relative error of e**f - 1
_EXPM1 = tuple(
    float.fromhex(digits)
    for digits in (
        "0x1.000000p-1",
        "0x1.555554p-3",
        "0x1.5554f8p-5",
        "0x1.1112dap-7",
        "0x1.6d3a44p-10",
        "0x1.9e6e74p-13",
    )
)
# (ln(1 + f) - f) / f**2 on [-1/4, 1/2]
_LOG1P = tuple(
    float.fromhex(digits)
    for digits in (
        "-0x1.000000p-1",
        "0x1.5555a4p-2",
        "-0x1.00004ap-2",
        "0x1.99699ep-3",
        "-0x1.54ed96p-3",
        "0x1.28807ap-3",
        "-0x1.0d98f0p-3",
        "0x1.acf4a8p-4",
        "-0x1.71e32cp-5",
    )
)
# (tanh(x) / x - 1) / x**2 as a polynomial in x**2, |x| <= 5/8
_TANH = tuple(
    float.fromhex(digits)
    for digits in (
        "-0x1.555554p-2",
        "0x1.11107ap-3",
        "-0x1.b9f188p-5",
        "0x1.63a550p-6",
        "-0x1.0c5ed0p-7",
        "0x1.1a2816p-9",
    )
)


def exp(x: Real) -> Real:
    """Return e**x: 2**n (1 + q) with x = n ln 2 + f and q = e**f - 1."""
    f, n = _reduced(_at_most(_at_least(x, -104.0), 89.0))
    return _scaled(fma(f * f, polynomial(f, *_EXP), f) + 1.0, n)


def expm1(x: Real) -> Real:
    """Return e**x - 1 = (2**n - 1) + 2**n q, in halves so that 2**128 fits."""
    f, n = _reduced(_at_most(_at_least(x, -20.0), 89.0))
    square, tail = f * f, polynomial(f, *_EXPM1)
    half = _power_of_two(n - 1)
    whole = fma(half * square, tail, fma(half, f, half - 0.5))
    near_zero = fma(square, tail, f)
    return select(n.equals(0), near_zero, whole + whole).with_sign_of(x)


def ln(x: Real) -> Real:
    """Return ln x = e ln 2 + ln(1 + f) with x = 2**e (1 + f), f in [-1/4, 1/2)."""
    subnormal = x < _SMALLEST_NORMAL
    normal = select(subnormal, x * 2.0**25, x)
    exponent = _exponent_bits(normal)
    f = (normal.bits() - exponent).as_real() - 1.0
    e = (exponent >> 23).to_real() + select(subnormal, x.constant(-25.0), 0.0)
    result = fma(e, _LN2, log1p_near_zero(f))
    outside = select(x.equals(0.0), -math.inf, select(x < 0.0, math.nan, x))
    return select((x > 0.0) & (x < math.inf), result, outside)


def log1p(x: Real) -> Real:
    """Return ln(1 + x) = e ln 2 + ln(1 + f), f = (1 + x) / 2**e - 1.

    f is x / 2**e + (1 / 2**e - 1), so the rounding of 1 + x only chooses e.
    """
    exponent = _exponent_bits(x + 1.0)
    reciprocal = (-exponent + 0x40800000).as_real()  # 4 / 2**e: in range for all e
    f = (x.bits() - exponent).as_real() + fma(reciprocal, 0.25, -1.0)
    result = fma((exponent >> 23).to_real(), _LN2, log1p_near_zero(f))
    result = result.with_sign_of(x)
    outside = select(x.equals(-1.0), -math.inf, select(x < -1.0, math.nan, x))
    return select((x > -1.0) & (x < math.inf), result, outside)


def tanh(x: Real) -> Real:
    """Return 1 - 2 / (e**2x + 1), and x + x**3 P(x**2) below 5/8."""
    size = x.magnitude()
    square = x * x
    near_zero = fma(size * square, polynomial(square, *_TANH), size)
    f, n = _reduced(_at_most(size + size, 20.0))
    growth = (fma(f * f, polynomial(f, *_EXP), f) + 1.0) * _power_of_two(n)
    far = x.constant(1.0) - x.constant(2.0) / (growth + 1.0)
    return select(size < 0.625, near_zero, far).with_sign_of(x)


def log1p_near_zero(f: Real) -> Real:
    """Return ln(1 + f) for f in [-1/4, 1/2]."""
    return fma(f * f, polynomial(f, *_LOG1P), f)


# Bounds past which a result no longer changes; NaN stays.
def _at_least(x: Real, bound: float) -> Real:
    return select(x < bound, bound, x)


def _at_most(x: Real, bound: float) -> Real:
    return select(x > bound, bound, x)


def _reduced(x: Real) -> tuple[Real, Bits]:
    """Return f and n with x = n ln 2 + f, |f| <= ln(2) / 2; |n| < 2**22."""
    shifted = fma(x, _LOG2_E, _ROUNDER)
    n = shifted - _ROUNDER
    f = fma(n, -_LN2_LOW, fma(n, -_LN2_HIGH, x))
    return f, shifted.bits() - _ROUNDER_BITS


def _power_of_two(n: Bits) -> Real:
    """Return 2**n for n in [-126, 127]."""
    return ((n + 127) << 23).as_real()


def _scaled(x: Real, n: Bits) -> Real:
    """Return x 2**n in two steps, so that subnormal and infinite results come."""
    half = n >> 1
    return x * _power_of_two(half) * _power_of_two(n - half)


def _exponent_bits(x: Real) -> Bits:
    """Return the e of x = 2**e m with m in [3/4, 3/2), where a float keeps it."""
    return (x.bits() - 0x3F400000) & _EXPONENT
