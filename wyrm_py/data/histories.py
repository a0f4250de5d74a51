"""Histories: the items of each user in the order of time, whole or in chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.ragged import RaggedColumn, gather_spans
from wyrm_py.data.rows import whole
from wyrm_py.errors import DataError, SettingError


@dataclass(frozen=True, eq=False)
class Histories:
    """H runs of items, each of one user and in the order of time.

    `Interactions.histories` makes them. `items` and `users` are columns of H
    examples as `wp.fit` takes them.

    Attributes
    ----------
    users : int32 array, shape (H,)
        Code of the user whose history each is.
    items : RaggedColumn of H lists of codes
    rows : int64 array, shape (total,)
        Where each entry of `items.values` stands in the interactions: their other
        columns go along with `interactions.timestamps[rows]`, and
        `interactions.take(rows)` is the way back.
    """

    users: NDArray[np.int32]
    items: RaggedColumn
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of histories, H."""
        return len(self.users)

    def chunks(self, size: int, shortest: int = 1) -> Histories:
        """Cut each history into runs of `size` items, of which the first may be short.

        Five items by three are the runs [0, 1] and [2, 3, 4]: every run but the first
        is full, and the last one ends with what the user did last.

        Parameters
        ----------
        size : int >= 1
        shortest : int in [1, size]
            Leave out runs of fewer items, such as those with nothing to predict.

        Raises
        ------
        SettingError
            A number is out of range.
        DataError
            No run is left.
        """
        size = whole("Histories.chunks", "size", size, least=1)
        if whole("Histories.chunks", "shortest", shortest, least=1) > size:
            raise SettingError(
                f"Histories.chunks: shortest must be at most the size, {size}, got "
                f"{shortest}."
            )
        starts, lengths = self.items.offsets[:-1], np.diff(self.items.offsets)
        counts = -(-lengths // size)
        owners = np.repeat(np.arange(len(self)), counts)
        place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        first = (lengths - (counts - 1) * size)[owners]  # items of the first run
        begins = starts[owners] + np.where(place > 0, first + (place - 1) * size, 0)
        sizes = np.where(place > 0, size, first)
        kept = sizes >= shortest
        if not kept.any():
            raise DataError(
                f"Histories.chunks: no history has {shortest} items, so no "
                "interactions are left. Lower `shortest`."
            )
        spans = begins[kept], sizes[kept]
        items = RaggedColumn(*gather_spans(self.items.values, *spans))
        rows, _ = gather_spans(self.rows, *spans)
        return Histories(self.users[owners[kept]], items, rows)
