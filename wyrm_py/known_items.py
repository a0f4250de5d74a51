"""Index nodes over what a user knows already, for losses of order statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from wyrm_py.errors import DataError, GraphError, SettingError
from wyrm_py.leaves import Constant
from wyrm_py.nodes import Node, apply
from wyrm_py.ops.gather import kept_rows
from wyrm_py.ops.known_items import KthBest, SampleKnown
from wyrm_py.ops.sampling import INDEX
from wyrm_py.values import as_csr


def sample_known(user: Node, known: Any, count: int) -> Node:
    """Draw some of the rows that each user knows, evenly and with repetition.

    Parameters
    ----------
    user : index node, shape (b,), in [0, U)
    known : scipy.sparse matrix, shape (U, R); its stored entries are what users know.
        Copied
    count : int >= 1, draws of each user

    Returns
    -------
    index node, shape (b, count), values in [0, R); 0 for a user who knows nothing. No
    gradient; drawn anew at each `forward` and each step

    Raises
    ------
    GraphError, ShapeError, DTypeError
        If `user` is no index node of one axis.
    DataError
        If `known` is no well-formed sparse matrix, or nobody knows anything.
    SettingError
        If `count` is below one.
    """
    _require_node("sample_known", user)
    draws = _at_least_one("sample_known", "count", count)
    rows = as_csr("sample_known", known)
    if rows.nnz == 0:
        raise DataError("sample_known: `known` stores nothing to draw from.")
    limit = Constant(np.broadcast_to(np.int64(0), (rows.shape[1],)), INDEX)
    starts = Constant(np.array(rows.indptr, INDEX), INDEX)
    tables = starts, Constant(kept_rows(rows.indices, rows.shape[1]), INDEX)
    return apply(SampleKnown(draws), limit, user, *tables)[0]


def kth_best(scores: Node, rows: Node, k: int) -> Node:
    """Choose the row number with the k-th largest score of each line.

    Parameters
    ----------
    scores : node, shape (b, n)
    rows : index node, shape (b, n)
    k : int in [1, n]; 1 is the best

    Returns
    -------
    index node, shape (b,). No gradient

    Raises
    ------
    GraphError, ShapeError, DTypeError
        If these are no nodes of those shapes, or k is above n.
    SettingError
        If k is below one.
    """
    _require_node("kth_best", scores)
    _require_node("kth_best", rows)
    return apply(KthBest(_at_least_one("kth_best", "k", k)), scores, rows)[0]


def _require_node(who: str, given: Any) -> None:
    if not isinstance(given, Node):
        raise GraphError(f"{who}: takes nodes, got {given!r}.")


def _at_least_one(who: str, name: str, given: Any) -> int:
    whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
    if not whole or given < 1:
        raise SettingError(
            f"{who}: {name} must be an integer of at least one, got {given!r}."
        )
    return int(given)
