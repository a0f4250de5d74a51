"""What a `random_state` stands for: a generator of its own, or a seed."""

from __future__ import annotations

import secrets
from typing import Any, TypeAlias

import numpy as np

from wyrm_py.errors import SettingError

RandomState: TypeAlias = int | np.random.Generator | np.random.RandomState | None


def generator(who: str, random_state: RandomState) -> np.random.Generator:
    """Return the generator of a seed, a Generator itself, or a fresh one for None.

    Parameters
    ----------
    who : str
        Begins the message.
    random_state : int >= 0, Generator, RandomState or None
        Of a RandomState one number is drawn, which is the seed.

    Raises
    ------
    SettingError
        It is none of them, or a negative seed.
    """
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    return np.random.default_rng(_whole(who, random_state))


def seed_of(who: str, random_state: RandomState) -> int:
    """Return a seed in [0, 2**63): the one given, or one that is drawn.

    Parameters and errors as of `generator`.
    """
    if random_state is None:
        return secrets.randbits(63)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(1 << 63))
    return _whole(who, random_state) & ((1 << 63) - 1)


def _whole(who: str, random_state: Any) -> int:
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(1 << 63, dtype=np.uint64))
    whole = isinstance(random_state, int | np.integer)
    if not whole or isinstance(random_state, bool) or random_state < 0:
        raise SettingError(
            f"{who}: random_state must be a whole number of 0 or more, a numpy "
            f"Generator or RandomState, or None, got {random_state!r}."
        )
    return int(random_state)
