"""Weights of examples: one factor on the whole loss, fed like any other input.

A plain product, so that a step whose sampler finds nothing to do still ends at
once: the loss and its gradients vanish with any of its factors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wyrm_py.data.columns import Column
from wyrm_py.engines.native.extents import Extents
from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.graph.op import Array
from wyrm_py.graph.order import topological_order
from wyrm_py.leaves import InputNode
from wyrm_py.nodes import Node, symbolic
from wyrm_py.values import as_array


class Weighted(NamedTuple):
    """A loss times the weight of its example."""

    loss: Node
    column: Column
    mean: float  # weight of an example


def weigh(who: str, loss: Node, weights: Any, examples: int, batched: bool) -> Weighted:
    """Multiply a loss by the weights of the examples; `who` begins messages.

    Raises
    ------
    DataError, DTypeError, ShapeError
        Unless there is one finite number not below zero an example; or if batches
        have a single loss, which no weight of an example fits.
    """
    array = _checked(who, weights, examples)
    shape = [1] * len(loss.shape)
    if batched:
        shape[:1] = _batch_axis(who, loss)
    weight = InputNode(np.ones(shape), loss.dtype, name="weights")
    with symbolic():
        product = loss * weight
    column = Column(weight, array, batched)
    return Weighted(product, column, float(column.arrays[""].mean(dtype=np.float64)))


def _checked(who: str, weights: Any, examples: int) -> Array:
    array = as_array(f"{who}: weights", weights)
    if array.dtype.kind not in "fiub":
        raise DTypeError(
            f"{who}: weights must be numbers, one an example, got dtype {array.dtype}."
        )
    if array.shape != (examples,):
        raise ShapeError(
            f"{who}: weights must have the shape ({examples},), one number an example, "
            f"got {array.shape}."
        )
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if bad.size:
        raise DataError(
            f"{who}: weights must be finite and not below zero, got "
            f"{array[bad[0]]} for example {bad[0]}. Nothing was changed."
        )
    return array


def _batch_axis(who: str, loss: Node) -> tuple[int, ...]:
    extents = Extents.of(topological_order([loss]), True)
    if not loss.shape or extents.shapes[loss][0].text != "batch":
        raise ShapeError(
            f"{who}: weights need a loss with one row an example, but the first axis "
            f"of {loss!r}, of shape {loss.shape}, is not the batch of `batch_size`. "
            "Leave out the sum or mean over the batch, or leave `batch_size` out."
        )
    return loss.shape[:1]
