"""A parameter block in shared memory, trained by many processes at once.

The segment is sized for `capacity` rows of the value, of three slots of optimizer
state and of one slot of a number per row, so new rows and new state appear at once,
and at fixed addresses, for every process that has it mapped. Row count, slot names
and slots of a single number stand in the header.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from wyrm_py.errors import ParameterError, SettingError
from wyrm_py.parameters.block import (
    COUNT,
    ParameterBlock,
    Per,
    checked_dtype,
    checked_slot_name,
    checked_value,
    clock_of,
    copy_block,
    require_kind,
)
from wyrm_py.parameters.parts import HEADER, KIND, ROW_REGION, make_segment, region_size
from wyrm_py.parameters.segment import SharedSegment
from wyrm_py.parameters.storage import SegmentHandle, Storage

_DRAW = 1 << 20  # values drawn at a time by `normal`


class HogwildParameter:
    """Value and optimizer state in shared memory, written lock-free by workers.

    Pickling sends a handle, so joblib hands every worker the same memory. The
    process that made it is its owner: when that ends, or drops it, handles are
    stale (memory that is mapped stays good). `copy.deepcopy` makes a new one.

    Parameters
    ----------
    value : array-like of finite real numbers, shape (R, ...), not empty
        Copied.
    dtype : np.float32 or np.float64
    storage : {"auto", "memfd", "named"}
        "memfd" leaves nothing behind, whoever is killed; "named" can be attached
        by name from an unrelated process of the same user. "auto" takes memfd
        where it works.
    capacity : int >= R, optional
        Rows it may grow to. Default: R, no growth.

    Raises
    ------
    DTypeError
        If the values are not real numbers, or the dtype is another.
    ParameterError
        If there are no values, one is NaN or infinite, or the capacity is less
        than the rows.
    SettingError
        If the storage is unknown or cannot be had.
    SharedMemoryFullError
        If the system has no room.
    """

    def __init__(
        self,
        value: ArrayLike,
        dtype: DTypeLike = np.float32,
        storage: Storage = "auto",
        capacity: int | None = None,
    ):
        first = checked_value(value, dtype, "HogwildParameter")
        self._map(make_segment(first.shape, first.dtype, storage, capacity))
        self.value[...] = first

    @classmethod
    def normal(
        cls,
        shape: Sequence[int],
        scale: float,
        seed: Any,
        dtype: DTypeLike = np.float32,
        storage: Storage = "auto",
        capacity: int | None = None,
    ) -> Self:
        """Make a parameter of normally distributed values, drawn in place.

        Parameters
        ----------
        shape : sequence of int > 0
        scale : float >= 0, standard deviation
        seed : int, or anything `np.random.default_rng` takes
        dtype, storage, capacity
            As for the class.

        Raises
        ------
        ParameterError
            If an extent is not a positive integer.
        SettingError
            If the scale is negative, NaN or infinite, or the seed impossible.
        """
        extents = _checked_shape(shape)
        if not (isinstance(scale, numbers.Real) and 0 <= scale < math.inf):
            raise SettingError(
                "HogwildParameter.normal: scale must be finite and >= 0, "
                f"got {scale!r}."
            )
        try:
            random = np.random.default_rng(seed)
        except (TypeError, ValueError) as error:
            raise SettingError(f"HogwildParameter.normal: bad seed, {error}.") from None
        checked = checked_dtype(dtype, "HogwildParameter.normal")
        parameter = cls._over(make_segment(extents, checked, storage, capacity))
        flat = parameter.value.reshape(-1)
        for start in range(0, flat.size, _DRAW):
            part = flat[start : start + _DRAW]
            random.standard_normal(out=part, dtype=checked.type)
            part *= checked.type(scale)
        return parameter

    @classmethod
    def attach(cls, name: str, read_only: bool = False) -> Self:
        """Attach to a parameter of another process of the same user.

        Parameters
        ----------
        name : str
            The `address` of a parameter, or the `name` of a named one.
        read_only : bool
            Map the memory so that nothing can be written to it from here.

        Raises
        ------
        StaleParameterError
            If there is no such parameter.
        ParameterError
            If the name is no string, or was made by another format version.
        """
        if isinstance(name, str) and "?" in name:
            return cls._at(name, read_only)
        if not isinstance(name, str) or not name or "/" in name or "\0" in name:
            raise ParameterError(
                "HogwildParameter.attach: the `.name` of a parameter with "
                f'storage="named" is required, got {name!r}.'
            )
        segment = SharedSegment.attach_name(name)
        if read_only:
            segment = SharedSegment.attach_to_read(segment.handle)
        return cls._over(segment)

    @classmethod
    def _at(cls, address: str, read_only: bool) -> Self:
        try:
            handle = SegmentHandle.from_address(address)
        except ValueError:
            raise ParameterError(
                "HogwildParameter.attach: the `.address` of a parameter is required, "
                f"got {address!r}."
            ) from None
        attach = SharedSegment.attach_to_read if read_only else SharedSegment.attach
        return cls._over(attach(handle))

    @classmethod
    def share(cls, block: ParameterBlock, storage: Storage = "auto") -> Self:
        """Return a shared copy of a block, optimizer state included."""
        shared = cls._over(make_segment(block.shape, block.dtype, storage, None))
        copy_block(block, shared)
        return shared

    def copy_into(self, block: ParameterBlock) -> None:
        """Copy value and optimizer state into another block of the same shape."""
        copy_block(self, block)

    @property
    def name(self) -> str | None:
        """Name to `attach` by; None for memfd storage."""
        return self._segment.name

    @property
    def address(self) -> str:
        """Text to `attach` by, whatever the storage, while the owner lives."""
        return self._segment.handle.address

    def require_owner(self) -> None:
        """Raise a StaleParameterError if the owner ended or dropped the parameter.

        What is mapped here stays good, but nobody writes to it any more.
        """
        self._segment.require_owner()

    @property
    def storage(self) -> str:
        """The storage in use, "memfd" or "named"."""
        return self._segment.storage

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._dtype

    @property
    def rows(self) -> int:
        """Current number of rows; 1 for a value without axes."""
        return int(self._header["rows"][0])

    @property
    def capacity(self) -> int:
        """Rows it may grow to."""
        return self._capacity

    @property
    def shape(self) -> tuple[int, ...]:
        """Current shape of the value."""
        return (self.rows, *self._row_shape) if self._has_rows else ()

    @property
    def value(self) -> NDArray[Any]:
        """The live value, all current rows: C-contiguous, aligned to 64 bytes."""
        return self._region(0)

    def slot(self, name: str, per: Per = "element") -> NDArray[Any]:
        """Return the optimizer state of that name, zeros on first use.

        Every process that has the parameter sees it at once. See
        `ParameterBlock.slot`.

        Raises
        ------
        ParameterError
            If the name is impossible, in use for state of another shape, or there
            is no room for one more.
        SharedMemoryFullError
            If the system has no room.
        """
        slots = self.slots()
        if name not in slots:
            with self._segment.lock():
                slots = self.slots()  # another process may have been first
                if name not in slots:
                    checked_slot_name(name, per, slots)
                    self._add_slot(name, per)
                    slots = self.slots()
        return require_kind(name, slots[name], per)

    def slots(self) -> dict[str, NDArray[Any]]:
        """Return all optimizer state made so far, by name."""
        found = {n: self._region(1 + k) for k, n in enumerate(self._names("element"))}
        found |= {name: self._region(ROW_REGION) for name in self._names("row")}
        counters = self._header["counters"]
        names = self._names("parameter")
        return found | {n: counters[:, k, :1].reshape(()) for k, n in enumerate(names)}

    def grow(self, rows: int) -> None:
        """Add rows of zeros to the value and its optimizer state.

        Nothing moves; `value` shows the new rows in every process from now on.

        Parameters
        ----------
        rows : int
            The new number of rows, from the current one up to the capacity.

        Raises
        ------
        ParameterError
            If the number is not within these bounds.
        SharedMemoryFullError
            If the system has no room; the parameter is as before.
        """
        with self._segment.lock():
            current = self.rows
            if not isinstance(rows, int | np.integer) or not (
                current <= rows <= self.capacity
            ):
                raise ParameterError(
                    f"grow: a number of rows from {current} to the capacity "
                    f"{self.capacity} is required, got {rows!r}. The capacity is set "
                    "when the parameter is made."
                )
            for region in range(1 + len(self._names("element"))):
                self._commit(region, current, int(rows))
            for name in self._names("row"):
                self._commit(ROW_REGION, current, int(rows))
                clock = self.slots().get(clock_of(name))
                started = 0 if clock is None else int(clock)
                self._regions[ROW_REGION][current:rows] = started
            self._header["rows"] = rows

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._over, (self._segment,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        segment = make_segment(
            self.shape, self.dtype, self._segment.storage, self.capacity
        )
        copy = type(self)._over(segment)
        copy_block(self, copy)
        return copy

    def __repr__(self) -> str:
        return f'HogwildParameter({self.shape}, {self.dtype}, storage="{self.storage}")'

    @classmethod
    def _over(cls, segment: SharedSegment) -> Self:
        parameter = cls.__new__(cls)
        parameter._map(segment)
        return parameter

    def _map(self, segment: SharedSegment) -> None:
        header = segment.user_header(HEADER)
        record = header[0]
        if record["kind"] != KIND:
            raise ParameterError(
                "HogwildParameter: the shared segment holds no parameter."
            )
        self._segment = segment
        self._header = header
        self._dtype: np.dtype[Any] = np.dtype(record["dtype"].decode())
        self._capacity = int(record["capacity"])
        self._has_rows = record["axes"] > 0
        shape = tuple(int(extent) for extent in record["shape"][: record["axes"]])
        self._row_shape = shape[1:]
        self._row_size = math.prod(self._row_shape)
        stride = region_size(self._capacity, self._row_size, self._dtype)
        self._regions: list[NDArray[Any]] = [
            segment.view(self._dtype, self._capacity * self._row_size, k * stride)
            for k in range(ROW_REGION)
        ]
        place = ROW_REGION * stride
        self._regions.append(segment.view(COUNT, self._capacity, place))
        self._stride = stride
        self._views: list[NDArray[Any] | None] = [None] * len(self._regions)

    def _region(self, region: int) -> NDArray[Any]:
        """Live array of the current rows of the value (0) or of a slot (1, ...)."""
        shape = (self.rows,) if region == ROW_REGION else self.shape
        view = self._views[region]
        if view is None or view.shape != shape:
            view = self._regions[region][: math.prod(shape)].reshape(shape)
            self._views[region] = view
        return view

    def _names(self, per: Per) -> list[str]:
        count = int(self._header[f"{per}_count"][0])
        return [name.decode() for name in self._header[f"{per}_names"][0, :count]]

    def _add_slot(self, name: str, per: Per) -> None:
        count = len(self._names(per))
        if per != "parameter":
            region = ROW_REGION if per == "row" else 1 + count
            self._commit(region, 0, self.rows)
        self._header[f"{per}_names"][0, count] = name.encode()
        self._header[f"{per}_count"] = count + 1

    def _commit(self, region: int, start: int, stop: int) -> None:
        width = self._row_size * self._dtype.itemsize
        if region == ROW_REGION:
            width = COUNT.itemsize
        offset = region * self._stride + start * width
        self._segment.commit(offset, (stop - start) * width, "HogwildParameter")


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    extents = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if not all(isinstance(e, int | np.integer) and e > 0 for e in extents):
        raise ParameterError(
            "HogwildParameter.normal: shape must be positive whole numbers, "
            f"got {shape!r}."
        )
    return tuple(int(extent) for extent in extents)
