"""Interactions: who met which item, how and when, as codes with tables of the ids.

What the recommenders train on. `Interactions.of` takes what users have in memory,
`read_ratings` in readers.py reads a file, split.py cuts train and test parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.arrow import to_arrow
from wyrm_py.data.codes import checked_codes
from wyrm_py.data.events import COLUMNS, Events, joined
from wyrm_py.data.histories import Histories
from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.data.ragged import RaggedColumn, gather_spans
from wyrm_py.data.roles import ROLES, Wanted
from wyrm_py.data.rows import as_rows, batch_rows, even_rows
from wyrm_py.data.tables import events_of
from wyrm_py.errors import DataError, ShapeError
from wyrm_py.seeds import RandomState, generator
from wyrm_py.values import require_inside

if TYPE_CHECKING:  # slow to import: waits until it is asked for
    import pyarrow as pa


class Interactions:
    """N interactions of U users with I items.

    The columns `users`, `items`, `ratings`, `timestamps`, `weights` are the triplet
    (COO) form; `csr()` and `histories()` are compressed by user. Every method leaves
    the interactions as they are and returns new ones over the same ids.

    Parameters
    ----------
    users, items : ids of any one type, shape (N,)
        As `IdMap` takes them; a negative number is an id like another. Codes with a
        known number of users go to `from_codes`, dataframes and matrices to `of`.
    ratings : finite numbers, shape (N,), or None
        None stands for implicit feedback: 1.0 everywhere.
    timestamps : numbers or `datetime64`, shape (N,), or None
        Fractions are cut off.
    weights : finite numbers of at least zero, shape (N,), or None

    Attributes
    ----------
    users : int32 array, shape (N,), in [0, U)
    items : int32 array, shape (N,), in [0, I)
    ratings : float32 array, shape (N,)
    timestamps : int64 array, shape (N,), or None
        Seconds since 1970 where they were dates, else as given.
    weights : float32 array, shape (N,), or None
    user_ids, item_ids : arrays, shape (U,) and (I,)
        The ids as they were given, in order of first appearance. Strings are held
        in object arrays.

    Raises
    ------
    DTypeError
        Ids are of mixed or unusable types, or a column does not hold numbers.
    DataError
        There are no interactions, an id is missing (None or NaN), or a number is NaN,
        infinite or out of range. Rows are counted from 0.
    ShapeError
        The columns are not of one length.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]
    timestamps: NDArray[np.int64] | None
    weights: NDArray[np.float32] | None
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]

    def __init__(
        self,
        users: Ids,
        items: Ids,
        ratings: ArrayLike | None = None,
        timestamps: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        who = "Interactions"
        events = Events(users, items, ratings, timestamps, weights, who=who)
        self._number([events])

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        user: Wanted = None,
        item: Wanted = None,
        rating: Wanted = None,
        timestamp: Wanted = None,
        weight: Wanted = None,
    ) -> Interactions:
        """Return the interactions in what is at hand.

        Parameters
        ----------
        data : Interactions, returned as they are
        data : scipy sparse matrix, shape (U, I)
            The stored entries, zeros and repeated ones too, are the ratings; the ids
            are the numbers of rows and columns, also of those without entries.
        data : dataframe (pandas, polars, ...), Arrow table or record batch
            The columns of users, items, ratings and timestamps are known by usual
            names such as `userId`, or are named below.
        data : array, shape (N, 2), (N, 3) or (N, 4)
            Users, items, ratings, timestamps. In an array of floats the ids must be
            whole numbers and become integers.
        data : list of events, as `wp.data.stream` takes them
        user, item, rating, timestamp, weight : str, int or None
            Name or position (from 0) of a column. Weights are only taken when they
            are named.

        Raises
        ------
        MissingColumnError
            A column is not there; the message lists those there are.
        DTypeError, DataError, ShapeError
            As for the class; or the data is none of these.
        """
        if isinstance(data, cls):
            return data
        if scipy.sparse.issparse(data):
            return cls._of_matrix(data)
        wanted = dict(zip(ROLES, (user, item, rating, timestamp, weight), strict=True))
        return cls.from_chunks([events_of("Interactions.of", data, wanted)])

    @classmethod
    def _of_matrix(cls, matrix: Any) -> Interactions:
        require_inside("Interactions.of: this", matrix)
        entries = matrix.tocoo()
        if len(entries.shape) != 2:
            raise ShapeError(
                "Interactions.of: a matrix of users and items is required, got shape "
                f"{entries.shape}."
            )
        users, items = (np.arange(size) for size in entries.shape)
        return cls.from_codes(
            *(entries.row, entries.col, entries.data), user_ids=users, item_ids=items
        )

    @classmethod
    def from_chunks(cls, chunks: Iterable[Events]) -> Interactions:
        """Return the interactions of all chunks, such as those of `wp.data.stream`.

        Parameters
        ----------
        chunks : iterable of Events
            Read one at a time; the codes are all that is kept of them.

        Raises
        ------
        DataError
            There is no chunk, or a column is in some only.
        """
        made = cls.__new__(cls)
        made._number(chunks)
        return made

    def _number(self, chunks: Iterable[Events]) -> None:
        """Take over the columns of chunks, their ids as codes."""
        user_map, item_map = IdMap(kind="user"), IdMap(kind="item")
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for chunk in chunks:
            columns["users"].append(user_map.add(chunk.users).astype(np.int32))
            columns["items"].append(item_map.add(chunk.items).astype(np.int32))
            for name in COLUMNS[2:]:
                columns[name].append(getattr(chunk, name))
        if not columns["users"]:
            raise DataError(
                "Interactions: at least one is required, got no interactions."
            )
        for name in COLUMNS:
            setattr(self, name, joined(name, columns.pop(name)))
        if self.ratings is None:
            self.ratings = np.ones(len(self.users), np.float32)
        self.user_ids, self.item_ids = user_map.ids, item_map.ids

    @classmethod
    def from_codes(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        ratings: ArrayLike | None = None,
        timestamps: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        user_ids: NDArray[Any] | None = None,
        item_ids: NDArray[Any] | None = None,
    ) -> Interactions:
        """Return interactions of users and items that are numbered already.

        Parameters
        ----------
        users, items : integers, shape (N,), in [0, U) and [0, I)
        ratings, timestamps, weights
            As for the class.
        user_ids, item_ids : arrays, shape (U,) and (I,), or None
            What the codes stand for, also those that do not occur: for 943 users
            without other ids give `np.arange(943)`. None goes up to the largest code.

        Raises
        ------
        IndexRangeError
            A code is negative, or not in its table.
        DTypeError, DataError, ShapeError
            As for the class.
        """
        events = Events(
            *(users, items, ratings, timestamps, weights), who="Interactions"
        )
        made = cls.__new__(cls)
        made.users, made.user_ids = checked_codes("users", users, user_ids)
        made.items, made.item_ids = checked_codes("items", items, item_ids)
        made.timestamps, made.weights = events.timestamps, events.weights
        ones = np.ones(len(events), np.float32)
        made.ratings = ones if events.ratings is None else events.ratings
        return made

    def __len__(self) -> int:
        """Return the number of interactions, N."""
        return len(self.users)

    def __repr__(self) -> str:
        return (
            f"Interactions({len(self)} of {self.n_users} users, {self.n_items} items)"
        )

    @property
    def n_users(self) -> int:
        """Number of users, U, those without an interaction included."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items, I, those without an interaction included."""
        return len(self.item_ids)

    @property
    def shape(self) -> tuple[int]:
        """(N,), as of an array: scikit-learn takes it as the number of samples."""
        return (len(self),)

    def __getitem__(self, rows: Any) -> Interactions:
        """Return the interactions in some rows, as `take` does."""
        if isinstance(rows, tuple) and rows[1:] == (Ellipsis,):  # of scikit-learn
            rows = rows[0]
        return self.take(rows)

    def take(self, rows: Any) -> Interactions:
        """Return the interactions in some rows, in that order, over the same ids.

        Parameters
        ----------
        rows : slice, integers of shape (K,) in [0, N), or a mask of shape (N,)

        Raises
        ------
        DataError
            No row is chosen.
        IndexRangeError, ShapeError
            The rows are not in the data.
        """
        chosen = as_rows("Interactions.take", rows, len(self))
        part = type(self).__new__(type(self))
        part.user_ids, part.item_ids = self.user_ids, self.item_ids
        part.users, part.items = self.users[chosen], self.items[chosen]
        part.ratings = self.ratings[chosen]
        part.timestamps = None if self.timestamps is None else self.timestamps[chosen]
        part.weights = None if self.weights is None else self.weights[chosen]
        if len(part) == 0:
            raise DataError(
                "Interactions.take: at least one interaction must be left, got no "
                "interactions."
            )
        return part

    def shuffle(self, random_state: RandomState = None) -> Interactions:
        """Return the interactions in a random order, each order as likely as another.

        Parameters
        ----------
        random_state : int >= 0, Generator, RandomState or None
            The same seed gives the same order.
        """
        order = generator("Interactions.shuffle", random_state).permutation(len(self))
        return self.take(order)

    def batches(self, size: int, drop_last: bool = False) -> Iterator[Interactions]:
        """Return an iterator over consecutive batches.

        Parameters
        ----------
        size : int >= 1
        drop_last : bool
            Leave out a last batch of fewer than `size` interactions.

        Raises
        ------
        SettingError
            The size is impossible, or everything would be left out.
        """
        cuts = batch_rows("Interactions.batches", len(self), size, drop_last)
        return (self.take(rows) for rows in cuts)

    def partitions(self, n: int) -> list[Interactions]:
        """Return n runs of interactions that cover all; sizes differ by one at most.

        Parameters
        ----------
        n : int in [1, N]

        Raises
        ------
        SettingError
            `n` is out of range.
        """
        cuts = even_rows("Interactions.partitions", "n", len(self), n, least=1)
        return [self.take(rows) for rows in cuts]

    def histories(self) -> Histories:
        """Return the items of each user in the order of time, one history a user.

        Equal times stay in the order of the data, which is the order where there are
        no timestamps. A user without interactions has an empty history.
        """
        if self.timestamps is None:
            order = np.argsort(self.users, kind="stable")
        else:
            order = np.lexsort((self.timestamps, self.users))
        counts = np.bincount(self.users, minlength=self.n_users)
        starts = np.cumsum(counts) - counts
        column = RaggedColumn(*gather_spans(self.items[order], starts, counts))
        return Histories(np.arange(self.n_users, dtype=np.int32), column, order)

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table of N rows with ids, as dataframe libraries take it.

        Its columns are "user", "item", "rating" and, where there are any, "timestamp"
        (int64) and "weight".
        """
        import pyarrow as pa

        columns: dict[str, Any] = {
            "user": to_arrow(self.user_ids).take(pa.array(self.users)),
            "item": to_arrow(self.item_ids).take(pa.array(self.items)),
            "rating": self.ratings,
        }
        if self.timestamps is not None:
            columns["timestamp"] = self.timestamps
        if self.weights is not None:
            columns["weight"] = self.weights
        return pa.table(columns)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Hand over the table of `to_arrow`: `polars.DataFrame(interactions)`."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def csr(self) -> scipy.sparse.csr_array:
        """Return who met what: float32 ones, shape (U, I), columns sorted.

        A pair that occurs several times is stored once.
        """
        ones = np.ones(len(self), np.float32)
        shape = self.n_users, self.n_items
        matrix = scipy.sparse.csr_array((ones, (self.users, self.items)), shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix
