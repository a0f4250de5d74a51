"""What every optimizer is: plain settings, and a rule as a few lines of text.

The rule is elementwise Python over `value`, `gradient`, the names of its state
slots and its settings. NumPy runs it over arrays (here), native code puts it
inside the loops of `wyrm_py.engines.native.updates`. State lives with the
parameter, under "<rule>.<slot>".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from wyrm_py.engines import functions
from wyrm_py.errors import SettingError
from wyrm_py.graph.op import Array
from wyrm_py.graph.rows import RowArrays
from wyrm_py.leaves import ParameterNode
from wyrm_py.parameters import ParameterBlock

Gradient = Array | RowArrays

ABOVE_ZERO = "above zero"
NOT_BELOW_ZERO = "not below zero"
ABOVE_ZERO_OR_NONE = "above zero, or None"


class Optimizer:
    """Base of the optimizers; see SGD for the common settings."""

    slots: ClassVar[tuple[str, ...]] = ()
    rule: ClassVar[str]
    version = 0
    """Grows with every setting that is changed: compiled steps look at it."""
    bounds: ClassVar[dict[str, str]] = {
        "learning_rate": ABOVE_ZERO,
        "l2": NOT_BELOW_ZERO,
        "clip": ABOVE_ZERO_OR_NONE,
        "clip_norm": ABOVE_ZERO_OR_NONE,
    }
    """All settings, and what each must be."""

    learning_rate: float
    l2: float
    clip: float | None
    clip_norm: float | None

    def __init__(
        self,
        learning_rate: float,
        l2: float = 0.0,
        clip: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.l2 = l2
        self.clip = clip
        self.clip_norm = clip_norm

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting, checked, at any time: also steps made before follow it."""
        if name not in self.bounds:
            raise SettingError(
                f"{type(self).__name__}: has no setting {name!r}; there are "
                f"{', '.join(self.bounds)}."
            )
        checked = _checked(type(self).__name__, name, value, self.bounds[name])
        super().__setattr__(name, checked)
        super().__setattr__("version", self.version + 1)

    def settings(self) -> dict[str, float]:
        """Return the numbers the rule uses, by name, as they are now."""
        return {"learning_rate": self.learning_rate, "l2": self.l2}

    def structure(self) -> tuple[bool, ...]:
        """Return which settings are in use at all: a step is printed for these."""
        return self.l2 > 0, self.clip is not None, self.clip_norm is not None

    def slot_name(self, slot: str) -> str:
        """Return the name of a state slot on the parameter."""
        return f"{type(self).__name__.lower()}.{slot}"

    def state(self, block: ParameterBlock) -> list[Array]:
        """Return the state arrays of a parameter, in the order of `slots`."""
        return [block.slot(self.slot_name(slot)) for slot in self.slots]

    def step(self, parameters: Iterable[ParameterNode]) -> None:
        """Apply and clear the gradients of some parameter nodes.

        Nodes over one block are summed first; a node without gradient is left
        alone.
        """
        nodes = [node for node in parameters if node.trainable]
        joined: dict[int, tuple[ParameterBlock, Gradient]] = {}
        for node in dict.fromkeys(nodes):
            if node._gradient is None:
                continue
            before = joined.get(id(node.block))
            total = (
                node._gradient if before is None else _sum(before[1], node._gradient)
            )
            joined[id(node.block)] = (node.block, total)
        self.apply(list(joined.values()))
        for node in nodes:
            node._gradient = None

    def apply(self, gradients: Sequence[tuple[ParameterBlock, Gradient]]) -> None:
        """Update parameters by gradients: clip, then l2, then the rule."""
        ready = [
            (block, g.coalesced() if isinstance(g, RowArrays) else g)
            for block, g in gradients
        ]
        with np.errstate(all="ignore"):
            scale = self._norm_scale([g for _, g in ready])
            for block, gradient in ready:
                self._update(block, gradient, scale)

    def _norm_scale(self, gradients: Iterable[Gradient]) -> float:
        if self.clip_norm is None:
            return 1.0
        arrays = (g.values if isinstance(g, RowArrays) else g for g in gradients)
        norm = math.sqrt(sum(float(np.vdot(a, a)) for a in map(self._clipped, arrays)))
        return min(1.0, self.clip_norm / norm) if norm > 0 else 1.0

    def _clipped(self, gradient: Array) -> Array:
        if self.clip is None:
            return gradient
        return np.clip(gradient, -self.clip, self.clip)

    def _update(self, block: ParameterBlock, gradient: Gradient, scale: float) -> None:
        """The one NumPy loop: rows if there are rows, else the whole array."""
        value, state = block.value, self.state(block)
        rows: Any = gradient.rows if isinstance(gradient, RowArrays) else ...
        g = gradient.values if isinstance(gradient, RowArrays) else gradient
        number = value.dtype.type
        names: dict[str, Any] = {k: number(v) for k, v in self.settings().items()}
        g = self._clipped(g).reshape(value[rows].shape) * number(scale)
        names["value"] = value[rows]
        names["gradient"] = g + names["l2"] * names["value"]
        names.update(zip(self.slots, (array[rows] for array in state), strict=True))
        exec(self.rule, dict(vars(functions)), names)
        value[rows] = names["value"]
        for slot, array in zip(self.slots, state, strict=True):
            array[rows] = names[slot]

    def __repr__(self) -> str:
        given = {**self.settings(), "clip": self.clip, "clip_norm": self.clip_norm}
        listed = ", ".join(f"{k}={v!r}" for k, v in given.items() if v is not None)
        return f"{type(self).__name__}({listed})"


def _checked(who: str, name: str, value: Any, bound: str) -> float | None:
    """Return a setting as a float, or raise a SettingError."""
    if value is None and bound == ABOVE_ZERO_OR_NONE:
        return None
    fits = isinstance(value, int | float | np.floating | np.integer) and not isinstance(
        value, bool
    )
    low = 0.0 if bound == NOT_BELOW_ZERO else math.ulp(0.0)
    if fits and math.isfinite(value) and value >= low:
        return float(value)
    raise SettingError(f"{who}: {name} must be a finite number {bound}, got {value!r}.")


def _sum(a: Gradient, b: Gradient) -> Gradient:
    if isinstance(a, RowArrays) and isinstance(b, RowArrays):
        return a.joined(b)
    dense, rows = (b, a) if isinstance(a, RowArrays) else (a, b)
    total = np.array(dense)
    if isinstance(rows, RowArrays):
        rows.add_to(total)
    else:
        total += rows
    return total
