"""Whole files in memory, unpacked: what every reader starts from."""

import gzip
import zlib
from pathlib import Path

from wyrm_py.errors import DataError, MissingFileError


def read_content(path: str | Path) -> bytes:
    """Return the bytes of a file, unpacked if they are gzipped.

    Raises
    ------
    MissingFileError
        There is no such file, or it is a folder.
    DataError
        The file cannot be read, is empty, or is damaged gzip.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file. Check the path.")
    if not path.is_file():
        raise MissingFileError(f"{path} is not a file. Give the path of one file.")
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
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name}: the gzip data is damaged or cut off ({error}). Fetch it again."
        ) from error
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
