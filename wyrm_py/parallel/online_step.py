"""The step of a `Learner`: printed once, pointed at the columns of each chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wyrm_py.data.columns import Column
from wyrm_py.engines.native.kernel import Kernel, bind
from wyrm_py.engines.native.order import block_size_for, most_examples, step_work
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan
from wyrm_py.errors import CompileError, ShapeError
from wyrm_py.graph import stream
from wyrm_py.graph.op import Array
from wyrm_py.nodes import Node
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.run import CACHE_BYTES
from wyrm_py.parameters import HogwildParameter, ParameterBlock

MANY = 1 << 40
"""Examples of a stream, as far as the size of blocks is concerned."""


class Chunk:
    """Checked columns of some examples, and what is written down of them."""

    def __init__(
        self, columns: Mapping[Any, Column], count: int, mean_weight: float
    ) -> None:
        self.columns, self.count, self.mean_weight = columns, count, mean_weight
        self.watched: dict[Node, Array] = {}
        self.arrays = {
            (leaf, part): array
            for leaf, column in columns.items()
            for part, array in column.arrays.items()
        }

    def int32(self) -> frozenset[Any]:
        """Return which columns hold row numbers of 32 bits."""
        return frozenset(k for k, a in self.arrays.items() if a.dtype == np.int32)


class OnlineStep:
    """A printed step and the kernels of its workers."""

    def __init__(
        self,
        plan: Plan,
        optimizer: Optimizer,
        chunk: Chunk,
        batch: int | None,
        workers: int,
    ) -> None:
        self._plan, self._batch = plan, batch
        self.source = generate(
            plan,
            optimizer,
            Settings(
                batched=batch is not None,
                prefetch=batch is None and _largest(plan) > CACHE_BYTES,
                int32=chunk.int32(),
                resumed=True,
            ),
        )
        self._room = {
            leaf: max(2 * chunk.columns[leaf].longest, 1)
            for leaf in self.source.extents.ragged
        }
        slots = self.source.slots.slots
        self._columns = {s.source: k for k, s in enumerate(slots) if s.kind == "column"}
        place = {slot.name: k for k, slot in enumerate(slots)}
        self._watched = [place[f"watched{k}"] for k in range(len(plan.watched))]
        self._streams = place.get("streams")
        numbers = list(optimizer.settings().values())
        bound = bind(self.source, chunk.arrays, self._symbols(), settings=numbers)
        self._kernels = [bound.open() for _ in range(workers)]

    def _symbols(self) -> dict[str, int]:
        """Return the largest batch and ragged lengths that there is room for."""
        batch = self._batch or 1
        lengths = {
            name: self._room[leaf] * batch
            for leaf, name in self.source.extents.ragged.items()
        }
        return {"batch": batch, **lengths}

    def has_room_for(self, chunk: Chunk) -> bool:
        """Whether the scratch memory holds the longest example of a chunk."""
        return all(chunk.columns[x].longest <= room for x, room in self._room.items())

    def block_size(self) -> int:
        """Return how many examples `fit` would put into a block."""
        extents, batch = self.source.extents, self._batch or 1
        symbols = extents.with_found(self._symbols())
        work = step_work(self._plan.applications, extents.shapes, symbols)
        return block_size_for(MANY, 1, batch, most_examples(work, batch))

    def watch(self, chunk: Chunk) -> None:
        """Give a chunk the arrays that watched values are written to."""
        batched = self._batch is not None
        for node in self._plan.watched:
            extents = self.source.extents.shapes[node]
            if batched and (not extents or extents[0].text != "batch"):
                raise ShapeError(
                    f"Learner: with `batch_size` the first axis of {node!r}, which is "
                    "watched, must be the batch."
                )
            lengths = [extent.fixed for extent in extents[int(batched) :]]
            if None in lengths:
                raise CompileError(
                    f"Learner: the shape of {node!r} varies from example to example, "
                    "so it cannot be watched. Sum over the axis that varies."
                )
            chunk.watched[node] = np.empty((chunk.count, *lengths), node.dtype)  # type: ignore[arg-type]

    def started(self, seed: int, block: int) -> Array:
        """Return the streams of all random ops at the start of a block."""
        count = len(self.source.streams)
        states = [stream.start(seed, 0, block, number) for number in range(count)]
        return np.array(states, np.uint64)

    def run(
        self, chunk: Chunk, begin: int, end: int, settings: Array, streams: Array
    ) -> float:
        """Do examples [begin, end) of a chunk, on any free kernel; sum their losses.

        `streams` is left as it stands after the last example.
        """
        kernel = self._kernels.pop()  # there is one for each worker
        try:
            self._point(kernel, chunk)
            kernel.settings[:] = settings
            if self._streams is None:
                return kernel.run(begin, end)
            held = kernel.arrays[self._streams]
            held[: len(streams)] = streams
            total = kernel.run(begin, end)
            streams[:] = held[: len(streams)]
            return total
        finally:
            self._kernels.append(kernel)

    def _point(self, kernel: Kernel, chunk: Chunk) -> None:
        for source, place in self._columns.items():
            kernel.point(place, chunk.arrays[source])
        for place, array in zip(self._watched, chunk.watched.values(), strict=True):
            kernel.point(place, array.reshape(-1))


def _largest(plan: Plan) -> int:
    """Return the bytes of the largest table that rows are updated of, fully grown."""
    return max((_bytes(u.block) for u in plan.updates if u.pairs), default=0)


def _bytes(block: ParameterBlock) -> int:
    rows = block.capacity if isinstance(block, HogwildParameter) else len(block.value)
    return block.value.nbytes // max(len(block.value), 1) * rows
