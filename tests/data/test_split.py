"""Splits are seeded, lose nothing and keep users apart as they promise."""

from pathlib import Path

import numpy as np
import pytest

from wyrm_py.data import (
    Interactions,
    leave_out_split,
    movielens_100k,
    positives,
    predicate_split,
    random_split,
    time_split,
    user_split,
)
from wyrm_py.errors import DataError, SettingError, ShapeError

DATA = Path(__file__).parents[2] / "../shared/data/ml-100k"


@pytest.fixture
def ratings() -> Interactions:
    rng = np.random.default_rng(0)
    users = np.concatenate([rng.integers(0, 20, 197), [20, 20, 21]])
    numbers = (rng.integers(1, 6, 200), rng.integers(0, 9, 200), rng.random(200))
    return Interactions(users, np.arange(200), *numbers)


def items(part: Interactions) -> set[int]:
    return set(part.items.tolist())  # every rating has its own item


def test_a_random_split_loses_nothing_and_is_seeded(ratings):
    train, test = random_split(ratings, 0.25, random_state=3)
    assert len(test) == 50
    assert items(train) | items(test) == items(ratings)
    assert items(train).isdisjoint(items(test))
    assert items(random_split(ratings, 0.25, random_state=3)[1]) == items(test)
    assert items(random_split(ratings, 0.25, random_state=4)[1]) != items(test)


@pytest.mark.parametrize("latest", [False, True])
def test_leave_out_takes_k_of_each_user_with_more(ratings, latest):
    train, test = leave_out_split(ratings, 2, latest=latest)
    counts = np.bincount(ratings.users)
    expected = np.where(counts > 2, 2, 0)
    assert np.bincount(test.users, minlength=22).tolist() == expected.tolist()
    assert expected[20:].tolist() == [0, 0]
    assert items(train) | items(test) == items(ratings)


def test_the_latest_ratings_are_left_out(ratings):
    train, test = leave_out_split(ratings, 3, latest=True)
    for user in set(test.users.tolist()):
        assert (
            test.timestamps[test.users == user].min()
            >= train.timestamps[train.users == user].max()
        )


def test_random_leave_out_is_seeded(ratings):
    first = items(leave_out_split(ratings, 1, random_state=1)[1])
    assert first == items(leave_out_split(ratings, 1, random_state=1)[1])
    assert first != items(leave_out_split(ratings, 1, random_state=2)[1])


def test_positives_reach_the_threshold(ratings):
    kept = positives(ratings, 4)
    assert kept.ratings.min() == 4
    assert len(kept) == (ratings.ratings >= 4).sum()
    assert positives(ratings, None) is ratings


def test_impossible_splits_are_refused(ratings):
    one = ratings.take(np.array([0]))
    for share in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(SettingError, match="test_share"):
            random_split(ratings, share)
    with pytest.raises(DataError, match="two ratings"):
        random_split(one)
    with pytest.raises(SettingError, match="per_user"):
        leave_out_split(ratings, 0)
    with pytest.raises(DataError, match="no user has more"):
        leave_out_split(one)
    with pytest.raises(DataError, match="without timestamps"):
        leave_out_split(Interactions([1, 1], [1, 2]), latest=True)
    with pytest.raises(DataError, match="go from 1 to 5"):
        positives(ratings, 6)


@pytest.mark.parametrize(
    "split",
    [
        lambda data: random_split(data, 0.3),
        lambda data: user_split(data, 0.3),
        lambda data: time_split(data, 0.3),
        lambda data: leave_out_split(data, latest=True),
        lambda data: predicate_split(data, lambda d: d.ratings < 3),
    ],
)
def test_every_split_partitions_over_the_same_ids(ratings, split):
    train, test = split(ratings)
    assert sorted([*train.items, *test.items]) == ratings.items.tolist()
    for part in (train, test):
        assert (part.user_ids is ratings.user_ids) and part.item_ids is ratings.item_ids
        rows = part.items  # item k is in row k
        for column in ("users", "ratings", "timestamps", "weights"):
            assert (getattr(part, column) == getattr(ratings, column)[rows]).all()
    for part, again in zip((train, test), split(ratings), strict=True):
        assert part.items.tolist() == again.items.tolist()


def test_users_stay_whole(ratings):
    train, test = user_split(ratings, 0.4, random_state=1)
    assert set(train.users.tolist()).isdisjoint(test.users.tolist())
    assert items(user_split(ratings, 0.4, random_state=1)[1]) == items(test)
    assert items(user_split(ratings, 0.4, random_state=2)[1]) != items(test)


def test_a_user_stays_on_one_side_whoever_else_is_there():
    names = [f"user{k}" for k in range(300)]
    train, test = user_split(Interactions(names, names), 0.2, random_state=7)
    in_test = {str(test.user_ids[u]) for u in test.users}
    some = [*names[::-3], "somebody new"]
    _, again = user_split(Interactions(some, some), 0.2, random_state=7)
    found = {str(again.user_ids[u]) for u in again.users} - {"somebody new"}
    assert found == in_test & set(some)
    assert len(train) + len(test) == 300


def test_the_share_of_users_is_kept_on_average_for_every_seed():
    data = Interactions(np.arange(5000), np.arange(5000))
    for seed in (0, 1, 2**40, np.random.default_rng(0), None):
        _, test = user_split(data, 0.2, random_state=seed)
        assert len(test) == pytest.approx(1000, abs=5 * 28.3)  # standard deviations


def test_time_splits_never_look_ahead(ratings):
    for share in (0.05, 0.3, 0.6):
        train, test = time_split(ratings, share)
        assert train.timestamps.max() < test.timestamps.min()
        oldest = test.timestamps.min()
        assert len(test) >= round(share * 200)
        assert (test.timestamps > oldest).sum() < round(share * 200)
    train, test = time_split(ratings, cutoff=4)
    assert (train.timestamps.max(), test.timestamps.min()) == (3, 4)
    dated = Interactions([1, 2], [3, 4], timestamps=[86399, 86400])
    _, test = time_split(dated, cutoff=np.datetime64("1970-01-02"))
    assert test.timestamps.tolist() == [86400]


def test_a_rule_decides(ratings):
    train, test = predicate_split(ratings, lambda data: data.ratings == 5)
    assert set(test.ratings.tolist()) == {5}
    assert 5 not in train.ratings
    for wrong in (lambda data: data.ratings, lambda data: data.ratings[:3] == 5):
        with pytest.raises(ShapeError, match="mask of shape"):
            predicate_split(ratings, wrong)


def test_an_empty_part_is_refused():
    data = Interactions([1, 1, 1], [1, 2, 3], timestamps=[5, 5, 5])
    with pytest.raises(DataError, match="the (train|test) part gets no interactions"):
        user_split(data)
    with pytest.raises(DataError, match="the train part gets no interactions"):
        time_split(data)
    with pytest.raises(DataError, match="the test part gets no interactions"):
        time_split(data, cutoff=6)
    with pytest.raises(DataError, match="the test part gets no interactions"):
        predicate_split(data, lambda d: d.items > 9)
    with pytest.raises(DataError, match="without timestamps"):
        time_split(Interactions([1, 2], [1, 2]))
    for split in (user_split, time_split):
        with pytest.raises(SettingError, match="test_share"):
            split(data, 1.0)
    for split in (random_split, user_split, leave_out_split):
        with pytest.raises(SettingError, match="random_state"):
            split(Interactions([1, 2], [1, 2]), random_state=-1)


def test_users_of_movielens_are_split_as_a_fifth():
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    data = movielens_100k(DATA)
    train, test = user_split(data, 0.2, random_state=42)
    n_test = len(np.unique(test.users))
    assert n_test + len(np.unique(train.users)) == 943
    assert n_test == pytest.approx(0.2 * 943, abs=3 * 12.3)
    assert len(train) + len(test) == 100_000
