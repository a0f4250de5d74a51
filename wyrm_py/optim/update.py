"""How NumPy runs the lines of an optimizer: once for all rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.graph.op import Array
from wyrm_py.graph.rows import RowArrays
from wyrm_py.ops.gather import check_rows
from wyrm_py.parameters import ParameterBlock

if TYPE_CHECKING:
    from wyrm_py.optim.base import Optimizer
    from wyrm_py.optim.formula import Formula

Gradient = Array | RowArrays


def apply(
    optimizer: Optimizer, gradients: Sequence[tuple[ParameterBlock, Gradient]]
) -> None:
    """Update blocks by gradients: clip, then penalties, then the rule."""
    ready = [
        (block, g.coalesced() if isinstance(g, RowArrays) else g)
        for block, g in gradients
    ]
    with np.errstate(all="ignore"):
        scale = _norm_scale(optimizer, [g for _, g in ready])
        for block, gradient in ready:
            _update(optimizer, block, gradient, scale)


def catch_up(optimizer: Optimizer, block: ParameterBlock, rows: Any) -> None:
    """Bring rows (or all, `...`) up to the present step; see `Optimizer.catch_up`."""
    if rows is not ...:
        rows = np.asarray(rows, np.int64).reshape(-1)
        check_rows("catch_up", rows, block.rows)
    step = int(block.slot(optimizer.slot_name("step"), "parameter"))
    with np.errstate(all="ignore"):
        _catch_up(optimizer, block, rows, step)


def summed(a: Gradient, b: Gradient) -> Gradient:
    """Return the sum of two gradients of one parameter."""
    if isinstance(a, RowArrays) and isinstance(b, RowArrays):
        return a.joined(b)
    dense, rows = (b, a) if isinstance(a, RowArrays) else (a, b)
    total = np.array(dense)
    if isinstance(rows, RowArrays):
        rows.add_to(total)
    else:
        total += rows
    return total


def _norm_scale(optimizer: Optimizer, gradients: Iterable[Gradient]) -> float:
    limit = optimizer.clip_norm
    if limit is None:
        return 1.0
    arrays = (g.values if isinstance(g, RowArrays) else g for g in gradients)
    clipped = (_clipped(optimizer, array) for array in arrays)
    norm = math.sqrt(sum(float(np.vdot(a, a)) for a in clipped))
    return min(1.0, limit / norm) if norm > 0 else 1.0


def _clipped(optimizer: Optimizer, gradient: Array) -> Array:
    if optimizer.clip is None:
        return gradient
    return np.clip(gradient, -optimizer.clip, optimizer.clip)


def _update(
    optimizer: Optimizer, block: ParameterBlock, gradient: Gradient, scale: float
) -> None:
    """Update rows if there are rows, else the whole array."""
    formulas = optimizer.formulas()
    rows: Any = gradient.rows if isinstance(gradient, RowArrays) else ...
    g = gradient.values if isinstance(gradient, RowArrays) else gradient
    numbers = optimizer.settings()
    if formulas.counts:
        step = block.slot(optimizer.slot_name("step"), "parameter")
        step += 1
        numbers["step"] = float(step)
    if formulas.catches_up:
        _catch_up(optimizer, block, rows, int(step) - 1)
        last = block.slot(optimizer.slot_name("row_step"), "row")
        last[rows] = np.maximum(last[rows], int(step))
    formulas.once.run(numbers, np.float64)
    number = block.dtype.type
    names: dict[str, Any] = {k: number(v) for k, v in numbers.items()}
    shape = block.value[rows].shape
    names["gradient"] = _clipped(optimizer, g).reshape(shape) * number(scale)
    _rewrite(optimizer, block, rows, formulas.rule, names)


def _catch_up(
    optimizer: Optimizer, block: ParameterBlock, rows: Any, step: int
) -> None:
    formulas = optimizer.formulas()
    last = block.slot(optimizer.slot_name("row_step"), "row")
    missed = np.maximum(step - last[rows], 0)
    last[rows] += missed
    if not missed.any():
        return
    numbers: dict[str, Any] = {**optimizer.settings(), "missed": np.float64(missed)}
    formulas.missed_once.run(numbers, np.float64)
    # numbers of a row stand for all elements of the row
    shape = (-1,) + (1,) * (block.value.ndim - 1) if block.value.ndim else ()
    names = {k: np.asarray(v, block.dtype) for k, v in numbers.items()}
    names = {k: v.reshape(shape) if v.ndim else v for k, v in names.items()}
    _rewrite(optimizer, block, rows, formulas.missed, names)


def _rewrite(
    optimizer: Optimizer,
    block: ParameterBlock,
    rows: Any,
    lines: Formula,
    names: dict[str, Any],
) -> None:
    """Run lines over value and slots of some rows, and write these back."""
    arrays = {slot: block.slot(optimizer.slot_name(slot)) for slot in optimizer.slots}
    arrays["value"] = block.value
    names.update({name: array[rows] for name, array in arrays.items()})
    lines.run(names, block.dtype.type)
    for name, array in arrays.items():
        array[rows] = names[name]
