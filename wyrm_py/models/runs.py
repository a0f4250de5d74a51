"""Histories as sequence models take them: CSR rows, in runs, or the last items."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.data.interactions import Interactions
from wyrm_py.data.ragged import RaggedColumn, gather_spans
from wyrm_py.errors import DataError


def history_rows(histories: RaggedColumn, items: int, weights: Any = None) -> Any:
    """Return histories as CSR rows whose entries stand in the order of time."""
    values = np.ones(len(histories.values), np.float32) if weights is None else weights
    rows = values, histories.values, histories.offsets
    return scipy.sparse.csr_array(rows, (len(histories), items))


def last_items(histories: RaggedColumn, size: int) -> RaggedColumn:
    """Return the last items of each history, at most `size`."""
    lengths = np.minimum(np.diff(histories.offsets), size)
    starts = histories.offsets[1:] - lengths
    return RaggedColumn(*gather_spans(histories.values, starts, lengths))


def runs(data: Interactions, size: int, who: str) -> Any:
    """Return runs of items as CSR rows of weights, of those with one to predict.

    The first item of a run has nothing before it: its weight is zero.
    """
    histories = data.histories()
    weights = np.ones(len(data), np.float32) if data.weights is None else data.weights
    if np.diff(histories.items.offsets).max(initial=0) >= 2:
        chunks = histories.chunks(size, shortest=2)
        weights, starts = weights[chunks.rows], chunks.items.offsets[:-1]
        weights[starts] = 0
        teaches = np.add.reduceat(weights, starts) > 0
        if teaches.any():
            return history_rows(chunks.items, data.n_items, weights)[teaches]
    raise DataError(
        f"{who}: a user with at least two items is required, so that one that has a "
        "weight follows another. Is the data filtered too far?"
    )


def continued(
    data: Interactions,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    recent: RaggedColumn,
    n_items: int,
) -> Interactions:
    """Return interactions after what their users did before, which weighs nothing.

    Parameters
    ----------
    data : Interactions
    users, items : int64 arrays, shape (U,) and (I,)
        What the codes of `data` are among all users and items.
    recent : RaggedColumn
        The last items of the users known before.
    n_items : int
        Of all items.
    """
    known = np.flatnonzero(users < len(recent))
    before = recent[users[known]]
    order = data.histories().rows
    weights = np.ones(len(data)) if data.weights is None else data.weights
    owners = np.repeat(known, np.diff(before.offsets))
    return Interactions.from_codes(
        np.concatenate([owners, data.users[order]]),
        np.concatenate([before.values, items[data.items[order]]]),
        weights=np.concatenate([np.zeros(len(before.values)), weights[order]]),
        user_ids=data.user_ids,
        item_ids=np.arange(n_items),
    )


def replaced(
    old: RaggedColumn, places: NDArray[np.int64], new: RaggedColumn, count: int
) -> RaggedColumn:
    """Return lists of which those at some places are new ones; `count` in all."""
    starts, lengths = np.zeros((2, count), np.int64)
    starts[: len(old)], lengths[: len(old)] = old.offsets[:-1], np.diff(old.offsets)
    starts[places] = new.offsets[:-1] + len(old.values)
    lengths[places] = np.diff(new.offsets)
    return RaggedColumn(
        *gather_spans(np.concatenate([old.values, new.values]), starts, lengths)
    )
