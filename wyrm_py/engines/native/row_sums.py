"""Rows of one table that several look-ups of a step touch: summed before the rule.

By comparison for a few single rows, by merging where row numbers rise in each look-up,
else through a hash table. Nothing at all where none can come twice or the rule adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.groups import wide
from wyrm_py.engines.native.merged_rows import LookUp, MergedRows, Part, Visitor
from wyrm_py.engines.native.operands import Operand, buffer, plus, times
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer

if TYPE_CHECKING:
    from wyrm_py.engines.plan import Update
    from wyrm_py.leaves import LeafNode
    from wyrm_py.nodes import Node
    from wyrm_py.parameters import ParameterBlock

COMPARED = 4
"""Up to this many look-ups are compared pairwise."""


class Searched(NamedTuple):
    """Rows of which each is left once: names of arrays, and of how many there were
    and are. See `runtime.find_places`.
    """

    rows: str
    places: str
    total: str
    left: str


Pairs = Sequence[tuple[Operand, Operand]]


class RowSums:
    """Writes the sums of rows that come several times.

    distinct : ragged leaves whose row numbers rise within every example
    """

    def __init__(
        self, writer: Writer, slots: Slots, distinct: frozenset[LeafNode]
    ) -> None:
        self.writer = writer
        self.slots = slots
        self.distinct = distinct
        self._searched: dict[tuple[Node, ...], Searched] = {}
        self.rows = MergedRows(writer, slots)

    def are_compared(self, rows: Sequence[Node]) -> bool:
        """Whether look-ups are of a few single rows."""
        shapes = self.slots.extents.shapes
        return len(rows) <= COMPARED and not any(wide(shapes[row]) for row in rows)

    def parts(
        self, updates: Sequence[Update], pairs: Sequence[Pairs], adds_up: bool
    ) -> list[Part]:
        """Return what is left of the (rows, values) pairs of updates.

        updates : of tables that are looked up at the same rows
        adds_up : updates by parts of a gradient come to that by their sum
        """
        key = tuple(pair.rows for pair in updates[0].pairs)
        blocks = [update.block for update in updates]
        if self.are_compared(key):
            both = zip(blocks, pairs, strict=True)
            return [part for each in both for part in self._compared(*each)]
        look_ups = [
            LookUp(each[0][0], [values for _, values in each])
            for each in zip(*pairs, strict=True)
        ]
        if adds_up:
            return [self.rows.walked(blocks, look_up) for look_up in look_ups]
        if len(key) <= COMPARED and all(map(self._rises, key)):
            return self.rows.merged(blocks, key, look_ups)
        return [self._hashed(*each) for each in zip(updates, pairs, strict=True)]

    def _rises(self, rows: Node) -> bool:
        """Whether row numbers rise along their one axis: none comes twice."""
        shapes, application = self.slots.extents.shapes, rows.application
        if len(shapes[rows]) != 1:
            return False
        if shapes[rows][0].is_one:
            return True
        if not application.is_leaf:
            first = rows is application.outputs[0]
            single = not wide(shapes[application.inputs[0]])
            return first and single and application.op.gives_rising_rows
        leaf = application.owner
        return leaf in self.distinct and rows is getattr(leaf, "indices", leaf)

    def _compared(self, block: ParameterBlock, pairs: Pairs) -> list[Part]:
        """Add a row's values into the first pair that has the same row."""
        rows = [row.at(*("0",) * len(row.extents)) for row, _ in pairs]
        parts = []
        for k, (row, (_, values)) in enumerate(zip(rows, pairs, strict=True)):
            guard = ""
            for before in range(k):
                if before == 0:
                    guard = self.writer.fresh("alone")
                    self.writer.line(f"{guard} = True")
                header = "if" if before == 0 else "elif"
                with self.writer.block(f"{header} {row} == {rows[before]}:"):
                    self._add(pairs[before][1], values)
                    self.writer.line(f"{guard} = False")
            parts.append(self._single(block, row, values, guard))
        return parts

    def _add(self, into: Operand, part: Operand) -> None:
        with self.writer.loop(part.extents[-1]) as j:
            target = into.at(*("0",) * (len(into.extents) - 1), j)
            given = part.at(*("0",) * (len(part.extents) - 1), j)
            self.writer.line(f"{target} = {target} + {given}")

    def _single(
        self, block: ParameterBlock, row: str, values: Operand, guard: str
    ) -> Part:
        index = ("0",) * (len(values.extents) - 1)

        def walk(visitors: Sequence[Visitor]) -> None:
            (visitor,) = visitors
            with self.writer.block(f"if {guard}:") if guard else nullcontext():
                visitor.visit(self.writer, row, values, *index)

        return Part([block], walk)

    def _hashed(self, update: Update, pairs: Pairs) -> Part:
        """Copy all pairs together and sum repeated rows through a hash table.

        Tables that are looked up at the same rows, such as vectors and biases, share
        the search for them.
        """
        width = pairs[0][1].extents[-1]
        key = tuple(pair.rows for pair in update.pairs)
        if key not in self._searched:
            count = self.copy_pairs(update.block, pairs, "workspace")
            self._searched[key] = self.search(update.block, count)
        else:
            self._copy_values(update.block, pairs)
        return self.coalesced(update.block, width, self._searched[key])

    def _names_of(self, block: ParameterBlock) -> tuple[str, str, str, str]:
        name = self.slots.block(block).rstrip("_")
        return f"{name}_rows", f"{name}_values", f"{name}_hash", f"{name}_places"

    def pair_memory(
        self,
        block: ParameterBlock,
        pairs: Pairs,
        kind: str,
    ) -> None:
        rows, values, table, places = self._names_of(block)
        shapes = [tuple(row.extents) for row, _ in pairs]
        self.slots.add(rows, np.uint64, kind, (shapes, 1, 0))
        width = pairs[0][1].extents[-1]
        self.slots.add(values, block.dtype, kind, (shapes, width, 0))
        # at least twice as many places as rows, a power of two: up to four times
        self.slots.add(table, np.uint64, "workspace", (shapes, 4, 4))
        self.slots.add(places, np.uint64, "workspace", (shapes, 1, 0))

    def copy_pairs(
        self,
        block: ParameterBlock,
        pairs: Pairs,
        kind: str,
    ) -> str:
        """Write all pairs one after the other; return the name of their count."""
        self.pair_memory(block, pairs, kind)
        writer, width = self.writer, pairs[0][1].extents[-1]
        rows, values, *_ = self._names_of(block)
        count = writer.fresh("count")
        writer.line(f"{count} = u64(0)")
        for row, value in pairs:
            with writer.loops(row.extents) as index:
                writer.line(f"{rows}[{count}] = {row.at(*index)}")
                with writer.loop(width) as j:
                    place = plus(times(count, width.text), j)
                    writer.line(f"{values}[{place}] = {value.at(*index, j)}")
                writer.line(f"{count} = {count} + u64(1)")
        return count

    def _copy_values(self, block: ParameterBlock, pairs: Pairs) -> None:
        """Write the values of all pairs one after the other."""
        writer, width = self.writer, pairs[0][1].extents[-1]
        shapes = [tuple(row.extents) for row, _ in pairs]
        values = self._names_of(block)[1]
        self.slots.add(values, block.dtype, "workspace", (shapes, width, 0))
        count = writer.fresh("count")
        writer.line(f"{count} = u64(0)")
        for row, value in pairs:
            with writer.loops(row.extents) as index:
                with writer.loop(width) as j:
                    place = plus(times(count, width.text), j)
                    writer.line(f"{values}[{place}] = {value.at(*index, j)}")
                writer.line(f"{count} = {count} + u64(1)")

    def search(self, block: ParameterBlock, count: str) -> Searched:
        """Find which of the first `count` rows of a block come twice."""
        rows, _, table, places = self._names_of(block)
        left = self.writer.fresh("count")
        self.writer.line(f"{left} = find_places({rows}, {count}, {table}, {places})")
        return Searched(rows, places, count, left)

    def coalesced(
        self, block: ParameterBlock, width: Extent, searched: Searched
    ) -> Part:
        """Sum repeated rows; hand over what is left."""
        writer = self.writer
        rows, places, total, left = searched
        values = self._names_of(block)[1]
        summed = buffer(values, block.dtype, (Extent(left, None), width))
        writer.line(f"add_up({values}, {places}, {total}, {width.text})")

        def walk(visitors: Sequence[Visitor]) -> None:
            (visitor,) = visitors
            k = writer.fresh("j")
            with writer.block(f"for {k} in range({left}):"):
                row = writer.fresh("r")
                writer.line(f"{row} = {rows}[{k}]")
                visitor.visit(writer, row, summed, f"u64({k})")

        return Part([block], walk)
