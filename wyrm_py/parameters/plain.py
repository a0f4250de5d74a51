"""A parameter block in this process's own memory: the default of a ParameterNode."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from wyrm_py.parameters.block import (
    ALIGNMENT,
    COUNT,
    Per,
    checked_slot_name,
    checked_value,
    require_kind,
)

_making = threading.Lock()


class PlainParameter:
    """Value and optimizer state in private memory.

    Pickles and copies by value, optimizer state included.

    Parameters
    ----------
    value : array-like of finite real numbers, shape (R, ...), not empty
        Copied.
    dtype : np.float32 or np.float64

    Raises
    ------
    DTypeError
        If the values are not real numbers, or the dtype is another.
    ParameterError
        If there are no values, or one is NaN or infinite.
    """

    def __init__(self, value: ArrayLike, dtype: DTypeLike = np.float32):
        self._value = _aligned_copy(checked_value(value, dtype, "PlainParameter"))
        self._slots: dict[str, NDArray[Any]] = {}

    @property
    def value(self) -> NDArray[Any]:
        """The live value: C-contiguous, aligned to 64 bytes."""
        return self._value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._value.dtype

    @property
    def rows(self) -> int:
        """First extent of the value; 1 for a value without axes."""
        return self._value.shape[0] if self._value.ndim else 1

    def slot(self, name: str, per: Per = "element") -> NDArray[Any]:
        """Return the optimizer state of that name, zeros on first use.

        See `ParameterBlock.slot`.
        """
        with _making:  # worker threads ask at once, and must get the same array
            if name not in self._slots:
                checked_slot_name(name, per, self._slots)
                shapes = {"element": self.shape, "row": (self.rows,), "parameter": ()}
                kind = self.dtype if per == "element" else COUNT
                self._slots[name] = _aligned_zeros(shapes[per], kind)
            return require_kind(name, self._slots[name], per)

    def slots(self) -> dict[str, NDArray[Any]]:
        """Return all optimizer state made so far, by name."""
        return dict(self._slots)

    def __getstate__(self) -> dict[str, Any]:
        return {"value": self._value, "slots": self._slots}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._value = _aligned_copy(state["value"])
        self._slots = {name: _aligned_copy(a) for name, a in state["slots"].items()}

    def __repr__(self) -> str:
        return f"PlainParameter({self.shape}, {self.dtype})"


def _aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def _aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    copy = _aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy
