"""Where vectors of features, and own ones beside them, lie in the table of a side.

With features a side has one table for both. `fit` puts own vectors first; in a stream
rows are given out as users (items) and features appear: the own one, then the new
features it came with, so that numbers do not depend on how the stream is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.errors import CorruptCheckpointError

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Rows of a table (T, D) for R users (items) and F features.

    Attributes
    ----------
    own : int64 array, shape (R,); -1 where there is no own vector
    features : int64 array, shape (F,)
    count : int
        Rows of the table, T.
    parts : arrays of values, columns and starts
        Of `rows`, as a file has them.
    """

    own: Codes
    features: Codes
    count: int
    parts: tuple[NDArray[Any], ...]

    @classmethod
    def over(cls, own: Codes, features: Codes, rows: Any) -> Self:
        """Return places with a CSR matrix for their `rows`."""
        parts = rows.data, rows.indices, rows.indptr
        return cls(own, features, int(rows.shape[1]), parts)

    @cached_property
    def rows(self) -> Any:
        """What each is the sum of: float32 CSR (R, T), to be multiplied with the table.

        Raises
        ------
        CorruptCheckpointError
            These are no CSR rows.
        """
        try:
            return scipy.sparse.csr_array(self.parts, shape=(len(self.own), self.count))
        except ValueError:
            raise _damaged() from None

    @classmethod
    def first(cls, features: Any, identity: bool) -> Self:
        """Return those of a matrix (R, F): own rows, if there are any, come first."""
        count, columns = features.shape
        if not identity:
            return cls.over(np.full(count, -1), np.arange(columns), features)
        own = scipy.sparse.eye_array(count, dtype=np.float32)
        rows = scipy.sparse.hstack([own, features], format="csr")
        return cls.over(np.arange(count), count + np.arange(columns), rows)

    def and_rows(self, features: Any, identity: bool) -> Places:
        """Return these and further ones, of features (K, at least F)."""
        own, places, more = allot(features, self.features, self.count, identity)
        known = scipy.sparse.csr_array(self.rows)
        known.resize(known.shape[0], more.shape[1])
        rows = scipy.sparse.vstack([known, more], format="csr")
        return Places.over(np.concatenate([self.own, own]), places, rows)

    def of_features(self, table: Floats) -> Floats:
        """Return the rows of the features."""
        return table[self.features]

    def of_own(self, table: Floats) -> Floats:
        """Return own rows; zeros where there are none."""
        found = table[self.own]
        found[self.own < 0] = 0
        return found

    def table(self, features: Floats, own: Floats) -> Floats:
        """Return the table that `of_features` and `of_own` have taken from.

        Raises
        ------
        CorruptCheckpointError
            Places are outside of it.
        """
        table = np.zeros((self.count, *features.shape[1:]), np.float32)
        there = self.own >= 0
        try:
            table[self.features], table[self.own[there]] = features, own[there]
        except IndexError:
            raise _damaged() from None
        return table

    def to_arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return the arrays for a file."""
        arrays = dict(zip(_PARTS, self.parts, strict=True))
        arrays |= {"own_places": self.own, "places": self.features}
        arrays["count"] = np.array([self.count])
        return {f"{prefix}.{name}": array for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], prefix: str) -> Self:
        """Return what `to_arrays` gave, at once: rows are looked at when they serve."""
        names = ("own_places", "places", "count", *_PARTS)
        own, places, count, *parts = (arrays[f"{prefix}.{name}"] for name in names)
        return cls(own, places, int(count[0]), tuple(parts))


_PARTS = ("values", "columns", "starts")


def _damaged() -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "The features of the model are damaged. Use another copy of the file."
    )


def allot(
    features: Any, places: Codes, count: int, identity: bool
) -> tuple[Codes, Codes, Any]:
    """Give out rows of a table of `count` rows for newcomers and their features.

    Parameters
    ----------
    features : float32 CSR matrix, shape (K, F), canonical
        Every feature beyond those that have a place is in one of the rows.
    places : int64 array, shape (at most F,)
    identity : bool
        Whether newcomers get rows of their own.

    Returns
    -------
    own : int64 array, shape (K,); -1 without identity
    places : int64 array, shape (F,)
    rows : float32 CSR matrix, shape (K, T)
    """
    known, newcomers = len(places), features.shape[0]
    codes, edges = features.indices, features.indptr.astype(np.int64)
    order, each = np.arange(newcomers), int(identity)
    own_at = (edges[:-1] + order)[: newcomers * each]  # among all that is to be stored
    at = np.arange(len(codes)) + each * np.repeat(order + 1, np.diff(edges))
    fresh, first = np.unique(codes, return_index=True)
    first = first[fresh >= known]
    takes = np.zeros(len(codes) + len(own_at), np.int64)
    takes[own_at], takes[at[first]] = 1, 1
    numbers = count - 1 + np.cumsum(takes)
    more = np.empty(features.shape[1] - known, np.int64)
    more[codes[first] - known] = numbers[at[first]]
    places = np.concatenate([places, more])
    own = numbers[own_at] if identity else np.full(newcomers, -1)
    columns, values = np.empty(len(takes), np.int64), np.ones(len(takes), np.float32)
    columns[own_at], columns[at], values[at] = (
        own[: len(own_at)],
        places[codes],
        (features.data),
    )
    ends = edges + each * np.arange(newcomers + 1)
    shape = newcomers, count + int(takes.sum())
    return own, places, scipy.sparse.csr_array((values, columns, ends), shape=shape)
