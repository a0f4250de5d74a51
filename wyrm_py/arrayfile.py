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
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from importlib import metadata as distributions
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from wyrm_py.errors import CorruptCheckpointError, DataError, DTypeError

_FORMAT = 1
_ENTRY = "wyrm_py"
_PENDING = "0" * 64  # a digest not known yet
_CHUNK = 1 << 24  # bytes hashed and written at a time
_LARGEST_HEADER = 100_000_000  # bytes: safetensors reads no longer one
_DTYPES = {
    np.dtype(np.float64): "F64",
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    np.dtype(np.int64): "I64",
    np.dtype(np.uint64): "U64",
    np.dtype(np.int32): "I32",
    np.dtype(np.uint32): "U32",
    np.dtype(np.int16): "I16",
    np.dtype(np.uint16): "U16",
    np.dtype(np.int8): "I8",
    np.dtype(np.uint8): "U8",
    np.dtype(np.bool_): "BOOL",
}
_CODES = frozenset(_DTYPES.values())


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
    # Wider elements first, so that each array starts on a multiple of its width.
    plain = dict(sorted(plain.items(), key=lambda pair: -pair[1].dtype.itemsize))
    _header(plain, dict.fromkeys(plain, _PENDING), metadata)  # refuse before writing
    with _replacing(target) as file:
        digests = dict.fromkeys(plain, _PENDING)
        file.write(_header(plain, digests, metadata))
        for name, array in plain.items():
            digests[name] = _write(file, array)
        file.seek(0)
        file.write(_header(plain, digests, metadata))


def read_arrays(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file of `write_arrays`, checking every byte.

    Parameters
    ----------
    path : str or path-like

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
    with _opened(path) as (file, manifest):
        tensors = manifest["tensors"]
        arrays = {
            name: _read(Path(path), file, name, tensors[name]) for name in tensors
        }
    return arrays, manifest["metadata"]


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file says about itself, without reading its arrays.

    Parameters
    ----------
    path : str or path-like
        A file of `save`, `save_model` or of a recommender.

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
    with _opened(path) as (_, manifest):
        return manifest


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Give an open file with its manifest, checked."""
    source = Path(path)
    with source.open("rb"):
        pass  # a missing file, a folder or one without permission: its own OSError
    try:
        with safe_open(source, framework="np") as file:
            manifest = _manifest(source, (file.metadata() or {}).get(_ENTRY))
            if sorted(manifest["tensors"]) != sorted(file.keys()):
                raise _corrupt(source, "its arrays are not those of its manifest")
            yield file, manifest
    except SafetensorError as error:
        raise _corrupt(source, str(error)) from error


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
def _replacing(target: Path) -> Iterator[IO[bytes]]:
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


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)
    if name == "__metadata__" or any(0xD800 <= ord(c) < 0xE000 for c in name):
        raise DataError(
            f"write_arrays: {name!r} is reserved or not valid text. Rename the array."
        )
    if array.dtype.newbyteorder("=") not in _DTYPES:
        raise DTypeError(
            f"write_arrays: numbers or booleans are required, {name!r} has dtype "
            f"{array.dtype}."
        )
    return array


def _header(
    arrays: Mapping[str, NDArray[Any]],
    digests: Mapping[str, str],
    metadata: Mapping[str, Any],
) -> bytes:
    """Return the head of the file; its length does not depend on the digests."""
    tensors, entries, offset = {}, {}, 0
    for name, array in arrays.items():
        code = _DTYPES[array.dtype.newbyteorder("=")]
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
    body += b" " * (-len(body) % 8)
    if len(body) > _LARGEST_HEADER:
        raise DataError(
            f"write_arrays: names and metadata may take {_LARGEST_HEADER:,} bytes, "
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


def _manifest(source: Path, entry: str | None) -> dict[str, Any]:
    if entry is None:
        raise _corrupt(source, "it was not written by wyrm_py")
    digest, _, text = entry.partition(" ")
    if digest != _digest(text):
        raise _corrupt(source, "its manifest is damaged")
    try:
        manifest: dict[str, Any] = json.loads(text)
        version, library = int(manifest["format"]), str(manifest["library"])
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


def _read(source: Path, file: Any, name: str, listed: dict[str, Any]) -> NDArray[Any]:
    """Return one array after comparing it with its line in the manifest."""
    stored = file.get_slice(name)
    found = [stored.get_dtype(), stored.get_shape()]
    if found != [listed["dtype"], listed["shape"]] or found[0] not in _CODES:
        raise _corrupt(source, f"shape or dtype of {name!r} differs from the manifest")
    array: NDArray[Any] = file.get_tensor(name)
    content: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise _corrupt(source, f"the content of {name!r} is damaged")
    return array


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _corrupt(source: Path, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{source} cannot be loaded: {reason}. Use another copy of the file."
    )
