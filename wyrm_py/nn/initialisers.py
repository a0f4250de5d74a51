"""First values of parameters: functions `(shape, rng) -> array`.

Wherever a layer takes an initialiser, a function of one's own is as good: it gets
a shape and a `numpy.random.Generator` and returns an array of that shape. Fans are
those of this package's shapes: dense weights (inputs, outputs), convolution kernels
(outputs, inputs / groups, *window).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.leaves import ParameterNode
from wyrm_py.seeds import RandomState, generator

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Initialiser: TypeAlias = Callable[[Shape, np.random.Generator], Any]


def parameter(
    initialiser: Initialiser,
    shape: Sequence[int],
    random_state: RandomState = None,
    dtype: DTypeLike = np.float32,
) -> ParameterNode:
    """Return a parameter node with first values drawn by an initialiser.

    Parameters
    ----------
    initialiser : function of (shape, rng) that returns an array of that shape
    shape : sequence of int > 0
    random_state : int, Generator, RandomState or None; a Generator is drawn from, an
        int gives the same values each time
    dtype : float32 or float64

    Raises
    ------
    SettingError
        If an extent is no positive integer, or the seed is impossible.
    ShapeError
        If the initialiser returns another shape.
    """
    extents = checked_shape("parameter", shape)
    values = np.asarray(initialiser(extents, generator("parameter", random_state)))
    if values.shape != extents:
        name = getattr(initialiser, "__name__", repr(initialiser))
        raise ShapeError(
            f"parameter: an initialiser must return the shape it is asked for, "
            f"{extents}; {name} returned {values.shape}."
        )
    return ParameterNode(values, dtype)


def checked_shape(who: str, shape: Sequence[int]) -> Shape:
    """Return a shape as a tuple of positive ints, or raise a SettingError."""
    extents = tuple(shape)
    whole = (
        isinstance(n, int | np.integer) and not isinstance(n, bool) for n in extents
    )
    if not all(whole) or any(n < 1 for n in extents):
        raise SettingError(
            f"{who}: extents must be integers of at least 1, got {extents}."
        )
    return tuple(int(n) for n in extents)


# -- fans and gains -----------------------------------------------------------


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return (fan_in, fan_out): connections into an output and out of an input.

    A dense weight (inputs, outputs) has fans (inputs, outputs). A convolution kernel
    (outputs, inputs / groups, *window) has the receptive field, the product of the
    window's extents, times its inputs and its outputs. A vector (n,) has (n, n).

    Raises
    ------
    ShapeError
        If the shape has no axes.
    """
    if len(shape) == 0:
        raise ShapeError("fans: a shape of at least one axis is required, got ().")
    if len(shape) == 1:
        return int(shape[0]), int(shape[0])
    if len(shape) == 2:
        return int(shape[0]), int(shape[1])
    field = math.prod(int(n) for n in shape[2:])
    return int(shape[1]) * field, int(shape[0]) * field


_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "softmax": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, slope: float = 0.01) -> float:
    """Return the factor that keeps the variance through a non-linearity.

    | name | gain |
    |---|---|
    | linear, sigmoid, softmax | 1 |
    | tanh | 5/3 |
    | relu | sqrt(2) |
    | leaky_relu | sqrt(2 / (1 + slope**2)) |
    | selu | 3/4 |

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, equations 10 and
    15, for the rectifiers; 5/3 and 3/4 are the values in common use.

    Raises
    ------
    SettingError
        If the name is another.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        names = ", ".join([*_GAINS, "leaky_relu"])
        raise SettingError(
            f"calculate_gain: one of {names} is required, got {nonlinearity!r}."
        )
    return _GAINS[nonlinearity]


# -- fixed values -------------------------------------------------------------


def zeros(shape: Shape, rng: Any = None) -> Array:
    """Return zeros."""
    return np.zeros(shape)


def ones(shape: Shape, rng: Any = None) -> Array:
    """Return ones."""
    return np.ones(shape)


def constant(value: float) -> Initialiser:
    """Return an initialiser that fills with a number."""
    return partial(_constant, value)


def _constant(value: float, shape: Shape, rng: Any) -> Array:
    return np.full(shape, float(value))


def eye(shape: Shape, rng: Any = None) -> Array:
    """Return ones on the diagonal of a matrix, zeros elsewhere.

    Raises
    ------
    ShapeError
        If the shape has not two axes.
    """
    if len(shape) != 2:
        raise ShapeError(f"eye: a shape of two axes is required, got {shape}.")
    return np.eye(*shape)


def dirac(groups: int = 1) -> Initialiser:
    """Return an initialiser of convolution kernels that pass channels through.

    Of a kernel (outputs, inputs / groups, *window), within each group output k has
    a one in the middle of the window of input k, as far as both exist. A kernel of
    odd extents is then the identity.

    Raises
    ------
    SettingError
        If `groups` is no integer of at least 1.
    ShapeError
        On use: if the shape has not 3, 4 or 5 axes, or `groups` does not divide the
        outputs.
    """
    if not isinstance(groups, int) or groups < 1:
        raise SettingError(f"dirac: groups must be an integer >= 1, got {groups!r}.")
    return partial(_dirac, groups)


def _dirac(groups: int, shape: Shape, rng: Any) -> Array:
    if len(shape) not in (3, 4, 5) or shape[0] % groups:
        raise ShapeError(
            "dirac: a kernel (outputs, inputs / groups, *window) of 1 to 3 window "
            f"axes and outputs a multiple of groups={groups} is required, got {shape}."
        )
    kernel = np.zeros(shape)
    middle = tuple(n // 2 for n in shape[2:])
    outputs = shape[0] // groups
    for group in range(groups):
        for k in range(min(outputs, shape[1])):
            kernel[(group * outputs + k, k, *middle)] = 1.0
    return kernel


# -- random values ------------------------------------------------------------


def uniform(low: float = 0.0, high: float = 1.0) -> Initialiser:
    """Return an initialiser that draws evenly from [low, high).

    Raises
    ------
    SettingError
        Unless low <= high and both are finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise SettingError(
            f"uniform: finite low <= high are required, got {low!r} and {high!r}."
        )
    return partial(_uniform, low, high)


def _uniform(low: float, high: float, shape: Shape, rng: np.random.Generator) -> Array:
    return rng.uniform(low, high, shape)


def normal(mean: float = 0.0, std: float = 1.0) -> Initialiser:
    """Return an initialiser that draws from a normal distribution.

    Raises
    ------
    SettingError
        Unless std >= 0 and both are finite.
    """
    if not (math.isfinite(mean) and math.isfinite(std) and std >= 0):
        raise SettingError(
            f"normal: a finite mean and std >= 0 are required, got {mean!r} and "
            f"{std!r}."
        )
    return partial(_normal, mean, std)


def _normal(mean: float, std: float, shape: Shape, rng: np.random.Generator) -> Array:
    return rng.normal(mean, std, shape)


def xavier_uniform(gain: float = 1.0) -> Initialiser:
    """Return Glorot's initialiser, even in +- gain sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep
    feedforward neural networks", AISTATS 2010, equation 16.
    """
    return partial(_xavier_uniform, gain)


def _xavier_uniform(gain: float, shape: Shape, rng: np.random.Generator) -> Array:
    bound = gain * math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-bound, bound, shape)


def xavier_normal(gain: float = 1.0) -> Initialiser:
    """Return Glorot's initialiser, normal of std gain sqrt(2 / (fan_in + fan_out)).

    Source: Glorot and Bengio 2010, equation 12.
    """
    return partial(_xavier_normal, gain)


def _xavier_normal(gain: float, shape: Shape, rng: np.random.Generator) -> Array:
    return rng.normal(0.0, gain * math.sqrt(2 / sum(fans(shape))), shape)


def he_uniform(gain: float = math.sqrt(2)) -> Initialiser:
    """Return He's initialiser, even in +- gain sqrt(3 / fan_in).

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, equation 10.
    """
    return partial(_he_uniform, gain)


def _he_uniform(gain: float, shape: Shape, rng: np.random.Generator) -> Array:
    bound = gain * math.sqrt(3 / fans(shape)[0])
    return rng.uniform(-bound, bound, shape)


def he_normal(gain: float = math.sqrt(2)) -> Initialiser:
    """Return He's initialiser, normal of std gain / sqrt(fan_in).

    Source: He et al. 2015, equation 10.
    """
    return partial(_he_normal, gain)


def _he_normal(gain: float, shape: Shape, rng: np.random.Generator) -> Array:
    return rng.normal(0.0, gain / math.sqrt(fans(shape)[0]), shape)


def lecun_uniform() -> Initialiser:
    """Return LeCun's initialiser, even in +- sqrt(3 / fan_in).

    Source: LeCun et al., "Efficient BackProp", 1998, equation 16.
    """
    return he_uniform(gain=1.0)


def lecun_normal() -> Initialiser:
    """Return LeCun's initialiser, normal of std 1 / sqrt(fan_in).

    Source: LeCun et al. 1998, equation 16.
    """
    return he_normal(gain=1.0)
