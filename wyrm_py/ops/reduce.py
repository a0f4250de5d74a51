"""Reductions (sum, mean, max) and their adjoints, which spread values again.

`SumLike` and `SpreadLike` take a second input only for its shape, so gradient
graphs hold no literal shapes and fit any batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Pointwise, Reduction, Spec, View, normalize_axes
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.nodes import Node

Axes = int | tuple[int, ...] | None


@dataclass(frozen=True)
class Sum(Reduction):
    """Sum over some axes, all of them by default."""

    axis: Axes = None
    keepdims: bool = False

    def vanishes(self, *zero: bool) -> bool:
        return zero[0] and self.combine == "sum"

    def axes(self, ndim: int) -> tuple[int, ...]:
        return normalize_axes(self.name, self.axis, ndim)

    @property
    def keeps_axes(self) -> bool:
        return self.keepdims

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        (x,) = inputs
        axes = self.axes(len(x.shape))
        return (g._apply(SpreadLike(axes, self.keepdims), x),)


@dataclass(frozen=True)
class Max(Sum):
    """Largest element over some axes; ties share the gradient equally."""

    combine = "max"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        (x,) = inputs
        axes = self.axes(len(x.shape))
        spread = SpreadLike(axes, self.keepdims)
        chosen = x._apply(Equal(), out._apply(spread, x))
        count = chosen._apply(Sum(axes, self.keepdims))
        return (chosen * (g / count)._apply(spread, x),)


class Equal(Pointwise):
    """1 where a equals b, else 0; passes no gradient."""

    expression = "where(a == b, T(1), T(0))"


@dataclass(frozen=True)
class Count(View):
    """How many elements of x fall together over some axes, as a float ()."""

    axis: Axes = None
    shape_only = (0,)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec((), inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        (x,) = inputs
        axes = normalize_axes(self.name, self.axis, x.ndim)
        out[...] = np.prod([x.shape[k] for k in axes], dtype=np.int64)

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        (x,) = inputs
        axes = normalize_axes(self.name, self.axis, len(x.extents))
        product = " * ".join(x.extents[k].text for k in axes) or "u64(1)"
        text = f"{out.type}({product})"
        return out.reading(lambda *_: text)


@dataclass(frozen=True)
class SumLike(Reduction):
    """Sum what broadcasting spread, back to the shape and dtype of `like`."""

    shape_only = (1,)
    same_as = 0

    def axes_between(
        self, whole: Sequence[bool], out: Sequence[bool]
    ) -> tuple[int, ...]:
        lead = len(whole) - len(out)
        stretched = (
            lead + k for k, one in enumerate(out) if one and not whole[lead + k]
        )
        return (*range(lead), *stretched)

    def infer(self, *inputs: Spec) -> Spec:
        value, like = inputs
        if np.broadcast_shapes(value.shape, like.shape) != value.shape:
            raise ShapeError(
                f"sum_like: {value} cannot be summed to the shape {like.shape}; "
                "each axis must be equal or 1 there."
            )
        return like

    def forward(self, out: Array, *inputs: Array) -> None:
        value, like = inputs
        lead = value.ndim - like.ndim
        stretched = (
            lead + k for k, n in enumerate(like.shape) if value.shape[lead + k] != n
        )
        axes = (*range(lead), *stretched)
        out[...] = value.sum(axis=axes, keepdims=True).reshape(like.shape)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(SpreadLike(None, True), inputs[0]), None

    def step_factors(self, *inputs: Node) -> tuple[Node]:
        return (inputs[0],)

    def sum_of_steps(self, like: Node, *stacks: Node) -> Node:
        return stacks[0]._apply(SumLike(), like)


@dataclass(frozen=True)
class SpreadLike(View):
    """Repeat a value over the axes that a reduction took, to the shape of `like`.

    With `keepdims` it is plain broadcasting to that shape.
    """

    axis: Axes = None
    keepdims: bool = False
    shape_only = (1,)

    def infer(self, *inputs: Spec) -> Spec:
        value, like = inputs
        return Spec(like.shape, value.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        value, like = inputs
        if not self.keepdims:
            axes = normalize_axes(self.name, self.axis, like.ndim)
            value = np.expand_dims(value, axes) if axes else value
        out[...] = value

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        value, like = inputs
        ndim = len(like.extents)
        gone = normalize_axes(self.name, self.axis, ndim) if not self.keepdims else ()
        kept = [k for k in range(ndim) if k not in gone]

        def read(*index: str) -> str:
            picked = [index[k] for k in kept]
            picked = picked[len(picked) - len(value.extents) :]
            return value.at(*picked)

        return out.reading(read)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        value, like = inputs
        if self.keepdims:
            return g._apply(SumLike(), value), None
        axes = normalize_axes(self.name, self.axis, len(like.shape))
        return g._apply(Sum(axes)) if axes else g, None


class ReduceMethods(Methods):
    """Sums, means and maxima of a node."""

    __slots__ = ()

    def sum(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Node:
        """Sum over `axis` (all axes: shape ()), as NumPy does."""
        return self._apply(Sum(_static(axis), keepdims))

    def mean(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Node:
        """Average over `axis` (all axes: shape ()), as NumPy does."""
        static = _static(axis)
        return self._apply(Sum(static, keepdims)) / self._apply(Count(static))

    def max(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Node:
        """Largest element over `axis`; ties share the gradient."""
        return self._apply(Max(_static(axis), keepdims))

    def min(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Node:
        """Smallest element over `axis`; ties share the gradient."""
        return -(-self).max(axis, keepdims)

    def scalar_sum(self) -> Node:
        """Sum of all elements, with shape (1, 1)."""
        return self.sum().reshape(1, 1)

    if TYPE_CHECKING:

        def reshape(self, *shape: int | Sequence[int]) -> Node: ...

        def __neg__(self) -> Node: ...


def _static(axis: int | Sequence[int] | None) -> Axes:
    return tuple(axis) if isinstance(axis, Sequence) else axis
