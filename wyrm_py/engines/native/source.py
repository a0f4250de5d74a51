"""Prints a plan as one readable Python function that Numba compiles.

The printed module holds `steps` (a loop over examples: load, forward,
gradient, update) and `run`, which unpacks a table of addresses for it. Which
arrays the table must name is told by `Source.slots`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines.native.elements import stream_name
from wyrm_py.engines.native.extents import Extents, sized
from wyrm_py.engines.native.groups import Group, resolved, wide
from wyrm_py.engines.native.loading import LeafLoader
from wyrm_py.engines.native.module import AHEAD, Module
from wyrm_py.engines.native.operands import Operand, times
from wyrm_py.engines.native.printing import Printing
from wyrm_py.engines.native.region import Region
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.updates import UpdateWriter
from wyrm_py.engines.native.writer import Writer
from wyrm_py.engines.plan import Plan
from wyrm_py.graph.order import topological_order
from wyrm_py.leaves import ParameterNode
from wyrm_py.nodes import symbolic

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node
    from wyrm_py.optim import Optimizer

LINE = 64
"""Bytes of a cache line."""
MOST_LOOPS = 150
"""Loops of one function: a step with more is cut into several."""
PIECE_LOOPS = 60
"""Loops of each of them: shorter functions compile faster (two GRU layers: 7.7 to
5.7 s), and values that cross go through memory (4 % slower)."""


@dataclass
class Source:
    """A printed step: its text, and what its table of addresses names."""

    text: str
    slots: Slots
    extents: Extents
    streams: list[Application]


def generate(
    plan: Plan, optimizer: Optimizer | None, settings: Settings | None = None
) -> Source:
    """Print a plan; without an optimizer it is an evaluation."""
    wanted = settings or Settings()
    whole = Generator(plan, optimizer, wanted)
    source = whole.generate()
    if whole.writer.loops_written <= MOST_LOOPS or optimizer is None:
        return source
    cut = replace(wanted, cut=True, prefetch=False)
    return Generator(plan, optimizer, cut).generate()


class Generator:
    """Prints one plan."""

    def __init__(
        self, plan: Plan, optimizer: Optimizer | None, settings: Settings
    ) -> None:
        self.plan = plan
        self.optimizer = optimizer
        self.settings = settings
        with symbolic():
            self.loss = plan.root.sum() if optimizer is not None else plan.root
        ends = [*plan.watched, self.loss, *plan.ends()]  # a step may end early
        self.everything = everything = topological_order(ends)
        live = set(topological_order(ends, shapes=False))
        self.extents = Extents.of(everything, settings.batched)
        self.extents.require_known_limits(everything)
        self.applications = [a for a in everything if a in live]
        self.streams = plan.random()
        self._idle = plan.idle()
        self._unwatched = plan.watched
        self.slots = Slots(self.extents)
        self.writer = Writer(depth=2, slots=self.slots)
        self.writer.training = optimizer is not None
        self.operands: dict[Node, Operand] = {}
        self.slots.add("control", np.uint64, "control")
        self.slots.add("sizes", np.uint64, "sizes")
        self.loader = LeafLoader(self.slots, self.extents, settings)
        self.printing = Printing(
            self.writer,
            self.extents,
            self.slots,
            self.loader,
            {a: stream_name(k, settings.cut) for k, a in enumerate(self.streams)},
            settings.cut,
        )
        self.printing.enumerate(everything)

    def generate(self) -> Source:
        """Return the printed module."""
        for application in self.applications:
            if application.is_leaf:
                self.loader.add(application, self.operands)
        self.region = Region(
            self.printing,
            self.applications,
            self.operands,
            self._kept(),
            described=self.everything,
            once=self._read_once(),
        )
        self.grouping = self.region.grouping
        self.updates = self._update_writer()
        if self.settings.gradients != "apply collected":
            self._write_body()
        if self.updates is None:
            self._write_output()
        else:
            self._write_updates(self.updates)
        module = Module(
            self.slots, self.extents, self.settings, self.optimizer, self.plan
        )
        pieces = self.writer.pieces()
        if self.settings.cut:
            text = module.print_cut(pieces, self.loader)
        else:
            text = module.print_whole(pieces[0])
        return Source(text, self.slots, self.extents, self.streams)

    def _write_updates(self, updates: UpdateWriter) -> None:
        if self.settings.gradients == "apply collected":
            updates.apply_collected()
            return
        self._write_loss()
        if self.settings.gradients == "collect":
            updates.collect()
        else:
            updates.write()

    def _update_writer(self) -> UpdateWriter | None:
        if self.optimizer is None:
            return None
        shared = set(self.region.overlapping)
        for loop in self.region.loops.values():
            shared.update(loop.views.values())
        return UpdateWriter(
            self.writer,
            self.slots,
            self.optimizer,
            self.operands,
            self.grouping,
            shared,
            self.plan.updates,
            frozenset() if self.settings.batched else self.settings.distinct,
        )

    def _kept(self) -> set[Node]:
        """Return the values that updates or the caller read from memory."""
        pairs = [pair for update in self.plan.updates for pair in update.pairs]
        kept = {node for pair in pairs for node in (pair.rows, pair.values)}
        kept |= {u.dense for u in self.plan.updates if u.dense is not None}
        kept |= {self.loss, *self.plan.watched}
        return {resolved(node, self.extents) for node in kept}

    def _read_once(self) -> list[Node]:
        """Return the values of pairs of many rows, which their update alone reads."""
        pairs = [pair for update in self.plan.updates for pair in update.pairs]
        values = [pair.values for pair in pairs if wide(self.extents.shapes[pair.rows])]
        found = [resolved(node, self.extents) for node in values]
        watched = {resolved(node, self.extents) for node in self.plan.watched}
        return [n for n in found if found.count(n) == 1 and n not in watched]

    # -- the body -------------------------------------------------------------

    def _write_body(self) -> None:
        writer, early = self.writer, self._early()
        if self.settings.prefetch:
            self._write_lookahead(early)
        else:
            self.loader.write_rows(writer)
        self.loader.write_values(writer)
        done = {member for group in early for member in group.members}
        waiting = self._write_look_ups(self._behind(), done)
        for group in self.grouping.groups:
            if group not in early:
                self.region.write_group(group)
                done.update(group.members)
                self._write_found(group)
                waiting = self._write_look_ups(waiting, done)
                self._write_idle(group)
                if self.settings.cut and writer.loops_since_cut >= PIECE_LOOPS:
                    writer.cut()
        self.region.groups.describe_all()
        if self.settings.cut:
            writer.cut()

    def _write_found(self, group: Group) -> None:
        """Write what follows from a length that a group has worked out."""
        for member in group.members:
            leaf = sized(member)
            if leaf is not None:
                self.loader.write_found(self.writer, leaf)

    def _write_idle(self, group: Group) -> None:
        """End the step here if a sampler found nothing: see `Op.idle_output`."""
        if self.updates is None or self.settings.batched or self.settings.cut:
            return
        for node in self._idle:
            if node.application in group.members:
                self._write_watched()
                number = self.operands[node]
                at = number.at(*("0",) * len(number.extents))
                with self.writer.block(f"if {at} == {number.type}(0):"):
                    if self.settings.gradients == "collect":
                        self.updates.collect_nothing()
                    self.writer.line("continue")

    def _behind(self) -> list[tuple[ParameterNode, Node]]:
        """Return the look-ups whose rows may have missed updates."""
        if self.optimizer is None or not self.optimizer.formulas().catches_up:
            return []
        return [(table, rows) for _, table, rows in self.plan.look_ups()]

    def _write_look_ups(
        self, look_ups: list[tuple[ParameterNode, Node]], done: set[Application]
    ) -> list[tuple[ParameterNode, Node]]:
        """Bring rows up to date as soon as they are known; return what is left."""

        def known(node: Node) -> bool:
            made = node.application
            if made.is_leaf or made in done:
                return True
            return made in self.grouping.aliases and all(map(known, made.inputs))

        for table, rows in look_ups:
            if known(rows) and self.updates is not None:
                self.updates.look_up(table, rows)
        return [(table, rows) for table, rows in look_ups if not known(rows)]

    def _early(self) -> list[Group]:
        """Return the groups that need only scalar row numbers: samplers."""
        found: list[Group] = []
        done: set[Application] = set()
        if not self.settings.prefetch:
            return found
        for group in self.grouping.groups:
            outs = [out for member in group.members for out in member.outputs]
            reads = [
                node
                for member in group.members
                for node, _ in self.grouping.sources(member)
            ]
            single = all(
                out.spec.is_index and not wide(self.extents.shapes[out]) for out in outs
            )
            if (
                group.space is None
                and single
                and all(self._is_row(node, done) for node in reads)
            ):
                found.append(group)
                done.update(group.members)
        return found

    def _is_row(self, node: Node, done: set[Application]) -> bool:
        application = node.application
        return node.spec.is_index and (application.is_leaf or application in done)

    def _write_lookahead(self, early: list[Group]) -> None:
        """Find the rows of the example AHEAD of this one and ask for them."""
        writer = self.writer
        with writer.block("if k < end:"):
            names = self.loader.write_rows(writer)
            for group in early:
                self.region.write_group(group)
                names += [
                    self.operands[out].at(*("0",) * len(out.shape))
                    for member in group.members
                    for out in member.outputs
                ]
            self._write_prefetch(set(names))
            for k, name in enumerate(names):
                writer.line(f"ring[{_ring('k', len(names), k)}] = {name}")
        with writer.block(f"if k < begin + u64({AHEAD}):"):
            writer.line("continue")
        behind = f"k - u64({AHEAD})"
        for k, name in enumerate(names):
            writer.line(f"{name} = ring[{_ring(behind, len(names), k)}]")
        self.slots.add("ring", np.uint64, "workspace", ((), 1, 8 * len(names)))

    def _write_prefetch(self, known: set[str]) -> None:
        """Ask for the cache lines of looked-up rows and of their state."""
        for application in self.applications:
            if application.op.looks_up is None:
                continue
            table, rows = (application.inputs[k] for k in application.op.looks_up)
            operand = self.operands[rows]
            row = operand.at(*("0",) * len(operand.extents))
            if not isinstance(table, ParameterNode) or row not in known:
                continue
            width = self.extents.shapes[table][1]
            arrays = [self.slots.block(table.block)]
            updated = any(u.block is table.block for u in self.plan.updates)
            if self.optimizer is not None and updated:
                slots = map(self.optimizer.slot_name, self.optimizer.slots)
                arrays += [self.slots.state(table.block, slot) for slot in slots]
            step = LINE // table.dtype.itemsize
            index = self.writer.fresh("j")
            with self.writer.block(
                f"for {index} in range(u64(0), {width.text}, u64({step})):"
            ):
                for name in arrays:
                    place = f"{times(row, width.text)} + {index}"
                    self.writer.line(f"prefetch({name}, {place})")

    # -- what comes out ---------------------------------------------------------

    def _write_watched(self) -> None:
        """Write down values from before the update, at their examples' places."""
        for number, node in enumerate(self._unwatched):
            value = self.operands[node]
            batched = self.settings.batched
            place = "u64(k)" if batched else "e"
            for extent in value.extents[int(batched) :]:
                place = times(place, extent.text)
            name = self.slots.add(
                f"watched{number}", node.dtype, "workspace", ((), 1, 0)
            )
            at = self.writer.fresh("o")
            self.writer.line(f"{at} = {place}")
            with self.writer.loops(value.extents) as index:
                self.writer.line(f"{name}[{at}] = {value.at(*index)}")
                self.writer.line(f"{at} = {at} + u64(1)")
        self._unwatched = []

    def _write_loss(self) -> None:
        """Add the mean of the root's elements, once per example of the step."""
        self._write_watched()
        loss = f"f8({self.operands[self.loss].at(*('0',) * len(self.loss.shape))})"
        shape = wide(self.extents.shapes[self.plan.root])
        count = " * ".join(extent.text for extent in shape)
        if self.settings.batched and count != "batch":
            loss = f"{loss} * f8(batch)"
        if any(extent.fixed is None for extent in shape):  # a ragged axis may be empty
            count = f"max({count}, u64(1))" if count != "batch" else count
        if count and not (self.settings.batched and count == "batch"):
            loss = f"{loss} / f8(max({count}, u64(1)))"
        self.writer.line(f"total = total + {loss}")

    def _write_output(self) -> None:
        """Copy the root's value to its place among the examples."""
        root = self.operands[self.plan.root]
        shape = root.extents
        rest = "u64(1)"
        for extent in shape[1:] if self.settings.batched else shape:
            rest = times(rest, extent.text)
        self.slots.add("output", root.dtype, "output")
        count = self.writer.fresh("o")
        self.writer.line(f"{count} = {times('u64(k)', rest)}")
        with self.writer.loops(shape) as index:
            self.writer.line(f"output[{count}] = {root.at(*index)}")
            self.writer.line(f"{count} = {count} + u64(1)")


def _ring(step: str, width: int, place: int) -> str:
    return f"(({step}) & u64(7)) * u64({width}) + u64({place})"
