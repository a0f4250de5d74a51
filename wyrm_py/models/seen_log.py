"""Seen items of a stream: added at any time, looked up at any time."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.models.seen import Seen

_PENDING = 1 << 16  # pairs that wait unsorted, unless somebody asks
_ITEM = np.int64((1 << 32) - 1)

Keys = NDArray[np.int64]


class SeenLog:
    """The items each user has met, as `Seen`, in a form that grows.

    Pairs stand in sorted runs, each at least twice as long as the next: adding N of
    them takes O(N log N) in all, looking up a user O(log N) in each of O(log N) runs.
    """

    def __init__(self, first: Seen | None = None) -> None:
        self.n_users = 0
        self._journal: list[Keys] | None = None
        self._runs: list[Keys] = []
        self._pending: list[Keys] = []
        self._waiting = 0
        if first is not None and len(first.items):
            users = np.repeat(np.arange(len(first.starts) - 1), np.diff(first.starts))
            self.add(users, first.items, len(first.starts) - 1)

    def add(self, users: NDArray[Any], items: NDArray[Any], n_users: int) -> None:
        """Add pairs of codes, each at most 2**31 - 1; pairs may come again.

        `n_users` is how many users there are now.
        """
        self.n_users = n_users
        if len(users):
            keys = (np.asarray(users, np.int64) << 32) | items
            self._pending.append(keys)
            self._waiting += len(users)
            if self._journal is not None:
                self._journal.append(keys)
        if self._waiting >= _PENDING:
            self._sort()

    def of_users(self, users: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return starts, shape (Q + 1,), and rising items of users; -1 has none."""
        self._sort()
        queries: list[Keys] = []
        for run in self._runs:
            begins = np.searchsorted(run, users << 32)
            ends = np.searchsorted(run, (users + 1) << 32)
            ends[users < 0] = begins[users < 0]
            lengths = ends - begins
            places = np.repeat(begins - np.cumsum(lengths) + lengths, lengths)
            found = run[places + np.arange(len(places))] & _ITEM
            number = np.repeat(np.arange(len(users), dtype=np.int64), lengths)
            queries.append((number << 32) | found)
        keys = np.unique(np.concatenate(queries)) if queries else np.empty(0, np.int64)
        starts = np.searchsorted(keys, np.arange(len(users) + 1, dtype=np.int64) << 32)
        return starts, keys & _ITEM

    def news(self) -> Keys:
        """Return what came since the last call or `begin_news`, all of it at first.

        As `keys`, but in no order.
        """
        before, self._journal = self._journal, []
        if before is None:
            return self.keys()
        return np.concatenate([np.empty(0, np.int64), *before])

    def begin_news(self) -> None:
        """Have `news` begin with all of it again."""
        self._journal = None

    def whole(self) -> Seen:
        """Return all of it in the form that files have."""
        return Seen(self.starts, self.items)

    def keys(self) -> Keys:
        """Return user << 32 | item of every pair, rising."""
        self._sort()
        while len(self._runs) > 1:
            self._merge()
        return self._runs[0] if self._runs else np.empty(0, np.int64)

    def counts(self, n_items: int) -> NDArray[np.int64]:
        """Return how many users have met each item, shape (n_items,)."""
        return self.whole().counts(n_items)

    def csr(self, n_items: int) -> scipy.sparse.csr_array:
        """Return a matrix of ones, shape (U, n_items)."""
        return self.whole().csr(n_items)

    @property
    def starts(self) -> NDArray[Any]:
        """As of `Seen`."""
        edges = np.arange(self.n_users + 1, dtype=np.int64) << 32
        return np.searchsorted(self.keys(), edges).astype(np.int64)

    @property
    def items(self) -> NDArray[Any]:
        """As of `Seen`."""
        return (self.keys() & _ITEM).astype(np.int32)

    def _sort(self) -> None:
        """Make a run of what waits, and join runs of like length."""
        if not self._pending:
            return
        self._runs.append(np.unique(np.concatenate(self._pending)))
        self._pending, self._waiting = [], 0
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._merge()

    def _merge(self) -> None:
        both = np.concatenate([self._runs.pop(), self._runs.pop()])
        both.sort(kind="stable")  # two runs are merged, not sorted anew
        self._runs.append(both[np.append(True, both[1:] != both[:-1])])
