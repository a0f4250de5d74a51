"""Splits are seeded, lose nothing and keep users apart as they promise."""

import numpy as np
import pytest

from wyrm_py.data.interactions import Interactions
from wyrm_py.data.split import leave_out_split, positives, random_split
from wyrm_py.errors import DataError, SettingError


@pytest.fixture
def ratings() -> Interactions:
    rng = np.random.default_rng(0)
    users = np.concatenate([rng.integers(0, 20, 197), [20, 20, 21]])
    return Interactions(
        users, np.arange(200), rng.integers(1, 6, 200), rng.integers(0, 9, 200)
    )


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
