"""`Conv1d`, `Conv2d`, `Conv3d`: the same weights at every place of an image."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.nn.activation import Activated, activate, checked_activation
from wyrm_py.nn.initialisers import (
    Initialiser,
    checked_shape,
    parameter,
    xavier_uniform,
    zeros,
)
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node
from wyrm_py.ops.convolution import checked_padding
from wyrm_py.ops.padding import MODES, Amounts
from wyrm_py.ops.windows import PerAxis, per_axis
from wyrm_py.seeds import RandomState, generator


class Convolution(Layer):
    """activation(x convolved with a kernel + b): base of the three layers.

    As usual the kernel is not flipped (cross-correlation): with one axis of space
    and one group, before the activation,
    y[n, o, i] = b[o] + sum over c, k of W[o, c, k] x[n, c, i * stride + k * dilation],
    x with its padding.

    Source: LeCun et al., "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86, 1998, section II.

    Parameters
    ----------
    in_channels, out_channels : int >= 1, divisible by `groups`
    window : int >= 1, or one for each axis of space
    stride, dilation : int >= 1, or one for each axis
    padding : int, for each axis an int or (before, after), or "same", which gives
        ceil(space / stride) places
    padding_mode : "zero", "reflective" or "replicative"
    groups : int >= 1; each group of outputs sees its own group of inputs
    activation : name of an activation ("relu", "tanh", ...), a function from node to
        node, or None for none
    bias : whether to add one number per output channel
    channels_last : whether values are (batch, *space, channels) instead of
        (batch, channels, *space)
    initialiser : function (shape, rng) of the kernel, `xavier_uniform()` by default;
        the bias begins with zeros
    random_state : int >= 0, Generator, RandomState or None
    dtype : float32 or float64

    Attributes
    ----------
    weight : ParameterNode, shape (out_channels, in_channels / groups, *window)
    bias : ParameterNode, shape (out_channels,), or None

    Raises
    ------
    SettingError, ShapeError, DTypeError
        If a setting is impossible; on a call, if the value does not fit.
    """

    axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: PerAxis,
        stride: PerAxis = 1,
        padding: Amounts | str = 0,
        padding_mode: str = "zero",
        dilation: PerAxis = 1,
        groups: int = 1,
        activation: Activated = None,
        bias: bool = True,
        channels_last: bool = False,
        initialiser: Initialiser | None = None,
        random_state: RandomState = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = type(self).__name__
        checked_shape(name, (in_channels, out_channels, groups))
        if in_channels % groups or out_channels % groups:
            raise SettingError(
                f"{name}: channels must be divisible by groups = {groups}, got "
                f"in_channels = {in_channels}, out_channels = {out_channels}."
            )
        if padding_mode not in MODES or padding_mode == "constant":
            raise SettingError(
                f'{name}: `padding_mode` must be "zero", "reflective" or '
                f'"replicative", got {padding_mode!r}.'
            )
        self.window = per_axis(name, "window", window, self.axes)
        self.stride = per_axis(name, "stride", stride, self.axes)
        self.dilation = per_axis(name, "dilation", dilation, self.axes)
        self.padding = checked_padding(name, padding, self.axes)
        self.padding_mode = padding_mode
        self.groups, self.channels_last = groups, channels_last
        self.activation = checked_activation(name, activation)
        rng = generator(name, random_state)
        shape = (out_channels, in_channels // groups, *self.window)
        self.weight = parameter(initialiser or xavier_uniform(), shape, rng, dtype)
        self.bias = parameter(zeros, (out_channels,), rng, dtype) if bias else None

    def forward(self, x: Node) -> Node:
        """Return activation(x convolved with the weight + b).

        Parameters
        ----------
        x : node of floats, (batch, in_channels, *space), or (batch, *space,
            in_channels) with `channels_last`

        Returns
        -------
        Node, (batch, out_channels, *places), or (batch, *places, out_channels)

        Raises
        ------
        ShapeError, DTypeError
            If axes or channels do not fit, the window is larger than the padded
            space, or x holds row numbers.
        """
        if len(x.shape) != self.axes + 2:
            raise ShapeError(
                f"{type(self).__name__}: takes a batch of channels with {self.axes} "
                f"axes of space, {self.axes + 2} axes in all, got a value of shape "
                f"{x.shape}. Add the axes that are missing with `.reshape(...)`."
            )
        out = x.convolve(
            self.weight,
            self.stride,
            self.padding,
            self.padding_mode,
            self.dilation,
            self.groups,
            self.channels_last,
        )
        if self.bias is not None:
            ones = () if self.channels_last else (1,) * self.axes
            out = out + self.bias.reshape(-1, *ones)
        return activate(out, self.activation)


class Conv1d(Convolution):
    """Convolution along one axis of space: activation(x convolved with a kernel + b).

    A node (B, in_channels, L) gives (B, out_channels, L'), where
    L' = (L + padding - (window - 1) * dilation - 1) // stride + 1, with `padding`
    the cells added at both ends together.
    """

    axes = 1


class Conv2d(Convolution):
    """Convolution over two axes of space: activation(x convolved with a kernel + b).

    A node (B, in_channels, H, W) gives (B, out_channels, H', W'), where
    n' = (n + padding - (window - 1) * dilation - 1) // stride + 1 along each axis,
    with `padding` the cells added at both ends together.
    """

    axes = 2


class Conv3d(Convolution):
    """Convolution over three axes of space: activation(x convolved with a kernel + b).

    A node (B, in_channels, D, H, W) gives (B, out_channels, D', H', W'), where
    n' = (n + padding - (window - 1) * dilation - 1) // stride + 1 along each axis,
    with `padding` the cells added at both ends together.
    """

    axes = 3
