"""Pairs of rows of one group, of which one is to rank above the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import DataError


class OrderedPairs:
    """The pairs of rows of one group with different labels.

    Parameters
    ----------
    labels : float array, shape (N,); the higher of two is to rank above
    groups : int array, shape (N,)

    Raises
    ------
    DataError
        No group has two labels.
    """

    def __init__(self, labels: NDArray[Any], groups: NDArray[Any]) -> None:
        order = np.lexsort((labels, groups))
        opens = np.ones(len(order), bool)  # a group, or another label in it
        begins = opens.copy()
        begins[1:] = np.diff(groups[order]) != 0
        opens[1:] = begins[1:] | (np.diff(labels[order]) != 0)
        places = np.arange(len(order))
        start = np.maximum.accumulate(np.where(begins, places, 0))
        lower = np.maximum.accumulate(np.where(opens, places, 0)) - start
        above = np.flatnonzero(lower)
        if not len(above):
            raise DataError(
                "fit: no group has rows with different y, so there is nothing to rank. "
                "Give `groups`, one a row, that hold higher and lower y."
            )
        self._order, self._start, self._lower = order, start[above], lower[above]
        self.better = order[above]
        """Rows that rank above another, shape (P,)."""

    def draw(self, rng: np.random.Generator) -> NDArray[Any]:
        """Draw a row of the same group with a lower label for each of `better`."""
        places = (rng.random(len(self._lower)) * self._lower).astype(np.int64)
        drawn: NDArray[Any] = self._order[self._start + places]
        return drawn

    def agreement(self, scores: NDArray[Any]) -> float:
        """Return how likely a row scores above a lower one; ties count half.

        Of labels 0 and 1 it is the AUC of each group, weighted by its ones.
        """
        total = 0.0
        for start, row, count in zip(
            self._start, self.better, self._lower, strict=True
        ):
            others = scores[self._order[start : start + count]]
            below = (others < scores[row]).sum() + 0.5 * (others == scores[row]).sum()
            total += float(below) / count
        return total / len(self.better)
