"""Sequence models: a state that follows a history of items and scores the next one.

Encoders and losses are graphs of a few lines over the public API: copy one and change
it. The recommender that trains them and answers is in sequence_recommender.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wyrm_py.leaves import ParameterNode, SparseInputNode
from wyrm_py.nn.initialisers import uniform
from wyrm_py.nn.layer import Layer
from wyrm_py.nn.recurrent import Cell, GRUCell, LSTMCell
from wyrm_py.nodes import Node
from wyrm_py.recurrence import scan
from wyrm_py.samplers import sample_uniform, sample_warp

PACE = 0.1
"""How far the weights of a gated cell move for each move of an item's vector. All of
an example's events change them, so Adagrad's steps would be too long for them."""
MEMORY = 2.0
"""Where the gates that keep the state begin: sigmoid(2) = 0.88 of it stays."""

# -- encoders: from events (T, D) to the states before each, (T, D), and the last ------


class Average(Layer):
    """Exponentially weighted moving average: s = a * s + (1 - a) * x.

    a = sigmoid(keep), one for each of the D columns, is learned, and so is the state
    that all histories start from.

    Parameters
    ----------
    width : int >= 1
    """

    def __init__(self, width: int) -> None:
        self.keep = ParameterNode(np.full(width, MEMORY))
        self.start = ParameterNode(np.zeros(width))

    def forward(self, events: Node) -> tuple[Node, Node]:
        a = self.keep.sigmoid()
        return scan(lambda s, x: (x + a * (s - x), s), events, self.start)


class Pooling(Layer):
    """Mean of the events so far and of a learned state that all histories start from.

    Parameters
    ----------
    width : int >= 1
    """

    def __init__(self, width: int) -> None:
        self.start = ParameterNode(np.zeros(width))

    def forward(self, events: Node) -> tuple[Node, Node]:
        def step(state: tuple[Node, Node], x: Node) -> tuple[tuple[Node, Node], Node]:
            total, count = state
            return (total + x, count + 1), total / count

        one = ParameterNode(np.ones(1), trainable=False)  # counts the state at first
        states, (total, count) = scan(step, events, (self.start, one))
        return states, total / count


class Gated(Layer):
    """A cell of `wp.nn`, GRU or LSTM, whose weights move at `PACE`.

    It begins close to an exponentially weighted average of the events: the gates that
    keep the state nearly open, the candidate a copy of the event.

    Parameters
    ----------
    cell : Cell of equal input and state lengths
    candidate : int
        Which of the gates is the candidate for the state.
    biases : floats, one a gate
    """

    def __init__(self, cell: Cell, candidate: int, biases: Sequence[float]) -> None:
        width = cell.hidden
        own = slice(candidate * width, (candidate + 1) * width)
        cell.input_weight.value[:, own] += np.eye(width, dtype=np.float32)
        cell.bias.set_value(np.repeat(biases, width))
        for parameter in cell.parameters():
            parameter.set_value(parameter.value / PACE)
        self.cell = cell

    def forward(self, events: Node) -> tuple[Node, Node]:
        cell = copy.copy(self.cell)
        for name, parameter in self.cell.named_parameters().items():
            setattr(cell, name, PACE * parameter)

        def step(state: Any, x: Node) -> tuple[Any, Node]:
            after, _ = cell.step(state, x)
            return after, _visible(state)

        states, final = scan(step, cell.project(events), cell.start())
        return states, _visible(final)


def _visible(state: Node | tuple[Node, ...]) -> Node:
    """Return what of a state is seen from outside: of an LSTM h, not c."""
    return state[0] if isinstance(state, tuple) else state


def _small(width: int) -> Any:
    bound = 0.1 / np.sqrt(width)
    return uniform(-bound, bound)


def gru(width: int, rng: np.random.Generator) -> Gated:
    """Return a GRU; gates are reset, update and candidate."""
    cell = GRUCell(width, width, initialiser=_small(width), random_state=rng)
    return Gated(cell, 2, [0.0, MEMORY, 0.0])


def lstm(width: int, rng: np.random.Generator, coupled: bool) -> Gated:
    """Return an LSTM; gates are forget, input unless coupled, candidate and output."""
    cell = LSTMCell(width, width, coupled, initialiser=_small(width), random_state=rng)
    inner = [] if coupled else [-MEMORY]
    return Gated(cell, 1 + len(inner), [MEMORY, *inner, 0.0, MEMORY])


ENCODERS: dict[str, Callable[[int, np.random.Generator, bool], Layer]] = {
    "ewma": lambda width, rng, coupled: Average(width),
    "pooling": lambda width, rng, coupled: Pooling(width),
    "gru": lambda width, rng, coupled: gru(width, rng),
    "lstm": lstm,
}


# -- the model, and its losses ---------------------------------------------------------


class SequenceModel(Layer):
    """What is learned: item vectors (I, D), item biases (I, 1), and an encoder.

    An item has one vector, as an event and as a candidate. Called with `events`, one
    history as a CSR row (1, I) with its items in the order of time, it returns the
    states before each item, (T, D), and the one after the last, (D,).
    """

    def __init__(self, vectors: Any, encoder: Layer) -> None:
        self.items = ParameterNode(vectors)
        self.biases = ParameterNode(np.zeros((len(vectors), 1)))
        self.encoder = encoder

    def forward(self, events: SparseInputNode) -> tuple[Node, Node]:
        states, final = self.encoder(self.items.index(events.indices))
        return states, final

    def score(self, states: Node, items: Node) -> Node:
        """Return the scores (..., 1) of items (...) for states (..., D)."""
        return states.vector_dot(self.items.index(items)) + self.biases.index(items)

    def margins(self, states: Node, items: Node, negatives: int) -> Node:
        """Return by how much items (T,) beat random others: (T, negatives, 1)."""
        others = sample_uniform(items, self.items.shape[0], draws=negatives)
        right = self.score(states, items)
        return right.expand_dims(1) - self.score(states.expand_dims(1), others)


@dataclass(frozen=True)
class Search:
    """How wrong items are found.

    negatives : for each right item, of bpr and hinge
    max_tries : for each right item, at most, of WARP
    """

    negatives: int
    max_tries: int


def bpr(model: SequenceModel, states: Node, items: Node, search: Search) -> Node:
    """Bayesian personalised ranking: the next item beats random ones.

    Source: Rendle et al., "BPR: Bayesian personalized ranking from implicit
    feedback", UAI 2009: -ln sigmoid(score(item) - score(other)).
    """
    margins = model.margins(states, items, search.negatives)
    return -margins.sigmoid().ln().mean(axis=1)


def hinge(model: SequenceModel, states: Node, items: Node, search: Search) -> Node:
    """Hinge loss: the next item beats the best of some random ones by one.

    With one negative the plain form; with more the adaptive hinge loss of spotlight.
    """
    margins = model.margins(states, items, search.negatives)
    return (1.0 - margins).relu().max(axis=1)


def warp(model: SequenceModel, states: Node, items: Node, search: Search) -> Node:
    """Hinge loss against an item that was searched because it ranks too high.

    Source: Weston et al., "WSABIE: Scaling up to large vocabulary image annotation",
    IJCAI 2011, without the weight of the estimated rank, as in sbr-rs: Adagrad's rows
    make up for it.
    """
    right = model.score(states, items)
    other, _ = sample_warp(
        states, model.items, right, model.biases, max_tries=search.max_tries
    )
    return (1.0 - right + model.score(states, other)).relu()


@dataclass(frozen=True)
class Loss:
    """A loss and Adagrad's learning rate at the start, which falls to zero.

    The rates are the best of a grid on MovieLens 100K, width 32, for all models.
    """

    graph: Callable[[SequenceModel, Node, Node, Search], Node]
    learning_rate: float


LOSSES = {
    "bpr": Loss(bpr, learning_rate=0.5),
    "hinge": Loss(hinge, learning_rate=0.3),
    "warp": Loss(warp, learning_rate=0.3),
}
