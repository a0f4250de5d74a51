"""Splits of interactions into a train and a test part over the same ids.

Every interaction is in exactly one of the parts, and neither of them is empty.
"""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.interactions import Interactions
from wyrm_py.data.rows import whole
from wyrm_py.errors import DataError, SettingError, ShapeError
from wyrm_py.seeds import RandomState, generator, seed_of
from wyrm_py.values import as_array

Parts = tuple[Interactions, Interactions]


def random_split(
    interactions: Interactions, test_share: float = 0.2, random_state: RandomState = 0
) -> Parts:
    """Return (train, test): every interaction is drawn into the test part alike.

    Parameters
    ----------
    interactions : Interactions
        At least two, N.
    test_share : float in (0, 1)
        The test part gets `round(test_share * N)`, at least one; so does the train
        part.
    random_state : int >= 0, Generator, RandomState or None
        The same seed gives the same split.

    Raises
    ------
    SettingError
        `test_share` is not between 0 and 1.
    DataError
        There is only one interaction.
    """
    _require_share("random_split", test_share)
    count = len(interactions)
    if count < 2:
        raise DataError("random_split: at least two ratings are required, got one.")
    n_test = min(max(round(test_share * count), 1), count - 1)
    in_test = np.zeros(count, bool)
    order = generator("random_split", random_state).permutation(count)
    in_test[order[:n_test]] = True
    return _parts("random_split", interactions, in_test)


def user_split(
    interactions: Interactions, test_share: float = 0.2, random_state: RandomState = 0
) -> Parts:
    """Return (train, test): all interactions of a user are in the same part.

    A user is in the test part if a hash of the seed and of the text of the id, taken
    as a number in [0, 1), is below `test_share`. So one seed puts a user on the same
    side in any data, whoever else is in it, and `test_share` of the users are in the
    test part on average.

    Parameters
    ----------
    interactions : Interactions
    test_share : float in (0, 1)
    random_state : int >= 0, Generator, RandomState or None

    Raises
    ------
    SettingError
        `test_share` is not between 0 and 1.
    DataError
        No user, or every user, is drawn into the test part.
    """
    _require_share("user_split", test_share)
    seed = str(seed_of("user_split", random_state)).encode()
    draws = [
        int.from_bytes(blake2b(b"%b %b" % (seed, str(user).encode())).digest()[:8])
        for user in interactions.user_ids
    ]
    in_test = np.array(draws, np.uint64) < np.uint64(test_share * 2**64)
    return _parts("user_split", interactions, in_test[interactions.users])


def time_split(
    interactions: Interactions,
    test_share: float = 0.2,
    cutoff: int | np.datetime64 | None = None,
) -> Parts:
    """Return (train, test): everything in the train part is earlier than the test part.

    Parameters
    ----------
    interactions : Interactions
        With timestamps.
    test_share : float in (0, 1)
        The latest are the test part: this share of them, and what is as old as the
        oldest of these.
    cutoff : timestamp or None
        The first time of the test part, instead of a share.

    Raises
    ------
    SettingError
        `test_share` is not between 0 and 1.
    DataError
        There are no timestamps, or one of the parts is empty.
    """
    _require_share("time_split", test_share)
    times = _timestamps("time_split", interactions)
    if isinstance(cutoff, np.datetime64):
        cutoff = int(cutoff.astype("datetime64[s]").astype(np.int64))
    if cutoff is None:
        n_test = max(round(test_share * len(times)), 1)
        cutoff = int(np.partition(times, -n_test)[-n_test])
    return _parts("time_split", interactions, times >= cutoff)


def leave_out_split(
    interactions: Interactions,
    per_user: int = 1,
    latest: bool = False,
    random_state: RandomState = 0,
) -> Parts:
    """Return (train, test): `per_user` interactions of each user are the test part.

    Users with `per_user` interactions or fewer stay wholly in the train part.

    Parameters
    ----------
    interactions : Interactions
    per_user : int >= 1
    latest : bool
        Take each user's latest (equal times: in the order of the data) rather than
        random ones.
    random_state : int >= 0, Generator, RandomState or None
        The same seed gives the same split.

    Raises
    ------
    SettingError
        `per_user` is below one.
    DataError
        No user has enough interactions, or `latest` is asked for without timestamps.
    """
    per_user = whole("leave_out_split", "per_user", per_user, least=1)
    users = interactions.users
    if latest:
        order = np.lexsort((_timestamps("leave_out_split", interactions), users))
    else:
        draws = generator("leave_out_split", random_state).random(len(users))
        order = np.lexsort((draws, users))
    counts = np.bincount(users, minlength=interactions.n_users)
    ends = np.cumsum(counts)[users[order]]
    enough = counts[users[order]] > per_user
    chosen = order[enough & (np.arange(len(order)) >= ends - per_user)]
    if len(chosen) == 0:
        raise DataError(
            f"leave_out_split: no user has more than {per_user} ratings. "
            "Leave out fewer."
        )
    in_test = np.zeros(len(interactions), bool)
    in_test[chosen] = True
    return _parts("leave_out_split", interactions, in_test)


def predicate_split(
    interactions: Interactions,
    in_test: Callable[[Interactions], NDArray[np.bool_]],
) -> Parts:
    """Return (train, test) by a rule, such as `lambda data: data.ratings < 3`.

    Parameters
    ----------
    interactions : Interactions
    in_test : function of the interactions, returns a mask of shape (N,)

    Raises
    ------
    ShapeError
        The function returns something else than a mask.
    DataError
        One of the parts is empty.
    """
    mask = as_array("predicate_split: in_test", in_test(interactions))
    if mask.dtype != bool or mask.shape != (len(interactions),):
        raise ShapeError(
            f"predicate_split: in_test must return a mask of shape "
            f"({len(interactions)},), got {mask.dtype} of shape {mask.shape}."
        )
    return _parts("predicate_split", interactions, mask)


def positives(interactions: Interactions, threshold: float | None) -> Interactions:
    """Return those with a rating of at least `threshold`; all if that is None.

    Raises
    ------
    DataError
        No rating reaches the threshold.
    """
    if threshold is None:
        return interactions
    ratings = interactions.ratings
    keep = ratings >= threshold
    if not keep.any():
        raise DataError(
            f"positives: no rating reaches {threshold:g}; they go from "
            f"{ratings.min():g} to {ratings.max():g}. Lower the threshold."
        )
    return interactions.take(keep)


def _require_share(who: str, test_share: float) -> None:
    if not 0 < test_share < 1:
        raise SettingError(
            f"{who}: test_share must lie between 0 and 1, got {test_share}. "
            "Give 0.2 to test on one rating in five."
        )


def _timestamps(who: str, interactions: Interactions) -> NDArray[np.int64]:
    if interactions.timestamps is None:
        raise DataError(
            f"{who}: the latest ratings cannot be found without timestamps. Use a "
            "random split."
        )
    return interactions.timestamps


def _parts(who: str, interactions: Interactions, in_test: NDArray[np.bool_]) -> Parts:
    if in_test.all() or not in_test.any():
        empty = "train" if in_test.any() else "test"
        raise DataError(
            f"{who}: the {empty} part gets no interactions, all {len(in_test)} are in "
            "the other one. Change the share or the rule, or give more data."
        )
    return interactions.take(~in_test), interactions.take(in_test)
