"""Prints what an optimizer does: the dense and the row loop, once for all rules.

Rows of one table are summed before the rule sees them: by comparison for a few
single rows, through a hash table above. Then clipping, l2 and the rule's lines.
"""

from __future__ import annotations

import re
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
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer

if TYPE_CHECKING:
    from wyrm_py.engines.plan import Update
    from wyrm_py.nodes import Node
    from wyrm_py.optim import Optimizer
    from wyrm_py.parameters import ParameterBlock

COMPARED = 4
"""Up to this many single rows are coalesced by comparing them pairwise."""

Body = Callable[[str, str], None]


@dataclass
class Part:
    """A piece of a gradient: loops that hand (place, gradient) to a body."""

    block: ParameterBlock
    walk: Callable[[Body], None]


class UpdateWriter:
    """Writes the updates of a step."""

    def __init__(
        self,
        writer: Writer,
        slots: Slots,
        optimizer: Optimizer,
        operands: dict[Node, Operand],
        aliases: set[Node],
    ) -> None:
        self.writer = writer
        self.slots = slots
        self.optimizer = optimizer
        self.operands = operands
        self.aliases = aliases
        self._seen: set[Node] = set()

    def write(self, updates: Sequence[Update]) -> None:
        """Write gathering, norm and rule for all parameters."""
        parts: list[Part] = []
        for update in updates:
            parts += self._parts(update)
        self._apply(updates, parts)

    def collect(self, updates: Sequence[Update]) -> None:
        """Write gradients to memory of their own instead of applying them."""
        for number, update in enumerate(updates):
            self.slots.value(update.nodes[0])
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
            self.slots.add("counts", np.uint64, "collected", ((), 1, len(updates)))
            self.writer.line(f"counts[u64({number})] = {count}")

    def collect_nothing(self, updates: Sequence[Update]) -> None:
        """Write what leaves no gradient for `apply_collected`."""
        for number, update in enumerate(updates):
            value = self.slots.value(update.nodes[0])
            if update.dense is None:
                self.slots.add("counts", np.uint64, "collected", ((), 1, len(updates)))
                self.writer.line(f"counts[u64({number})] = u64(0)")
                continue
            name = self._collected_dense(update.block)
            self.writer.fill(buffer(name, value.dtype, value.extents), "0")

    def apply_collected(self, updates: Sequence[Update]) -> None:
        """Write the update from gradients that `collect` wrote to memory."""
        parts: list[Part] = []
        for number, update in enumerate(updates):
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
            self.slots.add("counts", np.uint64, "collected", ((), 1, len(updates)))
            count = self.writer.fresh("count")
            self.writer.line(f"{count} = counts[u64({number})]")
            parts.append(self._coalesced(update.block, pairs[0][1].extents[-1], count))
        self._apply(updates, parts)

    def _apply(self, updates: Sequence[Update], parts: Sequence[Part]) -> None:
        if self.optimizer.clip_norm is not None:
            self._write_norm(parts)
        for update in updates:
            name = self.slots.block(update.block)
            kind = "rows" if update.pairs else "dense"
            rule = type(self.optimizer).__name__
            self.writer.line(f"# update {name.rstrip('_')}: {rule}, {kind}")
            states = [
                self.slots.state(update.block, self.optimizer.slot_name(slot))
                for slot in self.optimizer.slots
            ]
            rewrite = self._rule(update.block, name, states)
            for part in parts:
                if part.block is update.block:
                    part.walk(rewrite)

    # -- what arrives -----------------------------------------------------

    def _parts(self, update: Update) -> list[Part]:
        if update.dense is not None:
            return [self._dense(update, self._own(update.dense))]
        pairs = [
            (self.operands[pair.rows], self._own(pair.values)) for pair in update.pairs
        ]
        if all(not wide(rows.extents) for rows, _ in pairs) and len(pairs) <= COMPARED:
            return self._compared(update.block, pairs)
        return [self._hashed(update.block, pairs)]

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
        def walk(body: Body) -> None:
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

        def loop(body: Body) -> None:
            with self.writer.loop(width) as j:
                place = plus(times(row, width.text), j)
                body(place, values.at(*("0",) * (len(values.extents) - 1), j))

        def walk(body: Body) -> None:
            if not guard:
                loop(body)
                return
            with self.writer.block(f"if {guard}:"):
                loop(body)

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

        def walk(body: Body) -> None:
            k = writer.fresh("j")
            with writer.block(f"for {k} in range({count}):"):
                row = writer.fresh("r")
                writer.line(f"{row} = {rows}[{k}]")
                with writer.loop(width) as j:
                    place = plus(times(row, width.text), j)
                    given = plus(times(f"u64({k})", width.text), j)
                    body(place, f"{values}[{given}]")

        return Part(block, walk)

    # -- what is done with it -----------------------------------------------

    def _names(self, block: ParameterBlock) -> dict[str, str]:
        """Return the names of the rule's numbers in the text, by dtype."""
        mark = "" if block.dtype == np.float32 else "_f8"
        words = [*self.optimizer.settings(), "clip", "scale", "value", "gradient"]
        return {word: word + mark for word in [*words, *self.optimizer.slots]}

    def _clipped(self, block: ParameterBlock, gradient: str) -> str:
        if self.optimizer.clip is None:
            return gradient
        clip = self._names(block)["clip"]
        return f"minimum(maximum({gradient}, -{clip}), {clip})"

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
                writer.line(f"{squared} = {self._clipped(part.block, gradient)}")
                writer.line(f"{total} = {total} + {squared} * {squared}")

            part.walk(add)
            writer.line(f"norm = norm + f8({total})")
        writer.line("norm_scale = f8(1)")
        with writer.block("if norm > clip_norm * clip_norm:"):
            writer.line("norm_scale = clip_norm / sqrt(norm)")
        for kind in sorted({type_name(part.block.dtype) for part in parts}):
            mark = "" if kind == "f4" else "_f8"
            writer.line(f"scale{mark} = {kind}(norm_scale)")

    def _rule(self, block: ParameterBlock, name: str, states: Sequence[str]) -> Body:
        names = self._names(block)
        pattern = re.compile(r"\b(" + "|".join(names) + r")\b")
        lines = [
            pattern.sub(lambda m: names[m.group()], line)
            for line in self.optimizer.rule.splitlines()
        ]

        def body(place: str, gradient: str) -> None:
            at = "u64(0)" if place == "0" else place
            write = self.writer.line
            g = self._clipped(block, gradient)
            if self.optimizer.clip_norm is not None:
                g = f"{g} * {names['scale']}"
            write(f"{names['value']} = {name}[{at}]")
            if self.optimizer.l2:  # off the chain of the next step where it is not used
                g = f"{g} + {names['l2']} * {names['value']}"
            write(f"{names['gradient']} = {g}")
            for slot, state in zip(self.optimizer.slots, states, strict=True):
                write(f"{names[slot]} = {state}[{at}]")
            for line in lines:
                write(line)
            write(f"{name}[{at}] = {names['value']}")
            for slot, state in zip(self.optimizer.slots, states, strict=True):
                write(f"{state}[{at}] = {names[slot]}")

        return body


def _element(name: str, place: str) -> str:
    return f"{name}[{'u64(0)' if place == '0' else place}]"
