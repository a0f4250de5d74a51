"""Applications printed one after the other: a whole step, or the body of a loop.

A region decides which values share loops and where they are kept, and writes
them. The body of a `Scan` is a region inside the one its loop stands in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from wyrm_py.engines.native.elements import GroupWriter
from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.groups import (
    Group,
    Grouping,
    alias,
    twin,
    value_inputs,
    wide,
)
from wyrm_py.engines.native.operands import Operand, buffer, local, type_name
from wyrm_py.engines.native.printing import Printing, native_dtype
from wyrm_py.engines.native.writer import Writer
from wyrm_py.graph.op import Op, View
from wyrm_py.ops.scan import Outputs, Scan

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node


class Region:
    """Groups, storage and text of applications.

    operands : of the leaves; those of computed values are added
    kept : values that are read from memory after the region
    stored : values with a place of their own, given from outside
    described : applications that get a comment; all of them by default
    once : kept values that are read once; see `Grouping`
    """

    def __init__(
        self,
        printing: Printing,
        applications: Sequence[Application],
        operands: dict[Node, Operand],
        kept: Collection[Node],
        stored: Mapping[Node, Operand] | None = None,
        described: Sequence[Application] | None = None,
        once: Collection[Node] = (),
    ) -> None:
        self.printing = printing
        self.operands = operands
        self.grouping = Grouping(
            list(applications), printing.extents, dict(operands), set(kept), once
        )
        self.stored = dict(stored or {})
        self.overlapping: set[Node] = set()  # parts of values, computed in place
        self._place_parts(applications)
        self.loops = self._loops(applications, kept)
        self._assign_storage(applications)
        self.groups = GroupWriter(
            printing, self.grouping, operands, described or applications, self.loops
        )

    def write(self) -> None:
        """Write everything."""
        for group in self.grouping.groups:
            self.write_group(group)
        self.groups.describe_all()

    def write_group(self, group: Group) -> None:
        """Write one group."""
        self.groups.write(group)

    # -- storage ------------------------------------------------------------

    def _place_parts(self, applications: Sequence[Application]) -> None:
        """Let parts of a joined value be computed where they belong."""
        grouping, extents = self.grouping, self.printing.extents
        computed = {
            out
            for a in applications
            if not (a.is_leaf or a in grouping.aliases or isinstance(a.op, Scan))
            for out in a.outputs
        }
        for application in reversed(applications):
            out = application.outputs[0]
            if out not in computed or type(application.op).places is Op.places:
                continue
            if out not in self.stored:
                self.stored[out] = self.printing.memory(out)
            inputs = application.inputs
            parts = [buffer("_", n.dtype, extents.shapes[n]) for n in inputs]
            places = application.op.places(self.stored[out], *parts) or ()
            for node, place in zip(inputs, places, strict=False):
                free = node in computed and node not in self.stored
                free = free and node not in grouping.flat
                if free and native_dtype(node) == native_dtype(out):
                    self.stored[node] = place
                    self.overlapping |= {node, out}

    def _loops(
        self, applications: Sequence[Application], kept: Collection[Node]
    ) -> dict[Application, Loop]:
        """Return the loops among applications, with the outputs that are read."""
        read, loops = set(kept), {}
        for application in reversed(applications):
            if isinstance(application.op, Scan):
                flat = self.grouping.flat
                loop = Loop(self.printing, application, read, self.stored, flat)
                loops[application] = loop
                read.update(loop.reads())
                continue
            only = application.op.shape_only
            read.update(n for k, n in enumerate(application.inputs) if k not in only)
        return loops

    def _assign_storage(self, applications: Sequence[Application]) -> None:
        """Give every computed value its operand."""
        grouping = self.grouping
        for application in applications:
            if application.is_leaf:
                continue
            if application in self.loops:
                self.operands.update(self.loops[application].storage(self.operands))
                continue
            if application in grouping.deferred:
                self.operands[application.outputs[0]] = self._worked_out(application)
                continue
            if application in grouping.aliases:
                found = alias(application, self.printing.extents, self.operands)
                if found is not None:
                    self.operands.update(zip(application.outputs, found, strict=True))
                    continue
            self._read_in_place(application)
            for out in application.outputs:
                if out in self.stored:
                    self.operands[out] = self.stored[out]
                    grouping.in_memory.add(out)
                else:
                    self.operands[out] = self._storage(out)

    def _worked_out(self, application: Application) -> Operand:
        """Return the operand of a value that is computed where it is read."""
        out = application.outputs[0]

        def read(*index: str) -> str:
            return f"({self.groups.expression(application, index)})"

        return Operand(out.dtype, self.printing.extents.shapes[out], read)

    def _read_in_place(self, application: Application) -> None:
        """Note where outputs of an op can be read from its inputs."""
        op, shapes = application.op, self.printing.extents.shapes
        if type(op).stands_in is Op.stands_in:
            return
        inputs = [
            self.operands.get(node) or buffer("_", node.dtype, shapes[node])
            for node in application.inputs  # of some only the shape is known
        ]
        blanks = [buffer("_", n.dtype, shapes[n]) for n in application.outputs]
        found = op.stands_in(blanks, *inputs) or ()
        for out, operand in zip(application.outputs, found, strict=False):
            if operand is not None:
                self.stored[out] = operand

    def _storage(self, out: Node) -> Operand:
        printing = self.printing
        shape, kind = printing.extents.shapes[out], native_dtype(out)
        if printing.cut and not wide(shape):
            # cut steps hand numbers from function to function through memory
            printing.cut_numbers += 1
            name = printing.slots.add(
                f"numbers_{type_name(kind)}",
                kind,
                "workspace",
                ((), 1, len(printing.number)),
            )
            place = f"{name}[u64({printing.cut_numbers})]"
            return local(place, out.dtype, shape)
        if out in self.grouping.in_memory:
            return printing.memory(out)
        letter = "r" if out.spec.is_index else "t"
        return local(f"{letter}{printing.number[out]}", out.dtype, shape)


class Loop:
    """Prints one `Scan`: its memory, the loop, and its body as a region inside.

    A state lives in the memory of its final value; tapes hold what other parts of
    the step read of single steps, and nothing else is kept.
    """

    def __init__(
        self,
        printing: Printing,
        application: Application,
        read: set[Node],
        stored: Mapping[Node, Operand],
        flat: Collection[Node],
    ) -> None:
        self.stored = stored
        self.whole = {*stored, *flat}
        self.printing = printing
        self.scan: Scan = application.op  # type: ignore[assignment]
        self.body = self.scan.body
        self.application = application
        self.given = self.scan.split(application.inputs)
        self.made: Outputs[Node] = self.scan.split_outputs(application.outputs)
        sums = zip(self.body.sums, self.made.sums, strict=True)
        self.sums = [(node, total) for node, total in sums if total in read]
        self.tapes: dict[Node, Node] = {}
        self.views: dict[Node, Node] = {}
        self._choose_tapes(read)
        wanted = {*self.tapes, *(node for node, _ in self.sums)}
        self.needed = self.body.needed(wanted.__contains__)

    def _choose_tapes(self, read: set[Node]) -> None:
        """Tell values to keep on tapes from those read through other tapes."""
        body = self.body
        tapes = dict(zip(body.computed, self.made.tapes, strict=True))
        tapes.update(zip(body.states, self.made.before, strict=True))
        stack = [node for node, tape in tapes.items() if tape in read]
        while stack:
            node = stack.pop()
            if node not in tapes:
                continue
            if self._is_view(node) and tapes[node] not in self.whole:
                self.views[node] = tapes[node]
                stack += value_inputs(node.application)
            else:
                self.tapes[node] = tapes[node]

    def _is_view(self, node: Node) -> bool:
        if twin(node, self.printing.extents) is not None:
            return True
        needs_flat = getattr(node.op, "needs_flat", False)
        return isinstance(node.op, View) and not needs_flat

    def reads(self) -> list[Node]:
        """Return the inputs that the loop reads for the outputs that are read."""
        taken = zip(self.body.inputs, self.application.inputs, strict=False)
        found = [outer for inner, outer in taken if inner in self.needed]
        return [*found, *self.given.states, *self.given.ragged[:1]]

    def storage(self, outer: Mapping[Node, Operand]) -> dict[Node, Operand]:
        """Return the memory of the outputs; `outer` will hold it."""
        outputs = (
            *self.tapes.values(),
            *self.made.finals,
            *(total for _, total in self.sums),
        )
        found = {
            out: self.stored.get(out) or self.printing.memory(out) for out in outputs
        }
        for node, tape in self.views.items():
            found[tape] = self._viewed(node, tape, {**outer, **found})
        return found

    def _viewed(self, node: Node, tape: Node, outer: Mapping[Node, Operand]) -> Operand:
        """Return the operand that reads a view of values on tapes."""
        source = twin(node, self.printing.extents)
        if source in self.tapes:
            return outer[self.tapes[source]]

        def read(t: str, *index: str) -> str:
            return self._at_step(node, t, outer).at(*index)

        return Operand(tape.dtype, self.printing.extents.shapes[tape], read)

    def _at_step(self, node: Node, t: str, outer: Mapping[Node, Operand]) -> Operand:
        """Return the operand of a value in step `t`, after the loop."""
        body, given = self.body, self.given
        if node in self.tapes:
            return outer[self.tapes[node]].within(t)
        if node in body.elements:
            return outer[given.elements[body.elements.index(node)]].within(t)
        if node in body.captured:
            return outer[given.captured[body.captured.index(node)]]
        application = node.application
        inner: dict[Node, Operand] = {}
        if application.is_leaf:
            self.printing.loader.add(application, inner)
            return inner[node]
        inner = {n: self._at_step(n, t, outer) for n in value_inputs(application)}
        found = alias(application, self.printing.extents, inner)
        if found is None:
            raise LookupError(f"{application.op.name}: is no view")
        return found[application.outputs.index(node)]

    def write(self, operands: Mapping[Node, Operand]) -> None:
        """Write the loop."""
        writer, given = self.printing.writer, self.given
        for final, initial in zip(self.made.finals, given.states, strict=True):
            _copy(writer, operands[final], operands[initial])
        for _, total in self.sums:
            writer.fill(operands[total], "0")
        self._describe()
        with writer.loop(self._length()) as index:
            self._write_step(operands, self._step(index))

    def _describe(self) -> None:
        """Write a comment that says what the names within the loop stand for."""
        number = self.printing.number
        kinds = (
            ("elements of", self.body.elements, self.given.elements),
            ("states in", self.body.states, self.made.finals),
            ("the same as", self.body.captured, self.given.captured),
        )
        for kind, inner, outer in kinds:
            pairs = [
                f"v{number[a]} {kind} v{number[b]}"
                for a, b in zip(inner, outer, strict=True)
                if a in self.needed
            ]
            if pairs:
                self.printing.writer.line(f"# in the loop {', '.join(pairs)}")

    def _length(self) -> Extent:
        return self.printing.extents.shapes[self.application.inputs[0]][0]

    def _step(self, index: str) -> str:
        """Return the text of the number of the element a step is for."""
        if not self.scan.backwards or index == "0":
            return index
        t = self.printing.writer.fresh("b")
        self.printing.writer.line(f"{t} = {self._length().text} - u64(1) - {index}")
        return t

    def _write_step(self, outer: Mapping[Node, Operand], t: str) -> None:
        body, writer, given = self.body, self.printing.writer, self.given
        inner: dict[Node, Operand] = {}
        for node, sequence in zip(body.elements, given.elements, strict=True):
            if sequence in outer:
                inner[node] = outer[sequence].within(t)
        for node, value in zip(body.captured, given.captured, strict=True):
            if value in outer:
                inner[node] = outer[value]
        finals = [outer[final] for final in self.made.finals]
        if self.scan.ragged:
            example = writer.fresh("r")
            writer.line(f"{example} = {outer[given.ragged[0]].at(t)}")
            finals = [final.within(example) for final in finals]
        inner.update(zip(body.states, finals, strict=True))
        places = {node: outer[tape].within(t) for node, tape in self.tapes.items()}
        for node in body.states:
            if node in places:
                _copy(writer, places[node], inner[node])
        applications = [a for a in body.order if not self.needed.isdisjoint(a.outputs)]
        for application in applications:
            if application.is_leaf:
                self.printing.loader.add(application, inner)
        kept = [*body.after, *self.tapes, *(node for node, _ in self.sums)]
        region = Region(
            self.printing,
            [a for a in applications if not a.is_leaf],
            inner,
            [node for node in kept if node not in inner],
            {node: place for node, place in places.items() if node not in inner},
        )
        region.write()
        for node, place in places.items():
            if node.application in region.grouping.aliases:
                _copy(writer, place, inner[node])
        for node, total in self.sums:
            self._add(outer[total], inner[node])
        self._carry(region, finals)

    def _add(self, total: Operand, part: Operand) -> None:
        with self.printing.writer.loops(total.extents) as index:
            at = total.at(*index)
            self.printing.writer.line(f"{at} = {at} + {part.at(*index)}")

    def _reads_states(self, region: Region, k: int, after: Node) -> bool:
        """Whether a state after the step is made of states, but not as it stands."""
        own = (self.body.states[k], True)
        origins = region.grouping.origins([after])
        return any(o[0] in self.body.states and o != own for o in origins)

    def _carry(self, region: Region, finals: Sequence[Operand]) -> None:
        """Make the states after the step those before the next."""
        writer, slots = self.printing.writer, self.printing.slots
        values = [region.operands[node] for node in self.body.after]
        for k, (node, value) in enumerate(zip(self.body.after, values, strict=True)):
            if self._reads_states(region, k, node):
                # the copy below would write to what it, or another one, still reads
                name = writer.fresh("w")
                values[k] = slots.workspace(name, value.dtype, value.extents)
                _copy(writer, values[k], value)
        for final, value in zip(finals, values, strict=True):
            _copy(writer, final, value)


def _copy(writer: Writer, target: Operand, source: Operand) -> None:
    with writer.loops(target.extents) as index:
        writer.line(f"{target.at(*index)} = {source.at(*index)}")
