"""What a trainer tells its readers, and what they make of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from wyrm_py.data.hash_table import Grown
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import StaleParameterError
from wyrm_py.growing_rows import GrowingRows
from wyrm_py.models.features import FeatureVectors
from wyrm_py.models.hashed_ids import HashedIds
from wyrm_py.models.online_trainer import OnlineTrainer
from wyrm_py.models.publication import Publication, Subscription, arrays_of
from wyrm_py.models.seen_log import SeenLog
from wyrm_py.models.stream_features import SideFeatures
from wyrm_py.parameters import HogwildParameter

KINDS = {"user": b"USER", "item": b"ITEM"}
SIDES = {kind: side for side, kind in KINDS.items()}


class Publisher:
    """Writes what is new in a trainer into a log."""

    def __init__(self, model: Any, trainer: OnlineTrainer) -> None:
        self.log = Publication()
        trainer.seen.begin_news()  # earlier readers had it from another log
        settings = model.get_params(deep=False).items()  # no optimizer: it only reads
        plain = str, int, float, type(None)
        self._settings = {name: v for name, v in settings if isinstance(v, plain)}
        self._known = {"user": (0, 0, 0), "item": (0, 0, 0)}
        self._tables: dict[str, str] = {}
        self._held: list[Any] = []  # where readers are sent stays until they know more
        self._hashed: list[Any] | None = None
        self._mean: float | None = None

    def follow(self, trainer: OnlineTrainer) -> None:
        """Append what came since the last call: tables first, since ids are theirs."""
        tables = {n: table.parameter.address for n, table in trainer.tables.items()}
        tables |= {side: one.rows.address for side, one in trainer.features.items()}
        hashed, users = None, trainer.users
        if isinstance(users, HashedIds):
            hashed = [users.buckets, users.kind, users.type]
        if (tables, hashed) != (self._tables, self._hashed):
            head = {"settings": self._settings, "tables": tables, "hashed": hashed}
            self.log.append(b"HEAD", json.dumps(head).encode())
            self._tables, self._hashed = tables, hashed
            self._held = [table.parameter for table in trainer.tables.values()]
            self._held += [one.rows.segment for one in trainer.features.values()]
        for side, ids in (("user", trainer.users), ("item", trainer.items)):
            if isinstance(ids, IdMap):
                self._follow_side(side, ids, trainer.features.get(side))
        if trainer.mean != self._mean:
            self._mean = trainer.mean
            self.log.append(b"MEAN", json.dumps(trainer.mean).encode())
        pairs = trainer.seen.news()
        if len(pairs):
            self.log.append_arrays(b"SEEN", {"pairs": pairs})

    def _follow_side(
        self, side: str, ids: IdMap, features: SideFeatures | None
    ) -> None:
        """Append new ids, new names, and where vectors lie: one record, or none of it.

        Features may begin when ids are known already.
        """
        known, own, named = self._known[side]
        now = len(ids), 0, 0
        if features is not None:
            now = len(ids), len(features.own), len(features.names)
        if now == (known, own, named):
            return
        arrays = _since(ids, known, "new").to_arrays()
        if features is not None:
            arrays |= _since(features.names, named, "name").to_arrays()
            arrays |= {"own": features.own.held[own:], "at": features.at.held[named:]}
        self.log.append_arrays(KINDS[side], arrays)
        self._known[side] = now


class Reader:
    """Follows a log, and sets the fitted attributes of a model that answers."""

    def __init__(self, log: Subscription) -> None:
        self._log = log
        self.settings: dict[str, Any] = {}
        self._tables: dict[str, HogwildParameter] = {}
        self._features: dict[str, SideFeatures] = {}
        self._users: IdMap | HashedIds = IdMap(kind="user")
        self._items = IdMap(kind="item")
        self._seen = SeenLog()
        self._mean = 0.0
        self._head: dict[str, Any] | None = None  # to be followed

    def read(self) -> None:
        """Take in what is new.

        Raises
        ------
        StaleParameterError
            The trainer has ended.
        """
        self._log.require_alive()
        self._take_news()
        while (head := self._head) is not None:
            try:
                self._take_head(head)
                self._head = None
            except StaleParameterError:  # moved meanwhile, or the trainer has ended
                self._take_news()
                if self._head is head:
                    raise

    def _take_news(self) -> None:
        for kind, payload in self._log.news():
            if kind == b"HEAD":  # what earlier ones tell may be gone by now
                self._head = json.loads(payload)
            elif kind == b"MEAN":
                self._mean = json.loads(payload)
            elif kind == b"SEEN":
                keys = arrays_of(payload)["pairs"]
                self._seen.add(keys >> 32, keys & 0xFFFFFFFF, len(self._users))
            else:
                self._take_side(SIDES[kind], arrays_of(payload))

    def _take_side(self, side: str, arrays: Mapping[str, Any]) -> None:
        new = IdMap.from_arrays(arrays, "new")
        if len(new):
            (self._users if side == "user" else self._items).add(new.ids)
        if "own" in arrays:
            features, names = self._side(side), IdMap.from_arrays(arrays, "name")
            if len(names):
                features.names.add(names.ids)
            features.own.extend(arrays["own"])
            features.at.extend(arrays["at"])

    def _side(self, side: str) -> SideFeatures:
        """Return the features of a side, of which rows are attached to later."""
        if side not in self._features:
            own, at = (Grown(np.empty(0, np.int64)) for _ in range(2))
            names, rows = IdMap(kind=f"{side}_feature"), GrowingRows(capacity=1)
            self._features[side] = SideFeatures(names, own, at, rows)
        return self._features[side]

    def _take_head(self, head: dict[str, Any]) -> None:
        self.settings = head["settings"]
        places = dict(head["tables"])
        rows = {
            side: GrowingRows.attach(places.pop(side)) for side in {*KINDS} & {*places}
        }
        self._tables = {
            name: HogwildParameter.attach(address, read_only=True)
            for name, address in places.items()
        }
        for side, one in rows.items():
            self._side(side).rows = one
        if head["hashed"] is not None:
            self._users = HashedIds(*head["hashed"])

    def show(self, model: Any) -> None:
        """Set the fitted attributes to what is there now."""
        sizes = {"user": len(self._users), "item": len(self._items)}
        tables = {name: table.value for name, table in self._tables.items()}
        show(model, tables, sizes, self._features)
        self._seen.n_users = sizes["user"]
        model.users_, model.items_ = self._users, self._items
        model.seen_, model.mean_ = self._seen, self._mean


def show(
    model: Any,
    tables: dict[str, Any],
    sizes: dict[str, int],
    features: Mapping[str, SideFeatures],
) -> None:
    """Set the fitted attributes of a model over the rows in use.

    What features add up to is worked out when somebody asks: see `Online.__getattr__`.
    """
    later: dict[str, Callable[[], Any]] = {}
    for side, one in features.items():
        later |= _sums(side, tables, one)
    for name in later:
        vars(model).pop(name, None)
    model._later = later
    for name, table in tables.items():
        side = name[:4]
        if side not in features:
            rows = table[: sizes[side]]
            setattr(model, f"{name}_", rows if "vectors" in name else rows[:, 0])
            setattr(model, f"{side}_features_", None)
    model.context_vectors_ = None


def _sums(
    side: str, tables: dict[str, Any], features: SideFeatures
) -> dict[str, Callable[[], Any]]:
    """Return functions of the fitted attributes of a side with features.

    Parameters
    ----------
    tables : {name of TABLES: (T, D) or (T, 1)}
    features : SideFeatures
    """
    table = {part: tables[f"{side}_{part}"] for part in ("vectors", "biases")}

    @cache
    def sums(part: str) -> Any:
        rows = features.matrix()
        found = rows @ table[part][: rows.shape[1]]
        return found if part == "vectors" else found[:, 0]

    @cache
    def meant() -> FeatureVectors:
        places = features.places
        parts = (table[part][: places.count] for part in ("vectors", "biases"))
        vectors, biases = parts
        return FeatureVectors.taken(vectors, biases[:, 0], places, features.names)

    return {
        f"{side}_vectors_": lambda: sums("vectors"),
        f"{side}_biases_": lambda: sums("biases"),
        f"{side}_features_": meant,
    }


def _since(ids: IdMap, count: int, kind: str) -> IdMap:
    """Return the ids that came after the first `count`."""
    return IdMap(ids.take(np.arange(count, len(ids))), kind)
