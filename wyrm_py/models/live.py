"""What a trainer tells its readers, and what they make of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from wyrm_py.data.ids import IdMap
from wyrm_py.models.hashed_ids import HashedIds
from wyrm_py.models.online_trainer import OnlineTrainer
from wyrm_py.models.publication import Publication, Subscription, arrays_of
from wyrm_py.models.seen_log import SeenLog
from wyrm_py.parameters import HogwildParameter


class Publisher:
    """Writes what is new in a trainer into a log."""

    def __init__(self, model: Any, trainer: OnlineTrainer) -> None:
        self.log = Publication()
        trainer.seen.begin_news()  # earlier readers had it from another log
        settings = model.get_params(deep=False).items()  # no optimizer: it only reads
        plain = str, int, float, type(None)
        self._settings = {name: v for name, v in settings if isinstance(v, plain)}
        self._known = {b"USER": 0, b"ITEM": 0}
        self._tables: dict[str, str] = {}
        self._hashed: list[Any] | None = None
        self._mean: float | None = None

    def follow(self, trainer: OnlineTrainer) -> None:
        """Append what came since the last call: tables first, since ids are theirs."""
        tables = {n: table.parameter.address for n, table in trainer.tables.items()}
        hashed, users = None, trainer.users
        if isinstance(users, HashedIds):
            hashed = [users.buckets, users.kind, users.type]
        if (tables, hashed) != (self._tables, self._hashed):
            head = {"settings": self._settings, "tables": tables, "hashed": hashed}
            self.log.append(b"HEAD", json.dumps(head).encode())
            self._tables, self._hashed = tables, hashed
        for kind, ids in ((b"USER", trainer.users), (b"ITEM", trainer.items)):
            before = self._known[kind]
            if isinstance(ids, IdMap) and len(ids) > before:
                new = IdMap(ids.take(np.arange(before, len(ids))), "new")
                self.log.append_arrays(kind, new.to_arrays())
                self._known[kind] = len(ids)
        if trainer.mean != self._mean:
            self._mean = trainer.mean
            self.log.append(b"MEAN", json.dumps(trainer.mean).encode())
        pairs = trainer.seen.news()
        if len(pairs):
            self.log.append_arrays(b"SEEN", {"pairs": pairs})


class Reader:
    """Follows a log, and sets the fitted attributes of a model that answers."""

    def __init__(self, log: Subscription) -> None:
        self._log = log
        self.settings: dict[str, Any] = {}
        self._tables: dict[str, HogwildParameter] = {}
        self._users: IdMap | HashedIds = IdMap(kind="user")
        self._items = IdMap(kind="item")
        self._seen = SeenLog()
        self._mean = 0.0

    def read(self) -> None:
        """Take in what is new.

        Raises
        ------
        StaleParameterError
            The trainer has ended.
        """
        self._log.require_alive()
        for kind, payload in self._log.news():
            if kind == b"HEAD":
                self._take_head(json.loads(payload))
            elif kind == b"MEAN":
                self._mean = json.loads(payload)
            elif kind == b"SEEN":
                keys = arrays_of(payload)["pairs"]
                self._seen.add(keys >> 32, keys & 0xFFFFFFFF, len(self._users))
            else:
                new = IdMap.from_arrays(arrays_of(payload), "new")
                (self._users if kind == b"USER" else self._items).add(new.ids)

    def _take_head(self, head: dict[str, Any]) -> None:
        self.settings = head["settings"]
        self._tables = {
            name: HogwildParameter.attach(address, read_only=True)
            for name, address in head["tables"].items()
        }
        if head["hashed"] is not None:
            self._users = HashedIds(*head["hashed"])

    def show(self, model: Any) -> None:
        """Set the fitted attributes to what is there now."""
        sizes = {"user": len(self._users), "item": len(self._items)}
        tables = {name: table.value for name, table in self._tables.items()}
        for name, value in fitted(tables, sizes).items():
            setattr(model, name, value)
        self._seen.n_users = sizes["user"]
        model.users_, model.items_ = self._users, self._items
        model.seen_, model.mean_ = self._seen, self._mean


def fitted(tables: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Return fitted attributes over the rows in use."""
    fitted: dict[str, Any] = {
        "user_features_": None,
        "item_features_": None,
        "context_vectors_": None,
    }
    for name, table in tables.items():
        rows = table[: sizes[name[:4]]]
        fitted[f"{name}_"] = rows if "vectors" in name else rows[:, 0]
    return fitted
