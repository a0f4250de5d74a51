"""Elementwise functions that pointwise expressions may call, in NumPy.

The NumPy engine uses them as they stand; `engines.native.functions` gives Numba
a packed native form of the same function objects. So emitted text that imports
these names runs both ways. Every function takes and returns float32 or float64
(arrays or NumPy scalars), follows IEEE 754 for infinities and NaN, and raises no
warning. float32 transcendentals are computed in float64 and rounded once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = [
    "absolute",
    "cos",
    "exp",
    "expm1",
    "floor",
    "is_finite",
    "ln",
    "log1p",
    "maximum",
    "minimum",
    "power",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
    "where",
]


def exp(x: Any) -> Any:
    """Return e to the power of each element."""
    return _rounded(np.exp, x)


def ln(x: Any) -> Any:
    """Return the natural logarithm; -inf at zero, NaN below."""
    return _rounded(np.log, x)


def log1p(x: Any) -> Any:
    """Return ln(1 + x), exact for tiny x too; -inf at -1, NaN below."""
    return _rounded(np.log1p, x)


def expm1(x: Any) -> Any:
    """Return e**x - 1, exact for tiny x too."""
    return _rounded(np.expm1, x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    return _rounded(np.tanh, x)


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e**-x), without overflow and down to underflow."""
    return _rounded(_double_sigmoid, x)


def softplus(x: Any) -> Any:
    """Return ln(1 + e**x), without overflow and down to underflow."""
    return _rounded(_double_softplus, x)


def sin(x: Any) -> Any:
    """Return the sine of an angle in radians; NaN at infinity."""
    return _rounded(np.sin, x)


def cos(x: Any) -> Any:
    """Return the cosine of an angle in radians; NaN at infinity."""
    return _rounded(np.cos, x)


def power(a: Any, b: Any) -> Any:
    """Return a to the power of b; NaN for a negative a and a fractional b."""
    return _rounded(np.power, a, b)


def linear_power(a: Any, b: Any, c: Any, d: Any, count: Any) -> Any:
    """Return the elements of a power of the matrix ((a, b), (c, d)).

    `count` is a whole number not below zero, or an array of them; then each result
    is one, too. By squaring: about 2 log2(count) products of matrices.
    """
    left = np.array(count, np.int64)
    base = tuple(np.full(left.shape, float(x)) for x in (a, b, c, d))
    power = tuple(np.full(left.shape, x) for x in (1.0, 0.0, 0.0, 1.0))
    while left.any():
        odd = left & 1 == 1
        product = _product(power, base)
        power = tuple(
            np.where(odd, new, old) for new, old in zip(product, power, strict=True)
        )
        base, left = _product(base, base), left >> 1
    return power


def _product(m: tuple[Any, ...], n: tuple[Any, ...]) -> tuple[Any, ...]:
    return (
        m[0] * n[0] + m[1] * n[2],
        m[0] * n[1] + m[1] * n[3],
        m[2] * n[0] + m[3] * n[2],
        m[2] * n[1] + m[3] * n[3],
    )


def sqrt(x: Any) -> Any:
    """Return the square root, correctly rounded; NaN below zero."""
    with np.errstate(all="ignore"):
        return np.sqrt(x)


def absolute(x: Any) -> Any:
    """Return the value without its sign."""
    return np.absolute(x)


def maximum(a: Any, b: Any) -> Any:
    """Return the greater of two values; NaN if either is NaN."""
    with np.errstate(all="ignore"):
        return np.maximum(a, b)


def minimum(a: Any, b: Any) -> Any:
    """Return the lesser of two values; NaN if either is NaN."""
    with np.errstate(all="ignore"):
        return np.minimum(a, b)


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return `a` where the condition holds and `b` elsewhere.

    Both are evaluated: `where` selects between values, it does not branch.
    """
    if np.ndim(condition) == np.ndim(a) == np.ndim(b) == 0:
        return a if condition else b
    return np.where(condition, a, b)


def sign(x: Any) -> Any:
    """Return -1, 0 or 1 by the sign; NaN stays NaN."""
    with np.errstate(all="ignore"):
        return np.sign(x)


def floor(x: Any) -> Any:
    """Return the greatest whole number that is not above x."""
    return np.floor(x)


def is_finite(x: Any) -> Any:
    """Return whether x is neither infinite nor NaN, as bool."""
    return np.isfinite(x)


def _rounded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the function in float64, rounded once to the arguments' dtype."""
    dtype = np.result_type(*arguments)
    with np.errstate(all="ignore"):
        if dtype != np.float32:
            return function(*arguments)
        wide = function(*(np.float64(value) for value in arguments))
        return wide.astype(np.float32)


def _double_sigmoid(x: Any) -> Any:
    decay = np.exp(-np.abs(x))
    return np.where(np.less(x, 0), decay, 1.0) / (1.0 + decay)


def _double_softplus(x: Any) -> Any:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
