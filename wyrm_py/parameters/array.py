"""An ordinary array in shared memory: training columns, control pages.

Unlike a parameter it has any fixed dtype and shape and no optimizer state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from wyrm_py.errors import DTypeError
from wyrm_py.parameters.segment import SegmentLock, SharedSegment
from wyrm_py.parameters.storage import Storage


class SharedArray:
    """An array that several processes see; pickles as a handle.

    Make one with `create` or `copy_of`.

    Attributes
    ----------
    array : ndarray
        The live array, C-contiguous, its data aligned to 64 bytes.
    """

    def __init__(
        self, segment: SharedSegment, dtype: np.dtype[Any], shape: tuple[int, ...]
    ):
        self._segment = segment
        flat = segment.view(dtype, math.prod(shape), 0)
        self.array: NDArray[Any] = flat.reshape(shape)

    @classmethod
    def create(
        cls, shape: Sequence[int], dtype: DTypeLike, storage: Storage = "auto"
    ) -> SharedArray:
        """Make a zero-filled array.

        Parameters
        ----------
        shape : sequence of int
        dtype : any fixed-size dtype without Python objects
        storage : {"auto", "memfd", "named"}

        Raises
        ------
        DTypeError
            If the dtype holds Python objects or has no size.
        SharedMemoryFullError
            If the system has no room.
        """
        dtype, shape = np.dtype(dtype), tuple(int(extent) for extent in shape)
        if dtype.hasobject or dtype.itemsize == 0:
            raise DTypeError(
                f"SharedArray: a fixed-size dtype without Python objects is required, "
                f"got {dtype}. Convert the values to numbers first."
            )
        size = max(64, math.prod(shape) * dtype.itemsize)
        return cls(
            SharedSegment.create(size, size, storage, "SharedArray"), dtype, shape
        )

    @classmethod
    def copy_of(cls, array: ArrayLike, storage: Storage = "auto") -> SharedArray:
        """Copy an array of any layout and byte order into shared memory."""
        source = np.asarray(array)
        shared = cls.create(source.shape, source.dtype.newbyteorder("="), storage)
        np.copyto(shared.array, source)
        return shared

    def lock(self) -> SegmentLock:
        """Return a lock to hold against every other thread and process."""
        return self._segment.lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedArray, (self._segment, self.array.dtype, self.array.shape)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedArray:
        return SharedArray.copy_of(self.array, self._segment.storage)
