"""Users and items that training has not shown: folded in, by features, in a context."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.rows import whole
from wyrm_py.errors import DataError, SettingError, ShapeError
from wyrm_py.leaves import ParameterNode
from wyrm_py.models.answers import Answers, Ranked
from wyrm_py.models.base import Estimator
from wyrm_py.models.examples import Sampler, loss_and_inputs
from wyrm_py.models.factorization import LOSSES, Model, Side
from wyrm_py.models.features import FeatureVectors, feature_rows
from wyrm_py.models.seen import Seen
from wyrm_py.parallel.fit import fit
from wyrm_py.retrieval import best

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]


class Newcomers(Answers, Estimator):
    """What a fitted `FactorizationRecommender` does about what is new."""

    _unknown_user_cure: ClassVar[str] = (
        "Give `features` of a new user, or ask `recommend_history` with what was met."
    )

    loss: str
    sampler: str | Sampler
    popularity_power: float
    max_tries: int
    k: int
    n: int
    user_biases_: Floats
    mean_: float
    user_features_: FeatureVectors | None
    item_features_: FeatureVectors | None
    context_vectors_: Floats | None
    _context: Floats | np.float32 = np.float32(0)

    # -- users by their features, and in a context ----------------------------------

    def _tastes(
        self, who: str, users: Codes, features: Any
    ) -> tuple[Floats, Floats | np.float32]:
        """Return vectors and what is added to all scores: see `Answers`."""
        if features is None:
            vectors, biases = self.user_vectors_[users], self.user_biases_[users]
        elif self.user_features_ is None:
            return super()._tastes(who, users, features)
        else:
            vectors, biases = self.user_features_.of(who, "features", features, users)
        return vectors + self._context, biases + np.float32(self.mean_)

    def in_context(self, context: Any) -> Self:
        """Return the model as it answers in one context, for all users alike.

        Parameters
        ----------
        context : sparse matrix or array, shape (1, C), with the columns of training

        Returns
        -------
        FactorizationRecommender
            A shallow copy whose `recommend`, `rank` and `predict` take the context in.

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        SettingError
            It was trained without context.
        ShapeError
            The context has other columns, or more than one row.
        DTypeError, DataError
            The context is not of finite numbers.
        """
        self._require_fitted("in_context")
        if self.context_vectors_ is None:
            raise SettingError(
                "in_context: the model was trained without context. Give `context` to "
                "`fit`."
            )
        row = feature_rows("in_context", "context", context, 1, "context")
        if row.shape[1] != len(self.context_vectors_):
            raise ShapeError(
                f"in_context: context of {len(self.context_vectors_)} columns, as in "
                f"training, is required, got {row.shape[1]}."
            )
        there = copy.copy(self)
        there._context = (row @ self.context_vectors_)[0]
        return there

    # -- users by what they met -----------------------------------------------------

    def fold_in(self, items: Ids, ratings: ArrayLike | None = None) -> Floats:
        """Return the vector of a new user who met some items; nothing else changes.

        Parameters
        ----------
        items : list of K item ids, K >= 1
        ratings : finite numbers, shape (K,), or None
            With squared loss they are needed; else they do not matter.

        Returns
        -------
        float32 array, shape (D,)
            Its inner products with `item_vectors_`, plus `item_biases_`, rank.

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        UnknownIdError
            An item was not in the training data.
        DataError, ShapeError
            There are no items, or not one rating for each.

        Notes
        -----
        With squared loss it is the ridge regression of the ratings on the items'
        vectors, else as many passes as in training with all items left as they are.
        """
        self._require_fitted("fold_in")
        return self._folded("fold_in", items, ratings)[0]

    def predict_history(self, items: Ids, ratings: ArrayLike | None = None) -> Floats:
        """Return the scores of all items, (I,), for a new user; see `fold_in`."""
        self._require_fitted("predict_history")
        vector, bias = self._folded("predict_history", items, ratings)
        scores = self.item_vectors_ @ vector + self.item_biases_
        return np.asarray(scores + np.float32(bias + self.mean_), np.float32)

    def recommend_history(
        self,
        items: Ids,
        n: int = 10,
        exclude_seen: bool = True,
        ratings: ArrayLike | None = None,
    ) -> Ranked:
        """Return the n items with the highest scores for a new user; see `fold_in`.

        Parameters
        ----------
        items, ratings
            What the user met so far.
        n : int >= 1
        exclude_seen : bool
            Leave these items out.

        Returns
        -------
        Ranked
            Of shape (n,).
        """
        self._require_fitted("recommend_history")
        n = whole("recommend_history", "n", n, least=1)
        vector, bias = self._folded("recommend_history", items, ratings)
        codes = np.unique(self.items_.codes(items))
        found, scores = best(
            *(vector[None], self.item_vectors_, self.item_biases_, n),
            excluded=(np.array([0, len(codes)]), codes) if exclude_seen else None,
        )
        scores = scores[0] + np.float32(bias + self.mean_)
        return Ranked(self.items_.take(found[0]), scores)

    def _folded(
        self, who: str, items: Ids, ratings: ArrayLike | None
    ) -> tuple[Floats, float]:
        """Return a new user's vector and bias."""
        loss = LOSSES[self.loss]
        if loss.is_explicit and ratings is None:
            raise DataError(f"{who}: the ratings of the items are required.")
        codes = self.items_.require(items, who)
        if len(codes) == 0:
            raise DataError(
                f"{who}: a history of at least one item is required, got none. Of a "
                "user who has met nothing only features can tell: see `recommend`."
            )
        catalogue = np.arange(len(self.items_))
        data = Interactions.from_codes(
            *(np.zeros(len(codes), np.int64), codes, ratings),
            user_ids=np.zeros(1, np.int64),
            item_ids=catalogue,
        )
        optimizer = self._make_optimizer(loss.optimizer)
        if loss.is_explicit:
            return self._regressed(data, optimizer.l2)
        user = Side(
            ParameterNode(np.zeros((1, self.item_vectors_.shape[1]))),
            ParameterNode(np.zeros((1, 1))),
        )
        frozen = Side(
            ParameterNode(self.item_vectors_, trainable=False),
            ParameterNode(self.item_biases_[:, None], trainable=False),
        )
        counts = self.seen_.counts(len(catalogue))
        node, inputs = loss_and_inputs(loss, Model(user, frozen), data, counts, self)
        fit(
            node,
            optimizer,
            inputs,
            epochs=self.epochs,
            random_state=0,  # an answer, the same each time
            progress=False,
        )
        return user.vectors.value[0].copy(), float(user.biases.value[0, 0])

    def _regressed(self, data: Interactions, l2: float) -> tuple[Floats, float]:
        """Return the u and b with the least sum (r - v.u - b)^2 + l2/2 (u.u + b^2)."""
        rows = self.item_vectors_[data.items].astype(np.float64)
        rows = np.column_stack([rows, np.ones(len(rows))])
        wanted = data.ratings - self.mean_ - self.item_biases_[data.items]
        penalty = 0.5 * l2 * len(rows) * np.eye(rows.shape[1])
        # minimum norm: without a penalty few ratings leave much open
        found = np.linalg.lstsq(rows.T @ rows + penalty, rows.T @ wanted, rcond=None)[0]
        return found[:-1].astype(np.float32), float(found[-1])

    # -- by their features ----------------------------------------------------------

    def add_users(self, ids: Ids, features: Any) -> None:
        """Add users of whom only features are known; they are then like all others.

        Parameters
        ----------
        ids : list of K ids, none of them in the model
        features : sparse matrix or array, shape (K, F), with the columns of training

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        SettingError
            It was trained without such features.
        DataError
            An id is there already, or twice; features are not finite.
        ShapeError
            Features have other columns, or not one row an id.
        """
        self._add("user", ids, features)
        starts, items = self.seen_
        more = np.full(len(self.users_) + 1 - len(starts), starts[-1])
        self.seen_ = Seen(np.concatenate([starts, more]), items)

    def add_items(self, ids: Ids, features: Any) -> None:
        """Add items of which only features are known; see `add_users`."""
        self._add("item", ids, features)

    def _add(self, name: str, ids: Ids, features: Any) -> None:
        who = f"add_{name}s"
        self._require_fitted(who)
        learned: FeatureVectors | None = getattr(self, f"{name}_features_")
        if learned is None:
            raise SettingError(
                f"{who}: the model was trained without {name} features. Give "
                f"`{name}_features` to `fit`."
            )
        table: IdMap = getattr(self, f"{name}s_")
        codes = table.codes(ids)
        vectors, biases = learned.of(who, "features", features, np.full(len(codes), -1))
        if (codes >= 0).any() or len(IdMap(ids)) < len(codes):
            raise DataError(
                f"{who}: new ids, each of them once, are required, got one that is "
                "there already."
            )
        table.add(ids)
        for part, more in (("vectors", vectors), ("biases", biases)):
            before = getattr(self, f"{name}_{part}_")
            setattr(self, f"{name}_{part}_", np.concatenate([before, more]))
        setattr(self, f"{name}_features_", learned.grown(len(table)))
