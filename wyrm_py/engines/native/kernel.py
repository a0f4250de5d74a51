"""A compiled step with its memory: the host side of an emitted function.

`bind` resolves what a source's table must name into a `Binding`, which can be
sent to another process; `Binding.open` gives one worker's `Kernel`, with
scratch memory and run-time numbers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wyrm_py.engines.native import build, kernels
from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.runtime import place_of_part
from wyrm_py.engines.native.slots import CONTROL, Slot
from wyrm_py.engines.native.source import Source
from wyrm_py.errors import ParameterError
from wyrm_py.graph.op import Array
from wyrm_py.parameters import HogwildParameter, ParameterBlock, SharedArray
from wyrm_py.parameters.block import Per

PAGE = 4096
"""Bytes of a page of memory."""
LINE = 64
"""Bytes of a cache line: workers' scratch must not share one."""

Columns = Mapping[Any, "Array | SharedArray"]


@dataclass(frozen=True)
class Scratch:
    """Memory that each worker has for itself."""

    length: int


@dataclass(frozen=True)
class State:
    """A parameter block's value (slot None) or one of its state arrays."""

    block: ParameterBlock
    slot: str | None
    per: Per = "element"


@dataclass(frozen=True)
class Compiled:
    """A function compiled apart: each process has it at an address of its own."""

    name: str


@dataclass(frozen=True)
class Own:
    """One of the kernel's own arrays: its control page, settings or the order."""

    name: str


@dataclass(frozen=True)
class Functions:
    """The step's own functions: each process has them at addresses of its own."""

    names: tuple[str, ...]


@dataclass
class Binding:
    """A source with all it works on, ready to be opened by workers."""

    text: str
    names: list[str]
    dtypes: list[Any]
    entries: list[Any]
    batch_size: int
    block_size: int
    settings: Array
    compiled: bool = True

    def open(self) -> Kernel:
        """Return a kernel of this worker's own; compiles or loads the step."""
        return Kernel(self)


def bind(
    source: Source,
    columns: Columns,
    symbols: Mapping[str, int],
    *,
    settings: Any = None,
    output: Any = None,
    collected: dict[str, Array] | None = None,
    block_size: int = 1,
    blocks: Mapping[int, ParameterBlock] | None = None,
    share: bool = False,
    compiled: bool = True,
) -> Binding:
    """Resolve the slots of a source.

    Parameters
    ----------
    columns : flat arrays that feed the leaves, by (leaf, part)
    symbols : largest batch size and ragged lengths; they size the scratch
    settings : float64 array of the optimizer's numbers, which each kernel starts
        with; it may change its own at any time
    output : array an evaluation writes to
    collected : memory of collected gradients, made here by name if missing, so
        that the step that collects and the one that applies share it
    block_size : examples of the largest block; the order has that length
    blocks : replacements for parameter blocks, by identity
    share : put constants into shared memory
    compiled : False runs the text as plain Python
    """
    replaced = blocks or {}
    symbols = source.extents.with_found(symbols)

    def entry(slot: Slot) -> Any:
        if slot.kind in ("control", "settings", "order"):
            return Own(slot.kind)
        if slot.kind == "sizes":
            return np.array(source.extents.sizes or [0], np.uint64)
        if slot.kind == "table":
            return slot.source[0]
        if slot.kind == "functions":
            return Functions(slot.source)
        if slot.kind == "kernel":
            return Compiled(slot.name) if compiled else np.zeros(1, np.uint64)
        if slot.kind in ("value", "state"):
            block = replaced.get(id(slot.source[0]), slot.source[0])
            return State(block, *(slot.source[1:] or [None]))
        if slot.kind == "constant":
            value = np.ascontiguousarray(slot.source[0].value)
            return SharedArray.copy_of(value) if share else value
        if slot.kind == "output":
            return output
        if slot.kind == "column":
            return columns[slot.source]
        if slot.kind == "collected" and collected is not None:
            length = _length(symbols, *slot.source)
            return collected.setdefault(slot.name, aligned(length, slot.dtype))
        if slot.kind == "streams":
            return Scratch(len(source.streams))
        return Scratch(_length(symbols, *slot.source))

    slots = source.slots.slots
    return Binding(
        source.text,
        [slot.name for slot in slots],
        [slot.dtype for slot in slots],
        [entry(slot) for slot in slots],
        max(symbols.get("batch", 1), 1),
        block_size,
        np.array([] if settings is None else settings, np.float64),
        compiled,
    )


def _length(symbols: Mapping[str, int], shapes: Any, factor: Any, more: int) -> int:
    """Return how many elements a workspace needs."""

    def size(shape: Sequence[Extent]) -> int:
        return int(np.prod([e.length(symbols) for e in shape], dtype=np.int64))

    if isinstance(shapes, list):  # several pairs, `factor` elements a row
        each = size((factor,)) if isinstance(factor, Extent) else factor
        return int(sum(size(shape) for shape in shapes) * each) + more
    return size(shapes) + more


class Kernel:
    """One worker's step. Keeps every array it points at alive."""

    def __init__(self, binding: Binding) -> None:
        self.control = aligned(len(CONTROL), np.uint64)
        self.control[:] = 0
        self.control[CONTROL.index("batch_size")] = binding.batch_size
        self.order = aligned(binding.block_size, np.uint32)
        self.settings = aligned(len(binding.settings), np.float64)
        self.settings[: len(binding.settings)] = binding.settings
        self.names = binding.names
        self.table = aligned(2 * len(binding.names), np.uint64)
        self.arrays: list[Array] = [np.empty(0)] * len(binding.names)
        self.module = build.load_module(binding.text) if binding.compiled else None
        pairs = zip(binding.entries, binding.dtypes, strict=True)
        for k, (entry, dtype) in enumerate(pairs):
            self.point(k, self._array(entry, dtype))
        self._require_apart(binding.entries)
        self.address = int(self.table.ctypes.data)
        self.call: Callable[[int], float] = (
            build.run_in_python(binding.text)
            if self.module is None
            else self.module.run
        )

    def _require_apart(self, entries: Sequence[Any]) -> None:
        """Raise a ParameterError if two parameters are the same memory.

        The step is compiled on the promise that no two arrays overlap.
        """
        states = [k for k, entry in enumerate(entries) if isinstance(entry, State)]
        places = [int(self.table[2 * k]) for k in states]
        if len(set(places)) < len(places):
            raise ParameterError(
                "compile: two parameters of the graph are the same shared memory. "
                "Make all their nodes from one HogwildParameter object."
            )

    def _array(self, entry: Any, dtype: Any) -> Array:
        if isinstance(entry, Own):
            own: Array = getattr(self, entry.name)
            return own
        if isinstance(entry, Functions):
            if self.module is None:
                return np.zeros(len(entry.names), np.uint64)
            parts = [getattr(self.module, name) for name in entry.names]
            return np.array([place_of_part(one) for one in parts], np.uint64)
        if isinstance(entry, Compiled):
            return np.array([kernels.address(entry.name)], np.uint64)
        if isinstance(entry, Scratch):
            return aligned(entry.length, dtype)
        if isinstance(entry, State):
            block = entry.block
            state = block.value
            if entry.slot is not None:
                state = block.slot(entry.slot, entry.per)
            return mapped(state) if isinstance(block, HogwildParameter) else state
        array: Array = entry
        return mapped(entry.array) if isinstance(entry, SharedArray) else array

    def point(self, place: int, array: Array) -> None:
        """Put an array into the table of addresses."""
        self.arrays[place] = array
        self.table[2 * place] = array.ctypes.data
        self.table[2 * place + 1] = array.size

    def run(
        self, begin: int, end: int, seed: int = 0, epoch: int = 0, block: int = 0
    ) -> float:
        """Run examples [begin, end) and return the sum of their losses."""
        control = self.control
        control[0], control[1] = begin, end
        control[3], control[4], control[5] = seed, epoch, block
        return self.call(self.address)


def mapped(array: Array) -> Array:
    """Return a shared array after reading from each of its pages.

    A process maps a shared page when it first touches it; that belongs to getting
    ready, not to the training.
    """
    array.reshape(-1).view(np.uint8)[::PAGE].max(initial=0)
    return array


def aligned(length: int, dtype: Any) -> Array:
    """Return zeros that start and end at cache lines.

    Vectors reach beyond what has been written: denormal numbers there take a hundred
    times as long (logistic regression: 370 for 110 ns an example).
    """
    kind = np.dtype(dtype)
    size = max(length, 1) * kind.itemsize
    raw = np.zeros(size + 2 * LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(kind)
