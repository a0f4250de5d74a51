"""Where shared memory comes from: memfd or named, made, found again, given up.

segment.py puts a header and arrays into what these functions return. Linux is
tested; other POSIX systems use named storage, which has not been tried there.
"""

from __future__ import annotations

import _posixshmem  # type: ignore[import-not-found]
import contextlib
import errno
import fcntl
import functools
import mmap
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path
from typing import Literal, NamedTuple

from wyrm_py.errors import SettingError, SharedMemoryFullError, StaleParameterError
from wyrm_py.parameters.limits import available_memory, readable_size

Storage = Literal["auto", "memfd", "named"]

_MEMFD_NAME = "wyrm_py"
_SHM = Path("/dev/shm")
_NO_ROOM = (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EINVAL)  # EINVAL: ftruncate


class SegmentHandle(NamedTuple):
    """Where a segment is and how to know it: all that is ever pickled."""

    owner: int  # process id
    descriptor: int  # of the memfd in the owner, -1 for named storage
    name: str | None
    size: int  # bytes, header page included
    identity: bytes  # 16 random bytes; guards against a reused pid or name

    @property
    def address(self) -> str:
        """One line of text that leads other processes of the same user here."""
        place = self.name or f"/proc/{self.owner}/fd/{self.descriptor}"
        return f"{place}?{self.size}?{self.identity.hex()}"

    @classmethod
    def from_address(cls, address: str) -> SegmentHandle:
        """Return the handle of an address, or raise a ValueError."""
        place, size, identity = address.split("?")
        known = int(size), bytes.fromhex(identity)
        if "/" not in place:
            return cls(0, -1, place, *known)
        _, _, owner, _, descriptor = place.split("/")
        return cls(int(owner), int(descriptor), None, *known)


@functools.cache
def memfd_works() -> bool:
    """Tell whether a memfd can be made and opened again through /proc.

    Tried once: a sandbox may forbid the call, a hardened /proc the way back.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        handle, descriptor, _ = make_memfd(mmap.PAGESIZE, mmap.PAGESIZE)
    except (OSError, AttributeError):
        return False
    try:
        os.close(open_handle(handle))
    except StaleParameterError:
        return False
    finally:
        os.close(descriptor)
    return True


def choose_storage(storage: Storage, owner: str) -> Literal["memfd", "named"]:
    """Return the storage to use, or raise a SettingError."""
    if storage not in ("auto", "memfd", "named"):
        raise SettingError(
            f'{owner}: storage must be "auto", "memfd" or "named", got {storage!r}.'
        )
    if storage == "memfd" and not memfd_works():
        raise SettingError(
            f'{owner}: storage "memfd" needs Linux with an open /proc, which is not '
            'to be had here. Use storage="auto".'
        )
    if storage == "auto":
        return "memfd" if memfd_works() else "named"
    return storage


def make_memfd(size: int, committed: int) -> tuple[SegmentHandle, int, None]:
    """Make a sealed memfd; return its handle, its descriptor and None."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    descriptor = os.memfd_create(_MEMFD_NAME, flags)
    try:
        os.fchmod(descriptor, 0o600)  # made as 0777: any user could open it by /proc
        os.ftruncate(descriptor, size)
        allocate(descriptor, 0, committed)
        # A sealed size means that no write can end in SIGBUS.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    handle = SegmentHandle(os.getpid(), descriptor, None, size, secrets.token_bytes(16))
    return handle, descriptor, None


def make_named(
    size: int, committed: int
) -> tuple[SegmentHandle, int, shared_memory.SharedMemory]:
    """Make a named segment; return handle, descriptor and what unlinks it."""
    # SharedMemory unmaps under living arrays (numpy #23305), and when its own mmap
    # fails it confuses the resource tracker: so it only makes, names and unlinks
    # one page; size and mapping are ours.
    memory = shared_memory.SharedMemory(create=True, size=mmap.PAGESIZE)
    descriptor = os.dup(memory._fd)  # type: ignore[attr-defined]
    memory.close()
    try:
        os.ftruncate(descriptor, size)
        allocate(descriptor, 0, committed)
    except BaseException:
        os.close(descriptor)
        memory.unlink()
        raise
    identity = secrets.token_bytes(16)
    handle = SegmentHandle(os.getpid(), -1, memory.name, size, identity)
    return handle, descriptor, memory


def allocate(descriptor: int, offset: int, length: int) -> None:
    """Reserve pages now; without it a full tmpfs kills the first writer by SIGBUS."""
    if length and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, length)


def mapped(descriptor: int, size: int, writable: bool = True) -> mmap.mmap:
    """Map a descriptor, or close it and raise."""
    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    try:
        return mmap.mmap(descriptor, size, access=access)
    except BaseException:
        os.close(descriptor)
        raise


@contextlib.contextmanager
def translated(wanted: int, size: int, storage: str, owner: str) -> Iterator[None]:
    """Turn the system's "no room" into a SharedMemoryFullError."""
    try:
        yield
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_ROOM:
            raise
        free = available_memory()
        cure = "Make the table or its capacity smaller, or free other memory."
        if storage == "named":
            free = shutil.disk_usage(_SHM).free if _SHM.exists() else free
            cure = (
                'Use storage="memfd" (Linux), or make /dev/shm larger '
                "(docker run --shm-size=...)."
            )
        room = "unknown" if free is None else readable_size(free)
        raise SharedMemoryFullError(
            f"{owner}: {readable_size(wanted)} of {storage} shared memory wanted in a "
            f"segment sized for {readable_size(size)}, {room} free; the system refused "
            f"it ({error}). {cure}"
        ) from None


def open_handle(handle: SegmentHandle, writable: bool = True) -> int:
    """Return a new descriptor of the segment of a handle."""
    mode = os.O_RDWR if writable else os.O_RDONLY
    try:
        if handle.name is not None:
            # Not through SharedMemory: before Python 3.13 attaching registers the
            # name with this process's resource tracker, which would unlink it under
            # the owner when this process ends (cpython gh-82300).
            return int(_posixshmem.shm_open("/" + handle.name, mode, mode=0o600))
        path = Path(f"/proc/{handle.owner}/fd/{handle.descriptor}")
        # Never open what merely took over the number: a terminal, a socket, ...
        if not str(path.readlink()).startswith(f"/memfd:{_MEMFD_NAME}"):
            raise stale(handle, "its place is taken by something else")
        return os.open(path, mode | os.O_CLOEXEC)
    except FileNotFoundError:
        raise stale(handle, "its owner ended or dropped it") from None
    except OSError as error:
        raise stale(handle, f"it cannot be opened ({error.strerror})") from None


def stale(handle: SegmentHandle, why: str) -> StaleParameterError:
    """Return the error that says why a handle no longer leads to its memory."""
    place = f"process {handle.owner}" if handle.name is None else f"{handle.name!r}"
    return StaleParameterError(
        f"shared memory of {place}: {why}. A handle is good as long as its owner "
        "keeps the parameter; use wp.save and wp.load to keep values for longer."
    )


def unlink_in_owner(memory: shared_memory.SharedMemory | None, owner: int) -> None:
    """Remove the name of a segment, if it has one and this process made it."""
    # A forked child must not end its parent's segment.
    if memory is None or os.getpid() != owner:
        return
    try:
        memory.unlink()
    except FileNotFoundError:
        # Somebody removed the name; the tracker would warn about it at exit.
        tracked = memory._name  # type: ignore[attr-defined]
        resource_tracker.unregister(tracked, "shared_memory")
