"""LSTM training steps, one sequence a step: wyrm_py, a loop by hand, PyTorch.

Two networks. The small one is that of the digits of pi: four symbols, embedding 16,
hidden 32, ten classes, cross-entropy, SGD. The wide one has 20 steps, 128 inputs and
128 hidden values; its loss is the sum of the squares of the last hidden values, its
rule Adagrad. All run on one core.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .hand_lstm import STEPS, HandLSTM
from .measure import Mark, Recorder, mark
from .turns import marked, take_turns

SYMBOLS, WIDTH, HIDDEN = 10, 16, 32
WIDE, WIDE_STEPS = 128, 20
RATE = 0.05


def small(recorder: Recorder, quick: bool) -> None:
    """Time the small network."""
    rounds = 1 if quick else 5
    factories = [HandSmall, WyrmSmall, TorchSmall]
    take_turns("lstm", factories, recorder, rounds=rounds, passes=5)


def wide(recorder: Recorder, quick: bool) -> None:
    """Time the wide network."""
    rounds = 1 if quick else 5
    take_turns("lstm-wide", [WyrmWide, TorchWide], recorder, rounds=rounds, passes=5)


def _sequences(examples: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    symbols = rng.integers(0, SYMBOLS, (examples, STEPS))
    return symbols, rng.integers(0, SYMBOLS, examples)


def _numbers(examples: int) -> Any:
    rng = np.random.default_rng(1)
    return rng.standard_normal((examples, WIDE_STEPS, WIDE), np.float32)


class HandSmall:
    """The loop of `hand_lstm`."""

    system = "hand-fused Numba"

    def __init__(self) -> None:
        self.config: dict[str, Any] = {"optimizer": "sgd"}
        self.examples = 20_000
        self._columns = _sequences(self.examples)
        self._model = HandLSTM(SYMBOLS, WIDTH, HIDDEN, SYMBOLS)

    def marks(self, passes: int) -> list[Mark]:
        """Run the loop over all sequences once a pass."""
        return marked(lambda: self._model.train(*self._columns, RATE), passes)


class Wyrm:
    """A loss on columns, trained by `fit` with one worker."""

    system = "wyrm_py"

    def __init__(self, loss: Any, rule: Any, columns: dict[Any, Any]) -> None:
        self.config: dict[str, Any] = {"optimizer": type(rule).__name__.lower()}
        self.examples = len(next(iter(columns.values())))
        self._fitted = loss, rule, columns

    def marks(self, passes: int) -> list[Mark]:
        """Run one `fit`; a callback reads the clocks after each epoch."""
        import wyrm_py as wp

        loss, rule, columns = self._fitted
        marks = [mark()]
        wp.fit(
            loss,
            rule,
            inputs=columns,
            epochs=passes,
            random_state=0,
            callbacks=[lambda _: marks.append(mark())],
            progress=False,
        )
        return marks


class WyrmSmall(Wyrm):
    """The small network with the public layers."""

    def __init__(self) -> None:
        import wyrm_py as wp

        symbols, targets = _sequences(20_000)
        given, target = wp.IndexInputNode([0] * STEPS), wp.IndexInputNode([0])
        embedding = wp.nn.Embedding(SYMBOLS, WIDTH, random_state=0)
        lstm = wp.nn.LSTM(WIDTH, HIDDEN, random_state=1)
        classes = wp.nn.Dense(HIDDEN, SYMBOLS, random_state=2)
        _, (hidden, _) = lstm(embedding(given))
        loss = wp.nn.losses.cross_entropy(classes(hidden), target)
        super().__init__(loss, wp.SGD(RATE), {given: symbols, target: targets})


class WyrmWide(Wyrm):
    """The wide network with the public layers."""

    def __init__(self) -> None:
        import wyrm_py as wp

        given = wp.InputNode(np.zeros((WIDE_STEPS, WIDE)))
        _, (hidden, _) = wp.nn.LSTM(WIDE, WIDE, random_state=1)(given)
        loss = hidden.square().sum()
        super().__init__(loss, wp.Adagrad(RATE), {given: _numbers(200)})


class Torch:
    """A loss of one example and a rule, on one thread."""

    system = "PyTorch"

    def __init__(self, rule: Any, examples: int) -> None:
        import torch

        torch.set_num_threads(1)
        self.config: dict[str, Any] = {"optimizer": type(rule).__name__.lower()}
        self.examples = examples
        self._rule = rule

    def _loss(self, example: int) -> Any:
        raise NotImplementedError

    def _pass(self) -> None:
        for example in range(self.examples):
            self._rule.zero_grad()
            self._loss(example).backward()
            self._rule.step()

    def marks(self, passes: int) -> list[Mark]:
        """Run a step an example."""
        return marked(self._pass, passes)


class TorchSmall(Torch):
    """The small network with `torch.nn`."""

    def __init__(self) -> None:
        import torch
        from torch import nn

        torch.manual_seed(0)
        self._layers = nn.ModuleList(
            [
                nn.Embedding(SYMBOLS, WIDTH),
                nn.LSTM(WIDTH, HIDDEN),
                nn.Linear(HIDDEN, SYMBOLS),
            ]
        )
        rule = torch.optim.SGD(self._layers.parameters(), lr=RATE)
        super().__init__(rule, 200)
        symbols, targets = _sequences(self.examples)
        self._columns = torch.from_numpy(symbols), torch.from_numpy(targets)
        self._criterion = nn.CrossEntropyLoss()

    def _loss(self, example: int) -> Any:
        embedding, lstm, classes = self._layers
        symbols, targets = self._columns
        _, (hidden, _) = lstm(embedding(symbols[example]))
        return self._criterion(classes(hidden[0]), targets[example])


class TorchWide(Torch):
    """The wide network with `torch.nn`."""

    def __init__(self) -> None:
        import torch

        torch.manual_seed(0)
        self._lstm = torch.nn.LSTM(WIDE, WIDE)
        rule = torch.optim.Adagrad(self._lstm.parameters(), lr=RATE)
        super().__init__(rule, 100)
        self._numbers = torch.from_numpy(_numbers(self.examples))

    def _loss(self, example: int) -> Any:
        _, (hidden, _) = self._lstm(self._numbers[example])
        return hidden.square().sum()
