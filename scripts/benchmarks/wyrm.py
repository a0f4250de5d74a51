"""wyrm_py as a system of the comparison: the model written with the public API."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset
from .measure import Mark, mark
from .quality import Scores

# Learning rates from the same light search as those of the peers.
RATES = {
    ("adagrad", "movielens"): 0.05,
    ("adagrad", "synthetic"): 0.1,
    ("sgd", "movielens"): 0.05,
    ("sgd", "synthetic"): 0.1,
}


class Wyrm:
    """Matrix factorisation with BPR or WARP.

    Negatives: "uniform"; "uniform, unknown" never draws a positive of the user;
    "popular, unknown" draws in proportion to the counts, as LightFM and implicit do.
    """

    system = "wyrm_py"

    def __init__(
        self,
        optimizer: str,
        *,
        jobs: int = 1,
        backend: str = "processes",
        engine: str = "native",
        negatives: str = "uniform",
        limit: int | None = None,
        learning_rate: float | None = None,
    ) -> None:
        self.config: dict[str, Any] = {
            "optimizer": optimizer,
            "workers": jobs,
            "batch": 1,
            "engine": engine,
            "negatives": negatives,
        }
        if jobs > 1:
            self.config["backend"] = backend
        self._limit = limit
        self._rate = learning_rate
        self._settings: dict[str, Any] = {
            "n_jobs": jobs,
            "backend": backend,
            "engine": engine,
        }
        self._negatives = negatives
        self._tables: list[NDArray[np.float32]] = []
        self._bias = np.zeros(0, np.float32)
        self.seconds = 0.0

    def train(self, dataset: Dataset, epochs: int, seed: int) -> list[Mark]:
        """Run one `fit`; a callback gives the marks of the epochs."""
        import wyrm_py as wp

        optimizer = str(self.config["optimizer"])
        rate = self._rate or RATES[optimizer, dataset.name]
        rule = {"sgd": wp.SGD, "adagrad": wp.Adagrad}[optimizer](rate)
        tables = [
            wp.HogwildParameter.normal((rows, dataset.width), 0.1, seed=seed + number)
            for number, rows in enumerate((dataset.n_users, dataset.n_items))
        ]
        user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        U, V = (wp.ParameterNode.shared(table) for table in tables)
        bias = wp.HogwildParameter(np.zeros((dataset.n_items, 1), np.float32))
        if self._negatives == "warp":
            loss = _warp(U, V, wp.ParameterNode.shared(bias), user, item, dataset)
        else:
            loss = self._bpr(U, V, user, item, dataset)
        columns = [column[: self._limit] for column in dataset.columns()]
        marks = [mark()]
        history = wp.fit(
            loss,
            rule,
            inputs=dict(zip((user, item), columns, strict=True)),
            epochs=epochs,
            random_state=seed,
            callbacks=[lambda _: marks.append(mark())],
            progress=False,
            **self._settings,
        )
        self.seconds = history.seconds
        self._tables = [np.array(table.value) for table in tables]
        self._bias = np.array(bias.value).ravel()
        return marks

    def _bpr(self, U: Any, V: Any, user: Any, item: Any, dataset: Dataset) -> Any:
        """Build -ln sigmoid(score of the positive - score of the negative)."""
        import wyrm_py as wp

        known = {"known": dataset.known, "user": user}
        if self._negatives == "uniform":
            negative = wp.sample_uniform(item, dataset.n_items)
        elif self._negatives == "uniform, unknown":
            negative = wp.sample_uniform(item, dataset.n_items, **known)
        else:
            counts = np.asarray(dataset.known.sum(axis=0)).ravel()
            negative = wp.sample_popular(item, counts, **known)
        score = U.index(user).vector_dot(V.index(item) - V.index(negative))
        return -score.sigmoid().ln()

    def examples(self, dataset: Dataset) -> int:
        """Return the examples between two marks."""
        return dataset.examples if self._limit is None else self._limit

    def scores(self) -> Scores | None:
        """Inner products of the tables, and the items' biases (zero under BPR)."""
        if self._limit is not None:
            return None
        users, items = self._tables
        return lambda block: np.asarray(users[block] @ items.T + self._bias, np.float32)


def _warp(U: Any, V: Any, B: Any, user: Any, item: Any, dataset: Dataset) -> Any:
    """Build WARP's hinge: the first violating item, weighted by its estimated rank."""
    import wyrm_py as wp

    query = U.index(user)
    positive = query.vector_dot(V.index(item)) + B.index(item)
    negative, weight = wp.sample_warp(
        query, V, positive, bias=B, known=dataset.known, user=user
    )
    violating = query.vector_dot(V.index(negative)) + B.index(negative)
    return weight * (1.0 - positive + violating).relu()
