"""Vectors for nearest-neighbour indexes, in which inner products with a bias rank.

Source: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean
transformation for inner-product spaces", RecSys 2014.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import SettingError

Floats = NDArray[np.float32]
Metric = Literal["inner_product", "euclidean", "cosine"]


class IndexVectors:
    """The export for indexes, a part of `Answers`."""

    item_vectors_: Floats
    item_biases_: Floats

    if TYPE_CHECKING:  # of the classes beside this one

        def _require_fitted(self, who: str) -> None: ...

        def _queries(
            self, who: str, users: Any, features: Any
        ) -> tuple[NDArray[np.int64], Floats, Floats | np.float32]: ...

    def item_index_vectors(self, metric: Metric = "inner_product") -> Floats:
        """Return the items as a nearest-neighbour index takes them, biases included.

        In an index of this metric the neighbours of `user_index_vectors(users)` are
        the items `recommend(users, exclude_seen=False)` gives, in the same order.

        Parameters
        ----------
        metric : "inner_product", "euclidean" or "cosine"
            That of the index. Inner products are the scores (but for a user's own
            offset); the others need one column more.

        Returns
        -------
        float32 array, shape (I, D + 1) or (I, D + 2)
            Row k belongs to `item_ids_[k]`.

        Notes
        -----
        [v, b] for a vector v and a bias b; for the other metrics
        [v, b, sqrt(M^2 - |v|^2 - b^2)], where M is the largest length of [v, b]: then
        all have the length M, and the nearest have the largest inner products.

        Source: Bachrach et al., "Speeding up the Xbox recommender system using a
        Euclidean transformation for inner-product spaces", RecSys 2014.
        """
        self._require_fitted("item_index_vectors")
        return index_items(self.item_vectors_, self.item_biases_, metric)

    def user_index_vectors(
        self, users: Any, metric: Metric = "inner_product", features: Any = None
    ) -> Floats:
        """Return users as queries to an index over `item_index_vectors`.

        Parameters
        ----------
        users, features
            As of `recommend`, like the errors.
        metric
            As of `item_index_vectors`.

        Returns
        -------
        float32 array, shape (Q, D + 1) or (Q, D + 2)
            [u, 1], and a zero; one row also for a single id.
        """
        self._require_fitted("user_index_vectors")
        _, vectors, _ = self._queries("user_index_vectors", users, features)
        return index_queries(vectors, metric)


def index_items(vectors: Floats, biases: Floats, metric: Metric) -> Floats:
    """Return items, (I, D + 1) or (I, D + 2), of vectors (I, D) and biases (I,).

    With a bias as one column more, scores are inner products. In the other metrics one
    more column gives all items one length; then the nearest items have the largest
    inner products.
    """
    _require_metric(metric)
    items = np.column_stack([vectors, biases])
    if metric == "inner_product":
        return items
    squares = np.einsum("id,id->i", items, items, dtype=np.float64)
    missing = np.sqrt(squares.max(initial=0) - squares)
    return np.column_stack([items, missing.astype(np.float32)])


def index_queries(vectors: Floats, metric: Metric) -> Floats:
    """Return queries, (Q, D + 1) or (Q, D + 2), of vectors (Q, D)."""
    _require_metric(metric)
    one = np.ones((len(vectors), 1), np.float32)
    zeros = [] if metric == "inner_product" else [np.zeros_like(one)]
    return np.hstack([vectors, one, *zeros])


def _require_metric(metric: str) -> None:
    if metric not in get_args(Metric):
        raise SettingError(
            f"index vectors: metric must be one of {', '.join(get_args(Metric))}, got "
            f"{metric!r}."
        )
