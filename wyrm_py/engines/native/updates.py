"""Prints what an optimizer does: the dense and the row loop, once for all rules.

Rows of one table are summed before the rule sees them (row_sums.py). Then clipping,
l2 and the rule's lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native.groups import Grouping, resolved
from wyrm_py.engines.native.merged_rows import Part, Visitor
from wyrm_py.engines.native.operands import (
    Operand,
    buffer,
    flat_index,
    local,
    type_name,
)
from wyrm_py.engines.native.row_sums import RowSums
from wyrm_py.engines.native.rules import RuleWriter
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer
from wyrm_py.leaves import ParameterNode

if TYPE_CHECKING:
    from wyrm_py.engines.plan import Update
    from wyrm_py.leaves import LeafNode
    from wyrm_py.nodes import Node
    from wyrm_py.optim import Optimizer
    from wyrm_py.parameters import ParameterBlock


class UpdateWriter:
    """Writes the updates of a step.

    shared : values in the memory of others
    """

    def __init__(
        self,
        writer: Writer,
        slots: Slots,
        optimizer: Optimizer,
        operands: dict[Node, Operand],
        grouping: Grouping,
        shared: set[Node],
        updates: Sequence[Update],
        distinct: frozenset[LeafNode] = frozenset(),
    ) -> None:
        self.writer = writer
        self.slots = slots
        self.optimizer = optimizer
        self.operands = operands
        self.grouping = grouping
        self.shared = shared
        self.aliases = {out for a in grouping.aliases for out in a.outputs} | shared
        self.updates = updates
        self.sums = RowSums(writer, slots, distinct)
        self._rules: dict[int, RuleWriter] = {}
        self._seen: set[Node] = set()
        self._read_later: set[Node] = set()

    def write(self) -> None:
        """Write gathering, norm and rule for all parameters."""
        # all copies before the first gradient is written to: rows may be added up
        self._read_later = {
            source
            for update in self.updates
            for pair in update.pairs
            if not self.sums.are_compared([each.rows for each in update.pairs])
            for source, _ in self.grouping.origins([pair.values])
        }
        owned = {id(update): self._gradients(update) for update in self.updates}
        work = []
        for group in self._groups():
            gradients = [owned[id(update)] for update in group]
            work.append((group, self._parts(group, gradients)))
        self._apply(work)

    def _groups(self) -> list[list[Update]]:
        """Return updates that share their walk: of tables looked up at the same rows.

        A rule that counts its steps keeps numbers of one table at a time, and single
        numbers are updated apart where that is faster: see `RuleWriter.numbers`.
        """
        groups: dict[Any, list[Update]] = {}
        for update in self.updates:
            rows = tuple(pair.rows for pair in update.pairs)
            alone = not rows or self.sums.are_compared(rows)
            if not alone:
                rules, width = (
                    self.rules(update.block),
                    update.pairs[0].values.shape[-1],
                )
                packed = len(rows) == width == 1 and rules.packs
                alone = packed or rules.formulas.counts
            groups.setdefault(id(update) if alone else rows, []).append(update)
        return list(groups.values())

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
        work: list[tuple[list[Update], list[Part]]] = []
        header = f"if {self._counts()}[u64({len(self.updates)})] == u64(0):"
        with self.writer.block(header):
            self.writer.line("continue")
        for number, update in enumerate(self.updates):
            value = self.slots.value(update.nodes[0])
            if update.dense is not None:
                held = buffer(
                    self._collected_dense(update.block), value.dtype, value.extents
                )
                work.append(([update], [self._dense(update, held)]))
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
            summed = self.sums.coalesced(update.block, width, searched)
            work.append(([update], [summed]))
        self._apply(work)

    def _apply(self, work: Sequence[tuple[Sequence[Update], Sequence[Part]]]) -> None:
        if self.optimizer.clip_norm is not None:
            self._write_norm([part for _, parts in work for part in parts])
        for group, parts in work:
            for update in group:
                name = self.slots.block(update.block)
                kind = "rows" if update.pairs else "dense"
                rule = type(self.optimizer).__name__
                self.writer.line(f"# update {name.rstrip('_')}: {rule}, {kind}")
                self.rules(update.block).begin()
            for part in parts:
                rules = [self.rules(block) for block in part.blocks]
                if part.numbers is not None and rules[0].packs:
                    rules[0].numbers(*part.numbers)
                    continue
                part.walk([Visitor(rule.element, rule.row) for rule in rules])

    # -- what arrives -----------------------------------------------------

    def _gradients(self, update: Update) -> list[Operand]:
        """Return the dense gradient, or the values of each pair."""
        if update.dense is not None:
            return [self._own(update.dense)]
        compared = self.sums.are_compared([pair.rows for pair in update.pairs])
        return [self._own(pair.values, compared) for pair in update.pairs]

    def _parts(
        self, group: Sequence[Update], gradients: Sequence[Sequence[Operand]]
    ) -> list[Part]:
        first = group[0]
        if first.dense is not None:
            return [self._dense(first, gradients[0][0])]
        rows = [self.operands[pair.rows] for pair in first.pairs]
        pairs = [list(zip(rows, each, strict=True)) for each in gradients]
        return self.sums.parts(group, pairs, self.rules(first.block).adds_up)

    def _own(self, wanted: Node, written: bool = True) -> Operand:
        """Return values that updates may write to while they read, or only read."""
        node = resolved(wanted, self.slots.extents)
        source = self.operands[node]
        if not written and self._stays(node):
            return source
        taken = self.aliases | self._seen | self._read_later
        if node not in taken:
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

    def _stays(self, node: Node) -> bool:
        """Whether a value reads the same when parameters have changed."""
        return not any(
            isinstance(source, ParameterNode) or source in self.shared
            for source, _ in self.grouping.origins([node])
        )

    def _dense(self, update: Update, gradient: Operand) -> Part:
        def walk(visitors: Sequence[Visitor]) -> None:
            (visitor,) = visitors
            if visitor.row is not None:
                self.rules(update.block).each_row(visitor.row)
            with self.writer.loops(gradient.extents) as index:
                place = flat_index(index, gradient.extents)
                visitor.element(place, gradient.at(*index))

        return Part([update.block], walk)

    def _collected_dense(self, block: ParameterBlock) -> str:
        name = f"{self.slots.block(block).rstrip('_')}_gradient"
        size = int(np.prod(block.value.shape, dtype=np.int64))
        return self.slots.add(name, block.dtype, "collected", ((), 1, size - 1))

    # -- what is done with it -----------------------------------------------

    def _write_norm(self, parts: Sequence[Part]) -> None:
        writer = self.writer
        writer.line("norm = f8(0)")
        for part in parts:
            totals, visitors = [], []
            for block in part.blocks:
                total = writer.fresh("s")
                writer.line(f"{total} = {type_name(block.dtype)}(0)")

                def add(
                    _: str, gradient: str, block: ParameterBlock = block,
                    total: str = total,
                ) -> None:  # fmt: skip
                    squared = writer.fresh("s")
                    writer.line(f"{squared} = {self.rules(block).clipped(gradient)}")
                    writer.line(f"{total} = {total} + {squared} * {squared}")

                totals.append(total)
                visitors.append(Visitor(add))
            part.walk(visitors)
            for total in totals:
                writer.line(f"norm = norm + f8({total})")
        writer.line("norm_scale = f8(1)")
        with writer.block("if norm > clip_norm_f8 * clip_norm_f8:"):
            writer.line("norm_scale = clip_norm_f8 / sqrt(norm)")
        kinds = {type_name(block.dtype) for part in parts for block in part.blocks}
        for kind in sorted(kinds):
            mark = "" if kind == "f4" else "_f8"
            writer.line(f"scale{mark} = {kind}(norm_scale)")


def _element(name: str, place: str) -> str:
    return f"{name}[{'u64(0)' if place == '0' else place}]"
