"""Linear models of sparse rows: logistic regression, linear SVM, least squares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import SettingError
from wyrm_py.leaves import ParameterNode
from wyrm_py.models.scorer import Loss
from wyrm_py.models.supervised import SparsePredictor
from wyrm_py.nodes import Node
from wyrm_py.optim import Optimizer
from wyrm_py.optim.schedules import Schedule
from wyrm_py.seeds import RandomState


def logistic(score: Node, target: Node) -> Node:
    """Return ln(1 + exp(-target * score)), for a target of -1 or 1."""
    return (-(target * score)).softplus()


def hinge(score: Node, target: Node) -> Node:
    """Return max(0, 1 - target * score), for a target of -1 or 1."""
    return (1.0 - target * score).relu()


def squared(score: Node, target: Node) -> Node:
    """Return (score - target)**2."""
    return (score - target).square()


@dataclass(eq=False, repr=False)
class SparseLinear(SparsePredictor):
    """A linear model of sparse rows: score(x) = x . coef_ + intercept_.

    Parameters
    ----------
    loss : {"logistic", "hinge", "squared"}
        The first two classify (of more than two classes, each against the rest), the
        last is least squares.
    optimizer : "adagrad", "ftrl", "sgd", "adam", or an Optimizer
    learning_rate : float > 0, a schedule of `wp.schedules`, or None
        None takes what suits the loss.
    l1, l2 : float >= 0, or None
        Penalties on the weights of an example's stored columns, and on the intercept;
        with FTRL, l1 gives weights that are exactly zero.
    epochs : int >= 0
        Passes of `fit` over the rows; one of `partial_fit` is one.
    n_jobs : int
        Workers; -1 is one a core.
    backend : {"processes", "threads"}
    random_state : int >= 0, Generator, RandomState or None
        With one worker a seed gives one result.

    Attributes
    ----------
    coef_ : float32 array, shape (F,), of more than two classes (K, F)
    intercept_ : float32 array, shape (K,), K = 1 of up to two classes
    classes_ : array, shape (K,); of the losses that classify
    n_features_in_ : int, F
    history_ : History of the last training

    Examples
    --------
    >>> model = SparseLinear(optimizer="ftrl", l1=1.0).fit(X, y)
    >>> model.predict_proba(X)[:, 1]

    Notes
    -----
    Penalties act on what an example stores: over an epoch a weight is penalised as
    often as its column occurs.

    A weight moves by about `learning_rate` in its first steps, whatever the unit of y:
    with loss "squared" scale a large y down, as
    `sklearn.compose.TransformedTargetRegressor` does, or raise the rate.
    """

    _kind: ClassVar[str] = "sparse linear"
    _losses: ClassVar[Mapping[str, Loss]] = {
        # the best of a grid on a9a, 10 epochs
        "logistic": Loss(logistic, "classifier", learning_rate=0.1),
        "hinge": Loss(hinge, "classifier", learning_rate=0.1),
        "squared": Loss(squared, "regressor", learning_rate=0.1),
    }
    _several_classes: ClassVar[bool] = True

    loss: str = "logistic"
    optimizer: str | Optimizer = "adagrad"
    learning_rate: float | Schedule | None = None
    l1: float | None = None
    l2: float | None = None
    epochs: int = 10
    n_jobs: int = 1
    backend: Literal["processes", "threads"] = "processes"
    random_state: RandomState = None

    def _first_rows(
        self, columns: int, outputs: int, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        return {"weights": np.zeros((columns, outputs))}

    def _score(self, rows: Any, **parameters: ParameterNode) -> Node:
        score: Node = rows.dot(parameters["weights"]) + parameters["intercept"]
        return score

    def _new_optimizer(self) -> Optimizer:
        made = super()._new_optimizer()
        if self.l1 is not None:
            if isinstance(self.optimizer, Optimizer):
                raise SettingError(
                    f"SparseLinear: l1 belongs to the optimizer that was given, "
                    f"{self.optimizer!r}. Set it there."
                )
            made.l1 = self.l1
        return made

    @property
    def coef_(self) -> NDArray[Any]:
        """Weights: float32, shape (F,), of more than two classes (K, F)."""
        self._require_fitted("coef_")
        weights: NDArray[Any] = self._parameters["weights"].value
        return weights[:, 0] if weights.shape[1] == 1 else weights.T

    @property
    def intercept_(self) -> NDArray[Any]:
        """Offsets: float32, shape (K,), K = 1 of up to two classes."""
        self._require_fitted("intercept_")
        intercept: NDArray[Any] = self._parameters["intercept"].value[0]
        return intercept
