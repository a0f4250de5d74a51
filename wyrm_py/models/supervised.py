"""What estimators over sparse rows share: training, predictions, files.

A subclass names its losses, makes its first parameters, and writes the score of a row
as a graph; linear.py is the shortest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.leaves import InputNode, ParameterNode, SparseInputNode
from wyrm_py.models.base import Estimator
from wyrm_py.models.ordered_pairs import OrderedPairs
from wyrm_py.models.supervised_data import (
    checked_classes,
    checked_groups,
    checked_labels,
    checked_matrix,
    checked_weights,
    require_known,
)
from wyrm_py.models.validation_rows import checked_validation
from wyrm_py.nodes import Node
from wyrm_py.optim import Adagrad, Optimizer
from wyrm_py.parallel.evaluate import evaluate
from wyrm_py.parallel.history import History
from wyrm_py.parallel.learner import Learner
from wyrm_py.parameters.block import slot_kind

Callbacks = Iterable[Callable[[History], object]]


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


@dataclass(frozen=True)
class KeptStep:
    """A step that `partial_fit` goes on with, and what it was made for."""

    key: tuple[Any, ...]
    rows: Any
    target: Node
    learner: Learner


def _classifies(estimator: SparsePredictor) -> bool:
    return estimator._loss().task == "classifier"


def _gives_probabilities(estimator: SparsePredictor) -> bool:
    return _classifies(estimator) and estimator.loss == "logistic"


class SparsePredictor(Estimator):
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

    def _learn(
        self,
        matrix: sparse.csr_array,
        labels: NDArray[Any],
        optimizer: Optimizer,
        *,
        validation: Sequence[Any] = (),
        **more: Any,
    ) -> None:
        """Train the parameters there are; `more` goes to `wp.fit`."""
        parts = [part for part in validation if not callable(part)]
        matrices, targets = [matrix], [self._targets(labels)]
        for aside, answers in parts:
            matrices.append(aside)
            targets.append(self._targets(answers))
        together = sparse.vstack(matrices, "csr") if parts else matrix
        rows, inputs = self._inputs(together)
        score = self._score(rows, **self._parameters)
        target = InputNode(np.zeros(score.shape))
        inputs[target] = np.concatenate(targets)
        loss = self._loss().graph(score, target)
        cut = [inputs]
        if parts:  # rows of field-aware models are numbers in one matrix: take parts
            ends = np.cumsum([len(each) for each in targets])
            cut = [
                {node: column[end - len(each) : end] for node, column in inputs.items()}
                for end, each in zip(ends, targets, strict=True)
            ]
        functions = [part for part in validation if callable(part)]
        self._train(loss, optimizer, cut[0], validation=[*cut[1:], *functions], **more)

    def _learn_on(
        self,
        matrix: sparse.csr_array,
        labels: NDArray[Any],
        optimizer: Optimizer,
        weights: NDArray[Any] | None = None,
    ) -> None:
        """Train on rows in their order with a step that goes on over many calls."""
        nodes = self._parameters.values()
        key = (self.loss, repr(optimizer), self.n_jobs, *map(id, nodes))
        kept = vars(self).get("_kept")
        if kept is None or kept.key != key:
            rows, _ = self._inputs(matrix)
            score = self._score(rows, **self._parameters)
            target = InputNode(np.zeros(score.shape))
            loss = self._loss().graph(score, target)
            learner = Learner(
                loss, optimizer, n_jobs=self.n_jobs, random_state=self.random_state
            )
            self._kept = kept = KeptStep(key, rows, target, learner)
        inputs = {kept.rows: matrix, kept.target: self._targets(labels)}
        kept.learner.learn(inputs, weights)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: part for name, part in state.items() if name != "_kept"}

    # -- training -------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        callbacks: Callbacks = (),
        progress: bool = False,
        groups: ArrayLike | None = None,
        validation: Any = None,
        **training: Any,
    ) -> Self:
        """Train anew, `epochs` passes over the rows.

        Parameters
        ----------
        X : scipy sparse matrix or array_like of finite numbers, shape (N, F)
        y : array_like, shape (N,); labels of at least two classes, or finite numbers
        sample_weight : array_like, shape (N,), finite, not below zero, or None
        callbacks, progress
            As for `wp.fit`.
        groups : array_like, shape (N,), or None
            Of a loss that ranks: rows of one group compete. None is one group.
        validation : (X, y), a function of the model, a list of them, or None
            After each epoch the mean loss over these rows goes to
            `history_.validation_losses`, what a function returns (a number, or a dict
            of numbers by name) to `history_.metrics`.
        training
            Other settings of `wp.fit`: stop, checkpoint, ...; not of losses that rank.

        Raises
        ------
        SettingError, ShapeError, DTypeError, DataError
            A setting, X, y, weights or groups are impossible; nothing has changed.
        DivergenceError
            The learning rate is too high for the data.
        """
        matrix, labels, more = self._checked("fit", X, y, sample_weight, groups)
        classes = self._classes_of(labels) if _classifies(self) else None
        task = self._loss().task
        aside = checked_validation(validation, task, matrix.shape[1], classes)
        if task == "ranker" and training:
            raise SettingError(
                f"fit: {', '.join(training)} cannot be given to a loss that ranks, "
                "whose pairs are drawn anew each epoch. Use a callback."
            )
        optimizer = self._new_optimizer()
        self._restart(matrix, labels, classes)
        more |= {"callbacks": callbacks, "progress": progress, **training}
        self._learn(matrix, labels, optimizer, validation=aside, **more)
        return self

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Go on training with more rows, once each; the state of the rule is kept.

        The step is compiled by the first call and kept for the next ones. A schedule
        is given the number of rows since then.

        Parameters
        ----------
        X : as for `fit`
            More columns than before make the tables grow.
        y : as for `fit`; a classifier's labels must be among the classes
        classes : array_like of all labels; a classifier's first call needs them
        sample_weight, groups : as for `fit`

        Raises
        ------
        The errors of `fit`; ShapeError for fewer columns than before, DataError for a
        label that is none of the classes, SettingError for other classes.
        """
        who = "partial_fit"
        matrix, labels, more = self._checked(who, X, y, sample_weight, groups)
        known = self._known_classes(who, classes) if _classifies(self) else None
        if known is not None:
            require_known(who, labels, known)
        optimizer = self._new_optimizer()
        if not self.__sklearn_is_fitted__():
            self._restart(matrix, labels, known)
        elif matrix.shape[1] > self.n_features_in_:
            self._grow(matrix.shape[1])
        self._require_columns(who, matrix)
        self._learn_on(matrix, labels, optimizer, **more)
        return self

    def _new_optimizer(self) -> Optimizer:
        return self._make_optimizer(Adagrad(self._loss().learning_rate))

    def _restart(
        self,
        matrix: sparse.csr_array,
        labels: NDArray[Any],
        classes: NDArray[Any] | None,
    ) -> None:
        """Make the first parameters; what was fitted before is gone."""
        outputs = 1 if classes is None or len(classes) == 2 else len(classes)
        rng = np.random.default_rng(self.random_state)
        tables = self._first_rows(matrix.shape[1], outputs, rng)
        mean = labels.mean() if self._loss().task == "regressor" else 0.0
        tables["intercept"] = np.full((1, outputs), mean)
        self._parameters = {k: ParameterNode(v, name=k) for k, v in tables.items()}
        if classes is not None:
            self.classes_ = classes

    def _grow(self, columns: int) -> None:
        """Make the tables as long as rows are wide; new rows are first ones."""
        before = self.n_features_in_
        outputs = self._parameters["intercept"].shape[1]
        rng = np.random.default_rng([self.random_state or 0, before])
        for name, rows in self._first_rows(columns - before, outputs, rng).items():
            old = self._parameters[name].block
            grown = ParameterNode(np.concatenate([old.value, rows]), name=name)
            for slot, state in old.slots().items():
                per = slot_kind(state)
                place = ... if per == "parameter" else slice(before)
                grown.block.slot(slot, per)[place] = state
            self._parameters[name] = grown

    # -- checks ---------------------------------------------------------------------

    def _loss(self) -> Loss:
        if not isinstance(self.loss, str) or self.loss not in self._losses:
            raise SettingError(
                f"{type(self).__name__}: loss must be one of "
                f"{', '.join(self._losses)}, got {self.loss!r}."
            )
        return self._losses[self.loss]

    def _checked(
        self,
        who: str,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        groups: ArrayLike | None,
    ) -> tuple[sparse.csr_array, NDArray[Any], dict[str, Any]]:
        """Return rows, labels, and weights and pairs for `_learn` if there are any."""
        task = self._loss().task
        matrix = checked_matrix(who, X)
        rows, more = matrix.shape[0], {}
        labels = checked_labels(who, y, rows, task == "classifier")
        if sample_weight is not None:
            more["weights"] = checked_weights(who, sample_weight, rows)
        if task == "ranker":
            pairs = OrderedPairs(labels, checked_groups(who, groups, rows))
            return matrix, labels, more | {"pairs": pairs}
        if groups is not None:
            raise SettingError(
                f"{who}: groups are for a loss that ranks, not for {self.loss!r}. "
                "Leave them out."
            )
        return matrix, labels, more

    def _classes_of(self, labels: ArrayLike) -> NDArray[Any]:
        return checked_classes(type(self).__name__, labels, self._several_classes)

    def _known_classes(self, who: str, given: ArrayLike | None) -> NDArray[Any]:
        begun = self.__sklearn_is_fitted__()
        if given is None:
            if not begun:
                raise SettingError(
                    f"{who}: classes must be passed on the first call to partial_fit: "
                    "all labels that there will be."
                )
            return self.classes_
        classes = self._classes_of(given)
        if begun and not np.array_equal(classes, self.classes_):
            raise SettingError(
                f"{who}: classes must stay {self.classes_.tolist()[:10]}, got "
                f"{classes.tolist()[:10]}. Call `fit` to start anew."
            )
        return classes

    def _targets(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return what the loss compares scores to: -1 and 1, or the numbers."""
        if not _classifies(self):
            return labels
        if len(self.classes_) == 2:
            return np.where(labels == self.classes_[1], 1.0, -1.0)
        return np.where(labels[:, None] == self.classes_, 1.0, -1.0)

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
        if not _classifies(self):
            return scores[:, 0]
        several = scores.shape[1] > 1
        best = scores.argmax(axis=1) if several else (scores[:, 0] > 0).astype(int)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    @available_if(_classifies)  # type: ignore[untyped-decorator]
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
        measure = accuracy_score if _classifies(self) else r2_score
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
        return {"classes": self.classes_.tolist()} if _classifies(self) else {}

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
        if _classifies(self):
            classes = np.array(metadata["classes"])
            if len(classes) != max(outputs, 2):
                raise ValueError(f"{len(classes)} classes for {outputs} scores")
            self.classes_ = classes
        self._parameters = parameters
