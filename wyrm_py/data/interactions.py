"""Interactions: who met which item, how and when, as codes with tables of the ids.

What the recommenders train on. `read_ratings` in readers.py makes them from a file,
split.py cuts them into train and test parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.histories import Histories
from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.data.ragged import RaggedColumn, gather_spans
from wyrm_py.data.rows import RandomState, as_rows, batch_rows, even_rows, generator
from wyrm_py.errors import DataError, DTypeError, IndexRangeError, ShapeError
from wyrm_py.values import as_array

_LATEST = 2.0**62  # seconds, so that they fit into 64 bits
_MOST_IDS = 2**31  # codes are int32


class Interactions:
    """N interactions of U users with I items.

    The columns `users`, `items`, `ratings`, `timestamps`, `weights` are the triplet
    (COO) form; `csr()` and `histories()` are compressed by user. Every method leaves
    the interactions as they are and returns new ones over the same ids.

    Parameters
    ----------
    users, items : ids of any one type, shape (N,)
        Two ids are the same when their text (`str`) is; a negative number is an id
        like another. Codes with a known number of users go to `from_codes`.
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
        _require_one_length(users, items, ratings, timestamps, weights)
        user_map, item_map = IdMap(kind="user"), IdMap(kind="item")
        user_codes = user_map.add(users).astype(np.int32)
        item_codes = item_map.add(items).astype(np.int32)
        self._fill(user_codes, item_codes, ratings, timestamps, weights)
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
        _require_one_length(users, items, ratings, timestamps, weights)
        made = cls.__new__(cls)
        user_codes, made.user_ids = _codes("users", users, user_ids)
        item_codes, made.item_ids = _codes("items", items, item_ids)
        made._fill(user_codes, item_codes, ratings, timestamps, weights)
        return made

    def _fill(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        ratings: Any,
        timestamps: Any,
        weights: Any,
    ) -> None:
        self.users, self.items = users, items
        if ratings is None:
            ratings = np.ones(len(users), np.float32)
        self.ratings = _floats("ratings", ratings)
        self.timestamps = None if timestamps is None else _seconds(timestamps)
        self.weights = None if weights is None else _floats("weights", weights)
        if self.weights is not None and self.weights.min() < 0:
            row = int(np.argmax(self.weights < 0))
            raise DataError(
                "Interactions: weights of zero or more are required, found "
                f"{self.weights[row]} in row {row}."
            )

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
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items, (U, I)."""
        return self.n_users, self.n_items

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
        random_state : int >= 0, Generator or None
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

    def csr(self) -> scipy.sparse.csr_array:
        """Return who met what: float32 ones, shape (U, I), columns sorted.

        A pair that occurs several times is stored once.
        """
        ones = np.ones(len(self), np.float32)
        matrix = scipy.sparse.csr_array((ones, (self.users, self.items)), self.shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


def _require_one_length(users: Any, items: Any, *others: Any) -> None:
    names = ("users", "items", "ratings", "timestamps", "weights")
    columns = zip(names, (users, items, *others), strict=True)
    shapes = {
        name: _shape(name, column) for name, column in columns if column is not None
    }
    for name, shape in shapes.items():
        if len(shape) != 1:
            raise ShapeError(
                f"Interactions: {name} in one dimension are required, got {shape}."
            )
    if len(set(shapes.values())) > 1:
        lengths = ", ".join(f"{n} {name}" for name, (n,) in shapes.items())
        raise ShapeError(
            f"Interactions: columns of one length are required, got {lengths}."
        )
    if shapes["users"] == (0,):
        raise DataError(
            "Interactions: at least one is required, got no interactions. Is the data "
            "empty, or filtered too far?"
        )


def _shape(name: str, column: Any) -> tuple[int, ...]:
    if isinstance(column, str) or not hasattr(column, "__len__"):
        raise DTypeError(
            f"Interactions: {name} must be an array or a list, got {column!r}."
        )
    shape: tuple[int, ...] = as_array(f"Interactions: {name}", column).shape
    return shape


def _codes(
    name: str, given: ArrayLike, ids: NDArray[Any] | None
) -> tuple[NDArray[np.int32], NDArray[Any]]:
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


def _floats(name: str, given: Any) -> NDArray[np.float32]:
    array = as_array(f"Interactions: {name}", given)
    if array.dtype.kind not in "fiub":
        raise DTypeError(
            f"Interactions: {name} must be numbers, got dtype {array.dtype}."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is named below
        values = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise DataError(
            f"Interactions: finite {name} are required, found {array[row]} in row "
            f"{row}. Leave such rows out."
        )
    return values


def _seconds(given: Any) -> NDArray[np.int64]:
    array = as_array("Interactions: timestamps", given)
    if array.dtype.kind == "M":
        bad = np.isnat(array)
        array = array.astype("datetime64[s]").astype(np.int64)
    elif array.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(array.astype(np.float64)) < _LATEST)
    else:
        raise DTypeError(
            "Interactions: timestamps must be numbers or datetime64, got dtype "
            f"{array.dtype}. Convert dates with `np.array(dates, 'datetime64[s]')`."
        )
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            "Interactions: timestamps that fit into 64 bits are required, found "
            f"{as_array('timestamps', given)[row]} in row {row}. Leave such rows out."
        )
    return np.ascontiguousarray(array).astype(np.int64)
