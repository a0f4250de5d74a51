"""Codes that stand for ids, as a user gives them, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.errors import DTypeError, IndexRangeError
from wyrm_py.values import as_array

_MOST_IDS = 2**31  # codes are int32


def checked_codes(
    name: str, given: ArrayLike, ids: NDArray[Any] | None
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return codes as int32, and the ids they stand for.

    Parameters
    ----------
    name : str
        "users" or "items", for messages.
    given : integers, shape (N,), N > 0
    ids : array, shape (R,), or None
        None takes the codes themselves for the ids.

    Raises
    ------
    DTypeError, IndexRangeError
        These are no integers, or one is no row of the ids.
    """
    codes = as_array(f"Interactions: {name}", given)
    if codes.dtype.kind not in "iu":
        raise DTypeError(
            f"Interactions: {name} must be integer codes, got dtype {codes.dtype}. For "
            "ids use `Interactions(users, items)`."
        )
    low, high = int(codes.min()), int(codes.max())
    count = (high + 1 if high < _MOST_IDS else _MOST_IDS) if ids is None else len(ids)
    if low < 0 or high >= count:
        row = int(np.argmax((codes < 0) | (codes >= count)))
        raise IndexRangeError(
            f"Interactions: {name} must be in [0, {count}), found {codes[row]} in row "
            f"{row}. For ids use `Interactions(users, items)`."
        )
    table = np.arange(count) if ids is None else np.asarray(ids)
    return np.ascontiguousarray(codes, np.int32), table
