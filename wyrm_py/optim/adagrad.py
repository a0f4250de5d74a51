"""Adagrad."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.bounds import ABOVE_ZERO, NOT_BELOW_ZERO, Bound


@dataclass(eq=False, repr=False)
class Adagrad(Optimizer):
    """Adagrad: each element has its own, shrinking step size.

    Rule, per element, g with its penalties: sum += g * g;
    w -= rate * g / (epsilon + sqrt(sum)), where
    rate = learning_rate / (1 + (t - 1) * learning_rate_decay) at the t-th update of
    the parameter.

    Parameters
    ----------
    epsilon : float > 0, keeps the first division finite
    learning_rate_decay : float >= 0, per update
    learning_rate, l1, l2, penalty, clip, clip_norm, epoch
        See `Optimizer`.

    Notes
    -----
    Without penalties rows are exactly what dense gradients would make of them: a
    zero gradient changes nothing, and t counts the parameter's updates.

    Source: Duchi, Hazan, Singer, "Adaptive subgradient methods for online
    learning and stochastic optimization", JMLR 12 (2011), diagonal form; the
    place of epsilon as in wyrm, the decay as in neuronika.
    """

    bounds: ClassVar[dict[str, Bound]] = {
        **Optimizer.bounds,
        "epsilon": ABOVE_ZERO,
        "learning_rate_decay": NOT_BELOW_ZERO,
    }

    _: KW_ONLY
    epsilon: float = 1e-10
    learning_rate_decay: float = 0.0

    slots = ("sum",)

    @property
    def once(self) -> str:
        if not self.learning_rate_decay:
            return ""
        return "rate = learning_rate / (1 + (step - 1) * learning_rate_decay)"

    @property
    def rule(self) -> str:
        rate = "rate" if self.learning_rate_decay else "learning_rate"
        return (
            "sum = sum + gradient * gradient\n"
            f"value = value - {rate} * gradient / (epsilon + sqrt(sum))"
        )
