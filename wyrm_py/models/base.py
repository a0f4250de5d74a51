"""What every estimator is: settings, fitted arrays, and files of both.

An estimator follows scikit-learn's conventions: the fields of its dataclass are its
settings, stored as given and checked by `fit`; what `fit` makes ends in an underscore.
"""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError as UnfittedError

from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.checkpoint import load as load_checkpoint
from wyrm_py.description import build, describe
from wyrm_py.errors import (
    CorruptCheckpointError,
    NotFittedError,
    SettingError,
    UnsavableError,
    WyrmError,
)
from wyrm_py.nodes import Node
from wyrm_py.optim import FTRL, SGD, Adagrad, Adam, Optimizer
from wyrm_py.optim.schedules import Schedule
from wyrm_py.parallel.fit import fit
from wyrm_py.parallel.history import History
from wyrm_py.seeds import RandomState

OPTIMIZERS = {"adagrad": Adagrad, "adam": Adam, "ftrl": FTRL, "sgd": SGD}


class UntrainedError(NotFittedError, UnfittedError):  # type: ignore[misc]
    """An estimator was used before it was trained; scikit-learn's error, too."""


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base of the estimators: `@dataclass(eq=False, repr=False)` subclasses of it.

    A subclass declares the settings below as fields, with its own defaults and beside
    its own settings, names its files by `_kind`, and says how its fitted attributes
    become arrays of numbers (`_to_arrays`) and come back from them (`_take`).

    Parameters
    ----------
    optimizer : "adagrad", "adam", "ftrl", "sgd", or an Optimizer
        An Optimizer brings its own learning rate and penalties; it is copied.
    learning_rate : float > 0, a schedule of `wp.schedules`, or None
        None takes what suits the loss, as for l2.
    l2 : float >= 0, or None
    epochs : int >= 0
        Passes over the examples.
    n_jobs : int
        Workers; -1 is one a core.
    backend : "processes" or "threads"
    random_state : int >= 0, Generator, RandomState or None
        With one worker a seed gives one result.

    Attributes
    ----------
    history_ : History
        Of the last training.
    """

    _kind: ClassVar[str]
    optimizer: str | Optimizer
    learning_rate: float | Schedule | None
    l2: float | None
    epochs: int
    n_jobs: int
    backend: Literal["processes", "threads"]
    random_state: RandomState
    history_: History

    # -- training -------------------------------------------------------------------

    def _make_optimizer(self, default: Optimizer) -> Optimizer:
        """Return what the settings ask for; what they leave open is as in `default`.

        Another rule than that of `default` begins with its own defaults.
        """
        name, given = type(self).__name__, self.optimizer
        if isinstance(given, Optimizer):
            if self.learning_rate is not None or self.l2 is not None:
                raise SettingError(
                    f"{name}: learning_rate and l2 belong to the optimizer that was "
                    f"given, {given!r}. Set them there."
                )
            return copy.copy(given)
        if not isinstance(given, str) or given not in OPTIMIZERS:
            raise SettingError(
                f"{name}: optimizer must be one of {', '.join(OPTIMIZERS)} or an "
                f"Optimizer, got {given!r}."
            )
        rule = OPTIMIZERS[given]
        made: Optimizer = copy.copy(default) if type(default) is rule else rule()
        if self.learning_rate is not None:
            made.learning_rate = self.learning_rate
        if self.l2 is not None:
            made.l2 = self.l2
        return made

    def _train(
        self,
        loss: Node,
        optimizer: Optimizer,
        inputs: Mapping[Any, Any],
        show: Callable[[], object] | None = None,
        validation: Any = None,
        **more: Any,
    ) -> History:
        """Train with the settings and set `history_`; `more` goes to `wp.fit`.

        Functions in `validation` take the estimator, in place of the History;
        `show` sets its fitted attributes as they are at that moment. `resume` may be
        the file of a checkpoint.
        """
        parts = validation if isinstance(validation, list | tuple) else [validation]
        more["validation"] = [
            self._metric(part, show) if callable(part) else part
            for part in parts
            if part is not None
        ]
        settings = {
            "epochs": self.epochs,
            "n_jobs": self.n_jobs,
            "backend": self.backend,
            "random_state": self.random_state,
        }
        if isinstance(more.get("resume"), str | os.PathLike):
            history, nodes = History(), loss.parameters()
            load_checkpoint(more["resume"], nodes, optimizer=optimizer, history=history)
            left = max(0, more.get("epochs", self.epochs) - len(history.losses))
            more |= {"resume": history, "epochs": left, "random_state": None}
        self.history_ = fit(loss, optimizer, inputs, **settings | more)
        return self.history_

    def _metric(
        self, function: Callable[[Any], Any], show: Callable[[], object] | None
    ) -> Callable[[History], Any]:
        @functools.wraps(function)
        def metric(_: History) -> Any:
            if show is not None:
                show()
            return function(self)

        return metric

    # -- what was fitted ------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") for name in vars(self))

    def _require_fitted(self, who: str) -> None:
        if not self.__sklearn_is_fitted__():
            raise UntrainedError(
                f"{who}: the {type(self).__name__} has not been trained yet. Call "
                "`fit` or `load`."
            )

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what was fitted as named arrays of numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no _to_arrays.")

    def _saved_settings(self) -> dict[str, Any]:
        """Return the settings that files hold; arrays belong to `_to_arrays`."""
        settings: dict[str, Any] = self.get_params(deep=False)
        return settings

    def _metadata(self) -> dict[str, Any]:
        """Return what else was fitted, as small JSON values."""
        return {}

    def _take(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> None:
        """Set the fitted attributes from `_to_arrays` and `_metadata`, checked.

        Any error in here says that the file is none of this class.
        """
        raise NotImplementedError(f"{type(self).__name__} has no _take.")

    # -- files ----------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the settings and what was fitted to one file, without pickle.

        The file is replaced atomically. Ids keep their type.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        NotFittedError
            There is nothing to save yet.
        UnsavableError
            A setting is a function or another object that no file can hold.
        OSError
            The file cannot be written.
        """
        self._require_fitted("save")
        settings = {
            name: _setting_to_json(name, value)
            for name, value in self._saved_settings().items()
        }
        metadata = {**self._metadata(), "kind": self._kind, "settings": settings}
        if hasattr(self, "history_"):
            metadata["history"] = self.history_.to_dict()
        write_arrays(path, self._to_arrays(), metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = False) -> Self:
        """Map what `save` wrote into memory: at once, whatever the size.

        The arrays are private and writable; the file never changes, and may be
        replaced by `save` meanwhile.

        Parameters
        ----------
        path : str or path-like
        verify : bool
            Check every byte against its digest, as `wp.verify` does, which reads the
            whole file. Header, sizes and manifest are checked in any case.

        Raises
        ------
        CorruptCheckpointError
            The file is damaged, truncated, from a newer version, or of another kind.
        OSError
            The file cannot be read.
        """
        arrays, metadata = read_arrays(path, mmap=True, verify=verify)
        if metadata.get("kind") != cls._kind:
            raise CorruptCheckpointError(
                f"{path} holds {metadata.get('kind')!r}, a {cls.__name__} needs "
                f"{cls._kind!r}. Give a file made by `{cls.__name__}.save`."
            )
        try:
            settings = metadata.pop("settings")
            model = cls(**{k: _setting_from_json(v) for k, v in settings.items()})
            if "history" in metadata:
                model.history_ = History.from_dict(metadata.pop("history"))
            model._take(arrays, metadata)
        except (LookupError, TypeError, ValueError, AttributeError, WyrmError) as error:
            raise CorruptCheckpointError(
                f"{path}: the parts of the {cls.__name__} do not fit together "
                f"({type(error).__name__}: {error})."
            ) from error
        return model


def _setting_to_json(name: str, value: Any) -> Any:
    if isinstance(value, Optimizer | Schedule):
        return describe("save", value)
    if isinstance(value, np.generic):  # what a grid of settings is often made of
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UnsavableError(
        f"save: {name} must be a number, text, an Optimizer or a schedule to be kept "
        f"in a file, got {value!r}. Set another with `set_params`, or use pickle."
    )


def _setting_from_json(value: Any) -> Any:
    return build("load", value) if isinstance(value, dict) else value
