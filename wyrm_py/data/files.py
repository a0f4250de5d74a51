"""Files unpacked, whole in memory or as a stream: what every reader starts from."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wyrm_py.errors import DataError, MissingFileError

_PACKED = b"\x1f\x8b"
_BUFFER = 1 << 20  # bytes read at a time


def require_file(path: str | os.PathLike[str]) -> Path:
    """Return a path that is one of a file, or raise a MissingFileError."""
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file. Check the path.")
    if not path.is_file():
        raise MissingFileError(f"{path} is not a file. Give the path of one file.")
    return path


@contextmanager
def opened(path: str | Path) -> Iterator[io.BufferedReader[Any]]:
    """Give a file to read piece by piece, unpacked if it is gzipped.

    Raises
    ------
    MissingFileError
        There is no such file, or it is a folder.
    DataError
        The file cannot be read, or is damaged gzip; while it is read, too.
    """
    path = require_file(path)
    try:
        with io.BufferedReader(path.open("rb", buffering=0), _BUFFER) as file:
            if file.peek(2)[:2] != _PACKED:
                yield file
                return
            with gzip.GzipFile(fileobj=file) as packed:
                yield io.BufferedReader(packed, _BUFFER)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged_gzip(str(path), error) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def damaged_gzip(name: str, error: Exception) -> DataError:
    """Return the error of gzip data that cannot be unpacked."""
    return DataError(
        f"{name}: the gzip data is damaged or cut off ({error}). Fetch it again."
    )


def read_content(path: str | Path) -> bytes:
    """Return the bytes of a file, unpacked if they are gzipped.

    Raises
    ------
    MissingFileError
        There is no such file, or it is a folder.
    DataError
        The file cannot be read, is empty, or is damaged gzip.
    """
    path = require_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    return unpacked(str(path), content)


def unpacked(name: str, content: bytes) -> bytes:
    """Return content that may be gzipped, unpacked.

    Raises
    ------
    DataError
        It is empty, or damaged gzip.
    """
    try:
        if content.startswith(_PACKED):
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged_gzip(name, error) from error
    if not content.strip():
        raise DataError(f"{name} is empty: at least one line of data is required.")
    return content


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """Return the text of a file, unpacked if it is gzipped, line ends as they are.

    Raises
    ------
    MissingFileError
        There is no such file, or it is a folder.
    DataError
        The file is empty, damaged, or not text in this encoding.
    """
    content = read_content(path)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: text in {encoding} is required, found byte "
            f"0x{content[error.start]:02x}. Give its `encoding`, such as 'latin-1'."
        ) from error
