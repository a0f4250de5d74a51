"""Metrics of ranking: all items, or a sample, in the order of a user's scores.

Scores of a block of users are made at once and measured by the kernel of kernel.py;
both let go of the GIL, so that blocks go to threads.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.rows import whole
from wyrm_py.engines.native import kernels
from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.evaluation.arguments import (
    as_biases,
    as_csr,
    as_vectors,
    require_range,
    without,
)
from wyrm_py.evaluation.kernel import COLUMNS, native_ranking
from wyrm_py.parallel.pools import resolve_jobs
from wyrm_py.seeds import RandomState, generator
from wyrm_py.values import as_array

Scores = Callable[[NDArray[np.int64]], ArrayLike]

_USERS = 24  # scored at once: four full tiles of the product
_TILES = 128  # items: where all tiles are whole, equal vectors get equal scores
_CELLS = 1 << 24  # of a table from a user's function: 64 MiB


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
    f1 : float in [0, 1]
        Harmonic mean of precision and recall, user by user, then their mean.
    map : float in [0, 1]
        Mean of the average precision: the sum, over the positives among the `top`
        best, of the precision down to each, divided by the largest number of them
        there could be.
    mrr : float in (0, 1]
        One over the rank of the first positive.
    ndcg : float in [0, 1]
        Sum of 1 / log2(rank + 1) over the positives among the `top` best, divided by
        the largest sum possible.
    hit_rate : float in [0, 1]
        Share of users with a positive among the `top` best.
    coverage : float in [0, 1]
        Share of the items that are among the `top` best of some user measured, equal
        scores in the order of the items; NaN where negatives are sampled.
    top : int
    users : int
        Number of users measured.
    seconds : float
        Wall-clock time of the call, without the compilation of the kernel.
    per_user : dict of arrays, shape (users,)
        "user": int64, the row of each; and float64 "auc" (NaN: no negative),
        "precision", "recall", "f1", "map", "mrr", "ndcg", "hit_rate": what the means
        are made of.

    Notes
    -----
    In ranks, tied negatives stand before a positive: a model that scores everything
    alike gets no credit.
    """

    auc: float
    precision: float
    recall: float
    f1: float
    map: float
    mrr: float
    ndcg: float
    hit_rate: float
    coverage: float
    top: int
    users: int
    seconds: float
    per_user: dict[str, NDArray[Any]] = field(repr=False, compare=False)


def ranking_metrics(
    user_vectors: ArrayLike,
    item_vectors: ArrayLike,
    train: Any,
    test: Any,
    item_biases: ArrayLike | None = None,
    top: int = 10,
    n_jobs: int = -1,
    negatives: int | None = None,
    random_state: RandomState = 0,
) -> RankingMetrics:
    """Rank items by inner products and measure where the test positives stand.

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
        Number of threads; -1 is one a core. The result does not depend on it.
    negatives : int >= 1, or None
        Rank a user's positives among so many random negatives for each of them, no
        two the same and alike for all models; None ranks them among all items.
        Sampled metrics are not those of the whole ranking and may order models
        differently (Krichene and Rendle, "On sampled metrics for item
        recommendation", KDD 2020).
    random_state : int >= 0, Generator, RandomState or None
        Of the sample; a user's negatives depend on it and on the user alone.

    Raises
    ------
    ShapeError
        The shapes do not belong together.
    DataError
        A vector or bias is NaN or infinite, scores leave the range of float32, or no
        user has a test positive.
    SettingError
        `top` or `negatives` is below one, or `n_jobs` is zero.
    """
    native_ranking()
    start = time.perf_counter()
    users = as_vectors("user_vectors", user_vectors)
    items = as_vectors("item_vectors", item_vectors)
    if users.shape[1] != items.shape[1]:
        raise ShapeError(
            "ranking_metrics: user and item vectors of one width are required, got "
            f"{users.shape} and {items.shape}."
        )
    table = np.column_stack([items, as_biases(item_biases, len(items))])
    require_range(users, table)
    shape = len(users), len(items)
    task = _Task("ranking_metrics", train, test, shape, top, negatives, random_state)
    queries = np.column_stack([users[task.rows], np.ones(len(task.rows), np.float32)])
    width = -(-len(items) // _TILES) * _TILES
    columns = np.zeros((table.shape[1], width), np.float32)
    columns[:, : len(items)] = table.T
    left = list(range(0, len(task.rows), _USERS))

    def work() -> None:
        scores = np.empty((_USERS, width), np.float32)
        while left:
            try:
                first = left.pop()
            except IndexError:  # another thread was quicker
                return
            some = queries[first : first + _USERS]
            _multiply(scores, some, columns)
            task.measure(scores[: len(some)], first)

    workers = min(resolve_jobs(n_jobs), len(left))
    with ThreadPoolExecutor(workers) as pool:
        for job in [pool.submit(work) for _ in range(workers)]:
            job.result()
    return task.metrics(start)


def ranking_metrics_of_scores(
    scores: ArrayLike | Scores,
    train: Any,
    test: Any,
    top: int = 10,
    n_jobs: int = -1,
    negatives: int | None = None,
    random_state: RandomState = 0,
) -> RankingMetrics:
    """Measure rankings by any scores, such as those of a sequence model.

    For the next item of some histories, row k of the matrices is history k: its items
    in `train`, the next one in `test`.

    Parameters
    ----------
    scores : numbers, shape (U, I), or a function
        The function takes the numbers of some rows with positives, rising, int64 of
        shape (B,), and returns their scores, (B, I). It is called in the calling
        thread, for as many rows at a time as 64 MiB hold.
    train, test, top, n_jobs, negatives, random_state
        As for `ranking_metrics`, like the result and the errors.
    """
    native_ranking()
    start = time.perf_counter()
    who = "ranking_metrics_of_scores"
    shape: tuple[int, ...] = getattr(test, "shape", ())
    task = _Task(who, train, test, shape, top, negatives, random_state)
    if not callable(scores):
        given = np.asarray(scores)
        if given.shape != shape:
            raise ShapeError(
                f"{who}: scores of shape {shape} are required, got {given.shape}."
            )
        scores = given.__getitem__
    workers = resolve_jobs(n_jobs)
    step = max(1, min(_CELLS // task.n_items, len(task.rows)))
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(task.rows), step):
            rows = task.rows[first : first + step]
            table = _scored(who, scores(rows), rows, task.n_items)
            edges = np.linspace(0, len(rows), min(workers, len(rows)) + 1).astype(int)
            for job in [
                pool.submit(task.measure, table[begin:end], first + begin)
                for begin, end in pairwise(edges.tolist())
            ]:
                job.result()
    return task.metrics(start)


def popularity_metrics(
    train: Any,
    test: Any,
    seen: Any = None,
    top: int = 10,
    n_jobs: int = -1,
    negatives: int | None = None,
    random_state: RandomState = 0,
) -> RankingMetrics:
    """Measure the baseline that ranks items by their number of train entries.

    Parameters
    ----------
    train, test : scipy sparse matrices, shape (U, I)
    seen : scipy sparse matrix, shape (U, I), or None
        What is left out of the ranking, by default the train entries.
    top, n_jobs, negatives, random_state
        As for `ranking_metrics`, like the result and the errors.
    """
    counts = np.bincount(
        scipy.sparse.csr_array(train).indices, minlength=train.shape[1]
    )
    everyone = np.ones((train.shape[0], 1), np.float32)
    return ranking_metrics(
        *(everyone, counts[:, None], train if seen is None else seen, test),
        top=top,
        n_jobs=n_jobs,
        negatives=negatives,
        random_state=random_state,
    )


class _Task:
    """What is measured, for whom, and the results so far."""

    def __init__(
        self,
        who: str,
        train: Any,
        test: Any,
        shape: tuple[int, ...],
        top: int,
        negatives: int | None,
        random_state: RandomState,
    ) -> None:
        hidden, wanted = (
            as_csr(who, name, matrix, shape)
            for name, matrix in (("train", train), ("test", test))
        )
        wanted = without(wanted, hidden)
        self.counts = np.diff(wanted.indptr)
        self.rows = np.flatnonzero(self.counts).astype(np.int64)
        if len(self.rows) == 0:
            raise DataError(
                f"{who}: no user has a test positive outside of the train part. "
                "Give a larger test part."
            )
        self.top = whole(who, "top", top, least=1)
        self.negatives = (
            0 if negatives is None else whole(who, "negatives", negatives, least=1)
        )
        self.seed = np.uint64(generator(who, random_state).integers(1 << 63))
        self.n_items = wanted.shape[1]
        self.parts = [
            np.ascontiguousarray(part, np.int64)
            for matrix in (hidden, wanted)
            for part in (matrix.indptr, matrix.indices)
        ]
        self.discounts = 1 / np.log2(np.arange(2, min(self.top, self.n_items) + 2))
        self.shown = np.zeros(self.n_items, np.uint8)
        self.results = np.empty((len(self.rows), COLUMNS))

    def measure(self, table: NDArray[np.float32], first: int) -> None:
        """Measure the users from `first` on by their scores, which are used up."""
        part = slice(first, first + len(table))
        native_ranking()(
            *(table, self.n_items, self.rows[part], *self.parts, self.discounts),
            *(self.negatives, self.seed, self.shown, self.results[part]),
        )

    def metrics(self, start: float) -> RankingMetrics:
        """Return the means of all results."""
        auc, hits, recall, mrr, ndcg, average = self.results.T.copy()
        each = {
            "auc": auc,
            "precision": hits / float(self.top),
            "recall": recall,
            "f1": 2 * hits / (float(self.top) + self.counts[self.rows]),
            "map": average,
            "mrr": mrr,
            "ndcg": ndcg,
            "hit_rate": (hits > 0).astype(np.float64),
        }
        means = {name: float(values.mean()) for name, values in each.items()}
        known = auc[~np.isnan(auc)]
        means["auc"] = float(known.mean()) if len(known) else float("nan")
        return RankingMetrics(
            **means,
            coverage=float("nan") if self.negatives else float(self.shown.mean()),
            top=self.top,
            users=len(self.rows),
            per_user={"user": self.rows, **each},
            seconds=time.perf_counter() - start,
        )


def _multiply(
    out: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> None:
    """Set out[:m] to the product of rows (m, D) and columns (D, n), all contiguous."""
    (count, depth), width = rows.shape, columns.shape[1]
    _product()(
        *(out.ctypes.data, width, rows.ctypes.data, depth, 1),
        *(columns.ctypes.data, width, 1, count, width, depth, 0),
    )


@cache
def _product() -> Callable[..., None]:
    """Return the kernel of matrix products; a call lets go of the GIL."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 12)
    return kind(kernels.address("gemm_f4"))


def _scored(
    who: str, scores: ArrayLike, rows: NDArray[np.int64], n_items: int
) -> NDArray[np.float32]:
    """Return a copy of scores, (B, I), that the kernel may use up."""
    given = as_array(f"{who}: scores", scores)
    if given.dtype.kind not in "fiub":
        raise DTypeError(f"{who}: scores must be numbers, got dtype {given.dtype}.")
    with np.errstate(over="ignore"):  # refused below
        table = np.array(given, np.float32, order="C")
    if table.shape != (len(rows), n_items):
        raise ShapeError(
            f"{who}: scores of shape {(len(rows), n_items)} are required for "
            f"{len(rows)} rows, got {table.shape}."
        )
    if not np.isfinite(table).all():
        place = np.argwhere(~np.isfinite(table))[0]
        raise DataError(
            f"{who}: finite scores are required, found {table[tuple(place)]} in row "
            f"{rows[place[0]]} for item {place[1]}. Has the training diverged? Lower "
            "the learning rate."
        )
    return table
