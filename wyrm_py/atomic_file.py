"""Files that take the place of others at once or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def require_writable(path: str | os.PathLike[str]) -> Path:
    """Return the path a file would be written to, or raise the OSError that would come.

    Call it before long work whose result goes to `path`.

    Raises
    ------
    OSError
        FileNotFoundError, NotADirectoryError, PermissionError, ...: if the folder
        is missing or nothing can be written there.
    IsADirectoryError
        If the path itself is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{target}: a file is to be written, this is a folder.")
    try:
        descriptor, probe = _create_beside(target)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"{error.strerror}: a folder that can be written to is required",
            str(target.parent),
        ) from error
    os.close(descriptor)
    probe.unlink()
    return target


def _create_beside(target: Path) -> tuple[int, Path]:
    name = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), name


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Give a file to write that takes the target's place once all is on disk."""
    descriptor, temporary = _create_beside(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        error.add_note(f"{target} was not written and is as it was before.")
        raise
    if os.name == "posix":  # the rename itself must reach the disk too
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
