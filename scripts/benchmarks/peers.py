"""The peers, each as its own users run it: LightFM, implicit and PyTorch.

A system trains on a data set and gives the marks of its epochs and a scoring function.
Learning rates come from a light search, one per peer, data set and rule: the best AUC
after the epochs of the benchmark (see `SETTINGS`). Training time only; every peer is
warmed up by a short run first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset
from .measure import Mark, mark
from .quality import Scores

Factors = NDArray[np.float32]


class System(Protocol):
    """What the comparison needs from wyrm_py and from each peer alike."""

    system: str
    config: dict[str, Any]

    def train(self, dataset: Dataset, epochs: int, seed: int) -> list[Mark]:
        """Train a new model; the readings at the start and after each epoch."""

    def examples(self, dataset: Dataset) -> int:
        """Return the examples between two marks."""

    def scores(self) -> Scores | None:
        """Return how the trained model scores all items; None if not judged."""


# Learning rates: the best of 0.02, 0.05, 0.1 and 0.2 by AUC.
SETTINGS = {
    ("lightfm", "movielens"): 0.05,
    ("lightfm", "synthetic"): 0.2,
    ("implicit", "movielens"): 0.05,
    ("implicit", "synthetic"): 0.2,
    ("torch-adagrad", "movielens"): 0.05,
    ("torch-adagrad", "synthetic"): 0.05,
    ("torch-sgd", "movielens"): 0.05,
    ("torch-sgd", "synthetic"): 0.05,
}


class LightFM:
    """LightFM with Adagrad: identity features; its biases and its samplers."""

    system = "LightFM"

    def __init__(
        self, threads: int, loss: str = "bpr", learning_rate: float | None = None
    ) -> None:
        self.config = {"optimizer": "adagrad", "workers": threads, "batch": 1}
        self._loss = loss
        self._rate = learning_rate
        self._threads = threads
        self._model: Any = None

    def train(self, dataset: Dataset, epochs: int, seed: int) -> list[Mark]:
        """Call `fit_partial` once an epoch, as LightFM itself loops."""
        from lightfm import LightFM as Model

        rate = self._rate or SETTINGS["lightfm", dataset.name]
        self._model = Model(
            no_components=dataset.width,
            loss=self._loss,
            learning_schedule="adagrad",
            learning_rate=rate,
            random_state=seed,
        )
        interactions = dataset.known.tocoo()
        marks = [mark()]
        for _ in range(epochs):
            self._model.fit_partial(interactions, epochs=1, num_threads=self._threads)
            marks.append(mark())
        return marks

    def examples(self, dataset: Dataset) -> int:
        """Return the examples between two marks."""
        return dataset.examples

    def scores(self) -> Scores:
        """Biases and representations; a user's bias changes no ranking."""
        model = self._model
        bias = model.item_biases

        def of(users: NDArray[np.int64]) -> NDArray[np.float32]:
            values = model.user_embeddings[users] @ model.item_embeddings.T + bias
            return np.asarray(values, np.float32)

        return of


class Implicit:
    """implicit's BPR with SGD, negatives verified, as its defaults have it."""

    system = "implicit"

    def __init__(self, threads: int, learning_rate: float | None = None) -> None:
        self.config = {"optimizer": "sgd", "workers": threads, "batch": 1}
        self._rate = learning_rate
        self._threads = threads
        self._model: Any = None

    def train(self, dataset: Dataset, epochs: int, seed: int) -> list[Mark]:
        """Run one `fit`; its callback gives the marks of the iterations."""
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        rate = self._rate or SETTINGS["implicit", dataset.name]
        self._model = BayesianPersonalizedRanking(
            factors=dataset.width,
            learning_rate=rate,
            iterations=epochs,
            num_threads=self._threads,
            verify_negative_samples=True,
            random_state=seed,
        )
        marks = [mark()]
        self._model.fit(
            dataset.known,
            show_progress=False,
            callback=lambda *_: marks.append(mark()),
        )
        return marks

    def examples(self, dataset: Dataset) -> int:
        """Return the examples between two marks."""
        return dataset.examples

    def scores(self) -> Scores:
        """The last factor of an item is its bias, that of a user is one."""
        users, items = self._model.user_factors, self._model.item_factors
        return lambda block: np.asarray(users[block] @ items.T, np.float32)


class Torch:
    """PyTorch with sparse embeddings, uniform negatives, one thread.

    A batch of one takes a tenth of a millisecond and more, so that only `steps` steps
    are measured there and the model is not judged.
    """

    system = "PyTorch"

    def __init__(
        self,
        optimizer: str,
        batch: int,
        steps: int | None,
        learning_rate: float | None = None,
    ) -> None:
        self.config: dict[str, Any] = {
            "optimizer": optimizer,
            "workers": 1,
            "batch": batch,
        }
        self._batch = batch
        self._steps = steps
        self._rate = learning_rate
        self._tables: list[Any] = []

    def train(self, dataset: Dataset, epochs: int, seed: int) -> list[Mark]:
        """Run whole epochs, or `steps` steps an "epoch"."""
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        optimizer = str(self.config["optimizer"])
        rate = self._rate or SETTINGS[f"torch-{optimizer}", dataset.name]
        step = self._step(torch, dataset, optimizer, rate)
        columns = [torch.from_numpy(c.astype(np.int64)) for c in dataset.columns()]
        marks = [mark()]
        for _ in range(epochs):
            order = torch.randperm(dataset.examples)
            if self._steps is not None:
                order = order[: self._steps * self._batch]
            for rows in torch.split(order, self._batch):
                step(columns[0][rows], columns[1][rows])
            marks.append(mark())
        return marks

    def examples(self, dataset: Dataset) -> int:
        """Return the examples between two marks."""
        if self._steps is None:
            return dataset.examples
        return self._steps * self._batch

    def _step(
        self, torch: Any, dataset: Dataset, optimizer: str, rate: float
    ) -> Callable[[Any, Any], None]:
        self._tables = [
            torch.nn.Embedding(rows, dataset.width, sparse=True)
            for rows in (dataset.n_users, dataset.n_items)
        ]
        users, items = self._tables
        for table in self._tables:
            torch.nn.init.normal_(table.weight, std=0.1)
        rules = {"adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}
        rule = rules[optimizer]([t.weight for t in self._tables], lr=rate)

        def step(user: Any, item: Any) -> None:
            negative = torch.randint(dataset.n_items, item.shape)
            rule.zero_grad()
            score = (users(user) * (items(item) - items(negative))).sum(-1)
            (-torch.nn.functional.logsigmoid(score)).sum().backward()
            rule.step()

        return step

    def scores(self) -> Scores | None:
        """Inner products of the tables."""
        if self._steps is not None:
            return None
        users, items = (t.weight.detach().numpy() for t in self._tables)
        return lambda block: np.asarray(users[block] @ items.T, np.float32)
