"""Features of the users or of the items of a stream: named, numbered, kept in rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.data.hash_table import Grown
from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import MOST_IDS, IdMap
from wyrm_py.errors import DTypeError
from wyrm_py.growing_rows import GrowingRows
from wyrm_py.models.feature_names import Described, in_python, look_up, newcomers
from wyrm_py.models.feature_places import Places, allot
from wyrm_py.models.features import feature_rows, is_matrix, require_columns

Allotted = tuple[NDArray[np.int64], NDArray[np.int64], Any]


class SideFeatures:
    """What users (or items) are the sums of, as it grows.

    Attributes
    ----------
    names : IdMap of F features
    own, at : Grown, int64
        `Places.own` and `Places.features`.
    rows : GrowingRows, shape (R, T), of a table of T rows
    """

    def __init__(self, names: IdMap, own: Grown, at: Grown, rows: GrowingRows) -> None:
        self.names, self.own, self.at, self.rows = names, own, at, rows

    def matrix(self) -> Any:
        """Return what each is the sum of, times the table: float32 CSR, (R, T).

        Of the R that `own` tells of: `rows` of another process may have more by now.
        """
        starts, columns, values = self.rows.views()
        end = int(starts[len(self.own)])
        rows = values[:end], columns[:end], starts[: len(self.own) + 1]
        table = len(self.at) + int((self.own.held >= 0).sum())
        return scipy.sparse.csr_array(rows, (len(self.own), table))

    @property
    def places(self) -> Places:
        """Where everything lies now: a copy."""
        own, at = self.own.held.copy(), self.at.held.copy()
        return Places.over(own, at, self.matrix().copy())


class StreamFeatures(SideFeatures):
    """The features of a stream, which it learns of as users (or items) appear.

    Parameters
    ----------
    side : "user" or "item"
    names : IdMap of the features known so far
    places : Places
    identity : bool
        Whether newcomers get vectors of their own.
    reserved : int
        Users or items that address space is set aside for.
    """

    def __init__(
        self, side: str, names: IdMap, places: Places, identity: bool, reserved: int
    ) -> None:
        self.side, self.identity = side, identity
        own, at = (
            Grown(part.astype(np.int64)) for part in (places.own, places.features)
        )
        room = min(max(reserved, len(places.own), 1), MOST_IDS)
        super().__init__(names, own, at, GrowingRows(places.rows, room))

    @property
    def count(self) -> int:
        """Rows of the table in use, T."""
        return self.rows.shape[1]

    def describe(self, known: IdMap, given: Ids, source: Any) -> Described | None:
        """Return the features of those among ids that are new, in their order, if any.

        New are also those that a call which was interrupted has left without a row.

        Parameters
        ----------
        known : IdMap of the users (items) so far
        given : ids, what `IdMap.add` takes
        source : mapping or function of an id, or None

        Raises
        ------
        DTypeError, DataError, ShapeError
            Features or ids are not as they must be.
        """
        who = f"partial_fit: {self.side}_features"
        new = newcomers(known, given)
        if len(known) > len(self.own):
            left = known.take(np.arange(len(self.own), len(known)))
            new = in_python(IdMap(left, known.kind)) + new
        if not new:
            return None
        rows = [None] * len(new) if source is None else look_up(source, new)
        return self.named(who, rows)

    def of_rows(self, who: str, features: Any, count: int) -> Described:
        """Return the features of `count` newcomers as `FeatureVectors.matrix` takes.

        Raises
        ------
        ShapeError, DTypeError, DataError
            As there.
        """
        if not is_matrix(features):
            found = self.named(who, features)
            feature_rows(who, "features", found.matrix, count, "ids")
            return found
        matrix = feature_rows(who, "features", features, count, "ids")
        require_columns(who, "features", matrix, len(self.names))
        return Described(self.names, matrix)

    def named(self, who: str, rows: Any) -> Described:
        """Return the features of newcomers, of names of the same type as before."""
        found = Described.of(who, f"{self.side}_feature", rows)
        if found.names.type not in (None, self.names.type or found.names.type):
            raise DTypeError(
                f"{who}: names of type {self.names.type} are required, as those "
                f"before, got {found.names.type}. Of a model that was fitted with a "
                "matrix they are the numbers of its columns."
            )
        return found

    def allot(self, new: Described) -> Allotted:
        """Number newcomers and their features; return what `append` takes."""
        matrix, known = new.matrix, len(self.names)
        codes = np.empty(0, np.int64)
        if len(new.names):
            codes = self.names.codes(new.names.ids)
            fresh = codes < 0
            codes[fresh] = np.arange(known, known + int(fresh.sum()))
            known, codes = known + int(fresh.sum()), codes[matrix.indices]
        parts = matrix.data, codes, matrix.indptr
        matrix = scipy.sparse.csr_array(parts, (matrix.shape[0], known))
        matrix.sort_indices()
        return allot(matrix, self.at.held, self.count, self.identity)

    def append(self, new: Described, allotted: Allotted) -> None:
        """Take in newcomers, once the tables have rows for all of it."""
        own, places, rows = allotted
        self.rows.append(rows)  # refused, or in memory that is full: nothing changed
        self.own.extend(own)
        self.at.extend(places[len(self.at) :])
        if len(new.names):
            self.names.add(new.names.ids)
