"""Histories hold each user's items in the order of time; chunks lose nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wyrm_py as wp
from wyrm_py.data import Interactions, movielens_100k
from wyrm_py.errors import DataError, IndexRangeError, SettingError

DATA = Path(__file__).parents[2] / "../shared/data/ml-100k"


def of_one_user(count: int) -> Interactions:
    return Interactions.from_codes(
        np.zeros(count, int), np.arange(count), timestamps=np.arange(count)
    )


def lists(histories) -> list[list[int]]:
    return [items.tolist() for items in histories.items]


def test_items_stand_in_the_order_of_time():
    data = Interactions.from_codes(
        [1, 0, 1, 1, 0], [10, 11, 12, 13, 14], timestamps=[3, 5, 1, 2, 4]
    )
    histories = data.histories()
    assert histories.users.tolist() == [0, 1]
    assert lists(histories) == [[14, 11], [12, 13, 10]]
    assert histories.rows.tolist() == [4, 1, 2, 3, 0]
    assert data.timestamps[histories.rows].tolist() == [4, 5, 1, 2, 3]
    with pytest.raises(IndexRangeError):
        histories.items[2]  # there is no such user


@pytest.mark.parametrize("timestamps", [None, [7, 7, 7, 7]])
def test_equal_times_stay_in_the_order_of_the_data(timestamps):
    data = Interactions.from_codes([0, 1, 0, 0], [3, 2, 1, 0], timestamps=timestamps)
    assert lists(data.histories()) == [[3, 1, 0], [2]]


def test_the_order_of_the_data_is_kept_in_long_histories():
    users = np.random.default_rng(0).integers(0, 2, 2000)  # short sorts are stable
    expected = [np.flatnonzero(users == user).tolist() for user in (0, 1)]
    for timestamps in (None, np.full(2000, 7)):
        data = Interactions.from_codes(users, np.arange(2000), timestamps=timestamps)
        assert lists(data.histories()) == expected


def test_a_user_without_interactions_has_an_empty_history():
    data = Interactions.from_codes([2], [0], user_ids=np.arange(4))
    assert lists(data.histories()) == [[], [], [0], []]
    chunks = data.histories().chunks(5)
    assert (chunks.users.tolist(), lists(chunks)) == ([2], [[0]])


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (5, 3, [[0, 1], [2, 3, 4]]),
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (2, 3, [[0, 1]]),
        (4, 1, [[0], [1], [2], [3]]),
    ],
)
def test_the_first_chunk_is_the_short_one(count, size, expected):
    assert lists(of_one_user(count).histories().chunks(size)) == expected


def test_short_chunks_are_left_out_when_asked_for():
    histories = of_one_user(5).histories()
    assert lists(histories.chunks(3, shortest=3)) == [[2, 3, 4]]
    with pytest.raises(DataError, match="no interactions are left"):
        of_one_user(2).histories().chunks(3, shortest=3)
    with pytest.raises(SettingError, match="at most the size, 3"):
        histories.chunks(3, shortest=4)
    for size in (0, 2.5):
        with pytest.raises(SettingError, match="size"):
            histories.chunks(size)


@settings(max_examples=80)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1),
    size=st.integers(1, 12),
    shortest=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_chunks_equal_slices_of_lists(pairs, size, shortest, seed):
    shortest = min(shortest, size)
    times = np.random.default_rng(seed).integers(0, 4, len(pairs))
    users, items = (list(column) for column in zip(*pairs, strict=True))
    data = Interactions.from_codes(
        users, items, timestamps=times, user_ids=np.arange(7), item_ids=np.arange(10)
    )
    expected = []
    for user in range(7):
        places = [k for k in range(len(pairs)) if users[k] == user]
        places.sort(key=lambda k: times[k])  # stable
        first = len(places) % size
        cuts = [places[:first]] if first else []
        cuts += [places[k : k + size] for k in range(first, len(places), size)]
        expected += [(user, cut) for cut in cuts if len(cut) >= shortest]
    if not expected:
        with pytest.raises(DataError, match="no interactions"):
            data.histories().chunks(size, shortest)
        return
    chunks = data.histories().chunks(size, shortest)
    assert chunks.users.tolist() == [user for user, _ in expected]
    assert lists(chunks) == [[items[k] for k in cut] for _, cut in expected]
    assert chunks.rows.tolist() == [k for _, cut in expected for k in cut]


def test_there_and_back_keeps_every_interaction():
    rng = np.random.default_rng(0)
    data = Interactions(
        rng.integers(0, 9, 300),
        rng.integers(0, 50, 300),
        rng.integers(1, 6, 300),
        rng.integers(0, 99, 300),
    )
    for histories in (data.histories(), data.histories().chunks(7)):
        assert sorted(histories.rows.tolist()) == list(range(300))
        back = data.take(histories.rows)
        owners = np.repeat(histories.users, np.diff(histories.items.offsets))
        assert back.users.tolist() == owners.tolist()
        assert back.items.tolist() == histories.items.values.tolist()


def test_histories_train_a_graph():
    """Users and ragged items are columns of one length, as `fit` takes them."""
    data = Interactions([0, 0, 0, 1, 2, 2], [0, 1, 2, 1, 0, 2])
    chunks = data.histories().chunks(2)
    user, items = wp.IndexInputNode([0]), wp.IndexInputNode([0], capacity=2)
    users = wp.ParameterNode(np.ones((3, 1)))
    table = wp.ParameterNode(np.ones((3, 1)))
    loss = (users.index(user).sum() * table.index(items).sum()).square()
    history = wp.fit(
        loss,
        wp.SGD(1e-3),
        {user: chunks.users, items: chunks.items},
        epochs=1,
        engine="numpy",
        shuffle=False,
        progress=False,
    )
    assert lists(chunks) == [[0], [1, 2], [1], [0, 2]]
    assert history.losses[0] == pytest.approx((1 + 4 + 1 + 4) / 4, rel=0.05)


def test_movielens_has_the_histories_it_is_known_for():
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    data = movielens_100k(DATA)
    histories = data.histories()
    lengths = np.diff(histories.items.offsets)
    assert (lengths.min(), lengths.max(), lengths.sum()) == (20, 737, 100_000)
    times = data.timestamps[histories.rows]
    same_user = (
        np.repeat(histories.users, lengths)[1:]
        == np.repeat(histories.users, lengths)[:-1]
    )
    assert (np.diff(times)[same_user] >= 0).all()
    chunks = histories.chunks(128, shortest=3)
    sizes = np.diff(chunks.items.offsets)
    assert sizes.max() == 128
    assert sizes.min() >= 3
    assert len(chunks) == sum(n // 128 + (n % 128 >= 3) for n in lengths.tolist())
