"""Checks of what supervised estimators are given: rows, labels, classes, weights.

What scikit-learn's own checks refuse is raised as a typed error that says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.values import require_inside


def checked_matrix(who: str, X: Any) -> sparse.csr_array:
    """Return canonical CSR rows, float32: no column comes twice in a row.

    Raises
    ------
    DTypeError, DataError
        X is no matrix of finite numbers with rows and columns.
    """
    if sparse.issparse(X):
        require_inside(f"{who}: X", X)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # told below: infinity
            given = check_array(X, accept_sparse="csr", dtype=np.float32)
    except TypeError as error:
        raise DTypeError(f"{who}: X: {error}") from None
    except ValueError as error:
        raise DataError(f"{who}: X: {error}") from None
    matrix = sparse.csr_array(given)
    if not matrix.has_canonical_format:
        matrix = matrix.copy() if given is X else matrix
        matrix.sum_duplicates()
    return matrix


def checked_labels(who: str, y: ArrayLike, rows: int, classifies: bool) -> NDArray[Any]:
    """Return labels, or finite float64 numbers, one a row.

    Raises
    ------
    DataError, ShapeError
        y is None, has several columns or another length, is continuous where labels
        are needed, or is not finite where numbers are.
    """
    if y is None:
        raise DataError(f"{who}: requires y to be passed, but the target y is None.")
    try:
        labels = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        if classifies:
            check_classification_targets(labels)
        else:
            labels = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{who}: y: {error}") from None
    _require_length(who, "y", labels, rows)
    return np.asarray(labels)


def checked_classes(who: str, labels: ArrayLike, several: bool) -> NDArray[Any]:
    """Return the sorted distinct labels, at least two.

    Raises
    ------
    DataError
        There is one, or there are more than two but not `several`.
    """
    classes = np.unique(np.asarray(labels))
    if len(classes) < 2:
        raise DataError(
            f"{who}: labels of at least two classes are required, got 1 class, "
            f"{classes.tolist()}."
        )
    if len(classes) > 2 and not several:
        raise DataError(
            f"{who}: Only binary classification is supported. The type of the target "
            f"is multiclass, with {len(classes)} classes. Wrap the estimator in "
            "`sklearn.multiclass.OneVsRestClassifier`."
        )
    return classes


def require_known(who: str, labels: NDArray[Any], classes: NDArray[Any]) -> None:
    """Raise a DataError for labels that are none of the classes."""
    unknown = np.setdiff1d(labels, classes)
    if len(unknown):
        raise DataError(
            f"{who}: y holds {unknown.tolist()[:5]}, none of the classes "
            f"{classes.tolist()[:10]}. Name all classes in the first call."
        )


def checked_weights(who: str, given: ArrayLike, rows: int) -> NDArray[Any]:
    """Return sample weights: finite, not below zero, one a row, not all zero.

    Raises
    ------
    DTypeError, ShapeError, DataError
    """
    weights = np.asarray(given)
    if weights.dtype.kind not in "fiub":
        raise DTypeError(
            f"{who}: sample_weight must be numbers, got dtype {weights.dtype}."
        )
    _require_length(who, "sample_weight", weights, rows)
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise DataError(
            f"{who}: sample_weight must be finite, not below zero, and not all zero."
        )
    return weights


def checked_groups(who: str, given: ArrayLike | None, rows: int) -> NDArray[Any]:
    """Return the number of each row's group; None is one group.

    Raises
    ------
    ShapeError
    """
    groups = np.zeros(rows, np.int64) if given is None else np.asarray(given)
    _require_length(who, "groups", groups, rows)
    return np.unique(groups, return_inverse=True)[1]


def _require_length(who: str, name: str, array: NDArray[Any], rows: int) -> None:
    if array.shape != (rows,):
        raise ShapeError(
            f"{who}: {name} must have one value a row of X, got shape {array.shape} "
            f"for {rows} rows."
        )
