"""RMSProp, centred or not, with momentum if wanted."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.bounds import ABOVE_ZERO, BELOW_ONE, FLAG, Bound
from wyrm_py.optim.schedules import Schedule


@dataclass(eq=False, repr=False)
class RMSProp(Optimizer):
    """RMSProp: the gradient over a moving root mean square of itself.

    Rule, per element, g with its penalties: square = alpha * square + (1 - alpha) g**2;
    step = g / (sqrt(square) + epsilon); w -= learning_rate * step. Centred:
    mean = alpha * mean + (1 - alpha) g, and square - mean**2 under the root. With
    momentum: velocity = momentum * velocity + step; w -= learning_rate * velocity.

    Parameters
    ----------
    alpha : float in [0, 1), how much of the averages stays
    epsilon : float > 0
    momentum : float in [0, 1)
    centered : bool
    learning_rate, l1, l2, penalty, clip, clip_norm, epoch
        See `Optimizer`.

    Notes
    -----
    Rows are lazy: averages and velocity of a row change only when it is looked up.

    Source: Tieleman and Hinton, Coursera lecture 6.5 (2012); centred, with momentum:
    Graves, "Generating sequences with recurrent neural networks" (2013), equations
    38 to 45. Epsilon stands outside the root and the learning rate outside the
    velocity, as in neuronika and torch; Graves has both inside. drug divides the
    average by the constant 1 - alpha, which is not RMSProp.
    """

    bounds: ClassVar[dict[str, Bound]] = {
        **Optimizer.bounds,
        "alpha": BELOW_ONE,
        "epsilon": ABOVE_ZERO,
        "momentum": BELOW_ONE,
        "centered": FLAG,
    }

    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    once = "fresh = 1 - alpha"

    @property
    def slots(self) -> tuple[str, ...]:
        mean = ("mean",) if self.centered else ()
        return "square", *mean, *(("velocity",) if self.momentum else ())

    @property
    def rule(self) -> str:
        lines = ["square = alpha * square + fresh * gradient * gradient"]
        spread = "square"
        if self.centered:
            lines.append("mean = alpha * mean + fresh * gradient")
            # rounding may leave a little less than nothing
            spread = "maximum(square - mean * mean, 0)"
        change = f"gradient / (sqrt({spread}) + epsilon)"
        if self.momentum:
            lines.append(f"velocity = momentum * velocity + {change}")
            change = "velocity"
        return "\n".join([*lines, f"value = value - learning_rate * {change}"])
