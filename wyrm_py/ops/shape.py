"""Reshaping and slicing: views in native code. Joins stand in join.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import CompileError, ShapeError
from wyrm_py.graph.op import (
    Array,
    Op,
    Spec,
    View,
    normalize_axes,
    require_floats,
    whole_numbers,
)
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node


@dataclass(frozen=True)
class Reshape(View):
    """The same elements in another shape; one axis may be -1."""

    target: tuple[int, ...]
    needs_flat = True

    def infer(self, *inputs: Spec) -> Spec:
        (x,) = inputs
        size = int(np.prod(x.shape, dtype=np.int64))
        known = int(np.prod([n for n in self.target if n != -1], dtype=np.int64))
        free = self.target.count(-1)
        fits = size == known if not free else known > 0 and size % known == 0
        if free > 1 or min(self.target, default=0) < -1 or not fits:
            raise ShapeError(
                f"reshape: {x.shape} has {size} elements and does not fit "
                f"{self.target}. Use -1 once, for the axis that varies (in "
                "minibatches the first)."
            )
        shape = tuple(size // known if n == -1 else n for n in self.target)
        return Spec(shape, x.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0].reshape(out.shape)

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        return out.reshaping(inputs[0])

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        """Copy, where the elements do not lie in order: of a slice or transpose."""
        x = inputs[0]
        target = x.reshaping(out)
        with writer.loops(x.extents) as index:
            writer.line(f"{target.at(*index)} = {x.at(*index)}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node | None, ...]:
        return (g._apply(ReshapeLike(), inputs[0]),)


@dataclass(frozen=True)
class ReshapeLike(Reshape):
    """The elements of a value in the shape of another."""

    target: tuple[int, ...] = ()
    shape_only = (1,)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[1].shape, inputs[0].dtype)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node | None, ...]:
        return (*super().gradient(g, out, *inputs), None)


@dataclass(frozen=True)
class MergeAxes(Reshape):
    """All axes but the last merged into one: (..., K) gives (rows, K)."""

    target: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> Spec:
        *lead, last = inputs[0].shape
        return Spec((math.prod(lead), last), inputs[0].dtype)


@dataclass(frozen=True)
class ExpandDims(View):
    """A new axis of length one."""

    axis: int

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        (axis,) = normalize_axes(self.name, self.axis, len(shape) + 1)
        return Spec((*shape[:axis], 1, *shape[axis:]), inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0].reshape(out.shape)

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        return out.reshaping(inputs[0])

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g.squeeze(self.axis),)


@dataclass(frozen=True)
class Squeeze(View):
    """Without one axis of length one."""

    axis: int

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        (axis,) = normalize_axes(self.name, self.axis, len(shape))
        if shape[axis] != 1:
            raise ShapeError(
                f"squeeze: axis {self.axis} of {shape} has length {shape[axis]}, "
                "only length 1 can go. Slice it with [...]?"
            )
        return Spec(shape[:axis] + shape[axis + 1 :], inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0].reshape(out.shape)

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        return out.reshaping(inputs[0])

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g.expand_dims(self.axis),)


Cut = tuple[int | None, int | None, int | None]
Part = Cut | int


@dataclass(frozen=True)
class Slice(View):
    """Basic NumPy slicing: integers drop an axis, slices keep it."""

    parts: tuple[Part, ...]

    def index(self) -> tuple[Any, ...]:
        """Return what NumPy takes between square brackets."""
        return tuple(p if isinstance(p, int) else slice(*p) for p in self.parts)

    def infer(self, *inputs: Spec) -> Spec:
        (x,) = inputs
        if len(self.parts) > len(x.shape):
            raise ShapeError(
                f"slice: {len(self.parts)} indices for a value of shape {x.shape}."
            )
        shape: list[int] = []
        for n, part in zip(x.shape, self.parts, strict=False):
            if isinstance(part, int):
                if not -n <= part < n:
                    raise ShapeError(
                        f"slice: index {part} is outside an axis of length {n} "
                        f"of shape {x.shape}."
                    )
            else:
                shape.append(len(range(*slice(*part).indices(n))))
        shape.extend(x.shape[len(self.parts) :])
        if 0 in shape and 0 not in x.shape:
            raise ShapeError(
                f"slice: [{self.index()}] of shape {x.shape} is empty; give a range "
                "with at least one element."
            )
        return Spec(tuple(shape), x.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0][self.index()]

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        (x,) = inputs
        return out.reading(lambda *index: x.at(*self.place(x, index)))

    def place(self, x: Operand, index: Sequence[str]) -> list[str]:
        """Return index texts into x for index texts into the slice."""
        left = list(index)
        placed = []
        for extent, part in zip(x.extents, self.parts, strict=False):
            if isinstance(part, int):
                placed.append(_position(self, extent.fixed, part))
            else:
                placed.append(_stride(self, extent.fixed, part, left.pop(0)))
        return placed + left

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g._apply(Unslice(self.parts), inputs[0]),)


def _position(op: Op, length: int | None, part: int) -> str:
    if length is None:  # the axis may turn out shorter than `part`
        raise CompileError(_VARYING.format(op.name))
    return f"u64({part if part >= 0 else part + length})"


def _stride(op: Op, length: int | None, part: Cut, index: str) -> str:
    if length is None:
        first, stop, each = part
        if stop is not None or first or (each or 1) != 1:
            raise CompileError(_VARYING.format(op.name))
        start, step = 0, 1
    else:
        start, _, step = slice(*part).indices(length)
    if step < 0:
        return (
            f"(u64({start}) - u64({-step}) * {index})"
            if index != "0"
            else f"u64({start})"
        )
    scaled = index if step == 1 or index == "0" else f"u64({step}) * {index}"
    if start == 0:
        return scaled
    return f"u64({start})" if index == "0" else f"(u64({start}) + {scaled})"


def _is_whole(end: Any) -> bool:
    return end is None or (
        isinstance(end, int | np.integer) and not isinstance(end, bool)
    )


_VARYING = (
    "{}: an axis whose length is known only at run time can be sliced natively "
    "only as a whole. Slice another axis, or train with "
    'engine="numpy".'
)


@dataclass(frozen=True)
class Unslice(Op):
    """Zeros of the shape of `like`, with a value put where a slice was."""

    parts: tuple[Part, ...]
    shape_only = (1,)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[1].shape, inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = 0
        out[Slice(self.parts).index()] = inputs[0]

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        g = inputs[0]
        writer.fill(out, "0")
        with writer.loops(g.extents) as index:
            placed = Slice(self.parts).place(out, index)
            writer.line(f"{out.at(*placed)} = {g.at(*index)}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(Slice(self.parts)), None


class StopGradient(View):
    """The same value, through which no gradient flows."""

    same_as = 0

    def infer(self, *inputs: Spec) -> Spec:
        require_floats(self.name, *inputs)
        return inputs[0]

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0]

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        return inputs[0]


class ShapeMethods(Methods):
    """Reshaping and slicing of nodes."""

    __slots__ = ()

    def reshape(self, *shape: int | Sequence[int]) -> Node:
        """Return the same elements in another shape; one axis may be -1."""
        lengths: list[Any] = []
        for given in shape:
            lengths += given if isinstance(given, Sequence) else [given]
        return self._apply(Reshape(whole_numbers("reshape", lengths)))

    def stop_gradient(self) -> Node:
        """Return the same value as a constant: no gradient flows through it."""
        return self._apply(StopGradient())

    def flatten(self, first: int = 0) -> Node:
        """Join the axes from `first` on into one; flatten(1) keeps a batch axis."""
        (start,) = normalize_axes("flatten", first, max(len(self.shape), 1))
        if start == 0:
            return self.reshape(-1)
        width = math.prod(self.shape[start:])
        return self.reshape(-1, *self.shape[1:start], width)

    def expand_dims(self, axis: int) -> Node:
        """Insert an axis of length one before `axis`."""
        return self._apply(ExpandDims(axis))

    def squeeze(self, axis: int) -> Node:
        """Drop the axis `axis`, whose length is one."""
        return self._apply(Squeeze(axis))

    def __getitem__(self, index: Any) -> Node:
        """Slice with integers and slices, as NumPy does; never empty."""
        parts: list[Part] = []
        given = index if isinstance(index, tuple) else (index,)
        if sum(part is Ellipsis for part in given) == 1:  # stands for whole axes
            at = next(k for k, part in enumerate(given) if part is Ellipsis)
            whole = (slice(None),) * (len(self.shape) + 1 - len(given))
            given = (*given[:at], *whole, *given[at + 1 :])
        for part in given:
            if isinstance(part, slice):
                ends = (part.start, part.stop, part.step)
                if part.step == 0 or any(not _is_whole(end) for end in ends):
                    raise ShapeError(
                        "slice: start, stop and step must be integers, the step not "
                        f"zero, got {part!r}."
                    )
                parts.append(ends)
            elif isinstance(part, int | np.integer) and not isinstance(part, bool):
                parts.append(int(part))
            else:
                raise ShapeError(
                    f"slice: takes integers and slices, got {part!r}. To look up "
                    "rows by number use `.index(node)`."
                )
        return self._apply(Slice(tuple(parts)))
