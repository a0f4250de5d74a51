"""Ratings: who gave what to which item, as integer codes with tables of the ids.

`Ratings` is what the recommenders train on. `read_ratings` in readers.py makes one
from a file, `Ratings.from_ids` from arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.errors import DataError, DTypeError, IndexRangeError, ShapeError


@dataclass(frozen=True, eq=False)
class Ratings:
    """N ratings of U users for I items.

    Attributes
    ----------
    users : int32 array, shape (N,), in [0, U)
    items : int32 array, shape (N,), in [0, I)
    ratings : float32 array, shape (N,), finite
        1.0 where the data has no ratings (implicit feedback).
    timestamps : int64 array, shape (N,), or None
        Seconds since 1970 where the source holds dates, else as given.
    user_ids, item_ids : arrays, shape (U,) and (I,)
        The ids as they were given, in order of first appearance; two ids are the
        same when their text (`str`) is. Strings are held in object arrays.

    Raises
    ------
    ShapeError
        The columns are not of one length.
    IndexRangeError
        A code is not in its table.
    DataError
        There are no ratings, or one is NaN or infinite.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]
    timestamps: NDArray[np.int64] | None
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]

    def __post_init__(self) -> None:
        columns: dict[str, NDArray[Any]] = {
            "users": self.users,
            "items": self.items,
            "ratings": self.ratings,
        }
        if self.timestamps is not None:
            columns["timestamps"] = self.timestamps
        shapes = {name: column.shape for name, column in columns.items()}
        if any(shape != (len(self.users),) for shape in shapes.values()):
            raise ShapeError(
                f"Ratings: columns of one length are required, got {shapes}."
            )
        if len(self.users) == 0:
            raise DataError("Ratings: at least one rating is required, got none.")
        for name, codes, ids in (
            ("users", self.users, self.user_ids),
            ("items", self.items, self.item_ids),
        ):
            if codes.min() < 0 or codes.max() >= len(ids):
                raise IndexRangeError(
                    f"Ratings: {name} must be in [0, {len(ids)}), found "
                    f"{codes.min()} to {codes.max()}. For raw ids use "
                    "`Ratings.from_ids`."
                )
        if not np.isfinite(self.ratings).all():
            row = int(np.flatnonzero(~np.isfinite(self.ratings))[0])
            raise DataError(
                f"Ratings: finite ratings are required, found {self.ratings[row]} in "
                f"row {row}. Leave such rows out."
            )

    @classmethod
    def from_ids(
        cls,
        users: Sequence[Any] | ArrayLike,
        items: Sequence[Any] | ArrayLike,
        ratings: ArrayLike | None = None,
        timestamps: ArrayLike | None = None,
    ) -> Self:
        """Return ratings from columns of ids of any type.

        Parameters
        ----------
        users, items : arrays or lists of ids, shape (N,)
        ratings : floats, shape (N,), or None
            None stands for implicit feedback: 1.0 everywhere.
        timestamps : integers, shape (N,), or None

        Raises
        ------
        DTypeError
            The ids are of mixed or unusable types.
        DataError
            An id is missing (None or NaN), or a rating is NaN or infinite.
        ShapeError
            The columns are not of one length.
        """
        user_codes, user_ids = encode_ids(_to_arrow("users", users), "users")
        item_codes, item_ids = encode_ids(_to_arrow("items", items), "items")
        if ratings is None:
            ratings = np.ones(len(user_codes), np.float32)
        values = np.ascontiguousarray(ratings, np.float32)
        times = None if timestamps is None else np.ascontiguousarray(timestamps, "i8")
        return cls(user_codes, item_codes, values, times, user_ids, item_ids)

    def __len__(self) -> int:
        """Return the number of ratings."""
        return len(self.users)

    @property
    def n_users(self) -> int:
        """Number of users, those without a rating included."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items, those without a rating included."""
        return len(self.item_ids)

    def take(self, rows: NDArray[Any]) -> "Ratings":
        """Return the ratings in `rows` (positions or a mask) over the same ids.

        Raises
        ------
        DataError
            No row is chosen.
        """
        times = None if self.timestamps is None else self.timestamps[rows]
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            ratings=self.ratings[rows],
            timestamps=times,
        )

    def csr(self) -> scipy.sparse.csr_array:
        """Return who rated what: float32 ones, shape (U, I), columns sorted.

        A pair that occurs several times is stored once.
        """
        ones = np.ones(len(self), np.float32)
        shape = (self.n_users, self.n_items)
        matrix = scipy.sparse.csr_array((ones, (self.users, self.items)), shape=shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


def encode_ids(
    column: pa.ChunkedArray, name: str
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return codes, shape (N,), and the ids they stand for, shape (number of ids,).

    Raises
    ------
    DataError
        An id is missing; the message counts rows from 1.
    DTypeError
        Ids of this type cannot be told apart.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        encoded = column.dictionary_encode(null_encoding="mask").unify_dictionaries()
        chunks = [chunk.indices for chunk in encoded.chunks]
        ids = encoded.chunk(0).dictionary if chunks else pa.array([], column.type)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise DTypeError(
            f"{name}: ids must be numbers, strings or dates, got {column.type}."
        ) from error
    missing = column.is_null(nan_is_null=True)
    row = missing.index(True).as_py()
    if row >= 0:
        raise DataError(
            f"{name}: an id is required in every row, row {row + 1} has none."
        )
    codes = [chunk.to_numpy(zero_copy_only=False) for chunk in chunks]
    joined = np.concatenate(codes) if codes else np.empty(0)
    return joined.astype(np.int32), _to_numpy(ids)


def _to_numpy(ids: pa.Array) -> NDArray[Any]:
    if pa.types.is_integer(ids.type) or pa.types.is_floating(ids.type):
        return np.ascontiguousarray(ids.to_numpy(zero_copy_only=False))
    table = np.empty(len(ids), object)
    table[:] = ids.to_pylist()
    return table


def _to_arrow(name: str, ids: Sequence[Any] | ArrayLike) -> pa.ChunkedArray:
    values = np.asarray(ids) if not isinstance(ids, np.ndarray) else ids
    if values.ndim != 1:
        raise ShapeError(
            f"{name}: one dimension of ids is required, got shape {values.shape}."
        )
    if values.dtype.kind in "UOST" or values.dtype.isnative is False:
        values = list(ids)  # type: ignore[arg-type, assignment]
    try:
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DTypeError(
            f"{name}: ids of one type are required ({error}). Convert them with `str`."
        ) from error
