"""Online learning of a `FactorizationRecommender`: streams, readers, progress.

`partial_fit` learns from events as they come, with users and items never seen before;
`publish` lets other processes answer from the model while it learns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.ids import IdMap
from wyrm_py.data.streams import stream
from wyrm_py.errors import SettingError
from wyrm_py.models.factorization import LOSSES, Loss
from wyrm_py.models.growing import RESERVED
from wyrm_py.models.hashed_ids import HashedIds, kinds_in_text
from wyrm_py.models.live import Publisher, Reader, fitted
from wyrm_py.models.newcomers import Newcomers
from wyrm_py.models.online_trainer import TABLES, OnlineSettings, OnlineTrainer
from wyrm_py.models.progressive import Progress
from wyrm_py.models.publication import Subscription
from wyrm_py.models.seen_log import SeenLog
from wyrm_py.seeds import seed_of

_OWN = ("_trainer", "_publisher", "_reader", "_shown")
"""Attributes that belong to one process: no copy or file has them."""


class Online(Newcomers):
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
    progress_: Progress
    users_: Any  # IdMap or HashedIds
    seen_: Any  # Seen or SeenLog

    _trainer: OnlineTrainer | None = None
    _publisher: Publisher | None = None
    _reader: Reader | None = None
    _shown: tuple[Any, ...] = ()
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
        callback : function of the Progress, called after each chunk
        columns : names of columns, `ids` and the chunk size, for `wyrm_py.data.stream`
            Ids in delimited text are by default of the kind that the model has.

        Raises
        ------
        DataError, DTypeError, ShapeError, MissingColumnError
            An event is not as it must be; those before it have been learned.
        SettingError
            The loss, the sampler or features cannot be learned online.
        DivergenceError
            The learning rate is too high for the data.
        SharedMemoryFullError
            There is no room for more rows.
        """
        self._require_own("partial_fit")
        trainer = self._ready()
        try:
            for events in stream(source, **{"ids": kinds_in_text(self)} | columns):
                trainer.learn(
                    events.users, events.items, events.ratings, events.weights
                )
                self._show(trainer)
                if callback is not None:
                    callback(trainer.progress)
        finally:
            trainer.drain()
            self._show(trainer)
        return self

    def _ready(self) -> OnlineTrainer:
        """Return the trainer; a new one if the model was fitted since."""
        if self._trainer is None or not self._in_step():
            return self._begin(OnlineSettings())
        return self._trainer

    def _begin(self, settings: OnlineSettings) -> OnlineTrainer:
        self._publisher = None  # what it told readers is no longer so
        self._trainer = trainer = self._new_trainer(settings)
        self.progress_ = trainer.progress
        self._show(trainer)
        return trainer

    def _in_step(self) -> bool:
        """Whether the fitted attributes are still those of the stream."""
        pairs = zip(self._shown, self._fitted_now(), strict=bool(self._shown))
        return bool(self._shown) and all(shown is now for shown, now in pairs)

    def _fitted_now(self) -> tuple[Any, ...]:
        return tuple(getattr(self, f"{name}_", None) for name in TABLES)

    def _new_trainer(self, settings: OnlineSettings) -> OnlineTrainer:
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
        trainer = OnlineTrainer(
            *(loss, self._make_optimizer(loss.optimizer)),
            {name: _rows(known, name, self.width) for name in TABLES},
            *(users, IdMap(kind="item") if known is None else known.items_),
            seen if isinstance(seen, SeenLog) else SeenLog(seen),
            scale=self.initial_scale,
            max_tries=self.max_tries,
            n_jobs=self.n_jobs,
            seed=seed,
            mean=getattr(known, "mean_", 0.0),
            mean_count=counts.get("mean_count", ratings),
            settings=settings,
        )
        if state:
            trainer.resume(state, counts)
        self._kept = {}, {}
        return trainer

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
        parts = ("user_features_", "item_features_", "context_vectors_")
        given = [part for part in parts if getattr(self, part, None) is not None]
        if given:
            wrong = f"a model with {given[0]}. Train without features, or `fit` anew"
        if wrong is not None:
            raise SettingError(f"partial_fit: cannot go on with {wrong}.")

    def _show(self, trainer: OnlineTrainer) -> None:
        """Let the fitted attributes show what the trainer has now."""
        sizes = {"user": len(trainer.users), "item": len(trainer.items)}
        tables = {name: table.node.value for name, table in trainer.tables.items()}
        for name, value in fitted(tables, sizes).items():
            setattr(self, name, value)
        self.users_, self.items_ = trainer.users, trainer.items
        self.seen_ = trainer.seen
        trainer.seen.n_users = sizes["user"]
        self.mean_ = trainer.mean if trainer.loss.is_explicit else 0.0
        self._shown = self._fitted_now()
        if self._publisher is not None:
            self._publisher.follow(trainer)

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
            wanted = getattr(self, f"{table}_")
            if table not in TABLES or rows.reshape(wanted.shape).dtype != wanted.dtype:
                raise ValueError(f"{name} {rows.dtype}{rows.shape}")
        self._kept, self._shown = (state, counts), self._fitted_now()

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state["_kept"] = self._keep_stream()
        return {name: value for name, value in state.items() if name not in _OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._kept[0]:
            self._shown = self._fitted_now()

    # -- reading from other processes -------------------------------------------------

    def publish(self, path: str | os.PathLike[str] | None = None) -> str:
        """Let other processes of the user read the model while it learns.

        Parameters
        ----------
        path : str or path-like, or None
            A link to be made there, which goes when the model or the process ends.

        Returns
        -------
        str
            What to `attach` to: the path, or without one a place below /proc.

        Raises
        ------
        SettingError
            This is no Linux, or the model was attached itself.
        OSError
            The link cannot be made.
        """
        self._require_own("publish")
        trainer = self._ready()
        publisher = Publisher(self, trainer)
        publisher.follow(trainer)
        if path is not None:
            publisher.log.link(path)
        self._publisher = publisher  # the one before ends, with its link
        return publisher.log.place if path is None else os.fspath(path)

    @classmethod
    def attach(cls, path: str | os.PathLike[str]) -> Self:
        """Return a model that reads one which another process is training.

        Every answer is from the tables as they are at that moment, with the users and
        items that had come by its beginning. Nothing can be written to them from here,
        and the trainer waits for nobody. A vector may be half updated when it is read.

        Parameters
        ----------
        path : str or path-like
            As given to, or returned by, `publish` of the other process.

        Raises
        ------
        StaleParameterError
            The trainer has ended, or there is none; also from later answers.
        """
        log = Subscription(path)
        reader = Reader(log)
        reader.read()
        model = cls(**reader.settings)
        model._reader = reader
        reader.show(model)
        return model

    def _require_own(self, who: str) -> None:
        """Raise a SettingError for a model that another process trains."""
        if self._reader is not None:
            raise SettingError(
                f"{who}: this model is read from another process, which trains it. "
                "`save` it and `load` the file for a model of your own."
            )

    def _require_fitted(self, who: str) -> None:
        if self._reader is not None:
            self._reader.read()
            self._reader.show(self)
        super()._require_fitted(who)


def _rows(model: Any, name: str, width: int) -> NDArray[np.float32]:
    """Return the rows that a table begins with."""
    columns = width if "vectors" in name else 1
    if model is None:
        return np.zeros((0, columns), np.float32)
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
