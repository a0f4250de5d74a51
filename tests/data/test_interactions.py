"""Interactions check what they are made of and keep the ids as given."""

import datetime

import numpy as np
import pytest

from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import DataError, DTypeError, IndexRangeError, ShapeError


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
