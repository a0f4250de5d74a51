"""Adam, AMSGrad and AdamW."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.bounds import (
    ABOVE_ZERO,
    BELOW_ONE,
    FLAG,
    NOT_BELOW_ZERO,
    Bound,
)
from wyrm_py.optim.schedules import Schedule


@dataclass(eq=False, repr=False)
class Adam(Optimizer):
    """Adam: moving averages of the gradient and its square, corrected for bias.

    Rule, per element, g with its penalties: m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g**2;
    w -= learning_rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon) at
    the t-th update of the parameter. AMSGrad takes the largest v so far for v.

    Parameters
    ----------
    beta1, beta2 : float in [0, 1)
    epsilon : float > 0
    amsgrad : bool
    learning_rate, l1, l2, penalty, clip, clip_norm, epoch
        See `Optimizer`.

    Notes
    -----
    Rows are lazy, as in wyrm: m, v and w of a row change only when it is looked up,
    while t counts the updates of the whole parameter, by all workers, whether or not
    they touched the row. A row equals that of a dense table whose other rows have
    zero gradients only if every step looks it up.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015,
    algorithm 1; Reddi, Kale, Kumar, "On the convergence of Adam and beyond", ICLR
    2018, algorithm 2, with the bias corrected as in Adam (as in neuronika and torch;
    the paper leaves that out). drug's Adam divides by the constants 1 - beta, not
    1 - beta**t.
    """

    bounds: ClassVar[dict[str, Bound]] = {
        **Optimizer.bounds,
        "beta1": BELOW_ONE,
        "beta2": BELOW_ONE,
        "epsilon": ABOVE_ZERO,
        "amsgrad": FLAG,
    }

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        return "first", "second", *(("largest",) if self.amsgrad else ())

    @property
    def once(self) -> str:
        return """\
fresh1 = 1 - beta1
fresh2 = 1 - beta2
rate = learning_rate / -expm1(step * ln(beta1))
correction = 1 / sqrt(-expm1(step * ln(beta2)))"""

    @property
    def rule(self) -> str:
        lines = [
            "first = beta1 * first + fresh1 * gradient",
            "second = beta2 * second + fresh2 * gradient * gradient",
        ]
        if self.amsgrad:
            lines.append("largest = maximum(largest, second)")
        v = "largest" if self.amsgrad else "second"
        change = f"rate * first / (sqrt({v}) * correction + epsilon)"
        return "\n".join([*lines, f"value = value - {change}"])


@dataclass(eq=False, repr=False)
class AdamW(Adam):
    """Adam with weight decay beside the gradient, not in it.

    Rule: w -= learning_rate * weight_decay * w, then that of Adam.

    Parameters
    ----------
    weight_decay : float >= 0
    beta1, beta2, epsilon, amsgrad
        See `Adam`.
    learning_rate, l1, l2, penalty, clip, clip_norm, epoch
        See `Optimizer`.

    Notes
    -----
    Rows are lazy, as those of Adam: a row decays only when it is looked up.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR
    2019, algorithm 2; the decay is multiplied by the whole learning rate (as in
    torch), in the paper only by the schedule's part of it.
    """

    bounds: ClassVar[dict[str, Bound]] = {**Adam.bounds, "weight_decay": NOT_BELOW_ZERO}

    _: KW_ONLY
    weight_decay: float = 0.01

    @property
    def once(self) -> str:
        return f"{super().once}\nkept = 1 - learning_rate * weight_decay"

    @property
    def rule(self) -> str:
        return super().rule.replace("value = value -", "value = kept * value -")
