"""IDX files of any dtype and rank come back exactly; damaged ones are refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.data import mnist, read_idx
from wyrm_py.errors import DataError, MissingFileError

DATA = Path(__file__).parents[2] / "../shared/data/mnist"
CODES = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def packed(array: np.ndarray) -> bytes:
    """Return an array as IDX, written from the description of the format."""
    code = CODES[array.dtype.str[1:]]
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    elements = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return bytes([0, 0, code, array.ndim]) + sizes + elements


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (4, 3, 2), (2, 1, 2, 3)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_any_dtype_and_rank_comes_back(tmp_path, dtype, shape, pack):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (*shape, 8), np.uint8).view(dtype)[..., 0]
    array = np.asarray(np.nan_to_num(array, nan=0.5))
    (tmp_path / "x").write_bytes(pack(packed(array)))
    found = read_idx(tmp_path / "x")
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    assert found.shape == shape
    assert (found == array).all()
    found[...] = 1  # it can be written


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x08", "no IDX file"),
        (b"PK\x03\x04 archive", "no IDX file.*found 50 4b 03 04"),
        (b"\0\1\x08\1" + bytes(9), "no IDX file"),
        (b"\0\0\x0a\1" + bytes(9), "no IDX file.*found 00 00 0a 01"),
        (b"\0\0\x08\3" + bytes(11), "sizes of 3 axes"),
        (packed(np.arange(6, dtype="i4"))[:-1], r"24 bytes .* \(6,\), found 23"),
        (packed(np.arange(6, dtype="i4")) + b"\0", r"24 bytes .* \(6,\), found 25"),
        (b"\0\0\x0e\2" + b"\xff" * 8, r"found 0\. Fetch"),
        (gzip.compress(packed(np.ones(3)))[:-5], "gzip"),
        (b"", "empty"),
        (b"\0\0\x08\x64" + b"\0\0\0\1" * 100 + b"\1", "no array has the shape"),
        (b"\0\0\x08\4" + bytes(4) + b"\xff" * 12, "no array has the shape"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "x")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_idx(tmp_path / "x")
    with pytest.raises(MissingFileError, match="no file train-images-idx3-ubyte"):
        mnist(tmp_path)


def write_parts(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(packed(images))
        compressed = gzip.compress(packed(labels))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(compressed)


def test_mnist_is_two_datasets_that_train(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3) * 11
    write_parts(tmp_path, images, np.array([3, 0, 1, 3], np.uint8))
    train, test = mnist(tmp_path)
    for data in (train, test):
        assert data.records.dtype == np.float32
        assert (data.records == images.astype(np.float32) / 255).all()
        assert data.labels.dtype == np.int64
        assert data.labels.tolist() == [3, 0, 1, 3]
    picture, label = wp.InputNode(np.zeros((1, 1, 2, 3))), wp.IndexInputNode([0])
    table = wp.ParameterNode(np.arange(4.0)[:, None])
    score = picture.sum() * table.index(label).sum()
    scores = wp.evaluate(score, {picture: train.records, label: train.labels})
    expected = train.records.sum(axis=(1, 2)) * train.labels
    assert scores.ravel() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((3, 2, 2), "u1"), np.zeros(2, "u1")),
        (np.zeros((3, 4), "u1"), np.zeros(3, "u1")),
        (np.zeros((3, 2, 2), "f4"), np.zeros(3, "u1")),
        (np.zeros((3, 2, 2), "u1"), np.zeros(3, "f8")),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path, images, labels):
    write_parts(tmp_path, images, labels)
    with pytest.raises(DataError, match="are required for 'train'"):
        mnist(tmp_path)


def test_the_real_mnist_is_whole():
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    train, test = mnist(DATA)
    assert train.records.shape == (60_000, 28, 28)
    assert test.records.shape == (10_000, 28, 28)
    for data in (train, test):
        assert (data.records.min(), data.records.max()) == (0, 1)
        assert np.unique(data.labels).tolist() == list(range(10))
    assert np.bincount(test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
