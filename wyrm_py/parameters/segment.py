"""A piece of memory that several processes write to at once.

A segment is *sized* for all it may ever hold and *committed* part by part, so
that it grows without moving. It knows nothing of parameters: see array.py and
shared.py for what lies in it, storage.py for where the memory comes from.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wyrm_py.errors import ParameterError
from wyrm_py.parameters.limits import require_memory
from wyrm_py.parameters.storage import (
    SegmentHandle,
    Storage,
    allocate,
    choose_storage,
    make_memfd,
    make_named,
    mapped,
    open_handle,
    stale,
    translated,
    unlink_in_owner,
)

HEADER_SIZE = 4096  # one page: the data after it is aligned for any use
USER_HEADER = 64  # the rest of the header page belongs to who made the segment

_MAGIC = b"wyrm_py\x00"
_VERSION = 2
_HEADER = np.dtype(
    [
        ("magic", "V8"),
        ("version", "u4"),
        ("unused", "u4"),
        ("size", "u8"),
        ("id", "V16"),
    ]
)

# One mapping a process: handles that are unpickled twice give the same segment.
_attached: weakref.WeakValueDictionary[bytes, SharedSegment] = (
    weakref.WeakValueDictionary()
)


class SharedSegment:
    """A mapped shared segment: a header page and zero-filled data after it.

    Arrays come from `view`; each of them keeps the mapping alive, so there is no
    way to unmap memory that an array still shows.
    """

    def __init__(self, handle: SegmentHandle, descriptor: int, mapping: mmap.mmap):
        self.handle = handle
        self._descriptor = descriptor
        self._mapping = mapping
        # The kernel closes descriptors at exit; only a dropped segment needs this.
        weakref.finalize(self, os.close, descriptor).atexit = False

    @classmethod
    def create(
        cls,
        size: int,
        committed: int,
        storage: Storage = "auto",
        owner: str = "segment",
    ) -> SharedSegment:
        """Make a segment in this process.

        Parameters
        ----------
        size : int, bytes
            Data size the segment is made for, without the header page.
        committed : int, bytes
            How much of it, from the start, gets memory now.
        storage : {"auto", "memfd", "named"}
        owner : str
            Who asks, for messages.

        Raises
        ------
        SettingError
            If the storage is not one of these, or not to be had on this system.
        SharedMemoryFullError
            If the system has no room for the committed part.
        """
        kind = choose_storage(storage, owner)
        require_memory(committed, owner)
        size += HEADER_SIZE
        make = make_memfd if kind == "memfd" else make_named
        with translated(committed, size, kind, owner):
            handle, descriptor, memory = make(size, HEADER_SIZE + committed)
            try:
                segment = cls(handle, descriptor, mapped(descriptor, size))
            except BaseException:
                unlink_in_owner(memory, os.getpid())
                raise
        weakref.finalize(segment, unlink_in_owner, memory, os.getpid())
        header = segment._header()
        header["version"], header["size"] = _VERSION, size
        header["id"] = np.void(handle.identity)
        header["magic"] = np.void(_MAGIC)
        _attached[handle.identity] = segment
        return segment

    @classmethod
    def attach(cls, handle: SegmentHandle) -> SharedSegment:
        """Map the segment of a handle, the present mapping if there is one.

        Raises
        ------
        StaleParameterError
            If the owner is gone, or another's memory stands in that place.
        """
        known = _attached.get(handle.identity)
        if known is not None:
            return known
        descriptor = open_handle(handle)
        if os.fstat(descriptor).st_size < handle.size:
            os.close(descriptor)
            raise stale(handle, "the memory there has another size")
        segment = cls(handle, descriptor, mapped(descriptor, handle.size))
        segment._verify()
        _attached[handle.identity] = segment
        return segment

    @classmethod
    def attach_to_read(cls, handle: SegmentHandle) -> SharedSegment:
        """Map the segment of a handle for reading only.

        Raises
        ------
        StaleParameterError
            As `attach`.
        """
        descriptor = open_handle(handle, writable=False)
        if os.fstat(descriptor).st_size < handle.size:
            os.close(descriptor)
            raise stale(handle, "the memory there has another size")
        mapping = mapped(descriptor, handle.size, writable=False)
        segment = cls(handle, descriptor, mapping)
        segment._verify()
        return segment

    @classmethod
    def attach_name(cls, name: str) -> SharedSegment:
        """Map a named segment, from any process of the same user.

        Raises
        ------
        StaleParameterError
            If there is no segment of that name, or it is not one of ours.
        """
        handle = SegmentHandle(0, -1, name, 0, b"")
        descriptor = open_handle(handle)
        try:
            size = os.fstat(descriptor).st_size
            head = os.pread(descriptor, _HEADER.itemsize, 0)
            if size < HEADER_SIZE or len(head) < _HEADER.itemsize:
                raise stale(handle, "the memory there is not wyrm_py's")
            identity = bytes(np.frombuffer(head, _HEADER)["id"][0])
        finally:
            os.close(descriptor)
        return cls.attach(SegmentHandle(0, -1, name, size, identity))

    @property
    def name(self) -> str | None:
        """Name to attach by; None for memfd storage."""
        return self.handle.name

    @property
    def storage(self) -> Literal["memfd", "named"]:
        """The storage in use."""
        return "memfd" if self.handle.name is None else "named"

    def view(self, dtype: DTypeLike, count: int, offset: int) -> NDArray[Any]:
        """Return a live array over `count` elements, `offset` bytes into the data."""
        return np.frombuffer(self._mapping, dtype, count, HEADER_SIZE + offset)

    def user_header(self, dtype: np.dtype[np.void]) -> NDArray[np.void]:
        """Return the maker's part of the header page as one live record."""
        if USER_HEADER + dtype.itemsize > HEADER_SIZE:
            raise ParameterError("segment: the maker's header exceeds the header page")
        return np.frombuffer(self._mapping, dtype, 1, USER_HEADER)

    def commit(self, offset: int, length: int, owner: str = "segment") -> None:
        """Give memory to a part of the data, so that writing to it cannot fail.

        Raises
        ------
        SharedMemoryFullError
            If the system has no room; nothing is kept then.
        """
        require_memory(length, owner)
        with translated(length, self.handle.size, self.storage, owner):
            allocate(self._descriptor, HEADER_SIZE + offset, length)

    def require_owner(self) -> None:
        """Raise a StaleParameterError if the owner ended or dropped the segment."""
        descriptor = open_handle(self.handle, writable=False)
        try:
            here, there = os.fstat(self._descriptor), os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise stale(self.handle, "the memory there is another's")

    def lock(self) -> SegmentLock:
        """Return a lock to hold against every other thread and process."""
        return SegmentLock(self._descriptor)

    def _header(self) -> NDArray[np.void]:
        return np.frombuffer(self._mapping, _HEADER, 1)

    def _verify(self) -> None:
        header = self._header()[0]
        identity = self.handle.identity
        if bytes(header["magic"]) != _MAGIC or bytes(header["id"]) != identity:
            raise stale(self.handle, "the memory there is another's")
        if header["version"] != _VERSION:
            raise ParameterError(
                f"shared segment: format version {_VERSION} is required, "
                f"{header['version']} was found. Use one wyrm_py version everywhere."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedSegment.attach, (self.handle,)


class SegmentLock:
    """One holder's end of a segment's lock; a context manager, used many times.

    Each holder has an open file of its own: one shared through a fork or between
    threads would let both in. The kernel frees the lock when a holder dies.
    """

    def __init__(self, descriptor: int):
        path = f"/proc/self/fd/{descriptor}"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # no /proc: excludes processes, but not threads
            self._descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor).atexit = False

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
