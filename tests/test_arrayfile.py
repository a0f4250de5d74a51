"""Array files: what was written comes back, and damage never does."""

import copy
import errno
import gc
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from wyrm_py import errors
from wyrm_py.arrayfile import (
    read_arrays,
    read_manifest,
    verify,
    write_arrays,
)
from wyrm_py.atomic_file import require_writable

DTYPES = "f8 f4 f2 i8 u8 i4 u4 i2 u2 i1 u1 ?".split()


def _arrays():
    rng = np.random.default_rng(0)
    arrays = {code: (rng.random((3, 5)) * 100).astype(code) for code in DTYPES}
    return arrays | {"scalar": np.array(2.5), "empty": np.zeros((0, 4), np.float32)}


def _names_in(folder):
    return [entry.name for entry in folder.iterdir()]


def _small(path):
    write_arrays(path, {"a": np.arange(6, dtype=np.float32)}, {"note": "x"})
    return path


def _write_raw(path, header, data=b""):
    """Write a safetensors file with any header."""
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(body).to_bytes(8, "little") + body + data)
    return path


def _entry(manifest):
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    return {"wyrm_py": f"{hashlib.sha256(text.encode()).hexdigest()} {text}"}


def test_round_trip_keeps_every_dtype_shape_and_the_metadata(tmp_path):
    arrays = _arrays()
    metadata = {"ids": ["ä", "b"], "width": 32, "nested": {"x": 1.5, "a": None}}
    write_arrays(tmp_path / "file", arrays, metadata)
    found, found_metadata = read_arrays(tmp_path / "file")
    assert found_metadata == metadata
    assert list(found_metadata["nested"]) == ["x", "a"]  # in their order
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape


def test_the_manifest_is_read_without_the_arrays(tmp_path):
    path = _small(tmp_path / "file")
    manifest = read_manifest(path)
    assert manifest["format"] == 1
    assert manifest["metadata"] == {"note": "x"}
    digest = hashlib.sha256(np.arange(6, dtype=np.float32).tobytes()).hexdigest()
    assert manifest["tensors"] == {
        "a": {"dtype": "F32", "shape": [6], "sha256": digest}
    }
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"note', b'\\"nope'))
    with pytest.raises(errors.CorruptCheckpointError, match="manifest is damaged"):
        read_manifest(path)


def test_any_safetensors_reader_opens_the_file(tmp_path):
    write_arrays(tmp_path / "file", _arrays(), {})
    for name, array in load_file(tmp_path / "file").items():
        np.testing.assert_array_equal(array, _arrays()[name])


def test_any_layout_and_byte_order_is_accepted(tmp_path):
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    readonly = table.copy()
    readonly.flags.writeable = False
    forms = {"swapped": table.astype(">f4"), "columns": np.asfortranarray(table)}
    forms |= {"readonly": readonly, "step": np.repeat(table, 2, axis=1)[:, ::2]}
    write_arrays(tmp_path / "file", forms, {})
    for array in read_arrays(tmp_path / "file")[0].values():
        np.testing.assert_array_equal(array, table)


def test_mapped_arrays_are_private_writable_and_the_same(tmp_path):
    path = tmp_path / "file"
    write_arrays(path, _arrays(), {"note": "x"})
    content = path.read_bytes()
    arrays, metadata = read_arrays(path, mmap=True)
    assert metadata == {"note": "x"}
    assert arrays.keys() == _arrays().keys()
    for name, expected in _arrays().items():
        assert type(arrays[name]) is np.ndarray
        assert arrays[name].dtype == expected.dtype
        assert arrays[name].shape == expected.shape
        assert arrays[name].flags.aligned and arrays[name].flags.writeable
        np.testing.assert_array_equal(arrays[name], expected)
        arrays[name][...] = 1
    assert path.read_bytes() == content
    assert read_arrays(path)[0]["f4"][0, 0] == _arrays()["f4"][0, 0]


def test_mapped_arrays_outlive_their_neighbours_and_can_be_pickled(tmp_path):
    path = tmp_path / "file"
    write_arrays(path, {"a": np.arange(1000), "b": np.ones(3)}, {})
    one = read_arrays(path, mmap=True)[0]["a"]
    gc.collect()  # whatever else was mapped
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), one):
        assert again.tolist() == list(range(1000))


def test_arrays_of_whole_cache_lines_begin_on_one(tmp_path):
    arrays = _arrays() | {"lines": np.ones((3, 16), np.float32)}
    arrays["bytes"] = np.ones(128, np.uint8)
    write_arrays(tmp_path / "file", arrays, {})
    mapped, _ = read_arrays(tmp_path / "file", mmap=True)
    for name in ("lines", "bytes"):
        assert mapped[name].ctypes.data % 64 == 0
    assert list(mapped)[:3] == ["empty", "lines", "bytes"]


def test_arrays_in_another_order_are_read_as_well(tmp_path):
    arrays = {"a": np.arange(3, dtype=np.int8), "b": np.arange(2.0)}
    listed, begin = {}, 0
    for name, array in arrays.items():
        code = {"i": "I8", "f": "F64"}[array.dtype.kind]
        listed[name] = {"dtype": code, "shape": [len(array)]}
    tensors = {
        name: entry | {"sha256": hashlib.sha256(arrays[name].tobytes()).hexdigest()}
        for name, entry in listed.items()
    }
    manifest = {"format": 1, "library": "0", "metadata": {}, "tensors": tensors}
    header = {"__metadata__": _entry(manifest)}
    for name, entry in listed.items():
        end = begin + arrays[name].nbytes
        header[name] = entry | {"data_offsets": [begin, end]}
        begin = end
    data = b"".join(array.tobytes() for array in arrays.values())
    path = _write_raw(tmp_path / "file", header, data)
    for mmap in (False, True):
        found, _ = read_arrays(path, mmap=mmap)
        assert found["b"].tolist() == [0, 1]  # at an odd place of the file
        assert (found["b"] * 2).tolist() == [0, 2]


def test_a_file_replaced_or_removed_while_mapped_stays_what_it_was(tmp_path):
    path, count = tmp_path / "file", 100_000
    write_arrays(path, {"a": np.arange(count)}, {})
    mapped = read_arrays(path, mmap=True, verify=False)[0]["a"]
    program = f"""
import numpy
from wyrm_py.arrayfile import write_arrays
write_arrays({str(path)!r}, {{"a": numpy.zeros(3)}}, {{}})
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert read_arrays(path)[0]["a"].tolist() == [0, 0, 0]
    path.unlink()
    np.testing.assert_array_equal(mapped, np.arange(count))


def test_a_file_far_larger_than_the_memory_is_mapped_at_once(tmp_path):
    path, count = tmp_path / "file", 1 << 40  # 4 TiB, of which nothing is on disk
    one = {"dtype": "F32", "shape": [count // 64, 64]}
    manifest = {"format": 1, "library": "0", "metadata": {}}
    entry = _entry(manifest | {"tensors": {"a": one | {"sha256": ""}}})
    header = {"a": one | {"data_offsets": [0, 4 * count]}, "__metadata__": entry}
    size = _write_raw(path, header).stat().st_size
    with path.open("r+b") as file:
        file.truncate(size + 4 * count)
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(7).tobytes())
    table = read_arrays(path, mmap=True, verify=False)[0]["a"]
    assert table.shape == (count // 64, 64)
    assert (table[0, 0], table[count // 64 - 1, 63]) == (0, 7)
    with path.open("r+b") as file:
        file.truncate(size + 4 * count - 1)
    with pytest.raises(errors.CorruptCheckpointError, match="bytes are required"):
        read_arrays(path)


def test_a_damaged_content_is_found_by_verify_alone(tmp_path):
    path = _small(tmp_path / "file")
    assert verify(path) == read_manifest(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for mmap in (False, True):
        with pytest.raises(errors.CorruptCheckpointError, match="'a' is damaged"):
            read_arrays(path, mmap=mmap)
        arrays, metadata = read_arrays(path, mmap=mmap, verify=False)
        assert arrays["a"][:5].tolist() == [0, 1, 2, 3, 4] and metadata
    with pytest.raises(errors.CorruptCheckpointError, match="'a' is damaged"):
        verify(path)


def test_large_arrays_are_written_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("wyrm_py.arrayfile._CHUNK", 64)
    arrays = _arrays()
    write_arrays(tmp_path / "file", arrays, {})
    np.testing.assert_array_equal(read_arrays(tmp_path / "file")[0]["f8"], arrays["f8"])


def test_equal_content_gives_equal_bytes(tmp_path):
    one, two = _small(tmp_path / "one"), _small(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()


def test_a_flipped_bit_anywhere_is_found(tmp_path):
    content = _small(tmp_path / "file").read_bytes()
    damaged = tmp_path / "damaged"
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        damaged.write_bytes(changed)
        with pytest.raises(errors.CorruptCheckpointError):
            read_arrays(damaged)


def test_what_is_not_verified_still_has_its_shapes(tmp_path):
    original = _small(tmp_path / "file")
    content, damaged = original.read_bytes(), tmp_path / "damaged"
    rng, refused = np.random.default_rng(0), 0
    for _ in range(3000):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(changed))] = rng.integers(256)
        cut = rng.random() < 0.1
        damaged.write_bytes(changed[: rng.integers(len(changed))] if cut else changed)
        try:
            arrays, metadata = read_arrays(damaged, mmap=True, verify=False)
        except errors.CorruptCheckpointError:
            refused += 1
        else:
            assert arrays["a"].shape == (6,) and arrays["a"].dtype == np.float32
            assert metadata == {"note": "x"}
    assert 1500 < refused < 3000


def test_a_file_cut_anywhere_or_with_more_at_its_end_is_found(tmp_path):
    content = _small(tmp_path / "file").read_bytes()
    damaged = tmp_path / "damaged"
    for length in [*range(len(content)), None]:
        damaged.write_bytes(content[:length] if length is not None else content + b"x")
        with pytest.raises(errors.CorruptCheckpointError, match="cannot be loaded"):
            read_arrays(damaged)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
CRAFTED = {
    "huge shape": {"a": F32 | {"shape": [2**62, 4]}},
    "huge shape and offsets": {
        "a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    },
    "negative shape": {"a": F32 | {"shape": [-2]}},
    "negative offset": {"a": F32 | {"data_offsets": [-8, 0]}},
    "overlap": {"a": F32, "b": F32},
    "hole": {"a": F32 | {"data_offsets": [8, 16]}},
    "unknown dtype": {"a": F32 | {"dtype": "O8"}},
    "dtype a list": {"a": F32 | {"dtype": ["F32"]}},
    "shape a number": {"a": F32 | {"shape": 2}},
    "shape of floats": {"a": F32 | {"shape": [2.0]}},
    "shape of truths": {"a": F32 | {"shape": [2, True]}},
    "shape of many axes": {"a": F32 | {"shape": [2] + [1] * 100}},
    "empty shape with huge axes": {
        "a": {"dtype": "F32", "shape": [2**62, 4, 0], "data_offsets": [0, 0]}
    },
    "one offset": {"a": F32 | {"data_offsets": [0]}},
    "number of many digits": b'{"a": ' + b"9" * 10_000 + b"}",
    "metadata a list": {"a": F32, "__metadata__": [1]},
    "entry a list": {"a": F32, "__metadata__": {"wyrm_py": [1]}},
    "entry of half a character": {"a": F32, "__metadata__": {"wyrm_py": "\ud800 {}"}},
    "array a number": {"a": 7},
    "no manifest": {"a": F32},
    "list": [1, 2],
    "not JSON": b"\x80\x04K\x01.",
    "deep": b"[" * 100_000,
    "manifest not JSON": {"a": F32, "__metadata__": _entry("hello")},
    "manifest a list": {"a": F32, "__metadata__": _entry([1])},
    "manifest without tensors": {
        "a": F32,
        "__metadata__": _entry({"format": 1, "library": "0", "metadata": {}}),
    },
    "manifest of other arrays": {
        "a": F32,
        "__metadata__": _entry(
            {"format": 1, "library": "0", "metadata": {}, "tensors": {}}
        ),
    },
    "manifest of another shape": {
        "a": F32,
        "__metadata__": _entry(
            {
                "format": 1,
                "library": "0",
                "metadata": {},
                "tensors": {"a": {"dtype": "F32", "shape": [1, 2], "sha256": ""}},
            }
        ),
    },
}


@pytest.mark.parametrize("case", CRAFTED)
@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("size", [0, 8, 16])
def test_crafted_headers_are_refused(tmp_path, case, size, mmap):
    path = _write_raw(tmp_path / "file", CRAFTED[case], bytes(size))
    with pytest.raises(errors.CorruptCheckpointError, match="cannot be loaded"):
        read_arrays(path, mmap=mmap, verify=False)


@pytest.mark.parametrize("shape", [[2**62, 4, 0], [0, 2**64]])
def test_empty_arrays_of_impossible_shapes_are_refused(tmp_path, shape):
    one = {"dtype": "F32", "shape": shape}
    manifest = {"format": 1, "library": "0", "metadata": {}}
    entry = _entry(manifest | {"tensors": {"a": one | {"sha256": ""}}})
    header = {"a": one | {"data_offsets": [0, 0]}, "__metadata__": entry}
    path = _write_raw(tmp_path / "file", header)
    for mmap in (False, True):
        with pytest.raises(errors.CorruptCheckpointError, match="impossible shape"):
            read_arrays(path, mmap=mmap)


def test_a_header_said_to_be_huge_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "file"
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    with pytest.raises(errors.CorruptCheckpointError):
        read_arrays(path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "file"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    with pytest.raises(errors.CorruptCheckpointError):
        read_arrays(path)
    assert not marker.exists()


def test_a_safetensors_file_of_others_is_refused(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "file")
    with pytest.raises(errors.CorruptCheckpointError, match="not written by wyrm_py"):
        read_arrays(tmp_path / "file")


def test_a_newer_format_asks_for_an_update(tmp_path):
    entry = _entry({"format": 7, "library": "9.1"})
    path = _write_raw(tmp_path / "file", {"__metadata__": entry})
    with pytest.raises(errors.CorruptCheckpointError, match=r"format 7 .*9\.1.*update"):
        read_arrays(path)


@pytest.mark.parametrize("number", [np.inf, np.nan, 0, -1, 1.5, True, "1", None, [1]])
def test_a_format_is_a_whole_number(tmp_path, number):
    manifest = {"format": number, "library": "1", "tensors": {}, "metadata": {}}
    path = _write_raw(tmp_path / "file", {"__metadata__": _entry(manifest)})
    with pytest.raises(errors.CorruptCheckpointError, match="not one of wyrm_py"):
        read_arrays(path)


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = _small(tmp_path / "file")
    before = path.read_bytes()

    def fail(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        monkeypatch.setattr("wyrm_py.arrayfile._write", fail)
    elif call == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_arrays(path, {"b": np.ones(3)}, {})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert _names_in(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = _small(tmp_path / "file")
    before = path.read_bytes()
    program = f"""
import resource, numpy
from wyrm_py.arrayfile import write_arrays
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_arrays({str(path)!r}, {{"a": numpy.zeros(1_000_000)}}, {{}})
except OSError as error:
    print(type(error).__name__, error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"OSError {errno.EFBIG}\n"
    assert path.read_bytes() == before
    assert _names_in(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path):
    path = tmp_path / "file"
    program = f"""
import itertools, numpy
from wyrm_py.arrayfile import write_arrays
for number in itertools.count():
    write_arrays({str(path)!r}, {{"a": numpy.full(500_000, number)}}, {{"n": number}})
    print(number, flush=True)
"""
    rng = np.random.default_rng(0)
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE
        ) as writer:
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.02))
            writer.send_signal(signal.SIGKILL)
        arrays, metadata = read_arrays(path)
        assert (arrays["a"] == metadata["n"]).all()


def test_arrays_that_change_while_written_still_load(tmp_path, monkeypatch):
    array = np.zeros(1000)
    monkeypatch.setattr("wyrm_py.arrayfile._CHUNK", 800)

    class Changing:
        def __init__(self, *content):
            self.digest = hashlib.new("sha256", *content)

        def update(self, block):
            array[:] += 1  # another worker's step, between copy and hash
            self.digest.update(block)

        def hexdigest(self):
            return self.digest.hexdigest()

    monkeypatch.setattr("wyrm_py.arrayfile.hashlib.sha256", Changing)
    write_arrays(tmp_path / "file", {"a": array}, {})
    monkeypatch.undo()
    found = read_arrays(tmp_path / "file")[0]["a"]
    assert found[0] == 0 and found[-1] == 9


def test_a_folder_that_is_missing_or_cannot_be_written_is_found_early(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder that can be written to"):
        require_writable(tmp_path / "no" / "file")
    (tmp_path / "plain").touch()
    with pytest.raises(NotADirectoryError):
        write_arrays(tmp_path / "plain" / "file", {}, {})
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        require_writable(tmp_path)


def test_a_read_only_file_system_is_found_early(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=r"Read-only .*folder that can be written"):
        require_writable(tmp_path / "file")


def test_require_writable_leaves_nothing_and_keeps_the_file(tmp_path):
    path = _small(tmp_path / "file")
    before = path.read_bytes()
    assert require_writable(path) == Path(os.path.realpath(path))
    assert _names_in(tmp_path) == ["file"]
    assert path.read_bytes() == before


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        read_arrays(tmp_path)


def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    _small(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read_arrays(tmp_path / "file")[1] == {"note": "x"}


@pytest.mark.parametrize(
    ("arrays", "metadata", "error"),
    [
        ({"a": np.array([None])}, {}, errors.DTypeError),
        ({"a": np.array(["text"])}, {}, errors.DTypeError),
        ({"a": np.zeros(2, complex)}, {}, errors.DTypeError),
        ({}, {"x": object()}, errors.DTypeError),
        ({}, {"x": float("nan")}, errors.DTypeError),
        ({}, {"x": "a" * 100_000_001}, errors.DataError),
        ({"__metadata__": np.zeros(2)}, {}, errors.DataError),
        ({"\ud800": np.zeros(2)}, {}, errors.DataError),
    ],
)
def test_what_cannot_be_kept_is_refused_before_writing(
    tmp_path, arrays, metadata, error
):
    with pytest.raises(error):
        write_arrays(tmp_path / "file", arrays, metadata)
    assert _names_in(tmp_path) == []
