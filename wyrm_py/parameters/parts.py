"""How a parameter lies in its segment: the header, and a region for each array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wyrm_py.errors import ParameterError
from wyrm_py.parameters.block import ALIGNMENT, COUNT, MAX_SLOTS, ROOM, SLOT_NAME_SIZE
from wyrm_py.parameters.segment import SharedSegment
from wyrm_py.parameters.storage import Storage

_MAX_AXES = 16
_PAGE = 4096
KIND = b"parameter"
_NAME = f"S{SLOT_NAME_SIZE}"
HEADER = np.dtype(
    [
        ("kind", "S16"),
        ("dtype", "S8"),
        ("axes", "u8"),
        ("shape", "u8", (_MAX_AXES,)),  # the shape at creation
        ("capacity", "u8"),
        ("rows", "u8"),  # grows up to the capacity
        *((f"{per}_count", "u8") for per in ROOM),
        *((f"{per}_names", _NAME, (room,)) for per, room in ROOM.items()),
        ("padding", f"V{ALIGNMENT}"),
        # each counter in a cache line of its own: workers write to it every step
        ("counters", "i8", (MAX_SLOTS, ALIGNMENT // 8)),
    ]
)
ROW_REGION = 1 + MAX_SLOTS  # after the value and the slots of its shape


def make_segment(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    storage: Storage,
    capacity: int | None,
) -> SharedSegment:
    """Return a segment with room for `capacity` rows, its header filled in.

    Raises
    ------
    ParameterError, SharedMemoryFullError
        As of `HogwildParameter`.
    """
    rows = shape[0] if shape else 1
    capacity = rows if capacity is None else capacity
    if not isinstance(capacity, int | np.integer) or capacity < rows:
        raise ParameterError(
            f"HogwildParameter: capacity must be a number of rows >= {rows}, the rows "
            f"it is made with, got {capacity!r}."
        )
    if len(shape) > _MAX_AXES or (not shape and capacity > 1):
        raise ParameterError(
            f"HogwildParameter: at most {_MAX_AXES} axes, and at least one to grow "
            f"along, are required, got shape {shape}, capacity {capacity}."
        )
    row_size = math.prod(shape[1:])
    size = ROW_REGION * region_size(int(capacity), row_size, dtype)
    size += region_size(int(capacity), 1, COUNT)
    committed = rows * row_size * dtype.itemsize
    segment = SharedSegment.create(size, committed, storage, "HogwildParameter")
    header = segment.user_header(HEADER)
    header["dtype"] = dtype.str.encode()
    header["axes"] = len(shape)
    header["shape"][0, : len(shape)] = shape
    header["capacity"], header["rows"] = capacity, rows
    header["kind"] = KIND
    return segment


def region_size(capacity: int, row_size: int, dtype: np.dtype[Any]) -> int:
    """Bytes set aside for one array, in whole pages so that each is aligned."""
    return -(-capacity * row_size * dtype.itemsize // _PAGE) * _PAGE
