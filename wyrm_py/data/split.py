"""Seeded splits of ratings into a train and a test part over the same ids."""

import numpy as np

from wyrm_py.data.ratings import Ratings
from wyrm_py.errors import DataError, SettingError


def random_split(
    ratings: Ratings, test_share: float = 0.2, seed: int = 0
) -> tuple[Ratings, Ratings]:
    """Return (train, test): every rating is drawn into the test part alike.

    Parameters
    ----------
    ratings : Ratings
        At least two, N.
    test_share : float in (0, 1)
        The test part gets `round(test_share * N)` ratings, at least one; so does
        the train part.
    seed : int
        The same seed gives the same split.

    Raises
    ------
    SettingError
        `test_share` is not between 0 and 1.
    DataError
        There is only one rating.
    """
    if not 0 < test_share < 1:
        raise SettingError(
            f"random_split: test_share must lie between 0 and 1, got {test_share}. "
            "Give 0.2 to test on one rating in five."
        )
    count = len(ratings)
    if count < 2:
        raise DataError("random_split: at least two ratings are required, got one.")
    n_test = min(max(round(test_share * count), 1), count - 1)
    in_test = np.zeros(count, bool)
    in_test[np.random.default_rng(seed).permutation(count)[:n_test]] = True
    return ratings.take(~in_test), ratings.take(in_test)


def leave_out_split(
    ratings: Ratings, per_user: int = 1, latest: bool = False, seed: int = 0
) -> tuple[Ratings, Ratings]:
    """Return (train, test): `per_user` ratings of each user go into the test part.

    Users with `per_user` ratings or fewer stay wholly in the train part.

    Parameters
    ----------
    ratings : Ratings
    per_user : int >= 1
    latest : bool
        Take each user's latest ratings (equal times: in the order of the data)
        rather than random ones.
    seed : int
        The same seed gives the same split.

    Raises
    ------
    SettingError
        `per_user` is below one.
    DataError
        No user has enough ratings, or `latest` is asked for without timestamps.
    """
    if per_user < 1:
        raise SettingError(
            f"leave_out_split: per_user must be 1 or more, got {per_user}."
        )
    if latest:
        if ratings.timestamps is None:
            raise DataError(
                "leave_out_split: the latest ratings cannot be found without "
                "timestamps. Use latest=False for random ones."
            )
        order = np.lexsort((ratings.timestamps, ratings.users))
    else:
        draws = np.random.default_rng(seed).random(len(ratings))
        order = np.lexsort((draws, ratings.users))
    counts = np.bincount(ratings.users, minlength=ratings.n_users)
    ends = np.cumsum(counts)[ratings.users[order]]
    enough = counts[ratings.users[order]] > per_user
    chosen = order[enough & (np.arange(len(order)) >= ends - per_user)]
    if len(chosen) == 0:
        raise DataError(
            f"leave_out_split: no user has more than {per_user} ratings. "
            "Leave out fewer."
        )
    in_test = np.zeros(len(ratings), bool)
    in_test[chosen] = True
    return ratings.take(~in_test), ratings.take(in_test)


def positives(ratings: Ratings, threshold: float | None) -> Ratings:
    """Return the ratings of at least `threshold`; all of them if that is None.

    Raises
    ------
    DataError
        No rating reaches the threshold.
    """
    if threshold is None:
        return ratings
    keep = ratings.ratings >= threshold
    if not keep.any():
        low, high = ratings.ratings.min(), ratings.ratings.max()
        raise DataError(
            f"positives: no rating reaches {threshold:g}; they go from {low:g} to "
            f"{high:g}. Lower the threshold."
        )
    return ratings.take(keep)
