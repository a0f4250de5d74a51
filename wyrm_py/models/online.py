"""Online learning of a `FactorizationRecommender`: streams, growth, progress.

`partial_fit` learns from events as they come, with users, items and features never
seen before. What other processes read meanwhile is told in published.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.data.streams import stream
from wyrm_py.errors import SettingError
from wyrm_py.models.factorization import LOSSES, Loss
from wyrm_py.models.feature_names import require_source
from wyrm_py.models.feature_places import Places
from wyrm_py.models.features import FeatureVectors
from wyrm_py.models.growing import RESERVED
from wyrm_py.models.hashed_ids import HashedIds, kinds_in_text
from wyrm_py.models.live import show
from wyrm_py.models.online_trainer import TABLES, OnlineSettings, OnlineTrainer
from wyrm_py.models.progressive import Progress
from wyrm_py.models.published import Published
from wyrm_py.models.seen_log import SeenLog
from wyrm_py.models.stream_features import StreamFeatures
from wyrm_py.parameters.block import COUNT
from wyrm_py.seeds import seed_of

_OWN = ("_trainer", "_publisher", "_reader", "_shown", "_later")
"""Attributes that belong to one process: no copy or file has them."""


class Online(Published):
    """What a `FactorizationRecommender` does with streams.

    Attributes
    ----------
    progress_ : Progress
        Of the stream so far.
    """

    width: int
    sampler: Any
    initial_scale: float
    max_tries: int
    identity: bool
    progress_: Progress
    users_: Any  # IdMap or HashedIds
    seen_: Any  # Seen or SeenLog

    _trainer: OnlineTrainer | None = None
    _shown: tuple[Any, ...] = ()
    _later: Mapping[str, Callable[[], Any]] = {}
    _kept: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def _checked_loss(self) -> Loss:
        raise NotImplementedError

    # -- learning -------------------------------------------------------------------

    def begin_stream(
        self,
        *,
        window: int = 10_000,
        candidates: int = 20,
        half_life: int | None = None,
        user_buckets: int | None = None,
        record_seen: bool = True,
        reserved: int = RESERVED,
    ) -> Self:
        """Get ready to learn from a stream, with other settings than the usual.

        A model that was fitted or loaded goes on from there, with a fresh state of the
        optimizer, unless it is of a stream or was saved by one; another begins with
        nothing. Readers of a model that was published before are told that it ended.

        Parameters
        ----------
        window : int >= 2, events
            How far the recent means of `progress_` look back.
        candidates : int >= 1
            Items drawn for each event that its item is compared with in `progress_`.
        half_life : int >= 1, events, or None
            Adagrad's steps shrink with all gradients ever seen, so that it ends up
            deaf to what changes. With a half-life, what it has added up is halved in
            that many events, in 16 passes over the tables. For streams that drift;
            RMSProp, or SGD with a constant learning rate, are the alternatives.
        user_buckets : int, a power of two, or None
            Hash users to that many rows rather than keep their ids: memory is fixed,
            and users who meet in a row share a vector. Items keep ids, since
            `recommend` has to name them.
        record_seen : bool
            Remember who met what, 8 bytes a pair, for `exclude_seen`.
        reserved : int >= 1
            Rows of users and of items that tables grow to in place. Address space
            only; beyond it tables are copied to a larger place between two chunks.

        Raises
        ------
        SettingError
            A setting is impossible, or does not go with the model.
        """
        self._require_own("begin_stream")
        settings = OnlineSettings(
            window, candidates, half_life, user_buckets, record_seen, reserved
        )
        _require_whole(settings)
        self._begin(settings)
        return self

    def partial_fit(
        self,
        source: Any,
        *,
        user_features: Any = None,
        item_features: Any = None,
        callback: Callable[[Progress], object] | None = None,
        **columns: Any,
    ) -> Self:
        """Learn from events in their order, once each, after predicting each.

        May be called any number of times; the model can answer in between. With one
        worker the outcome does not depend on how events are cut into calls and chunks.

        Parameters
        ----------
        source : what `wyrm_py.data.stream` takes
            An iterator of events (user, item[, rating[, timestamp]]), of chunks or
            dataframes; a path, a file, a dataframe, a matrix or Interactions. Users
            and items that are new get vectors, drawn by their number. All losses but
            the squared one take each event as a positive.
        user_features, item_features : mapping, or function of an id, or None
            What is known of a user or an item, looked up once, when it is new: a list
            of names, text with names between "|", or a mapping of names to numbers,
            where {"genre": "Drama"} stands for the name "genre:Drama". Names never
            seen before get vectors, too; with `identity` a newcomer has one of its
            own beside them. In a model that was fitted with a matrix, names are the
            numbers of its columns.
        callback : function of the Progress, called after each chunk
        columns : names of columns, `ids` and the chunk size, for `wyrm_py.data.stream`
            Ids in delimited text are by default of the kind that the model has.

        Raises
        ------
        DataError, DTypeError, ShapeError, MissingColumnError
            An event, or features of someone new, are not as they must be; the chunks
            before have been learned.
        SettingError
            The loss, the sampler or a context cannot be learned online.
        DivergenceError
            The learning rate is too high for the data.
        SharedMemoryFullError
            There is no room for more rows.
        """
        self._require_own("partial_fit")
        sources = {"user": user_features, "item": item_features}
        sources = {side: one for side, one in sources.items() if one is not None}
        for side, one in sources.items():
            require_source(f"partial_fit: {side}_features", one)
        trainer = self._ready(sources)
        try:
            for events in stream(source, **{"ids": kinds_in_text(self)} | columns):
                columns_of = events.users, events.items, events.ratings, events.weights
                trainer.learn(*columns_of, sources)
                self._show(trainer)
                if callback is not None:
                    callback(trainer.progress)
        finally:
            trainer.drain()
            trainer.complete(sources)
            self._show(trainer)
        return self

    def _ready(self, described: Iterable[str] = ()) -> OnlineTrainer:
        """Return the trainer; a new one if the model was fitted since.

        `described` are the sides that have features from now on.
        """
        if self._trainer is None or not self._in_step():
            return self._begin(OnlineSettings(), described)
        trainer = self._trainer
        if {*described} <= {*trainer.features}:
            return trainer
        progress = trainer.progress  # of the same stream
        self._trainer = trainer = self._new_trainer(trainer.settings, described)
        self.progress_ = trainer.progress = progress
        self._show(trainer)
        return trainer

    def _begin(
        self, settings: OnlineSettings, described: Iterable[str] = ()
    ) -> OnlineTrainer:
        self._publisher = None  # what it told readers is no longer so
        self._trainer = trainer = self._new_trainer(settings, described)
        self.progress_ = trainer.progress
        self._show(trainer)
        return trainer

    def _in_step(self) -> bool:
        """Whether the fitted attributes are still those of the stream."""
        pairs = zip(self._shown, self._fitted_now(), strict=bool(self._shown))
        return bool(self._shown) and all(shown is now for shown, now in pairs)

    def _fitted_now(self) -> tuple[Any, ...]:
        return tuple(vars(self).get(f"{name}_") for name in TABLES)

    def _new_trainer(
        self, settings: OnlineSettings, described: Iterable[str]
    ) -> OnlineTrainer:
        loss, (state, counts) = self._checked_loss(), self._keep_stream()
        self._require_online(loss)
        seed = seed_of(type(self).__name__, self.random_state)
        known: Any = self if hasattr(self, "items_") else None
        users: IdMap | HashedIds = IdMap(kind="user")
        if known is not None:
            users = known.users_
            if settings.user_buckets not in (None, getattr(users, "buckets", None)):
                raise SettingError(
                    "begin_stream: user_buckets cannot be set for a model that has "
                    f"learned with {users!r}. Begin with a new model."
                )
        elif settings.user_buckets is not None:
            users = HashedIds(settings.user_buckets, "user")
        seen = getattr(known, "seen_", None)
        ratings = 0 if seen is None else len(seen.items)
        features = {
            side: self._stream_features(side, settings)
            for side in ("user", "item")
            if side in described or getattr(self, f"{side}_features_", None) is not None
        }
        trainer = OnlineTrainer(
            *(loss, self._make_optimizer(loss.optimizer)),
            {name: _rows(known, name, self.width) for name in TABLES},
            *(users, IdMap(kind="item") if known is None else known.items_),
            seen if isinstance(seen, SeenLog) else SeenLog(seen),
            scale=self.initial_scale,
            max_tries=self.max_tries,
            n_jobs=self.n_jobs,
            seed=seed,
            features=features,
            mean=getattr(known, "mean_", 0.0),
            mean_count=counts.get("mean_count", ratings),
            settings=settings,
        )
        if counts:
            trainer.resume(state, counts)
        self._kept = {}, {}
        return trainer

    def _stream_features(self, side: str, settings: OnlineSettings) -> StreamFeatures:
        """Return the features of a side so far: of none, everybody's own vector."""
        learned: FeatureVectors | None = getattr(self, f"{side}_features_", None)
        ids = getattr(self, f"{side}s_", ())
        if isinstance(ids, HashedIds):
            raise SettingError(
                "partial_fit: user_features need users with ids of their own, these "
                "are hashed. Begin without user_buckets."
            )
        if learned is None:
            nothing = scipy.sparse.csr_array((len(ids), 0), dtype=np.float32)
            names, places = IdMap(kind=f"{side}_feature"), Places.first(nothing, True)
        else:
            count, places = len(learned.vectors), learned.places
            names = learned.names or IdMap(np.arange(count), f"{side}_feature")
        return StreamFeatures(side, names, places, self.identity, settings.reserved)

    def _require_online(self, loss: Any) -> None:
        """Raise a SettingError for what only `fit` can do."""
        wrong = None
        if "item" not in loss.reads:
            names = [name for name, one in LOSSES.items() if "item" in one.reads]
            wrong = f"loss={self.loss!r}, which looks at all items of a user. "
            wrong += f"Take one of {', '.join(names)}"
        elif self.sampler != "uniform":
            wrong = f"sampler={self.sampler!r}. Wrong items are drawn evenly from the "
            wrong += 'items known so far: take sampler="uniform"'
        if getattr(self, "context_vectors_", None) is not None:
            wrong = "a model with a context. Train without, or `fit` anew"
        if wrong is not None:
            raise SettingError(f"partial_fit: cannot go on with {wrong}.")

    def _show(self, trainer: OnlineTrainer) -> None:
        """Let the fitted attributes show what the trainer has now."""
        sizes = {"user": len(trainer.users), "item": len(trainer.items)}
        tables = {name: table.node.value for name, table in trainer.tables.items()}
        show(self, tables, sizes, trainer.features)
        self.users_, self.items_ = trainer.users, trainer.items
        self.seen_ = trainer.seen
        trainer.seen.n_users = sizes["user"]
        self.mean_ = trainer.mean if trainer.loss.is_explicit else 0.0
        self._shown = self._fitted_now()
        if self._publisher is not None:
            self._publisher.follow(trainer)

    def __getattr__(self, name: str) -> Any:
        """Add up the features of users or items when somebody asks for it."""
        later = vars(self).get("_later", {})
        if name in later:
            if self._trainer is not None:
                self._trainer.drain()
            return later[name]()
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )

    def _add(self, name: str, ids: Ids, features: Any) -> None:
        """Add users or items of whom only features are known: see `add_users`."""
        trainer, who = self._trainer, f"add_{name}s"
        if trainer is None or name not in trainer.features or not self._in_step():
            super()._add(name, ids, features)
            return
        codes = self._new_codes(who, name, ids)
        trainer.add(
            name, ids, trainer.features[name].of_rows(who, features, len(codes))
        )
        self._show(trainer)

    # -- files and copies -------------------------------------------------------------

    def _keep_stream(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a file keeps of a stream: the optimizer's state, and counts."""
        trainer = self._trainer
        if not self._in_step():  # it is of another model by now
            return {}, {}
        if trainer is None:
            return self._kept
        trainer.drain()
        counts = trainer.learner.position()
        return trainer.state(), counts | {"mean_count": trainer.mean_count}

    def _take_stream(self, arrays: Mapping[str, Any], counts: dict[str, Any]) -> None:
        """Take what a file kept of a stream, checked."""
        state = {name: rows for name, rows in arrays.items() if " " in name}
        for name, rows in state.items():
            table = name.partition(" ")[0]
            if table not in TABLES:
                raise ValueError(f"{name} is no table")
            wanted = _rows(self, table, self.width)
            kinds = {2: wanted.dtype, 1: COUNT, 0: COUNT}
            shapes = {2: wanted.shape, 1: wanted.shape[:1], 0: ()}
            if (rows.shape, rows.dtype) != (shapes[rows.ndim], kinds[rows.ndim]):
                raise ValueError(f"{name} {rows.dtype}{rows.shape}")
        self._kept, self._shown = (state, counts), self._fitted_now()

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state |= {name: getattr(self, name) for name in self._later}
        state["_kept"] = self._keep_stream()
        return {name: value for name, value in state.items() if name not in _OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._kept[1]:
            self._shown = self._fitted_now()


def _rows(model: Any, name: str, width: int) -> NDArray[np.float32]:
    """Return the rows that a table begins with."""
    columns = width if "vectors" in name else 1
    side, part = name.split("_")
    if model is None:
        return np.zeros((0, columns), np.float32)
    learned = getattr(model, f"{side}_features_", None)
    if learned is not None:
        return np.asarray(learned.table(part), np.float32).reshape(-1, columns)
    return np.asarray(getattr(model, f"{name}_"), np.float32).reshape(-1, columns)


def _require_whole(settings: OnlineSettings) -> None:
    least = {"window": 2, "candidates": 1, "half_life": 1, "reserved": 1}
    for name, lowest in least.items():
        given = getattr(settings, name)
        whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
        if (given is None and name == "half_life") or (whole and given >= lowest):
            continue
        raise SettingError(
            f"begin_stream: {name} must be an integer of at least {lowest}, got "
            f"{given!r}."
        )
