"""Matrix factorisation: its losses, each a graph of a few lines over the public API.

Copy one and change it. A loss is a function of a model (what is learned) and an
example (what is known of an interaction, and how wrong items are found). The
recommender that trains them and answers is in recommender.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wyrm_py.known_items import kth_best, sample_known
from wyrm_py.leaves import InputNode, ParameterNode, SparseInputNode
from wyrm_py.nodes import Node
from wyrm_py.optim import Adagrad, Optimizer
from wyrm_py.sparse_rows import sparse_rows


@dataclass(frozen=True)
class Side:
    """The users or the items: vectors (R, D) and biases (R, 1).

    With features, a scipy CSR matrix with R columns, a user (an item) is the sum of
    the rows of its features, each times its value.
    """

    vectors: ParameterNode
    biases: ParameterNode
    features: Any = None

    def look_up(self, rows: Node) -> tuple[Node, Node]:
        """Return vectors (b, D) and biases (b, 1)."""
        if self.features is None:
            return self.vectors.index(rows), self.biases.index(rows)
        stored = sparse_rows(self.features, rows, self.vectors.dtype)
        return stored.dot(self.vectors), stored.dot(self.biases)


@dataclass(frozen=True)
class Model:
    """What is learned; the context of an event, (1, C), adds to the user's taste."""

    users: Side
    items: Side
    context_vectors: ParameterNode | None = None
    event: SparseInputNode | None = None

    def taste(self, user: Node) -> tuple[Node, Node]:
        """Return the vector of a user in this event, (1, D), and the bias, (1, 1)."""
        vector, bias = self.users.look_up(user)
        if self.event is not None and self.context_vectors is not None:
            vector = vector + self.event.dot(self.context_vectors)
        return vector, bias

    def score(self, taste: Node, items: Node) -> Node:
        """Return the scores (b, 1) of items for a taste, without the user's bias."""
        vectors, biases = self.items.look_up(items)
        return taste.vector_dot(vectors) + biases


@dataclass(frozen=True)
class Example:
    """One interaction, and how wrong items are found for it.

    Attributes
    ----------
    user, item : index nodes, shape (1,)
    rating : input node, shape (1, 1)
        Less the mean of all ratings.
    draw : function of an index node, which it gives a wrong item of the same shape
    search : function of a taste and a right item's score, which gives a wrong item
        that scores too high and a weight, 0 where none was found
    known : scipy CSR matrix (U, I), the user's own items
    k, n : int, of k-order statistics
    """

    user: Node
    item: Node
    rating: InputNode
    draw: Callable[[Node], Node]
    search: Callable[[Node, Node], tuple[Node, Node]]
    known: Any = None
    k: int = 1
    n: int = 1


def bpr(model: Model, example: Example) -> Node:
    """Bayesian personalised ranking: the item beats a random wrong one.

    Source: Rendle et al., "BPR: Bayesian personalized ranking from implicit
    feedback", UAI 2009: -ln sigmoid(score(item) - score(wrong)).
    """
    taste, _ = model.taste(example.user)
    better = model.score(taste, example.item)
    worse = model.score(taste, example.draw(example.item))
    return -(better - worse).sigmoid().ln()


def hinge(model: Model, example: Example) -> Node:
    """The item beats a random wrong one by a margin of one."""
    taste, _ = model.taste(example.user)
    better = model.score(taste, example.item)
    worse = model.score(taste, example.draw(example.item))
    return (1.0 - better + worse).relu()


def logistic(model: Model, example: Example) -> Node:
    """Yes to the item, no to a random wrong one; sigmoid(score) is a probability."""
    taste, bias = model.taste(example.user)
    yes = model.score(taste, example.item) + bias
    no = model.score(taste, example.draw(example.item)) + bias
    return -yes.sigmoid().ln() - (-no).sigmoid().ln()


def warp(model: Model, example: Example) -> Node:
    """Weighted approximate-rank pairwise loss: look for an item that ranks too high.

    Source: Weston et al., "WSABIE: Scaling up to large vocabulary image annotation",
    IJCAI 2011; the weight is ln(rank) as estimated from the number of tries.
    """
    taste, _ = model.taste(example.user)
    return _beat(model, example, taste, model.score(taste, example.item))


def warp_kos(model: Model, example: Example) -> Node:
    """WARP for the k-th best of n of the user's own items, in place of the item.

    Source: Weston, Yee, Weiss, "Learning to rank recommendations with the k-order
    statistic loss", RecSys 2013, algorithm 2, with all weight on one k.
    """
    taste, _ = model.taste(example.user)
    drawn = sample_known(example.user, example.known, example.n)  # (1, n)
    scores = model.score(taste, drawn.reshape(-1)).reshape(1, -1)
    item = kth_best(scores, drawn, example.k)
    return _beat(model, example, taste, model.score(taste, item))


def squared(model: Model, example: Example) -> Node:
    """(rating - prediction)^2, the prediction with user bias and item bias.

    Source: Koren, Bell, Volinsky, "Matrix factorization techniques for recommender
    systems", Computer 42 (2009), equation 5.
    """
    taste, bias = model.taste(example.user)
    predicted = model.score(taste, example.item) + bias
    return (example.rating - predicted).square()


def _beat(model: Model, example: Example, taste: Node, better: Node) -> Node:
    wrong, weight = example.search(taste, better)
    return weight * (1.0 - better + model.score(taste, wrong)).relu()


@dataclass(frozen=True)
class Loss:
    """A loss, what it reads of an example, and the optimizer it does best with.

    The optimizers are the best of a grid on MovieLens 100K at width 32.
    """

    graph: Callable[[Model, Example], Node]
    optimizer: Optimizer
    reads: tuple[str, ...] = ("user", "item")

    @property
    def is_explicit(self) -> bool:
        """Whether it predicts ratings, rather than ranking items."""
        return "rating" in self.reads


_WARP = Adagrad(0.06, l2=0.2, epsilon=1.0)
"""The epsilon slows the first steps, in which nearly every item ranks too high."""

LOSSES = {
    "bpr": Loss(bpr, Adagrad(0.1, l2=0.02)),
    "hinge": Loss(hinge, Adagrad(0.05, l2=0.02)),
    "logistic": Loss(logistic, Adagrad(0.1, l2=0.03)),
    "squared": Loss(
        squared, Adagrad(0.06, l2=0.15, epsilon=1.0), ("user", "item", "rating")
    ),
    "warp": Loss(warp, _WARP),
    "warp-kos": Loss(warp_kos, _WARP, ("user",)),
}
