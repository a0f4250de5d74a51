"""Learning rates that change while training: plain functions of the epoch.

A schedule stands wherever an optimizer takes a learning rate. It keeps no count of
its own: where it stands is the optimizer's `epoch`, which `fit` moves on and a loop
in Python sets. So schedules can be shared, compared, copied, and multiplied.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wyrm_py.errors import SettingError

__all__ = [
    "Cosine",
    "Exponential",
    "InverseSqrt",
    "Lambda",
    "Linear",
    "MultiStep",
    "Multiplicative",
    "Product",
    "Schedule",
    "Step",
    "Warmup",
]


class Schedule(ABC):
    """Base of the schedules; subclass it for one of your own.

    `schedule(epoch)` is the learning rate at an epoch, a number not below zero that
    counts epochs that are complete: 0 during the first one, 2.5 half-way through the
    third. `a * b` is the product of two schedules, or of a schedule and a number.

    Attributes
    ----------
    within_epochs : bool
        Whether the rate also changes within an epoch. `fit` then looks it up at up
        to 64 places of an epoch, otherwise once at its start.
    """

    within_epochs: bool = False

    @abstractmethod
    def rate(self, epoch: float) -> float:
        """Return the learning rate at an epoch."""

    def __call__(self, epoch: float) -> float:
        """Return the learning rate at an epoch, checked.

        Raises
        ------
        SettingError
            If it is not a finite number above or at zero.
        """
        found = self.rate(epoch)
        if not isinstance(found, int | float | np.number) or not 0 <= found < math.inf:
            raise SettingError(
                f"{self!r}: a learning rate must be a finite number not below zero, "
                f"got {found!r} at epoch {epoch:g}."
            )
        return float(found)

    def __mul__(self, other: Schedule | float) -> Product:
        factors = (other,) if isinstance(other, Schedule) else (Step(other, 1, 1.0),)
        return Product((self, *factors))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Step(Schedule):
    """start * gamma ** (epoch // every): times `gamma` every some epochs.

    Parameters
    ----------
    start : float > 0, the learning rate of the first epoch
    every : int >= 1, epochs
    gamma : float > 0
    """

    start: float
    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _require(self, "start", "gamma")
        _require_whole(self, "every", self.every, 1)

    def rate(self, epoch: float) -> float:
        return self.start * self.gamma ** (int(epoch) // self.every)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """start * gamma ** (number of milestones that are not after the epoch).

    Parameters
    ----------
    start : float > 0, the learning rate of the first epoch
    milestones : ints >= 0, rising
    gamma : float > 0
    """

    start: float
    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _require(self, "start", "gamma")
        given = tuple(self.milestones)
        for milestone in given:
            _require_whole(self, "each milestone", milestone, 0)
        if list(given) != sorted(set(given)):
            raise SettingError(f"MultiStep: milestones must rise, got {given}.")
        object.__setattr__(self, "milestones", given)

    def rate(self, epoch: float) -> float:
        return self.start * self.gamma ** bisect_right(self.milestones, int(epoch))


@dataclass(frozen=True)
class Exponential(Schedule):
    """start * gamma ** epoch, constant within an epoch.

    Parameters
    ----------
    start : float > 0, the learning rate of the first epoch
    gamma : float > 0
    """

    start: float
    gamma: float

    def __post_init__(self) -> None:
        _require(self, "start", "gamma")

    def rate(self, epoch: float) -> float:
        return float(self.start * self.gamma ** int(epoch))


@dataclass(frozen=True)
class Multiplicative(Schedule):
    """start * factor(1) * factor(2) * ... * factor(epoch).

    Parameters
    ----------
    start : float > 0, the learning rate of the first epoch
    factor : function of the epoch, an int
    """

    start: float
    factor: Callable[[int], float]

    def __post_init__(self) -> None:
        _require(self, "start")

    def rate(self, epoch: float) -> float:
        return self.start * math.prod(self.factor(k) for k in range(1, int(epoch) + 1))


@dataclass(frozen=True)
class Lambda(Schedule):
    """start * factor(epoch): any function of your own.

    Parameters
    ----------
    start : float > 0
    factor : function of the epoch, an int
    """

    start: float
    factor: Callable[[int], float]

    def __post_init__(self) -> None:
        _require(self, "start")

    def rate(self, epoch: float) -> float:
        return self.start * self.factor(int(epoch))


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `start` down to `end` along half a cosine, then `end`.

    Parameters
    ----------
    start : float > 0, the learning rate at the start
    epochs : float > 0, until `end` is reached
    end : float >= 0

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm
    restarts", ICLR 2017, equation 5, one period.
    """

    start: float
    epochs: float
    end: float = 0.0
    within_epochs = True

    def __post_init__(self) -> None:
        _require(self, "start", "epochs")
        if not 0 <= self.end < math.inf:
            raise SettingError(f"Cosine: end must not be below zero, got {self.end!r}.")

    def rate(self, epoch: float) -> float:
        turn = math.pi * min(epoch / self.epochs, 1.0)
        return self.end + 0.5 * (self.start - self.end) * (1.0 + math.cos(turn))


@dataclass(frozen=True)
class Linear(Schedule):
    """From `start` evenly down to `end`, then `end`.

    Parameters
    ----------
    start : float > 0, the learning rate at the start
    epochs : float > 0, until `end` is reached
    end : float >= 0
    """

    start: float
    epochs: float
    end: float = 0.0
    within_epochs = True

    def __post_init__(self) -> None:
        _require(self, "start", "epochs")
        if not 0 <= self.end < math.inf:
            raise SettingError(f"Linear: end must not be below zero, got {self.end!r}.")

    def rate(self, epoch: float) -> float:
        share = min(epoch / self.epochs, 1.0)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """start / sqrt(1 + epoch / scale).

    Parameters
    ----------
    start : float > 0, the learning rate at the start
    scale : float > 0, epochs after which the rate has fallen to start / sqrt(2)

    Source: the rate eta0 / sqrt(t) of online convex optimization (Zinkevich, ICML
    2003), moved so that it starts at a finite value.
    """

    start: float
    scale: float = 1.0
    within_epochs = True

    def __post_init__(self) -> None:
        _require(self, "start", "scale")

    def rate(self, epoch: float) -> float:
        return self.start / math.sqrt(1.0 + epoch / self.scale)


@dataclass(frozen=True)
class Warmup(Schedule):
    """Rises in a straight line from `share` of `start` to `start`, then stays.

    Parameters
    ----------
    start : float > 0, the learning rate after the warm-up
    epochs : float > 0, length of the warm-up
    share : float in (0, 1], part of the rate to begin with
    """

    start: float
    epochs: float
    share: float = 0.1
    within_epochs = True

    def __post_init__(self) -> None:
        _require(self, "start", "epochs", "share")
        if self.share > 1:
            raise SettingError(f"Warmup: share must be at most 1, got {self.share!r}.")

    def rate(self, epoch: float) -> float:
        done = min(epoch / self.epochs, 1.0)
        return self.start * (self.share + (1.0 - self.share) * done)


@dataclass(frozen=True)
class Product(Schedule):
    """The product of several schedules: what `a * b` gives.

    Parameters
    ----------
    factors : schedules, at least one
    """

    factors: Sequence[Schedule]

    def __post_init__(self) -> None:
        given = tuple(self.factors)
        if not given or not all(isinstance(factor, Schedule) for factor in given):
            raise SettingError(
                f"Product: at least one schedule is required, got {given!r}."
            )
        flat = [f.factors if isinstance(f, Product) else (f,) for f in given]
        object.__setattr__(self, "factors", tuple(f for part in flat for f in part))

    @property
    def within_epochs(self) -> bool:  # type: ignore[override]
        return any(factor.within_epochs for factor in self.factors)

    def rate(self, epoch: float) -> float:
        return math.prod(factor(epoch) for factor in self.factors)


def _require(schedule: Schedule, *names: str) -> None:
    """Raise a SettingError unless some fields are finite numbers above zero."""
    for name in names:
        value = getattr(schedule, name)
        number = isinstance(value, int | float | np.floating | np.integer)
        if not number or isinstance(value, bool) or not 0 < value < math.inf:
            raise SettingError(
                f"{type(schedule).__name__}: {name} must be a finite number above "
                f"zero, got {value!r}."
            )


def _require_whole(schedule: Schedule, name: str, value: object, least: int) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:  # type: ignore[operator]
        raise SettingError(
            f"{type(schedule).__name__}: {name} must be a whole number of at least "
            f"{least}, got {value!r}."
        )
