"""How well a model ranks: AUC, precision, recall, reciprocal rank and NDCG.

Scores are inner products of user and item vectors. They are made and counted user
by user inside one native kernel that releases the GIL, so no matrix of all scores
exists and no sort is needed; blocks of users go to threads.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import joblib
import numba
import numpy as np
import scipy.sparse
from numba.extending import register_jitable
from numpy.typing import ArrayLike, NDArray

from wyrm_py.errors import DataError, SettingError, ShapeError

_BLOCKS_PER_WORKER = 4  # evens out users with few and with many positives


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the users with at least one test positive.

    Attributes
    ----------
    auc : float in [0, 1]
        Share of pairs (positive, negative) in which the positive scores higher; a
        tie counts half. Users without a negative have no pairs and are left out.
    precision, recall : float in [0, 1]
        Positives among the `top` best items, divided by `top` and by the positives.
    mrr : float in (0, 1]
        One over the rank of the first positive.
    ndcg : float in [0, 1]
        Sum of 1 / log2(rank + 1) over the positives among the `top` best, divided by
        the largest sum possible.
    top : int
    users : int
        Number of users measured.
    seconds : float
        Wall-clock time of the call, without the compilation of the kernel.

    Notes
    -----
    In ranks, tied negatives stand before a positive: a model that scores everything
    alike gets no credit.
    """

    auc: float
    precision: float
    recall: float
    mrr: float
    ndcg: float
    top: int
    users: int
    seconds: float


def ranking_metrics(
    user_vectors: ArrayLike,
    item_vectors: ArrayLike,
    train: Any,
    test: Any,
    item_biases: ArrayLike | None = None,
    top: int = 10,
    n_jobs: int = -1,
) -> RankingMetrics:
    """Rank all items for each user and measure where the test positives stand.

    Parameters
    ----------
    user_vectors : floats, shape (U, D)
    item_vectors : floats, shape (I, D)
        The score of item i for user u is their inner product (plus the item's bias)
        in float32.
    train : scipy sparse matrix, shape (U, I)
        Stored entries are left out of the ranking, also where they are in `test`.
    test : scipy sparse matrix, shape (U, I)
        Stored entries other than zero are the positives.
    item_biases : floats, shape (I,), or None
    top : int >= 1
    n_jobs : int
        Number of threads; -1 is one a core.

    Raises
    ------
    ShapeError
        The shapes do not belong together.
    DataError
        A vector or bias is NaN or infinite, or no user has a test positive.
    SettingError
        `top` is below one, or `n_jobs` is zero.
    """
    kernel = _kernel()
    start = time.perf_counter()
    users = _vectors("user_vectors", user_vectors)
    items = _vectors("item_vectors", item_vectors)
    if users.shape[1] != items.shape[1]:
        raise ShapeError(
            "ranking_metrics: user and item vectors of one width are required, got "
            f"{users.shape} and {items.shape}."
        )
    biases = _biases(item_biases, len(items))
    shape = (len(users), len(items))
    hidden, wanted = _csr("train", train, shape), _csr("test", test, shape)
    wanted = _without(wanted, hidden)
    rows = np.flatnonzero(np.diff(wanted.indptr)).astype(np.int64)
    if len(rows) == 0:
        raise DataError(
            "ranking_metrics: no user has a test positive outside of the train part. "
            "Give a larger test part."
        )
    workers = _workers(n_jobs, len(rows))
    if top < 1:
        raise SettingError(f"ranking_metrics: top must be 1 or more, got {top}.")
    arrays = (
        rows,
        users,
        np.ascontiguousarray(items.T),
        biases,
        *(
            np.require(part, np.int64, ["C", "W"])
            for part in (hidden.indptr, hidden.indices)
        ),
        *(
            np.require(part, np.int64, ["C", "W"])
            for part in (wanted.indptr, wanted.indices)
        ),
        1 / np.log2(np.arange(2, min(top, len(items)) + 2)),
    )
    results = np.empty((len(rows), 5))
    edges = np.linspace(0, len(rows), workers * _BLOCKS_PER_WORKER + 1).astype(np.int64)
    # joblib's threads cost 14 ms a call, the whole of MovieLens 100K takes 4.
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(kernel, *arrays, *block, results) for block in pairwise(edges)
        ]
    for job in jobs:
        job.result()
    auc = results[~np.isnan(results[:, 0]), 0]
    means = results[:, 1:].mean(axis=0)
    return RankingMetrics(
        auc=float(auc.mean()) if len(auc) else float("nan"),
        precision=float(means[0] / top),
        recall=float(means[1]),
        mrr=float(means[2]),
        ndcg=float(means[3]),
        top=top,
        users=len(rows),
        seconds=time.perf_counter() - start,
    )


def popularity_metrics(
    train: Any, test: Any, seen: Any = None, top: int = 10, n_jobs: int = -1
) -> RankingMetrics:
    """Measure the baseline that ranks items by their number of train entries.

    Parameters
    ----------
    train, test : scipy sparse matrices, shape (U, I)
    seen : scipy sparse matrix, shape (U, I), or None
        What is left out of the ranking, by default the train entries.
    top, n_jobs
        As for `ranking_metrics`, like the result and the errors.
    """
    counts = np.bincount(
        scipy.sparse.csr_array(train).indices, minlength=train.shape[1]
    )
    everyone = np.ones((train.shape[0], 1), np.float32)
    hidden = train if seen is None else seen
    return ranking_metrics(
        everyone, counts[:, None], hidden, test, top=top, n_jobs=n_jobs
    )


def _vectors(name: str, values: ArrayLike) -> NDArray[np.float32]:
    array = np.require(values, np.float32, ["C", "W"])
    if array.ndim != 2:
        raise ShapeError(
            f"ranking_metrics: {name} must have two dimensions, got {array.shape}."
        )
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise DataError(
            f"ranking_metrics: finite {name} are required, row {row} has NaN or "
            "infinity. Has the training diverged? Lower the learning rate."
        )
    return array


def _biases(biases: ArrayLike | None, n_items: int) -> NDArray[np.float32]:
    if biases is None:
        return np.zeros(n_items, np.float32)
    array = np.asarray(biases)
    if array.shape != (n_items,):
        raise ShapeError(
            f"ranking_metrics: item_biases of shape ({n_items},) are required, got "
            f"{array.shape}."
        )
    return _vectors("item_biases", array[:, None])[:, 0]


def _csr(name: str, matrix: Any, shape: tuple[int, int]) -> scipy.sparse.csr_array:
    """Return a CSR array of our own: sorted, each entry once, no stored zeros."""
    if not scipy.sparse.issparse(matrix) or matrix.shape != shape:
        got = getattr(matrix, "shape", type(matrix).__name__)
        raise ShapeError(
            f"ranking_metrics: {name} must be a sparse matrix of shape {shape} (users "
            f"by items), got {got}."
        )
    own = scipy.sparse.csr_array(matrix, copy=True)
    own.sum_duplicates()
    own.eliminate_zeros()
    return own


def _without(
    test: scipy.sparse.csr_array, train: scipy.sparse.csr_array
) -> scipy.sparse.csr_array:
    """Return the entries of `test` that are not in `train`."""
    rows = np.repeat(np.arange(test.shape[0]), np.diff(test.indptr))
    train_rows = np.repeat(np.arange(train.shape[0]), np.diff(train.indptr))
    width = test.shape[1]
    seen = np.isin(rows * width + test.indices, train_rows * width + train.indices)
    if not seen.any():
        return test
    left = (np.ones((~seen).sum(), np.float32), (rows[~seen], test.indices[~seen]))
    return scipy.sparse.csr_array(left, shape=test.shape)


def _workers(n_jobs: int, n_rows: int) -> int:
    if n_jobs == 0:
        raise SettingError(
            "ranking_metrics: n_jobs must not be zero. Use -1 for every core."
        )
    cores = joblib.cpu_count()
    return int(min(n_jobs if n_jobs > 0 else max(cores + 1 + n_jobs, 1), n_rows))


@cache
def _kernel() -> Callable[..., None]:
    """Compile once, on first use and outside of the measured time."""
    ints, table = numba.int64[::1], numba.float32[:, ::1]
    signature = numba.void(
        *(ints, table, table, numba.float32[::1], ints, ints, ints, ints),
        *(numba.float64[::1], numba.int64, numba.int64, numba.float64[:, ::1]),
    )
    compiler = numba.njit(
        signature, nogil=True, error_model="numpy", fastmath={"contract"}
    )
    compiled: Callable[..., None] = compiler(_measure)
    return compiled


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


def _measure(
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
    """Fill results[first:last]: AUC, positives in the top, recall, 1 / rank, NDCG."""
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
