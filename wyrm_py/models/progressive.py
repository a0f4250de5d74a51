"""Progressive validation: every event is predicted first and learned from then.

Source: Blum, Kalai, Langford, "Beating the hold-out: bounds for k-fold and progressive
cross-validation", COLT 1999.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Average:
    """A mean over everything, and one that forgets.

    Attributes
    ----------
    mean, recent : float
        NaN before the first value. In `recent` a value counts 1 - 1 / window times as
        much as the one after it.
    """

    window: int
    mean: float = np.nan
    recent: float = np.nan
    _count: float = 0.0
    _weight: float = 0.0  # of what is in `recent`

    def add(self, values: NDArray[Any]) -> None:
        """Take in values, shape (N,), in their order."""
        count = len(values)
        if not count:
            return
        before = self.mean * self._count if self._count else 0.0
        self._count += count
        self.mean = (before + float(values.sum(dtype=np.float64))) / self._count
        keep = 1.0 - 1.0 / self.window
        weights = keep ** np.arange(count - 1, -1, -1.0)
        older = self._weight * keep**count
        total = older + weights.sum()
        before = self.recent * older if older else 0.0
        self.recent = float((before + weights @ values) / total)
        self._weight = total


@dataclass
class Progress:
    """How well the events of a stream were predicted before they were learned from.

    Attributes
    ----------
    events : int
        Seen so far.
    users, items : int
        Known so far.
    loss : Average
        The training loss; of ratings the squared error.
    auc : Average
        Share of items known at the event, drawn at random, that the event's own item
        scores above; ties count half. NaN for ratings.
    hit_rate : Average
        Share of events whose item is among the best tenth of itself and the items
        drawn. NaN for ratings.
    seconds : float
        CPU time of this process since the stream began.
    """

    window: int = 10_000
    events: int = 0
    users: int = 0
    items: int = 0
    loss: Average = field(init=False)
    auc: Average = field(init=False)
    hit_rate: Average = field(init=False)
    seconds: float = 0.0
    _began: float = field(default_factory=time.process_time, repr=False)

    def __post_init__(self) -> None:
        self.loss, self.auc, self.hit_rate = (Average(self.window) for _ in range(3))
