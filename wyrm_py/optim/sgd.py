"""Stochastic gradient descent."""

from __future__ import annotations

from wyrm_py.optim.base import Optimizer


class SGD(Optimizer):
    """Plain stochastic gradient descent.

    Rule, per element: g += l2 * w; w -= learning_rate * g.

    Parameters
    ----------
    learning_rate : float > 0, per step
    l2 : float >= 0, adds l2 * w to the gradient; on rows only where touched
    clip : float > 0 or None, each gradient element is cut to [-clip, clip]
    clip_norm : float > 0 or None, the gradients of a step are scaled down
        together to at most this Euclidean norm

    Source: Robbins and Monro, "A stochastic approximation method" (1951).
    """

    rule = "value = value - learning_rate * gradient"

    def __init__(
        self,
        learning_rate: float = 0.05,
        l2: float = 0.0,
        clip: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, l2, clip, clip_norm)
