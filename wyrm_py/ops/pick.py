"""One entry per line by its number: picks, and the cross-entropy built on them.

The numbers (class labels) have the shape of the value without one axis. Gradients
read "is this the picked one?" in place: no table of zeros and ones is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import (
    Array,
    Op,
    Spec,
    View,
    normalize_axes,
    require_floats,
    require_index,
)
from wyrm_py.ops.gather import check_rows
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node
    from wyrm_py.ops.methods import Value


@dataclass(frozen=True)
class Pick(View):
    """x[..., label, ...]: one entry per line along an axis, which goes."""

    axis: int

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(_picked_shape(self.name, self.axis, *inputs), inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        x, labels = inputs
        check_rows(self.name, labels, x.shape[self.axis])
        lines = np.expand_dims(labels, self.axis)
        out[...] = np.take_along_axis(x, lines, self.axis).squeeze(self.axis)

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {1: inputs[0].shape[self.axis]}

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        x, labels = inputs
        at = self.axis % len(x.extents)

        def read(*index: str) -> str:
            return x.at(*index[:at], labels.at(*index), *index[at:])

        return out.reading(read)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        x, labels = inputs
        chosen = x._apply_to(OneHotLike(self.axis), x, labels)
        return g.expand_dims(self.axis) * chosen, None


@dataclass(frozen=True)
class OneHotLike(View):
    """1 where the place along an axis is the label, else 0; passes no gradient."""

    axis: int
    shape_only = (0,)

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = 0
        np.put_along_axis(out, np.expand_dims(inputs[1], self.axis), 1, self.axis)

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        labels = inputs[1]
        at = self.axis % len(out.extents)

        def read(*index: str) -> str:
            label = labels.at(*index[:at], *index[at + 1 :])
            place = "u64(0)" if index[at] == "0" else index[at]
            return f"where({label} == {place}, {out.type}(1), {out.type}(0))"

        return out.reading(read)


@dataclass(frozen=True)
class CrossEntropy(Op):
    """-ln(softmax(x))[label] along an axis, and the softmax itself.

    Two outputs, so that the exponentials are computed once for the loss and its
    gradient, g * (softmax - onehot).
    """

    axis: int

    def infer(self, *inputs: Spec) -> tuple[Spec, Spec]:
        x = inputs[0]
        return Spec(_picked_shape(self.name, self.axis, *inputs), x.dtype), x

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        return {1: inputs[0].shape[self.axis]}

    def forward(self, out: Any, *inputs: Array) -> None:
        x, labels = inputs
        loss, softmax = out
        check_rows(self.name, labels, x.shape[self.axis])
        shifted = x - x.max(axis=self.axis, keepdims=True)
        np.exp(shifted, out=softmax)
        total = softmax.sum(axis=self.axis, keepdims=True)
        softmax /= total
        lines = np.expand_dims(labels, self.axis)
        chosen = np.take_along_axis(shifted, lines, self.axis)
        loss[...] = (np.log(total) - chosen).squeeze(self.axis)

    def emit(self, writer: Writer, out: Any, *inputs: Operand) -> None:
        x, labels = inputs
        loss, softmax = out
        at = self.axis % len(x.extents)
        extent = x.extents[at]
        largest, total, power = (writer.fresh("s") for _ in range(3))
        with writer.loops(loss.extents) as index:

            def line(k: str) -> list[str]:
                return [*index[:at], k, *index[at:]]

            writer.line(f"{largest} = {x.type}(-inf)")
            with writer.loop(extent) as k:
                writer.line(f"{largest} = maximum({largest}, {x.at(*line(k))})")
            writer.line(f"{total} = {x.type}(0)")
            with writer.loop(extent) as k:
                writer.line(f"{power} = exp({x.at(*line(k))} - {largest})")
                writer.line(f"{softmax.at(*line(k))} = {power}")
                writer.line(f"{total} += {power}")
            with writer.loop(extent) as k:
                here = softmax.at(*line(k))
                writer.line(f"{here} = {here} / {total}")
            chosen = x.at(*line(labels.at(*index)))
            writer.line(f"{loss.at(*index)} = ln({total}) - ({chosen} - {largest})")

    def gradient(self, g: Any, out: Any, *inputs: Node) -> tuple[Node, None]:
        x, labels = inputs
        to_loss, to_softmax = g
        softmax = out[1]
        parts: list[Node] = []
        if to_loss is not None:
            chosen = x._apply_to(OneHotLike(self.axis), x, labels)
            parts.append(to_loss.expand_dims(self.axis) * (softmax - chosen))
        if to_softmax is not None:
            weighted = to_softmax * softmax
            total = weighted.sum(self.axis, keepdims=True)
            parts.append(weighted - softmax * total)
        return (parts[0] if len(parts) == 1 else parts[0] + parts[1]), None


def _picked_shape(name: str, axis: int, x: Spec, labels: Spec) -> tuple[int, ...]:
    """Return the shape without the axis, which the labels must have."""
    require_floats(name, x)
    require_index(name, labels)
    (at,) = normalize_axes(name, axis, len(x.shape))
    shape = x.shape[:at] + x.shape[at + 1 :]
    if labels.shape != shape:
        raise ShapeError(
            f"{name}: one number per line along axis {axis} of {x.shape} is required, "
            f"so labels of shape {shape}; got {labels.shape}."
        )
    return shape


class PickMethods(Methods):
    """Picking one entry per line."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _row_numbers(self, rows: Value) -> Node: ...

    def pick(self, labels: Value, axis: int = -1) -> Node:
        """Return the entry with a given number from each line along `axis`.

        `labels` is an index node, or integers that stay, of this node's shape
        without `axis`: of a node (B, C), labels (B,) pick a value (B,).
        """
        return self._apply(Pick(axis), self._row_numbers(labels))
