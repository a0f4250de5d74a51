"""Joining and cutting up along one axis: concatenate, stack and chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Op, Spec, View, normalize_axes, whole_numbers
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node
    from wyrm_py.ops.methods import Value


@dataclass(frozen=True)
class Concatenate(Op):
    """Values joined along one axis."""

    axis: int
    moves_rows = True

    def infer(self, *inputs: Spec) -> Spec:
        first = inputs[0]
        (axis,) = normalize_axes(self.name, self.axis, len(first.shape))
        rest = [spec.shape[:axis] + spec.shape[axis + 1 :] for spec in inputs]
        if any(
            len(spec.shape) != len(first.shape) or other != rest[0]
            for spec, other in zip(inputs, rest, strict=True)
        ):
            shapes = ", ".join(str(spec.shape) for spec in inputs)
            raise ShapeError(
                f"concatenate: shapes {shapes} must agree on every axis but {axis}."
            )
        joined = sum(spec.shape[axis] for spec in inputs)
        shape = (*first.shape[:axis], joined, *first.shape[axis + 1 :])
        return Spec(shape, np.result_type(*(spec.dtype for spec in inputs)))

    def forward(self, out: Array, *inputs: Array) -> None:
        np.concatenate(inputs, axis=self.axis, out=out)

    def places(self, out: Operand, *inputs: Operand) -> list[Operand]:
        axis, start, found = self.axis % len(out.extents), "", []
        for x in inputs:
            found.append(_from(start, axis, x, out))
            length = x.extents[axis].text
            start = f"{start} + {length}" if start else length
        return found

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        for x, place in zip(inputs, self.places(out, *inputs), strict=True):
            index = "abcdefgh"[: len(x.extents)]
            if x.at(*index) != place.at(*index):  # else it was computed there
                writer.copy(place, x)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node | None, ...]:
        return tuple(
            None
            if x.spec.is_index
            else g._apply(PartLike(self.axis, position), *inputs)
            for position, x in enumerate(inputs)
        )


@dataclass(frozen=True)
class PartLike(View):
    """The part of a joined value that came from one of the joined ones."""

    axis: int
    position: int
    shape_only = tuple(range(1, 1000))

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[1 + self.position]

    def forward(self, out: Array, *inputs: Array) -> None:
        axis = self.axis % out.ndim
        start = sum(x.shape[axis] for x in inputs[1 : 1 + self.position])
        take = (slice(None),) * axis + (slice(start, start + out.shape[axis]),)
        out[...] = inputs[0][take]

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        axis = self.axis % len(out.extents)
        before = [x.extents[axis].text for x in inputs[1 : 1 + self.position]]
        return _from(" + ".join(before), axis, out, inputs[0])

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node | None, ...]:
        padded = g._apply(UnpartLike(self.axis, self.position), *inputs[1:])
        return (padded, *(None for _ in inputs[1:]))


@dataclass(frozen=True)
class UnpartLike(Op):
    """Zeros of the shape of a joined value, with one part put in place."""

    axis: int
    position: int
    shape_only = tuple(range(1, 1000))

    def infer(self, *inputs: Spec) -> Spec:
        joined = Concatenate(self.axis).infer(*inputs[1:])
        return Spec(joined.shape, inputs[0].dtype)

    def _start(self, parts: Sequence[Any], axis: int) -> int:
        return sum(x.shape[axis] for x in parts[: self.position])

    def forward(self, out: Array, *inputs: Array) -> None:
        axis = self.axis % out.ndim
        start = self._start(inputs[1:], axis)
        out[...] = 0
        place = slice(start, start + inputs[0].shape[axis])
        out[(slice(None),) * axis + (place,)] = inputs[0]

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        axis = self.axis % len(out.extents)
        writer.fill(out, "0")
        before = [x.extents[axis].text for x in inputs[1 : 1 + self.position]]
        offset = writer.fresh("o")
        writer.line(f"{offset} = {' + '.join(before) or 'u64(0)'}")
        with writer.loops(inputs[0].extents) as index:
            placed = list(index)
            at = placed[axis]
            placed[axis] = offset if at == "0" else f"({offset} + {at})"
            writer.line(f"{out.at(*placed)} = {inputs[0].at(*index)}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node | None, ...]:
        part = g._apply(PartLike(self.axis, self.position), *inputs[1:])
        return (part, *(None for _ in inputs[1:]))


@dataclass(frozen=True)
class Chunk(View):
    """Equal parts along one axis: one op, `count` outputs.

    The gradient is one join of what flows into the parts.
    """

    count: int
    axis: int

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        (x,) = inputs
        (axis,) = normalize_axes(self.name, self.axis, len(x.shape))
        length, left = divmod(x.shape[axis], max(self.count, 1))
        if left or not length or self.count < 1:
            raise ShapeError(
                f"chunk: axis {axis} of shape {x.shape} cannot be cut into "
                f"{self.count} equal parts. Cut uneven parts with slices, [...]."
            )
        part = (*x.shape[:axis], length, *x.shape[axis + 1 :])
        return (Spec(part, x.dtype),) * self.count

    def forward(self, out: Any, *inputs: Array) -> None:
        parts = np.split(inputs[0], self.count, self.axis)
        for part, value in zip(out, parts, strict=True):
            part[...] = value

    def locate(self, out: Any, *inputs: Operand) -> Any:
        axis = self.axis % len(out[0].extents)
        length = out[0].extents[axis].text
        starts = ["", length, *(f"u64({k}) * {length}" for k in range(2, self.count))]
        return tuple(
            _from(start, axis, part, inputs[0])
            for start, part in zip(starts, out, strict=True)
        )

    def gradient(self, g: Any, out: Any, *inputs: Node) -> tuple[Node]:
        parts = [
            part._apply(ZerosLike()) if upstream is None else upstream
            for upstream, part in zip(g, out, strict=True)
        ]
        return (parts[0]._apply(Concatenate(self.axis), *parts[1:]),)


@dataclass(frozen=True)
class ZerosLike(View):
    """Zeros in the shape of a value: what flows into a part nobody uses."""

    shape_only = (0,)

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = 0

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        return out.reading(lambda *_: f"{out.type}(0)")


def _from(start: str, axis: int, part: Operand, x: Operand) -> Operand:
    """Return the part of x that begins at `start` along an axis ("": at once)."""

    def read(*index: str) -> str:
        placed = list(index)
        if start:
            at = placed[axis]
            placed[axis] = f"({start})" if at == "0" else f"({start} + {at})"
        return x.at(*placed)

    return part.reading(read)


class JoinMethods(Methods):
    """Joining nodes, and cutting one up."""

    __slots__ = ()

    def concatenate(self, *others: Value, axis: int = 0) -> Node:
        """Join this value and others along `axis`; the other axes agree."""
        return self._apply(Concatenate(axis), *others)

    def stack(self, *others: Value, axis: int = 0) -> Node:
        """Join values of one shape along a new axis, as NumPy does.

        Three values of shape (2, 4) give (3, 2, 4); with axis=1 (2, 3, 4).
        """
        others = tuple(self._constant(other).expand_dims(axis) for other in others)
        return self.expand_dims(axis)._apply(Concatenate(axis), *others)

    def chunk(self, count: int, axis: int = 0) -> tuple[Node, ...]:
        """Cut into `count` equal parts along `axis`.

        One op: native code copies nothing, and the gradient is one join.

        Raises
        ------
        ShapeError
            If `axis` is not a multiple of `count`; slices cut uneven parts.
        """
        (parts,) = whole_numbers("chunk", [count])
        if parts == 1:
            normalize_axes("chunk", axis, len(self.shape))
            return (self[...],)
        return self._apply_many(Chunk(parts, axis))

    if TYPE_CHECKING:

        def _constant(self, value: Value) -> Node: ...

        def expand_dims(self, axis: int) -> Node: ...

        def __getitem__(self, index: Any) -> Node: ...
