"""`Dropout`: zeros at random in training, nothing in evaluation."""

from __future__ import annotations

from wyrm_py.errors import SettingError
from wyrm_py.nn.layer import Layer
from wyrm_py.nodes import Node


class Dropout(Layer):
    """Each element zero with probability p, else divided by 1 - p, in training.

    `fit` and `compile` always drop and `evaluate` never does; values computed in
    Python follow `train` and `eval`.

    Parameters
    ----------
    p : float in [0, 1], 0.5 by default; with 1 all is zero in training

    Raises
    ------
    SettingError
        If p is outside.
    DTypeError
        On a call, if the value holds row numbers.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks
    from overfitting", JMLR 15, 2014; scaled in training instead of in evaluation.
    """

    def __init__(self, p: float = 0.5) -> None:
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            raise SettingError(f"Dropout: p must be a number in [0, 1], got {p!r}.")
        self.p = float(p)

    def forward(self, x: Node) -> Node:
        """Drop elements of a node of floats; the value keeps its shape."""
        return x.dropout(self.p, self.mode)
