"""The head of a safetensors file: which arrays it holds, and where.

Eight bytes with its length, little-endian, then JSON: {name: {"dtype": code, "shape":
[...], "data_offsets": [begin, end]}, "__metadata__": {text: text}}, then the arrays in
one piece (https://github.com/huggingface/safetensors, "Format"). Nothing in it is
trusted: arrays fill the file exactly, one after the other.
"""

from __future__ import annotations

import json
import math
import os
from typing import IO, Any, NamedTuple

import numpy as np

LARGEST = 100_000_000
"""Bytes of JSON: readers of the format take no more."""

CODES: dict[np.dtype[Any], str] = {
    np.dtype(np.float64): "F64",
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    np.dtype(np.int64): "I64",
    np.dtype(np.uint64): "U64",
    np.dtype(np.int32): "I32",
    np.dtype(np.uint32): "U32",
    np.dtype(np.int16): "I16",
    np.dtype(np.uint16): "U16",
    np.dtype(np.int8): "I8",
    np.dtype(np.uint8): "U8",
    np.dtype(np.bool_): "BOOL",
}
_DTYPES: dict[str, np.dtype[Any]] = {code: dtype for dtype, code in CODES.items()}
_MOST_AXES = 32


class Stored(NamedTuple):
    """One array: its code of a dtype, its shape and the bytes of the file it has."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return _DTYPES[self.code].newbyteorder("<")


def read_header(file: IO[bytes]) -> tuple[dict[str, str], dict[str, Stored]]:
    """Return the metadata, and the arrays by name in the order of the file.

    Raises
    ------
    ValueError
        The file is none of these, or cut off; the message says why.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, LARGEST):
        raise ValueError("it begins with no header of arrays, or ends within it")
    try:
        header = json.loads(file.read(length).decode())
    except (ValueError, RecursionError):
        raise ValueError("its header is damaged") from None
    if not isinstance(header, dict):
        raise ValueError("its header is damaged")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ValueError("its header is damaged")
    arrays = {name: _stored(entry, 8 + length) for name, entry in header.items()}
    arrays = dict(sorted(arrays.items(), key=lambda pair: pair[1][2:]))
    end = 8 + length
    for name, one in arrays.items():
        if one.begin != end:
            raise ValueError(f"{name!r} does not begin where the one before ends")
        end = one.end
    if end != size:
        raise ValueError(f"{end} bytes are required, it has {size}")
    return metadata, arrays


def _stored(entry: Any, start: int) -> Stored:
    try:
        code, shape = entry["dtype"], entry["shape"]
        begin, end = entry["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in [*shape, begin, end])
        if not whole or len(shape) > _MOST_AXES:
            raise ValueError
        if math.prod(shape) * _DTYPES[code].itemsize != end - begin:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ValueError("its header lists an impossible array") from None
    return Stored(code, tuple(shape), start + begin, start + end)
