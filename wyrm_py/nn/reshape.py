"""Layers that only change shapes; the first axis stands for the batch."""

from __future__ import annotations

import math

from wyrm_py.errors import ShapeError
from wyrm_py.nn.initialisers import checked_shape
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node


class Reshape(Layer):
    """Each example in another shape: (B, ...) to (B, *shape).

    Parameters
    ----------
    *shape : int >= 1 each, the shape of one example; none for numbers, (B,)

    Raises
    ------
    SettingError
        If an extent is impossible.
    ShapeError
        On a call, if an example has another number of elements.
    """

    def __init__(self, *shape: int) -> None:
        self.shape = checked_shape("Reshape", shape)

    def forward(self, x: Node) -> Node:
        """Reshape all axes but the first.

        Parameters
        ----------
        x : node, shape (B, ...), with as many elements in an example as `shape`

        Returns
        -------
        Node, shape (B, *shape)

        Raises
        ------
        ShapeError
            If an example has another number of elements.
        """
        if math.prod(x.shape[1:]) != math.prod(self.shape) or not x.shape:
            raise ShapeError(
                f"Reshape: an example of shape {self.shape} has "
                f"{math.prod(self.shape)} elements, which those of a value of shape "
                f"{x.shape} have not; its first axis stands for the batch."
            )
        return x.reshape(-1, *self.shape)


class Flatten(Layer):
    """Each example as a vector: (B, ...) to (B, product of the rest).

    It has no parameters. A node (B,) gives (B, 1).
    """

    def forward(self, x: Node) -> Node:
        """Flatten all axes but the first.

        Parameters
        ----------
        x : node, shape (B, ...)

        Returns
        -------
        Node, shape (B, product of the rest)
        """
        return x.reshape(-1, math.prod(x.shape[1:]))
