"""Adagrad."""

from __future__ import annotations

from typing import ClassVar

from wyrm_py.optim.base import ABOVE_ZERO, Optimizer


class Adagrad(Optimizer):
    """Adagrad: each element has its own, shrinking step size.

    Rule, per element: g += l2 * w; sum += g * g;
    w -= learning_rate * g / (epsilon + sqrt(sum)).

    Parameters
    ----------
    learning_rate : float > 0, per step
    l2 : float >= 0, adds l2 * w to the gradient; on rows only where touched
    epsilon : float > 0, keeps the first division finite
    clip : float > 0 or None, each gradient element is cut to [-clip, clip]
    clip_norm : float > 0 or None, the gradients of a step are scaled down
        together to at most this Euclidean norm

    Source: Duchi, Hazan, Singer, "Adaptive subgradient methods for online
    learning and stochastic optimization", JMLR 12 (2011), diagonal form; the
    place of epsilon as in wyrm.
    """

    bounds: ClassVar[dict[str, str]] = {**Optimizer.bounds, "epsilon": ABOVE_ZERO}
    epsilon: float
    slots = ("sum",)
    rule = """\
sum = sum + gradient * gradient
value = value - learning_rate * gradient / (epsilon + sqrt(sum))"""

    def __init__(
        self,
        learning_rate: float = 0.05,
        l2: float = 0.0,
        epsilon: float = 1e-10,
        clip: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, l2, clip, clip_norm)
        self.epsilon = epsilon

    def settings(self) -> dict[str, float]:
        return {**super().settings(), "epsilon": self.epsilon}
