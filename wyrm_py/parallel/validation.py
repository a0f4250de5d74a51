"""Validation: what the parameters are worth after an epoch, on data kept aside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wyrm_py.errors import SettingError
from wyrm_py.nodes import Node
from wyrm_py.parallel.evaluate import Evaluation
from wyrm_py.parallel.history import History
from wyrm_py.parameters import ParameterBlock

Metric = Callable[[History], Any]


class Validation:
    """Data and functions given as `validation`, checked.

    Parameters
    ----------
    given : {node: column}, a function of the History, a list of both, or None
    loss : without weights
    batch : examples of a step of the evaluation, or None
    """

    def __init__(self, given: Any, loss: Node, batch: int | None) -> None:
        several = isinstance(given, Sequence) and not isinstance(given, str)
        parts = list(given) if several else [] if given is None else [given]
        data = [part for part in parts if isinstance(part, Mapping)]
        self.functions: list[Metric] = [p for p in parts if callable(p)]
        if len(data) + len(self.functions) < len(parts) or len(data) > 1:
            raise SettingError(
                "fit: validation must be columns {node: column}, a function of the "
                "History, or a list of functions and at most one of columns, got "
                f"{given!r}."
            )
        who = "fit: validation"
        self.data = Evaluation(loss, data[0], batch, who) if data else None

    def __bool__(self) -> bool:
        return self.data is not None or bool(self.functions)

    def run(
        self, history: History, jobs: int, blocks: Mapping[int, ParameterBlock]
    ) -> None:
        """Write what the last epoch is worth into the history."""
        epochs = len(history.losses)
        if self.data is not None:
            losses = self.data.run(jobs, blocks)
            before = history.validation_losses[: epochs - 1]
            missing = [math.nan] * (epochs - 1 - len(before))
            mean = float(losses.mean(dtype=np.float64))
            history.validation_losses[:] = [*before, *missing, mean]
        if self.functions:
            missed = range(epochs - 1 - len(history.metrics))
            history.metrics[epochs - 1 :] = []
            history.metrics.extend({} for _ in missed)
            found: dict[str, float] = {}
            for function in self.functions:
                found |= _named(function, function(history))
            history.metrics.append(found)


def _named(function: Metric, answer: Any) -> dict[str, float]:
    """Return what a function gave as metrics with names; its own for a number."""
    name = getattr(function, "__name__", type(function).__name__)
    named = answer if isinstance(answer, Mapping) else {name: answer}
    for key, value in named.items():
        number = isinstance(value, int | float | np.number) and not isinstance(
            value, bool
        )
        if not isinstance(key, str) or not number:
            raise SettingError(
                f"fit: the validation function {name} must return a number or a dict "
                f"of str to number, got {answer!r}."
            )
    return {key: float(value) for key, value in named.items()}
