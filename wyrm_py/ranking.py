"""The kernel under evaluation.py: where the positives of a user stand.

Scores of one user are made, and counted against the score of each positive: no sort
and no matrix of all scores. The functions also run as plain Python.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable


@register_jitable
def _fill_scores(scores: Any, vector: Any, items: Any, biases: Any) -> None:
    """Set scores, (I,), for one user vector, (D,), and items, (D, I).

    The inner loops run over items and are packed; four widths at a time halve the
    traffic to `scores`.
    """
    width, n_items = items.shape
    for i in range(n_items):
        scores[i] = biases[i]
    fours = width - width % 4
    for d in range(0, fours, 4):
        a, b, c, e = vector[d], vector[d + 1], vector[d + 2], vector[d + 3]
        for i in range(n_items):
            scores[i] += (a * items[d, i] + b * items[d + 1, i]) + (
                c * items[d + 2, i] + e * items[d + 3, i]
            )
    for d in range(fours, width):
        a = vector[d]
        for i in range(n_items):
            scores[i] += a * items[d, i]


@register_jitable
def _place(positive: Any, scores: Any, best: Any) -> tuple[int, float]:
    """Fill `best` with the smallest numbers of negatives ahead of a positive.

    Returns how many were filled, and the pairs lost to a negative, ties as half.
    """
    kept = 0
    lost_pairs = 0.0
    for score in positive:
        above = np.uint32(0)
        level = np.uint32(0)
        for i in range(len(scores)):
            above += np.uint32(scores[i] > score)
            level += np.uint32(scores[i] >= score)
        ahead = np.int64(level)
        lost_pairs += 0.5 * (np.int64(above) + ahead)
        if kept < len(best):
            kept += 1
        elif ahead >= best[kept - 1]:
            continue
        slot = kept - 1
        while slot > 0 and best[slot - 1] > ahead:
            best[slot] = best[slot - 1]
            slot -= 1
        best[slot] = ahead
    return kept, lost_pairs


def rank_users(
    rows: Any,
    users: Any,
    items: Any,
    biases: Any,
    hidden_starts: Any,
    hidden: Any,
    wanted_starts: Any,
    wanted: Any,
    discounts: Any,
    first: int,
    last: int,
    results: Any,
) -> None:
    """Fill results[first:last]: AUC, positives in the top, recall, 1 / rank, NDCG.

    Parameters
    ----------
    rows : int64 array, shape (N,)
        The users to measure; each has a positive.
    users : float32 array, shape (U, D)
    items : float32 array, shape (D, I)
    biases : float32 array, shape (I,)
    hidden_starts, hidden : int64 arrays, shapes (U + 1,) and (n,)
        CSR of the items left out, per user without repetition.
    wanted_starts, wanted : int64 arrays, shapes (U + 1,) and (n,)
        CSR of the positives, none of them hidden.
    discounts : float64 array, shape (top,)
        1 / log2(rank + 1) for ranks from one.
    first, last : int
        Range of `rows`.
    results : float64 array, shape (N, 5)
    """
    n_items = items.shape[1]
    scores = np.empty(n_items, np.float32)
    best = np.empty(len(discounts), np.int64)
    for k in range(first, last):
        user = rows[k]
        _fill_scores(scores, users[user], items, biases)
        good = wanted[wanted_starts[user] : wanted_starts[user + 1]]
        seen = hidden[hidden_starts[user] : hidden_starts[user + 1]]
        positive = np.empty(len(good), np.float32)
        for p in range(len(good)):
            positive[p] = scores[good[p]]
        # NaN is neither greater nor equal: what is left out is never counted.
        for item in good:
            scores[item] = np.nan
        for item in seen:
            scores[item] = np.nan
        kept, lost_pairs = _place(positive, scores, best)
        pairs = np.float64(n_items - len(good) - len(seen)) * len(good)
        # Ahead of the j-th positive are j positives and best[j] negatives.
        hits = 0
        gain = 0.0
        ideal = 0.0
        for j in range(kept):
            ideal += discounts[j]
            if j + best[j] < len(discounts):
                hits += 1
                gain += discounts[j + best[j]]
        results[k, 0] = 1 - lost_pairs / pairs if pairs else np.nan
        results[k, 1] = hits
        results[k, 2] = hits / len(good)
        results[k, 3] = 1 / (1 + best[0])
        results[k, 4] = gain / ideal


@cache
def native_ranking() -> Callable[..., None]:
    """Compile once, on first use and outside of the measured time."""
    ints, table = numba.int64[::1], numba.float32[:, ::1]
    signature = numba.void(
        *(ints, table, table, numba.float32[::1], ints, ints, ints, ints),
        *(numba.float64[::1], numba.int64, numba.int64, numba.float64[:, ::1]),
    )
    compiler = numba.njit(
        signature, nogil=True, error_model="numpy", fastmath={"contract"}
    )
    compiled: Callable[..., None] = compiler(rank_users)
    return compiled
