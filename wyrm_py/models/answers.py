"""What every recommender answers once it is fitted: best items, similar ones, scores.

A score is the inner product of a user's and an item's vector, plus the item's bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.rows import whole
from wyrm_py.errors import SettingError, ShapeError, UnknownIdError
from wyrm_py.evaluation import RankingMetrics, ranking_metrics
from wyrm_py.models.features import feature_rows
from wyrm_py.models.index_vectors import IndexVectors
from wyrm_py.models.ranked import Ranked, ranked
from wyrm_py.models.seen import Seen
from wyrm_py.retrieval import best
from wyrm_py.seeds import RandomState
from wyrm_py.values import as_array

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]

_PAIRS = 1 << 14  # of vectors multiplied at once: a few megabytes


class Answers(IndexVectors):
    """The answers of a fitted recommender: a mixin.

    A subclass sets the attributes below when it is fitted or loaded, has
    `_require_fitted(who)` and the setting `n_jobs`, and overrides `_tastes` where
    users have features, biases or histories.

    Attributes
    ----------
    user_vectors_ : float32 array, shape (U, D)
    item_vectors_ : float32 array, shape (I, D), contiguous
        Whole representations: what features add is in them.
    item_biases_ : float32 array, shape (I,)
    users_, items_ : IdMap
        Of U and I ids, in the order of the rows.
    seen_ : Seen
        What `recommend` leaves out.
    """

    n_jobs: int
    user_vectors_: Floats
    item_vectors_: Floats
    item_biases_: Floats
    users_: IdMap
    items_: IdMap
    seen_: Seen

    _unknown_user_cure: ClassVar[str] = "Train on data with this user."

    if TYPE_CHECKING:  # the estimator's own, in whichever order the bases stand

        def _require_fitted(self, who: str) -> None: ...

    def _tastes(
        self, who: str, users: Codes, features: Any
    ) -> tuple[Floats, Floats | np.float32]:
        """Return the vectors of some users, (Q, D), and what is added to their scores.

        Parameters
        ----------
        who : str
            Begins messages.
        users : int64 array, shape (Q,)
            Codes; -1, only where there are features, for a user who is not known.
        features : float32 CSR matrix of finite numbers, one row a user, or None

        Returns
        -------
        vectors : float32 array, shape (Q, D)
        offsets : float32 array, shape (Q,), or one number
            The same for all items, such as a user's bias.
        """
        if features is not None:
            raise SettingError(
                f"{who}: the model has no user features, got some. Leave `features` "
                "out, or train with them."
            )
        return self.user_vectors_[users], np.float32(0)

    @property
    def user_ids_(self) -> NDArray[Any]:
        """The ids of the users, shape (U,)."""
        return self.users_.ids

    @property
    def item_ids_(self) -> NDArray[Any]:
        """The ids of the items, shape (I,)."""
        return self.items_.ids

    # -- items for users ------------------------------------------------------------

    def recommend(
        self,
        users: Any,
        n: int = 10,
        exclude_seen: bool = True,
        filter: Ids | None = None,
        features: Any = None,
    ) -> Ranked:
        """Return the n items with the highest scores for each user.

        Parameters
        ----------
        users : id, list of Q ids, or None
            None stands for new users, of whom there are only features.
        n : int >= 1
            More than there are gives all.
        exclude_seen : bool
            Leave out what the user has met in training.
        filter : list of item ids, or None
            Only these are recommended; ids that the model does not know are skipped.
        features : sparse matrix or array, shape (Q, F), or None
            Of the users, as in training; users who were not in the training data are
            known by them alone. Where features have names, a list of what each user
            has; names that the model does not know are skipped.

        Returns
        -------
        Ranked
            Equal scores come in the order of `item_ids_`.

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        UnknownIdError
            A user was not in the training data and has no features, or no item of
            `filter` was.
        SettingError
            `n` is below one, or the model has no user features.
        ShapeError, DTypeError, DataError
            Features are not one row a user of as many finite numbers as in training.
        """
        self._require_fitted("recommend")
        n = whole("recommend", "n", n, least=1)
        codes, vectors, offsets = self._queries("recommend", users, features)
        seen = self.seen_.of_users(codes) if exclude_seen else None
        found, scores = self._best(vectors, n, seen, filter)
        scores += np.reshape(offsets, (-1, 1))
        single = users is not None and np.ndim(users) == 0
        return ranked(self.items_, found, scores, single)

    def rank(self, user: Any, items: Ids, features: Any = None) -> Ranked:
        """Return some items in the order of their scores for a user.

        Parameters
        ----------
        user : id, or None for a new one with features
        items : list of K item ids
        features : sparse matrix or array, shape (1, F), or None

        Returns
        -------
        Ranked
            Of shape (K,).

        Raises
        ------
        NotFittedError, UnknownIdError, SettingError
            As `recommend`; also for an item that was not in the training data.
        """
        self._require_fitted("rank")
        who = None if user is None else [user]
        _, vectors, offsets = self._queries("rank", who, features)
        codes = self.items_.require(items, "rank")
        scores = self.item_vectors_[codes] @ vectors[0] + self.item_biases_[codes]
        scores += np.reshape(offsets, -1)
        order = np.lexsort((codes, -scores))
        return Ranked(self.items_.take(codes[order]), scores[order])

    def predict(
        self, users: Any, items: Ids | None = None, features: Any = None
    ) -> Floats:
        """Return the score of each pair of a user and an item.

        Parameters
        ----------
        users : list of N ids, or an array of pairs, shape (N, 2)
        items : list of N ids, or None with pairs
        features : sparse matrix or array, shape (N, F), or None
            Of the user of each pair.

        Returns
        -------
        float32 array, shape (N,)

        Raises
        ------
        NotFittedError, UnknownIdError, SettingError
            As `rank`.
        ShapeError
            There are not as many users as items.
        """
        self._require_fitted("predict")
        if items is None:
            users, items = _pairs(users)
        codes = self.items_.require(items, "predict")
        user_codes, features = self._known("predict", users, features)
        if len(user_codes) != len(codes):
            raise ShapeError(
                "predict: as many users as items are required, got "
                f"{len(user_codes)} and {len(codes)}. For all items of a user call "
                "`recommend` or `rank`."
            )
        scores = self.item_biases_[codes]
        for first in range(0, len(codes), _PAIRS):
            part = slice(first, first + _PAIRS)
            some = None if features is None else features[part]
            vectors, offsets = self._tastes("predict", user_codes[part], some)
            items_of = self.item_vectors_[codes[part]]
            scores[part] += np.einsum("nd,nd->n", vectors, items_of) + offsets
        return scores

    # -- neighbours -----------------------------------------------------------------

    def similar_items(self, items: Any, n: int = 10) -> Ranked:
        """Return the n items whose vectors point most in the same direction.

        Parameters
        ----------
        items : id or list of Q ids
        n : int >= 1

        Returns
        -------
        Ranked
            Scores are cosines, in [-1, 1]; the item itself is left out.

        Raises
        ------
        NotFittedError, UnknownIdError, SettingError
            As `recommend`.
        """
        return self._similar("similar_items", "item", items, n)

    def similar_users(self, users: Any, n: int = 10) -> Ranked:
        """Return the n users whose vectors point most in the same direction.

        Parameters, result and errors as of `similar_items`.
        """
        return self._similar("similar_users", "user", users, n)

    def _similar(self, who: str, kind: str, wanted: Any, n: int) -> Ranked:
        self._require_fitted(who)
        n = whole(who, "n", n, least=1)
        ids: IdMap = getattr(self, f"{kind}s_")
        table: Floats = getattr(self, f"{kind}_vectors_")
        single = np.ndim(wanted) == 0
        codes = ids.require([wanted] if single else wanted, who)
        lengths = np.sqrt(np.einsum("rd,rd->r", table, table))
        scales = 1 / np.where(lengths > 0, lengths, np.inf)  # no direction: cosine 0
        found, scores = best(
            *(table[codes] * scales[codes, None], table, None, n),
            excluded=(np.arange(len(codes) + 1), codes),
            scales=scales,
            n_jobs=self.n_jobs if len(codes) > 1 else 1,
        )
        return ranked(ids, found, scores, single)

    # -- measuring ------------------------------------------------------------------

    def metrics(
        self,
        test: Any,
        top: int = 10,
        exclude_seen: bool = True,
        negatives: int | None = None,
        random_state: RandomState = 0,
        n_jobs: int = -1,
    ) -> RankingMetrics:
        """Measure how the model ranks what it was not trained on.

        Parameters
        ----------
        test : Interactions, or what `Interactions.of` takes
            Every one is a positive: see `data.split.positives` for ratings.
        top : int >= 1
        exclude_seen : bool
            Leave the items a user met in training out of the ranking.
        negatives, random_state, n_jobs
            As of `evaluation.ranking_metrics`, like the result.

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        UnknownIdError
            A user or an item of the test part was not in the training data.
        DataError, SettingError
            As of `evaluation.ranking_metrics`.
        """
        self._require_fitted("metrics")
        data = Interactions.of(test)
        users = _codes_of(self.users_, data.user_ids, data.users)
        items = _codes_of(self.items_, data.item_ids, data.items)
        shape = len(self.users_), len(self.items_)
        wanted = scipy.sparse.csr_array((np.ones(len(users)), (users, items)), shape)
        empty = scipy.sparse.csr_array(shape, dtype=np.float32)
        return ranking_metrics(
            *(self.user_vectors_, self.item_vectors_),
            train=self.seen_.csr(shape[1]) if exclude_seen else empty,
            test=wanted,
            item_biases=self.item_biases_,
            top=top,
            n_jobs=n_jobs,
            negatives=negatives,
            random_state=random_state,
        )

    # -- helpers --------------------------------------------------------------------

    def _queries(
        self, who: str, users: Any, features: Any
    ) -> tuple[Codes, Floats, Floats | np.float32]:
        """Return the codes (-1: not known), vectors and offsets of some users."""
        if users is None:
            if features is None:
                raise SettingError(
                    f"{who}: users or the features of new ones are required."
                )
            features = self._user_features(who, features, None)
            codes = np.full(features.shape[0], -1, np.int64)
        else:
            wanted = [users] if np.ndim(users) == 0 else users
            codes, features = self._known(who, wanted, features)
        return codes, *self._tastes(who, codes, features)

    def _user_features(self, who: str, features: Any, count: int | None) -> Any:
        """Return features of `count` users, or of all, as float32 CSR rows."""
        if count is None:  # one axis is of a single user
            count = 1 if np.ndim(features) < 2 else np.shape(features)[0]
        return feature_rows(who, "features", features, count, "users")

    def _known(self, who: str, users: Ids, features: Any) -> tuple[Codes, Any]:
        """Return the codes of users, and their features as float32 CSR or None."""
        if features is not None:
            codes = self.users_.codes(users)
            return codes, self._user_features(who, features, len(codes))
        try:
            return self.users_.require(users, who), None
        except UnknownIdError as error:
            raise UnknownIdError(f"{error} {self._unknown_user_cure}") from None

    def _best(
        self,
        vectors: Floats,
        n: int,
        excluded: tuple[NDArray[Any], NDArray[Any]] | None,
        filter: Ids | None,
    ) -> tuple[Codes, Floats]:
        """Return codes and scores of the best items for vectors: see `best`."""
        return best(
            *(vectors, self.item_vectors_, self.item_biases_, n),
            excluded=excluded,
            allowed=None if filter is None else self._allowed(filter),
            n_jobs=self.n_jobs if len(vectors) > 1 else 1,
        )

    def _allowed(self, filter: Ids) -> NDArray[np.bool_]:
        codes = self.items_.codes(filter)
        known = codes[codes >= 0]
        if len(known) == 0:
            self.items_.require(filter, "recommend: filter")
        allowed = np.zeros(len(self.items_), bool)
        allowed[known] = True
        return allowed


def _pairs(pairs: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    if not hasattr(pairs, "__array__"):  # text and numbers: each stays what it is
        pairs = np.array(pairs, object)
    array = as_array("predict", pairs)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ShapeError(
            "predict: users and items, or an array of pairs of shape (N, 2), are "
            f"required, got one of shape {array.shape}."
        )
    return array[:, 0], array[:, 1]


def _codes_of(known: IdMap, ids: NDArray[Any], codes: NDArray[Any]) -> Codes:
    """Return the model's codes for codes into other ids, of which some are unused."""
    used, places = np.unique(codes, return_inverse=True)
    return known.require(ids[used], "metrics")[places]
