"""A compiled step with its memory: the host side of an emitted function.

A kernel owns the table of addresses, scratch memory and run-time numbers of
one worker, and keeps every array it points at alive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native import build
from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.slots import CONTROL, Slot
from wyrm_py.engines.native.source import Source, setting_values
from wyrm_py.errors import CompileError
from wyrm_py.graph.op import Array

if TYPE_CHECKING:
    from wyrm_py.leaves import LeafNode
    from wyrm_py.optim import Optimizer
    from wyrm_py.parameters import ParameterBlock

LINE = 64

Columns = Mapping[tuple["LeafNode", str], Array]


class Kernel:
    """An emitted step bound to arrays; call `run(begin, end)`.

    Parameters
    ----------
    source : the printed step
    optimizer : gives the settings; None for evaluations
    columns : the flat arrays that feed the leaves, by (leaf, part)
    symbols : largest batch size and ragged lengths, which size the scratch
    blocks : for each block of the plan the block to work on (shared copies)
    compiled : False runs the text as plain Python
    """

    def __init__(
        self,
        source: Source,
        optimizer: Optimizer | None,
        columns: Columns,
        symbols: Mapping[str, int],
        *,
        blocks: Mapping[int, ParameterBlock] | None = None,
        output: Array | None = None,
        order: Array | None = None,
        compiled: bool = True,
    ) -> None:
        self.source = source
        self.optimizer = optimizer
        self.columns = columns
        self.symbols = dict(symbols)
        self.blocks = blocks or {}
        self.control = aligned(len(CONTROL), np.uint64)
        self.control[:] = 0
        self.control[CONTROL.index("batch_size")] = max(symbols.get("batch", 1), 1)
        self.order = order if order is not None else aligned(1, np.uint32)
        self.output = output
        self.table = aligned(2 * len(source.slots.slots), np.uint64)
        self.arrays: list[Array] = [
            self._array(slot) for slot in source.slots.slots
        ]
        for k, array in enumerate(self.arrays):
            self.table[2 * k : 2 * k + 2] = array.ctypes.data, array.size
        self.address = int(self.table.ctypes.data)
        text = source.text
        self._run = build.load(text) if compiled else build.run_in_python(text)

    def _array(self, slot: Slot) -> Array:
        made: dict[str, Callable[[], Any]] = {
            "control": lambda: self.control,
            "sizes": lambda: aligned_copy(self.source.extents.sizes or [0], np.uint64),
            "settings": lambda: self._settings(),
            "order": lambda: self.order,
            "streams": lambda: aligned(len(self.source.streams), np.uint64),
            "output": lambda: self.output,
            "value": lambda: self._block(slot).value,
            "state": lambda: self._block(slot).slot(slot.source[1]),
            "constant": lambda: slot.source[0].value,
            "column": lambda: self.columns[slot.source],
            "workspace": lambda: aligned(self._scratch(*slot.source), slot.dtype),
        }
        array = made[slot.kind]()
        if array.dtype != slot.dtype or not array.flags.c_contiguous:
            raise CompileError(
                f"compile: {slot.name} must be a contiguous {slot.dtype} array, got "
                f"{array.dtype} with strides {array.strides}."
            )
        return array  # type: ignore[no-any-return]

    def _block(self, slot: Slot) -> ParameterBlock:
        block: ParameterBlock = slot.source[0]
        return self.blocks.get(id(block), block)

    def _settings(self) -> Array:
        if self.optimizer is None:
            return aligned(1, np.float64)
        self.settings = aligned_copy(setting_values(self.optimizer), np.float64)
        return self.settings

    def _scratch(self, shapes: Any, factor: Any, more: int) -> int:
        """Return how many elements a workspace needs."""
        if isinstance(shapes, list):  # several pairs, `factor` elements a row
            rows = sum(self._size(shape) for shape in shapes)
            each = self._size((factor,)) if isinstance(factor, Extent) else factor
            return int(rows * each) + more
        return self._size(shapes) + more

    def _size(self, shape: Sequence[Extent]) -> int:
        return int(np.prod([e.length(self.symbols) for e in shape], dtype=np.int64))

    def run(self, begin: int, end: int, seed: int = 0, epoch: int = 0, block: int = 0) -> float:
        """Run examples [begin, end) and return the sum of their losses."""
        control = self.control
        control[0], control[1] = begin, end
        control[3], control[4], control[5] = seed, epoch, block
        return self._run(self.address)


def aligned(length: int, dtype: Any) -> Array:
    """Return an uninitialised array at the start of a cache line, padded to one.

    Workers' scratch must not share lines: false sharing halves small tables.
    """
    kind = np.dtype(dtype)
    size = max(length, 1) * kind.itemsize
    raw = np.empty(size + 2 * LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(kind)


def aligned_copy(values: Any, dtype: Any) -> Array:
    """Return an aligned copy of some numbers."""
    array = aligned(len(values), dtype)
    array[:] = values
    return array
