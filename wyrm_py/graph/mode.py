"""Training or evaluating: what dropout asks before it draws."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_state = threading.local()


class Mode:
    """A switch that graphs built with it follow: is this training, or evaluation?

    `forward` asks it. `fit` and compiled steps always train and `evaluate` always
    evaluates, whatever the switch says.

    Parameters
    ----------
    training : the position to begin with

    Attributes
    ----------
    training : bool
        May be set at any time.
    """

    __slots__ = ("training",)

    def __init__(self, training: bool = True) -> None:
        self.training = training

    def __repr__(self) -> str:
        return f"Mode(training={self.training})"

    @property
    def is_training(self) -> bool:
        """Whether to train now, in this thread: a step of `fit` always does."""
        return self.training or getattr(_state, "training", False)


@contextmanager
def training() -> Iterator[None]:
    """Let every mode say that it trains, in this thread, while open."""
    before = getattr(_state, "training", False)
    _state.training = True
    try:
        yield
    finally:
        _state.training = before
