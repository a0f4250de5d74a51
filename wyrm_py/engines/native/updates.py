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
            (self.operands[pair.rows], self._own(pair.values))
            for pair in update.pairs
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
        writer, width = self.writer, pairs[0][1].extents[-1]
        name = self.slots.block(block).rstrip("_")
        rows, values, table = f"{name}_rows", f"{name}_values", f"{name}_hash"
        sizes = [tuple(row.extents) for row, _ in pairs]
        self.slots.add(rows, np.uint64, "workspace", (sizes, 1, 0))
        self.slots.add(values, block.dtype, "workspace", (sizes, width, 0))
        self.slots.add(table, np.uint64, "workspace", (sizes, 4, 4))
        count = writer.fresh("count")
        writer.line(f"{count} = u64(0)")
        for row, value in pairs:
            with writer.loops(row.extents) as index:
                writer.line(f"{rows}[{count}] = {row.at(*index)}")
                with writer.loop(width) as j:
                    place = plus(times(count, width.text), j)
                    writer.line(f"{values}[{place}] = {value.at(*index, j)}")
                writer.line(f"{count} = {count} + u64(1)")
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
            write(f"{names['gradient']} = {g} + {names['l2']} * {names['value']}")
            for slot, state in zip(self.optimizer.slots, states, strict=True):
                write(f"{names[slot]} = {state}[{at}]")
            for line in lines:
                write(line)
            write(f"{name}[{at}] = {names['value']}")
            for slot, state in zip(self.optimizer.slots, states, strict=True):
                write(f"{state}[{at}] = {names[slot]}")

        return body
