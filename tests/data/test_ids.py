"""Ids of any type are numbered as a dictionary would, and come back as given."""

import copy
import datetime
import decimal
import pickle
import uuid

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wyrm_py.data import hash_table
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
    UnknownIdError,
)

IDS = {
    "int64": [10, 7, -3, 2**62, 0],
    "int32": np.array([5, -5], np.int32),
    "big-endian": np.array([5, -5], ">i2"),
    "uint64": np.array([2**64 - 1, 3], np.uint64),
    "float64": [0.5, -2.0, 1e300],
    "bool": [True, False],
    "str": ["ann", "", "zoë ☃", "exactly8", "a text of more than two words", "\ud800"],
    "array of str": np.array(["b", "aa"]),
    "bytes": [b"a\0", b"\xff", b"a", b""],
    "datetime64[s]": np.array(["2020-01-02T03:04:05", "1969-01-01"], "datetime64[s]"),
    "uuid": [uuid.UUID(int=7), uuid.UUID(int=2**100)],
    "decimal": [decimal.Decimal("1.50"), decimal.Decimal("-2")],
    "date": [datetime.date(2020, 1, 2), datetime.date(1, 1, 1)],
    "datetime": [datetime.datetime(2020, 1, 2, 3), datetime.datetime(1999, 1, 1)],
}


def brute_force(ids) -> tuple[list, list]:
    """Return codes and ids as a dictionary numbers them."""
    known: dict = {}
    return [known.setdefault(one, len(known)) for one in ids], list(known)


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
def test_ids_come_back_as_given_also_through_arrays(ids):
    plain = ids.tolist() if isinstance(ids, np.ndarray) else ids
    table = IdMap(kind="item")
    assert table.add(ids).tolist() == list(range(len(ids)))
    arrays = table.to_arrays()
    assert all(array.dtype.kind in "iu" for array in arrays.values())
    for one in (table, IdMap.from_arrays(arrays, "item"), copy.deepcopy(table)):
        assert one.ids.tolist() == plain
        assert list(map(type, one.ids.tolist())) == list(map(type, plain))
        assert one.codes(ids).tolist() == list(range(len(ids)))
        assert one.require(ids[::-1], "here")[0] == len(ids) - 1
        assert one.take([[1, 0]]).tolist() == [[plain[1], plain[0]]]
        assert (one.type, len(one), one.kind) == (table.type, len(ids), "item")


@given(
    st.one_of(
        st.lists(st.lists(st.integers(-(2**63), 2**63 - 1)), max_size=4),
        st.lists(st.lists(st.integers(-3, 3)), max_size=4),
        st.lists(st.lists(st.text(max_size=20)), max_size=4),
        st.lists(st.lists(st.text("ab", max_size=3)), max_size=4),
        st.lists(st.lists(st.binary(max_size=20)), max_size=4),
    )
)
@settings(max_examples=200)
def test_ids_added_in_parts_get_the_codes_of_a_dictionary(parts):
    table, given_ids = IdMap(), [one for part in parts for one in part]
    codes = [code for part in parts for code in table.add(part).tolist()]
    expected, ids = brute_force(given_ids)
    assert (codes, table.ids.tolist()) == (expected, ids)
    assert pickle.loads(pickle.dumps(table)).codes(given_ids).tolist() == codes


@pytest.mark.parametrize("as_text", [False, True])
def test_many_ids_over_several_blocks_and_growths(as_text):
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 60_000, 200_000) << 32  # few low bits, as of addresses
    ids = [f"user {one}" for one in drawn] if as_text else drawn
    codes, known = brute_force(ids if as_text else ids.tolist())
    table = IdMap()
    assert table.add(ids[:70_000]).tolist() == codes[:70_000]
    assert table.add(ids).tolist() == codes
    assert table.ids.tolist() == known
    strangers = [f"stranger {k}" for k in range(100_000)] if as_text else -ids - 1
    assert (table.codes(strangers) == -1).all()


def test_keys_of_one_hash_are_told_apart(monkeypatch):
    texts = hash_table.Texts.hashes
    monkeypatch.setattr(hash_table.Texts, "hashes", lambda self: texts(self) * 0 + 7)
    ids = [f"{k} is a longer text" for k in range(300)] + ["a", "b", ""]
    table = IdMap(ids[:5])
    assert table.add(ids * 2).tolist() == list(range(len(ids))) * 2
    assert table.codes(["c", "1 is a longer tex", *ids]).tolist() == [
        *(-1, -1),
        *range(len(ids)),
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["b", "a", "b"]),
        pa.array([7, 5, 7], pa.int16()),
        pa.array([7.5, 5, 7.5]),
        pa.chunked_array([["b", "a"], ["c", "b"], []], pa.large_string()),
        pa.array(["z", "b", "z"]).dictionary_encode(),
        pa.array([1, 2, 1], pa.timestamp("ms")),
        pa.array([1, 2, 1], pa.date32()),
        pa.array([b"1", b"", b"1"]),
    ],
    ids=lambda column: str(column.type),
)
def test_arrow_columns_are_numbered_as_their_values_are(column):
    table = IdMap()
    codes, ids = brute_force(column.to_pylist())
    assert table.add(column).tolist() == codes
    assert [str(one) for one in table.ids.tolist()] == [str(one) for one in ids]
    assert table.codes(column).tolist() == codes
    assert table.codes(column.slice(0, 1)).tolist() == [0]


@pytest.mark.parametrize("make", [pandas.Series, polars.Series, np.array, tuple])
def test_columns_of_any_library_are_numbered(make):
    table = IdMap()
    assert table.add(make(["b", "a", "b"])).tolist() == [0, 1, 0]
    assert IdMap(make([7, 8])).codes(make([8, 9])).tolist() == [1, -1]
    assert table.ids.tolist() == ["b", "a"]


def test_rows_without_an_id_are_unknown_and_cannot_be_added():
    missing = (
        ["a", None],
        [1, None],
        [1.0, float("nan")],
        np.array(["2020", "NaT"], "datetime64[s]"),
        pa.array(["a", None]),
        pa.array([1.0, float("nan")]),
        pa.chunked_array([[1], [None]]),
    )
    for ids in missing:
        table = IdMap(ids[:1])
        assert table.codes(ids).tolist() == [0, -1]
        with pytest.raises(DataError, match="users: .* row 1 has none"):
            IdMap(kind="user").add(ids)
    assert IdMap(["a"]).codes([None, None]).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([1, "a"], DTypeError, "one type are required, got int and str"),
        ([1, 2.5], DTypeError, "float and int"),
        ([True, 2], DTypeError, "bool and int"),
        ([(1, 2)], DTypeError, "got tuple. Convert them with `str`"),
        ([2**64], DTypeError, "64-bit"),
        ([-1, 2**63], DTypeError, "64-bit"),
        ("ab", DTypeError, "an array or a list, got 'ab'"),
        (7, DTypeError, "an array or a list"),
        (np.zeros((2, 2)), ShapeError, r"one dimension .*\(2, 2\)"),
        (np.zeros(2, complex), DTypeError, "complex128"),
        (np.zeros(2, "m8[s]"), DTypeError, "timedelta"),
        (["a", "b" * 65537], DataError, "65,536 bytes .* row 1 has 65,537"),
        (pa.array([[1]]), DTypeError, "list<"),
    ],
)
def test_impossible_ids_are_refused_and_change_nothing(ids, error, message):
    table = IdMap(["a"])
    with pytest.raises(error, match=message):
        table.add(ids)
    assert table.ids.tolist() == ["a"]


def test_an_id_of_another_type_is_unknown_and_cannot_be_added():
    table = IdMap([7, 8], "user")
    assert table.codes(["7"]).tolist() == table.codes([7.0]).tolist() == [-1]
    with pytest.raises(DTypeError, match="users here are of type int64, .* str given"):
        table.add(["9"])
    assert table.codes(np.array([8, 2**63 + 8], np.uint64)).tolist() == [1, -1]
    assert table.codes(np.array([8], np.int8)).tolist() == [1]
    assert table.add(np.array([9], np.uint64)).tolist() == [2]
    with pytest.raises(DTypeError, match="uint64"):
        table.add(np.array([2**63], np.uint64))
    wide = IdMap(np.array([2**63], np.uint64))
    assert wide.codes([-(2**63), 5]).tolist() == [-1, -1]
    dates = IdMap(np.array(["2020-01-01"], "datetime64[D]"))
    given_ids = np.array(["2020-01-01T00", "2020-01-01T01"], "datetime64[ns]")
    assert dates.codes(given_ids).tolist() == [0, -1]
    assert len(table) == 3


def test_zeros_of_both_signs_are_one_id():
    assert IdMap([0.0, -0.0]).ids.tolist() == [0.0]


def test_an_id_is_found_by_what_is_typed():
    dates = np.array(["2020-01-01", "2021-03-04"], "datetime64[D]")
    kinds = ([10, 42], ["x", "42"], [0.5, 2.0], [False, True], dates, IDS["uuid"])
    for ids in kinds:
        found = IdMap(ids).from_text(str(ids[1]))
        assert found == ids[1]
        assert IdMap(ids).codes([found]).tolist() == [1]
    assert IdMap([b"x", b"y"]).from_text("y") == b"y"
    for wrong in ("042", "4_2", "+42", "43", " 42", "", "x", "9" * 30):
        with pytest.raises(UnknownIdError):
            IdMap([10, 42]).from_text(wrong)
    with pytest.raises(UnknownIdError):
        IdMap().from_text("42")


def test_an_unknown_id_is_answered_with_similar_or_some_ids():
    table = IdMap(["alice", "alina", "bob"], "user")
    with pytest.raises(UnknownIdError, match=r"user 'alic' .* Did you mean 'alice'"):
        table.from_text("alic")
    with pytest.raises(KeyError, match="Known are 'alice', 'alina', 'bob'"):
        table.from_text("42")
    with pytest.raises(UnknownIdError, match=r"recommend: item '42' .*mean 42\?"):
        IdMap([41, 42], "item").require(np.array(["42"]), "recommend")
    with pytest.raises(UnknownIdError, match="rank: item 43 is not among the 2 items"):
        IdMap([41, 42], "item").require(np.array([41, 43]), "rank")
    for ids in (pandas.Series([42, 43], index=[7, 9]), pa.array([42, 43])):
        with pytest.raises(UnknownIdError, match="rank: item 43 is not"):
            IdMap([41, 42], "item").require(ids, "rank")
    assert table.require([], "rank").tolist() == []


def test_no_id_stands_for_code_minus_one():
    assert IdMap([5, 6]).take([1, -1]).tolist() == [6, -1]
    assert IdMap(["a"]).take([[-1, 0]]).tolist() == [[None, "a"]]
    assert np.isnan(IdMap([0.5]).take([-1])).all()
    assert np.isnat(IdMap(IDS["datetime64[s]"]).take([-1])).all()
    assert IdMap([True]).take([-1, 0]).tolist() == [None, True]
    assert IdMap().take([-1]).tolist() == [None]
    assert IdMap(["a"]).take(0) == "a"
    for codes in ([2], [-2], [0, 2**40]):
        with pytest.raises(IndexRangeError, match=r"\[-1, 2\)"):
            IdMap(["a", "b"]).take(codes)


@pytest.mark.parametrize("codes", [[0.5], ["0"], [None], [True], [2**63]])
def test_codes_are_integers(codes):
    with pytest.raises((DTypeError, IndexRangeError), match="IdMap.take"):
        IdMap(["a", "b"]).take(codes)


def test_copies_do_not_grow_with_the_map():
    table = IdMap(["a", "b"])
    shallow, deep = copy.copy(table), copy.deepcopy(table)
    table.add([f"new {k}" for k in range(4)])
    shallow.add(["c"])
    assert shallow.codes(["a", "b", "c", "new 0"]).tolist() == [0, 1, 2, -1]
    assert deep.codes(["b", "c", "new 0"]).tolist() == [1, -1, -1]
    assert table.codes(["new 0", "c"]).tolist() == [2, -1]


@pytest.mark.parametrize("ids", [IDS["int64"], IDS["str"]], ids=["int", "str"])
def test_read_only_arrays_are_taken_and_the_map_still_grows(ids):
    arrays = IdMap(ids, "user").to_arrays()
    for array in arrays.values():
        array.flags.writeable = False
    table = IdMap.from_arrays(arrays, "user")
    new = [99] if isinstance(ids[0], int) else ["new"]
    assert table.codes(new).tolist() == [-1]
    assert table.add([*new, ids[0]]).tolist() == [len(ids), 0]
    assert IdMap.from_arrays(arrays, "user").ids.tolist() == ids


def _damaged(**changes):
    arrays = IdMap(["a", "bc"], "user").to_arrays() | {"other": np.zeros(3)}
    for part, array in changes.items():
        if array is None:
            del arrays[f"user_ids.{part}"]
        else:
            arrays[f"user_ids.{part}"] = array
    return arrays


@pytest.mark.parametrize(
    "changes",
    [
        {"str": None},
        {"slots": None},
        {"hashes": None},
        {"edges": None},
        {"str": np.zeros(3, np.uint8)},
        {"str": np.zeros(11, np.int8)},
        {"int64": np.zeros(2, np.int64)},
        {"str": None, "pickle": np.zeros(11, np.uint8)},
        {"edges": np.array([0, 1])},
        {"edges": np.array([0, 1, 4])},
        {"edges": np.array([1, 1, 3])},
        {"edges": np.zeros((1, 3), np.int64)},
        {"slots": np.zeros(12, np.int32)},
        {"slots": np.zeros(2, np.int32)},
        {"slots": np.zeros(0, np.int32)},
        {"slots": np.zeros(16, np.int64)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes):
    with pytest.raises(CorruptCheckpointError, match="user ids .*damaged"):
        IdMap.from_arrays(_damaged(**changes), "user")


def test_damaged_content_gives_an_error_or_other_ids_but_ends():
    rng = np.random.default_rng(0)
    ids = ["a", "bc", "a longer text than one word", "zoë"]
    good = IdMap(ids, "user").to_arrays()
    for _ in range(500):
        arrays = {name: array.copy() for name, array in good.items()}
        array = list(arrays.values())[rng.integers(4)]
        array.view(np.uint8)[rng.integers(array.nbytes)] = rng.integers(256)
        try:
            table = IdMap.from_arrays(arrays, "user")
            table.codes([*ids, "stranger"])
            table.take([0, 1, 2, 3])
            table.add(["new"])
        except CorruptCheckpointError:
            pass
    full = good | {"user_ids.slots": np.zeros(16, np.int32)}
    assert IdMap.from_arrays(full, "user").codes(["bc"]).tolist() == [-1]


def test_hashes_are_those_of_the_file_format():
    # SplitMix64 with the seed 0 gives these: its state advances by a constant first
    states = np.array([1, 2], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert hash_table.mixed(states).tolist() == expected


@pytest.mark.parametrize("number", [0, 2, 10**6])
def test_a_damaged_table_without_an_empty_slot_ends(number):
    arrays = {name: held.copy() for name, held in IdMap(["a", "b"]).to_arrays().items()}
    arrays["id_ids.slots"][:] = number
    with pytest.raises(CorruptCheckpointError, match="damaged"):
        IdMap.from_arrays(arrays, "id").add(["q"])
