"""The gradient of a loop: the loop that runs backwards through it.

It reads what the forward steps computed from their tapes, so nothing is computed
twice. Products that only add up over the steps (the gradient of a weight matrix)
leave the loop and become one product of stacked values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.graph.body import Body, cut, leaf
from wyrm_py.graph.gradient import reverse
from wyrm_py.graph.op import Array, Op, Spec, View
from wyrm_py.graph.rows import RowGradient
from wyrm_py.ops.join import ZerosLike
from wyrm_py.ops.reduce import SpreadLike

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.graph.gradient import Contributions
    from wyrm_py.nodes import Node
    from wyrm_py.ops.scan import Scan


class Reversal:
    """Builds the loop that runs backwards through another one.

    The new body reads the old one's inputs, and what its steps computed, as
    elements: `outer` names the stacked value outside that each stands for, `same`
    the value outside of one that does not vary from step to step.
    """

    def __init__(
        self,
        scan: Scan,
        g: Sequence[Node | None],
        out: Sequence[Node],
        inputs: Sequence[Node],
    ) -> None:
        self.scan, self.body = scan, scan.body
        self.given, self.made = scan.split(inputs), scan.split_outputs(out)
        self.upstream = scan.split_outputs(g)
        body, given = self.body, self.given
        self.same = dict(zip(body.captured, given.captured, strict=True))
        self.outer = dict(zip(body.elements, given.elements, strict=True))
        self.outer.update(zip(body.states, self.made.before, strict=True))
        for node, tape in zip(body.computed, self.made.tapes, strict=True):
            if not isinstance(node.op, View):  # views are made anew, at no cost
                self.outer[node] = tape
        self.carried = [leaf(state.spec) for state in body.states]
        self._varying: dict[Node, bool] = {}

    # -- inside the body ----------------------------------------------------

    def parts(self) -> list[Any]:
        """Return the gradient of each input of the loop."""
        body = self.body
        floats = {node for node in body.inputs if not node.spec.is_index}
        flows = reverse(self._seeds(), lambda node: node in floats)
        carry = [
            self._carry(flows.get(state), state, carried)
            for state, carried in zip(body.states, self.carried, strict=True)
        ]
        elements = [flows[n].total(n) if n in flows else None for n in body.elements]
        terms = [
            [self._term(part, node) for part in flows[node].parts()]
            if node in flows
            else []
            for node in body.captured
        ]
        listed = [term for several in terms for term in several]
        stacks = [n for n in elements if n is not None and self._varies(n)]
        stacks += [node for term in listed for node in term.stacks]
        self._loop(carry, stacks, [term.sum for term in listed if term.sum is not None])
        return [
            *(
                None if node is None else self._stacked_like(node, sequence)
                for node, sequence in zip(elements, self.given.elements, strict=True)
            ),
            *self.loop.finals,
            *map(self._outside, terms, self.given.captured),
            *(None for _ in self.given.ragged),
        ]

    def _seeds(self) -> dict[Node, Node]:
        """Return what flows into the values of a step from outside of it."""
        body, upstream = self.body, self.upstream
        seeds: dict[Node, Node] = {}

        def add(node: Node, flow: Node) -> None:
            seeds[node] = seeds[node] + flow if node in seeds else flow

        def from_outside(node: Node, gradient: Node, values: dict[Node, Node]) -> None:
            placeholder = leaf(node.spec)
            values[placeholder] = gradient
            add(node, placeholder)

        taped = (*body.computed, *body.states)
        flows = (*upstream.tapes, *upstream.before)
        for node, gradient in zip(taped, flows, strict=True):
            if gradient is not None:
                from_outside(node, gradient, self.outer)
        for node, gradient in zip(body.sums, upstream.sums, strict=True):
            if gradient is not None:
                from_outside(node, gradient, self.same)
        for node, carried in zip(body.after, self.carried, strict=True):
            add(node, carried)
        return seeds

    def _carry(self, flow: Contributions | None, state: Node, carried: Node) -> Node:
        """Return what a state passes on to the step before."""
        if flow is None:
            return carried._apply(ZerosLike())
        total = flow.total(state)
        if not self.scan.truncate:
            return total
        first = self.given.elements[0]
        op = Uncut(self.scan.truncate, total.dtype, self.scan.backwards)
        mask = first._apply(op, *self.given.ragged[:1])
        passes = leaf(Spec((), total.dtype))
        self.outer[passes] = mask
        return total * passes

    def _term(self, part: Node | RowGradient, captured: Node) -> _Term:
        """Decide how a part of the gradient of a captured value is summed."""
        if isinstance(part, RowGradient):
            if self._varies(part.rows):
                return _Term(part, stacks=(part.rows, part.values))
            return _Term(part, sum=part.values)
        factors = part.op.step_factors(*part.application.inputs)
        if factors is not None and all(map(self._varies, factors)):
            return _Term(part, stacks=factors)
        return _Term(part, sum=part)

    def _varies(self, node: Node) -> bool:
        """Whether a value of the new body differs from step to step."""
        if node not in self._varying:
            self._varying[node] = (
                node in self.outer
                or node in self.carried
                or (
                    node not in self.same
                    and any(map(self._varies, node.application.inputs))
                )
            )
        return self._varying[node]

    # -- the new loop ---------------------------------------------------------

    def _loop(self, carry: list[Node], stacks: list[Node], sums: list[Node]) -> None:
        """Cut the new body out and apply its loop."""
        given = {*self.outer, *self.same, *self.carried}
        self.copies, order = cut([*carry, *stacks, *sums], lambda node: node in given)
        elements = [node for node in self.copies if node in self.outer]
        if not elements:  # the number of steps is that of a sequence
            elements = [self.body.elements[0]]
        same = [node for node in self.copies if node in self.same]
        for node in (*elements, *self.carried):
            self.copies.setdefault(node, leaf(node.spec))

        def copied(nodes: Sequence[Node]) -> tuple[Node, ...]:
            return tuple(self.copies[node] for node in nodes)

        self.new = Body(
            elements=copied(elements),
            states=copied(self.carried),
            captured=copied(same),
            after=copied(carry),
            sums=copied(sums),
            order=order,
        )
        scan = replace(
            self.scan,
            body=self.new,
            backwards=not self.scan.backwards,
            truncate=0,
        )
        first, *others = (
            *(self.outer[node] for node in elements),
            *map(self._initial, self.upstream.finals, self.made.finals),
            *(self.same[node] for node in same),
            *self.given.ragged,
        )
        self.loop = scan.split_outputs(first._apply_many(scan, *others))
        self.sums = dict(zip(self.new.sums, self.loop.sums, strict=True))
        taped = zip(
            (*self.new.computed, *self.new.states),
            (*self.loop.tapes, *self.loop.before),
            strict=True,
        )
        self.tapes = dict(taped)

    def _initial(self, gradient: Node | None, final: Node) -> Node:
        return final._apply(ZerosLike()) if gradient is None else gradient

    # -- outside of it ----------------------------------------------------------

    def _stacked(self, node: Node) -> Node:
        """Return the values of a varying node in all steps."""
        found = self.outer.get(node)
        return self.tapes[self.copies[node]] if found is None else found

    def _stacked_like(self, node: Node, sequence: Node) -> Node:
        if self._varies(node):
            return self._stacked(node)
        return self.same[node]._apply(SpreadLike(None, True), sequence)

    def _outside(self, terms: list[_Term], like: Node) -> Any:
        """Return the gradient of a captured value, `like` its value."""
        found: list[Any] = []
        for term in terms:
            part = term.part
            if isinstance(part, RowGradient):
                if term.sum is None:
                    found.append(RowGradient(*map(self._stacked, term.stacks)))
                else:
                    found.append(RowGradient(self.same[part.rows], self._summed(term)))
            elif term.sum is None:
                found.append(
                    part.op.sum_of_steps(like, *map(self._stacked, term.stacks))
                )
            else:
                found.append(self._summed(term))
        return found or None

    def _summed(self, term: _Term) -> Node:
        return self.sums[self.copies[term.sum]]  # type: ignore[index]


@dataclass(frozen=True)
class _Term:
    """A part of the gradient of a captured value.

    sum : the part itself, if it is added up in the loop
    stacks : else the values that are stacked to make the sum outside
    """

    part: Node | RowGradient
    sum: Node | None = None
    stacks: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Uncut(Op):
    """1 for each step that passes gradients to the step before, else 0: (T,).

    0 at each multiple of `length` steps but the first, counted in the order of the
    steps and within each example of a ragged sequence; of the sequence (T, ...)
    only the shape is used.
    """

    length: int
    dtype: np.dtype[Any]
    backwards: bool
    shape_only = (0,)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[0].shape[:1], self.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        place, before = 0, None
        for t in reversed(range(len(out))) if self.backwards else range(len(out)):
            example = inputs[1][t] if len(inputs) > 1 else 0
            place = place + 1 if example == before else 0
            before = example
            out[t] = place % self.length != 0 or place == 0

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        place, example, before = (writer.fresh("s") for _ in range(3))
        (length,) = out.extents
        writer.line(f"{place} = u64(0)")
        writer.line(f"{before} = u64(0)")
        with writer.loop(length) as step:
            t = f"({length.text} - u64(1) - {step})" if self.backwards else step
            given = inputs[1].at(t) if len(inputs) > 1 else "u64(0)"
            writer.line(f"{example} = u64({given})")
            same = f"({example} == {before}) & (u64({step}) > u64(0))"
            writer.line(f"{place} = where({same}, {place} + u64(1), u64(0))")
            writer.line(f"{before} = {example}")
            whole = f"({place} % u64({self.length}) != u64(0)) | ({place} == u64(0))"
            writer.line(f"{out.at(t)} = where({whole}, {out.type}(1), {out.type}(0))")
