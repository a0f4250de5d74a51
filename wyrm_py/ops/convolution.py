"""Convolution in one to three dimensions, and its two gradients.

As everywhere in learning, "convolution" is cross-correlation:

    out[b, o, p] = sum over c, k of x[b, c, p * stride + k * dilation] kernel[o, c, k]

`Convolve`, `ConvolutionInput` (its gradient towards x) and `ConvolutionKernel`
(towards the kernel) are three readings of one trilinear form, so the gradient of
each is made of the other two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Op, Spec, require_floats
from wyrm_py.ops.convolution_text import ConvolutionText
from wyrm_py.ops.methods import Methods
from wyrm_py.ops.padding import Amounts, Pairs, pairs_of
from wyrm_py.ops.windows import (
    PerAxis,
    Windows,
    channels_first,
    per_axis,
    require_image,
    space_of,
)

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node
    from wyrm_py.ops.methods import Value


@dataclass(frozen=True)
class Layout:
    """Settings of a convolution, shared by its three ops."""

    windows: Windows
    groups: int
    channels_last: bool

    def convolved(self, name: str, x: Spec, kernel: Spec) -> Spec:
        """Return shape and dtype of a convolution, or raise a ShapeError."""
        require_image(name, x, self.channels_last)
        require_floats(name, kernel)
        space = space_of(x.shape, self.channels_last)
        channels = x.shape[-1 if self.channels_last else 1]
        if len(kernel.shape) != len(x.shape):
            raise ShapeError(
                f"{name}: for a value of shape {x.shape} the kernel must have "
                f"{len(x.shape)} axes, (out, in / groups, *window), got "
                f"{kernel.shape}."
            )
        out, inside, *window = kernel.shape
        if 0 in kernel.shape:
            raise ShapeError(
                f"{name}: the kernel {kernel.shape} is empty; give each axis at least "
                "one element."
            )
        if channels % self.groups or out % self.groups:
            raise ShapeError(
                f"{name}: channels must be divisible by groups = {self.groups}, got "
                f"{channels} in {x.shape} and {out} in the kernel {kernel.shape}."
            )
        if inside * self.groups != channels:
            raise ShapeError(
                f"{name}: the kernel {kernel.shape} is made for {inside} channels in "
                f"each of {self.groups} groups, the value {x.shape} has "
                f"{channels // self.groups}. Kernels are (out, in / groups, *window)"
                f"; values with the channels last need `channels_last=True`."
            )
        places = self.windows.places(name, space, window)
        dtype = np.result_type(x.dtype, kernel.dtype)
        if self.channels_last:
            return Spec((x.shape[0], *places, out), dtype)
        return Spec((x.shape[0], out, *places), dtype)

    def taps(
        self, x: Array, g: Array, kernel: Array
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Give views of x, g and the kernel for each element of the window.

        (batch, groups, in / groups, *places), (batch, groups, out / groups, places)
        and (groups, out / groups, in / groups).
        """
        x = channels_first(x, self.channels_last)
        g = channels_first(g, self.channels_last)
        batch, _, *space = x.shape
        out, inside, *window = kernel.shape
        grouped = x.reshape(batch, self.groups, inside, *space)
        upstream = g.reshape(batch, self.groups, out // self.groups, -1)
        weights = kernel.reshape(self.groups, out // self.groups, inside, *window)
        for tap, cut in self.windows.taps(window, g.shape[2:]):
            at: Any = (..., *tap)
            yield grouped[cut], upstream, weights[at]


@dataclass(frozen=True)
class Convolve(Op):
    """Convolution of x with a kernel."""

    layout: Layout

    def infer(self, *inputs: Spec) -> Spec:
        return self.layout.convolved(self.name, *inputs)

    def forward(self, out: Array, *inputs: Array) -> None:
        x, kernel = inputs
        total = np.zeros(_first(self.layout, out).shape, out.dtype)
        shape = (len(x), self.layout.groups, kernel.shape[1], -1)
        flat = total.reshape(len(x), self.layout.groups, -1, total[0, 0].size)
        for under, _, weights in self.layout.taps(x, out, kernel):
            flat += weights @ under.reshape(shape)
        _first(self.layout, out)[...] = total

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        ConvolutionText(self.layout, writer, inputs[0], inputs[1], out).convolve()

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        x, kernel = inputs
        return (
            g._apply(ConvolutionInput(self.layout), kernel, x),
            g._apply(ConvolutionKernel(self.layout), x, kernel),
        )


@dataclass(frozen=True)
class ConvolutionInput(Op):
    """Gradient of a convolution towards its input: of (g, kernel, like)."""

    layout: Layout
    shape_only = (2,)

    def infer(self, *inputs: Spec) -> Spec:
        g, kernel, like = inputs
        return Spec(like.shape, np.result_type(g.dtype, kernel.dtype))

    def forward(self, out: Array, *inputs: Array) -> None:
        g, kernel, _ = inputs
        total = np.zeros(out.shape, out.dtype)
        for target, upstream, weights in self.layout.taps(total, g, kernel):
            target += (weights.swapaxes(-1, -2) @ upstream).reshape(target.shape)
        out[...] = total

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        ConvolutionText(self.layout, writer, out, inputs[1], inputs[0]).spread()

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node | None, ...]:
        upstream, kernel, _ = inputs
        return (
            g._apply(Convolve(self.layout), kernel),
            upstream._apply(ConvolutionKernel(self.layout), g, kernel),
            None,
        )


@dataclass(frozen=True)
class ConvolutionKernel(Op):
    """Gradient of a convolution towards its kernel: of (g, x, like)."""

    layout: Layout
    shape_only = (2,)

    def infer(self, *inputs: Spec) -> Spec:
        g, x, like = inputs
        return Spec(like.shape, np.result_type(g.dtype, x.dtype))

    def forward(self, out: Array, *inputs: Array) -> None:
        g, x, _ = inputs
        shape = (len(x), self.layout.groups, out.shape[1], -1)
        for under, upstream, target in self.layout.taps(x, g, out):
            pairs = upstream @ under.reshape(shape).swapaxes(-1, -2)
            target[...] = pairs.sum(axis=0)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        ConvolutionText(self.layout, writer, inputs[1], out, inputs[0]).correlate()

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node | None, ...]:
        upstream, x, _ = inputs
        return (
            x._apply(Convolve(self.layout), g),
            upstream._apply(ConvolutionInput(self.layout), g, x),
            None,
        )


def _first(layout: Layout, x: Array) -> Array:
    return channels_first(x, layout.channels_last)


def checked_padding(name: str, padding: Amounts | str, count: int) -> Pairs | str:
    """Return (before, after) for each axis of space, or "same"."""
    if not isinstance(padding, str):
        return pairs_of(name, padding, count)
    if padding != "same":
        raise ShapeError(
            f'{name}: `padding` must be numbers of cells or "same", got {padding!r}.'
        )
    return padding


def same_padding(
    space: Sequence[int], window: Sequence[int], windows: Windows
) -> Pairs:
    """Return the padding that gives ceil(space / stride) windows; odd ones end."""
    pairs = []
    for n, reach, stride in zip(
        space, windows.reach(window), windows.stride, strict=True
    ):
        total = max((-(-n // stride) - 1) * stride + reach - n, 0)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


class ConvolutionMethods(Methods):
    """Convolution of a node."""

    __slots__ = ()

    def convolve(
        self,
        kernel: Value,
        stride: PerAxis = 1,
        padding: Amounts | str = 0,
        padding_mode: str = "zero",
        dilation: PerAxis = 1,
        groups: int = 1,
        channels_last: bool = False,
    ) -> Node:
        """Slide a kernel over one to three axes of space (cross-correlation).

        Parameters
        ----------
        self : node, (batch, channels, *space)
            or (batch, *space, channels) with `channels_last`.
        kernel : node or array, (out, channels / groups, *window)
            The order of its axes does not depend on `channels_last`.
        stride, dilation : int >= 1, or one for each axis of space
            Steps between windows, and between the elements of a window.
        padding : int, for each axis an int or (before, after), or "same"
            Cells to add with `pad` first; "same" adds what gives
            ceil(space / stride) windows, an odd cell at the end.
        padding_mode : "zero", "reflective" or "replicative"
        groups : int >= 1
            Channels are cut into groups; each group of outputs sees one of them.

        Returns
        -------
        Node, (batch, out, *places), or (batch, *places, out); along each axis
        places = (n - (window - 1) * dilation - 1) // stride + 1, n with padding.

        Raises
        ------
        ShapeError
            if axes, channels and groups do not fit, or the window is larger than
            the padded space.
        """
        other = self._constant(kernel)
        require_image("convolve", self.spec, channels_last)
        count = len(self.shape) - 2
        windows = Windows(
            per_axis("convolve", "stride", stride, count),
            per_axis("convolve", "dilation", dilation, count),
        )
        (several,) = per_axis("convolve", "groups", groups, 1)
        op = Convolve(Layout(windows, several, channels_last))
        amounts = checked_padding("convolve", padding, count)
        if isinstance(amounts, str):
            space = space_of(self.shape, channels_last)
            window = per_axis("convolve", "window", other.shape[2:], count)
            amounts = same_padding(space, window, windows)
        if not any(map(any, amounts)):
            return self._apply(op, other)
        padded = self.pad(amounts, padding_mode, channels_last=channels_last)
        return padded._apply(op, other)

    if TYPE_CHECKING:

        def _constant(self, value: Value) -> Node: ...

        def pad(
            self,
            amounts: Amounts,
            mode: str = "zero",
            value: float = 0.0,
            channels_last: bool = False,
        ) -> Node: ...
