"""What estimators over sparse rows give: scores, predictions, files.

How they are trained is in supervised.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.leaves import ParameterNode, SparseInputNode
from wyrm_py.models.base import Estimator
from wyrm_py.models.ordered_pairs import OrderedPairs
from wyrm_py.models.supervised_data import (
    checked_groups,
    checked_labels,
    checked_matrix,
)
from wyrm_py.nodes import Node
from wyrm_py.parallel.evaluate import evaluate
from wyrm_py.parameters.block import slot_kind


@dataclass(frozen=True)
class Loss:
    """A loss and what it is for.

    graph : of scores and targets of one shape; of a ranker, of two rows' scores
    task : "classifier" (targets are -1 and 1), "regressor" or "ranker"
    learning_rate : that Adagrad does well with
    """

    graph: Callable[[Node, Node], Node]
    task: str
    learning_rate: float


def _decides(estimator: SparseScorer) -> bool:
    return estimator._classifies()


def _gives_probabilities(estimator: SparseScorer) -> bool:
    return estimator._classifies() and estimator.loss == "logistic"


class SparseScorer(Estimator):
    """Base of estimators that give each sparse row a score, or one a class."""

    _losses: ClassVar[Mapping[str, Loss]]
    _several_classes: ClassVar[bool]
    loss: str
    classes_: NDArray[Any]
    _parameters: dict[str, ParameterNode]

    # -- what a subclass says -------------------------------------------------------

    def _first_rows(
        self, columns: int, outputs: int, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """Return first values of the tables, with one row a column of X."""
        raise NotImplementedError(f"{type(self).__name__} has no _first_rows.")

    def _score(self, rows: Any, **parameters: ParameterNode) -> Node:
        """Return the scores of a sparse row, (1, outputs), as a graph."""
        raise NotImplementedError(f"{type(self).__name__} has no _score.")

    def _inputs(self, matrix: sparse.csr_array) -> tuple[Any, dict[Any, Any]]:
        """Return the rows that `_score` takes, and what is fed to them."""
        rows = SparseInputNode(sparse.csr_array((1, matrix.shape[1]), dtype=np.float32))
        return rows, {rows: matrix}

    # -- checks ---------------------------------------------------------------------

    def _loss(self) -> Loss:
        if not isinstance(self.loss, str) or self.loss not in self._losses:
            raise SettingError(
                f"{type(self).__name__}: loss must be one of "
                f"{', '.join(self._losses)}, got {self.loss!r}."
            )
        return self._losses[self.loss]

    def _classifies(self) -> bool:
        return self._loss().task == "classifier"

    def _require_columns(self, who: str, matrix: sparse.csr_array) -> None:
        if matrix.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"{who}: X has {matrix.shape[1]} features, but {type(self).__name__} "
                f"is expecting {self.n_features_in_} features as input."
            )

    # -- predictions ----------------------------------------------------------------

    def _scores(self, who: str, X: Any) -> NDArray[Any]:
        """Return the scores of rows, (N, outputs)."""
        self._require_fitted(who)
        matrix = checked_matrix(who, X)
        self._require_columns(who, matrix)
        rows, inputs = self._inputs(matrix)
        scores = evaluate(self._score(rows, **self._parameters), inputs)
        return scores[:, 0]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return labels, shape (N,); of losses that do not classify, float32 scores.

        Parameters
        ----------
        X : scipy sparse matrix or array_like of finite numbers, shape (N, F)

        Raises
        ------
        NotFittedError
            The model has not been trained yet.
        ShapeError, DTypeError, DataError
            X has other columns than in training, or holds no finite numbers.
        """
        scores = self._scores("predict", X)
        if not self._classifies():
            return scores[:, 0]
        several = scores.shape[1] > 1
        best = scores.argmax(axis=1) if several else (scores[:, 0] > 0).astype(int)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    @available_if(_decides)  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return scores, above zero for the second class (N,), or one a class (N, K).

        Parameters and errors are those of `predict`.
        """
        scores = self._scores("decision_function", X)
        return scores if scores.shape[1] > 1 else scores[:, 0]

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, float64 (N, K), as `classes_` stand.

        Of more than two classes each is one against the rest, scaled to a sum of 1.
        Parameters and errors are those of `predict`.
        """
        scores = self._scores("predict_proba", X).astype(np.float64)
        yes = np.exp(-np.logaddexp(0, -scores))
        if scores.shape[1] == 1:
            return np.hstack([np.exp(-np.logaddexp(0, scores)), yes])
        scaled: NDArray[Any] = yes / yes.sum(axis=1, keepdims=True)
        return scaled

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy of a classifier, the R squared of a regressor.

        Of a loss that ranks: how likely a row scores above another of its group that
        has a lower y. Parameters are those of `fit`, errors those of `predict`.
        """
        if self._loss().task == "ranker":
            predicted = self.predict(X)
            labels = checked_labels("score", y, len(predicted), classifies=False)
            pairs = OrderedPairs(labels, checked_groups("score", groups, len(labels)))
            return pairs.agreement(predicted)
        from sklearn.metrics import accuracy_score, r2_score  # slow to import

        measure = accuracy_score if self._classifies() else r2_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        loss = self._losses.get(self.loss)
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.non_deterministic = self.n_jobs != 1
        if loss is not None and loss.task == "classifier":
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_class=self._several_classes)
        elif loss is not None and loss.task == "regressor":
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags

    # -- what was fitted ------------------------------------------------------------

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X."""
        self._require_fitted("n_features_in_")
        return int(self._parameters["weights"].shape[0])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_parameters")

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {}
        for name, node in self._parameters.items():
            arrays[name] = node.value
            for slot, state in node.block.slots().items():
                arrays[f"{name}/{slot}"] = state
        return arrays

    def _metadata(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist()} if self._classifies() else {}

    def _take(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> None:
        tables = {k: v for k, v in arrays.items() if "/" not in k}
        parameters = {k: ParameterNode(v, name=k) for k, v in tables.items()}
        rows, outputs = len(tables["weights"]), tables["intercept"].shape[1]
        wanted = self._first_rows(1, outputs, np.random.default_rng(0))
        shapes = {name: (rows, *first.shape[1:]) for name, first in wanted.items()}
        shapes["intercept"] = (1, outputs)
        found = {name: table.shape for name, table in tables.items()}
        if found != shapes:
            raise ValueError(f"tables of shapes {found}, not {shapes}")
        for key, state in arrays.items():
            name, _, slot = key.partition("/")
            if slot:
                parameters[name].block.slot(slot, slot_kind(state))[...] = state
        if self._classifies():
            classes = np.array(metadata["classes"])
            if len(classes) != max(outputs, 2):
                raise ValueError(f"{len(classes)} classes for {outputs} scores")
            self.classes_ = classes
        self._parameters = parameters
