"""AUC and precision at 10, written plainly in NumPy and independent of wyrm_py.

The same few lines judge every system, so that none is measured by its own ruler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset

Scores = Callable[[NDArray[np.int64]], NDArray[np.float32]]


class Quality(NamedTuple):
    """Means over the users that have something held out."""

    auc: float
    precision_at_10: float


def judge(scores: Scores, dataset: Dataset, chunk: int = 256) -> Quality:
    """Rank all items a user has not seen in training against the held-out ones.

    Parameters
    ----------
    scores : takes user ids, shape (B,); returns the scores of all items, (B, R).
    chunk : users scored at a time.

    Notes
    -----
    A user's AUC is the share of pairs (held-out item, other unseen item) in which the
    held-out one scores higher, a tie counts one half. Training items take no part.
    """
    users = np.flatnonzero(np.diff(dataset.held.indptr))
    aucs, precisions = [], []
    for start in range(0, len(users), chunk):
        block = users[start : start + chunk]
        values = np.array(scores(block), dtype=np.float32)
        for user, row in zip(block, values, strict=True):
            known = _items(dataset.known, user)
            held = _items(dataset.held, user)
            row[known] = -np.inf
            aucs.append(_auc(row, held, known))
            top = np.argpartition(row, -10)[-10:]
            precisions.append(np.isin(top, held).mean())
    return Quality(float(np.mean(aucs)), float(np.mean(precisions)))


def popularity(dataset: Dataset) -> Quality:
    """Judge the baseline that offers everybody the most frequent items."""
    counts = np.asarray(dataset.known.sum(axis=0), np.float32).ravel()
    return judge(lambda users: np.tile(counts, (len(users), 1)), dataset)


def _items(matrix: object, user: int) -> NDArray[np.int32]:
    pointers, indices = matrix.indptr, matrix.indices  # type: ignore[attr-defined]
    return np.asarray(indices[pointers[user] : pointers[user + 1]])


def _auc(
    row: NDArray[np.float32], held: NDArray[np.int32], known: NDArray[np.int32]
) -> float:
    """Compare each held-out item with the unseen rest; `known` are minus infinity."""
    positive = row[held]
    below = np.array([(row < value).sum() for value in positive], dtype=np.float64)
    ties = np.array([(row == value).sum() for value in positive], dtype=np.float64)
    # training items lie below everything, other held-out items are no negatives
    below -= len(known) + np.array([(positive < value).sum() for value in positive])
    ties -= np.array([(positive == value).sum() for value in positive])
    negatives = len(row) - len(known) - len(held)
    return float(((below + 0.5 * ties) / negatives).mean())
