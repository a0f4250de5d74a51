"""Follow the regularised leader, proximal, per coordinate."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.bounds import ABOVE_ZERO, NOT_BELOW_ZERO, Bound


@dataclass(eq=False, repr=False)
class FTRL(Optimizer):
    """FTRL-proximal: l1 gives weights that are exactly zero.

    Rule, per element: z += g - (sqrt(n + g**2) - sqrt(n)) / learning_rate * w;
    n += g**2; w = 0 where abs(z) <= l1, else
    w = -(z - sign(z) * l1) / ((beta + sqrt(n)) / learning_rate + l2).

    Parameters
    ----------
    learning_rate : float > 0, alpha in the paper; no schedule, for the rule has its
        own: learning_rate / (beta + sqrt(n)) per element
    beta : float >= 0
    l1, l2 : float >= 0, of the rule: nothing is added to the gradient
    penalty, clip, clip_norm, epoch
        See `Optimizer`.

    The state is kept as `linear` (z) and `squares` (n).

    Notes
    -----
    A zero gradient changes nothing in a weight that has seen gradients, so rows are
    what dense gradients would make of them, if all weights start at zero, as they do
    in the paper. Other starting values stay until the first gradient; it then draws
    them to zero by beta / learning_rate + l2, and to zero itself where abs(z) <= l1.

    Source: McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013,
    algorithm 1.
    """

    bounds: ClassVar[dict[str, Bound]] = {
        **Optimizer.bounds,
        "learning_rate": ABOVE_ZERO,
        "beta": NOT_BELOW_ZERO,
    }

    learning_rate: float = 0.1
    _: KW_ONLY
    beta: float = 1.0

    slots = ("linear", "squares")
    rule = """\
grown = squares + gradient * gradient
change = (sqrt(grown) - sqrt(squares)) / learning_rate
linear = linear + gradient - change * value
squares = grown
weight = sign(linear) * l1 - linear
weight = weight / ((beta + sqrt(squares)) / learning_rate + l2)
value = where(absolute(linear) <= l1, 0, weight)"""

    @property
    def penalties(self) -> str:
        return f"gradient = gradient + ({self.penalty})\n" if self.penalty else ""
