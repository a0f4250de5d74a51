"""Synthetic ratings with planted tastes: data to try a recommender on anywhere.

Users and items have a place in a small space of tastes. A user picks items by taste
and by popularity, so that a model which finds the tastes clearly beats the popular.
"""

import numpy as np

from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import SettingError
from wyrm_py.seeds import RandomState, generator

_TASTES = 6
_TASTE_STRENGTH = 2.2  # against popularity's spread of 1, in logits
_NOISE = 0.35  # of a rating, in standard deviations of the affinity


def synthetic_ratings(
    n_ratings: int = 100_000,
    n_users: int = 2_000,
    n_items: int = 1_500,
    random_state: RandomState = 0,
) -> Interactions:
    """Return seeded ratings from 1 to 5 with planted tastes and popularity.

    Parameters
    ----------
    n_ratings : int >= n_users
        At most half of all pairs, so that there is something left to recommend.
    n_users, n_items : int >= 2
    random_state : int >= 0, Generator, RandomState or None
        The same numbers and seed give the same ratings.

    Returns
    -------
    Interactions
        In random order, no pair twice, with the ids 'user1' ... and 'item1' ...

    Raises
    ------
    SettingError
        The numbers are too small or do not fit together.

    Notes
    -----
    User u picks items by the largest `strength * affinity(u, i) + popularity(i) +
    Gumbel noise`, which draws without replacement from the softmax of the first two;
    the rating is the fifth of the affinities (with noise) it falls in.
    """
    if min(n_users, n_items) < 2 or not n_users <= n_ratings <= n_users * n_items // 2:
        raise SettingError(
            "synthetic_ratings: two users and items, one rating a user and at most "
            f"half of all pairs are required, got {n_ratings} ratings, {n_users} "
            f"users, {n_items} items. Change the numbers."
        )
    rng = generator("synthetic_ratings", random_state)
    counts = _activity(rng, n_ratings, n_users, n_items)
    tastes = rng.standard_normal((n_users, _TASTES)) / np.sqrt(_TASTES)
    traits = rng.standard_normal((n_items, _TASTES))
    popularity = rng.standard_normal(n_items)
    users = np.repeat(np.arange(n_users, dtype=np.int32), counts)
    items = np.empty(n_ratings, np.int32)
    affinity = np.empty(n_ratings)
    for user, start in enumerate(np.cumsum(counts) - counts):
        likes = traits @ tastes[user]
        pull = _TASTE_STRENGTH * likes + popularity + rng.gumbel(size=n_items)
        chosen = np.argpartition(-pull, counts[user])[: counts[user]]
        items[start : start + counts[user]] = chosen
        affinity[start : start + counts[user]] = likes[chosen]
    affinity += _NOISE * rng.standard_normal(n_ratings)
    fifths = np.quantile(affinity, [0.2, 0.4, 0.6, 0.8])
    values = 1 + np.searchsorted(fifths, affinity).astype(np.float32)
    order = rng.permutation(n_ratings)
    return Interactions.from_codes(
        users[order],
        items[order],
        values[order],
        user_ids=np.array([f"user{k + 1}" for k in range(n_users)], object),
        item_ids=np.array([f"item{k + 1}" for k in range(n_items)], object),
    )


def _activity(
    rng: np.random.Generator, n_ratings: int, n_users: int, n_items: int
) -> np.ndarray:
    """Return the number of ratings per user: skewed, each in [1, n_items / 2 + 1]."""
    weights = rng.lognormal(sigma=0.7, size=n_users)
    counts = np.ones(n_users, np.int64)
    most = n_items // 2 + 1
    while (left := n_ratings - int(counts.sum())) > 0:
        room = counts < most
        share = np.where(room, weights, 0.0)
        counts += rng.multinomial(left, share / share.sum())
        np.minimum(counts, most, out=counts)
    return counts
