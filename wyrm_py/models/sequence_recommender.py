"""The recommender around the sequence models: fit, recommend, save and load."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.data.ids import IdMap
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.errors import SettingError
from wyrm_py.leaves import SparseInputNode
from wyrm_py.models.base import Estimator
from wyrm_py.models.history_answers import Follower, HistoryAnswers
from wyrm_py.models.learned import grown, learned_of, require_shapes, restore
from wyrm_py.models.runs import continued, last_items, replaced, runs
from wyrm_py.models.seen import Seen
from wyrm_py.models.sequence import ENCODERS, LOSSES, Search, SequenceModel
from wyrm_py.optim import Adagrad, Optimizer
from wyrm_py.optim.schedules import Cosine, Schedule
from wyrm_py.seeds import RandomState, generator

Floats = NDArray[np.float32]


@dataclass(eq=False, repr=False)
class SequenceRecommender(HistoryAnswers, Estimator):
    """Recommend the next item from the items a user has met so far, in their order.

    New users need no training: `recommend_history(items_so_far)`.

    Parameters
    ----------
    model : "ewma", "pooling", "gru" or "lstm"
        What follows a history: an exponentially weighted moving average, which is
        fastest and a good first choice, the mean of all items, or a recurrent net.
    coupled : bool
        Of the LSTM: one gate for input and forgetting, fewer numbers, faster.
    loss : "warp", "bpr" or "hinge"
        WARP ranks best at the top.
    width : int >= 1
        Length of item vectors and of states, D.
    max_sequence_length : int >= 2
        A history is cut into runs of so many items, of which the first may be short;
        each is one step of training. Answers look at so many last items.
    negatives : int >= 1
        Random items that the next one is compared with: with all of them for bpr, with
        the one that scores highest for hinge.
    max_tries : int >= 1
        Items that WARP looks at, at most, to find one that ranks too high.
    epochs, learning_rate, l2, optimizer, n_jobs, backend, random_state
        See `Estimator`. By default Adagrad's learning rate falls along a cosine to
        zero at the end of training.
    initial_scale : float >= 0
        Standard deviation of the first item vectors; biases start at zero.

    Attributes
    ----------
    item_vectors_ : float32 array, shape (I, D)
    item_biases_ : float32 array, shape (I,)
    user_vectors_ : float32 array, shape (U, D)
        The state after each user's history.
    users_, items_ : IdMap
    user_ids_, item_ids_ : arrays, shape (U,) and (I,)
    seen_ : Seen
        What `recommend` leaves out.
    recent_ : RaggedColumn of U lists of item codes
        The last items of each user, where `partial_fit` goes on.
    learned_ : dict of arrays
        All parameters by name, and the optimizer's state.
    history_ : History
        Of the last training.

    Notes
    -----
    The state s after items 0 to t scores item t + 1: s . vector + bias. The encoders
    and losses are in `wyrm_py.models.sequence`.

    Source: the protocol of sbr-rs, which trains such models on wyrm.
    """

    _kind: ClassVar[str] = "sequence"

    model: str = "ewma"
    loss: str = "warp"
    width: int = 32
    max_sequence_length: int = 128
    epochs: int = 10
    coupled: bool = False
    negatives: int = 8
    max_tries: int = 30
    learning_rate: float | Schedule | None = None
    l2: float | None = None
    optimizer: str | Optimizer = "adagrad"
    initial_scale: float = 0.1
    n_jobs: int = 1
    backend: Literal["processes", "threads"] = "threads"
    random_state: RandomState = None

    @classmethod
    def search_space(cls) -> dict[str, Any]:
        """Return settings to draw from, for `sklearn.model_selection`.

        `RandomizedSearchCV(SequenceRecommender(), SequenceRecommender.search_space())`
        searches for the best; `ParameterSampler(space, n)` draws settings alone.

        Returns
        -------
        dict of lists and scipy distributions by the name of a setting
        """
        from scipy.stats import loguniform

        return {
            "model": list(ENCODERS),
            "loss": list(LOSSES),
            "coupled": [False, True],
            "width": [16, 32, 64, 128],
            "max_sequence_length": [16, 32, 64, 128],
            "epochs": [8, 16, 32, 64],
            "learning_rate": loguniform(1e-3, 1.0),
            "l2": loguniform(1e-7, 1e-3),
        }

    # -- training -------------------------------------------------------------------

    def fit(
        self, interactions: Any, y: Any = None, progress: bool = False, **training: Any
    ) -> Self:
        """Train on the histories of users, from the beginning.

        Parameters
        ----------
        interactions : Interactions, or what `Interactions.of` takes
            In the order of their timestamps, else in their own. Weights multiply the
            loss of each as the next item. Items are numbered as in its `item_ids`.
        y : ignored; for scikit-learn
        progress : bool
        training
            Other settings of `wp.fit`: callbacks, stop, checkpoint, ...; functions of
            the model as `validation`, whose answers go to `history_.metrics`.

        Raises
        ------
        SettingError
            A setting is impossible.
        DataError
            No user has two items.
        DivergenceError
            The learning rate is too high for the data.
        """
        self._require_settings()
        data = Interactions.of(interactions)
        rng = generator(type(self).__name__, self.random_state)
        model = self._new_model(self._first_vectors(data.n_items, rng), rng)
        users, items = IdMap(data.user_ids, "user"), IdMap(data.item_ids, "item")
        seen = Seen.of(data.csr())
        recent = last_items(data.histories().items, self.max_sequence_length)

        def show() -> None:
            self.users_, self.items_, self.seen_ = users, items, seen
            self.recent_ = recent
            self._keep(model)

        self._learn(model, data, "fit", show=show, progress=progress, **training)
        show()
        return self

    def partial_fit(
        self,
        interactions: Any,
        y: Any = None,
        epochs: int = 1,
        progress: bool = False,
        **training: Any,
    ) -> Self:
        """Go on with what users did next; users and items may be new.

        The histories of known users continue where they ended, and the optimizer with
        its state. A model that is not trained yet is begun.

        Parameters
        ----------
        interactions, y, progress, training
            As for `fit`, like the errors.
        epochs : int >= 0
            Passes over these interactions.

        Raises
        ------
        DTypeError
            Ids are of another type than those known.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(interactions, progress=progress, epochs=epochs, **training)
        self._require_settings()
        self._require_form()
        data = Interactions.of(interactions)
        users, items = copy.deepcopy(self.users_), copy.deepcopy(self.items_)
        user_codes, item_codes = users.add(data.user_ids), items.add(data.item_ids)
        joined = continued(data, user_codes, item_codes, self.recent_, len(items))
        rng = generator(type(self).__name__, self.random_state)
        more = self._first_vectors(len(items), rng)[len(self.items_) :]
        model = self._model_of(grown(self.learned_, more))
        settings = {"epochs": epochs, "progress": progress, **training}
        self._learn(model, joined, "partial_fit", **settings)
        shape = len(users), len(items)
        ones = np.ones(len(data), np.float32)
        places = user_codes[data.users], item_codes[data.items]
        met = scipy.sparse.csr_array((ones, places), shape)
        before = self.seen_.csr(len(self.items_))
        before.resize(shape)
        last = last_items(joined.histories().items, self.max_sequence_length)
        self.users_, self.items_ = users, items
        self.seen_ = Seen.of(before + met)
        self.recent_ = replaced(self.recent_, user_codes, last, len(users))
        self._keep(model)
        return self

    def _learn(
        self, model: SequenceModel, data: Interactions, who: str, **training: Any
    ) -> None:
        """Train a model on histories: one step a run of items."""
        loss, search = LOSSES[self.loss], Search(self.negatives, self.max_tries)
        chunks = runs(data, self.max_sequence_length, who)
        events = SparseInputNode(chunks[:1])
        states, _ = model(events)
        losses = loss.graph(model, states, events.indices, search)
        epochs = training.get("epochs", self.epochs)
        rate = Cosine(loss.learning_rate, max(epochs, 1))
        self._train(
            (losses * events.data.expand_dims(1)).sum(),
            self._make_optimizer(Adagrad(rate)),
            {events: chunks},
            **training,
        )

    # -- what was learned -----------------------------------------------------------

    def _first_vectors(self, rows: int, rng: np.random.Generator) -> Floats:
        scale = np.float32(self.initial_scale)
        return rng.standard_normal((rows, self.width), np.float32) * scale

    def _new_model(self, vectors: Floats, rng: np.random.Generator) -> SequenceModel:
        encoder = ENCODERS[self.model](self.width, rng, self.coupled)
        return SequenceModel(vectors, encoder)

    def _model_of(self, learned: Mapping[str, NDArray[Any]]) -> SequenceModel:
        """Return a model with parameters, and their optimizer's state, as learned."""
        model = self._new_model(learned["items"], np.random.default_rng(0))
        restore(model, learned)
        return model

    def _keep(self, model: SequenceModel) -> None:
        """Take what was learned out of the graph, and work out the users' states."""
        self.learned_ = learned_of(model)
        self.item_vectors_ = self.learned_["items"]
        self.item_biases_ = self.learned_["biases"][:, 0]
        self._follower = Follower(model)
        self.user_vectors_ = self._states(self.recent_)

    def _states(self, histories: RaggedColumn) -> Floats:
        """Return the state after each history of item codes: (Q, D)."""
        if getattr(self, "_follower", None) is None:
            self._require_form()
            self._follower = Follower(self._model_of(self.learned_))
        recent = last_items(histories, self.max_sequence_length)
        return self._follower.states(recent, self.n_jobs)

    def score(self, interactions: Any, y: Any = None) -> float:
        """Return the mean reciprocal rank of the last item of each history.

        See `history_metrics`; higher is better.
        """
        return self.history_metrics(interactions).mrr

    # -- files ----------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: state[name] for name in state if name != "_follower"}

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {f"learned/{name}": array for name, array in self.learned_.items()}
        return {
            **arrays,
            "user_vectors": self.user_vectors_,
            "recent.offsets": self.recent_.offsets,
            "recent.items": self.recent_.values,
            "seen.starts": self.seen_.starts,
            "seen.items": self.seen_.items,
            **self.users_.to_arrays(),
            **self.items_.to_arrays(),
        }

    def _take(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> None:
        self._require_settings()
        self.users_ = IdMap.from_arrays(arrays, "user")
        self.items_ = IdMap.from_arrays(arrays, "item")
        learned = "learned/"
        self.learned_ = {
            name.removeprefix(learned): array
            for name, array in arrays.items()
            if name.startswith(learned)
        }
        require_shapes(self.learned_, self._shapes())
        self.item_vectors_ = self.learned_["items"]
        self.item_biases_ = self.learned_["biases"][:, 0]
        self.user_vectors_ = arrays["user_vectors"]
        self.recent_ = RaggedColumn(arrays["recent.items"], arrays["recent.offsets"])
        self.seen_ = Seen(arrays["seen.starts"], arrays["seen.items"])
        users = len(self.users_)
        if self.user_vectors_.shape != (users, self.width):
            raise ValueError(f"{self.user_vectors_.shape} for {users} users")
        if len(self.recent_) != users or len(self.seen_.starts) != users + 1:
            raise ValueError(f"not one history for each of {users} users")

    def _require_form(self) -> None:
        """Raise a SettingError unless the settings are those of what was learned."""
        try:
            require_shapes(self.learned_, self._shapes())
        except ValueError as error:
            raise SettingError(
                f"{type(self).__name__}: the model was trained with another model, "
                f"width or coupled ({error}). Set them back, or call `fit`."
            ) from None

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all parameters by name."""
        encoder = ENCODERS[self.model](
            self.width, np.random.default_rng(0), self.coupled
        )
        parts = encoder.named_parameters().items()
        inner = {f"encoder.{name}": node.shape for name, node in parts}
        rows = len(self.items_)
        return {"items": (rows, self.width), "biases": (rows, 1), **inner}

    def _require_settings(self) -> None:
        name = type(self).__name__
        for setting, options in (("model", ENCODERS), ("loss", LOSSES)):
            given = getattr(self, setting)
            if not isinstance(given, str) or given not in options:
                raise SettingError(
                    f"{name}: {setting} must be one of {', '.join(options)}, got "
                    f"{given!r}."
                )
        least = {"width": 1, "max_sequence_length": 2, "negatives": 1, "max_tries": 1}
        for setting, lowest in least.items():
            given = getattr(self, setting)
            whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
            if not whole or given < lowest:
                raise SettingError(
                    f"{name}: {setting} must be an integer of at least {lowest}, got "
                    f"{given!r}."
                )
        if not 0 <= self.initial_scale < np.inf:
            raise SettingError(
                f"{name}: initial_scale must be zero or more, got "
                f"{self.initial_scale!r}."
            )
