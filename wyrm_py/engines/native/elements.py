"""Writes groups: loop nests with their elements, or an op's own loops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wyrm_py.engines.native.groups import (
    Group,
    Grouping,
    reduced_axes,
    value_inputs,
    wide,
)
from wyrm_py.engines.native.nests import joined, nest
from wyrm_py.engines.native.operands import Operand, buffer
from wyrm_py.graph.op import Reduction

if TYPE_CHECKING:
    from wyrm_py.engines.native.printing import Printing
    from wyrm_py.engines.native.region import Loop
    from wyrm_py.nodes import Application, Node


class GroupWriter:
    """Writes the groups of a region, with one comment a node.

    Of a step that is cut into several functions numbers, too, are kept in memory.
    """

    def __init__(
        self,
        printing: Printing,
        grouping: Grouping,
        operands: Mapping[Node, Operand],
        applications: Sequence[Application],
        loops: Mapping[Application, Loop],
    ) -> None:
        self.printing = printing
        self.writer = printing.writer
        self.extents = printing.extents
        self.number = printing.number
        self.cut = printing.cut
        self.grouping = grouping
        self.operands = operands
        self.loops = loops
        self._pending = [
            a for a in applications if any(out in operands for out in a.outputs)
        ]

    def describe_all(self) -> None:
        """Write a comment for each node that has none yet."""
        self.describe(len(self.number))

    def describe(self, last: int) -> None:
        """Write a comment for each node up to number `last` that has none yet."""
        while self._pending and self.number[self._pending[0].outputs[0]] <= last:
            application = self._pending.pop(0)
            made = application.outputs
            if application in self.loops:
                made = tuple(out for out in made if out in self.operands)
            outs = ", ".join(f"v{self.number[out]}" for out in made)
            shapes = ", ".join(_shape(out.shape) for out in made)
            given = ", ".join(
                f"v{self.number[n]} {_shape(n.shape)}" for n in application.inputs
            )
            owner = application.owner
            label = "".join(f"{out.name}: " for out in made if out.name)
            what = (
                f"{label}{application.op.name}({given}) -> {shapes}"
                if owner is None
                else f"{type(owner).__name__} {owner.name or ''} {shapes}"
            )
            self.writer.line(
                f"# {outs}: {' '.join(what.split())}{self._where(application)}"
            )

    def _where(self, application: Application) -> str:
        """Return how a value that is not computed is read."""
        if application not in self.grouping.aliases:
            return ""
        operands = [self.operands[out] for out in application.outputs]
        texts = (x.at(*"abcdefgh"[: len(x.extents)]) for x in operands)
        return f", reads {' and '.join(texts)}"

    def write(self, group: Group) -> None:
        """Write one group, after comments on all nodes that come before."""
        last = max(self.number[out] for m in group.members for out in m.outputs)
        self.describe(last)
        if group.space is None:
            for member in group.members:
                self._write_own_loops(member)
            return
        space = group.space
        split = len(space) if group.split is None else group.split
        writer, sums = self.writer, []
        loops = joined(space, partial(self._touched, group, split), (split,))
        outside = [axes for axes in loops if axes[0] < split]
        for member in group.members:
            if member in self.grouping.row_sums:
                writer.fill(self.operands[member.outputs[0]], "0")
        with nest(writer, space, outside) as index:
            outer = index[:split]
            for member in group.members:
                if isinstance(member.op, Reduction) and self._is_sum(member):
                    sums.append(member)
                    out = self.operands[member.outputs[0]]
                    start = "-inf" if member.op.combine == "max" else "0"
                    writer.line(f"{self._total(member)} = {out.type}({start})")
            with nest(writer, space, loops[len(outside) :]) as inner:
                for member in group.members:
                    self._write_element(member, [*outer, *inner[split:]])
            for member in sums:
                self._store_sum(member, outer)

    def _is_sum(self, application: Application) -> bool:
        if not isinstance(application.op, Reduction):
            return False
        whole, gone = reduced_axes(application, self.extents.shapes)
        return any(not whole[k].is_one for k in gone)

    def _total(self, application: Application) -> str:
        out = application.outputs[0]
        letter = "s" if self._is_stored(out) else "t"
        return f"{letter}{self.number[out]}"

    def _is_stored(self, out: Node) -> bool:
        """Whether a value is written to memory when it has been computed."""
        single = not wide(self.extents.shapes[out])
        return out in self.grouping.in_memory or (self.cut and single)

    def _touched(self, group: Group, split: int, index: list[str]) -> Iterator[str]:
        """Give the texts of all elements a group reads and writes at an index."""
        for member in group.members:
            out = member.outputs[0]
            places, own = self._places(member, index)
            for node in self._elements(member):
                yield self.operands[node].aligned(places)
            if isinstance(member.op, Reduction) and self._is_sum(member):
                own = self._places_outside(out, index[:split])
            yield self.operands[out].at(*own)

    def _elements(self, application: Application) -> list[Node]:
        """Return the inputs that are read element by element."""
        rows = application in self.grouping.row_sums
        return [application.inputs[0]] if rows else value_inputs(application)

    def _places(
        self, application: Application, index: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Return the index of the inputs' broadcast, and that of the value."""
        out = application.outputs[0]
        gone: tuple[int, ...] = ()
        if isinstance(application.op, Reduction):
            whole, reduced = reduced_axes(application, self.extents.shapes)
            gone = () if application.op.keeps_axes else reduced
        elif application in self.grouping.row_sums:
            whole = self.extents.shapes[application.inputs[0]]
        else:
            whole = self.extents.shapes[out]
        free = iter(index)
        places = ["0" if e.is_one else next(free) for e in whole]
        kept = [place for k, place in enumerate(places) if k not in gone]
        return places, kept[len(kept) - len(out.shape) :]

    def _places_outside(self, out: Node, index: Sequence[str]) -> list[str]:
        """Return the index of a sum, given the loops outside it."""
        free = iter(index)
        return ["0" if e.is_one else next(free) for e in self.extents.shapes[out]]

    def _write_element(self, application: Application, index: list[str]) -> None:
        """Write one element's line, in the innermost loop of a group."""
        out = application.outputs[0]
        places, own = self._places(application, index)
        if application in self.grouping.row_sums:
            total, row = self.operands[out].at(*own), application.inputs[0]
            part = self.operands[row].aligned(places)
            self.writer.line(f"{total} = {total} + {part}")
            return
        text = self.expression(application, places)
        if isinstance(application.op, Reduction) and self._is_sum(application):
            total = self._total(application)
            if application.op.combine == "max":
                self.writer.line(f"{total} = maximum({total}, {text})")
            else:
                self.writer.line(f"{total} = {total} + {text}")
            return
        name = f"t{self.number[out]}"
        if self._is_stored(out):
            # readers in this nest take the element from a local
            value = f"e{self.number[out]}"
            self.writer.line(f"{value} = {text}")
            self.writer.line(f"{self.operands[out].at(*own)} = {value}")
        else:
            self.writer.line(f"{name} = {text}")

    def _store_sum(self, application: Application, outer: list[str]) -> None:
        out = application.outputs[0]
        if self._is_stored(out):
            place = self.operands[out].at(*self._places_outside(out, outer))
            self.writer.line(f"{place} = {self._total(application)}")

    def expression(self, application: Application, places: Sequence[str]) -> str:
        """Return the text of an op's expression for one element."""
        out, op = application.outputs[0], application.op
        reads = {
            letter: self._cast(self.operands[node].aligned(places), node, out)
            for letter, node in zip("abcdefgh", value_inputs(application), strict=False)
        }
        kind = self.operands[out].type
        expression: str = op.expression  # type: ignore[attr-defined]
        return re.sub(
            r"\b([a-hT])\b(?!\w)",
            lambda m: kind if m.group() == "T" else reads[m.group()],
            expression,
        )

    def _cast(self, text: str, node: Node, out: Node) -> str:
        if node.dtype == out.dtype or node.spec.is_index:
            return text
        return f"{self.operands[out].type}({text})"

    def _write_own_loops(self, application: Application) -> None:
        op = application.op
        if op.random and application in self.printing.streams:
            # within a loop all draw from its stream
            self.writer.stream = self.printing.streams[application]
        if application in self.loops:
            self.loops[application].write(self.operands)
            return
        outs = [self.operands[out] for out in application.outputs]
        ins = [
            self.operands.get(n) or buffer("_", n.dtype, self.extents.shapes[n])
            for n in application.inputs
        ]
        if isinstance(op, Reduction):
            self._sum_into_memory(application)
            return
        op.emit(self.writer, outs[0] if len(outs) == 1 else tuple(outs), *ins)

    def _sum_into_memory(self, application: Application) -> None:
        """Reduce over leading axes: add into the result in memory order."""
        out, op = application.outputs[0], application.op
        whole, gone = reduced_axes(application, self.extents.shapes)
        target = self.operands[out]
        largest = isinstance(op, Reduction) and op.combine == "max"

        def place(index: Sequence[str]) -> str:
            places = [i for k, i in enumerate(index) if k not in gone]
            if len(places) != len(target.extents):
                lead = len(whole) - len(target.extents)
                places = ["0" if k in gone else i for k, i in enumerate(index)][lead:]
            return target.at(*places)

        def touched(index: list[str]) -> Iterator[str]:
            yield place(index)
            for node in value_inputs(application):
                yield self.operands[node].aligned(index)

        self.writer.fill(target, "-inf" if largest else "0")
        with nest(self.writer, whole, joined(whole, touched)) as index:
            text = self.expression(application, index)
            at = place(index)
            both = f"maximum({at}, {text})" if largest else f"{at} + {text}"
            self.writer.line(f"{at} = {both}")


def stream_name(number: int, cut: bool) -> str:
    """Return where the state of a stream is kept: in memory if a step is cut."""
    return f"streams[u64({number})]" if cut else f"stream{number}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"
