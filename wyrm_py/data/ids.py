"""Ids of users or items: numbered, found by their text, kept without pickle."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DTypeError,
    UnknownIdError,
)

if TYPE_CHECKING:  # slow to import: waits until ids are encoded
    import pyarrow as pa

Ids = Sequence[Any] | ArrayLike

_COMPARED = 20_000  # ids looked through for similar ones, to answer at once


class IdTable:
    """The ids behind codes 0, 1, ...

    Parameters
    ----------
    ids : array, shape (R,)
        Of any type; no two with the same text.
    kind : str
        "user" or "item", for messages.
    """

    def __init__(self, ids: NDArray[Any], kind: str) -> None:
        self.ids = ids
        self.kind = kind

    def __len__(self) -> int:
        """Return the number of ids, R."""
        return len(self.ids)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {str(known): code for code, known in enumerate(self.ids)}

    def code(self, wanted: object) -> int:
        """Return the code of an id, which is matched by its text.

        Raises
        ------
        UnknownIdError
            There is no such id; the message names similar ones.
        """
        code = self._codes.get(str(wanted))
        if code is None:
            raise UnknownIdError(
                f"{self.kind} {str(wanted)!r} is not among the {len(self)} "
                f"{self.kind}s of the model. {self._hint(str(wanted))}"
            )
        return code

    def _hint(self, wanted: str) -> str:
        some = list(self._codes)[:_COMPARED]
        close = difflib.get_close_matches(wanted.strip(), some, n=3, cutoff=0.6)
        if close:
            return "Did you mean " + " or ".join(map(repr, close)) + "?"
        return "Known are " + ", ".join(map(repr, some[:3])) + ", ..."

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays of numbers that hold the ids: integers, or their text."""
        prefix = f"{self.kind}_ids"
        if self.ids.dtype.kind in "iu":
            return {prefix: np.ascontiguousarray(self.ids)}
        text = [str(known).encode() for known in self.ids]
        return {
            f"{prefix}.text": np.frombuffer(b"".join(text), np.uint8),
            f"{prefix}.ends": np.cumsum([len(part) for part in text], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], kind: str) -> Self:
        """Return the table of `to_arrays`; ids that are no integers become text.

        Raises
        ------
        CorruptCheckpointError
            The arrays do not belong together.
        """
        prefix = f"{kind}_ids"
        if prefix in arrays:
            return cls(arrays[prefix], kind)
        try:
            content = arrays[f"{prefix}.text"].tobytes()
            ends = arrays[f"{prefix}.ends"].tolist()
            edges = [0, *ends]
            if edges != sorted(edges) or edges[-1] != len(content):
                raise ValueError("the ends of the ids are not in order")
            ids = np.empty(len(ends), object)
            pairs = zip(edges[:-1], ends, strict=True)
            ids[:] = [content[begin:end].decode() for begin, end in pairs]
        except (KeyError, ValueError) as error:
            raise CorruptCheckpointError(
                f"The {kind} ids of the model cannot be read ({error})."
            ) from error
        return cls(ids, kind)


def encode_ids(
    column: pa.ChunkedArray, name: str, first_row: int = 0
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return codes, shape (N,), and the ids they stand for, shape (number of ids,).

    Raises
    ------
    DataError
        An id is missing; the message counts rows from `first_row`.
    DTypeError
        Ids of this type cannot be told apart.
    """
    import pyarrow as pa

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
            f"{name}: an id is required in every row, row {row + first_row} has none."
        )
    codes = [chunk.to_numpy(zero_copy_only=False) for chunk in chunks]
    joined = np.concatenate(codes) if codes else np.empty(0)
    return joined.astype(np.int32), _to_numpy(ids)


def _to_numpy(ids: pa.Array) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_integer(ids.type) or pa.types.is_floating(ids.type):
        return np.ascontiguousarray(ids.to_numpy(zero_copy_only=False))
    table = np.empty(len(ids), object)
    table[:] = ids.to_pylist()
    return table


def ids_to_arrow(name: str, ids: Ids) -> pa.ChunkedArray:
    """Return a column of ids of any one type, shape (N,), as Arrow holds it.

    Raises
    ------
    DTypeError
        The ids are of mixed or unusable types.
    """
    import pyarrow as pa

    values = np.asarray(ids) if not isinstance(ids, np.ndarray) else ids
    if values.dtype.kind in "UOST" or values.dtype.isnative is False:
        values = list(ids)  # type: ignore[arg-type, assignment]
    try:
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DTypeError(
            f"{name}: ids of one type are required ({error}). Convert them with `str`."
        ) from error
