"""How estimators over sparse rows are trained: at once, or on and on.

A subclass names its losses, makes its first parameters, and writes the score of a row
as a graph; linear.py is the shortest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from wyrm_py.errors import DataError, DTypeError, SettingError, ShapeError
from wyrm_py.leaves import InputNode, ParameterNode
from wyrm_py.models.ordered_pairs import OrderedPairs
from wyrm_py.models.scorer import SparseScorer
from wyrm_py.models.supervised_data import (
    checked_classes,
    checked_groups,
    checked_labels,
    checked_matrix,
    checked_weights,
    require_known,
)
from wyrm_py.models.validation_rows import checked_validation, cut, stacked
from wyrm_py.nodes import Node
from wyrm_py.optim import Adagrad, Optimizer
from wyrm_py.parallel.history import History
from wyrm_py.parallel.learner import Learner
from wyrm_py.parameters.block import slot_kind
from wyrm_py.seeds import generator, seed_of

Callbacks = Iterable[Callable[[History], object]]


@dataclass(frozen=True)
class KeptStep:
    """A step that `partial_fit` goes on with, and what it was made for."""

    key: tuple[Any, ...]
    rows: Any
    target: Node
    learner: Learner


class SparsePredictor(SparseScorer):
    """Base of estimators that are trained to score sparse rows."""

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
        aside = [part for part in validation if not callable(part)]
        targets = [self._targets(each) for each in (labels, *(y for _, y in aside))]
        rows, inputs = self._inputs(stacked([matrix, *(X for X, _ in aside)]))
        score = self._score(rows, **self._parameters)
        target = InputNode(np.zeros(score.shape))
        inputs[target] = np.concatenate(targets)
        loss = self._loss().graph(score, target)
        taught, *kept = cut(inputs, [len(each) for each in targets])
        kept += [part for part in validation if callable(part)]
        self._train(loss, optimizer, taught, validation=kept, **more)

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
        classes = self._classes_of(labels) if self._classifies() else None
        task = self._loss().task
        aside = checked_validation(validation, task, matrix.shape[1], classes)
        if task == "ranker" and training:
            raise SettingError(
                f"fit: {', '.join(training)} cannot be given to a loss that ranks, "
                "whose pairs are drawn anew each epoch. Use a callback."
            )
        optimizer = self._new_optimizer()
        more |= {"callbacks": callbacks, "progress": progress, **training}
        with self._unchanged_if_refused():
            self._restart(matrix, labels, classes)
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
        known = self._known_classes(who, classes) if self._classifies() else None
        if known is not None:
            require_known(who, labels, known)
        optimizer = self._new_optimizer()
        with self._unchanged_if_refused():
            if not self.__sklearn_is_fitted__():
                self._restart(matrix, labels, known)
            elif matrix.shape[1] > self.n_features_in_:
                self._grow(matrix.shape[1])
            self._require_columns(who, matrix)
            self._learn_on(matrix, labels, optimizer, **more)
        return self

    @contextmanager
    def _unchanged_if_refused(self) -> Iterator[None]:
        """Put everything back where a setting or the data turn out to be impossible."""
        before = self.__dict__.copy()
        try:
            yield
        except (SettingError, ShapeError, DTypeError, DataError):
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

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
        rng = generator(type(self).__name__, self.random_state)
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
        seed = seed_of(type(self).__name__, self.random_state or 0)
        rng = np.random.default_rng([seed, before])
        tables = dict(self._parameters)
        for name, rows in self._first_rows(columns - before, outputs, rng).items():
            old = self._parameters[name].block
            grown = ParameterNode(np.concatenate([old.value, rows]), name=name)
            for slot, state in old.slots().items():
                per = slot_kind(state)
                place = ... if per == "parameter" else slice(before)
                grown.block.slot(slot, per)[place] = state
            tables[name] = grown
        self._parameters = tables

    # -- checks ---------------------------------------------------------------------

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
        if not self._classifies():
            return labels
        if len(self.classes_) == 2:
            return np.where(labels == self.classes_[1], 1.0, -1.0)
        return np.where(labels[:, None] == self.classes_, 1.0, -1.0)
