"""A model that is being trained, made readable for other processes.

The trainer writes a log into memory that ends with it (a memfd): where the tables are,
which ids came, what was seen. Readers open it through /proc, read what is new before
each answer and map the tables for reading only. Nothing waits for anybody: the log is
only ever appended to, by one writer, each record with its checksum, and a reader stops
before a record that is not whole yet.

Rows are read while they are written: each float32 is whole, a row may be half updated.
Linux only. After a kill of the trainer no memory stays behind; of a published path a
dangling link does, which leads nowhere and is replaced by the next `publish`.
"""

from __future__ import annotations

import json
import os
import struct
import weakref
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import SettingError, StaleParameterError
from wyrm_py.parameters.storage import memfd_works

_NAME = "wyrm_py-model"
_MAGIC = b"wyrm_py model 1\n"
_RECORD = struct.Struct("<4sIQ")  # kind, checksum, length of the payload


class Publication:
    """The writer's end of a log."""

    def __init__(self) -> None:
        if not memfd_works():
            raise SettingError(
                "publish: needs Linux with an open /proc, which is not to be had here. "
                "Save the model and load it elsewhere instead."
            )
        self._descriptor = os.memfd_create(_NAME, os.MFD_CLOEXEC)
        os.fchmod(self._descriptor, 0o600)
        weakref.finalize(self, os.close, self._descriptor).atexit = False
        self.place = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        self._end = os.write(self._descriptor, _MAGIC)

    def append(self, kind: bytes, payload: bytes) -> None:
        """Append one record; `kind` has four bytes."""
        check = zlib.crc32(payload, zlib.crc32(kind))
        record = memoryview(_RECORD.pack(kind, check, len(payload)) + payload)
        while record:
            written = os.pwrite(self._descriptor, record, self._end)
            self._end, record = self._end + written, record[written:]

    def append_arrays(self, kind: bytes, arrays: dict[str, NDArray[Any]]) -> None:
        """Append named one-dimensional arrays of numbers as one record."""
        held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        names = [(name, a.dtype.str, len(a)) for name, a in held.items()]
        head = json.dumps(names).encode()
        parts = [len(head).to_bytes(8, "little"), head]
        self.append(kind, b"".join([*parts, *(a.tobytes() for a in held.values())]))

    def link(self, path: str | os.PathLike[str]) -> None:
        """Make a path that leads to the log, until this object or the process ends."""
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(self.place)
        temporary.replace(target)
        weakref.finalize(self, _unlink, target, self.place, os.getpid())


class Subscription:
    """A reader's end of a log.

    Parameters
    ----------
    path : str or path-like
        What `publish` was given, or returned.

    Raises
    ------
    StaleParameterError
        There is no such log: its trainer has ended, or the path is wrong.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path, self._read = os.fspath(path), 0
        try:
            linked = not self._path.startswith("/proc/")
            self._place = Path(path).readlink() if linked else Path(path)
            if not str(self._place.readlink()).startswith(f"/memfd:{_NAME}"):
                raise self._stale("what is there is no published model")
            self._descriptor = os.open(self._place, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._stale(
                f"its trainer has ended, or never was ({error.strerror})"
            ) from None
        weakref.finalize(self, os.close, self._descriptor).atexit = False
        if os.pread(self._descriptor, len(_MAGIC), 0) != _MAGIC:
            raise self._stale("it is of another version of wyrm_py")
        self._read = len(_MAGIC)

    def require_alive(self) -> None:
        """Raise a StaleParameterError if the trainer has ended or withdrawn the log."""
        try:
            there, here = self._place.stat(), os.fstat(self._descriptor)
        except OSError:
            raise self._stale("its trainer has ended") from None
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            raise self._stale("its trainer has ended")

    def news(self) -> Iterator[tuple[bytes, bytes]]:
        """Return the records that are new since the last call, kind and payload."""
        while True:
            head = os.pread(self._descriptor, _RECORD.size, self._read)
            if len(head) < _RECORD.size:
                return
            kind, check, length = _RECORD.unpack(head)
            start = self._read + _RECORD.size
            if os.fstat(self._descriptor).st_size < start + length:
                return
            payload = os.pread(self._descriptor, length, start)
            if zlib.crc32(payload, zlib.crc32(kind)) != check:
                return  # not all of it is there yet
            self._read = start + length
            yield kind, payload

    def _stale(self, why: str) -> StaleParameterError:
        return StaleParameterError(
            f"attach: {self._path!r}: {why}. A published model can be read while its "
            "trainer runs; load a saved one otherwise."
        )


def arrays_of(payload: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a record of `append_arrays`."""
    length = int.from_bytes(payload[:8], "little")
    place, arrays = 8 + length, {}
    for name, dtype, count in json.loads(payload[8:place]):
        arrays[name] = np.frombuffer(payload, dtype, count, place)
        place += arrays[name].nbytes
    return arrays


def _unlink(path: Path, place: str, owner: int) -> None:
    """Remove a link that still leads to a place of this process."""
    with suppress(OSError):
        if os.getpid() == owner and str(path.readlink()) == place:
            path.unlink()
