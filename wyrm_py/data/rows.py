"""Rows by number: which ones form a batch, a part or a fold, and in what order.

Shared by `Dataset` and `Interactions`; nothing here knows what a row holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import IndexRangeError, SettingError, ShapeError
from wyrm_py.values import as_array

Rows = slice | NDArray[Any]

_SLACK = 1e-6  # of a sum of fractions: 0.7 + 0.2 + 0.1 is not quite one


def whole(who: str, name: str, value: Any, least: int) -> int:
    """Return a whole number of at least `least`, or raise a SettingError."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise SettingError(
            f"{who}: {name} must be a whole number of {least} or more, got {value!r}."
        )
    return int(value)


def as_rows(who: str, rows: Any, count: int) -> Rows:
    """Return a slice as it is, anything else as row numbers in [0, count).

    Parameters
    ----------
    rows : slice, integers of shape (K,), or a mask of shape (count,)

    Raises
    ------
    ShapeError
        A mask has another length, or there is more than one dimension.
    IndexRangeError
        A row number is not in [0, count).
    """
    if isinstance(rows, slice):
        return rows
    array = as_array(who, rows)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)  # an empty list is float64 in NumPy
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise ShapeError(
            f"{who}: rows must be a slice, a mask or row numbers in one dimension, got "
            f"{array.dtype} of shape {array.shape}."
        )
    if array.dtype.kind == "b":
        if len(array) != count:
            raise ShapeError(
                f"{who}: a mask of {count} rows is required, got {len(array)}."
            )
        return np.flatnonzero(array)
    if array.size and (array.min() < 0 or array.max() >= count):
        raise IndexRangeError(
            f"{who}: row numbers must be in [0, {count}), found {array.min()} to "
            f"{array.max()}."
        )
    return array


def batch_rows(who: str, count: int, size: int, drop_last: bool = False) -> list[slice]:
    """Return the rows of consecutive batches, the last of them short or dropped."""
    size = whole(who, "size", size, least=1)
    last = count - count % size if drop_last else count
    if last == 0:
        raise SettingError(
            f"{who}: with drop_last the size must be at most the {count} rows there "
            f"are, got {size}."
        )
    return [slice(begin, min(begin + size, last)) for begin in range(0, last, size)]


def even_rows(who: str, name: str, count: int, parts: int, least: int) -> list[slice]:
    """Return `parts` runs of rows that cover all; sizes differ by one at most."""
    if whole(who, name, parts, least) > count:
        raise SettingError(
            f"{who}: {name} must be at most the {count} rows there are, got {parts}."
        )
    return _runs([count * k // parts for k in range(parts + 1)])


def part_rows(who: str, count: int, parts: Sequence[Any]) -> list[slice]:
    """Return runs of rows of given lengths, or of given fractions, that cover all.

    Raises
    ------
    SettingError
        Lengths and fractions are mixed, do not add up to `count` or to one, or
        leave a part without rows.
    """
    sizes = as_array(who, parts)
    if sizes.ndim != 1 or sizes.size == 0 or sizes.dtype.kind not in "iuf":
        raise SettingError(
            f"{who}: a list of lengths or of fractions is required, got {parts!r}."
        )
    if sizes.dtype.kind == "f":
        if not abs(sizes.sum() - 1) <= _SLACK:
            raise SettingError(
                f"{who}: fractions must add up to 1, got {parts!r}, together "
                f"{sizes.sum():g}. For lengths give whole numbers."
            )
        edges = np.rint(np.cumsum(sizes) * count).astype(np.int64)
        edges[-1] = count
    else:
        edges = np.cumsum(sizes.astype(np.int64))
        if edges[-1] != count:
            raise SettingError(
                f"{who}: lengths must cover all {count} rows, got {parts!r}, together "
                f"{edges[-1]}."
            )
    if not (np.diff(edges, prepend=0) > 0).all():
        raise SettingError(
            f"{who}: every part needs a row, got {parts!r} of {count} rows."
        )
    return _runs([0, *edges.tolist()])


def _runs(edges: list[int]) -> list[slice]:
    return [slice(begin, end) for begin, end in pairwise(edges)]


def fold_rows(
    count: int, parts: list[slice], order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (train rows, test rows), each rising, for each part of an order."""
    for part in parts:
        in_test = np.zeros(count, bool)
        in_test[order[part]] = True
        yield np.flatnonzero(~in_test), np.flatnonzero(in_test)
