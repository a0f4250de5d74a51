"""Users and items that training has not shown, by their features; and contexts."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import DataError, SettingError, ShapeError
from wyrm_py.models.features import FeatureVectors, feature_rows, is_matrix
from wyrm_py.models.fold_in import FoldIn
from wyrm_py.models.seen import Seen

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]


class Newcomers(FoldIn):
    """What a fitted `FactorizationRecommender` does about what is new."""

    _unknown_user_cure: ClassVar[str] = (
        "Give `features` of a new user, or ask `recommend_history` with what was met."
    )

    user_biases_: Floats
    user_features_: FeatureVectors | None
    item_features_: FeatureVectors | None
    context_vectors_: Floats | None

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

    def _user_features(self, who: str, features: Any, count: int | None) -> Any:
        learned = self.user_features_
        if learned is None or learned.names is None or is_matrix(features):
            return super()._user_features(who, features, count)
        return learned.matrix(who, "features", features, count)

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

    # -- by their features ----------------------------------------------------------

    def add_users(self, ids: Ids, features: Any) -> None:
        """Add users of whom only features are known; they are then like all others.

        Parameters
        ----------
        ids : list of K ids, none of them in the model
        features : sparse matrix or array, shape (K, F), with the columns of training
            Where features have names, a list of what each user has.

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
        codes = self._new_codes(who, name, ids)
        vectors, biases = learned.of(who, "features", features, codes)
        more = learned.grown(who, "features", features, len(codes))
        getattr(self, f"{name}s_").add(ids)
        for part, added in (("vectors", vectors), ("biases", biases)):
            before = getattr(self, f"{name}_{part}_")
            setattr(self, f"{name}_{part}_", np.concatenate([before, added]))
        setattr(self, f"{name}_features_", more)
        if name == "user":
            starts, items = self.seen_
            ends = np.full(len(codes), starts[-1])
            self.seen_ = Seen(np.concatenate([starts, ends]), items)

    def _new_codes(self, who: str, name: str, ids: Ids) -> Codes:
        """Return -1 for each of some new ids, or raise a DataError."""
        codes: Codes = getattr(self, f"{name}s_").codes(ids)
        if (codes >= 0).any() or len(IdMap(ids)) < len(codes):
            raise DataError(
                f"{who}: new ids, each of them once, are required, got one that is "
                "there already."
            )
        return codes
