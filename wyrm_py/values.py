"""What leaves and columns accept as values: arrays, row numbers, CSR rows.

Each function returns the array in the one form that nodes hold, or raises a
typed error that names its owner.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from wyrm_py.errors import DataError, DTypeError, IndexRangeError, ShapeError
from wyrm_py.graph.op import Array
from wyrm_py.nodes import Node

INDEX = np.dtype(np.int64)


def float_dtype(owner: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64, or raise a DTypeError."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = np.dtype(object)
    if wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError(f"{owner}: dtype must be float32 or float64, got {dtype!r}.")
    return wanted


def as_array(owner: str, value: Any) -> Array:
    """Return any array-like as an array.

    Raises a ShapeError if it is uneven, a DataError if some of it is masked.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise DataError(f"{owner}: some values are masked. Fill or leave them out.")
    try:
        return np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ShapeError(f"{owner}: cannot be made an array: {error}.") from None


def as_floats(owner: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """Return a C-contiguous native array, or raise a DTypeError."""
    if isinstance(value, Node):
        raise DTypeError(f"{owner}: takes numbers, got {value!r}. Pass its `.value`?")
    if sparse.issparse(value):
        raise DTypeError(
            f"{owner}: takes a dense array, got a scipy.sparse {value.format} matrix. "
            "Use a SparseInputNode, or `.toarray()`."
        )
    array = as_array(owner, value)
    if array.dtype.kind not in "fiu":
        raise DTypeError(
            f"{owner}: takes numbers, got dtype {array.dtype}. Convert with "
            "`.astype(np.float32)`?"
        )
    with np.errstate(over="ignore"):  # too large for float32 is infinite
        return np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)


def as_integers(owner: str, value: Any) -> Array:
    """Return row numbers as a new int64 array, or raise a typed error."""
    array = as_array(owner, value)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(INDEX)  # an empty list is float64 in NumPy
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"{owner}: row numbers must be integers, got dtype {array.dtype}. "
            "Convert with `.astype(np.int64)`?"
        )
    if array.size and array.max() > np.iinfo(INDEX).max:
        raise IndexRangeError(f"{owner}: row number {array.max()} is beyond int64.")
    return array.astype(INDEX, order="C")


def as_rows(owner: str, value: Any) -> Array:
    """Return row numbers of at least zero as a new int64 array."""
    array = as_integers(owner, value)
    if array.size and array.min() < 0:
        bad = int(np.flatnonzero(array.reshape(-1) < 0)[0])
        raise IndexRangeError(
            f"{owner}: row numbers must not be negative, got "
            f"{array.reshape(-1)[bad]} at position {bad}."
        )
    return array


def fit_shape(owner: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Return the array in a shape; axes of length one may be missing."""
    if array.shape == shape:
        return array
    if [n for n in array.shape if n != 1] == [n for n in shape if n != 1]:
        return array.reshape(shape)
    raise ShapeError(
        f"{owner}: the shape is fixed at creation, {shape}, got {array.shape}. "
        "Build the node with the shape it will be fed."
    )


def as_csr(owner: str, rows: Any) -> Any:
    """Return canonical CSR rows, or raise a typed error."""
    if not sparse.issparse(rows):
        raise DTypeError(
            f"{owner}: takes scipy.sparse rows, got {type(rows).__name__}. Convert "
            "with `scipy.sparse.csr_array(rows)`."
        )
    if rows.dtype.kind not in "fiub":
        raise DTypeError(f"{owner}: takes numbers, got dtype {rows.dtype}.")
    if rows.ndim != 2:
        raise ShapeError(f"{owner}: takes rows and columns, got shape {rows.shape}.")
    if rows.format != "csr":  # of CSR rows a fault is named below
        require_inside(owner, rows)
    try:
        matrix = sparse.csr_array(rows)
    except ValueError as error:
        raise DataError(f"{owner}: these are no CSR rows: {error}.") from None
    if (np.diff(matrix.indptr) < 0).any():
        raise DataError(f"{owner}: the indptr of CSR rows must never fall.")
    inside = matrix.indices[: matrix.indptr[-1]]
    width = matrix.shape[1]
    if inside.size and (inside.min() < 0 or inside.max() >= width):
        bad = int(np.flatnonzero((inside < 0) | (inside >= width))[0])
        row = np.searchsorted(matrix.indptr, bad, side="right") - 1
        raise IndexRangeError(
            f"{owner}: column numbers of CSR rows must be in [0, {width}), got "
            f"{inside[bad]} in example {row}."
        )
    return matrix


def require_inside(owner: str, matrix: Any) -> None:
    """Raise a DataError where SciPy's native code would leave a matrix's arrays."""
    try:
        if matrix.format == "coo":
            for length, places in zip(matrix.shape, matrix.coords, strict=True):
                if places.size and (places.min() < 0 or places.max() >= length):
                    raise ValueError(f"a place is not in [0, {length})")
        elif matrix.format in ("csr", "csc", "bsr"):
            matrix.check_format(full_check=True)
    except ValueError as error:
        raise DataError(f"{owner} is no sound sparse matrix: {error}.") from None
