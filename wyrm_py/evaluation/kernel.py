"""The kernel of the ranking metrics: where the positives of a user stand.

Each positive's score is counted against the scores of the negatives: no sort. The
functions run as plain Python; `native_ranking` compiles a copy of this file.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba.extending import register_jitable

from wyrm_py.engines.native import build
from wyrm_py.engines.native.counting import counts
from wyrm_py.engines.native.heaps import pick
from wyrm_py.engines.native.runtime import GAMMA, mix

COLUMNS = 6
"""Of the results: AUC, positives in the top, recall, 1 / rank, NDCG, average precision.
"""

_NATIVE = """
from numba import float32, float64, int64, njit, uint8, uint64, void

codes = int64[::1]
rank_rows = njit(
    void(
        *(float32[:, ::1], int64, codes, codes, codes, codes, codes),
        *(float64[::1], int64, uint64, uint8[::1], float64[:, ::1]),
    ),
    nogil=True,
    cache=True,
    error_model="numpy",
)(rank_rows)
"""
_u64 = np.uint64


@cache
def native_ranking() -> Callable[..., None]:
    """Load the compiled `rank_rows`, or compile it where the cache has none."""
    source = Path(__file__).read_text(encoding="utf-8") + _NATIVE
    compiled: Callable[..., None] = build.load_module(source).rank_rows
    return compiled


@register_jitable
def _place(positive: Any, against: Any, best: Any) -> tuple[int, float]:
    """Fill `best` with the smallest numbers of negatives ahead of a positive.

    Returns how many were filled, and the pairs lost to a negative, ties as half.
    """
    kept = 0
    lost_pairs = 0.0
    for score in positive:
        above, ahead = counts(against, 0, len(against), score)
        lost_pairs += 0.5 * (above + ahead)
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


@register_jitable
def _draw(scores: Any, count: Any, state: Any, drawn: Any) -> None:
    """Fill drawn[:count] with scores of different items; NaN is never drawn.

    There must be more than `count` that are not NaN. What is drawn becomes NaN.
    """
    many = _u64(len(scores))
    filled = 0
    while filled < count:
        state += GAMMA
        item = np.int64(((mix(state) >> _u64(32)) * many) >> _u64(32))
        score = scores[item]
        if score == score:
            drawn[filled] = score
            filled += 1
            scores[item] = np.nan


@register_jitable
def _show(scores: Any, top: Any, shown: Any) -> None:
    """Mark the items a user would be shown: the best `top`, ties to the smaller."""
    best = np.full(top, -np.inf, np.float32)
    codes = np.full(top, -1, np.int64)
    pick(scores, len(scores), 0, best, codes, 0, 0, codes, shown[:0])
    for code in codes:
        if code >= 0:
            shown[code] = 1


@register_jitable
def _measure(positive: Any, against: Any, pairs: Any, discounts: Any, out: Any) -> None:
    """Fill the results of one user."""
    best = np.empty(len(discounts), np.int64)
    kept, lost_pairs = _place(positive, against, best)
    # Ahead of the j-th positive are j positives and best[j] negatives.
    hits = 0
    gain, ideal, precisions = 0.0, 0.0, 0.0
    for j in range(kept):
        ideal += discounts[j]
        rank = j + best[j]
        if rank < len(discounts):
            hits += 1
            gain += discounts[rank]
            precisions += hits / (rank + 1)
    out[0] = 1 - lost_pairs / pairs if pairs else np.nan
    out[1] = hits
    out[2] = hits / len(positive)
    out[3] = 1 / (1 + best[0])
    out[4] = gain / ideal
    out[5] = precisions / kept


def rank_rows(
    table: Any,
    n_items: int,
    rows: Any,
    hidden_starts: Any,
    hidden: Any,
    wanted_starts: Any,
    wanted: Any,
    discounts: Any,
    negatives: int,
    seed: Any,
    shown: Any,
    results: Any,
) -> None:
    """Measure some users, one a row of results.

    Parameters
    ----------
    table : float32 array, shape (B, I or more)
        Finite scores; used up.
    n_items : int
        I: columns beyond are not looked at.
    rows : int64 array, shape (B,)
        The users; each has a positive.
    hidden_starts, hidden : int64 arrays, shapes (U + 1,) and (any,)
        CSR of the items left out, per user without repetition.
    wanted_starts, wanted : int64 arrays, shapes (U + 1,) and (any,)
        CSR of the positives, none of them hidden.
    discounts : float64 array, shape (top,)
        1 / log2(rank + 1) for ranks from one.
    negatives : int
        How many are drawn for each positive; 0 takes all.
    seed : uint64
    shown : uint8 array, shape (I,)
        Set to one for the items among some user's best.
    results : float64 array, shape (B, COLUMNS)
    """
    for k in range(len(rows)):
        user = rows[k]
        scores = table[k][:n_items]
        good = wanted[wanted_starts[user] : wanted_starts[user + 1]]
        seen = hidden[hidden_starts[user] : hidden_starts[user + 1]]
        positive = np.empty(len(good), np.float32)
        for p in range(len(good)):
            positive[p] = scores[good[p]]
        # NaN is neither greater nor equal: what is left out is never counted.
        for item in seen:
            scores[item] = np.nan
        if negatives == 0:
            _show(scores, len(discounts), shown)
        for item in good:
            scores[item] = np.nan
        count = n_items - len(good) - len(seen)
        against = scores
        if 0 < negatives * len(good) < count:
            count = negatives * len(good)
            against = np.empty(count, np.float32)
            _draw(scores, count, mix(seed + _u64(user)), against)
        _measure(positive, against, count * len(good), discounts, results[k])
