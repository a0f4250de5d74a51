"""Non-linearities as a setting of layers and as a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from wyrm_py.errors import SettingError
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node

Activated: TypeAlias = str | Callable[[Node], Node] | None

NAMES = (
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "tanh",
    "sigmoid",
    "softplus",
    "softmax",
    "log_softmax",
)
"""Methods of a node that are activations; softmax is over the last axis."""


def checked_activation(who: str, activation: Activated) -> Activated:
    """Return an activation setting, or raise a SettingError.

    Parameters
    ----------
    who : name of the layer, for the error
    activation : one of `NAMES`, a function from node to node, or None
    """
    if activation is None or callable(activation) or activation in NAMES:
        return activation
    raise SettingError(
        f"{who}: activation must be one of {', '.join(NAMES)}, a function from node to "
        f"node, or None, got {activation!r}."
    )


def activate(x: Node, activation: Activated) -> Node:
    """Return the activation of a node, or the node itself for None."""
    if activation is None:
        return x
    if callable(activation):
        return activation(x)
    return getattr(x, activation)()  # type: ignore[no-any-return]


class Activation(Layer):
    """An activation as a layer, for `Sequential`; values keep their shape.

    Parameters
    ----------
    activation : "relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid",
        "softplus", "softmax" or "log_softmax" (the last two over the last axis), or
        a function from node to node; formulas and sources stand with the methods of
        nodes that have these names

    Raises
    ------
    SettingError
        If it is none of these.
    DTypeError
        On a call, if the value holds row numbers.
    """

    def __init__(self, activation: str | Callable[[Node], Node]) -> None:
        self.activation = checked_activation("Activation", activation)

    def forward(self, x: Node) -> Node:
        """Return the activation of a node of floats, of the same shape."""
        return activate(x, self.activation)
