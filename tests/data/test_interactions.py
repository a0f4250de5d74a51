"""Interactions check what they are made of and keep the ids as given."""

import datetime
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wyrm_py as wp
from wyrm_py.data import Interactions
from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    SettingError,
    ShapeError,
)


def test_ids_are_coded_in_order_of_appearance():
    ratings = Interactions(["b", "a", "b"], [9, 9, 4], [1, 2, 3], [7, 8, 9])
    assert ratings.users.tolist() == [0, 1, 0]
    assert ratings.items.tolist() == [0, 0, 1]
    assert ratings.user_ids.tolist() == ["b", "a"]
    assert ratings.item_ids.tolist() == [9, 4]
    assert ratings.users.dtype == ratings.items.dtype == np.int32
    assert (len(ratings), ratings.n_users, ratings.n_items) == (3, 2, 2)


@pytest.mark.parametrize(
    "ids",
    [
        [3, 1, 3],
        np.array([3, 1, 3], ">i8"),
        np.array(["c", "a", "c"]),
        np.array([0.5, 1.5, 0.5]),
        [True, False, True],
        [datetime.date(2020, 1, 2), datetime.date(2021, 1, 2)] * 2,
    ],
)
def test_ids_of_any_type_come_back_as_given(ids):
    ratings = Interactions(ids, np.arange(len(ids)))
    assert [ratings.user_ids[code] for code in ratings.users] == list(ids)


def test_csr_holds_each_pair_once_in_sorted_columns():
    ratings = Interactions([0, 1, 0, 0], [1, 0, 0, 1])
    matrix = ratings.csr()
    assert matrix.toarray().tolist() == [[1, 1], [0, 1]]  # item 1 came first
    assert matrix.has_sorted_indices
    assert matrix.dtype == np.float32


def test_take_keeps_the_id_tables():
    ratings = Interactions(list("abc"), list("xyz"), [1, 2, 3])
    part = ratings.take(np.array([2]))
    assert part.users.tolist() == [2]
    assert part.user_ids is ratings.user_ids
    with pytest.raises(DataError, match="at least one"):
        ratings.take(np.zeros(3, bool))


def test_impossible_ratings_are_refused():
    with pytest.raises(ShapeError, match="one length"):
        Interactions([1, 2], [1])
    with pytest.raises(ShapeError, match="one dimension"):
        Interactions([[1, 2]], [1])
    with pytest.raises(DataError, match="nan in row 1"):
        Interactions([1, 2], [1, 2], [1, np.nan])
    with pytest.raises(DataError, match="at least one"):
        Interactions([], [])
    with pytest.raises(DTypeError, match="one type"):
        Interactions([1, "a"], [1, 2])
    with pytest.raises(DataError, match="row 1 has none"):
        Interactions(["a", None], [1, 2])
    good = Interactions([1], [1])
    with pytest.raises(IndexRangeError, match="users must be in"):
        Interactions.from_codes(good.users + 1, good.items, user_ids=good.user_ids)


def numbered(count: int) -> Interactions:
    """Return interactions that can be told apart by their item, with every column."""
    places = np.arange(count)
    return Interactions.from_codes(
        places % 3, places, places / 2, 100 - places, places * 2
    )


def places(data: Interactions) -> list[int]:
    assert data.users.tolist() == (data.items % 3).tolist()  # columns go along
    assert data.ratings.tolist() == (data.items / 2).tolist()
    assert data.timestamps.tolist() == (100 - data.items).tolist()
    assert data.weights.tolist() == (data.items * 2).tolist()
    return data.items.tolist()


def test_every_column_has_its_type():
    data = Interactions(["a"], ["x"], [4], [9.75], [2])
    assert data.ratings.dtype == data.weights.dtype == np.float32
    assert data.timestamps.dtype == np.int64
    assert data.timestamps.tolist() == [9]
    assert (data.shape, data.n_users, data.n_items) == ((1,), 1, 1)
    assert repr(data) == "Interactions(1 of 1 users, 1 items)"
    bare = Interactions(["a"], ["x"])
    assert bare.ratings.tolist() == [1]
    assert bare.timestamps is bare.weights is None


def test_dates_become_seconds():
    dates = np.array(["1970-01-02", "1970-01-01T00:00:10"], "datetime64[ms]")
    assert Interactions([1, 1], [2, 3], timestamps=dates).timestamps.tolist() == [
        86400,
        10,
    ]


def test_codes_keep_sizes_beyond_the_data():
    data = Interactions.from_codes(
        [0, 2], [1, 1], user_ids=np.array(["a", "b", "c", "d"], object)
    )
    assert (data.n_users, data.n_items) == (4, 2)
    assert data.user_ids[data.users].tolist() == ["a", "c"]
    assert data.item_ids.tolist() == [0, 1]
    assert data.csr().toarray().tolist() == [[0, 1], [0, 0], [0, 1], [0, 0]]


def test_a_negative_number_is_an_id_but_no_code():
    assert Interactions([-1, 5], [7, 7]).user_ids.tolist() == [-1, 5]
    with pytest.raises(IndexRangeError, match=r"users must be in \[0, 6\), found -1"):
        Interactions.from_codes([5, -1], [7, 7])
    with pytest.raises(IndexRangeError, match=r"items must be in \[0, 3\), .*row 1"):
        Interactions.from_codes([0, 0], [2, 3], item_ids=np.arange(3))
    with pytest.raises(IndexRangeError, match="found 4294967296 in row 0"):
        Interactions.from_codes([2**32], [0])
    with pytest.raises(DTypeError, match="integer codes"):
        Interactions.from_codes([0.0], [0])


def test_no_interactions_is_an_error_of_its_own_words():
    for make in (Interactions, Interactions.from_codes):
        with pytest.raises(DataError, match="no interactions"):
            make([], [])
    with pytest.raises(DataError, match="no interactions"):
        numbered(3).take([])


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"weights": [1, np.nan]}, DataError, "finite weights .* nan in row 1"),
        ({"weights": [1, -2]}, DataError, r"-2.0 in row 1"),
        ({"weights": [1, 1, 1]}, ShapeError, "3 weights"),
        ({"ratings": [np.inf, 1]}, DataError, "inf in row 0"),
        ({"ratings": [1, 1e300]}, DataError, r"1e\+300 in row 1"),
        ({"ratings": ["1", "2"]}, DTypeError, "ratings must be numbers"),
        ({"ratings": [None, 2]}, DTypeError, "ratings must be numbers"),
        ({"ratings": [[1], [2]]}, ShapeError, "ratings in one dimension"),
        ({"ratings": 3.0}, DTypeError, "array or a list"),
        ({"ratings": [[1, 2], [3]]}, ShapeError, "cannot be made an array"),
        ({"timestamps": [1, np.nan]}, DataError, "nan in row 1"),
        ({"timestamps": [1e30, 1]}, DataError, r"1e\+30 in row 0"),
        ({"timestamps": [2**63, 1]}, DataError, "in row 0"),
        ({"timestamps": ["now", "then"]}, DTypeError, "datetime64"),
        (
            {"timestamps": np.array(["2020-01-01", "NaT"], "datetime64[s]")},
            DataError,
            "NaT in row 1",
        ),
        ({"timestamps": [5]}, ShapeError, "1 timestamps"),
        ({"users": [1.5, np.nan]}, DataError, "row 1 has none"),
        ({"users": "ab"}, DTypeError, "array or a list"),
        ({"items": [1]}, ShapeError, "2 users, 1 items"),
        ({"items": [object(), object()]}, DTypeError, "one type"),
    ],
)
def test_bad_columns_are_named_with_their_row(columns, error, message):
    with pytest.raises(error, match=message):
        Interactions(**{"users": [1, 2], "items": [3, 4], **columns})


def test_a_shuffle_is_seeded_and_keeps_all():
    data = numbered(40)
    first = places(data.shuffle(1))
    assert sorted(first) == places(data) == list(range(40))
    assert places(data.shuffle(1)) == first != places(data.shuffle(2))


@settings(max_examples=60)
@given(count=st.integers(1, 40), size=st.integers(1, 45), parts=st.integers(1, 40))
def test_batches_and_partitions_keep_remainders(count, size, parts):
    data = numbered(count)
    batches = [places(batch) for batch in data.batches(size)]
    assert list(itertools.chain(*batches)) == list(range(count))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    full = [places(batch) for batch in data.batches(min(size, count), drop_last=True)]
    assert full == batches[: count // size] or size > count
    if parts > count:
        with pytest.raises(SettingError, match="n must be at most"):
            data.partitions(parts)
        return
    found = [places(part) for part in data.partitions(parts)]
    assert list(itertools.chain(*found)) == list(range(count))
    assert len(found) == parts
    assert max(map(len, found)) - min(map(len, found)) <= 1
    by_part = [places(b) for part in data.partitions(parts) for b in part.batches(size)]
    assert list(itertools.chain(*by_part)) == list(range(count))


def test_codes_are_columns_of_a_graph():
    data = Interactions(["a", "b", "a"], ["x", "y", "y"], [1.0, 0.0, 3.0])
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    target = wp.InputNode(np.zeros((1, 1)))
    users = wp.ParameterNode(np.ones((data.n_users, 2)))
    items = wp.ParameterNode(np.ones((data.n_items, 2)))
    loss = (target - users.index(user).vector_dot(items.index(item))).square()
    columns = {user: data.users, item: data.items, target: data.ratings}
    assert wp.evaluate(loss, columns).ravel().tolist() == [1, 4, 1]
