"""float32 functions that pass through float64, where that is shorter or needed.

Like `formulas.py` straight-line arithmetic that LLVM vectorises, at half the lanes.
Results are rounded to float32 once, so that all but `softplus` are within 0.6 ulps.
`sigmoid` and `softplus` stand here because one value at a time they are a third
faster so (matrix factorisation has one a step: 4 of 60 ns), packed a quarter slower.
Angles are reduced as M. Payne and R. Hanek, "Radian reduction for trigonometric
functions" (1983) do: only the bits of 2/pi that matter for the exponent of the
angle are multiplied, here from a table with three parts an exponent.
"""

import functools
import math
from fractions import Fraction

from wyrm_py.engines.native.formulas import log1p_near_zero
from wyrm_py.engines.native.strict import Bits, Real, fma, polynomial, select

_LN2, _LOG2_E = math.log(2.0), math.log2(math.e)
_ROUNDER = 1.5 * 2.0**52  # adding it leaves the nearest whole number in low bits
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_MANTISSA_SIZE = 52

# log2(m) / s as a polynomial in s**2, s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2))
_LOG2 = tuple(
    float.fromhex(digits)
    for digits in (
        "0x1.71547652b8227p+1",
        "0x1.ec709dc5576d3p-1",
        "0x1.2776c27f4d4afp-1",
        "0x1.a61a3ae2b8fdap-2",
        "0x1.4793b9f7b12f9p-2",
        "0x1.21c4e47f6d0e3p-2",
    )
)
# 2**g on [-1/2, 1/2]
_EXP2 = tuple(
    float.fromhex(digits)
    for digits in (
        "0x1.00000002614fep+0",
        "0x1.62e430c7e9218p-1",
        "0x1.ebfbdadcb03fep-3",
        "0x1.c6aed4b952c29p-5",
        "0x1.3b2dbbc151118p-7",
        "0x1.5f456a89cddb9p-10",
        "0x1.41d333306dfeap-13",
    )
)
# sin(r pi/2) / r and cos(r pi/2) as polynomials in r**2, |r| <= 0.626
_SINE = tuple(
    float.fromhex(digits)
    for digits in (
        "0x1.921fb543f6a57p+0",
        "-0x1.4abbce1896109p-1",
        "0x1.466b98436ecf8p-4",
        "-0x1.32be6b00b744fp-8",
        "0x1.49175a8eff3ccp-13",
    )
)
_COSINE = tuple(
    float.fromhex(digits)
    for digits in (
        "0x1.fffffffffd9f4p-1",
        "-0x1.3bd3cc9b1b441p+0",
        "0x1.03c1f02991996p-2",
        "-0x1.55d38e8914fa8p-6",
        "0x1.e1d2eeeb5f3f8p-11",
        "-0x1.9d66303dfea4dp-16",
    )
)
# 320 bits of 2/pi after the point
_TWO_OVER_PI = Fraction(
    0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561B7246E3A424DD2E0,
    2**320,
)


def sigmoid(x: Real) -> Real:
    """Return 1 / (1 + z) or z / (1 + z), z = e**-|x|."""
    z = _decay(x)
    return (select(x < 0.0, z, 1.0) / (z + 1.0)).narrowed()


def softplus(x: Real) -> Real:
    """Return max(x, 0) + ln(1 + z), z = e**-|x|.

    ln(1 + z) is ln(2) + ln(1 + (z - 1) / 2) where z is over 1/2.
    """
    z = _decay(x).narrowed()
    upper = z > 0.5
    f = select(upper, fma(z, 0.5, -0.5), z)
    logarithm = select(upper, x.constant(_LN2), 0.0) + log1p_near_zero(f)
    return select(x < 0.0, 0.0, x) + logarithm


def power(a: Real, b: Real) -> Real:
    """Return 2**(b log2 |a|), with the sign and the special cases of C's `pow`."""
    base, exponent = a.magnitude().widened(), b.widened()
    product = exponent * _log2(base)
    result = _exp2(select(product > 130.0, 130.0, product)).narrowed()
    whole = b.intrinsic("floor").equals(b)
    half = b * 0.5
    odd = whole & ~half.intrinsic("floor").equals(half)
    result = select(odd, result.with_sign_of(a), result)
    undefined = (a < 0.0) & (a > -math.inf) & ~whole
    result = select(undefined, math.nan, result)
    endless = a.equals(-1.0) & b.magnitude().equals(math.inf)
    return select(a.equals(1.0) | b.equals(0.0) | endless, 1.0, result)


def sin(x: Real) -> Real:
    """Return sin(x) by quarter turns: sin, cos, -sin, -cos of the rest."""
    return _quarter_turns(x, 0)


def cos(x: Real) -> Real:
    """Return cos(x), a quarter turn ahead of sin(x)."""
    return _quarter_turns(x, 1)


def _decay(x: Real) -> Real:
    """Return e**-|x|; LLVM computes it once for a sigmoid and a softplus of x."""
    return _exp2(x.magnitude().widened() * -_LOG2_E)


def _log2(x: Real) -> Real:
    """Return log2 of a float64 that is not negative: e + log2(m) with x = 2**e m."""
    exponent = (x.bits() - _SQRT_HALF_BITS) >> _MANTISSA_SIZE
    m = (x.bits() - (exponent << _MANTISSA_SIZE)).as_real()
    s = (m - 1.0) / (m + 1.0)
    finite = fma(s, polynomial(s * s, *_LOG2), exponent.to_real())
    return select(x.equals(0.0), -math.inf, select(x < math.inf, finite, x))


def _exp2(x: Real) -> Real:
    """Return 2**x for x up to 1000, exact enough for float32, where < -160 is 0."""
    raised = select(x < -160.0, -160.0, x)
    whole, n = _nearest(raised)
    scale = ((n + 1023) << _MANTISSA_SIZE).as_real()
    return polynomial(raised - whole, *_EXP2) * scale


def _quarter_turns(x: Real, ahead: int) -> Real:
    high, middle, low = _turn_tables()
    exponent = (x.bits() >> 23) & 0xFF
    angle = x.widened()
    turns = angle * exponent.looked_up("wyrm_turns_high", high)
    whole, count = _nearest(turns)
    rest = turns - whole + angle * exponent.looked_up("wyrm_turns_middle", middle)
    rest = rest + angle * exponent.looked_up("wyrm_turns_low", low)
    square = rest * rest
    sine, cosine = rest * polynomial(square, *_SINE), polynomial(square, *_COSINE)
    quarter = count + ahead
    result = select((quarter & 1).equals(0), sine, cosine)
    return select((quarter & 2).equals(0), result, -result).narrowed()


def _nearest(x: Real) -> tuple[Real, Bits]:
    """Return the whole number nearest to x twice; the second in its low 50 bits."""
    shifted = x + _ROUNDER
    return shifted - _ROUNDER, shifted.bits()


@functools.cache
def _turn_tables() -> tuple[tuple[float, ...], ...]:
    """Return 2/pi, less whole turns, in parts of 29, 29 and 53 bits an exponent.

    A float32 with exponent field e is a whole number of units 2**(e - 150), so whole
    multiples of four quarter turns a unit may be left out. A float32 has 24 bits:
    its products with the first two parts are exact in float64.
    """
    columns: tuple[list[float], ...] = ([], [], [])
    for field in range(256):
        unit = Fraction(2) ** (max(field, 1) - 150)
        rest = _TWO_OVER_PI * unit % 4 / unit
        for column, size in zip(columns, (29, 29, 53), strict=True):
            # The quantum is that of the first bit of `rest`, or one below it.
            top = rest.numerator.bit_length() - rest.denominator.bit_length()
            quantum = Fraction(2) ** (top + 1 - size)
            part = rest // quantum * quantum
            column.append(float(part))
            rest -= part
    return tuple(tuple(column) for column in columns)
