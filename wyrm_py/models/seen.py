"""The items each user has met: what recommenders leave out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.data.ragged import gather_spans
from wyrm_py.errors import CorruptCheckpointError


class Seen(NamedTuple):
    """The items each user has met: items[starts[u]:starts[u + 1]], rising.

    Attributes
    ----------
    starts : int64 array, shape (U + 1,)
    items : integer array, shape (any,)
        Codes.
    """

    starts: NDArray[Any]
    items: NDArray[Any]

    @classmethod
    def of(cls, matrix: Any) -> Seen:
        """Return the stored entries of a scipy sparse matrix, shape (U, I)."""
        csr = scipy.sparse.csr_array(matrix)
        if not csr.has_canonical_format:
            csr = csr.copy()
            csr.sum_duplicates()
        return cls(csr.indptr.astype(np.int64), csr.indices)

    def csr(self, n_items: int) -> scipy.sparse.csr_array:
        """Return a matrix of ones, shape (U, n_items)."""
        ones = np.ones(len(self.items), np.float32)
        shape = len(self.starts) - 1, n_items
        try:
            matrix = scipy.sparse.csr_array((ones, self.items, self.starts), shape)
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise _damaged("metrics") from error
        return matrix

    def counts(self, n_items: int) -> NDArray[np.int64]:
        """Return how many users have met each item, shape (n_items,)."""
        if len(self.items) and not 0 <= self.items.min() <= self.items.max() < n_items:
            raise _damaged("fold_in")
        return np.bincount(self.items, minlength=n_items)

    def of_users(self, users: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return starts and items of some users, none for other codes than theirs."""
        known = (users >= 0) & (users < len(self.starts) - 1)
        rows = np.where(known, users, 0)
        begins, ends = self.starts[rows] * known, self.starts[rows + 1] * known
        fits = (0 <= begins) & (begins <= ends) & (ends <= len(self.items))
        if not fits.all():
            raise _damaged("recommend")
        if len(users) == 1:
            return np.concatenate([begins, ends]), self.items
        items, starts = gather_spans(self.items, begins, ends - begins)
        return starts, items


def _damaged(who: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{who}: the model's lists of seen items do not fit together. Its file is "
        "damaged: load it with `verify=True` to be told where."
    )
