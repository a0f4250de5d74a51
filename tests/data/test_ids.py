"""Ids are found by their text, and survive being arrays of numbers."""

import numpy as np
import pytest

from wyrm_py.data.ids import IdTable
from wyrm_py.errors import CorruptCheckpointError, UnknownIdError

TABLES = [
    np.array([10, 7, -3]),
    np.array(["ann", "", "zoë ☃"], object),
    np.array([0.5, 2.0]),
    np.array([], object),
]


def test_an_id_is_matched_by_its_text():
    table = IdTable(np.array([10, 7]), "user")
    assert table.code(7) == table.code("7") == table.code(np.int8(7)) == 1
    with pytest.raises(UnknownIdError):
        table.code("07")
    with pytest.raises(UnknownIdError):
        table.code(7.0)


@pytest.mark.parametrize("ids", TABLES, ids=lambda ids: ids.dtype.kind)
def test_ids_come_back_from_arrays(ids):
    arrays = IdTable(ids, "item").to_arrays()
    assert all(array.dtype.kind in "iu" for array in arrays.values())
    again = IdTable.from_arrays(arrays, "item")
    assert [str(known) for known in again.ids] == [str(known) for known in ids]
    if ids.dtype.kind == "i":
        assert again.ids.dtype == ids.dtype


def test_an_unknown_id_is_answered_with_similar_or_some_ids():
    table = IdTable(np.array(["alice", "alina", "bob"], object), "user")
    with pytest.raises(UnknownIdError, match=r"user 'alic' .* Did you mean 'alice'"):
        table.code("alic")
    with pytest.raises(KeyError, match="Known are 'alice', 'alina', 'bob'"):
        table.code("42")


@pytest.mark.parametrize("ends", [[2, 1], [1], [-1, 3], [1, 4]])
def test_arrays_that_do_not_fit_are_refused(ends):
    arrays = {
        "user_ids.text": np.frombuffer(b"abc", np.uint8),
        "user_ids.ends": np.array(ends),
    }
    with pytest.raises(CorruptCheckpointError, match="user ids"):
        IdTable.from_arrays(arrays, "user")
    with pytest.raises(CorruptCheckpointError, match="user ids"):
        IdTable.from_arrays({}, "user")
