"""Events: interactions with their ids as given, checked column by column.

The form between readers, which know files and tables, and those who number the ids:
`Interactions` for all of the data at once, online learning for one chunk at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.values import as_array

COLUMNS = ("users", "items", "ratings", "timestamps", "weights")
LATEST = 2.0**62
"""Timestamps are below it in size, so that they fit into 64 bits."""


class Events:
    """N interactions, N > 0, with ids as given.

    Parameters
    ----------
    users, items : ids of any one type, shape (N,)
        Lists, arrays or Arrow columns, whatever `IdMap.add` takes; looked at there.
    ratings : finite numbers, shape (N,), or None
    timestamps : numbers or `datetime64`, shape (N,), or None
        Fractions are cut off.
    weights : finite numbers of at least zero, shape (N,), or None
    first : int
        Number of the first row in messages.
    who : str
        Begins the messages.

    Attributes
    ----------
    users, items
        As given.
    ratings : float32 array, shape (N,), or None
    timestamps : int64 array, shape (N,), or None
        Seconds since 1970 where they were dates, else as given.
    weights : float32 array, shape (N,), or None

    Raises
    ------
    DTypeError
        A column does not hold numbers.
    DataError
        There are no events, or a number is NaN, infinite or out of range.
    ShapeError
        The columns are not of one length.
    """

    users: Ids
    items: Ids
    ratings: NDArray[np.float32] | None
    timestamps: NDArray[np.int64] | None
    weights: NDArray[np.float32] | None

    def __init__(
        self,
        users: Ids,
        items: Ids,
        ratings: ArrayLike | None = None,
        timestamps: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        first: int = 0,
        who: str = "Events",
    ) -> None:
        columns = {"users": users, "items": items, "ratings": ratings}
        columns |= {"timestamps": timestamps, "weights": weights}
        self._count = _one_length(who, columns)
        self.users, self.items = users, items
        self.ratings = self.timestamps = self.weights = None
        if ratings is not None:
            self.ratings = _floats(who, "ratings", ratings, first)
        if timestamps is not None:
            self.timestamps = _seconds(who, timestamps, first)
        if weights is not None:
            self.weights = _floats(who, "weights", weights, first)
            if self.weights.min() < 0:
                row = int(np.argmax(self.weights < 0))
                raise DataError(
                    f"{who}: weights of zero or more are required, found "
                    f"{self.weights[row]} in row {row + first}."
                )

    def __len__(self) -> int:
        """Return the number of events, N."""
        return self._count

    def __getitem__(self, rows: slice) -> Events:
        """Return the events of a slice, which are not checked again."""
        part = type(self).__new__(type(self))
        for name in COLUMNS:
            column = getattr(self, name)
            setattr(part, name, None if column is None else column[rows])
        part._count = len(range(self._count)[rows])
        return part

    def __repr__(self) -> str:
        return f"Events({len(self)})"


def joined(name: str, parts: list[Any]) -> Any:
    """Return the columns of chunks as one; None if none of them has it."""
    there = [part is not None for part in parts]
    if not any(there):
        return None
    if not all(there):
        without = there.index(False)
        raise DataError(
            f"Interactions: {name} must be in all chunks or in none, chunk {without} "
            f"of {len(parts)} has no {name}."
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _one_length(who: str, columns: dict[str, Any]) -> int:
    shapes = {
        name: _shape(f"{who}: {name}", column)
        for name, column in columns.items()
        if column is not None
    }
    for name, shape in shapes.items():
        if len(shape) != 1:
            raise ShapeError(
                f"{who}: {name} in one dimension are required, got {shape}."
            )
    if len(set(shapes.values())) > 1:
        lengths = ", ".join(f"{n} {name}" for name, (n,) in shapes.items())
        raise ShapeError(f"{who}: columns of one length are required, got {lengths}.")
    if shapes["users"] == (0,):
        raise DataError(
            f"{who}: at least one is required, got no interactions. Is the data "
            "empty, or filtered too far?"
        )
    return shapes["users"][0]


def _shape(name: str, column: Any) -> tuple[int, ...]:
    if isinstance(column, str | bytes) or not hasattr(column, "__len__"):
        raise DTypeError(f"{name} must be an array or a list, got {column!r}.")
    if isinstance(column, list | tuple):
        if column and isinstance(column[0], list | tuple | np.ndarray):
            return as_array(name, column).shape  # which is not one
        return (len(column),)
    shape: tuple[int, ...] = getattr(column, "shape", (len(column),))
    return shape


def _floats(who: str, name: str, given: Any, first: int) -> NDArray[np.float32]:
    array = as_array(f"{who}: {name}", given)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{who}: {name} must be numbers, got dtype {array.dtype}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is named below
        values = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise DataError(
            f"{who}: finite {name} are required, found {array[row]} in row "
            f"{row + first}. Leave such rows out."
        )
    return values


def _seconds(who: str, given: Any, first: int) -> NDArray[np.int64]:
    array = as_array(f"{who}: timestamps", given)
    if array.dtype.kind == "M":
        bad = np.isnat(array)
        array = array.astype("datetime64[s]").astype(np.int64)
    elif array.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(array.astype(np.float64)) < LATEST)
    else:
        raise DTypeError(
            f"{who}: timestamps must be numbers or datetime64, got dtype "
            f"{array.dtype}. Convert dates with `np.array(dates, 'datetime64[s]')`."
        )
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{who}: timestamps that fit into 64 bits are required, found "
            f"{as_array('timestamps', given)[row]} in row {row + first}. Leave such "
            "rows out."
        )
    return np.ascontiguousarray(array).astype(np.int64)
