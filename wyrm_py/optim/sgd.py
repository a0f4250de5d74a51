"""Stochastic gradient descent, with momentum if wanted."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from wyrm_py.errors import SettingError
from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.bounds import BELOW_ONE, FLAG, UP_TO_ONE, Bound


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent.

    Rule, per element, g with its penalties: w -= learning_rate * g. With momentum:
    v = momentum * v + (1 - dampening) * g; w -= learning_rate * v, or, by Nesterov,
    w -= learning_rate * (g + momentum * v).

    Parameters
    ----------
    momentum : float in [0, 1)
    dampening : float in [0, 1], needs momentum
    nesterov : bool, needs momentum
    exact_rows : bool
        Rows that steps pass by get the l2 and the momentum of these steps later, by
        a closed form, when they are looked up next: a table is what dense gradients,
        zero outside the rows, would have made of it. Costs one int64 a row; takes
        l2 as the only penalty.

        Compiled steps and `fit` catch up before they read a row, and `fit` catches
        up all rows after each epoch, for which workers wait. After compiled steps,
        and before `forward` in a loop of your own, call `catch_up`. Missed steps
        count with the settings at the time of catching up. With several workers of
        mode "hogwild", a row is exact up to the updates that are under way. Samplers
        that read scores, and dense uses of the table, see rows as they are.
    learning_rate, l1, l2, penalty, clip, clip_norm, epoch
        See `Optimizer`.

    Notes
    -----
    Without `exact_rows`, rows are lazy: v and the penalties act when a row is looked
    up. Plain SGD without penalties leaves rows exactly as dense gradients would.

    Source: Robbins and Monro, "A stochastic approximation method" (1951); momentum:
    Polyak (1964); Nesterov's in the form of Sutskever, Martens, Dahl, Hinton, "On
    the importance of initialization and momentum in deep learning", ICML 2013,
    section 2, with w at the point where the gradient is taken. v starts at zero, as
    in neuronika; torch starts it at the first gradient, undampened.
    """

    bounds: ClassVar[dict[str, Bound]] = {
        **Optimizer.bounds,
        "momentum": BELOW_ONE,
        "dampening": UP_TO_ONE,
        "nesterov": FLAG,
        "exact_rows": FLAG,
    }

    _: KW_ONLY
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    exact_rows: bool = False

    def require_consistent(self) -> None:
        if not self.momentum and (self.nesterov or self.dampening):
            raise SettingError(
                f"SGD: nesterov and dampening need momentum above zero, got momentum="
                f"{self.momentum}, nesterov={self.nesterov}, "
                f"dampening={self.dampening}."
            )
        if self.exact_rows and (self.l1 or self.penalty is not None):
            raise SettingError(
                f"SGD: exact_rows takes l2 as the only penalty, got l1={self.l1}, "
                f"penalty={self.penalty!r}. Leave exact_rows out: then penalties act "
                "when a row is looked up."
            )

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    @property
    def once(self) -> str:
        return "fresh = 1 - dampening" if self.dampening else ""

    @property
    def rule(self) -> str:
        if not self.momentum:
            return "value = value - learning_rate * gradient"
        fresh = "fresh * gradient" if self.dampening else "gradient"
        change = "gradient + momentum * velocity" if self.nesterov else "velocity"
        return (
            f"velocity = momentum * velocity + {fresh}\n"
            f"value = value - learning_rate * ({change})"
        )

    @property
    def missed_once(self) -> str:
        if not self.momentum:
            return "kept = power(1 - learning_rate * l2, missed)"
        # one step without a gradient is linear in (value, velocity)
        far = "learning_rate * momentum"
        near = "learning_rate * (1 - dampening) * l2"
        if self.nesterov:
            far = f"{far} * momentum"
            near = f"learning_rate * l2 + momentum * {near}"
        return (
            "vv, vm, mv, mm = linear_power("
            f"1 - ({near}), -{far}, (1 - dampening) * l2, momentum, missed)"
        )

    @property
    def missed(self) -> str:
        if not self.exact_rows:
            return ""
        if not self.momentum:
            return "value = kept * value" if self.l2 else ""
        return (
            "before = value\n"
            "value = vv * before + vm * velocity\n"
            "velocity = mv * before + mm * velocity"
        )
