"""Adadelta."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.bounds import ABOVE_ZERO, BELOW_ONE, Bound
from wyrm_py.optim.schedules import Schedule


@dataclass(eq=False, repr=False)
class Adadelta(Optimizer):
    """Adadelta: steps in the units of the parameter, without a rate to choose.

    Rule, per element, g with its penalties: square = rho * square + (1 - rho) * g**2;
    step = sqrt(moved + epsilon) / sqrt(square + epsilon) * g;
    moved = rho * moved + (1 - rho) * step**2; w -= learning_rate * step.

    Parameters
    ----------
    rho : float in [0, 1)
    epsilon : float > 0; the first steps are about its root
    learning_rate, l1, l2, penalty, clip, clip_norm, epoch
        See `Optimizer`; 1 is the rule as published.

    Notes
    -----
    Rows are lazy: the averages of a row change only when it is looked up.

    Source: Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1.
    """

    bounds: ClassVar[dict[str, Bound]] = {
        **Optimizer.bounds,
        "rho": BELOW_ONE,
        "epsilon": ABOVE_ZERO,
    }

    learning_rate: float | Schedule = 1.0
    _: KW_ONLY
    rho: float = 0.95
    epsilon: float = 1e-6

    slots = ("square", "moved")
    once = "fresh = 1 - rho"
    rule = """\
square = rho * square + fresh * gradient * gradient
change = sqrt((moved + epsilon) / (square + epsilon)) * gradient
moved = rho * moved + fresh * change * change
value = value - learning_rate * change"""
