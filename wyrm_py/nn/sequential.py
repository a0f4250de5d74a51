"""`Sequential`: layers one after the other."""

from __future__ import annotations

from wyrm_py.errors import SettingError
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node


class Sequential(Layer):
    """Each layer gets what the one before gives: x to step_n(... step_1(x)).

    Parameters
    ----------
    *steps : Layer each, at least one; functions go in as `Activation(function)`

    Attributes
    ----------
    steps : list of Layer; parameters are named "steps.0.weight", ...

    Raises
    ------
    SettingError
        If something else is given, or nothing.
    """

    def __init__(self, *steps: Layer) -> None:
        if not steps or not all(isinstance(step, Layer) for step in steps):
            raise SettingError(
                f"Sequential: layers are required, one or more, got {steps!r}. Wrap a "
                "function as `Activation(function)`."
            )
        self.steps = list(steps)

    def forward(self, x: Node) -> Node:
        """Apply all layers in order.

        Parameters
        ----------
        x : node that the first layer takes

        Returns
        -------
        Node that the last layer gives

        Raises
        ------
        The errors of the layers.
        """
        for step in self.steps:
            x = step(x)
        return x
