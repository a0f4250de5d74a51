"""Ids in the order of their scores: what every question for the best gives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.ids import IdMap

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]


class Ranked(NamedTuple):
    """Ids in the order of their scores, best first.

    Attributes
    ----------
    ids : array, shape (n,) for one query and (Q, n) for a list of them
        Of the type the ids were given in. n is at most the size of the catalogue;
        where fewer are left: -1 for whole numbers, None for text and other objects,
        NaN for floats, NaT for times.
    scores : float32 array of the same shape
        Minus infinity there.
    """

    ids: NDArray[Any]
    scores: Floats


def ranked(ids: IdMap, codes: Codes, scores: Floats, single: bool) -> Ranked:
    """Return answers (Q, n) by id, without the first axis for a single question."""
    found = ids.take(codes)
    return Ranked(found[0], scores[0]) if single else Ranked(found, scores)
