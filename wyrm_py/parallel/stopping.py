"""Early stopping: end a training that gets no better, and go back to the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wyrm_py.errors import SettingError
from wyrm_py.parallel.history import History
from wyrm_py.parameters import ParameterBlock

_LOWER = ("loss", "error", "rmse", "mse", "mae", "perplexity")
"""Endings of metrics that are better when lower, for `mode="auto"`."""


@dataclass(frozen=True)
class EarlyStopping:
    """End the training when a metric has not improved for some epochs.

    Parameters
    ----------
    metric : "validation_loss", "loss" (of training), the name of a metric that a
        function given as `validation` returns, or None: the validation loss if
        there are validation data, else the first metric
    patience : int >= 1, epochs without improvement after which the training ends
    minimum : float >= 0; an epoch is better only by more than this
    restore_best : whether the parameters and the state of the optimizer are those
        of the best epoch afterwards. It costs a copy of both
    mode : "min" (lower is better), "max", or "auto": "min" for names that end in
        loss, error, rmse, mse, mae or perplexity, else "max"

    Raises
    ------
    SettingError
        If a setting is impossible.

    Notes
    -----
    Looks at all epochs in the History, also of the run that is resumed; but the
    parameters of an epoch before it cannot be restored. NaN is never an improvement.
    """

    metric: str | None = None
    patience: int = 3
    minimum: float = 0.0
    restore_best: bool = True
    mode: Literal["auto", "min", "max"] = "auto"

    def __post_init__(self) -> None:
        whole = isinstance(self.patience, int) and not isinstance(self.patience, bool)
        if not whole or self.patience < 1:
            raise SettingError(
                "EarlyStopping: patience must be an integer of at least 1, got "
                f"{self.patience!r}."
            )
        number = isinstance(self.minimum, int | float)
        if not number or not 0 <= self.minimum < math.inf:
            raise SettingError(
                "EarlyStopping: minimum must be a finite number not below zero, got "
                f"{self.minimum!r}."
            )
        if self.mode not in ("auto", "min", "max"):
            raise SettingError(
                "EarlyStopping: mode must be one of 'auto', 'min', 'max', got "
                f"{self.mode!r}."
            )
        if not isinstance(self.metric, str | None):
            raise SettingError(
                "EarlyStopping: metric must be the name of a metric or None, got "
                f"{self.metric!r}."
            )

    def watched(self, history: History) -> tuple[str, list[float]]:
        """Return the name of the metric and its value after each epoch.

        Raises
        ------
        SettingError
            If the history has no such metric.
        """
        known: dict[str, list[float]] = {}
        if history.validation_losses:
            known["validation_loss"] = history.validation_losses
        for name in history.metrics[-1] if history.metrics else ():
            known[name] = [row.get(name, math.nan) for row in history.metrics]
        name = next(iter(known), "") if self.metric is None else self.metric
        known["loss"] = history.losses
        if name not in known:
            raise SettingError(
                f"EarlyStopping: metric {name!r} is not among {', '.join(known)}. Give "
                "`fit` validation data or a function as `validation`."
            )
        return name, known[name]

    def best(self, history: History) -> int:
        """Return the epoch after which the metric was best."""
        name, values = self.watched(history)
        lower = self.mode == "min"
        if self.mode == "auto":
            lower = name.lower().endswith(_LOWER)
        best = 0
        for epoch, value in enumerate(values):
            gain = values[best] - value if lower else value - values[best]
            if gain > self.minimum or (
                math.isnan(values[best]) and not math.isnan(value)
            ):
                best = epoch
        return best


class Snapshot:
    """Values and optimizer state of some parameters at one moment."""

    def __init__(self, blocks: Sequence[ParameterBlock]) -> None:
        self._held: list[tuple[Any, dict[str, Any]]] = [
            (
                block.value.copy(),
                {name: state.copy() for name, state in block.slots().items()},
            )
            for block in blocks
        ]

    def restore(self, blocks: Sequence[ParameterBlock]) -> None:
        """Write it back; state that was not there yet becomes zero again."""
        for block, (value, slots) in zip(blocks, self._held, strict=True):
            np.copyto(block.value, value)
            for name, state in block.slots().items():
                state[...] = slots.get(name, 0)
