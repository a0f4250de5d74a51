"""`Model`: a layer with its loss and its optimizer, arrays in and arrays out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from wyrm_py.engines.plan import require_optimizer
from wyrm_py.errors import GraphError, SettingError
from wyrm_py.graph.op import Array
from wyrm_py.leaves import IndexInputNode, InputNode, LeafNode, SparseInputNode
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.evaluate import evaluate
from wyrm_py.parallel.fit import fit
from wyrm_py.parallel.history import History


class Model(Layer):
    """A layer, a loss and an optimizer.

    `fit` and `predict` run natively over whole arrays. For a loop of one's own
    there is one step in three calls, in NumPy: `forward`, `backward`, `update`.

    Parameters
    ----------
    layer : Layer of one input, called with a node whose first axis is the batch
    loss : function (output node, target node) -> node, for instance
        `nn.losses.cross_entropy`
    optimizer : SGD, Adagrad, ...

    Inputs and targets are arrays: floats, integers (row numbers and labels) or
    scipy.sparse rows, the first axis for the examples.

    Raises
    ------
    SettingError
        If something else is given.
    """

    __slots__ = ("_output",)  # the last graph is no part and is not copied
    _output: Node

    def __init__(
        self, layer: Layer, loss: Callable[[Node, Node], Node], optimizer: Optimizer
    ) -> None:
        if not isinstance(layer, Layer) or not callable(loss):
            raise SettingError(
                "Model: takes a Layer, a loss function of two nodes and an optimizer, "
                f"got {layer!r} and {loss!r}."
            )
        require_optimizer("Model", optimizer)
        self.layer, self.loss, self.optimizer = layer, loss, optimizer

    def __getstate__(self) -> Any:
        state: Any = super().__getstate__()
        attributes, slots = state
        return attributes, {name: slots[name] for name in slots if name != "_output"}

    def forward(self, x: Node | ArrayLike) -> Node:
        """Return the output for a batch; it is kept for `backward`.

        Parameters
        ----------
        x : node, or array of floats, integers (row numbers) or scipy.sparse rows,
            shape (B, ...)

        Returns
        -------
        Node, what the layer gives; its `.value` is the array

        Raises
        ------
        The errors of the layer, and DTypeError, if x is no array of numbers.
        """
        self._output = self.layer(x if isinstance(x, Node) else self._leaf("x", x))
        return self._output

    def backward(self, target: Node | ArrayLike) -> float:
        """Add the gradients of the loss of the last `forward`; return the loss.

        A loss of several elements counts as their sum.

        Parameters
        ----------
        target : node, or array of floats or of integers (labels), shape (B, ...)

        Returns
        -------
        float

        Raises
        ------
        GraphError
            If there was no `forward`.
        ShapeError, DTypeError, IndexRangeError
            If the loss cannot compare the target with the output.
        """
        output = getattr(self, "_output", None)
        if output is None:
            raise GraphError("Model.backward: call `forward` with inputs first.")
        wanted = target if isinstance(target, Node) else self._leaf("y", target)
        loss = self.loss(output, wanted)
        loss.backward()
        return float(np.sum(loss.value))

    def update(self) -> None:
        """Let the optimizer apply the gradients and clear them."""
        self.optimizer.step(self.layer.parameters())

    def fit(self, x: Any, y: Any, batch_size: int = 32, **settings: Any) -> History:
        """Train on examples natively.

        Parameters
        ----------
        x, y : arrays or scipy.sparse rows of one first extent N, the examples
        batch_size : int >= 1, examples of one step
        **settings : of `wyrm_py.fit`: epochs, n_jobs, random_state, callbacks, ...

        Returns
        -------
        History

        Raises
        ------
        The errors of `wyrm_py.fit`.
        """
        inputs, targets = self._leaf("x", x, 1), self._leaf("y", y, 1)
        loss = self.loss(self.layer(inputs), targets)
        columns = {inputs: x, targets: y}
        return fit(loss, self.optimizer, columns, batch_size=batch_size, **settings)

    def predict(self, x: Any, batch_size: int = 256, n_jobs: int = 1) -> Array:
        """Return the outputs for examples, one row each, computed natively.

        Nothing is dropped, as in all evaluation.

        Parameters
        ----------
        x : array of floats or integers, or scipy.sparse rows, shape (N, ...)
        batch_size : int >= 1, examples computed at once
        n_jobs : int >= 1, threads; -1 takes all cores

        Returns
        -------
        array of the dtype of the output, shape (N, *output.shape[1:])

        Raises
        ------
        The errors of `wyrm_py.evaluate`.
        """
        inputs = self._leaf("x", x, 1)
        return evaluate(self.layer(inputs), {inputs: x}, batch_size, n_jobs)

    def _leaf(self, name: str, given: Any, most: int | None = None) -> LeafNode:
        """Return an input node over the (first `most`) examples of an array."""
        kinds = [node.dtype for node in self.named_parameters().values()]
        dtype = np.result_type(np.float32, *kinds)
        if sparse.issparse(given):
            return SparseInputNode(sparse.csr_array(given)[:most], dtype, name)
        array = np.asarray(given)[:most]
        if array.dtype.kind in "iu":
            return IndexInputNode(array, name=name)
        return InputNode(array, dtype, name)
