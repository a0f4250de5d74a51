"""Samplers as the user calls them: nodes of `ops.sampling` and `ops.warp`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from wyrm_py.errors import DataError, GraphError, SettingError, ShapeError
from wyrm_py.graph.op import Array
from wyrm_py.growing_rows import GrowingRows
from wyrm_py.leaves import Constant
from wyrm_py.nodes import Node, apply
from wyrm_py.ops.gather import kept_rows
from wyrm_py.ops.sampling import (
    INDEX,
    SamplePopular,
    SampleUniform,
    SampleUpTo,
    alias_tables,
    require_counts,
    require_draws,
    require_rows,
    require_user,
)
from wyrm_py.ops.warp import SampleWarp, known_sieve
from wyrm_py.sparse_rows import csr_constants
from wyrm_py.values import require_inside


def sample_uniform(
    like: Node,
    rows: int | None = None,
    known: Any = None,
    user: Node | None = None,
    last: Node | None = None,
    draws: int | None = None,
) -> Node:
    """Draw rows evenly, anew at each `forward` and each step.

    Parameters
    ----------
    like : index node whose shape the draw takes
    rows : number of rows to draw from, in [1, 2**32)
    known : scipy.sparse (users, rows) or None; rows never drawn for a user
    user : index node of the example's user, given together with `known`
    last : index node, shape (b,); the last row to draw of each example, in place of
        `rows`. For tables that grow: the newest row that there was at the example
    draws : int >= 1, or None; rows to draw for each element of `like`, as one more
        axis. Each is drawn by itself: some may be the same

    Returns
    -------
    index node of the shape of `like`, or (*like.shape, draws), values in [0, rows) or
    [0, last]; no gradient

    Raises
    ------
    DataError
        If a user knows all rows.
    GraphError
        If `last` comes with `rows`, `known` or `user`.
    """
    _require_nodes("sample_uniform", like)
    draws = require_draws("sample_uniform", draws)
    if last is not None:
        _require_nodes("sample_uniform", last)
        if rows is not None or known is not None or user is not None:
            raise GraphError(
                "sample_uniform: `last` stands in place of `rows`, and goes with "
                "neither `known` nor `user`. Leave the others out."
            )
        return apply(SampleUpTo(draws), like, last)[0]
    count = require_rows("sample_uniform", rows)
    more = _known("sample_uniform", known, user, count)
    limit = Constant(np.broadcast_to(np.int64(0), (count,)), INDEX)
    return apply(SampleUniform(draws), like, limit, *more)[0]


def sample_popular(
    like: Node,
    counts: ArrayLike,
    known: Any = None,
    user: Node | None = None,
    draws: int | None = None,
) -> Node:
    """Draw rows in proportion to `counts`, anew at each `forward` and step.

    Parameters
    ----------
    like : index node whose shape the draw takes
    counts : array (rows,), finite, not negative, not all zero; raise them to
        0.75 first for word2vec's distribution
    known, user, draws : as for `sample_uniform`

    Returns
    -------
    index node of the shape of `like`, or (*like.shape, draws); no gradient
    """
    _require_nodes("sample_popular", like)
    draws = require_draws("sample_popular", draws)
    weights = require_counts("sample_popular", counts)
    require_rows("sample_popular", len(weights))
    more = _known("sample_popular", known, user, len(weights))
    tables = [Constant(table, INDEX) for table in alias_tables(weights)]
    return apply(SamplePopular(draws), like, *tables, *more)[0]


def sample_warp(
    query: Node,
    table: Node,
    positive_score: Node,
    bias: Node | None = None,
    known: Any = None,
    user: Node | None = None,
    margin: float = 1.0,
    max_tries: int = 10,
    last: Node | None = None,
    features: Any = None,
) -> tuple[Node, Node]:
    """Search a row that scores within `margin` of the positive: WARP.

    Draws rows evenly until query . table[row] + bias[row] is above
    positive_score - margin, at most `max_tries` times. With `features` F of a row the
    score is the sum over its features f of F[row, f] (query . table[f] + bias[f]).

    Parameters
    ----------
    query : node, shape (b, D)
    table : parameter node, shape (R, D); read live, no gradient passes
    positive_score : node, shape (b, 1)
    bias : parameter node, shape (R, 1), or None
    known, user : as for `sample_uniform`; a known row costs a try
    margin : float, finite
    max_tries : int >= 1
    last : index node, shape (b,), or None; the last row to draw of each example: then
        R below is last + 1
    features : scipy.sparse matrix, (I, R), GrowingRows of at most R columns, or None;
        then rows of it are drawn, and I stands for R in what is returned

    Returns
    -------
    row : index node, shape (b,)
    weight : node, shape (b, 1); ln(max(1, (R - 1) // tries)), the estimated
        rank's weight, 0 where nothing was found: a step of one example then
        changes nothing at all

    Source: Weston, Bengio, Usunier, "WSABIE: scaling up to large vocabulary
    image annotation" (IJCAI 2011), section 3; the weight as in LightFM.
    """
    whole = isinstance(max_tries, int | np.integer) and not isinstance(max_tries, bool)
    if not whole or max_tries < 1:
        raise SettingError(
            f"sample_warp: max_tries must be an integer above zero, got {max_tries!r}."
        )
    real = isinstance(margin, int | float | np.number) and not isinstance(margin, bool)
    if not real or not np.isfinite(margin):
        raise SettingError(
            f"sample_warp: margin must be a finite number, got {margin!r}."
        )
    nodes = [query, table, positive_score] + ([] if bias is None else [bias])
    _require_nodes("sample_warp", *nodes)
    count = require_rows("sample_warp", table.shape[0] if table.shape else 0)
    sums: list[Node] = []
    if features is not None:
        sums = _feature_rows(features, table)
        count = require_rows("sample_warp", sums[0].shape[0] - 1)
    more = _known("sample_warp", known, user, count)
    bounds = [] if last is None else [last]
    _require_nodes("sample_warp", *bounds)
    exact = False
    if more:
        sieve = known_sieve(more[1].value, more[2].value, count)
        if sieve is not None:
            exact = 64 * sieve.shape[1] >= count
            more.append(Constant(sieve, INDEX))
    given = (bias is not None, last is not None, features is not None, exact)
    op = SampleWarp(int(max_tries), float(margin), *given)
    biases = [] if bias is None else [bias]
    nodes = [query, table, positive_score, *biases, *bounds, *sums, *more]
    row, weight = apply(op, *nodes)
    return row, weight


def _feature_rows(features: Any, table: Node) -> list[Node]:
    """Return starts, column numbers and values of rows that add up those of a table."""
    who = "sample_warp: features"
    if isinstance(features, GrowingRows):
        features.require_table(who, table)
        return list(features.leaves(who, table.dtype))
    parts = csr_constants(who, features, table.dtype)
    if features.shape[1] != table.shape[0]:
        raise ShapeError(
            f"sample_warp: features need a column for each of the {table.shape[0]} "
            f"rows of the table, got {features.shape}."
        )
    return list(parts)


def _require_nodes(name: str, *given: Any) -> None:
    for node in given:
        if not isinstance(node, Node):
            raise GraphError(f"{name}: takes nodes, got {node!r}.")


def _known(name: str, known: Any, user: Node | None, rows: int) -> list[Node]:
    require_user(name, known, user)
    if user is None:
        return []
    _require_nodes(name, user)
    starts, members = _known_rows(name, known, rows)
    return [user, Constant(starts, INDEX), Constant(members, INDEX)]


def _known_rows(name: str, known: Any, rows: int) -> tuple[Array, Array]:
    """Return (starts, rows) of canonical CSR known positives: checked copies."""
    if not sparse.issparse(known):
        raise DataError(
            f"{name}: `known` must be a scipy.sparse matrix (users, rows), got "
            f"{type(known).__name__}."
        )
    if known.ndim != 2 or known.shape[1] != rows:
        raise ShapeError(
            f"{name}: `known` must be of shape (users, {rows}), as rows are drawn from "
            f"{rows}, got {known.shape}."
        )
    require_inside(f"{name}: `known`", known)
    matrix = sparse.csr_array(known)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()  # the caller's stays as it is
        matrix.sum_duplicates()  # sorts, and leaves each row once
    counts = np.diff(matrix.indptr)
    if counts.size and counts.max() >= rows:
        full = int(np.argmax(counts))
        raise DataError(
            f"{name}: user {full} knows all {rows} rows, so none is left to draw. "
            "Leave that user out of `known`."
        )
    return np.array(matrix.indptr, INDEX), kept_rows(matrix.indices, rows)
