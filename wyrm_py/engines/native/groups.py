"""Which values share a loop, and which need memory at all.

Every application falls into one class: an alias computes nothing, pointwise
ops and reductions over trailing axes can share a loop nest, and so can sums of rows
with what computes the rows; all others write loops of their own. A value read only
inside its own loop nest stays a local.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wyrm_py.engines.native.extents import Extent, Extents
from wyrm_py.engines.native.operands import Operand, buffer, can_reshape
from wyrm_py.graph.op import Pointwise, Reduction, View
from wyrm_py.leaves import ParameterNode

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node

Space = tuple[Extent, ...]


@dataclass
class Group:
    """One loop nest (over `space`), or one op that writes its own loops.

    `split` is how many outer loops stand around the accumulators of the
    group's reductions; None as long as it has none.
    """

    space: Space | None
    split: int | None = None
    members: list[Application] = field(default_factory=list)


def wide(extents: Iterable[Extent]) -> Space:
    """Return the extents that need a loop."""
    return tuple(extent for extent in extents if not extent.is_one)


def value_inputs(application: Application) -> list[Node]:
    """Return the inputs whose values are used."""
    only = application.op.shape_only
    return [n for k, n in enumerate(application.inputs) if k not in only]


class Grouping:
    """Assigns applications to groups and values to storage.

    once : values read once, after all groups; those made of numbers in other places
        alone are worked out where they are read, and count as aliases
    """

    def __init__(
        self,
        applications: list[Application],
        extents: Extents,
        leaves: dict[Node, Operand],
        kept: set[Node],
        once: Collection[Node] = (),
    ) -> None:
        self.extents = extents
        self.aliases: set[Application] = set()
        self.deferred: set[Application] = set()
        self.groups: list[Group] = []
        self._place: dict[Application, int] = {}
        self._readers: dict[Node, list[tuple[Application, bool]]] = {}
        self.row_sums: set[Application] = set()  # those in the nest of their rows
        sketch = dict(leaves)
        computed = [a for a in applications if not a.is_leaf]
        self._reads = Counter(
            resolved(node, extents)
            for application in computed
            if twin(application.outputs[0], extents) is None
            for node in value_inputs(application)
        )
        waiting = self._chains(once, kept)
        for application in computed:
            if self._locate(application, sketch):
                self.aliases.add(application)
                continue
            if application in waiting and self._reads_elsewhere(application):
                self.deferred.add(application)
                self.aliases.add(application)
            for out in application.outputs:
                sketch[out] = buffer("_", out.dtype, extents.shapes[out])
        merging = [a for a in computed if self._merges(a)]
        self.flat = {  # reshaped in place or copied, so elements must lie in a row
            source
            for application in merging
            for source, _ in self.origins(
                application.inputs[:1]
                if application in self.aliases
                else application.outputs
            )
        }
        for application in computed:
            if application not in self.aliases:
                self._assign(application)
        kept = {source for node in kept for source, _ in self.origins([node])}
        self.in_memory = {
            out
            for application in computed
            if application not in self.aliases
            for out in application.outputs
            if self._needs_memory(application, out, kept)
        }

    def _locate(self, application: Application, sketch: dict[Node, Operand]) -> bool:
        """Whether the value needs no computation; if so note how it is read."""
        operands = alias(application, self.extents, sketch)
        if operands is None:
            return False
        sketch.update(zip(application.outputs, operands, strict=True))
        return True

    def _chains(self, once: Iterable[Node], kept: Collection[Node]) -> set[Application]:
        """Return elementwise ops that nothing but a value read once is made of."""
        stack = [node for node in once if not self._reads[node]]
        found: set[Application] = set()
        while stack:
            node = stack.pop()
            application = node.application
            if isinstance(application.op, Pointwise):
                found.add(application)
                given = value_inputs(application)
                inputs = [resolved(node, self.extents) for node in given]
                stack += [n for n in inputs if self._reads[n] == 1 and n not in kept]
        return found

    def _reads_elsewhere(self, application: Application) -> bool:
        """Whether an elementwise op can as well read its inputs later.

        Parameters may have changed by then, and a number that would stay in a register
        for this op alone would have to be kept.
        """
        space = wide(self.extents.shapes[application.outputs[0]])
        return not any(
            isinstance(node, ParameterNode)
            or (
                direct
                and isinstance(node.application.op, Pointwise)
                and self._reads[node] == 1
                and wide(self.extents.shapes[node]) == space
            )
            for node, direct in self.sources(application)
        )

    def _merges(self, application: Application) -> bool:
        """Whether a view merges or splits axes, not only moves ones about."""
        given, made = application.inputs[0], application.outputs[0]
        other = wide(self.extents.shapes[given]) != wide(self.extents.shapes[made])
        return other and getattr(application.op, "needs_flat", False)

    # -- which loops ------------------------------------------------------

    def space_of(self, application: Application) -> tuple[Space | None, int | None]:
        """Return the loop nest of an application and where its sums stand."""
        op, shapes = application.op, self.extents.shapes
        out = shapes[application.outputs[0]]
        if isinstance(op, Pointwise):
            return wide(out), None
        if not isinstance(op, Reduction):
            return None, None
        whole, gone = reduced_axes(application, shapes)
        kept = [k for k, e in enumerate(whole) if k not in gone and not e.is_one]
        gone_wide = [k for k in gone if not whole[k].is_one]
        if kept and gone_wide and max(kept) > min(gone_wide):
            return None, None  # sums into memory, in the order of the axes
        return wide(whole), len(kept) if gone_wide else None

    def _assign(self, application: Application) -> None:
        space, split = self.space_of(application)
        first = 0
        for source, direct in self.sources(application):
            self._readers.setdefault(source, []).append((application, direct))
            if source.application not in self._place:  # a leaf
                continue
            place = self._place[source.application]
            first = max(first, place + (not self._together(source, direct, space)))
        rows = self._nest_of_rows(application)
        if rows is not None:
            self.row_sums.add(application)
            self.groups[rows].members.append(application)
            self._place[application] = rows
            return
        for place in range(first, len(self.groups)):
            group = self.groups[place]
            if space is None or group.space != space:
                continue
            if split is not None and group.split not in (None, split):
                continue
            break
        else:
            place = len(self.groups)
            self.groups.append(Group(space))
        group = self.groups[place]
        group.members.append(application)
        group.split = split if split is not None else group.split
        self._place[application] = place

    def _together(self, source: Node, direct: bool, space: Space | None) -> bool:
        """Whether a reader may stand in the same loop nest as its source."""
        group = self.groups[self._place[source.application]]
        if space is None or group.space != space:
            return False
        if not space:
            return True  # statements one after the other
        made = source.application
        is_sum = isinstance(made.op, Reduction) or made in self.row_sums
        return direct and not is_sum

    def _nest_of_rows(self, application: Application) -> int | None:
        """Return the nest that works out what an op adds up along the first axis."""
        position, shapes = application.op.adds_rows, self.extents.shapes
        if position is None or not all(
            e.is_one for e in shapes[application.inputs[position]]
        ):
            return None
        rows = application.inputs[0]
        ((source, direct), *others) = self.origins([rows])
        place = self._place.get(source.application)
        if place is None or others or not direct:
            return None
        computed = isinstance(source.application.op, Pointwise)
        same = self.groups[place].space == wide(shapes[rows])
        return place if computed and same and not shapes[rows][0].is_one else None

    def sources(self, application: Application) -> list[tuple[Node, bool]]:
        """Return the computed values and leaves an application reads.

        The flag says whether element by element (True) or through a view.
        """
        return self.origins(value_inputs(application))

    def origins(self, nodes: Iterable[Node]) -> list[tuple[Node, bool]]:
        """Return what values are read from, looking through views: see `sources`."""
        found: list[tuple[Node, bool]] = []
        stack = [(node, True) for node in nodes]
        while stack:
            node, direct = stack.pop()
            below = node.application
            if below in self.aliases:
                same = below.op.same_as is not None
                stack += [(n, direct and same) for n in value_inputs(below)]
            else:
                found.append((node, direct))
        return found

    # -- which storage ----------------------------------------------------

    def _needs_memory(
        self, application: Application, out: Node, kept: set[Node]
    ) -> bool:
        if not wide(self.extents.shapes[out]):
            return False
        if out in kept or not isinstance(application.op, Pointwise):
            return True
        place = self._place[application]
        return any(
            not direct or self._place[reader] != place
            for reader, direct in self._readers.get(out, [])
        )


def reduced_axes(
    application: Application, shapes: dict[Node, Space]
) -> tuple[Space, tuple[int, ...]]:
    """Return the broadcast extents of a reduction's inputs and the axes that go."""
    op = application.op
    inputs = [shapes[n] for n in value_inputs(application)]
    whole = broadcast_extents(inputs)
    if not isinstance(op, Reduction):
        return whole, ()
    out = shapes[application.outputs[0]]
    return whole, op.axes_between([e.is_one for e in whole], [e.is_one for e in out])


def broadcast_extents(shapes: list[Space]) -> Space:
    """Return NumPy's broadcast of extents."""
    ndim = max((len(s) for s in shapes), default=0)
    padded = [(None,) * (ndim - len(s)) + s for s in shapes]
    whole = []
    for axis in zip(*padded, strict=True):
        given = [e for e in axis if e is not None]
        whole.append(next((e for e in given if not e.is_one), given[0]))
    return tuple(whole)


def resolved(node: Node, extents: Extents) -> Node:
    """Return the node whose elements these are, index by index."""
    while (source := twin(node, extents)) is not None:
        node = source
    return node


def twin(node: Node, extents: Extents) -> Node | None:
    """Return the input that a node equals, shapes and dtypes agreeing."""
    application = node.application
    if application.is_leaf or application.op.same_as is None:
        return None
    source = application.inputs[application.op.same_as]
    same = extents.shapes[source] == extents.shapes[node]
    return source if same and source.dtype == node.dtype else None


def alias(
    application: Application, extents: Extents, operands: dict[Node, Operand]
) -> Sequence[Operand] | None:
    """Return the operands of outputs that need no computation, else None."""
    op, out = application.op, application.outputs[0]
    shapes = extents.shapes
    source = twin(out, extents)
    if source is not None:
        return [operands[source]]
    if _only_drops_ones(application, extents):
        blank = Operand(out.dtype, shapes[out], _unread)
        return [blank.reshaping(operands[application.inputs[op.same_as or 0]])]
    if not isinstance(op, View):
        return None
    inputs = [
        operands.get(node) or buffer("_", node.dtype, shapes[node])
        for node in application.inputs
    ]
    if getattr(op, "needs_flat", False) and not can_reshape(inputs[0], shapes[out]):
        return None
    blanks = tuple(Operand(n.dtype, shapes[n], _unread) for n in application.outputs)
    if len(blanks) == 1:
        return [op.locate(blanks[0], *inputs)]
    located: Sequence[Operand] = op.locate(blanks, *inputs)
    return located


def _only_drops_ones(application: Application, extents: Extents) -> bool:
    """Whether a value differs from an input by axes of length one alone."""
    op, out = application.op, application.outputs[0]
    if op.same_as is None:
        return False
    source, shapes = application.inputs[op.same_as], extents.shapes
    return source.dtype == out.dtype and wide(shapes[source]) == wide(shapes[out])


def _unread(*_index: str) -> str:
    return "_"
