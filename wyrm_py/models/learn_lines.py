"""Learning from lines until they end or a signal comes: what `wyrm learn` does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

import pyarrow as pa

from wyrm_py.data.events import Events
from wyrm_py.data.streams import stream
from wyrm_py.errors import DataError
from wyrm_py.models.hashed_ids import kinds_in_text
from wyrm_py.models.online import Online
from wyrm_py.models.progressive import Progress

CHUNK = 65_536
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def learn_lines(
    model: Online,
    source: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    every: int = 100_000,
    save_every: float | None = None,
    report: Callable[[Progress], object] | None = None,
    chunk_size: int | None = None,
    user_features: Any = None,
    item_features: Any = None,
    **columns: Any,
) -> Progress:
    """Learn from a source to its end; save now and then, and whatever happens.

    Ctrl-C and SIGTERM end it after the chunk in hand: the model is saved and the
    signal has its usual effect. What was read of the next chunk is not learned.

    Parameters
    ----------
    model : FactorizationRecommender
    source : what `wyrm_py.data.stream` takes, such as `sys.stdin.buffer`
    path : file to save the model to, or None
    every : int >= 1, events between two calls of `report`
    save_every : seconds > 0 between two saves, or None to save at the end only
    report : function of the Progress
    chunk_size : int >= 1, events learned at once, or None for at most `every`
    user_features, item_features, columns
        As for `partial_fit`.

    Returns
    -------
    Progress

    Raises
    ------
    KeyboardInterrupt, SystemExit
        After a signal; the exit code of SIGTERM is 143.
    DataError, MissingColumnError, SettingError, DivergenceError, OSError
        As `partial_fit` and `save`; what came before is saved. Also DataError if there
        was no event at all: then no file is written.
    """
    size = max(1, min(every, CHUNK)) if chunk_size is None else chunk_size
    columns = {"ids": kinds_in_text(model)} | columns
    chunks = stream(source, chunk_size=size, **columns)
    reported, saved, learned = 0, time.monotonic(), False

    def after_chunk(progress: Progress) -> None:
        nonlocal reported, saved, learned
        learned = True
        if report is not None and progress.events - reported >= every:
            reported = progress.events
            report(progress)
        due = save_every is not None and time.monotonic() - saved >= save_every
        if path is not None and due:
            model.save(path)
            saved = time.monotonic()

    with _Stop() as stop:
        try:
            with suppress(_Ended):
                model.partial_fit(
                    stop.between(chunks),
                    user_features=user_features,
                    item_features=item_features,
                    callback=after_chunk,
                )
        finally:
            if path is not None and learned:
                model.save(path)
    if not learned:
        raise DataError(
            "learn_lines: at least one event is required, got none; nothing was saved."
        )
    if report is not None and model.progress_.events > reported:
        report(model.progress_)
    return model.progress_


class _Stop:
    """Ends an iteration on a signal, but only between two of its elements."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._reading = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            pa.enable_signal_handlers(False)  # its readers now and then lose a signal
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            pa.enable_signal_handlers(True)
        if self._number is not None and kind is None:
            raise _error(self._number)

    def between(self, chunks: Iterator[Events]) -> Iterator[Events]:
        """Return chunks until there are no more or a signal has come."""
        while self._number is None:
            try:
                self._reading = True
                if self._number is not None:  # it came just before
                    return
                chunk = next(chunks)
            except (StopIteration, _Ended):
                return
            finally:
                self._reading = False
            yield chunk

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        if self._reading:  # for a line that may never come
            raise _Ended


class _Ended(BaseException):
    """A signal came while the next chunk was awaited. Nobody else is to catch it."""


def _error(number: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return SystemExit(128 + number)
