"""The recommender around the factorisation losses: its settings, fit, score, files.

The losses are graphs in factorization.py; what a fitted model answers stands in
answers.py, what it learns of new users and items in newcomers.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.ids import IdMap
from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import DataError, SettingError
from wyrm_py.evaluation import ranking_metrics
from wyrm_py.leaves import ParameterNode, SparseInputNode
from wyrm_py.models.examples import (
    Sampler,
    loss_and_inputs,
    mean_rating,
    seen_or,
    with_ratings,
)
from wyrm_py.models.factorization import LOSSES, Loss, Model, Side
from wyrm_py.models.features import (
    FeatureVectors,
    NamedPlaces,
    described,
    feature_rows,
)
from wyrm_py.models.hashed_ids import user_ids
from wyrm_py.models.held_out import HeldOut
from wyrm_py.models.online import Online
from wyrm_py.models.seen import Seen
from wyrm_py.optim import Optimizer
from wyrm_py.optim.schedules import Schedule
from wyrm_py.seeds import RandomState, generator

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]

SAMPLERS = ("uniform", "popular")
_ARRAYS = ("user_vectors", "user_biases", "item_vectors", "item_biases")


@dataclass(eq=False, repr=False)
class FactorizationRecommender(Online):
    """Recommend items by the inner product of user and item vectors plus biases.

    Parameters
    ----------
    loss : "warp", "warp-kos", "bpr", "hinge", "logistic" or "squared"
        WARP ranks best at the top; BPR, hinge and logistic train faster; k-OS WARP
        looks at the `k`-th best of `n` of a user's items. To all of these each
        interaction is a positive, whatever its rating; squared predicts ratings.
    width : int >= 1
        Number of factors, D.
    epochs, learning_rate, l2, optimizer, n_jobs, backend, random_state
        See `Estimator`. l2 is a penalty on the rows of each example.
    initial_scale : float >= 0
        Standard deviation of the first vectors; biases start at zero.
    sampler : "uniform", "popular" or a function
        How bpr, hinge and logistic draw wrong items. A function of (item, known, user)
        returns an index node of the shape of `item`; `known`, a scipy CSR matrix of
        the users' own items, is there to be passed on to `wp.sample_uniform` or others.
    popularity_power : float >= 0
        "popular" draws in proportion to the number of interactions to this power.
    max_tries : int >= 1
        Items that WARP looks at, at most, to find one that ranks too high.
    k, n : int, 1 <= k <= n
        Of k-OS WARP.
    identity : bool
        With features, users and items also have a vector each of their own.

    Attributes
    ----------
    user_vectors_, item_vectors_ : float32 arrays, shape (U, D) and (I, D)
        Whole representations: what features add is in them.
    user_biases_, item_biases_ : float32 arrays, shape (U,) and (I,)
        Those of users are zeros but with logistic and squared loss.
    mean_ : float
        Of the ratings with squared loss, else zero.
    users_, items_ : IdMap
    user_features_, item_features_ : FeatureVectors, or None
    context_vectors_ : float32 array, shape (C, D), or None
    seen_ : Seen
        What `recommend` leaves out.
    history_ : History
        Of the last `fit`.

    Notes
    -----
    score = user vector . item vector + item bias + user bias + mean; a context adds
    to the user vector.
    """

    _kind: ClassVar[str] = "factorization"

    loss: str = "warp"
    width: int = 32
    epochs: int = 10
    learning_rate: float | Schedule | None = None
    l2: float | None = None
    optimizer: str | Optimizer = "adagrad"
    initial_scale: float = 0.02
    sampler: str | Sampler = "uniform"
    popularity_power: float = 0.75
    max_tries: int = 10
    k: int = 5
    n: int = 10
    identity: bool = True
    n_jobs: int = 1
    backend: Literal["processes", "threads"] = "threads"
    random_state: RandomState = None

    # -- training -------------------------------------------------------------------

    def fit(
        self,
        interactions: Any,
        y: ArrayLike | None = None,
        seen: Interactions | None = None,
        user_features: Any = None,
        item_features: Any = None,
        context: Any = None,
        validation: Any = None,
        progress: bool = False,
        **training: Any,
    ) -> Self:
        """Train on interactions, from the beginning.

        Parameters
        ----------
        interactions : Interactions, or what `Interactions.of` takes
            Users are numbered in the order of its `user_ids`, items in that of its
            `item_ids`. Its weights multiply the loss of each interaction.
        y : finite numbers, shape (N,), or None
            Ratings, in place of those of the interactions.
        seen : Interactions over the same ids, or None
            What `recommend` leaves out; by default the interactions.
        user_features, item_features : sparse matrices, (U, F) and (I, G), or None
            A row for each id, in that order. Or a mapping or function of an id that
            gives names of features, as for `partial_fit`.
        context : sparse matrix, shape (N, C), or None
            What is known of each event (time of day, device, ...); it adds to the
            user's vector.
        validation : Interactions, a function of the model, or a list of them, or None
            After each epoch the mean loss over the Interactions goes to
            `history_.validation_losses`, what a function returns (a number, or a dict
            of numbers by name) to `history_.metrics`. Users and items that are not
            in the training data are left out.
        progress : bool
        training
            Other settings of `wp.fit`: callbacks, stop, checkpoint, ... `resume` is the
            file of a checkpoint: over the same interactions and with the same settings
            the training goes on from there to the same model.

        Raises
        ------
        SettingError
            A setting is impossible.
        ShapeError
            Features, context or `seen` are of other users, items or events.
        DTypeError, DataError
            Features are not numbers, or not finite.
        DivergenceError
            The learning rate is too high for the data.
        """
        self._require_own("fit")
        loss = self._checked_loss()
        optimizer = self._make_optimizer(loss.optimizer)
        data = with_ratings(Interactions.of(interactions), y)
        seen_items = Seen.of(seen_or(seen, data).csr())
        events = self._events(loss, context, len(data))
        given = {"user": user_features, "item": item_features}
        sides = {
            name: described("fit", name, one, ids, self.identity)
            for (name, one), ids in zip(
                given.items(), (data.user_ids, data.item_ids), strict=True
            )
            if one is not None
        }
        model = self._first_model(data, sides, events)
        counts = np.bincount(data.items, minlength=data.n_items)
        node, inputs = loss_and_inputs(loss, model, data, counts, self)
        users, items = IdMap(data.user_ids, "user"), IdMap(data.item_ids, "item")
        nodes = dict(zip(loss.reads, inputs, strict=True))
        aside = HeldOut(nodes, users, items, mean_rating(loss, data), model.event)
        if model.event is not None:
            inputs[model.event] = events

        def show() -> None:
            self.users_, self.items_ = users, items
            self.seen_, self.mean_ = seen_items, mean_rating(loss, data)
            self._keep(model, sides)

        self._train(
            node,
            optimizer,
            inputs,
            show,
            aside.parts(validation),
            weights=data.weights,
            progress=progress,
            **training,
        )
        show()
        return self

    def _events(self, loss: Loss, context: Any, count: int) -> Any:
        """Return the context of each interaction as CSR, checked, or None."""
        if context is not None and "item" not in loss.reads:
            raise SettingError(
                f"fit: {self.loss} trains on other items of the user than those of the "
                "events, so events cannot have a context. Take another loss."
            )
        if context is None:
            return None
        return feature_rows("fit", "context", context, count, "interactions")

    def _first_model(
        self, data: Interactions, sides: Mapping[str, NamedPlaces], events: Any
    ) -> Model:
        """Return random vectors and zero biases."""
        rng = generator(type(self).__name__, self.random_state)

        def table(rows: int, scale: float, name: str) -> ParameterNode:
            values = rng.standard_normal((rows, self.width), np.float32)
            return ParameterNode(values * np.float32(scale), name=f"{name} vectors")

        def side(name: str, ids: int) -> Side:
            features = sides[name][0].rows if name in sides else None
            rows = ids if features is None else features.shape[1]
            biases = ParameterNode(np.zeros((rows, 1)), name=f"{name} biases")
            return Side(table(rows, self.initial_scale, name), biases, features)

        users, items = side("user", data.n_users), side("item", data.n_items)
        if events is None:
            return Model(users, items)
        context = table(events.shape[1], 0.0, "context")
        return Model(users, items, context, SparseInputNode(events[:1]))

    def _keep(self, model: Model, sides: Mapping[str, NamedPlaces]) -> None:
        """Take what was learned out of the graph."""
        for name, side in (("user", model.users), ("item", model.items)):
            vectors, biases = side.vectors.value.copy(), side.biases.value[:, 0].copy()
            features = None
            if name in sides:
                features = FeatureVectors.taken(vectors, biases, *sides[name])
                vectors, biases = side.features @ vectors, side.features @ biases
            setattr(self, f"{name}_vectors_", vectors)
            setattr(self, f"{name}_biases_", biases)
            setattr(self, f"{name}_features_", features)
        table = model.context_vectors
        self.context_vectors_ = None if table is None else table.value.copy()

    def _checked_loss(self) -> Loss:
        name = type(self).__name__
        for setting, options in (("loss", LOSSES), ("sampler", SAMPLERS)):
            given = getattr(self, setting)
            if isinstance(given, str) and given in options:
                continue
            if setting == "sampler" and callable(given):
                continue
            or_function = " or a function" * (setting == "sampler")
            raise SettingError(
                f"{name}: {setting} must be one of {', '.join(options)}{or_function}, "
                f"got {given!r}."
            )
        for setting in ("width", "max_tries", "k", "n"):
            given = getattr(self, setting)
            whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
            if not whole or given < 1:
                raise SettingError(
                    f"{name}: {setting} must be an integer of at least one, got "
                    f"{given!r}."
                )
        if self.k > self.n:
            raise SettingError(
                f"{name}: k must be at most n, the items it is chosen among, got "
                f"k={self.k} and n={self.n}."
            )
        for setting in ("initial_scale", "popularity_power"):
            given = getattr(self, setting)
            number = isinstance(given, int | float | np.number)
            if not number or not 0 <= given < np.inf:
                raise SettingError(
                    f"{name}: {setting} must be zero or more, got {given!r}."
                )
        return LOSSES[self.loss]

    # -- measuring ------------------------------------------------------------------

    def score(self, interactions: Any, y: ArrayLike | None = None) -> float:
        """Return how good the model is on interactions: higher is better.

        With squared loss minus the root of the mean squared error, where new users
        and items are predicted without them. Else the mean AUC over users: the
        interactions are the positives, users and items not in the training data are
        left out, and so are other items that the user has seen.

        Parameters
        ----------
        interactions, y
            As for `fit`.

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        DataError
            No interaction has both a user and an item of the training data, or all
            weights are zero.
        """
        self._require_fitted("score")
        data = with_ratings(Interactions.of(interactions), y)
        users = self.users_.codes(data.user_ids)[data.users]
        items = self.items_.codes(data.item_ids)[data.items]
        if LOSSES[self.loss].is_explicit:
            if data.weights is not None and not data.weights.any():
                raise DataError("score: all weights are zero. Give one above zero.")
            errors = data.ratings - self._predicted(users, items)
            return -float(np.sqrt(np.average(errors**2, weights=data.weights)))
        both = (users >= 0) & (items >= 0)
        if not both.any():
            raise DataError(
                "score: interactions of users and items of the training data are "
                f"required, got none among {len(data)}."
            )
        shape = len(self.users_), len(self.items_)
        ones = np.ones(int(both.sum()), np.float32)
        wanted = scipy.sparse.csr_array((ones, (users[both], items[both])), shape)
        wanted.sum_duplicates()
        seen = self.seen_.csr(shape[1])
        return ranking_metrics(
            *(self.user_vectors_, self.item_vectors_),
            train=seen - seen.multiply(wanted > 0),
            test=wanted,
            item_biases=self.item_biases_,
            n_jobs=self.n_jobs,
        ).auc

    def _predicted(self, users: Codes, items: Codes) -> Floats:
        """Return predictions by codes; -1 counts as nothing known."""
        known = (users >= 0) & (items >= 0)
        found = np.full(len(users), self.mean_, np.float32)
        found += np.where(users >= 0, self.user_biases_[users], 0)
        found += np.where(items >= 0, self.item_biases_[items], 0)
        pairs = self.user_vectors_[users[known]], self.item_vectors_[items[known]]
        found[known] += np.einsum("nd,nd->n", *pairs)
        return found

    # -- files ----------------------------------------------------------------------

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, Any] = {n: getattr(self, f"{n}_") for n in _ARRAYS}
        for name in ("user_features", "item_features"):
            features = getattr(self, f"{name}_")
            if features is not None:
                arrays |= features.to_arrays(name)
        if self.context_vectors_ is not None:
            arrays["context_vectors"] = self.context_vectors_
        seen = {"seen.starts": self.seen_.starts, "seen.items": self.seen_.items}
        ids: dict[str, Any] = self.users_.to_arrays() | self.items_.to_arrays()
        return arrays | seen | ids | self._keep_stream()[0]

    def _metadata(self) -> dict[str, Any]:
        return {"mean": self.mean_, "stream": self._keep_stream()[1]}

    def _take(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> None:
        self.users_ = user_ids(arrays)
        self.items_ = IdMap.from_arrays(arrays, "item")
        self.mean_ = float(metadata["mean"])
        for name, ids in (("user", self.users_), ("item", self.items_)):
            rows = len(ids)
            wanted = {"vectors": (rows, self.width), "biases": (rows,)}
            for part, shape in wanted.items():
                array = arrays[f"{name}_{part}"]
                if array.shape != shape or array.dtype != np.float32:
                    raise ValueError(f"{name}_{part} {array.dtype}{array.shape}")
                setattr(self, f"{name}_{part}_", array)
            parts = arrays, f"{name}_features", rows, self.width
            setattr(self, f"{name}_features_", FeatureVectors.from_arrays(*parts))
        self.context_vectors_ = arrays.get("context_vectors")
        self._take_stream(arrays, metadata.get("stream", {}))
        self.seen_ = Seen(arrays["seen.starts"], arrays["seen.items"])
        if self.seen_.starts.shape != (len(self.users_) + 1,):
            raise ValueError(f"seen.starts of shape {self.seen_.starts.shape}")
