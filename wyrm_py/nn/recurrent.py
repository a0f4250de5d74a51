"""Recurrent layers over `scan`: RNN, GRU and LSTM, their cells, and stacks of them.

A cell is one step: `state, output = cell(state, x)`, the body of a `wp.scan` of
your own. A layer runs a cell, or a stack of cells, over a sequence; what a cell
makes of the inputs alone is one matrix product over all steps, before the loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.leaves import Constant, ParameterNode
from wyrm_py.nn.initialisers import (
    Initialiser,
    checked_shape,
    parameter,
    uniform,
    zeros,
)
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node
from wyrm_py.ops.scan import Repeat
from wyrm_py.recurrence import scan
from wyrm_py.seeds import RandomState, generator


class Cell(Layer):
    """Base of the cells: weights of the gates, and states.

    Subclasses say how many gates and states there are, and write `step`.

    Parameters
    ----------
    inputs, hidden : int >= 1, lengths of an input and of a state
    learn_initial : whether the initial states are parameters (zeros at first)
    initialiser : function (shape, rng) of all weights and biases; by default uniform
        between -1 / sqrt(hidden) and that
    random_state : int >= 0, Generator, RandomState or None
    dtype : float32 or float64

    Attributes
    ----------
    input_weight : ParameterNode, shape (inputs, gates * hidden)
    hidden_weight : ParameterNode, shape (hidden, gates * hidden)
    bias : ParameterNode, shape (gates * hidden,)
    initial : learned initial states, ParameterNodes of shape (hidden,), or None
    """

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    def __init__(
        self,
        inputs: int,
        hidden: int,
        learn_initial: bool = False,
        initialiser: Initialiser | None = None,
        random_state: RandomState = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        checked_shape(type(self).__name__, (inputs, hidden))
        rng = generator(type(self).__name__, random_state)
        bound = 1.0 / math.sqrt(hidden)
        chosen = initialiser or uniform(-bound, bound)
        wide = self._gates() * hidden
        self.input_weight = parameter(chosen, (inputs, wide), rng, dtype)
        self.hidden_weight = parameter(chosen, (hidden, wide), rng, dtype)
        self.bias = parameter(chosen, (wide,), rng, dtype)
        self.initial: list[ParameterNode] | None = None
        if learn_initial:
            self.initial = [
                parameter(zeros, (hidden,), rng, dtype) for _ in range(self.states)
            ]

    def _gates(self) -> int:
        return self.gates

    @property
    def hidden(self) -> int:
        """Length of a state."""
        return self.hidden_weight.shape[0]

    def project(self, x: Node) -> Node:
        """Return what the gates take from inputs (..., inputs), of any steps."""
        inputs = self.input_weight.shape[0]
        if not x.shape or x.shape[-1] != inputs:
            raise ShapeError(
                f"{type(self).__name__}: the last axis must have length {inputs}, the "
                f"cell's inputs, got a value of shape {x.shape}."
            )
        return x @ self.input_weight + self.bias

    def step(self, state: Any, projected: Node) -> tuple[Any, Node]:
        """Return the state after a step, and its output, from projected inputs."""
        raise NotImplementedError(f"{type(self).__name__}: a cell needs `step`")

    def forward(self, state: Any, x: Node) -> tuple[Any, Node]:
        """Return the state after one step, and its output: a body for `scan`."""
        self.require_state(state)
        return self.step(state, self.project(x))

    def require_state(self, state: Any) -> None:
        """Raise a ShapeError unless a state has the form and the width of `start`."""
        parts = state if isinstance(state, tuple | list) else [state]
        if len(parts) != self.states or not all(
            isinstance(part, Node) and part.shape[-1:] == (self.hidden,)
            for part in parts
        ):
            form = "a node" if self.states == 1 else f"a tuple of {self.states} nodes"
            raise ShapeError(
                f"{type(self).__name__}: the state must be {form}, the last axis of "
                f"length {self.hidden}, got {state!r}."
            )

    def start(self, like: Node | None = None) -> Any:
        """Return the initial state, (hidden,) each, zeros unless it is learned.

        With `like`, inputs (..., T, inputs), it is repeated for the leading axes.
        """
        zero = np.zeros(self.hidden, self.hidden_weight.dtype)
        given: list[Node] = [
            Constant(zero, self.hidden_weight.dtype) for _ in range(self.states)
        ]
        if self.initial is not None:
            given = list(self.initial)
        if like is not None:
            given = [node._apply(Repeat(0, -2), like) for node in given]
        return given[0] if self.states == 1 else tuple(given)


class RNNCell(Cell):
    """h' = tanh(x W + h U + b) (Elman, "Finding structure in time", 1990)."""

    def step(self, state: Node, projected: Node) -> tuple[Node, Node]:
        h = (projected + state @ self.hidden_weight).tanh()
        return h, h


class GRUCell(Cell):
    """Gated recurrent unit.

    r = sigmoid(x W_r + h U_r + b_r), z = sigmoid(x W_z + h U_z + b_z),
    n = tanh(x W_n + b_n + r * (h U_n + u_n)), h' = (1 - z) * n + z * h: Cho et al.,
    "Learning phrase representations using RNN encoder-decoder" (2014), with the
    reset gate after the product, as in PyTorch. Gates stand in the order r, z, n.

    Parameters
    ----------
    inputs, hidden : int >= 1, lengths of an input and of a state
    others : as of `Cell`

    Attributes
    ----------
    candidate_bias : ParameterNode, shape (hidden,), u_n, beside those of `Cell`
    """

    gates = 3

    def __init__(self, inputs: int, hidden: int, *given: Any, **named: Any) -> None:
        super().__init__(inputs, hidden, *given, **named)
        self.candidate_bias = parameter(
            zeros, (hidden,), dtype=self.hidden_weight.dtype
        )

    def step(self, state: Node, projected: Node) -> tuple[Node, Node]:
        r, z, n = projected.chunk(3, axis=-1)
        hr, hz, hn = (state @ self.hidden_weight).chunk(3, axis=-1)
        update = (z + hz).sigmoid()
        candidate = (n + (r + hr).sigmoid() * (hn + self.candidate_bias)).tanh()
        h = candidate + update * (state - candidate)
        return h, h


class SimpleGRUCell(Cell):
    """The simplified gated unit of drug: one gate, a logistic feature.

    a = sigmoid(x W_a + h U_a + b_a), f = sigmoid(x W_f + h U_f + b_f),
    h' = a * h + (1 - a) * f. Gates stand in the order a, f.
    """

    gates = 2

    def step(self, state: Node, projected: Node) -> tuple[Node, Node]:
        a, f = (projected + state @ self.hidden_weight).sigmoid().chunk(2, axis=-1)
        h = f + a * (state - f)
        return h, h


class LSTMCell(Cell):
    """Long short-term memory; the state is (h, c).

    f, i, g, o = x W + h U + b; c' = sigmoid(f) * c + sigmoid(i) * tanh(g);
    h' = sigmoid(o) * tanh(c') (Gers, Schmidhuber, Cummins, "Learning to forget",
    2000). With `coupled=True` (the third argument) there is no i, its place takes
    1 - sigmoid(f) (Greff et al., "LSTM: a search space odyssey", 2017). Gates stand
    in the order f, i, g, o.

    Parameters
    ----------
    inputs, hidden : int >= 1, lengths of an input and of a state
    coupled : bool, whether input and forget gate are coupled
    others : as of `Cell`
    """

    gates = 4
    states = 2

    def __init__(
        self,
        inputs: int,
        hidden: int,
        coupled: bool = False,
        *given: Any,
        **named: Any,
    ) -> None:
        self.coupled = bool(coupled)
        super().__init__(inputs, hidden, *given, **named)

    def _gates(self) -> int:
        return 3 if self.coupled else 4

    def step(
        self, state: tuple[Node, Node], projected: Node
    ) -> tuple[tuple[Node, Node], Node]:
        h, c = state
        gates = (projected + h @ self.hidden_weight).chunk(self._gates(), axis=-1)
        forget = gates[0].sigmoid()
        if self.coupled:
            candidate = gates[1].tanh()
            c = candidate + forget * (c - candidate)
        else:
            c = forget * c + gates[1].sigmoid() * gates[2].tanh()
        h = gates[-1].sigmoid() * c.tanh()
        return (h, c), h


class Recurrent(Layer):
    """A stack of cells run over sequences: see RNN, GRU and LSTM.

    Parameters
    ----------
    inputs : int >= 1, length of an element
    hidden : int >= 1, or a sequence of them: one cell for each, the outputs of one
        are the inputs of the next
    learn_initial : whether the initial states are parameters (zeros at first)
    initialiser : function (shape, rng) of all weights and biases; by default uniform
        between -1 / sqrt(hidden) and that
    random_state : int >= 0, Generator, RandomState or None
    dtype : float32 or float64

    Attributes
    ----------
    cells : list of the cells

    Called with a node x of shape (..., T, inputs), time before the last axis, it
    returns (outputs, final): outputs (..., T, hidden) of the last cell, and the
    state after the last step, of the form of `start`.

    Call options
    ------------
    initial : the states to start from, as `final` gives them; carries a state from
        one stretch of a sequence to the next
    ragged : the ragged index node that x (n, inputs) was made of: each example is a
        sequence of its own, `final` is (b, ...)
    reverse : whether to run from the last element to the first
    truncate : int or None, steps after which gradients stop

    Raises
    ------
    SettingError, ShapeError
        If a setting is impossible, or the last axis of x is not `inputs`.
    """

    cell: ClassVar[type[Cell]]

    def __init__(
        self,
        inputs: int,
        hidden: int | Sequence[int],
        learn_initial: bool = False,
        initialiser: Initialiser | None = None,
        random_state: RandomState = None,
        dtype: DTypeLike = np.float32,
        **settings: Any,
    ) -> None:
        self._stacked = isinstance(hidden, Iterable)
        widths = list(hidden) if isinstance(hidden, Iterable) else [hidden]
        if not widths:
            raise SettingError(
                f"{type(self).__name__}: hidden must be a width or a list of at least "
                f"one, got {hidden!r}."
            )
        rng = generator(type(self).__name__, random_state)
        self.cells = [
            self._cell(before, width, learn_initial, initialiser, rng, dtype, settings)
            for before, width in zip([inputs, *widths[:-1]], widths, strict=True)
        ]

    def _cell(
        self,
        inputs: int,
        hidden: int,
        learn_initial: bool,
        initialiser: Initialiser | None,
        rng: np.random.Generator,
        dtype: DTypeLike,
        settings: dict[str, Any],
    ) -> Cell:
        return self.cell(
            inputs,
            hidden,
            learn_initial=learn_initial,
            initialiser=initialiser,
            random_state=rng,
            dtype=dtype,
            **settings,
        )

    def start(self, like: Node | None = None) -> Any:
        """Return the initial state; of a stack a tuple, one for each cell."""
        states = [cell.start(like) for cell in self.cells]
        return tuple(states) if self._stacked else states[0]

    def forward(
        self,
        x: Node,
        initial: Any = None,
        ragged: Node | None = None,
        reverse: bool = False,
        truncate: int | None = None,
    ) -> tuple[Node, Any]:
        if len(x.shape) < 2:
            raise ShapeError(
                f"{type(self).__name__}: takes sequences (..., T, inputs), got a value "
                f"of shape {x.shape}."
            )
        if initial is None:
            initial = self.start(None if ragged is not None else x)
        states = initial if self._stacked else [initial]
        if not isinstance(states, tuple | list) or len(states) != len(self.cells):
            raise ShapeError(
                f"{type(self).__name__}: takes one initial state for each of its "
                f"{len(self.cells)} cells, in a tuple, got {initial!r}."
            )
        finals = []
        for cell, state in zip(self.cells, states, strict=True):
            cell.require_state(state)
            x, final = scan(
                cell.step,
                cell.project(x),
                state,
                axis=0 if ragged is not None else len(x.shape) - 2,
                ragged=ragged,
                reverse=reverse,
                truncate=truncate,
            )
            finals.append(final)
        return x, tuple(finals) if self._stacked else finals[0]


class RNN(Recurrent):
    """Vanilla recurrent layer: `RNNCell` over sequences; the state is h."""

    cell = RNNCell


class GRU(Recurrent):
    """Gated recurrent layer: `GRUCell` over sequences; the state is h."""

    cell = GRUCell


class SimpleGRU(Recurrent):
    """Simplified gated layer: `SimpleGRUCell` over sequences; the state is h."""

    cell = SimpleGRUCell


class LSTM(Recurrent):
    """LSTM layer: `LSTMCell` over sequences; the state is (h, c).

    With `coupled=True` (by keyword) its input gate is one minus its forget gate.
    """

    cell = LSTMCell
