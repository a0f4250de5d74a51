"""The rows of a table with the highest scores for each query, found natively.

Blocks of rows are scored for a few queries while they are in the first cache, and a
heap a query keeps the best: there is no matrix of all scores, and no sort of it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.rows import whole
from wyrm_py.engines.native import build
from wyrm_py.engines.native.tiles import ROWS
from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.parallel.pools import resolve_jobs
from wyrm_py.values import as_array, as_floats

_FLOAT, _CODE = np.dtype(np.float32), np.dtype(np.int64)
_NO_FLOATS, _NO_CODES = np.empty(0, _FLOAT), np.empty(0, _CODE)
_NO_MASK = np.empty(0, np.uint8)
_LEAST = 10_000  # items of a single query that are worth a thread

_KERNEL = '''\
"""The best rows of a table by inner product, compiled by wyrm_py; safe to delete."""

import numpy as np
from numba import float32, int64, njit, types, uint8, void

from wyrm_py.engines.native.heaps import pick
from wyrm_py.engines.native.tiles import ROWS, VECTORS, dots, dots_of, tile, turn
from wyrm_py.engines.native.vectors import lanes_of

FEW = 8  # queries of a call below which it does not pay to turn the items
GROUP = 48  # queries that meet a block of items: whole tiles of them
BLOCK = 512  # items: their scores for a group stay in the second cache
u64, SIZE, COLUMNS = np.uint64, np.uint64(4), np.uint64(dots_of("f4"))
LANES, WIDTH = np.uint64(lanes_of("f4")), np.uint64(VECTORS * lanes_of("f4"))
NONE, ONE, TWO, HEIGHT = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(ROWS)
dots_1, dots_2, tile, turn = dots("f4", 1), dots("f4", 2), tile("f4"), turn("f4")

part = njit(error_model="numpy")


@part
def multiply(out, queries, first, many, items, start, count, panel):
    """Fill out[:many, :count] with inner products.

    Those of a query are summed in one order, so equal items have equal scores.
    """
    depth = u64(queries.shape[1])
    to, line = u64(out.ctypes.data), u64(out.shape[1])
    left = u64(queries.ctypes.data) + u64(first) * depth * SIZE
    right = u64(items.ctypes.data) + u64(start) * depth * SIZE
    rows, columns = u64(many), u64(count)
    if len(queries) >= FEW:
        turned(to, line, left, right, rows, columns, depth, u64(panel.ctypes.data))
        return
    for j in range(NONE, columns, COLUMNS):
        some, b = min(COLUMNS, columns - j), right + j * depth * SIZE
        for i in range(NONE, rows, TWO):
            c, a = to + (i * line + j) * SIZE, left + i * depth * SIZE
            if i + ONE < rows:
                dots_2(c, line, a, depth, b, depth, depth, some, NONE)
            else:
                dots_1(c, line, a, depth, b, depth, depth, some, NONE)


@part
def turned(to, line, left, right, rows, columns, depth, panel):
    """Multiply by whole tiles of items whose columns were made rows."""
    for j in range(NONE, columns, WIDTH):
        for i in range(j, min(columns, j + WIDTH), LANES):
            place = panel + (i - j) * SIZE
            some = min(LANES, columns - i)
            turn(place, WIDTH, right + i * depth * SIZE, depth, depth, some)
        for i in range(NONE, rows, HEIGHT):
            c, a = to + (i * line + j) * SIZE, left + i * depth * SIZE
            tile(
                min(HEIGHT, rows - i), WIDTH // LANES, c, line, a, depth, ONE,
                panel, WIDTH, depth, LANES, NONE,
            )  # fmt: skip


@part
def adjust(line, count, scales, biases):
    if len(scales):
        for i in range(count):
            line[i] *= scales[i]
    for i in range(count):
        line[i] += biases[i]


def given(kind, axes=1):
    return types.Array(kind, axes, "C", readonly=True)  # takes writable ones as well


signature = void(
    *(given(float32, 2), given(float32, 2), given(float32), given(float32)),
    *(given(int64), given(int64), given(uint8)),
    *(int64, int64, int64, int64, float32[:, ::1], int64[:, ::1]),
)


@njit(signature, nogil=True, cache=True, error_model="numpy")
def run(
    queries, items, scales, biases, starts, excluded, allowed,
    first_query, last_query, first_item, last_item, scores, codes,
):  # fmt: skip
    """Fill scores and codes of some queries with their best among some items."""
    products = np.empty((GROUP, BLOCK), np.float32)
    panel = np.zeros((queries.shape[1] + LANES, WIDTH), np.float32)
    for query in range(first_query, last_query, GROUP):
        many = min(GROUP, last_query - query)
        for start in range(first_item, last_item, BLOCK):
            count = min(BLOCK, last_item - start)
            multiply(products, queries, query, many, items, start, count, panel)
            for k in range(many):
                line, stop = products[k], start + count
                adjust(line, count, scales[start:stop], biases[start:stop])
                q = query + k
                begin, end = (starts[q], starts[q + 1]) if len(starts) else (0, 0)
                pick(
                    line, count, start, scores[q], codes[q], begin, end, excluded,
                    allowed,
                )  # fmt: skip
'''


def best(
    queries: ArrayLike,
    items: ArrayLike,
    biases: ArrayLike | None,
    n: int,
    excluded: tuple[ArrayLike, ArrayLike] | None = None,
    allowed: ArrayLike | None = None,
    scales: ArrayLike | None = None,
    n_jobs: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the n items with the highest scores for each query, best first.

    The score of an item is the inner product of the two vectors, times the item's
    scale, plus its bias. Equal scores come in the order of the codes. Scores of NaN
    and minus infinity are never among the best.

    Parameters
    ----------
    queries : numbers, shape (Q, D)
    items : numbers, shape (I, D)
        Used in place, without a copy, where they are contiguous float32.
    biases : numbers, shape (I,), or None
    n : int >= 1
        More than I is I.
    excluded : (starts, codes), or None
        Items that are left out: codes[starts[q]:starts[q + 1]], rising, for query q.
        Integers of shapes (Q + 1,) and (any,).
    allowed : bools, shape (I,), or None
        False leaves an item out for all queries.
    scales : numbers, shape (I,), or None
        One over the lengths of the item vectors gives cosines for queries of length 1.
    n_jobs : int
        Threads; -1 is one a core. Several queries are shared out; a single one has
        the items shared out. The result does not depend on it.

    Returns
    -------
    codes : int64 array, shape (Q, min(n, I))
        -1 where there are fewer.
    scores : float32 array, shape (Q, min(n, I))
        Minus infinity there.

    Raises
    ------
    ShapeError, DTypeError
        The arrays do not belong together.
    DataError
        Excluded codes do not rise, or their starts do not fit them.
    SettingError
        `n` is below one, or `n_jobs` is zero.

    Notes
    -----
    Items with the same vector, scale and bias tie exactly. Scores of a query asked
    alone and among eight or more may differ in their last bits.
    """
    left, right = _table("queries", queries), _table("items", items)
    if left.shape[1] != right.shape[1]:
        raise ShapeError(
            "best: queries and items of one width are required, got "
            f"{left.shape} and {right.shape}."
        )
    n_queries, n_items = len(left), len(right)
    kept = min(whole("best", "n", n, least=1), n_items)
    given = (
        left,
        right,
        _per_item("scales", scales, n_items, None),
        _per_item("biases", biases, n_items, 0),
        *_checked_excluded(excluded, n_queries),
        _mask(allowed, n_items),
    )
    parts = _parts(n_queries, n_items, resolve_jobs(n_jobs))
    across = len(parts) if n_queries == 1 else 1  # heaps of a query
    shape = (across, n_queries, kept)
    scores, codes = np.full(shape, -np.inf, _FLOAT), np.full(shape, -1, _CODE)
    heaps = [k if across > 1 else 0 for k in range(len(parts))]
    jobs = [
        (*given, *part, scores[k], codes[k])
        for part, k in zip(parts, heaps, strict=True)
    ]
    if len(jobs) == 1:
        native_best()(*jobs[0])
    else:
        with ThreadPoolExecutor(len(jobs)) as pool:
            list(pool.map(lambda job: native_best()(*job), jobs))
    return _in_order(scores, codes)


@cache
def native_best() -> Callable[..., None]:
    """Load the kernel, or compile it where the cache folder has none."""
    kernel: Callable[..., None] = build.load_module(_KERNEL).run
    return kernel


def _parts(n_queries: int, n_items: int, jobs: int) -> list[tuple[int, int, int, int]]:
    """Return what each thread does: (first query, last, first item, last)."""
    if jobs == 1:
        return [(0, n_queries, 0, n_items)]
    if n_queries == 1:
        jobs = max(1, min(jobs, n_items // _LEAST))
        edges = np.linspace(0, n_items, jobs + 1).astype(int).tolist()
        return [(0, 1, *edge) for edge in pairwise(edges)]
    tiles = -(-n_queries // ROWS)  # whole ones, as if there were a single thread
    edges = np.linspace(0, tiles, max(1, min(jobs, tiles)) + 1).astype(int) * ROWS
    edges = np.minimum(edges, n_queries).tolist()
    return [(*edge, 0, n_items) for edge in pairwise(edges)]


def _in_order(
    scores: NDArray[np.float32], codes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the best of the heaps, shape (heaps, Q, kept), each query's in order."""
    wide_scores, wide_codes = (np.concatenate(list(x), 1) for x in (scores, codes))
    order = np.lexsort((wide_codes, -wide_scores), axis=-1)[:, : scores.shape[2]]
    found = np.take_along_axis(wide_codes, order, 1)
    return found, np.take_along_axis(wide_scores, order, 1)


def _table(name: str, values: ArrayLike) -> NDArray[np.float32]:
    array = as_floats(f"best: {name}", values, _FLOAT)
    if array.ndim != 2:
        raise ShapeError(f"best: {name} must have two dimensions, got {array.shape}.")
    return array


def _per_item(
    name: str, values: ArrayLike | None, n_items: int, default: float | None
) -> NDArray[np.float32]:
    if values is None:
        return _NO_FLOATS if default is None else np.full(n_items, default, _FLOAT)
    array = as_floats(f"best: {name}", values, _FLOAT)
    if array.shape != (n_items,):
        raise ShapeError(
            f"best: {name} of shape ({n_items},) are required, got {array.shape}."
        )
    return array


def _mask(allowed: ArrayLike | None, n_items: int) -> NDArray[np.uint8]:
    if allowed is None:
        return _NO_MASK
    array = as_array("best: allowed", allowed)
    if array.dtype != bool or array.shape != (n_items,):
        raise ShapeError(
            f"best: allowed must be bools of shape ({n_items},), got {array.dtype} of "
            f"shape {array.shape}."
        )
    return np.ascontiguousarray(array).view(np.uint8)


def _checked_excluded(
    excluded: tuple[ArrayLike, ArrayLike] | None, n_queries: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return starts from 0 and codes as the kernel may trust them."""
    if excluded is None:
        return _NO_CODES, _NO_CODES
    starts, codes = (as_array("best: excluded", part) for part in excluded)
    if starts.dtype.kind not in "iu" or (len(codes) and codes.dtype.kind not in "iu"):
        raise DTypeError(
            "best: excluded starts and codes must be integers, got "
            f"{starts.dtype} and {codes.dtype}."
        )
    if starts.shape != (n_queries + 1,) or codes.ndim != 1:
        raise ShapeError(
            f"best: excluded starts of shape ({n_queries + 1},) and codes of one "
            f"dimension are required, got {starts.shape} and {codes.shape}."
        )
    starts = starts.astype(_CODE)
    first, last = int(starts[0]), int(starts[-1])
    codes = codes[first:last].astype(_CODE)
    rising = codes[1:] > codes[:-1]
    if 0 <= first <= last <= first + len(codes) and (np.diff(starts) >= 0).all():
        starts -= first
        inner = starts[(starts > 0) & (starts < len(codes))]
        rising[inner - 1] = True  # from one query to the next
        if rising.all():
            return starts, codes
    raise DataError(
        "best: excluded starts must rise within the codes, and the codes of each "
        "query must rise. Sort them, each once."
    )
