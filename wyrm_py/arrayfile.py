"""Named arrays with a manifest in one safetensors file, written atomically.

Format 1: a safetensors file, so any reader of those opens it, whose metadata entry
"wyrm_py" is `DIGEST JSON`: SHA-256 of the JSON text in 64 hex digits, a blank, and
the manifest, {"format": 1, "library": version of wyrm_py, "tensors": {name:
{"dtype": code of safetensors, "shape": [...], "sha256": of the little-endian bytes}},
"metadata": the caller's}. A later format that older versions cannot read has a
higher number, and they refuse it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap as memory_maps
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata as distributions
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.array_header import CODES, LARGEST, Stored, read_header
from wyrm_py.atomic_file import replacing, require_writable
from wyrm_py.errors import CorruptCheckpointError, DataError, DTypeError

_FORMAT = 1
_ENTRY = "wyrm_py"
_PENDING = "0" * 64  # a digest not known yet
_CHUNK = 1 << 24  # bytes hashed and written at a time
# MAP_NORESERVE: files larger than the memory can be mapped, and read.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0
_LINE = 64  # bytes of a cache line


def write_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, Any],
) -> None:
    """Write named arrays and metadata to a file, atomically.

    Whatever happens, `path` afterwards holds the old file or the complete new one.
    The numbers go to a hidden file beside it, which is flushed to disk and then
    renamed; a killed process may leave that file (`.NAME.*.tmp`) behind.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed.
    arrays : mapping of str to ndarray
        Numbers or booleans, any shape, layout and byte order.
    metadata : mapping
        Anything JSON has, small beside the arrays.

    Raises
    ------
    DTypeError
        If an array is not of numbers, or the metadata is not JSON.
    DataError
        If the metadata is over 100 MB, or a name is reserved.
    OSError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    target = require_writable(path)
    plain = {name: _storable(name, array) for name, array in arrays.items()}
    plain = dict(sorted(plain.items(), key=lambda pair: _place(pair[1])))
    _header(plain, dict.fromkeys(plain, _PENDING), metadata)  # refuse before writing
    with replacing(target) as file:
        digests = dict.fromkeys(plain, _PENDING)
        file.write(_header(plain, digests, metadata))
        for name, array in plain.items():
            digests[name] = _write(file, array)
        file.seek(0)
        file.write(_header(plain, digests, metadata))


def read_arrays(
    path: str | os.PathLike[str], *, mmap: bool = False, verify: bool = True
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file of `write_arrays`.

    Parameters
    ----------
    path : str or path-like
    mmap : bool
        Map the file into memory instead of reading it: pages are read when they are
        touched, and shared with other processes until they are written to. The file
        itself never changes, and may be replaced by `write_arrays` meanwhile; who
        shortens it in place takes the memory away.
    verify : bool
        Compare the content of every array with its digest, which reads all of it.
        Header, sizes and manifest are checked in any case.

    Returns
    -------
    arrays : dict of str to ndarray
        Private and writable.
    metadata : dict

    Raises
    ------
    CorruptCheckpointError
        If the file is damaged, truncated, of a newer format or not ours. Sizes are
        compared with the size of the file before memory is allocated.
    OSError
        If the file cannot be read.
    """
    source = Path(path)
    with _opened(source) as (file, manifest, stored):
        arrays = _arrays(source, file, stored, mmap)
    if verify:
        _compare(source, arrays, manifest)
    return arrays, manifest["metadata"]


def verify(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Check every byte of a file against its digests; return its manifest.

    For files that were loaded by memory map, which does not read all of them.

    Parameters
    ----------
    path : str or path-like
        A file of `save`, `save_model` or of an estimator.

    Returns
    -------
    dict
        As `read_manifest` gives it.

    Raises
    ------
    CorruptCheckpointError
        If the file is damaged, truncated, of a newer format or not ours.
    OSError
        If the file cannot be read.
    """
    source = Path(path)
    with _opened(source) as (file, manifest, stored):
        arrays = _arrays(source, file, stored, mmap=True)
    _compare(source, arrays, manifest)
    return manifest


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file says about itself, without reading its arrays.

    Parameters
    ----------
    path : str or path-like
        A file of `save`, `save_model` or of an estimator.

    Returns
    -------
    dict
        "format" (int), "library" (its version), "tensors" ({name: {"dtype", "shape",
        "sha256"}}) and "metadata". The manifest's own sum is checked, those of the
        arrays are not.

    Raises
    ------
    CorruptCheckpointError
        If the manifest is damaged, of a newer format or not ours.
    OSError
        If the file cannot be read.
    """
    with _opened(Path(path)) as (_, manifest, _stored):
        return manifest


@contextlib.contextmanager
def _opened(
    source: Path,
) -> Iterator[tuple[io.BufferedReader, dict[str, Any], dict[str, Stored]]]:
    """Give an open file, its manifest and where its arrays are, checked."""
    with source.open("rb") as file:
        try:
            entries, stored = read_header(file)
        except ValueError as error:
            raise _corrupt(source, str(error)) from error
        manifest = _manifest(source, entries.get(_ENTRY))
        listed = manifest["tensors"]
        if stored.keys() != listed.keys():
            raise _corrupt(source, "its arrays are not those of its manifest")
        for name, one in stored.items():
            if [one.code, [*one.shape]] != [
                listed[name]["dtype"],
                listed[name]["shape"],
            ]:
                raise _corrupt(
                    source, f"shape or dtype of {name!r} differs from the manifest"
                )
        yield file, manifest, stored


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)
    if name == "__metadata__" or any(0xD800 <= ord(c) < 0xE000 for c in name):
        raise DataError(
            f"write_arrays: {name!r} is reserved or not valid text. Rename the array."
        )
    if array.dtype.newbyteorder("=") not in CODES:
        raise DTypeError(
            f"write_arrays: numbers or booleans are required, {name!r} has dtype "
            f"{array.dtype}."
        )
    return array


def _place(array: NDArray[Any]) -> tuple[bool, int]:
    """Order arrays so that each begins on a multiple of the width of its elements.

    The first ones are of whole cache lines, as the header is, and begin on one.
    """
    return array.nbytes % _LINE != 0, -array.dtype.itemsize


def _header(
    arrays: Mapping[str, NDArray[Any]],
    digests: Mapping[str, str],
    metadata: Mapping[str, Any],
) -> bytes:
    """Return the head of the file; its length does not depend on the digests."""
    tensors, entries, offset = {}, {}, 0
    for name, array in arrays.items():
        code = CODES[array.dtype.newbyteorder("=")]
        kind = {"dtype": code, "shape": list(array.shape)}
        entries[name] = kind | {"data_offsets": [offset, offset + array.nbytes]}
        tensors[name] = kind | {"sha256": digests[name]}
        offset += array.nbytes
    manifest = {
        "format": _FORMAT,
        "library": distributions.version("wyrm-py"),
        "tensors": tensors,
        "metadata": dict(metadata),
    }
    try:
        text = json.dumps(manifest, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DTypeError(f"write_arrays: metadata must be JSON: {error}.") from error
    entry = {_ENTRY: f"{_digest(text)} {text}"}
    body = json.dumps({"__metadata__": entry, **entries}).encode()
    body += b" " * (-(8 + len(body)) % _LINE)
    if len(body) > LARGEST:
        raise DataError(
            f"write_arrays: names and metadata may take {LARGEST:,} bytes, "
            f"got {len(body):,}. Keep long lists in arrays."
        )
    return len(body).to_bytes(8, "little") + body


def _write(file: IO[bytes], array: NDArray[Any]) -> str:
    """Write an array in C order, little-endian; return the digest of what was written.

    Each chunk is copied before it is hashed, so that the digest fits the bytes
    even if other processes are still writing to the array.
    """
    digest = hashlib.sha256()
    count = max(1, _CHUNK // array.dtype.itemsize)
    flat = array.reshape(-1)
    for start in range(0, flat.size, count):
        chunk = flat[start : start + count]
        block = chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).tobytes()
        digest.update(block)
        file.write(block)
    return digest.hexdigest()


def _manifest(source: Path, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, str):
        raise _corrupt(source, "it was not written by wyrm_py")
    digest, _, text = entry.partition(" ")
    if digest != _digest(text):
        raise _corrupt(source, "its manifest is damaged")
    try:
        manifest: dict[str, Any] = json.loads(text)
        version, library = manifest["format"], str(manifest["library"])
        if type(version) is not int or version < 1:
            raise ValueError("a whole number from 1 is required")
        if version <= _FORMAT:
            for listed in manifest["tensors"].values():
                _ = listed["dtype"], listed["shape"], listed["sha256"]
            manifest["metadata"].keys()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _corrupt(source, "its manifest is not one of wyrm_py") from error
    if version > _FORMAT:
        raise _corrupt(
            source,
            f"it has format {version} of wyrm_py {library}, this version reads up to "
            f"{_FORMAT}: update wyrm-py",
        )
    return manifest


def _arrays(
    source: Path, file: io.BufferedReader, stored: Mapping[str, Stored], mmap: bool
) -> dict[str, NDArray[Any]]:
    content = None
    if mmap:
        flags = memory_maps.MAP_PRIVATE | _NO_RESERVE
        access = memory_maps.PROT_READ | memory_maps.PROT_WRITE
        content = memory_maps.mmap(file.fileno(), 0, flags=flags, prot=access)
    return {
        name: _array(source, name, one, file, content) for name, one in stored.items()
    }


def _array(
    source: Path,
    name: str,
    one: Stored,
    file: io.BufferedReader,
    content: memory_maps.mmap | None,
) -> NDArray[Any]:
    """Return an array over a mapped file, or read from an open one."""
    try:
        if content is not None and one.end > one.begin:
            return np.ndarray(one.shape, one.dtype, content, one.begin)
        array: NDArray[Any] = np.empty(one.shape, one.dtype)
    except ValueError as error:  # of more elements than there can be, all empty
        raise _corrupt(source, f"{name!r} has an impossible shape") from error
    file.seek(one.begin)
    content_bytes: Any = array.reshape(-1).view(np.uint8)
    if file.readinto(content_bytes) != one.end - one.begin:
        raise _corrupt(source, "it was cut off while it was read")
    return array


def _compare(
    source: Path, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]
) -> None:
    """Raise a CorruptCheckpointError for the first array with another digest."""
    for name, array in arrays.items():
        content: Any = array.reshape(-1).view(np.uint8)
        if hashlib.sha256(content).hexdigest() != manifest["tensors"][name]["sha256"]:
            raise _corrupt(source, f"the content of {name!r} is damaged")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _corrupt(source: Path, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{source} cannot be loaded: {reason}. Use another copy of the file."
    )
