"""What a worker does with a block: one native call, or a walk of the plan.

Both tasks take the same examples in the same order and draw the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wyrm_py.data.columns import Column
from wyrm_py.engines import numpy as engine
from wyrm_py.engines.native.kernel import Binding
from wyrm_py.engines.native.order import Order
from wyrm_py.engines.plan import Plan
from wyrm_py.engines.replica import Replica
from wyrm_py.graph.mode import training
from wyrm_py.graph.op import Array
from wyrm_py.graph.stream import Stream
from wyrm_py.leaves import ParameterNode
from wyrm_py.nodes import Application
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.rates import Rates

Run = Callable[[int, int], tuple[float, float]]


@dataclass
class Blocks:
    """How examples are cut into blocks, and in which order they come."""

    total: int
    size: int
    seed: int
    shuffle: bool
    first_epoch: int = 0  # how many were done by the run that is resumed
    mean_weight: float = 1.0  # of an example; losses are reported as multiples of it

    @property
    def count(self) -> int:
        """Number of blocks of an epoch."""
        return -(-self.total // self.size)

    def length(self, block: int) -> int:
        """Return the number of examples of a block."""
        return min(self.size, self.total - block * self.size)

    def order(self, array: Array, compiled: bool = True) -> Order:
        """Return what fills `array` with the examples of a block."""
        return Order(array, self.total, self.size, self.seed, self.shuffle, compiled)


@dataclass
class NativeTask:
    """Runs blocks through an emitted step."""

    binding: Binding
    blocks: Blocks
    rates: Rates

    def open(self, worker: int) -> Run:
        """Load the step and make this worker's memory."""
        kernel = self.binding.open()
        order = self.blocks.order(kernel.order, self.binding.compiled)
        seed, first = self.blocks.seed, self.blocks.first_epoch
        mean_weight = self.blocks.mean_weight

        def run(epoch: int, block: int) -> tuple[float, float]:
            epoch += first
            count = order.fill(epoch, block)
            kernel.settings[:] = self.rates.at(epoch, block)
            return kernel.run(0, count, seed, epoch, block) / mean_weight, count

        return run


class NativeRounds:
    """A worker of synchronous mode, native: see `parallel.synchronous`."""

    def __init__(
        self, collect: Binding, apply: Binding, blocks: Blocks, rates: Rates
    ) -> None:
        self._collect, self._apply = collect.open(), apply.open()
        self._apply.control[1] = 1
        self._order = blocks.order(self._collect.order, collect.compiled)
        self._seed, self._rates = blocks.seed, rates

    def fill(self, epoch: int, block: int) -> int:
        """Make the order of a block, and take its settings; number of examples."""
        for kernel in (self._collect, self._apply):
            kernel.settings[:] = self._rates.at(epoch, block)
        return self._order.fill(epoch, block)

    def collect(self, begin: int, end: int, epoch: int, draw: int) -> float:
        """Take the gradient of one step; return the sum of its losses."""
        return self._collect.run(begin, end, self._seed, epoch, draw)

    def apply(self) -> None:
        """Update the parameters by it."""
        self._apply.call(self._apply.address)


@dataclass
class NumpyTask:
    """Runs blocks through the NumPy engine, on a copy of the graph."""

    replica: Replica
    trainable: list[int]
    columns: dict[int, tuple[Any, ...]]
    optimizer: Optimizer
    rates: Rates  # for a worker's copy of the optimizer
    blocks: Blocks
    batch_size: int | None

    def open(self, worker: int) -> Run:
        """Build this worker's graph."""
        return self.worker().run

    def worker(self) -> Walker:
        """Return a worker with a graph of its own."""
        return Walker(self)


class Walker:
    """One worker's graph, plan and columns."""

    def __init__(self, task: NumpyTask) -> None:
        built = task.replica.build()
        nodes = [built[k].owner for k in task.trainable]
        root = built[-1].outputs[0]
        self.plan = Plan.training(
            root, [n for n in nodes if isinstance(n, ParameterNode)]
        )
        self.task = task
        self.columns = [
            Column.over(built[k].owner, *parts)  # type: ignore[arg-type]
            for k, parts in task.columns.items()
        ]
        self.array = np.empty(task.blocks.size, np.uint32)
        self.order = task.blocks.order(self.array)
        self.random = self.plan.random()
        self.idle = self.plan.idle()
        self.gradients: list[Any] = []
        self.optimizer = task.optimizer
        catches_up = task.optimizer.formulas().catches_up
        found = self.plan.look_ups() if catches_up else []
        self.look_ups = {where: (table, rows) for where, table, rows in found}

    def run(self, epoch: int, block: int) -> tuple[float, float]:
        """Run one block; return the sum of losses and the number of examples."""
        epoch += self.task.blocks.first_epoch
        count = self.fill(epoch, block)
        self.start_streams(epoch, block)
        total = 0.0
        size = self.task.batch_size or 1
        for begin in range(0, count, size):
            examples = self.array[begin : min(begin + size, count)]
            total += self._take(examples)
            self.apply()
        return total / self.task.blocks.mean_weight, count

    def start_streams(self, epoch: int, block: int) -> None:
        """Start the stream of every random op, as native code does."""
        seed = self.task.blocks.seed
        for number, application in enumerate(self.random):
            application.stream = Stream(seed, epoch, block, number)

    def fill(self, epoch: int, block: int) -> int:
        """Make the order of a block, and take its settings; number of examples."""
        self.optimizer = self.task.optimizer.with_numbers(
            self.task.rates.at(epoch, block)
        )
        return self.order.fill(epoch, block)

    def collect(self, begin: int, end: int, epoch: int, draw: int) -> float:
        """Take the gradient of one step; return the sum of its losses."""
        self.start_streams(epoch, draw)
        return self._take(self.array[begin:end])

    def apply(self) -> None:
        """Update the parameters by the gradient taken last."""
        blocks = [update.block for update in self.plan.updates]
        pairs = zip(blocks, self.gradients, strict=True)
        self.optimizer.apply([(b, g) for b, g in pairs if g is not None])

    def _take(self, examples: Array) -> float:
        """Compute a step's gradients; return its loss, times its examples."""
        batched = self.task.batch_size is not None
        for column in self.columns:
            column.feed(examples, batched)
        with training():
            engine.run(self.plan.forward, before=self._catch_up)
        if not batched and any(not node.value.any() for node in self.idle):
            self.gradients = [None] * len(self.plan.updates)
            return 0.0
        engine.run(self.plan.backward)
        root = self.plan.root.value
        self.gradients = engine.gradients(self.plan.updates)
        return float(root.sum()) / max(root.size, 1) * len(examples)

    def _catch_up(self, application: Application) -> None:
        """Bring the rows up to date that are about to be read."""
        if application in self.look_ups:
            table, rows = self.look_ups[application]
            self.optimizer.catch_up([table], rows.value)
