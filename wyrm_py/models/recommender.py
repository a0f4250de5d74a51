"""The recommender around the factorisation losses: fit, recommend, save and load."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.data.ids import IdMap
from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import (
    CorruptCheckpointError,
    NotFittedError,
    SettingError,
    ShapeError,
)
from wyrm_py.leaves import IndexInputNode, ParameterNode
from wyrm_py.models.factorization import LOSSES, Loss, Tables
from wyrm_py.optim import Adagrad
from wyrm_py.parallel.fit import fit
from wyrm_py.parallel.history import History

_KIND = "factorization"


@dataclass
class FactorizationRecommender:
    """Recommend items by the inner product of user and item vectors plus a bias.

    Parameters
    ----------
    loss : {"bpr", "warp", "logistic"}
        WARP ranks best at the top; BPR and logistic train faster.
    width : int >= 1
        Number of factors, D.
    epochs : int >= 0
    learning_rate : float > 0, or None
        Of Adagrad; None takes the loss's own default, as for l2.
    l2 : float >= 0, or None
        Penalty on the rows of each example.
    initial_scale : float >= 0
        Standard deviation of the first vectors; biases start at zero.
    n_jobs : int
        Workers; -1 is one a core. With one worker a seed gives one result.
    backend : {"processes", "threads"}
    random_state : int or None

    Attributes
    ----------
    user_vectors_, item_vectors_ : float32 arrays, shape (U, D) and (I, D)
    item_biases_ : float32 array, shape (I,)
    users_, items_ : IdMap
    seen_ : scipy CSR array, shape (U, I)
        What is left out of recommendations.
    history_ : History
        Not kept in files.
    """

    loss: str = "warp"
    width: int = 32
    epochs: int = 10
    learning_rate: float | None = None
    l2: float | None = None
    initial_scale: float = 0.05
    n_jobs: int = 1
    backend: Literal["processes", "threads"] = "processes"
    random_state: int | None = None

    def fit(
        self,
        ratings: Interactions,
        seen: Interactions | None = None,
        callbacks: Sequence[Callable[[History], object]] = (),
        progress: bool = False,
    ) -> Self:
        """Train on positives: each rating counts as one, whatever its value.

        Parameters
        ----------
        ratings : Interactions
            The positives (see `data.split.positives`).
        seen : Interactions over the same ids, or None
            What `recommend` leaves out; by default the positives.
        callbacks, progress
            As for `wp.fit`.

        Raises
        ------
        SettingError
            A setting is impossible.
        ShapeError
            `seen` has other users or items.
        DivergenceError
            The learning rate is too high for the data.
        """
        loss = self._checked_loss()
        known = ratings.csr()
        seen_items = known if seen is None else seen.csr()
        if seen_items.shape != known.shape:
            raise ShapeError(
                f"fit: seen must have the {known.shape[0]} users and {known.shape[1]} "
                f"items of the ratings, got {seen_items.shape}."
            )
        tables = self._first_tables(ratings)
        user, item = IndexInputNode([0]), IndexInputNode([0])
        history = fit(
            loss.graph(tables, user, item, _without_full_rows(known)),
            Adagrad(
                loss.learning_rate
                if self.learning_rate is None
                else self.learning_rate,
                l2=loss.l2 if self.l2 is None else self.l2,
            ),
            inputs={user: ratings.users, item: ratings.items},
            epochs=self.epochs,
            n_jobs=self.n_jobs,
            backend=self.backend,
            random_state=self.random_state,
            callbacks=callbacks,
            progress=progress,
        )
        self.user_vectors_ = tables.users.value.copy()
        self.item_vectors_ = tables.items.value.copy()
        self.item_biases_ = tables.biases.value[:, 0].copy()
        self.users_ = IdMap(ratings.user_ids, "user")
        self.items_ = IdMap(ratings.item_ids, "item")
        self.seen_ = seen_items
        self.history_ = history
        return self

    def recommend(
        self, user: object, top: int = 10, include_seen: bool = False
    ) -> list[tuple[Any, float]]:
        """Return the best items for a user, best first, as (id, score).

        Parameters
        ----------
        user : id, matched by its text
        top : int >= 1
            Fewer are returned if there are not as many.
        include_seen : bool
            Also items the user has already seen.

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        UnknownIdError
            The user was not in the training data.
        SettingError
            `top` is below one.
        """
        self._require_fitted("recommend")
        if top < 1:
            raise SettingError(f"recommend: top must be 1 or more, got {top}.")
        row = int(self.users_.require([user], "recommend")[0])
        scores = self.item_vectors_ @ self.user_vectors_[row] + self.item_biases_
        candidates = np.ones(len(scores), bool)
        if not include_seen:
            begin, end = self.seen_.indptr[row : row + 2]
            candidates[self.seen_.indices[begin:end]] = False
        items = np.flatnonzero(candidates)
        if top < len(items):
            items = items[np.argpartition(-scores[items], top - 1)[:top]]
        best = items[np.lexsort((items, -scores[items]))]
        return [(self.items_.ids[i], float(scores[i])) for i in best]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, atomically and without pickle.

        Ids that are not integers are kept as their text.

        Raises
        ------
        NotFittedError
            There is nothing to save yet.
        OSError
            The file cannot be written.
        """
        self._require_fitted("save")
        arrays = {
            "user_vectors": self.user_vectors_,
            "item_vectors": self.item_vectors_,
            "item_biases": self.item_biases_,
            "seen.starts": self.seen_.indptr.astype(np.int64),
            "seen.items": self.seen_.indices.astype(np.int32),
            **self.users_.to_arrays(),
            **self.items_.to_arrays(),
        }
        write_arrays(path, arrays, {"kind": _KIND, "settings": asdict(self)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model written by `save`.

        Raises
        ------
        CorruptCheckpointError
            The file is damaged, or not one of these models.
        OSError
            The file cannot be read.
        """
        arrays, metadata = read_arrays(path)
        if metadata.get("kind") != _KIND:
            raise CorruptCheckpointError(
                f"{path} holds {metadata.get('kind')!r}, not a recommender. Give a "
                "file made by `wyrm fit` or `FactorizationRecommender.save`."
            )
        try:
            model = cls(**metadata["settings"])
            model._take(arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptCheckpointError(
                f"{path}: the parts of the model do not fit together ({error})."
            ) from error
        return model

    def _take(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.user_vectors_ = arrays["user_vectors"]
        self.item_vectors_ = arrays["item_vectors"]
        self.item_biases_ = arrays["item_biases"]
        self.users_ = IdMap.from_arrays(arrays, "user")
        self.items_ = IdMap.from_arrays(arrays, "item")
        n_users, n_items = len(self.users_), len(self.items_)
        starts, items = arrays["seen.starts"], arrays["seen.items"]
        ones = np.ones(len(items), np.float32)
        self.seen_ = scipy.sparse.csr_array((ones, items, starts), (n_users, n_items))
        self.seen_.check_format(full_check=True)
        shapes = (self.user_vectors_.shape, self.item_vectors_.shape)
        if shapes != (
            (n_users, self.width),
            (n_items, self.width),
        ) or self.item_biases_.shape != (n_items,):
            raise ValueError(f"shapes {shapes} for {n_users} users, {n_items} items")

    def _first_tables(self, ratings: Interactions) -> Tables:
        rng = np.random.default_rng(self.random_state)

        def normal(rows: int, name: str) -> ParameterNode:
            values = rng.standard_normal((rows, self.width), np.float32)
            return ParameterNode(values * np.float32(self.initial_scale), name=name)

        return Tables(
            users=normal(ratings.n_users, "user vectors"),
            items=normal(ratings.n_items, "item vectors"),
            biases=ParameterNode(np.zeros((ratings.n_items, 1)), name="item biases"),
        )

    def _checked_loss(self) -> Loss:
        if self.loss not in LOSSES:
            raise SettingError(
                f"FactorizationRecommender: loss must be one of {', '.join(LOSSES)}, "
                f"got {self.loss!r}."
            )
        if self.width < 1:
            raise SettingError(
                f"FactorizationRecommender: width must be 1 or more, got {self.width}."
            )
        if not 0 <= self.initial_scale < np.inf:
            raise SettingError(
                "FactorizationRecommender: initial_scale must be zero or more, got "
                f"{self.initial_scale}."
            )
        return LOSSES[self.loss]

    def _require_fitted(self, what: str) -> None:
        if not hasattr(self, "users_"):
            raise NotFittedError(
                f"{what}: the model has not been trained yet. Call `fit` or `load`."
            )


def _without_full_rows(known: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Return `known` without users who know every item: what could be drawn there?"""
    counts = np.diff(known.indptr)
    partial = counts < known.shape[1]
    kept = np.repeat(partial, counts)
    starts = np.concatenate([[0], np.cumsum(counts * partial)])
    return scipy.sparse.csr_array(
        (known.data[kept], known.indices[kept], starts), shape=known.shape
    )
