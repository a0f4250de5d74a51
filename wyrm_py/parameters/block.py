"""What every parameter block offers, and the checks on its first value.

A block is the memory of one trainable table: the value and, beside it, optimizer
state in named slots: of the value's shape, one number a row, or a single number.
plain.py keeps it private, shared.py in shared memory; graphs, engines and
optimizers only see this protocol.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from wyrm_py.errors import DTypeError, ParameterError

Per = Literal["element", "row", "parameter"]
"""What a slot has one number for: shape as the value, (R,), or ()."""
COUNT = np.dtype(np.int64)
"""The dtype of slots per row and per parameter: they count steps."""
MAX_SLOTS = 3
"""Slots per element that a parameter has room for; as many per parameter."""
ROOM: dict[Per, int] = {"element": MAX_SLOTS, "row": 1, "parameter": MAX_SLOTS}
ALIGNMENT = 64  # bytes: a cache line
SLOT_NAME_SIZE = 64  # bytes of UTF-8


@runtime_checkable
class ParameterBlock(Protocol):
    """The memory of one parameter.

    Attributes
    ----------
    value : ndarray, float32 or float64, shape (R, ...)
        Live, C-contiguous, aligned to 64 bytes; write into it, never replace it.
    shape : tuple of int
    dtype : dtype
    rows : int
        First extent of the value; 1 for a value without axes.
    """

    @property
    def value(self) -> NDArray[Any]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def rows(self) -> int: ...

    def slot(self, name: str, per: Per = "element") -> NDArray[Any]:
        """Return the optimizer state of that name.

        It is made of zeros on first use.

        Parameters
        ----------
        name : str
            Rule and role, such as `"adagrad.sum"`; at most 64 bytes.
        per : {"element", "row", "parameter"}
            Shape and dtype: those of the value (at most three such slots), (R,)
            int64 (at most one), or () int64 (at most three). A new row's number
            starts at the rule's slot "<rule>.step", if there is one, else at zero.

        Raises
        ------
        ParameterError
            If the name is impossible, in use for state of another shape, or there
            is no room for one more.
        """

    def slots(self) -> dict[str, NDArray[Any]]:
        """Return all optimizer state made so far, by name."""


def checked_dtype(dtype: DTypeLike, owner: str) -> np.dtype[Any]:
    """Return float32 or float64 as a dtype, or raise a DTypeError."""
    try:
        checked: np.dtype[Any] = np.dtype(dtype)
        if checked in (np.dtype(np.float32), np.dtype(np.float64)):
            return checked
    except TypeError:
        pass
    raise DTypeError(f"{owner}: dtype must be np.float32 or np.float64, got {dtype!r}.")


def checked_value(value: ArrayLike, dtype: DTypeLike, owner: str) -> NDArray[Any]:
    """Return a first value as an array of the block's dtype.

    Parameters
    ----------
    value : array-like of real numbers, any layout and byte order, not empty
    dtype : np.float32 or np.float64
    owner : str
        Who asks, for messages.

    Returns
    -------
    ndarray
        C-contiguous; the given array itself if nothing had to be changed.

    Raises
    ------
    DTypeError
        If the values are not real numbers, or the dtype is another.
    ParameterError
        If there are no values, or one is NaN or infinite in this dtype.
    """
    dtype = checked_dtype(dtype, owner)
    try:
        given = np.asarray(value)
    except ValueError:
        raise DTypeError(
            f"{owner}: a rectangular array of numbers is required, got rows of "
            "different lengths."
        ) from None
    if given.dtype.kind not in "iuf":
        raise DTypeError(
            f"{owner}: real numbers are required, got {type(value).__name__} of dtype "
            f"{given.dtype}. Convert with `.astype(np.float32)` or, if it is a sparse "
            "matrix, `.toarray()`."
        )
    if given.size == 0:
        raise ParameterError(
            f"{owner}: at least one value is required, got shape {given.shape}."
        )
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(given, dtype).reshape(given.shape)
    _require_finite(array, given, owner)
    return array


def slot_kind(array: NDArray[Any]) -> Per:
    """Return what a slot's array has one number for."""
    if array.dtype != COUNT:
        return "element"
    return "row" if array.ndim else "parameter"


def checked_slot_name(name: str, per: Per, present: dict[str, NDArray[Any]]) -> str:
    """Return the name of a new slot, or raise a ParameterError."""
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or not 0 < len(name.encode()) <= SLOT_NAME_SIZE
    ):
        raise ParameterError(
            f"slot: a printable name of 1 to {SLOT_NAME_SIZE} bytes is required, "
            f"got {name!r}."
        )
    if per not in ROOM:
        raise ParameterError(
            f"slot {name!r}: per must be one of {', '.join(map(repr, ROOM))}, got "
            f"{per!r}."
        )
    others = [other for other, array in present.items() if slot_kind(array) == per]
    if len(others) == ROOM[per]:
        raise ParameterError(
            f"slot {name!r}: a parameter has room for {ROOM[per]} arrays of optimizer "
            f"state per {per}, used by {', '.join(others)}. Train with one optimizer, "
            "or copy the value into a new parameter."
        )
    return name


def require_kind(name: str, array: NDArray[Any], per: Per) -> NDArray[Any]:
    """Return a slot's array, or raise a ParameterError if it is of another kind."""
    if slot_kind(array) != per:
        raise ParameterError(
            f"slot {name!r}: is per {slot_kind(array)}, not per {per}. Use another "
            "name."
        )
    return array


def clock_of(name: str) -> str:
    """Return the name of the step counter that belongs to a slot per row."""
    return f"{name.partition('.')[0]}.step"


def copy_block(source: ParameterBlock, target: ParameterBlock) -> None:
    """Copy value and optimizer state, or raise a ParameterError."""
    if source.shape != target.shape:
        raise ParameterError(
            f"copy: two blocks of one shape are required, got {source.shape} and "
            f"{target.shape}."
        )
    target.value[...] = source.value
    for name, state in source.slots().items():
        target.slot(name, slot_kind(state))[...] = state


def _require_finite(array: NDArray[Any], given: NDArray[Any], owner: str) -> None:
    # Minimum and maximum carry NaN through and need no array of their own.
    if np.isfinite(array.min()) and np.isfinite(array.max()):
        return
    place = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
    position = tuple(int(index) for index in place)
    raise ParameterError(
        f"{owner}: finite values are required, got {given[position]} at {position} "
        f"for dtype {array.dtype}."
    )
