"""A recommender that other processes read while it learns."""

from __future__ import annotations

import os
from typing import Self

from wyrm_py.errors import SettingError
from wyrm_py.models.live import Publisher, Reader
from wyrm_py.models.newcomers import Newcomers
from wyrm_py.models.online_trainer import OnlineTrainer
from wyrm_py.models.publication import Subscription


class Published(Newcomers):
    """What a `FactorizationRecommender` does for other processes: a mixin.

    A subclass has `_ready`, which returns what trains it.
    """

    _publisher: Publisher | None = None
    _reader: Reader | None = None

    def _ready(self) -> OnlineTrainer:
        raise NotImplementedError

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
