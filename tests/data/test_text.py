"""Text becomes numbers and comes back; windows hold what comes next, in order."""

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wyrm_py as wp
from wyrm_py.data import Characters, read_text, windows
from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    MissingFileError,
    SettingError,
    ShapeError,
    UnknownIdError,
)

DATA = Path(__file__).parents[2] / "../shared/data"


@settings(max_examples=100)
@given(st.text(min_size=1), st.text())
def test_text_comes_back_and_unknown_characters_are_marked(text, other):
    known = Characters(text)
    assert known.symbols == "".join(sorted(set(text)))
    ids = known.encode(text)
    assert ids.dtype == np.int32
    assert [known.symbols[k] for k in ids] == list(text)
    assert known.decode(ids) == text
    marked = Characters(text, unknown="?")
    assert len(marked) == len({*text, "?"})
    expected = "".join(c if c in text else "?" for c in other)
    assert marked.decode(marked.encode(other)) == expected
    again = Characters(marked.symbols, marked.unknown)
    assert again.encode(other).tolist() == marked.encode(other).tolist()


def test_an_unknown_character_is_named():
    letters = Characters("hello")
    assert (len(letters), letters.symbols) == (4, "ehlo")
    assert repr(letters) == "Characters('ehlo', unknown=None)"
    assert letters.encode("").tolist() == []
    assert letters.decode([]) == ""
    with pytest.raises(UnknownIdError, match="'y', at position 4, .* 4 characters"):
        letters.encode("holey")
    for ids in ([4], [-1]):
        with pytest.raises(IndexRangeError, match=r"\[0, 4\)"):
            letters.decode(ids)
    with pytest.raises(DTypeError, match="integers"):
        letters.decode([0.5])


def test_an_impossible_vocabulary_is_refused():
    with pytest.raises(DataError, match="at least one character"):
        Characters("")
    with pytest.raises(DTypeError, match="read_text"):
        Characters(b"bytes")
    for unknown in ("", "ab", 0):
        with pytest.raises(SettingError, match="one character or None"):
            Characters("ab", unknown)


@settings(max_examples=100)
@given(
    count=st.integers(2, 60),
    length=st.integers(1, 12),
    stride=st.none() | st.integers(1, 14),
    streams=st.integers(1, 5),
)
def test_windows_equal_slices(count, length, stride, streams):
    ids = np.arange(100, 100 + count)
    part = count // streams
    if part < length + 1:
        with pytest.raises(DataError, match="elements are required"):
            windows(ids, length, stride, streams)
        return
    data = windows(ids, length, stride, streams)
    expected = [
        ids[s * part + k : s * part + k + length].tolist()
        for k in range(0, part - length, stride or length)
        for s in range(streams)
    ]
    assert data.records.tolist() == expected
    assert data.labels.tolist() == [[k + 1 for k in window] for window in expected]


def test_the_digits_of_a_number_as_windows():
    """One hundred digits read five at a time, each a step after the other."""
    data = windows(np.arange(100) % 10, length=5, stride=1)
    assert data.records.shape == data.labels.shape == (95, 5)
    assert data.labels[:, -1].tolist() == [k % 10 for k in range(5, 100)]


def test_streams_go_on_from_batch_to_batch():
    data = windows(np.arange(41), length=3, streams=4)
    batches = list(data.batches(4))
    for before, after in itertools.pairwise(batches):
        assert (before.labels[:, -1] == after.records[:, 0]).all()
    assert batches[0].records[:, 0].tolist() == [0, 10, 20, 30]


def test_impossible_windows_are_refused():
    for options in ({"length": 0}, {"length": 2, "stride": 0}, {"length": 2.0}):
        with pytest.raises(SettingError, match="must be a whole number of 1"):
            windows([1, 2, 3], **options)
    with pytest.raises(SettingError, match="streams"):
        windows([1, 2, 3], 1, streams=0)
    with pytest.raises(DTypeError, match="integers"):
        windows([0.5, 1.5], 1)
    with pytest.raises(ShapeError, match="one dimension"):
        windows([[1, 2], [3, 4]], 1)
    with pytest.raises(DataError, match="at least 3 elements"):
        windows([], 2)


def test_windows_are_columns_of_a_graph():
    data = windows(Characters("abcabcabc").encode("abcabcabc"), 3)
    before, after = wp.IndexInputNode([0, 0, 0]), wp.IndexInputNode([0, 0, 0])
    table = wp.ParameterNode(np.arange(3.0)[:, None])
    gap = (table.index(after) - table.index(before)).square().sum()
    gaps = wp.evaluate(gap, {before: data.records, after: data.labels})
    assert gaps.ravel().tolist() == [1 + 1 + 4] * 2


def test_text_is_read_packed_or_not(tmp_path):
    text = "žluťoučký\r\nkůň\n"
    (tmp_path / "plain").write_bytes(text.encode())
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    assert read_text(tmp_path / "plain") == read_text(tmp_path / "packed") == text
    (tmp_path / "latin").write_bytes(b"one\ncaf\xe9\n")
    assert read_text(tmp_path / "latin", "latin-1") == "one\ncafé\n"
    with pytest.raises(DataError, match=r"line 2: text in utf-8.*0xe9"):
        read_text(tmp_path / "latin")
    with pytest.raises(MissingFileError, match="no such file"):
        read_text(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "characters", "symbols"),
    [
        ("tinyshakespeare/input.txt.gz", 1_115_394, 65),
        ("ptb/ptb.train.txt.gz", 5_101_618, 50),
    ],
)
def test_real_text_comes_back(name, characters, symbols):
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    text = read_text(DATA / name)
    known = Characters(text)
    assert (len(text), len(known)) == (characters, symbols)
    ids = known.encode(text)
    assert known.decode(ids[-5000:]) == text[-5000:]
    data = windows(ids, 50, streams=32)
    assert len(data) == 32 * ((characters // 32 - 1) // 50)
    assert known.decode(data.records[0]) == text[:50]
    assert known.decode(data.labels[0]) == text[1:51]
