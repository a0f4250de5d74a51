"""Training a convolutional network on images of MNIST's size: wyrm_py and PyTorch.

Two convolutions of 3 x 3 with 16 and 32 channels, each with ReLU and maximum pooling
of 2 x 2, and a dense layer to ten classes; cross-entropy, Adam, batches of 32. Both
systems get the same images in the same order of axes. On two cores wyrm_py trains with
two lock-free threads, each on its own batches; PyTorch splits every batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .measure import Mark, Recorder, mark
from .turns import marked, take_turns

BATCH, RATE = 32, 1e-3


def measure(recorder: Recorder, quick: bool) -> None:
    """Time a training example on one core and on two."""
    contenders = [Wyrm, Torch, WyrmOnTwoCores, TorchOnTwoCores]
    rounds = 1 if quick else 3
    take_turns("convolution", contenders, recorder, rounds=rounds, passes=3)


class _Images:
    """Noise: its values cost what those of digits cost."""

    def __init__(self, examples: int) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.random((examples, 1, 28, 28), np.float32)
        self.labels = rng.integers(0, 10, examples)


class Wyrm:
    """The network with the public layers, trained by `fit`."""

    system = "wyrm_py"
    workers = 1
    examples = 3200

    def __init__(self) -> None:
        import wyrm_py as wp
        from wyrm_py import nn

        self.config: dict[str, Any] = {
            "optimizer": "adam",
            "workers": self.workers,
            "backend": "threads",
            "batch": BATCH,
        }
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, activation="relu", random_state=0),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, activation="relu", random_state=1),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dense(32 * 7 * 7, 10, random_state=2),
        )
        data = _Images(self.examples)
        image = wp.InputNode(np.zeros((BATCH, 1, 28, 28)))
        label = wp.IndexInputNode([0] * BATCH)
        self._loss = nn.losses.cross_entropy(network(image), label)
        self._columns = {image: data.images, label: data.labels}

    def marks(self, passes: int) -> list[Mark]:
        """Run one `fit`; a callback reads the clocks after each epoch."""
        import wyrm_py as wp

        marks = [mark()]
        wp.fit(
            self._loss,
            wp.Adam(RATE),
            inputs=self._columns,
            batch_size=BATCH,
            epochs=passes,
            n_jobs=self.workers,
            backend="threads",
            random_state=0,
            callbacks=[lambda _: marks.append(mark())],
            progress=False,
        )
        return marks


class WyrmOnTwoCores(Wyrm):
    """The same with two threads."""

    workers = 2


class Torch:
    """The network with `torch.nn`."""

    system = "PyTorch"
    workers = 1
    examples = 3200

    def __init__(self) -> None:
        import torch
        from torch import nn

        self.config: dict[str, Any] = {
            "optimizer": "adam",
            "workers": self.workers,
            "backend": "threads",
            "batch": BATCH,
        }
        torch.manual_seed(0)
        self._network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 10),
        )
        self._rule = torch.optim.Adam(self._network.parameters(), lr=RATE)
        self._criterion = nn.CrossEntropyLoss()
        data = _Images(self.examples)
        self._columns = torch.from_numpy(data.images), torch.from_numpy(data.labels)

    def _pass(self) -> None:
        import torch

        images, labels = self._columns
        for rows in torch.split(torch.randperm(self.examples), BATCH):
            self._rule.zero_grad()
            loss = self._criterion(self._network(images[rows]), labels[rows])
            loss.backward()
            self._rule.step()

    def marks(self, passes: int) -> list[Mark]:
        """Run a step a batch."""
        import torch

        torch.set_num_threads(self.workers)
        return marked(self._pass, passes)


class TorchOnTwoCores(Torch):
    """The same with two threads inside every operation."""

    workers = 2
