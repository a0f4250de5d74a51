"""What a setting may be, and the message when it is something else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wyrm_py.errors import SettingError
from wyrm_py.optim.formula import formula
from wyrm_py.optim.schedules import Schedule


@dataclass(frozen=True)
class Bound:
    """A test of numbers and its name in messages; perhaps None is fine as well."""

    text: str
    holds: Callable[[float], bool]
    optional: bool = False

    def checked(self, who: str, name: str, value: Any) -> Any:
        """Return a setting as it is kept, or raise a SettingError."""
        if value is None and self.optional:
            return None
        whole = isinstance(value, int | float | np.floating | np.integer)
        if whole and not isinstance(value, bool) and math.isfinite(value):
            number = float(value)
            if self.holds(number):
                return number
        raise SettingError(
            f"{who}: {name} must be a finite number {self.text}, got {value!r}."
        )


class _Flag(Bound):
    def checked(self, who: str, name: str, value: Any) -> Any:
        if isinstance(value, bool | np.bool_):
            return bool(value)
        raise SettingError(f"{who}: {name} must be {self.text}, got {value!r}.")


class _Rate(Bound):
    def checked(self, who: str, name: str, value: Any) -> Any:
        if isinstance(value, Schedule):
            return value
        return super().checked(who, name, value)


class _Expression(Bound):
    def checked(self, who: str, name: str, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str) or "\n" in value:
            raise SettingError(f"{who}: {name} must be {self.text}, got {value!r}.")
        # in brackets, as it stands in the rule, too: "value; x = 1" is no part of it
        checked = [
            formula(f"penalty = {t}", f"{who}: {name}") for t in (value, f"({value})")
        ]
        strangers = {read for lines in checked for read in lines.reads} - {"value"}
        if strangers:
            raise SettingError(
                f"{who}: {name} must be {self.text}, got {value!r}, which also reads "
                f"{', '.join(sorted(strangers))}."
            )
        return value


def _above_zero(number: float) -> bool:
    return number > 0


ABOVE_ZERO = Bound("above zero", _above_zero)
ABOVE_ZERO_OR_NONE = Bound("above zero, or None", _above_zero, optional=True)
NOT_BELOW_ZERO = Bound("not below zero", lambda number: number >= 0)
BELOW_ONE = Bound("from 0 up to, not including, 1", lambda number: 0 <= number < 1)
UP_TO_ONE = Bound("from 0 to 1", lambda number: 0 <= number <= 1)
RATE = _Rate("above zero, or a schedule", _above_zero)
FLAG = _Flag("True or False", lambda _: True)
EXPRESSION = _Expression("an expression of `value`, or None", lambda _: True)
