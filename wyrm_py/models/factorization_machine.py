"""Factorisation machines of sparse rows: every pair of columns has a weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from wyrm_py.data.rows import whole
from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.leaves import IndexInputNode, ParameterNode, SparseInputNode
from wyrm_py.models.linear import logistic, squared
from wyrm_py.models.ordered_pairs import OrderedPairs
from wyrm_py.models.scorer import Loss
from wyrm_py.models.supervised import Callbacks, SparsePredictor
from wyrm_py.nn import losses
from wyrm_py.nodes import Node
from wyrm_py.optim import Optimizer
from wyrm_py.optim.schedules import Schedule
from wyrm_py.seeds import RandomState, generator
from wyrm_py.sparse_rows import SparseRows, sparse_rows


def interactions(factors: ParameterNode, rows: SparseInputNode | SparseRows) -> Node:
    """Return the sum over pairs i < j of <v_i, v_j> x_i x_j of a sparse row, (1, 1).

    v_i is row i of `factors`, (F, D). Half of (sum of all)**2 - sum of (each)**2 takes
    time in proportion to the stored values, not to their pairs.

    Source: Rendle, "Factorization machines", ICDM 2010, lemma 3.1.
    """
    each = factors.index(rows.indices) * rows.data.expand_dims(1)
    squares = each.segment_sum(rows).square() - each.square().segment_sum(rows)
    return 0.5 * squares.sum(1, keepdims=True)


def field_interactions(factors: ParameterNode, rows: SparseRows) -> Node:
    """Return the sum over pairs i < j of <v_i,f(j), v_j,f(i)> x_i x_j, (1, 1).

    `rows` are the parts of one example by field, (K, F). Row i of `factors`,
    (F, K * D), holds a vector for each field K of the other column. With
    S_fg, the sum of x_i v_i,g over the columns of field f, it is half of the sum over
    all f, g of <S_fg, S_gf>, less the columns' products with themselves.

    Source: Juan et al., "Field-aware factorization machines for CTR prediction",
    RecSys 2016, equation 4.
    """
    fields = rows.shape[0]
    each = factors.index(rows.indices) * rows.data.expand_dims(1)
    sums = each.segment_sum(rows).reshape(fields, fields, -1)
    own = each.square().segment_sum(rows).reshape(fields, fields, -1).sum(2)
    pairs = (sums * sums.transpose(1, 0, 2)).sum() - (own * np.eye(fields)).sum()
    return 0.5 * pairs.reshape(1, 1)


def bpr(better: Node, worse: Node) -> Node:
    """Return -ln sigmoid(better - worse)."""
    return losses.bpr(better, worse, "none")


@dataclass(eq=False, repr=False)
class FactorizationMachine(SparsePredictor):
    """A linear model plus a weight for every pair of columns, of low rank.

    score(x) = intercept + x . w + sum over i < j of <v_i, v_j> x_i x_j

    Parameters
    ----------
    loss : {"logistic", "squared", "bpr"}
        For two classes, for numbers, or for the order of rows within groups: a row is
        to score higher than one drawn from those of its group with a lower y.
    width : int >= 1
        Length D of the vectors.
    fields : int array, shape (F,), or None
        Field-aware: the number, in [0, F), of the field that each column belongs to. A
        column then has a vector for each of the K fields.
    optimizer : "adagrad", "ftrl", "sgd", "adam", or an Optimizer
    learning_rate : float > 0, a schedule of `wp.schedules`, or None
        None takes what suits the loss.
    l2 : float >= 0, or None
        Penalty on the rows of the columns that an example stores.
    initial_scale : float >= 0
        Standard deviation of the first vectors; all else starts at zero.
    epochs : int >= 0
        Passes of `fit` over the rows; one of `partial_fit` is one.
    n_jobs : int
        Workers; -1 is one a core.
    backend : {"processes", "threads"}
    random_state : int >= 0, Generator, RandomState or None
        With one worker a seed gives one result.

    Attributes
    ----------
    coef_ : float32 array, shape (F,)
    intercept_ : float32 array, shape (1,)
    factors_ : float32 array, shape (F, D), with fields (F, K, D)
    classes_ : array, shape (2,); with loss "logistic"
    n_features_in_ : int, F
    history_ : History of the last training

    Notes
    -----
    A step takes time in proportion to the stored values of the row times the width,
    with fields times their number as well. A large y of loss "squared" is best scaled
    down, as `sklearn.compose.TransformedTargetRegressor` does.

    Sources: Rendle, "Factorization machines", ICDM 2010; Juan et al., "Field-aware
    factorization machines for CTR prediction", RecSys 2016, here with the linear part
    and without scaling rows to length one; BPR: Rendle et al., UAI 2009.
    """

    _kind: ClassVar[str] = "factorization machine"
    _losses: ClassVar[Mapping[str, Loss]] = {
        "logistic": Loss(logistic, "classifier", learning_rate=0.02),
        "squared": Loss(squared, "regressor", learning_rate=0.05),
        "bpr": Loss(bpr, "ranker", learning_rate=0.05),
    }
    _several_classes: ClassVar[bool] = False

    loss: str = "logistic"
    width: int = 8
    fields: ArrayLike | None = None
    optimizer: str | Optimizer = "adagrad"
    learning_rate: float | Schedule | None = None
    l2: float | None = None
    initial_scale: float = 0.05
    epochs: int = 10
    n_jobs: int = 1
    backend: Literal["processes", "threads"] = "processes"
    random_state: RandomState = None

    def _first_rows(
        self, columns: int, outputs: int, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        fields = self._checked_fields()
        width = self.width if fields is None else self.width * (int(fields.max()) + 1)
        factors = rng.standard_normal((columns, width), np.float32)
        return {
            "weights": np.zeros((columns, 1)),
            "factors": factors * np.float32(self.initial_scale),
        }

    def _score(self, rows: Any, **parameters: ParameterNode) -> Node:
        linear = rows.dot(parameters["weights"])
        if self.fields is None:
            pairs = interactions(parameters["factors"], rows)
        else:
            pairs = field_interactions(parameters["factors"], rows)
            linear = linear.sum(0, keepdims=True)  # of the parts by field
        score: Node = linear + pairs + parameters["intercept"]
        return score

    def _checked(self, who: str, X: Any, *more: Any) -> Any:
        checked = super()._checked(who, X, *more)
        fields, columns = self._checked_fields(), checked[0].shape[1]
        if fields is not None and len(fields) != columns:
            raise ShapeError(
                "FactorizationMachine: fields must have one number a column of X, got "
                f"{len(fields)} for {columns} columns."
            )
        return checked

    def _checked_fields(self) -> NDArray[Any] | None:
        whole("FactorizationMachine", "width", self.width, least=1)
        scale = self.initial_scale
        if not isinstance(scale, int | float) or not 0 <= scale < np.inf:
            raise SettingError(
                "FactorizationMachine: initial_scale must be a finite number of 0 or "
                f"more, got {scale!r}."
            )
        if self.fields is None:
            return None
        fields = np.asarray(self.fields)
        if fields.ndim != 1 or fields.dtype.kind not in "iu" or fields.size == 0:
            raise SettingError(
                "FactorizationMachine: fields must be integers, one a column, got "
                f"shape {fields.shape}, dtype {fields.dtype}."
            )
        if fields.min() < 0 or fields.max() >= fields.size:
            raise SettingError(
                f"FactorizationMachine: fields must be in [0, {fields.size}), as there "
                f"are {fields.size} columns, got {fields.min()} to {fields.max()}."
            )
        return fields

    # -- what steps read ------------------------------------------------------------

    def _inputs(self, matrix: sparse.csr_array) -> tuple[Any, dict[Any, Any]]:
        if self.fields is None:
            return super()._inputs(matrix)
        parts, numbers = self._parts(matrix)
        example = IndexInputNode(numbers[0])
        return sparse_rows(parts, example), {example: numbers}

    def _parts(self, matrix: sparse.csr_array) -> tuple[Any, NDArray[Any]]:
        """Return rows cut by field, (N * K, F), and the numbers of these, (N, K)."""
        fields = self._checked_fields()
        if fields is None:
            return matrix, np.arange(matrix.shape[0])[:, None]
        count = int(fields.max()) + 1
        parts = by_field(matrix, fields, count)
        return parts, np.arange(parts.shape[0]).reshape(-1, count)

    def _learn(
        self,
        matrix: sparse.csr_array,
        labels: NDArray[Any],
        optimizer: Optimizer,
        *,
        pairs: OrderedPairs | None = None,
        **more: Any,
    ) -> None:
        if pairs is None:
            super()._learn(matrix, labels, optimizer, **more)
            return
        self._learn_order(matrix, pairs, optimizer, **more)

    def _learn_on(
        self,
        matrix: sparse.csr_array,
        labels: NDArray[Any],
        optimizer: Optimizer,
        weights: NDArray[Any] | None = None,
        pairs: OrderedPairs | None = None,
    ) -> None:
        if self.fields is None and pairs is None:
            super()._learn_on(matrix, labels, optimizer, weights)
            return
        # parts by field and pairs are constants of a step: it cannot be kept
        more = {"weights": weights, "epochs": 1, "progress": False}
        self._learn(matrix, labels, optimizer, pairs=pairs, **more)

    def _learn_order(
        self,
        matrix: sparse.csr_array,
        pairs: OrderedPairs,
        optimizer: Optimizer,
        epochs: int | None = None,
        weights: ArrayLike | None = None,
        callbacks: Callbacks = (),
        **more: Any,
    ) -> None:
        """Train on pairs of rows that are drawn anew for each epoch."""
        parts, numbers = self._parts(matrix)
        better, worse = IndexInputNode(numbers[0]), IndexInputNode(numbers[0])
        score = self._score(sparse_rows(parts, better), **self._parameters)
        other = self._score(sparse_rows(parts, worse), **self._parameters)
        loss = self._loss().graph(score, other)
        rng = generator(type(self).__name__, self.random_state)
        if weights is not None:
            more["weights"] = np.asarray(weights)[pairs.better]
        calls = list(callbacks)
        for _ in range(self.epochs if epochs is None else epochs):
            above, below = numbers[pairs.better], numbers[pairs.draw(rng)]
            inputs = {better: above, worse: below}
            history = self._train(loss, optimizer, inputs, epochs=1, **more)
            more |= {"resume": history, "random_state": None}
            if any([call(history) is True for call in calls]):
                break

    @property
    def coef_(self) -> NDArray[Any]:
        """Weights of the columns: float32, shape (F,)."""
        self._require_fitted("coef_")
        weights: NDArray[Any] = self._parameters["weights"].value[:, 0]
        return weights

    @property
    def intercept_(self) -> NDArray[Any]:
        """Offset: float32, shape (1,)."""
        self._require_fitted("intercept_")
        intercept: NDArray[Any] = self._parameters["intercept"].value[0]
        return intercept

    @property
    def factors_(self) -> NDArray[Any]:
        """Vectors of the columns: float32, shape (F, D), with fields (F, K, D)."""
        self._require_fitted("factors_")
        factors: NDArray[Any] = self._parameters["factors"].value
        if self.fields is None:
            return factors
        return factors.reshape(len(factors), -1, self.width)

    # -- files ----------------------------------------------------------------------

    def _saved_settings(self) -> dict[str, Any]:
        return super()._saved_settings() | {"fields": None}

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        fields = self._checked_fields()
        more = {} if fields is None else {"fields/columns": fields.astype(np.int64)}
        return super()._to_arrays() | more

    def _take(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> None:
        rest = dict(arrays)
        self.fields = rest.pop("fields/columns", None)
        super()._take(rest, metadata)
        if self.fields is not None and len(self.fields) != self.n_features_in_:
            raise ValueError(f"{len(self.fields)} fields, {self.n_features_in_} rows")


def by_field(
    matrix: sparse.csr_array, fields: NDArray[Any], count: int
) -> sparse.csr_array:
    """Cut CSR rows (N, F) by the field of their columns: (N * count, F).

    Row n * count + f holds what row n stores in the columns of field f.
    """
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    part = rows * count + fields[matrix.indices]
    order = np.argsort(part, kind="stable")
    sizes = np.bincount(part, minlength=matrix.shape[0] * count)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return sparse.csr_array(
        (matrix.data[order], matrix.indices[order], starts),
        shape=(matrix.shape[0] * count, matrix.shape[1]),
    )
