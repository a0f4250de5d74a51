"""Prints what an optimizer does: the dense and the row loop, once for all rules.

Rows of one table are summed before the rule sees them: by comparison for a few
single rows, through a hash table above, unless none can come twice or the rule adds
up. Then clipping, l2 and the rule's lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.groups import resolved, wide
from wyrm_py.engines.native.operands import (
    Operand,
    buffer,
    flat_index,
    local,
    plus,
    times,
    type_name,
)
from wyrm_py.engines.native.rules import RuleWriter
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer

if TYPE_CHECKING:
    from wyrm_py.engines.plan import Update
    from wyrm_py.leaves import LeafNode, ParameterNode
    from wyrm_py.nodes import Node
    from wyrm_py.optim import Optimizer
    from wyrm_py.parameters import ParameterBlock

COMPARED = 4
"""Up to this many single rows are coalesced by comparing them pairwise."""

Body = Callable[[str, str], None]
Row = Callable[[str], None] | None


@dataclass
class Part:
    """A piece of a gradient: loops that hand (place, gradient) to a body.

    Before the elements of a row, its number is handed to the second function, if
    there is one.
    """

    block: ParameterBlock
    walk: Callable[[Body, Row], None]


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
        self.distinct = distinct
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
            count = self._copy_pairs(update.block, pairs, "collected")
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
            self._pair_memory(update.block, pairs, "collected")
            count = self.writer.fresh("count")
            self.writer.line(f"{count} = {self._counts()}[u64({number})]")
            parts.append(self._coalesced(update.block, pairs[0][1].extents[-1], count))
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
                if part.block is update.block:
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
        if all(not wide(rows.extents) for rows, _ in pairs) and len(pairs) <= COMPARED:
            return self._compared(update.block, pairs)
        if self.rules(update.block).adds_up:
            return [self._walked(update.block, *pair) for pair in pairs]
        if len(pairs) == 1 and self._is_distinct(update.pairs[0].rows):
            return [self._walked(update.block, *pairs[0])]
        return [self._hashed(update.block, pairs)]

    def _is_distinct(self, rows: Node) -> bool:
        """Whether these are the row numbers of a leaf that names none twice."""
        leaf = rows.application.owner
        return leaf in self.distinct and rows is getattr(leaf, "indices", leaf)

    def _walked(self, block: ParameterBlock, rows: Operand, values: Operand) -> Part:
        """Hand over rows where they are: nothing is copied or summed.

        Logistic regression on 14 columns an example takes 89 ns, 153 through the
        hash table.
        """
        writer = self.writer

        def walk(body: Body, before: Row) -> None:
            with writer.loops(rows.extents) as index:
                row = writer.fresh("r")
                writer.line(f"{row} = {rows.at(*index)}")
                if before is not None:
                    before(row)
                with writer.loop(values.extents[-1]) as j:
                    place = plus(times(row, values.extents[-1].text), j)
                    body(place, values.at(*index, j))

        return Part(block, walk)

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

    def _compared(
        self, block: ParameterBlock, pairs: Sequence[tuple[Operand, Operand]]
    ) -> list[Part]:
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
        width = values.extents[-1]

        def loop(body: Body, before: Row) -> None:
            if before is not None:
                before(row)
            with self.writer.loop(width) as j:
                place = plus(times(row, width.text), j)
                body(place, values.at(*("0",) * (len(values.extents) - 1), j))

        def walk(body: Body, before: Row) -> None:
            if not guard:
                loop(body, before)
                return
            with self.writer.block(f"if {guard}:"):
                loop(body, before)

        return Part(block, walk)

    def _hashed(
        self, block: ParameterBlock, pairs: Sequence[tuple[Operand, Operand]]
    ) -> Part:
        """Copy all pairs together and sum repeated rows through a hash table."""
        count = self._copy_pairs(block, pairs, "workspace")
        return self._coalesced(block, pairs[0][1].extents[-1], count)

    def _names_of(self, block: ParameterBlock) -> tuple[str, str, str]:
        name = self.slots.block(block).rstrip("_")
        return f"{name}_rows", f"{name}_values", f"{name}_hash"

    def _collected_dense(self, block: ParameterBlock) -> str:
        name = f"{self.slots.block(block).rstrip('_')}_gradient"
        size = int(np.prod(block.value.shape, dtype=np.int64))
        return self.slots.add(name, block.dtype, "collected", ((), 1, size - 1))

    def _pair_memory(
        self,
        block: ParameterBlock,
        pairs: Sequence[tuple[Operand, Operand]],
        kind: str,
    ) -> None:
        rows, values, table = self._names_of(block)
        shapes = [tuple(row.extents) for row, _ in pairs]
        self.slots.add(rows, np.uint64, kind, (shapes, 1, 0))
        width = pairs[0][1].extents[-1]
        self.slots.add(values, block.dtype, kind, (shapes, width, 0))
        # at least twice as many places as rows, a power of two: up to four times
        self.slots.add(table, np.uint64, "workspace", (shapes, 4, 4))

    def _copy_pairs(
        self,
        block: ParameterBlock,
        pairs: Sequence[tuple[Operand, Operand]],
        kind: str,
    ) -> str:
        """Write all pairs one after the other; return the name of their count."""
        self._pair_memory(block, pairs, kind)
        writer, width = self.writer, pairs[0][1].extents[-1]
        rows, values, _ = self._names_of(block)
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

    def _coalesced(self, block: ParameterBlock, width: Extent, count: str) -> Part:
        """Sum repeated rows among the first `count`; hand over what is left."""
        writer = self.writer
        rows, values, table = self._names_of(block)
        call = f"coalesce({rows}, {values}, {count}, {width.text}, {table})"
        writer.line(f"{count} = {call}")

        def walk(body: Body, before: Row) -> None:
            k = writer.fresh("j")
            with writer.block(f"for {k} in range({count}):"):
                row = writer.fresh("r")
                writer.line(f"{row} = {rows}[{k}]")
                if before is not None:
                    before(row)
                with writer.loop(width) as j:
                    place = plus(times(row, width.text), j)
                    given = plus(times(f"u64({k})", width.text), j)
                    body(place, f"{values}[{given}]")

        return Part(block, walk)

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
