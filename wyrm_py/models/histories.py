"""What users met, given as lists of item ids, without saying who they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from wyrm_py.data.ids import IdMap
from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.errors import DataError


def history_codes(
    who: str, items: IdMap, given: Any, cure: str
) -> tuple[RaggedColumn, bool]:
    """Return histories as lists of codes, and whether it is one alone.

    Parameters
    ----------
    given : list of item ids, or a list of Q such lists
    cure : what is to be done about an empty history

    Raises
    ------
    DataError
        A history is empty.
    UnknownIdError
        An item has no code.
    """
    single = not (is_list(given) and any(map(is_list, given)))
    lists = [given] if single else given
    lengths = [_flat_length(history) for history in lists]
    if 0 in lengths:
        which = "the history" if single else f"history {lengths.index(0)}"
        raise DataError(
            f"{who}: a list of at least one item is required, {which} is empty or no "
            f"list. {cure}"
        )
    ids = given if single else [item for history in lists for item in history]
    return RaggedColumn(items.require(ids, who), np.cumsum([0, *lengths])), single


def each_once(histories: RaggedColumn, n_items: int) -> scipy.sparse.csr_array:
    """Return who met what: ones, shape (Q, n_items), each pair once."""
    ones = np.ones(len(histories.values), np.float32)
    rows = (ones, histories.values, histories.offsets)
    matrix = scipy.sparse.csr_array(rows, (len(histories), n_items), copy=True)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def is_list(value: Any) -> bool:
    """Tell a list or an array from an id."""
    has_length = hasattr(value, "__len__") and not isinstance(value, str | bytes)
    return has_length and getattr(value, "ndim", 1) > 0


def _flat_length(items: Any) -> int:
    """Return how many ids there are in a list; 0 if it is none, or of lists."""
    return len(items) if is_list(items) and not any(map(is_list, items)) else 0
