"""How good a model is: metrics of ranking, of classification and of language models.

AUC, precision, recall, F1, reciprocal rank and NDCG rank all items for each user.
Scores are inner products of user and item vectors, made and counted user by user in
the native kernel of ranking.py, which releases the GIL: blocks of users go to threads.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import joblib
import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    SettingError,
    ShapeError,
)
from wyrm_py.ranking import native_ranking
from wyrm_py.values import as_array

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
    f1 : float in [0, 1]
        Harmonic mean of precision and recall, user by user, then their mean.
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
    f1: float
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
    kernel = native_ranking()
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
    f1 = 2 * results[:, 1] / (top + np.diff(wanted.indptr)[rows])
    return RankingMetrics(
        auc=float(auc.mean()) if len(auc) else float("nan"),
        precision=float(means[0] / top),
        recall=float(means[1]),
        f1=float(f1.mean()),
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


def accuracy(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Return the share of targets that are predicted right.

    Parameters
    ----------
    predictions : labels of the shape of the targets, or finite scores (..., C)
        Integers, bools or strings are labels. Of scores, one axis more than the
        targets have, the class of the highest counts, the first one of a tie.
    targets : labels of any shape but an empty one; with scores, integers in [0, C)

    Raises
    ------
    ShapeError
        The shapes do not belong together, or there are no targets.
    DTypeError
        Predictions of the shape of the targets are floats, or targets are no labels.
    DataError
        A score is NaN or infinite.
    IndexRangeError
        A target is not in [0, C).
    """
    found = as_array("accuracy: predictions", predictions)
    wanted = as_array("accuracy: targets", targets)
    if wanted.size == 0 or found.shape[: wanted.ndim] != wanted.shape:
        raise ShapeError(
            "accuracy: labels of the shape of the targets, or scores with one axis "
            f"more, are required for at least one target, got {found.shape} for "
            f"{wanted.shape}."
        )
    for name, labels in (("targets", wanted), ("predictions", found)):
        if labels.ndim == wanted.ndim and labels.dtype.kind not in "iubUT":
            raise DTypeError(
                f"accuracy: {name} of shape {labels.shape} must be labels (integers, "
                f"bools or strings), got dtype {labels.dtype}. Compare with a "
                "threshold first, such as `scores > 0`, or use `.astype(int)`."
            )
    if found.ndim > wanted.ndim:
        found = _classes(found, wanted)
    return float(np.mean(found == wanted))


def _classes(scores: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int64]:
    if scores.ndim != targets.ndim + 1 or scores.shape[-1] == 0:
        raise ShapeError(
            f"accuracy: scores of shape {targets.shape} and one axis of classes are "
            f"required, got {scores.shape}."
        )
    if scores.dtype.kind not in "fiu" or targets.dtype.kind not in "iu":
        raise DTypeError(
            "accuracy: scores are numbers and their targets integers, got "
            f"{scores.dtype} and {targets.dtype}."
        )
    if not np.isfinite(scores).all():
        place = tuple(int(k) for k in np.argwhere(~np.isfinite(scores))[0])
        raise DataError(
            f"accuracy: finite scores are required, found {scores[place]} at {place}. "
            "Has the training diverged? Lower the learning rate."
        )
    classes = scores.shape[-1]
    if targets.min() < 0 or targets.max() >= classes:
        raise IndexRangeError(
            f"accuracy: targets must be in [0, {classes}), the classes there are "
            f"scores of, found {targets.min()} to {targets.max()}."
        )
    found: NDArray[np.int64] = scores.argmax(axis=-1)
    return found


def perplexity(cross_entropy: float) -> float:
    """Return exp(cross entropy): between how many symbols a model hesitates.

    Parameters
    ----------
    cross_entropy : float >= 0
        Mean of -ln(probability of the right symbol) over the symbols, in nats, such as
        `History.losses` holds for the cross entropy of each symbol.

    Returns
    -------
    float in [1, inf]
        A uniform model over V symbols has perplexity V.

    Raises
    ------
    DataError
        It is negative or NaN.

    Notes
    -----
    Source: Jelinek, Mercer, Bahl and Baker, "Perplexity - a measure of the difficulty
    of speech recognition tasks", 1977.
    """
    if not cross_entropy >= 0:
        raise DataError(
            "perplexity: a mean cross entropy of zero or more is required, in nats, "
            f"got {cross_entropy}."
        )
    with np.errstate(over="ignore"):
        return float(np.exp(np.float64(cross_entropy)))


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
