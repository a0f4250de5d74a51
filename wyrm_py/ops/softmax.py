"""The softmax family, shifted by the maximum, over any axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Op, Spec, normalize_axes, require_floats
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.engines.native.extents import Extent
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node

Line: TypeAlias = Callable[[str], list[str]]


@dataclass(frozen=True)
class Softmax(Op):
    """exp(a - max) / sum(exp(a - max)) along one axis."""

    axis: int = -1

    def infer(self, *inputs: Spec) -> Spec:
        require_floats(self.name, *inputs)
        if self.axis is None:
            raise ShapeError(f"{self.name}: one axis is needed, got None.")
        normalize_axes(self.name, self.axis, len(inputs[0].shape))
        return inputs[0]

    def forward(self, out: Array, *inputs: Array) -> None:
        (x,) = inputs
        np.exp(x - x.max(axis=self.axis, keepdims=True, initial=-np.inf), out=out)
        out /= out.sum(axis=self.axis, keepdims=True)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        (x,) = inputs
        with _lines(writer, x, self.axis) as (line, extent):
            largest = _emit_max(writer, x, line, extent)
            total = writer.fresh("s")
            writer.line(f"{total} = {out.type}(0)")
            with writer.loop(extent) as k:
                power = writer.fresh("s")
                writer.line(f"{power} = exp({x.at(*line(k))} - {largest})")
                writer.line(f"{out.at(*line(k))} = {power}")
                writer.line(f"{total} += {power}")
            with writer.loop(extent) as k:
                at = out.at(*line(k))
                writer.line(f"{at} = {at} / {total}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        weighted = g * out
        return (weighted - out * weighted.sum(self.axis, keepdims=True),)


@dataclass(frozen=True)
class LogSoftmax(Softmax):
    """a - max - ln(sum(exp(a - max))) along one axis."""

    def forward(self, out: Array, *inputs: Array) -> None:
        (x,) = inputs
        np.subtract(x, x.max(axis=self.axis, keepdims=True, initial=-np.inf), out=out)
        out -= np.log(np.exp(out).sum(axis=self.axis, keepdims=True))

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        (x,) = inputs
        with _lines(writer, x, self.axis) as (line, extent):
            largest = _emit_max(writer, x, line, extent)
            total = writer.fresh("s")
            writer.line(f"{total} = {out.type}(0)")
            with writer.loop(extent) as k:
                writer.line(f"{total} += exp({x.at(*line(k))} - {largest})")
            shift = writer.fresh("s")
            writer.line(f"{shift} = {largest} + ln({total})")
            with writer.loop(extent) as k:
                writer.line(f"{out.at(*line(k))} = {x.at(*line(k))} - {shift}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g - out.exp() * g.sum(self.axis, keepdims=True),)


@contextmanager
def _lines(writer: Writer, x: Operand, axis: int) -> Iterator[tuple[Line, Extent]]:
    """Loop over all lines of x along one axis; give (index of k, extent)."""
    at = axis % len(x.extents)
    outer = [extent for k, extent in enumerate(x.extents) if k != at]
    with writer.loops(outer) as index:
        yield lambda k: [*index[:at], k, *index[at:]], x.extents[at]


def _emit_max(writer: Writer, x: Operand, line: Line, extent: Extent) -> str:
    largest = writer.fresh("s")
    writer.line(f"{largest} = {x.type}(-inf)")
    with writer.loop(extent) as k:
        writer.line(f"{largest} = maximum({largest}, {x.at(*line(k))})")
    return largest


class SoftmaxMethods(Methods):
    """Softmax and log-softmax of a node."""

    __slots__ = ()

    def softmax(self, axis: int = -1) -> Node:
        """Return exp(a) / sum(exp(a)) along `axis`, shifted by the maximum."""
        return self._apply(Softmax(axis))

    def log_softmax(self, axis: int = -1) -> Node:
        """Return ln(softmax(a)) along `axis` without underflow."""
        return self._apply(LogSoftmax(axis))
