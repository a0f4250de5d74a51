"""What a training run reports: losses, speed, who did what, with which settings."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from wyrm_py.drawing import Picture
from wyrm_py.errors import DataError
from wyrm_py.plots import plot_history
from wyrm_py.report import write_report


@dataclass
class Unfinished:
    """The epoch that was under way when a checkpoint was written.

    Attributes
    ----------
    examples : int
        Of an epoch.
    block_size : int
        Block b is the examples at [b * block_size, (b + 1) * block_size) of the
        epoch's order.
    blocks : list of int
        Those that are done.
    losses : list of float
        Sum of the losses of each.
    """

    examples: int
    block_size: int
    blocks: list[int]
    losses: list[float]


@dataclass
class History:
    """Record of a training run; callbacks get it while it grows.

    Attributes
    ----------
    losses : list of float
        Mean loss of each epoch: over all its examples, each as it was just before
        its own update, by weight if there are weights.
    seconds : float
        Time of training proper: from all workers ready to the last block done,
        without compilation, start of workers, checks of columns, validation,
        callbacks.
    samples_per_second : float
        Examples of all epochs divided by `seconds`.
    workers : int
        Number of workers that trained.
    seed : int
        From it come the order of examples and all draws, epoch by epoch.
    validation_losses : list of float
        Mean loss over the validation data after each epoch; NaN for epochs of an
        earlier run that had none.
    metrics : list of dict of str to float
        What functions given as `validation` returned after each epoch, by name.
    best_epoch : int or None
        The best one so far by early stopping: an index into the lists.
    learning_rates : list of float
        At the beginning of each epoch.
    epoch_seconds : list of float
        Share of each epoch in `seconds`.
    worker_examples, worker_seconds : list of float
        What each worker did, and how long it was at it.
    started : str
        When, in UTC and ISO 8601.
    settings : dict
        What `fit` was called with, as far as it is numbers and text.
    machine : dict of str to str
        Processor, cores, versions.
    graph : Picture or None
        The trained graph, at most 80 boxes of it, as `draw` shows it.
    unfinished : Unfinished or None
        In a checkpoint from the middle of an epoch: what was done of it.
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    samples_per_second: float = 0.0
    workers: int = 1
    seed: int = 0
    validation_losses: list[float] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    learning_rates: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    worker_examples: list[float] = field(default_factory=list)
    worker_seconds: list[float] = field(default_factory=list)
    started: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    graph: Picture | None = None
    unfinished: Unfinished | None = None

    def plot(self, path: str | os.PathLike[str] | None = None, axes: Any = None) -> Any:
        """Draw losses, validation, metrics and learning rate with matplotlib.

        Parameters
        ----------
        path : str or path-like, where to write it (by its ending: png, svg, pdf); or
            None
        axes : matplotlib Axes to draw the losses into, or None for a new figure

        Returns
        -------
        matplotlib Figure, not known to pyplot unless `axes` is

        Raises
        ------
        MissingPackageError
            If matplotlib is not installed: `pip install 'wyrm-py[plot]'`.
        OSError
            If the file cannot be written.
        """
        return plot_history(self, path, axes)

    def report(
        self,
        path: str | os.PathLike[str],
        title: str = "Training run",
    ) -> None:
        """Write the run as one page of HTML that needs nothing else.

        Parameters
        ----------
        path : str or path-like, conventionally `*.html`; is overwritten
        title : heading of the page

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_report(path, self, title)

    def to_dict(self) -> dict[str, Any]:
        """Return the history as JSON has it; NaN and infinity become None."""
        return {name: _to_json(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Return the history that `to_dict` gave; what is missing is as in a new one.

        Raises
        ------
        DataError
            If these are not the values of a history.
        """
        if not isinstance(saved, Mapping) or "losses" not in saved:
            raise DataError("History: a mapping as `to_dict` gives it is required.")
        unknown = set(saved) - {field.name for field in fields(cls)}
        if unknown:
            raise DataError(f"History: has no {', '.join(map(repr, sorted(unknown)))}.")
        return cls(**{name: _from_json(name, saved[name]) for name in saved})

    def __repr__(self) -> str:
        epochs = f"{len(self.losses)} epoch" + "s" * (len(self.losses) != 1)
        workers = f"{self.workers} worker" + "s" * (self.workers != 1)
        loss = ""
        if self.losses:
            loss = f", loss {self.losses[0]:.6g}"
            if len(self.losses) > 1:
                loss += f" -> {self.losses[-1]:.6g}"
        return (
            f"History({epochs}{loss}, {self.seconds:.3g} s, "
            f"{self.samples_per_second:,.0f} samples/s, {workers})"
        )


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_to_json(one) for one in value]
    if isinstance(value, dict):
        return {name: _to_json(one) for name, one in value.items()}
    return value


def _from_json(name: str, value: Any) -> Any:
    """Return the value of a field, or raise a DataError."""
    try:
        return _READERS[name](value)
    except (TypeError, AttributeError, ValueError, LookupError) as error:
        raise DataError(f"History: {name} cannot be {value!r:.80}.") from error


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _numbers(value: Any) -> list[float]:
    if not isinstance(value, list):
        raise TypeError
    return [math.nan if one is None else _number(one) for one in value]


def _metrics(value: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [
        dict(zip(map(_text, row), _numbers([*row.values()]), strict=True))
        for row in value
    ]


def _unfinished(value: dict[str, Any] | None) -> Unfinished | None:
    if value is None:
        return None
    blocks, losses = [_whole(b) for b in value["blocks"]], _numbers(value["losses"])
    if len(blocks) != len(losses) or len(value) != len(fields(Unfinished)):
        raise ValueError
    examples, size = _whole(value["examples"]), _whole(value["block_size"])
    if not size or len(set(blocks)) < len(blocks) or max(blocks) * size >= examples:
        raise ValueError
    return Unfinished(examples, size, blocks, losses)


_READERS: dict[str, Callable[[Any], Any]] = {
    "losses": _numbers,
    "seconds": _number,
    "samples_per_second": _number,
    "workers": _whole,
    "seed": _whole,
    "validation_losses": _numbers,
    "metrics": _metrics,
    "best_epoch": lambda value: None if value is None else _whole(value),
    "learning_rates": _numbers,
    "epoch_seconds": _numbers,
    "worker_examples": _numbers,
    "worker_seconds": _numbers,
    "started": _text,
    "settings": lambda value: {_text(name): value[name] for name in value},
    "machine": lambda value: {_text(name): _text(value[name]) for name in value},
    "graph": lambda value: None if value is None else Picture.from_dict(value),
    "unfinished": _unfinished,
}
