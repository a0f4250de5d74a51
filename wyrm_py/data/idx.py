"""IDX files, the format of MNIST: a magic number, the sizes, the numbers."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.dataset import Dataset
from wyrm_py.data.files import read_content
from wyrm_py.errors import DataError, MissingFileError

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> NDArray[Any]:
    """Read an array of any rank from an IDX file, also gzipped.

    Returns
    -------
    array
        Of uint8, int8, int16, int32, float32 or float64, as the file says, in the
        byte order of the machine.

    Raises
    ------
    MissingFileError
        There is no such file.
    DataError
        The file is damaged, its magic number is not that of IDX, or it holds more or
        less than its sizes say.

    Notes
    -----
    All numbers are big-endian: two zero bytes, one byte for the dtype, one for the
    rank, a 32-bit size for each axis, then the elements in C order. Source: LeCun,
    Cortes and Burges, "The MNIST database of handwritten digits".
    """
    content = read_content(path)
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        raise DataError(
            f"{path} is no IDX file: a magic number 00 00 TYPE RANK with TYPE one of "
            f"{', '.join(f'{code:02x}' for code in _DTYPES)} is required, found "
            f"{magic.hex(' ')}."
        )
    dtype, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(
            f"{path}: sizes of {rank} axes are required, the file ends after "
            f"{len(content)} bytes. Fetch it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    needed = dtype.itemsize
    for size in shape:  # in Python's integers, which do not overflow
        needed *= size
    if len(content) - start != needed:
        raise DataError(
            f"{path}: {needed} bytes of {dtype.newbyteorder('=')} are required for the "
            f"shape {shape}, found {len(content) - start}. Fetch it again."
        )
    try:
        array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    except ValueError as error:  # more axes, or more elements, than NumPy has
        raise DataError(f"{path}: no array has the shape {shape}: {error}.") from error
    return array.astype(dtype.newbyteorder("="))  # a copy that can be written


def mnist(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Read MNIST, or a data set in its form, from a folder of its four files.

    Parameters
    ----------
    folder : path
        Of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, the same with
        `t10k`; each may be gzipped, with the suffix `.gz`.

    Returns
    -------
    train, test : Datasets
        Records: float32 in [0, 1], shape (N, 28, 28). Labels: int64, shape (N,).

    Raises
    ------
    MissingFileError
        The folder or one of the files is not there.
    DataError
        A file is damaged, or images and labels do not belong together.
    """
    return _digits(Path(folder), "train"), _digits(Path(folder), "t10k")


def _digits(folder: Path, part: str) -> Dataset:
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{part}-labels-idx1-ubyte"))
    fits = (images.ndim, labels.ndim) == (3, 1) and len(images) == len(labels)
    if not fits or images.dtype != np.uint8 or labels.dtype.kind == "f":
        raise DataError(
            f"{folder}: uint8 images of shape (N, height, width) and N integer labels "
            f"are required for {part!r}, found {images.dtype} {images.shape} and "
            f"{labels.dtype} {labels.shape}."
        )
    return Dataset(images.astype(np.float32) / np.float32(255), labels.astype(np.int64))


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise MissingFileError(
        f"{folder}: there is no file {name} or {name}.gz. Give the folder that holds "
        "the four files."
    )
