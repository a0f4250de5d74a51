"""Users whom training has not shown, by what they met: folded in."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.data.rows import whole
from wyrm_py.errors import DataError, ShapeError
from wyrm_py.leaves import ParameterNode
from wyrm_py.models.answers import Answers
from wyrm_py.models.base import Estimator
from wyrm_py.models.examples import Sampler, loss_and_inputs
from wyrm_py.models.factorization import LOSSES, Model, Side
from wyrm_py.models.histories import each_once, history_codes, is_list
from wyrm_py.models.ranked import Ranked, ranked
from wyrm_py.models.seen import Seen
from wyrm_py.parallel.fit import fit

Floats = NDArray[np.float32]


class Folded(NamedTuple):
    """New users as the model sees them."""

    vectors: Floats  # (Q, D)
    biases: Floats  # (Q, 1)
    histories: RaggedColumn  # codes of what they met
    single: bool  # one user was asked for, not a list of one


class FoldIn(Answers, Estimator):
    """What a fitted `FactorizationRecommender` says of users it has not seen."""

    loss: str
    sampler: str | Sampler
    popularity_power: float
    max_tries: int
    k: int
    n: int
    mean_: float
    _context: Floats | np.float32 = np.float32(0)

    def fold_in(self, items: Any, ratings: Any = None) -> Floats:
        """Return the vectors of new users who met some items; nothing else changes.

        Parameters
        ----------
        items : list of item ids, or a list of Q such lists
            Users who are asked for together share one training, most of which is
            the start of it: ask for many at once.
        ratings : finite numbers in the form of `items`, or None
            With squared loss they are needed; else they do not matter.

        Returns
        -------
        float32 array, shape (D,) or (Q, D)
            Inner products with `item_vectors_`, plus `item_biases_`, rank.

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        UnknownIdError
            An item was not in the training data.
        DataError, ShapeError
            A user has no items, or not one rating for each.

        Notes
        -----
        With squared loss it is the ridge regression of a user's ratings on the items'
        vectors, else as many passes as in training with all items left as they are.
        These draw items to compare with: the same question has the same answer each
        time, but a user alone not quite the one of the same user among others.
        """
        self._require_fitted("fold_in")
        folded = self._folded("fold_in", items, ratings)
        return folded.vectors[0] if folded.single else folded.vectors

    def predict_history(self, items: Any, ratings: Any = None) -> Floats:
        """Return the scores of all items for new users, (I,) or (Q, I).

        See `fold_in` for parameters and errors.
        """
        self._require_fitted("predict_history")
        folded = self._folded("predict_history", items, ratings)
        scores = (folded.vectors + self._context) @ self.item_vectors_.T
        scores += self.item_biases_ + folded.biases + np.float32(self.mean_)
        return np.asarray(scores[0] if folded.single else scores, np.float32)

    def recommend_history(
        self,
        items: Any,
        n: int = 10,
        exclude_seen: bool = True,
        filter: Ids | None = None,
        ratings: Any = None,
    ) -> Ranked:
        """Return the n items with the highest scores for new users.

        Parameters
        ----------
        items, ratings
            What each user met so far; see `fold_in`, also for errors.
        n : int >= 1
        exclude_seen : bool
            Leave these items out.
        filter : list of item ids, or None
            Only these are recommended; ids that the model does not know are skipped.

        Returns
        -------
        Ranked
            Of shape (n,) or (Q, n).
        """
        self._require_fitted("recommend_history")
        n = whole("recommend_history", "n", n, least=1)
        folded = self._folded("recommend_history", items, ratings)
        met = each_once(folded.histories, len(self.items_))
        seen = Seen.of(met) if exclude_seen else None
        vectors = folded.vectors + self._context
        codes, scores = self._best(vectors, n, seen, filter)
        scores += folded.biases + np.float32(self.mean_)
        return ranked(self.items_, codes, scores, folded.single)

    def _folded(self, who: str, items: Any, ratings: Any) -> Folded:
        """Return the vectors and biases of new users."""
        loss = LOSSES[self.loss]
        if loss.is_explicit and ratings is None:
            raise DataError(f"{who}: the ratings of the items are required.")
        cure = "Of a user who has met nothing only features can tell: see `recommend`."
        histories, single = history_codes(who, self.items_, items, cure)
        lengths, count = np.diff(histories.offsets), len(histories)
        if ratings is not None:
            ratings = _flat_ratings(who, ratings, lengths, single)
        data = Interactions.from_codes(
            *(np.repeat(np.arange(count), lengths), histories.values, ratings),
            user_ids=np.arange(count),
            item_ids=np.arange(len(self.items_)),
        )
        fold = self._regressed if loss.is_explicit else self._trained
        return Folded(*fold(data, histories.offsets), histories, single)

    def _trained(
        self, data: Interactions, offsets: NDArray[Any]
    ) -> tuple[Floats, Floats]:
        """Return vectors and biases as training gives them, the items held fast."""
        loss, width = LOSSES[self.loss], self.item_vectors_.shape[1]
        users = Side(
            ParameterNode(np.zeros((data.n_users, width))),
            ParameterNode(np.zeros((data.n_users, 1))),
        )
        frozen = Side(
            ParameterNode(self.item_vectors_, trainable=False),
            ParameterNode(self.item_biases_[:, None], trainable=False),
        )
        counts = self.seen_.counts(data.n_items)
        node, inputs = loss_and_inputs(loss, Model(users, frozen), data, counts, self)
        fit(
            node,
            self._make_optimizer(loss.optimizer),
            inputs,
            epochs=self.epochs,
            random_state=0,  # an answer, the same each time
            progress=False,
        )
        return users.vectors.value.copy(), users.biases.value.copy()

    def _regressed(
        self, data: Interactions, offsets: NDArray[Any]
    ) -> tuple[Floats, Floats]:
        """Return the u and b with the least sum (r - v.u - b)^2 + l2/2 (u.u + b^2)."""
        l2 = self._make_optimizer(LOSSES[self.loss].optimizer).l2
        found = np.empty((data.n_users, self.item_vectors_.shape[1] + 1), np.float32)
        wanted = data.ratings - self.mean_ - self.item_biases_[data.items]
        for user, (begin, end) in enumerate(pairwise(offsets)):
            rows = self.item_vectors_[data.items[begin:end]].astype(np.float64)
            rows = np.column_stack([rows, np.ones(len(rows))])
            penalty = 0.5 * l2 * len(rows) * np.eye(rows.shape[1])
            # minimum norm: without a penalty few ratings leave much open
            system = rows.T @ rows + penalty, rows.T @ wanted[begin:end]
            found[user] = np.linalg.lstsq(*system, rcond=None)[0]
        return found[:, :-1], found[:, -1:]


def _flat_ratings(
    who: str, ratings: Any, lengths: NDArray[Any], single: bool
) -> NDArray[Any]:
    """Return ratings in the form of histories, one after the other."""
    lists = list(ratings) if is_list(ratings) and not single else [ratings]
    given = [np.shape(part) for part in lists]
    if given != [(length,) for length in lengths]:
        raise ShapeError(
            f"{who}: one rating for each item is required: lists of one length, "
            f"{lengths.tolist()[:5]}, got shapes {given[:5]}."
        )
    return np.concatenate([np.asarray(part) for part in lists])
