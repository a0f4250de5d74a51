"""What the ranking metrics accept: vectors, biases, and matrices of train and test."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.errors import DataError, ShapeError
from wyrm_py.values import as_floats, require_inside


def as_vectors(name: str, values: ArrayLike) -> NDArray[np.float32]:
    array = as_floats(f"ranking_metrics: {name}", values, np.dtype(np.float32))
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


def as_biases(biases: ArrayLike | None, n_items: int) -> NDArray[np.float32]:
    if biases is None:
        return np.zeros(n_items, np.float32)
    array = np.asarray(biases)
    if array.shape != (n_items,):
        raise ShapeError(
            f"ranking_metrics: item_biases of shape ({n_items},) are required, got "
            f"{array.shape}."
        )
    return as_vectors("item_biases", array[:, None])[:, 0]


def require_range(users: NDArray[np.float32], items: NDArray[np.float32]) -> None:
    """Refuse vectors so long that a sum of their products may leave float32."""
    longest = [
        np.sqrt(np.einsum("rd,rd->r", x, x, dtype=np.float64).max(initial=0) + 1)
        for x in (users, items)
    ]
    if longest[0] * longest[1] > np.finfo(np.float32).max:
        raise DataError(
            "ranking_metrics: scores within the range of float32 are required, but "
            f"there are vectors of lengths {longest[0]:.3g} and {longest[1]:.3g}. Has "
            "the training diverged? Lower the learning rate."
        )


def as_csr(
    who: str, name: str, matrix: Any, shape: tuple[int, ...]
) -> scipy.sparse.csr_array:
    """Return a CSR array of our own: sorted, each entry once, no stored zeros."""
    if not scipy.sparse.issparse(matrix) or matrix.shape != shape:
        got = getattr(matrix, "shape", type(matrix).__name__)
        raise ShapeError(
            f"{who}: {name} must be a sparse matrix of shape {shape} (users by items), "
            f"got {got}."
        )
    require_inside(f"{who}: {name}", matrix)
    own = scipy.sparse.csr_array(matrix, copy=True)
    own.sum_duplicates()
    own.eliminate_zeros()
    return own


def without(
    test: scipy.sparse.csr_array, train: scipy.sparse.csr_array
) -> scipy.sparse.csr_array:
    """Return the entries of `test` that are not in `train`."""
    keys, known = _places(test), _places(train)
    found = np.searchsorted(known, keys)
    seen = np.append(known, -1)[found] == keys
    if not seen.any():
        return test
    rows, columns = np.divmod(keys[~seen], test.shape[1])
    left = np.ones(len(rows), np.float32), (rows, columns)
    return scipy.sparse.csr_array(left, shape=test.shape)


def _places(matrix: scipy.sparse.csr_array) -> NDArray[np.int64]:
    """Return where the entries of a sorted matrix stand, counted row by row."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    places: NDArray[np.int64] = rows * np.int64(matrix.shape[1]) + matrix.indices
    return places
