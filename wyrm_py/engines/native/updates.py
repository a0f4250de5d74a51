"""Prints what an optimizer does: the dense and the row loop, once for all rules.

Rows of one table are summed before the rule sees them (row_sums.py). Then clipping,
l2 and the rule's lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines.native.groups import resolved
from wyrm_py.engines.native.operands import (
    Operand,
    buffer,
    flat_index,
    local,
    type_name,
)
from wyrm_py.engines.native.row_sums import Body, Part, Row, RowSums
from wyrm_py.engines.native.rules import RuleWriter
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer

if TYPE_CHECKING:
    from wyrm_py.engines.plan import Update
    from wyrm_py.leaves import LeafNode, ParameterNode
    from wyrm_py.nodes import Node
    from wyrm_py.optim import Optimizer
    from wyrm_py.parameters import ParameterBlock


class UpdateWriter:
    """Writes the updates of a step."""

    def __init__(
        self,
        writer: Writer,
        slots: Slots,
        optimizer: Optimizer,
        operands: dict[Node, Operand],
        aliases: set[Node],
        updates: Sequence[Update],
        distinct: frozenset[LeafNode] = frozenset(),
    ) -> None:
        self.writer = writer
        self.slots = slots
        self.optimizer = optimizer
        self.operands = operands
        self.aliases = aliases
        self.updates = updates
        self.sums = RowSums(writer, slots, distinct)
        self._rules: dict[int, RuleWriter] = {}
        self._seen: set[Node] = set()

    def write(self) -> None:
        """Write gathering, norm and rule for all parameters."""
        # all copies before the first gradient is written to: rows may be added up
        owned = [self._gradients(update) for update in self.updates]
        parts: list[Part] = []
        for update, gradients in zip(self.updates, owned, strict=True):
            parts += self._parts(update, gradients)
        self._apply(parts)

    def look_up(self, table: ParameterNode, rows: Node) -> None:
        """Write what must be done to rows of a table before they are read."""
        operand = self.operands[rows]
        with self.writer.loops(operand.extents) as index:
            self.rules(table.block).look_up(operand.at(*index))

    def rules(self, block: ParameterBlock) -> RuleWriter:
        """Return what writes the rule for a block."""
        if id(block) not in self._rules:
            node = next(u.nodes[0] for u in self.updates if u.block is block)
            made = RuleWriter(self.writer, self.slots, self.optimizer, node)
            self._rules[id(block)] = made
        return self._rules[id(block)]

    def collect(self) -> None:
        """Write gradients to memory of their own instead of applying them."""
        for number, update in enumerate(self.updates):
            if update.dense is not None:
                gradient = self.operands[resolved(update.dense, self.slots.extents)]
                held = self._collected_dense(update.block)
                with self.writer.loops(gradient.extents) as index:
                    at = _element(held, flat_index(index, gradient.extents))
                    self.writer.line(f"{at} = {gradient.at(*index)}")
                continue
            pairs = [
                (self.operands[pair.rows], self.operands[pair.values])
                for pair in update.pairs
            ]
            count = self.sums.copy_pairs(update.block, pairs, "collected")
            self.writer.line(f"{self._counts()}[u64({number})] = {count}")
        self.writer.line(f"{self._counts()}[u64({len(self.updates)})] = u64(1)")

    def collect_nothing(self) -> None:
        """Write that there is nothing to apply."""
        self.writer.line(f"{self._counts()}[u64({len(self.updates)})] = u64(0)")

    def _counts(self) -> str:
        """Name the memory for the number of rows of each update, and the one after
        them: whether there is anything to apply."""
        size = len(self.updates)
        return self.slots.add("counts", np.uint64, "collected", ((), 1, size))

    def apply_collected(self) -> None:
        """Write the update from gradients that `collect` wrote to memory."""
        parts: list[Part] = []
        header = f"if {self._counts()}[u64({len(self.updates)})] == u64(0):"
        with self.writer.block(header):
            self.writer.line("continue")
        for number, update in enumerate(self.updates):
            value = self.slots.value(update.nodes[0])
            if update.dense is not None:
                held = buffer(
                    self._collected_dense(update.block), value.dtype, value.extents
                )
                parts.append(self._dense(update, held))
                continue
            pairs = [
                (self.operands[pair.rows], self.operands[pair.values])
                for pair in update.pairs
            ]
            self.sums.pair_memory(update.block, pairs, "collected")
            count = self.writer.fresh("count")
            self.writer.line(f"{count} = {self._counts()}[u64({number})]")
            searched = self.sums.search(update.block, count)
            width = pairs[0][1].extents[-1]
            parts.append(self.sums.coalesced(update.block, width, searched))
        self._apply(parts)

    def _apply(self, parts: Sequence[Part]) -> None:
        if self.optimizer.clip_norm is not None:
            self._write_norm(parts)
        for update in self.updates:
            name = self.slots.block(update.block)
            kind = "rows" if update.pairs else "dense"
            rule = type(self.optimizer).__name__
            self.writer.line(f"# update {name.rstrip('_')}: {rule}, {kind}")
            rules = self.rules(update.block)
            rules.begin()
            for part in parts:
                if part.block is not update.block:
                    continue
                if part.numbers is not None and rules.packs:
                    rules.numbers(*part.numbers)
                else:
                    part.walk(rules.element, rules.row)

    # -- what arrives -----------------------------------------------------

    def _gradients(self, update: Update) -> list[Operand]:
        """Return the dense gradient, or the values of each pair."""
        if update.dense is not None:
            return [self._own(update.dense)]
        return [self._own(pair.values) for pair in update.pairs]

    def _parts(self, update: Update, gradients: Sequence[Operand]) -> list[Part]:
        if update.dense is not None:
            return [self._dense(update, gradients[0])]
        rows = [self.operands[pair.rows] for pair in update.pairs]
        pairs = list(zip(rows, gradients, strict=True))
        return self.sums.parts(update, pairs, self.rules(update.block).adds_up)

    def _own(self, wanted: Node) -> Operand:
        """Return values nobody else uses: updates write while they read."""
        node = resolved(wanted, self.slots.extents)
        source = self.operands[node]
        if node not in self.aliases and node not in self._seen:
            self._seen.add(node)
            return source
        if source.is_scalar:
            name = self.writer.fresh("w")
            self.writer.line(f"{name} = {source.at(*('0',) * len(source.extents))}")
            return local(name, source.dtype, source.extents)
        name = self.writer.fresh("w")
        copy = self.slots.workspace(name, source.dtype, source.extents)
        with self.writer.loops(source.extents) as index:
            self.writer.line(f"{copy.at(*index)} = {source.at(*index)}")
        return copy

    def _dense(self, update: Update, gradient: Operand) -> Part:
        def walk(body: Body, row: Row) -> None:
            if row is not None:
                self.rules(update.block).each_row(row)
            with self.writer.loops(gradient.extents) as index:
                body(flat_index(index, gradient.extents), gradient.at(*index))

        return Part(update.block, walk)

    def _collected_dense(self, block: ParameterBlock) -> str:
        name = f"{self.slots.block(block).rstrip('_')}_gradient"
        size = int(np.prod(block.value.shape, dtype=np.int64))
        return self.slots.add(name, block.dtype, "collected", ((), 1, size - 1))

    # -- what is done with it -----------------------------------------------

    def _write_norm(self, parts: Sequence[Part]) -> None:
        writer = self.writer
        writer.line("norm = f8(0)")
        for part in parts:
            kind = type_name(part.block.dtype)
            total = writer.fresh("s")
            writer.line(f"{total} = {kind}(0)")

            def add(
                _: str, gradient: str, part: Part = part, total: str = total
            ) -> None:
                squared = writer.fresh("s")
                writer.line(f"{squared} = {self.rules(part.block).clipped(gradient)}")
                writer.line(f"{total} = {total} + {squared} * {squared}")

            part.walk(add, None)
            writer.line(f"norm = norm + f8({total})")
        writer.line("norm_scale = f8(1)")
        with writer.block("if norm > clip_norm_f8 * clip_norm_f8:"):
            writer.line("norm_scale = clip_norm_f8 / sqrt(norm)")
        for kind in sorted({type_name(part.block.dtype) for part in parts}):
            mark = "" if kind == "f4" else "_f8"
            writer.line(f"scale{mark} = {kind}(norm_scale)")


def _element(name: str, place: str) -> str:
    return f"{name}[{'u64(0)' if place == '0' else place}]"
