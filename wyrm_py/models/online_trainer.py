"""What learns from a stream: growing tables, growing id maps, and a learner over them.

The losses are those of factorization.py; wrong items are drawn from the items known at
each event, so that results do not depend on how the stream is cut into chunks.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.ids import IdMap
from wyrm_py.errors import DataError, SettingError
from wyrm_py.leaves import Constant, IndexInputNode, InputNode
from wyrm_py.models.factorization import Example, Loss, Model, Side
from wyrm_py.models.feature_names import Described
from wyrm_py.models.growing import RESERVED, GrowingTable
from wyrm_py.models.hashed_ids import HashedIds
from wyrm_py.models.progressive import Progress
from wyrm_py.models.seen_log import SeenLog
from wyrm_py.models.stream_features import StreamFeatures
from wyrm_py.nodes import Node, apply
from wyrm_py.ops.pointwise import Sign
from wyrm_py.optim import Adagrad, Optimizer
from wyrm_py.parallel.learner import Learned, Learner
from wyrm_py.parameters.block import slot_kind
from wyrm_py.samplers import sample_uniform, sample_warp

TABLES = ("user_vectors", "user_biases", "item_vectors", "item_biases")
DECAYS = 16
"""How often in a half-life the optimizer's state is decayed."""

Codes = NDArray[np.int64]


class OnlineSettings(NamedTuple):
    """How a stream is learned from; see `Online.begin_stream`."""

    window: int = 10_000
    candidates: int = 20
    half_life: int | None = None
    user_buckets: int | None = None
    record_seen: bool = True
    reserved: int = RESERVED


class OnlineTrainer:
    """Learns from chunks of events.

    Parameters
    ----------
    loss : Loss
    optimizer : Optimizer
    first : {name of TABLES: float32 array}
        Rows to begin with, one for each known user or item.
    users, items : IdMap
    seen : SeenLog
    scale : float >= 0
        Standard deviation of new vectors.
    max_tries : int >= 1, of WARP
    n_jobs : int
    seed : int
    features : {"user" or "item": StreamFeatures}
        Of the sides that have some; the rows of their tables are those of `places`.
    mean : float
        Of the ratings so far, which count as `mean_count` ratings.
    settings : OnlineSettings
    """

    def __init__(
        self,
        loss: Loss,
        optimizer: Optimizer,
        first: dict[str, NDArray[np.float32]],
        users: IdMap | HashedIds,
        items: IdMap,
        seen: SeenLog,
        *,
        scale: float,
        max_tries: int,
        n_jobs: int,
        seed: int,
        features: Mapping[str, StreamFeatures],
        mean: float,
        mean_count: float,
        settings: OnlineSettings,
    ) -> None:
        if settings.half_life is not None and not isinstance(optimizer, Adagrad):
            raise SettingError(
                "begin_stream: half_life is for Adagrad, whose steps shrink for ever; "
                f"got it for {optimizer!r}. RMSProp and SGD forget by themselves."
            )
        self.loss, self.users, self.items, self.seen = loss, users, items, seen
        self.features, self.settings, self.mean = features, settings, mean
        self.progress = Progress(settings.window)
        self._mean_count, self._max_tries = mean_count, max_tries
        self.tables = {
            name: GrowingTable(
                *(first[name], scale if "vectors" in name else 0.0, seed, number),
                name=name.replace("_", " "),
                reserved=settings.reserved,
            )
            for number, name in enumerate(TABLES)
        }
        self._newest = len(items) - 1
        example, score, wins = self._graph()
        self.learner = Learner(
            *(score, optimizer, n_jobs),
            random_state=seed,
            watch=[] if wins is None else [wins],
        )
        self._example, self._wins = example, wins
        self._threaded = n_jobs != 1
        self._going: deque[Learned] = deque()

    def _graph(self) -> tuple[Example, Node, Node | None]:
        """Return an example's nodes, the loss, and how the item does among others."""
        users, items = self._side("user"), self._side("item")
        model, self._last = Model(users, items), IndexInputNode([0], name="newest")
        last, tries = self._last, self._max_tries

        def draw(like: Node) -> Node:
            return sample_uniform(like, last=last)

        def search(taste: Node, better: Node) -> tuple[Node, Node]:
            found = taste, items.vectors, better, items.biases
            features = items.features
            return sample_warp(*found, max_tries=tries, last=last, features=features)

        user, item = (IndexInputNode([0], name=name) for name in ("user", "item"))
        rating = InputNode([[0.0]], name="rating")
        example = Example(user, item, rating, draw, search)
        loss = self.loss.graph(model, example)
        if self.loss.is_explicit:
            return example, loss, None
        others = np.zeros((1, self.settings.candidates), np.int64)
        drawn = draw(Constant(others, others.dtype)).reshape(-1)
        taste, _ = model.taste(user)
        lead = model.score(taste, item) - model.score(taste, drawn)
        return example, loss, apply(Sign(), lead)[0].sum()

    def _side(self, name: str) -> Side:
        vectors, biases = (
            self.tables[f"{name}_{part}"].node for part in ("vectors", "biases")
        )
        features = self.features.get(name)
        return Side(vectors, biases, None if features is None else features.rows)

    # -- learning ---------------------------------------------------------------------

    def learn(
        self,
        users: Any,
        items: Any,
        ratings: ArrayLike | None,
        weights: Any = None,
        sources: Mapping[str, Any] | None = None,
    ) -> None:
        """Learn from events, in their order; done once `drain` has returned.

        Parameters
        ----------
        users, items : ids, shape (N,), what `IdMap.add` takes
        ratings : float32 array, shape (N,), or None
        weights : array, shape (N,), or None
        sources : {"user" or "item": mapping or function of an id}
            Where features of newcomers are found.

        Raises
        ------
        DataError
            If there are no ratings and the loss predicts them.
        DTypeError, ShapeError
            As `IdMap.add`.
        """
        if self.loss.is_explicit and ratings is None:
            raise DataError(
                "partial_fit: the squared loss learns ratings, got events without. "
                "Give (user, item, rating), or take another loss."
            )
        new = self._described({"user": users, "item": items}, sources or {})
        try:
            rows, columns = self.users.add(users), self.items.add(items)
        finally:  # a user whose item was refused has a row, too
            self._grow(new)
        for part in self._parts(len(rows)):
            given = None if ratings is None else np.asarray(ratings)[part]
            some = None if weights is None else np.asarray(weights)[part]
            self._learn(rows[part], columns[part], given, some)

    def _described(
        self, ids: Mapping[str, Any], sources: Mapping[str, Any]
    ) -> dict[str, Described | None]:
        """Return the features of those among ids that are new, by side."""
        return {
            name: one.describe(self.ids(name), ids[name], sources.get(name))
            for name, one in self.features.items()
        }

    def _parts(self, count: int) -> Iterator[slice]:
        """Cut a chunk where the optimizer's state is to be decayed, and decay it."""
        half_life = self.settings.half_life
        if half_life is None:
            yield slice(0, count)
            return
        period, begin = max(half_life // DECAYS, 1), 0
        while begin < count:
            inside = self.progress.events % period
            if inside == 0 and self.progress.events:
                self._decay(0.5 ** (period / half_life))
            end = min(count, begin + period - inside)
            yield slice(begin, end)
            begin = end

    def _decay(self, factor: float) -> None:
        self.learner.drain()
        for table in self.tables.values():
            for state in table.parameter.slots().values():
                if state.ndim == 2:
                    state *= np.float32(factor)

    def ids(self, side: str) -> IdMap:
        """Return the map of the users or of the items."""
        return self.users if side == "user" else self.items  # type: ignore[return-value]

    def sizes(self) -> dict[str, int]:
        """Return how many rows of the tables are in use, by side."""
        sizes = {"user": len(self.users), "item": len(self.items)}
        return sizes | {name: found.count for name, found in self.features.items()}

    def _grow(self, new: Mapping[str, Described | None]) -> None:
        """Have rows for all users, items and features, and take in what is new."""
        sizes = self.sizes()
        allotted = {
            name: (one, self.features[name].allot(one))
            for name, one in new.items()  # of ids that were not refused
            if one is not None and len(self.ids(name)) > len(self.features[name].own)
        }
        for name, (_, (_, _, rows)) in allotted.items():
            sizes[name] = rows.shape[1]
            if not self.features[name].rows.has_room(rows):
                self.learner.drain()
        for name, table in self.tables.items():
            rows = sizes[name[:4]]
            if rows > table.capacity:
                self.learner.drain()
            table.require(rows)
        for name, one in allotted.items():
            self.features[name].append(*one)

    def complete(self, sources: Mapping[str, Any]) -> None:
        """Have rows for whomever an interrupted call has left without."""
        self._grow(self._described({"user": [], "item": []}, sources))

    def add(self, side: str, ids: Any, new: Described) -> None:
        """Add users or items that no event has shown, with their features."""
        self.complete({})
        self.ids(side).add(ids)
        self._grow({side: new})

    def _learn(self, users: Codes, items: Codes, ratings: Any, weights: Any) -> None:
        example, count, read = self._example, len(users), self.learner.inputs
        inputs: dict[Node, Any] = {example.user: users, example.item: items}
        if self.loss.is_explicit:
            inputs[example.rating] = self._without_mean(np.asarray(ratings, np.float64))
        else:
            newest = np.maximum(np.maximum.accumulate(items), self._newest)
            self._newest = int(newest[-1])
            inputs[self._last] = newest
        inputs = {node: column for node, column in inputs.items() if node in read}
        learned = self.learner.submit(inputs, weights, wait=not self._threaded)
        if self.settings.record_seen:
            self.seen.add(users, items, len(self.users))
        self.progress.events += count
        self._going.append(learned)
        while self._going and (self._going[0].is_done() or len(self._going) > 2):
            self._account(self._going.popleft())

    def _without_mean(self, ratings: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return ratings less the mean of those before each."""
        counts = self._mean_count + np.arange(len(ratings))
        sums = np.cumsum(np.append(self.mean * self._mean_count, ratings))
        before = sums[:-1] / np.maximum(counts, 1.0)
        before[counts == 0] = ratings[counts == 0]
        self._mean_count += len(ratings)
        self.mean = float(sums[-1] / self._mean_count)
        return np.asarray(ratings - before, np.float32)

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return the optimizer's state of the rows in use, by table and slot."""
        sizes = self.sizes()
        return {
            f"{name} {slot}": state[: sizes[name[:4]]] if state.ndim else state
            for name, table in self.tables.items()
            for slot, state in table.parameter.slots().items()
        }

    def resume(
        self, state: dict[str, NDArray[np.float32]], position: dict[str, Any]
    ) -> None:
        """Go on from a `state` and the learner's position."""
        for key, rows in state.items():
            name, _, slot = key.partition(" ")
            held = self.tables[name].parameter.slot(slot, slot_kind(rows))
            held = held[: len(rows)] if rows.ndim else held
            held[...] = rows
        self.learner.go_to(position)

    @property
    def mean_count(self) -> float:
        """How many ratings `mean` is of."""
        return self._mean_count

    def drain(self) -> None:
        """Wait until all events are learned."""
        while self._going:
            self._account(self._going.popleft())

    def _account(self, learned: Learned) -> None:
        """Add a chunk that is done to the running metrics."""
        progress, candidates = self.progress, self.settings.candidates
        progress.users, progress.items = len(self.users), len(self.items)
        loss = learned.loss()
        if not math.isnan(loss):  # of a chunk without weight
            progress.loss.add(np.full(learned.examples, loss))
        if self._wins is not None:
            share = 0.5 + 0.5 / candidates * learned.watched[self._wins]
            progress.auc.add(share)
            above = (1.0 - share) * candidates  # others that score higher
            progress.hit_rate.add((above < (candidates + 1) / 10).astype(np.float64))
        progress.seconds = time.process_time() - progress._began
