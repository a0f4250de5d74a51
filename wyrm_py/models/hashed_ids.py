"""Ids hashed to a fixed number of rows: no map, and nothing that grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data import id_types
from wyrm_py.data.hash_table import mixed
from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import DataError, SettingError

Codes = NDArray[np.int64]


class HashedIds:
    """Stands for an `IdMap` where ids need only be found, never listed.

    Two ids share a row with probability 1 / buckets: of U users about
    U (1 - exp(-U / buckets)) share theirs with another, and what is learned of one
    disturbs the other. An id never seen has a row too, of whoever shares it.

    Parameters
    ----------
    buckets : int, a power of two, at most 2**31
    kind : str
        "user" or "item", for messages.

    Source: Weinberger et al., "Feature hashing for large scale multitask learning",
    ICML 2009, without their signs.
    """

    def __init__(self, buckets: int, kind: str) -> None:
        whole = isinstance(buckets, int | np.integer) and not isinstance(buckets, bool)
        if not whole or not 0 < buckets <= 1 << 31 or buckets & (buckets - 1):
            raise SettingError(
                f"begin_stream: {kind}_buckets must be a power of two up to 2**31, got "
                f"{buckets!r}."
            )
        self.buckets, self.kind = int(buckets), kind

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.buckets

    def __repr__(self) -> str:
        return f"HashedIds({self.buckets}, {self.kind!r})"

    def codes(self, ids: Ids) -> Codes:
        """Return the rows of ids, int64, shape (K,), in [0, buckets).

        Raises
        ------
        DTypeError, ShapeError
            As `IdMap.codes`.
        DataError
            An id is missing.
        """
        if hasattr(ids, "to_numpy"):
            ids = ids.to_numpy()
        typed = id_types.to_keys(f"{self.kind}s", ids)
        if typed.missing is not None:
            raise DataError(
                f"{self.kind}s: an id is required in every row, row "
                f"{int(np.argmax(typed.missing))} has none."
            )
        bits = mixed(typed.keys.bits)
        return (bits & np.uint64(self.buckets - 1)).astype(np.int64)

    add = codes

    def require(self, ids: Ids, who: str) -> Codes:
        """Return the rows of ids: every id has one."""
        return self.codes(ids)

    @property
    def ids(self) -> NDArray[Any]:
        """Refuse: see `take`."""
        return self.take(np.arange(0))

    def take(self, codes: Any) -> NDArray[Any]:
        """Refuse: a row does not tell whose it is.

        Raises
        ------
        SettingError
            Always.
        """
        raise SettingError(
            f"{self.kind}s are hashed, so a row does not tell which {self.kind} it is "
            "of. Train without hashing to list them."
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a file keeps: the number of buckets."""
        return {f"{self.kind}_ids.buckets": np.array([self.buckets], np.int64)}


def user_ids(arrays: Mapping[str, NDArray[Any]]) -> IdMap | HashedIds:
    """Return the users of a file, by their ids or hashed."""
    buckets = arrays.get("user_ids.buckets")
    if buckets is None:
        return IdMap.from_arrays(arrays, "user")
    return HashedIds(int(buckets[0]), "user")
