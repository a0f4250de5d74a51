"""`Embedding`: a vector for each row number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from wyrm_py.nn.initialisers import (
    Initialiser,
    checked_shape,
    normal,
    parameter,
)
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node
from wyrm_py.seeds import RandomState, generator


class Embedding(Layer):
    """Rows of a trainable table; a step touches only the rows it looks up.

    Parameters
    ----------
    rows : int >= 1, how many there are
    width : int >= 1, length of each
    initialiser : function (shape, rng); by default normal with std 1 / sqrt(width),
        so that vectors have a length of about 1
    random_state : int >= 0, Generator, RandomState or None
    dtype : float32 or float64

    Attributes
    ----------
    weight : ParameterNode, shape (rows, width); its gradient is sparse

    Called with an index node of shape S, or with row numbers that stay, it gives
    (*S, width).

    Raises
    ------
    SettingError, ShapeError, DTypeError
        If a setting is impossible, or the initialiser returns another shape.
    IndexRangeError, DTypeError
        On a call or when values are computed, if row numbers are outside [0, rows),
        or are no integers.
    """

    def __init__(
        self,
        rows: int,
        width: int,
        initialiser: Initialiser | None = None,
        random_state: RandomState = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = checked_shape("Embedding", (rows, width))
        if initialiser is None:
            initialiser = normal(std=1 / math.sqrt(width))
        rng = generator("Embedding", random_state)
        self.weight = parameter(initialiser, shape, rng, dtype)

    def forward(self, rows: Node | ArrayLike) -> Node:
        """Look up rows.

        Parameters
        ----------
        rows : index node of shape S, or an int, a list or an integer array that
            stays; one int counts as a list of one

        Returns
        -------
        Node, shape (*S, width)

        Raises
        ------
        IndexRangeError, DTypeError
            If row numbers are outside [0, rows), or are no integers.
        """
        return self.weight.index(rows)
