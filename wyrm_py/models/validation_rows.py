"""Rows and labels kept aside from training, checked: `fit(validation=(X, y))`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wyrm_py.errors import DataError, SettingError, ShapeError
from wyrm_py.models.supervised_data import checked_labels, checked_matrix


def checked_validation(
    validation: Any, task: str, columns: int, classes: NDArray[Any] | None
) -> list[Any]:
    """Return functions as they are, and pairs of a CSR matrix and labels.

    Raises
    ------
    SettingError
        If a part is neither a function nor (X, y), or (X, y) is for a loss that ranks.
    ShapeError, DTypeError, DataError
        If X or y do not fit the training data.
    """
    several = isinstance(validation, list)
    parts = validation if several else [] if validation is None else [validation]
    return [
        part if callable(part) else _checked_rows(part, task, columns, classes)
        for part in parts
    ]


def stacked(matrices: Sequence[sparse.csr_array]) -> sparse.csr_array:
    """Return all rows in one matrix: inputs of field-aware models are numbers in it."""
    return matrices[0] if len(matrices) == 1 else sparse.vstack(matrices, "csr")


def cut(columns: Mapping[Any, Any], lengths: Sequence[int]) -> list[dict[Any, Any]]:
    """Return columns over stacked rows as columns over each matrix."""
    if len(lengths) == 1:
        return [dict(columns)]
    ends = np.cumsum(lengths)
    return [
        {node: column[end - length : end] for node, column in columns.items()}
        for end, length in zip(ends, lengths, strict=True)
    ]


def _checked_rows(
    part: Any, task: str, columns: int, classes: NDArray[Any] | None
) -> tuple[Any, NDArray[Any]]:
    who = "fit: validation"
    if not isinstance(part, tuple) or len(part) != 2 or task == "ranker":
        raise SettingError(
            f"{who} must be (X, y), a function of the model, or a list of both, and "
            f"for a loss that ranks functions only, got {type(part).__name__}."
        )
    matrix = checked_matrix(who, part[0])
    labels = checked_labels(who, part[1], matrix.shape[0], task == "classifier")
    if matrix.shape[1] != columns:
        raise ShapeError(
            f"{who}: X must have {columns} columns as in training, got "
            f"{matrix.shape[1]}."
        )
    if classes is not None and not np.isin(labels, classes).all():
        strange = np.setdiff1d(labels, classes).tolist()
        raise DataError(
            f"{who}: labels must be among {classes.tolist()[:10]}, got {strange[:10]}."
        )
    return matrix, labels
