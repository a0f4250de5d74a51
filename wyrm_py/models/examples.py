"""Interactions as the examples of a loss, and how wrong items are found for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import ShapeError
from wyrm_py.leaves import IndexInputNode, InputNode
from wyrm_py.models.factorization import Example, Loss, Model
from wyrm_py.nodes import Node
from wyrm_py.samplers import sample_popular, sample_uniform, sample_warp

Sampler: TypeAlias = Callable[[Node, Any, Node], Node]


class Settings(Protocol):
    """The settings of `FactorizationRecommender` that say how items are drawn."""

    sampler: str | Sampler
    popularity_power: float
    max_tries: int
    k: int
    n: int


def loss_and_inputs(
    loss: Loss,
    model: Model,
    data: Interactions,
    counts: NDArray[np.int64],
    settings: Settings,
) -> tuple[Node, dict[Any, Any]]:
    """Return the loss of one interaction, and the columns it reads.

    Parameters
    ----------
    counts : int64 array, shape (I,), how popular items are
    """
    own = data.csr()
    user, item = IndexInputNode([0]), IndexInputNode([0])
    rating = InputNode([[0.0]])
    others = {"known": _without_full_rows(own), "user": user}

    def draw(like: Node) -> Node:
        if not isinstance(settings.sampler, str):
            return settings.sampler(like, others["known"], user)
        if settings.sampler == "popular":
            weights = counts.astype(np.float64) ** settings.popularity_power
            return sample_popular(like, weights, **others)
        return sample_uniform(like, data.n_items, **others)

    def search(taste: Node, better: Node) -> tuple[Node, Node]:
        items = model.items
        return sample_warp(
            *(taste, items.vectors, better, items.biases),
            features=items.features,
            max_tries=settings.max_tries,
            **others,
        )

    example = Example(user, item, rating, draw, search, own, settings.k, settings.n)
    columns: dict[str, tuple[Node, Any]] = {
        "user": (user, data.users),
        "item": (item, data.items),
        "rating": (rating, data.ratings - np.float32(mean_rating(loss, data))),
    }
    return loss.graph(model, example), dict(columns[name] for name in loss.reads)


def mean_rating(loss: Loss, data: Interactions) -> float:
    """Return the mean that ratings are predicted from, 0 where they are not."""
    if not loss.is_explicit:
        return 0.0
    weighed = data.weights is not None and data.weights.any()
    return float(np.average(data.ratings, weights=data.weights if weighed else None))


def with_ratings(data: Interactions, ratings: ArrayLike | None) -> Interactions:
    """Return the interactions with other ratings, if there are some."""
    if ratings is None:
        return data
    return Interactions.from_codes(
        *(data.users, data.items, ratings, data.timestamps, data.weights),
        user_ids=data.user_ids,
        item_ids=data.item_ids,
    )


def seen_or(seen: Interactions | None, data: Interactions) -> Interactions:
    """Return what was seen, by default the data; or raise a ShapeError."""
    if seen is None:
        return data
    if (seen.n_users, seen.n_items) != (data.n_users, data.n_items):
        raise ShapeError(
            f"fit: seen must have the {data.n_users} users and {data.n_items} items of "
            f"the interactions, got {seen.n_users} and {seen.n_items}."
        )
    return seen


def _without_full_rows(known: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Return `known` without users who know every item: what could be drawn there?"""
    counts = np.diff(known.indptr)
    partial = counts < known.shape[1]
    kept = np.repeat(partial, counts)
    starts = np.concatenate([[0], np.cumsum(counts * partial)])
    return scipy.sparse.csr_array(
        (known.data[kept], known.indices[kept], starts), shape=known.shape
    )
