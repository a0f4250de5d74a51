"""Answers from a history alone: for users who were not there in training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.data.rows import whole
from wyrm_py.errors import DataError, DivergenceError
from wyrm_py.evaluation import RankingMetrics, ranking_metrics
from wyrm_py.leaves import SparseInputNode
from wyrm_py.models.answers import Answers
from wyrm_py.models.histories import each_once, history_codes
from wyrm_py.models.ranked import Ranked, ranked
from wyrm_py.models.runs import history_rows
from wyrm_py.models.seen import Seen
from wyrm_py.models.sequence import SequenceModel
from wyrm_py.parallel.evaluate import evaluate

Floats = NDArray[np.float32]


class Follower:
    """The graph that answers: from a history to the state after it."""

    def __init__(self, model: SequenceModel) -> None:
        self._items = model.items.shape[0]
        self._events = SparseInputNode(
            history_rows(RaggedColumn([0], [0, 1]), self._items)
        )
        _, self._final = model(self._events)

    def states(self, histories: RaggedColumn, n_jobs: int) -> Floats:
        """Return the state after each history of item codes: (Q, D)."""
        rows = history_rows(histories, self._items)
        states: Floats = evaluate(self._final, {self._events: rows}, n_jobs=n_jobs)
        return states


class HistoryAnswers(Answers):
    """What a fitted sequence model says about any history: a mixin.

    A subclass is what `Answers` asks for, and has `_states`.
    """

    _unknown_user_cure = (
        "For a new user call `recommend_history` or `predict_history` with the items "
        "so far."
    )

    def _states(self, histories: RaggedColumn) -> Floats:
        """Return the state after each history of item codes: (Q, D)."""
        raise NotImplementedError

    def user_representation(self, items_so_far: Any) -> Floats:
        """Return the state of a user after some items.

        Parameters
        ----------
        items_so_far : list of item ids, or a list of Q such lists
            In the order of time. The last `max_sequence_length` count.

        Returns
        -------
        float32 array, shape (D,) or (Q, D)

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        DataError
            A history is empty.
        UnknownIdError
            An item was not in the training data.
        DivergenceError
            The model's numbers are not finite: its file is damaged.
        """
        self._require_fitted("user_representation")
        histories, single = self._histories("user_representation", items_so_far)
        states = self._finite_states("user_representation", histories)
        return states[0] if single else states

    def predict_history(self, items_so_far: Any) -> Floats:
        """Return the score of every item as the next one.

        Parameters
        ----------
        items_so_far : list of item ids, or a list of Q such lists
            As of `user_representation`, like the errors.

        Returns
        -------
        float32 array, shape (I,) or (Q, I)
            Column k belongs to `item_ids_[k]`.
        """
        self._require_fitted("predict_history")
        histories, single = self._histories("predict_history", items_so_far)
        states = self._finite_states("predict_history", histories)
        scores: Floats = states @ self.item_vectors_.T + self.item_biases_
        return scores[0] if single else scores

    def recommend_history(
        self,
        items_so_far: Any,
        n: int = 10,
        exclude_seen: bool = True,
        filter: Ids | None = None,
    ) -> Ranked:
        """Return the n items with the highest scores as the next one.

        Parameters
        ----------
        items_so_far : list of item ids, or a list of Q such lists
            As of `user_representation`, like the errors.
        n : int >= 1
        exclude_seen : bool
            Leave out all items of the history itself.
        filter : list of item ids, or None
            Only these are recommended; ids that the model does not know are skipped.

        Returns
        -------
        Ranked
            Of shape (n,) or (Q, n).
        """
        self._require_fitted("recommend_history")
        n = whole("recommend_history", "n", n, least=1)
        histories, single = self._histories("recommend_history", items_so_far)
        states = self._finite_states("recommend_history", histories)
        seen = Seen.of(each_once(histories, len(self.items_))) if exclude_seen else None
        codes, scores = self._best(states, n, seen, filter)
        return ranked(self.items_, codes, scores, single)

    def history_metrics(self, interactions: Any, top: int = 10) -> RankingMetrics:
        """Measure how the last item of each history ranks, given the others.

        Users need not be those of the training data. The other items of the history
        are left out of the ranking, equal scores count against the model.

        Parameters
        ----------
        interactions : Interactions, or what `Interactions.of` takes
            Users with fewer than two items are left out.
        top : int >= 1

        Raises
        ------
        NotFittedError, UnknownIdError, DivergenceError
            As `user_representation`.
        DataError
            No user has two items.
        """
        self._require_fitted("history_metrics")
        data = Interactions.of(interactions)
        codes = self.items_.require(data.item_ids, "history_metrics")
        column = data.histories().items
        long = np.flatnonzero(np.diff(column.offsets) >= 2)
        if len(long) == 0:
            raise DataError(
                "history_metrics: a user with at least two items is required, so that "
                "there is a last one and others before it."
            )
        column = column[long]
        is_last = np.zeros(len(column.values), bool)
        is_last[column.offsets[1:] - 1] = True
        items = codes[column.values]
        known = RaggedColumn(items[~is_last], column.offsets - np.arange(len(long) + 1))
        wanted = RaggedColumn(items[is_last], np.arange(len(long) + 1))
        before, last = (each_once(part, len(self.items_)) for part in (known, wanted))
        return ranking_metrics(
            *(self._finite_states("history_metrics", known), self.item_vectors_),
            train=before - before.multiply(last),  # what comes again is no mistake
            test=last,
            item_biases=self.item_biases_,
            top=top,
            n_jobs=self.n_jobs,
        )

    def _histories(self, who: str, items_so_far: Any) -> tuple[RaggedColumn, bool]:
        """Return histories as lists of codes, and whether it is one alone."""
        return history_codes(
            who,
            self.items_,
            items_so_far,
            "Ask again after the first item; until then recommend what is popular.",
        )

    def _finite_states(self, who: str, histories: RaggedColumn) -> Floats:
        states = self._states(histories)
        if not np.isfinite(states).all():
            raise DivergenceError(
                f"{who}: the model's numbers are not finite. Train it with a lower "
                "learning rate, or load its file with `verify=True` to see whether "
                "that is damaged."
            )
        return states
