"""The two data sets of the benchmark: MovieLens 100K and a synthetic one.

Both come as positives only (user, item), split in train and test. The synthetic set
has the size at which tables no longer fit the caches, Zipf items, and planted tastes so
that there is something to learn; one seed gives one set.
"""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ids = NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Positives of a recommendation problem; `known` and `held` are users x items."""

    name: str
    width: int
    known: sparse.csr_matrix
    held: sparse.csr_matrix

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.known.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.known.shape[1])

    @property
    def examples(self) -> int:
        """Number of training positives: the examples of one epoch."""
        return int(self.known.nnz)

    def columns(self) -> tuple[Ids, Ids]:
        """Return the training positives as columns (user, item), int32, shape (N,)."""
        positives = self.known.tocoo()
        return positives.row.astype(np.int32), positives.col.astype(np.int32)


def _matrix(users: Ids, items: Ids, shape: tuple[int, int]) -> sparse.csr_matrix:
    ones = np.ones(len(users), np.float32)
    matrix = sparse.csr_matrix((ones, (users, items)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def movielens(folder: Path) -> Dataset:
    """Read the `ua` split of MovieLens 100K; ratings of 4 and 5 are the positives.

    Raises
    ------
    FileNotFoundError
        `folder` holds no `ua.base.gz` and `ua.test.gz`. The files may not be passed on,
        so they are no part of this project; GroupLens offers them.
    """
    parts = []
    for name in ("ua.base.gz", "ua.test.gz"):
        with gzip.open(folder / name, "rt") as stream:
            rows = np.loadtxt(stream, dtype=np.int32, usecols=(0, 1, 2))
        parts.append(rows[rows[:, 2] >= 4])
    shape = (943, 1682)
    train, test = (_matrix(p[:, 0] - 1, p[:, 1] - 1, shape) for p in parts)
    return Dataset("movielens", 32, train, test)


def synthetic(
    n_users: int = 100_000,
    n_items: int = 50_000,
    n_positives: int = 5_000_000,
    *,
    width: int = 64,
    n_tastes: int = 50,
    n_test_users: int = 2_000,
    seed: int = 7,
) -> Dataset:
    """Make distinct positives with Zipf items and planted tastes.

    Every user has one taste; an interaction is, with probability 0.6, a Zipf draw among
    the items of that taste, else a Zipf draw among all items. Every eighth positive of
    `n_test_users` users is held out; `n_positives` remain for training.
    """
    rng = np.random.default_rng(seed)
    per_taste = n_items // n_tastes
    draws = int(n_positives * 1.7)
    users = rng.integers(0, n_users, draws, dtype=np.int32)
    tastes = rng.integers(0, n_tastes, n_users, dtype=np.int32)
    # the item of popularity rank r is item r, and belongs to taste r mod n_tastes
    anywhere = _zipf(rng, n_items, draws)
    inside = _zipf(rng, per_taste, draws) * n_tastes + tastes[users]
    items = np.where(rng.random(draws) < 0.6, inside, anywhere)
    keys = np.unique(users.astype(np.int64) * n_items + items)
    test_users = rng.choice(n_users, n_test_users, replace=False)
    is_test = np.isin(keys // n_items, test_users) & (rng.random(len(keys)) < 0.125)
    held, rest = keys[is_test], keys[~is_test]
    if len(rest) < n_positives:
        message = f"synthetic: {len(rest)} distinct positives, need {n_positives}"
        raise ValueError(message)
    rest = rng.choice(rest, n_positives, replace=False)
    shape = (n_users, n_items)
    shuffled = rng.permutation(n_items).astype(np.int32)  # ids must not tell the rank
    train, test = (
        _matrix((k // n_items).astype(np.int32), shuffled[k % n_items], shape)
        for k in (rest, held)
    )
    return Dataset("synthetic", width, train, test)


def _zipf(rng: np.random.Generator, size: int, draws: int) -> Ids:
    """Draw ranks in [0, size) with probability proportional to 1 / (rank + 1)."""
    cumulative = np.cumsum(1.0 / np.arange(1, size + 1))
    ranks = np.searchsorted(cumulative, rng.random(draws) * cumulative[-1])
    return np.asarray(ranks, dtype=np.int32)
