"""The arrays an emitted step works on, in the order of its table of addresses.

The table holds (address, length) for each slot. A slot says what the host must
put there; every writable array stands in exactly one slot, which is what lets
the step be compiled without alias checks.
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native.extents import Extent, Extents
from wyrm_py.engines.native.operands import Operand, buffer, offset, type_name
from wyrm_py.parameters.block import COUNT, Per

if TYPE_CHECKING:
    from wyrm_py.graph.op import Array
    from wyrm_py.leaves import Constant, LeafNode, ParameterNode
    from wyrm_py.parameters import ParameterBlock

CONTROL = ("begin", "end", "batch_size", "seed", "epoch", "block")
"""Run-time numbers of one call, in the order of the control array."""


@dataclass(frozen=True)
class Slot:
    """One array: its name and type in the text, and what the host puts there.

    kind : "control", "sizes", "settings", "order", "streams", "output",
        "value" (of a parameter block), "state" (block, slot, per), "constant",
        "collected" (as workspace), "column" (leaf, part of a ragged leaf or ""),
        "workspace" (extents, more): scratch of that shape and `more` elements,
        "kernel": the address of a function compiled apart, named as the slot,
        "table" (array): numbers known when the step is printed
    """

    name: str
    dtype: np.dtype[Any]
    kind: str
    source: Any = None


@dataclass
class Slots:
    """All slots of a step."""

    extents: Extents
    slots: list[Slot] = field(default_factory=list)

    def add(self, name: str, dtype: Any, kind: str, source: Any = None) -> str:
        """Add a slot unless it is there; return the name it has."""
        if all(slot.name != name for slot in self.slots):
            self.slots.append(Slot(name, np.dtype(dtype), kind, source))
        return name

    def unique(self, wanted: str | None, prefix: str) -> str:
        """Return a free identifier, the wanted one if it is one."""
        taken = {slot.name for slot in self.slots}
        wanted = wanted and wanted.replace(".", "_")  # "dense.weight" of a layer
        fits = wanted and wanted.isidentifier() and not keyword.iskeyword(wanted)
        if fits and f"{wanted}_" not in taken:
            return f"{wanted}_"  # the underscore keeps clear of emitted locals
        return f"{prefix}{sum(n.startswith(prefix) for n in taken)}"

    def value(self, node: ParameterNode) -> Operand:
        """Return the operand over the value of a parameter block."""
        name = self.block(node.block) or self.add(
            self.unique(node.name, "p"), node.dtype, "value", (node.block,)
        )
        return buffer(name, node.dtype, self.extents.shapes[node])

    def block(self, block: ParameterBlock) -> str:
        """Return the name of a parameter block's array, "" if it has none yet."""
        held = (s for s in self.slots if s.kind == "value" and s.source[0] is block)
        return next((slot.name for slot in held), "")

    def state(self, block: ParameterBlock, slot: str, per: Per = "element") -> str:
        """Return the name of a state array, slot "<rule>.<name>", of a block."""
        name = f"{self.block(block).rstrip('_')}_{slot.rpartition('.')[2]}"
        kind = block.dtype if per == "element" else COUNT
        return self.add(name, kind, "state", (block, slot, per))

    def constant(self, node: Constant) -> Operand:
        """Return the operand over a constant array; equal ones share it."""
        name = self._equal(node) or self.unique(None, "c")
        self.add(name, node.dtype, "constant", (node,))
        shape = self.extents.shapes[node]
        if node.spec.is_index:  # row numbers are unsigned in emitted text
            single = all(extent.is_one for extent in shape)
            return offset(name, "u64(0)" if single else "0", node.dtype, shape, "u64")
        return buffer(name, node.dtype, shape)

    def _equal(self, node: Constant) -> str:
        """Return the name of a constant with the same numbers, "" if there is none.

        What grows is like nothing but itself.
        """
        for slot in self.slots:
            if slot.kind == "constant" and slot.dtype == node.dtype:
                leaf = slot.source[0]
                if leaf.grows or node.grows:
                    if leaf is node:
                        return slot.name
                elif leaf.value.dtype == node.value.dtype and leaf.shape == node.shape:
                    if np.array_equal(leaf.value, node.value):
                        return slot.name
        return ""

    def column(self, leaf: LeafNode, dtype: Any, part: str = "") -> str:
        """Return the name of the column that feeds a leaf (or a part of it)."""
        wanted = f"{leaf.name}_{part}" if leaf.name and part else leaf.name
        for slot in self.slots:
            if slot.kind == "column" and slot.source == (leaf, part):
                return slot.name
        name = self.unique(wanted, "x")
        return self.add(name, dtype, "column", (leaf, part))

    def workspace(
        self, name: str, dtype: Any, extents: tuple[Extent, ...], more: int = 0
    ) -> Operand:
        """Return the operand over scratch memory of a shape (and `more` items)."""
        self.add(name, dtype, "workspace", (extents, 1, more))
        return buffer(name, np.dtype(dtype), extents)

    def table(self, numbers: Array) -> str:
        """Return the name of an array of u64 that is known now; equal ones share it."""
        for slot in self.slots:
            if slot.kind == "table" and np.array_equal(slot.source[0], numbers):
                return slot.name
        name = self.unique(None, "table")
        return self.add(name, np.uint64, "table", (numbers.astype(np.uint64),))

    def kernel(self, family: str, dtype: np.dtype[Any]) -> str:
        """Return the name of the slot that holds a kernel's address."""
        return self.add(f"{family}_{type_name(dtype)}", np.uint64, "kernel")

    def arguments(self) -> str:
        """Return the parameter list of the emitted function."""
        return ", ".join(slot.name for slot in self.slots)

    def unpacking(self) -> list[str]:
        """Return the lines that make arrays of a table of addresses."""
        return [
            f"{slot.name} = array_at(table[{2 * k}], table[{2 * k + 1}], "
            f"{type_name(slot.dtype)})"
            for k, slot in enumerate(self.slots)
        ]
