"""Matrix factorisation for implicit feedback: BPR, WARP and logistic loss.

Each loss is a graph of a few lines over the public API: copy one and change it. The
recommender that trains them and answers is in recommender.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wyrm_py.leaves import ParameterNode
from wyrm_py.nodes import Node
from wyrm_py.samplers import sample_uniform, sample_warp


@dataclass(frozen=True)
class Tables:
    """The parameters: users (U, D), items (I, D), item biases (I, 1)."""

    users: ParameterNode
    items: ParameterNode
    biases: ParameterNode

    def score(self, taste: Node, item: Node) -> Node:
        """Return the score of an item, (1, 1), for a user's row, (1, D)."""
        return taste.vector_dot(self.items.index(item)) + self.biases.index(item)


def bpr(tables: Tables, user: Node, item: Node, known: Any) -> Node:
    """Bayesian personalised ranking: the item beats a random unknown one.

    Source: Rendle et al., "BPR: Bayesian personalized ranking from implicit
    feedback", UAI 2009: -ln sigmoid(score(item) - score(negative)).
    """
    taste = tables.users.index(user)
    negative = sample_uniform(item, len(tables.items.value), known=known, user=user)
    better, worse = tables.score(taste, item), tables.score(taste, negative)
    return -(better - worse).sigmoid().ln()


def logistic(tables: Tables, user: Node, item: Node, known: Any) -> Node:
    """Logistic loss: yes to the item, no to a random unknown one."""
    taste = tables.users.index(user)
    negative = sample_uniform(item, len(tables.items.value), known=known, user=user)
    yes, no = tables.score(taste, item), tables.score(taste, negative)
    return -yes.sigmoid().ln() - (-no).sigmoid().ln()


def warp(tables: Tables, user: Node, item: Node, known: Any) -> Node:
    """Weighted approximate-rank pairwise loss: look for an item that ranks too high.

    Source: Weston et al., "WSABIE: Scaling up to large vocabulary image annotation",
    IJCAI 2011; the weight is ln(rank) as estimated from the number of tries.
    """
    taste = tables.users.index(user)
    better = tables.score(taste, item)
    negative, weight = sample_warp(
        taste, tables.items, better, bias=tables.biases, known=known, user=user
    )
    return weight * (1.0 - better + tables.score(taste, negative)).relu()


@dataclass(frozen=True)
class Loss:
    """A loss and the settings of Adagrad it does best with."""

    graph: Callable[[Tables, Node, Node, Any], Node]
    learning_rate: float  # both are the best of a grid on MovieLens 100K, width 32
    l2: float


LOSSES = {
    "bpr": Loss(bpr, learning_rate=0.1, l2=0.02),
    "warp": Loss(warp, learning_rate=0.05, l2=0.0),
    "logistic": Loss(logistic, learning_rate=0.1, l2=0.03),
}
