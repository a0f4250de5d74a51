"""Arrow columns as NumPy arrays. pyarrow is imported when one is there to be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import DTypeError


def missing_in(column: Any) -> NDArray[np.bool_]:
    """Return which rows of an Arrow column are null or NaN, shape (N,)."""
    mask = column.is_null(nan_is_null=True)
    missing: NDArray[np.bool_] = mask.to_numpy(zero_copy_only=False)
    return missing


def dictionaries(
    who: str, column: Any
) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Yield (different ids by first appearance, where they stand) of each chunk.

    Rows without an id point anywhere.

    Raises
    ------
    DTypeError
        Values of this type cannot be told apart.
    """
    import pyarrow as pa

    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        is_extended = isinstance(column.type, pa.BaseExtensionType)  # such as UUIDs
        for chunk in chunks:
            encoded = (chunk.storage if is_extended else chunk).dictionary_encode()
            ids = encoded.dictionary
            if is_extended:
                ids = pa.ExtensionArray.from_storage(column.type, ids)
            indices = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
            yield _to_numpy(ids), indices.astype(np.int64)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise DTypeError(
            f"{who}: ids must be numbers, strings or dates, got {column.type}."
        ) from error


def to_arrow(ids: NDArray[Any]) -> Any:
    """Return ids as an Arrow array that any number of rows can be taken from."""
    import pyarrow as pa

    array = pa.array(ids)
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        large = pa.large_string if pa.types.is_string(array.type) else pa.large_binary
        array = array.cast(large())  # offsets of 64 bits
    return array


def _to_numpy(values: Any) -> NDArray[Any]:
    import pyarrow.types as kinds

    one = values.type
    flat = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_timestamp)
    if any(check(one) for check in (*flat, kinds.is_date)):
        array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return array
    array = np.empty(len(values), object)
    array[:] = values.to_pylist()
    return array
