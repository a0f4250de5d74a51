"""Ids hashed to a fixed number of rows: no map, and nothing that grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data import id_types
from wyrm_py.data.hash_table import mixed
from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import DataError, DTypeError, SettingError, UnknownIdError

if TYPE_CHECKING:  # slow to import
    from wyrm_py.data.readers import IdKind

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
    type : str or None
        Of the ids, as of `IdMap`; that of the first ones added by default. Ids of
        another type are refused: 42 and "42" would have different rows.

    Source: Weinberger et al., "Feature hashing for large scale multitask learning",
    ICML 2009, without their signs.
    """

    def __init__(self, buckets: int, kind: str, type: str | None = None) -> None:
        whole = isinstance(buckets, int | np.integer) and not isinstance(buckets, bool)
        if not whole or not 0 < buckets <= 1 << 31 or buckets & (buckets - 1):
            raise SettingError(
                f"begin_stream: {kind}_buckets must be a power of two up to 2**31, got "
                f"{buckets!r}."
            )
        self.buckets, self.kind, self.type = int(buckets), kind, type

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
            As `IdMap.add`.
        DataError
            An id is missing.
        """
        return self._rows(ids)[0]

    def add(self, ids: Ids) -> Codes:
        """Return the rows of ids, as `codes`; the first ones tell the type."""
        rows, self.type = self._rows(ids)
        return rows

    def from_text(self, text: str) -> Any:
        """Return the id that is written so: "42" is the integer 42 among integers.

        Raises
        ------
        UnknownIdError
            No id of this type is written so.
        """
        found = id_types.typed_from_text(self.type or "str", text)
        if not found:
            raise UnknownIdError(
                f"{self.kind} {text!r} is none: the {self.kind}s are of type "
                f"{self.type}."
            )
        return found[0]

    def _rows(self, ids: Ids) -> tuple[Codes, str | None]:
        """Return the rows of ids and their type."""
        if hasattr(ids, "to_numpy"):
            ids = ids.to_numpy()
        given = id_types.to_keys(f"{self.kind}s", ids)
        if given.missing is not None:
            raise DataError(
                f"{self.kind}s: an id is required in every row, row "
                f"{int(np.argmax(given.missing))} has none."
            )
        typed = id_types.as_type(self.type, given)
        differs = typed.type != self.type or typed.missing is not None
        if self.type and given.type and differs:
            raise DTypeError(
                f"{self.kind}s: the model hashes ids of type {self.type}, got "
                f"{given.type}. Give ids of that type."
            )
        bits = mixed(typed.keys.bits) & np.uint64(self.buckets - 1)
        return bits.astype(np.int64), self.type or typed.type

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
        """Return what a file keeps: the number of buckets, named by the type of ids."""
        name = f"{self.kind}_ids.buckets.{self.type or 'none'}"
        return {name: np.array([self.buckets], np.int64)}


def user_ids(arrays: Mapping[str, NDArray[Any]]) -> IdMap | HashedIds:
    """Return the users of a file, by their ids or hashed."""
    prefix = "user_ids.buckets."
    for name, buckets in arrays.items():
        if name.startswith(prefix):
            type_name = name.removeprefix(prefix)
            known = None if type_name == "none" else type_name
            return HashedIds(int(buckets[0]), "user", known)
    return IdMap.from_arrays(arrays, "user")


def kinds_in_text(model: Any) -> tuple[IdKind, IdKind]:
    """Return what ids of a model's users and items are where a text has them."""
    users, items = (getattr(model, f"{kind}s_", None) for kind in ("user", "item"))
    return _kind_in_text(users), _kind_in_text(items)


def _kind_in_text(known: IdMap | HashedIds | None) -> IdKind:
    return "int" if known and known.type in ("int64", "uint64") else "str"
