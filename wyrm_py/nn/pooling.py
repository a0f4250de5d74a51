"""Pooling layers: one number for each window, or for all of space."""

from __future__ import annotations

from typing import ClassVar

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node
from wyrm_py.ops.windows import PerAxis, per_axis, require_image


class Pooling(Layer):
    """One number for each window of a channel: base of the layers below.

    Parameters
    ----------
    window : int >= 1, or one for each axis of space
    stride : int >= 1, or one for each axis; the window by default
    channels_last : whether values are (batch, *space, channels) instead of
        (batch, channels, *space)

    There is no padding: along each axis (n - window) // stride + 1 windows fit, what
    is left over is not seen. See the methods of nodes, such as `max_pool`.

    Raises
    ------
    ShapeError, DTypeError
        If a setting is impossible; on a call, if the value does not fit.
    """

    kind: ClassVar[str]
    axes: ClassVar[int]

    def __init__(
        self,
        window: PerAxis,
        stride: PerAxis | None = None,
        channels_last: bool = False,
    ) -> None:
        name = type(self).__name__
        self.window = per_axis(name, "window", window, self.axes)
        given = self.window if stride is None else stride
        self.stride = per_axis(name, "stride", given, self.axes)
        self.channels_last = channels_last

    def forward(self, x: Node) -> Node:
        """Return the pooled value.

        Parameters
        ----------
        x : node of floats, (batch, channels, *space), or (batch, *space, channels)
            with `channels_last`

        Returns
        -------
        Node, (batch, channels, *places), or (batch, *places, channels)

        Raises
        ------
        ShapeError, DTypeError
            If x has other axes or row numbers, or is smaller than the window.
        """
        if len(x.shape) != self.axes + 2:
            raise ShapeError(
                f"{type(self).__name__}: takes a batch of channels with {self.axes} "
                f"axes of space, {self.axes + 2} axes in all, got a value of shape "
                f"{x.shape}. Add the axes that are missing with `.reshape(...)`."
            )
        pool = getattr(x, f"{self.kind}_pool")
        pooled: Node = pool(self.window, self.stride, self.channels_last)
        return pooled


class MaxPool1d(Pooling):
    """Largest element of each window along one axis of space.

    (B, C, L) gives (B, C, L').
    Of equal ones the first, in the order of the axes, takes the gradient.
    """

    kind, axes = "max", 1


class MaxPool2d(Pooling):
    """Largest element of each window on two axes of space.

    (B, C, H, W) gives (B, C, H', W').
    Of equal ones the first, in the order of the axes, takes the gradient.
    """

    kind, axes = "max", 2


class MaxPool3d(Pooling):
    """Largest element of each window on three axes of space.

    (B, C, D, H, W) gives (B, C, D', H', W').
    Of equal ones the first, in the order of the axes, takes the gradient.
    """

    kind, axes = "max", 3


class MinPool1d(Pooling):
    """Smallest element of each window along one axis of space.

    (B, C, L) gives (B, C, L').
    Of equal ones the first, in the order of the axes, takes the gradient.
    """

    kind, axes = "min", 1


class MinPool2d(Pooling):
    """Smallest element of each window on two axes of space.

    (B, C, H, W) gives (B, C, H', W').
    Of equal ones the first, in the order of the axes, takes the gradient.
    """

    kind, axes = "min", 2


class MinPool3d(Pooling):
    """Smallest element of each window on three axes of space.

    (B, C, D, H, W) gives (B, C, D', H', W').
    Of equal ones the first, in the order of the axes, takes the gradient.
    """

    kind, axes = "min", 3


class SumPool1d(Pooling):
    """Sum of each window along one axis of space.

    (B, C, L) gives (B, C, L').
    """

    kind, axes = "sum", 1


class SumPool2d(Pooling):
    """Sum of each window on two axes of space.

    (B, C, H, W) gives (B, C, H', W').
    """

    kind, axes = "sum", 2


class SumPool3d(Pooling):
    """Sum of each window on three axes of space.

    (B, C, D, H, W) gives (B, C, D', H', W').
    """

    kind, axes = "sum", 3


class AveragePool1d(Pooling):
    """Mean of each window along one axis of space.

    (B, C, L) gives (B, C, L').
    """

    kind, axes = "average", 1


class AveragePool2d(Pooling):
    """Mean of each window on two axes of space.

    (B, C, H, W) gives (B, C, H', W').
    """

    kind, axes = "average", 2


class AveragePool3d(Pooling):
    """Mean of each window on three axes of space.

    (B, C, D, H, W) gives (B, C, D', H', W').
    """

    kind, axes = "average", 3


class GlobalPool(Layer):
    """One number for each channel, over all of space.

    (batch, channels, *space), or (batch, *space, channels) with `channels_last`, gives
    (batch, channels), for one to three axes of space.

    Parameters
    ----------
    kind : "average", "max", "min" or "sum"; equal extremes share the gradient
    channels_last : bool; True for values (batch, *space, channels)

    Raises
    ------
    SettingError
        If the kind is another.
    ShapeError, DTypeError
        On a call, if the value has other axes or holds row numbers.
    """

    KINDS: ClassVar = ("average", "max", "min", "sum")

    def __init__(self, kind: str = "average", channels_last: bool = False) -> None:
        if kind not in self.KINDS:
            raise SettingError(
                f"GlobalPool: `kind` must be one of {', '.join(self.KINDS)}, got "
                f"{kind!r}."
            )
        self.kind, self.channels_last = kind, channels_last

    def forward(self, x: Node) -> Node:
        """Return one number for each channel, (batch, channels).

        Parameters
        ----------
        x : node of floats, (batch, channels, *space), or (batch, *space, channels)
            with `channels_last`; one to three axes of space

        Raises
        ------
        ShapeError, DTypeError
            If x has other axes or holds row numbers.
        """
        require_image("GlobalPool", x.spec, self.channels_last)
        first = 1 if self.channels_last else 2
        axes = tuple(range(first, first + len(x.shape) - 2))
        if self.kind == "average":
            return x.mean(axes)
        if self.kind == "min":
            return -(-x).max(axes)
        return x.max(axes) if self.kind == "max" else x.sum(axes)
