"""`Dense`: every output is a weighted sum of all inputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from wyrm_py.errors import ShapeError
from wyrm_py.nn.activation import Activated, activate, checked_activation
from wyrm_py.nn.initialisers import (
    Initialiser,
    parameter,
    xavier_uniform,
    zeros,
)
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node
from wyrm_py.seeds import RandomState, generator


class Dense(Layer):
    """activation(x W + b), over the last axis of x.

    Parameters
    ----------
    inputs, outputs : int >= 1, lengths of the last axis before and after
    activation : name of an activation ("relu", "tanh", ..., see `Activation`), a
        function from node to node, or None for none
    bias : whether to add one
    initialiser : function (shape, rng) of the weights, `xavier_uniform()` by default;
        the bias begins with zeros
    random_state : int >= 0, Generator, RandomState or None
    dtype : float32 or float64

    Attributes
    ----------
    weight : ParameterNode, shape (inputs, outputs)
    bias : ParameterNode, shape (outputs,), or None

    Called with a node of shape (..., inputs), or with a SparseInputNode of rows
    (b, inputs), it gives (..., outputs).

    Raises
    ------
    SettingError
        If a setting is impossible.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: Activated = None,
        bias: bool = True,
        initialiser: Initialiser | None = None,
        random_state: RandomState = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.activation = checked_activation("Dense", activation)
        rng = generator("Dense", random_state)
        self.weight = parameter(
            initialiser or xavier_uniform(), (inputs, outputs), rng, dtype
        )
        self.bias = parameter(zeros, (outputs,), rng, dtype) if bias else None

    def forward(self, x: Node) -> Node:
        """Return activation(x W + b)."""
        inputs, outputs = self.weight.shape
        if not x.shape or x.shape[-1] != inputs:
            raise ShapeError(
                f"Dense: the last axis must have length {inputs}, the layer's inputs, "
                f"got a value of shape {x.shape}."
            )
        if len(x.shape) > 2:  # one matrix product over all rows
            rows = x.reshape(-1, inputs).dot(self.weight)
            out = rows.reshape(-1, *x.shape[1:-1], outputs)
        else:
            out = x.dot(self.weight)
        if self.bias is not None:
            out = out + self.bias
        return activate(out, self.activation)
