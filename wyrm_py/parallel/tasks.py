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
from wyrm_py.graph.op import Array
from wyrm_py.graph.stream import Stream
from wyrm_py.leaves import ParameterNode
from wyrm_py.optim import Optimizer
from wyrm_py.parameters import SharedArray

Run = Callable[[int, int], tuple[float, float]]


@dataclass
class Blocks:
    """How examples are cut into blocks, and in which order they come."""

    total: int
    size: int
    seed: int
    shuffle: bool

    @property
    def count(self) -> int:
        """Number of blocks of an epoch."""
        return -(-self.total // self.size)

    def order(self, array: Array, compiled: bool = True) -> Order:
        """Return what fills `array` with the examples of a block."""
        return Order(array, self.total, self.size, self.seed, self.shuffle, compiled)


@dataclass
class NativeTask:
    """Runs blocks through an emitted step."""

    binding: Binding
    blocks: Blocks

    def open(self, worker: int) -> Run:
        """Load the step and make this worker's memory."""
        kernel = self.binding.open()
        order = self.blocks.order(kernel.order, self.binding.compiled)
        seed = self.blocks.seed

        def run(epoch: int, block: int) -> tuple[float, float]:
            count = order.fill(epoch, block)
            return kernel.run(0, count, seed, epoch, block), count

        return run


@dataclass
class NumpyTask:
    """Runs blocks through the NumPy engine, on a copy of the graph."""

    replica: Replica
    trainable: list[int]
    columns: dict[int, tuple[Any, ...]]
    optimizer: Optimizer
    blocks: Blocks
    batch_size: int | None

    def open(self, worker: int) -> Run:
        """Build this worker's graph."""
        walker = Walker(self)
        return walker.run


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

    def run(self, epoch: int, block: int) -> tuple[float, float]:
        """Run one block; return the sum of losses and the number of examples."""
        count = self.order.fill(epoch, block)
        seed = self.task.blocks.seed
        for number, application in enumerate(self.random):
            application.stream = Stream(seed, epoch, block, number)
        total = 0.0
        size = self.task.batch_size or 1
        for begin in range(0, count, size):
            examples = self.array[begin : min(begin + size, count)]
            total += self.step(examples) * len(examples)
        return total, count

    def step(self, examples: Array) -> float:
        """Update the parameters by one step; return the mean loss."""
        loss, gradients = self.gradients(examples)
        blocks = [update.block for update in self.plan.updates]
        pairs = [
            (b, g) for b, g in zip(blocks, gradients, strict=True) if g is not None
        ]
        self.task.optimizer.apply(pairs)
        return loss

    def gradients(self, examples: Array) -> tuple[float, list[Any]]:
        """Return the mean loss of a step and the gradient of each block."""
        batched = self.task.batch_size is not None
        for column in self.columns:
            column.feed(examples, batched)
        engine.run(self.plan.forward)
        engine.run(self.plan.backward)
        root = self.plan.root.value
        return float(root.sum()) / max(root.size, 1), engine.gradients(
            self.plan.updates
        )


def opened(array: Any) -> Array:
    """Return the array of a shared array, or the array itself."""
    return array.array if isinstance(array, SharedArray) else array  # type: ignore[no-any-return]
