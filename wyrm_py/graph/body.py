"""The body of a loop: a small graph of its own, cut out of a larger one.

Nodes that the cut-out part takes from outside become leaves, so a body can be
run, printed and sent to workers without the graph it was written in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wyrm_py.graph.op import Array, Spec

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node


@dataclass(frozen=True, eq=False)
class Body:
    """What one step of a loop computes.

    elements : leaves, one element of each sequence
    states : leaves, the states before the step
    captured : leaves, values from outside that are the same in every step
    after : the states after the step, one for each of `states`
    sums : values that are added up over all steps
    order : the applications, inputs first; constants are among them
    """

    elements: tuple[Node, ...]
    states: tuple[Node, ...]
    captured: tuple[Node, ...]
    after: tuple[Node, ...]
    sums: tuple[Node, ...]
    order: tuple[Application, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The leaves that are given."""
        return (*self.elements, *self.states, *self.captured)

    @cached_property
    def computed(self) -> tuple[Node, ...]:
        """The values a step computes, in order."""
        return tuple(n for a in self.order if not a.is_leaf for n in a.outputs)

    @cached_property
    def random(self) -> bool:
        """Whether a step draws random numbers."""
        return any(application.op.random for application in self.order)

    def specs(self, given: Sequence[Spec]) -> dict[Node, Spec]:
        """Return shape and dtype of every value, bodies within included."""
        found = dict(zip(self.inputs, given, strict=True))
        for application in self.order:
            if application.is_leaf:
                found.update((node, node.spec) for node in application.outputs)
                continue
            taken = [found[node] for node in application.inputs]
            inferred = application.op.infer(*taken)
            several = (inferred,) if isinstance(inferred, Spec) else inferred
            found.update(zip(application.outputs, several, strict=True))
            found.update(application.op.inner_specs(*taken))
        return found

    def run(
        self, values: dict[Node, Any], into: Mapping[Node, Array], stream: Any
    ) -> None:
        """Compute one step with NumPy: adds to `values`, writes `into` arrays."""
        for application in self.order:
            if application.is_leaf:
                values.update((node, node.value) for node in application.outputs)
                continue
            given = [values[node] for node in application.inputs]
            outs = [into[node] for node in application.outputs]
            values.update(zip(application.outputs, outs, strict=True))
            if application.op.random:
                given.insert(0, stream)
            application.op.forward(outs[0] if len(outs) == 1 else tuple(outs), *given)

    def needed(self, wanted: Callable[[Node], bool]) -> set[Node]:
        """Return the nodes that wanted values, states and draws are made from."""
        needed = {node for node in (*self.computed, *self.sums) if wanted(node)}
        needed.update(self.after)
        for application in reversed(self.order):
            if application.op.random or not needed.isdisjoint(application.outputs):
                needed.update(application.outputs)
                only = application.op.shape_only
                needed.update(
                    n for k, n in enumerate(application.inputs) if k not in only
                )
        return needed


def leaf(spec: Spec, value: Array | None = None) -> Node:
    """Return a leaf that stands for a value from outside a body."""
    from wyrm_py.nodes import Application, Leaf, Node

    application = Application(Leaf(), ())
    node = Node(application, spec)
    application.outputs = (node,)
    node._value = value
    return node


def cut(
    roots: Sequence[Node], outside: Callable[[Node], bool]
) -> tuple[dict[Node, Node], tuple[Application, ...]]:
    """Copy the graph under `roots`, with a new leaf for each node from `outside`.

    Returns the copy of each node (constants stand for themselves) and the copied
    applications in order.
    """
    copies: dict[Node, Node] = {}
    order: list[Application] = []
    for application in _order_within(roots, outside):
        if application.is_leaf:
            copies.update((node, node) for node in application.outputs)
            order.append(application)
            continue
        order.append(_copied(application, copies, outside))
    for root in roots:
        if root not in copies:
            copies[root] = leaf(root.spec, root._value)
    return copies, tuple(order)


def _copied(
    application: Application, copies: dict[Node, Node], outside: Callable[[Node], bool]
) -> Application:
    from wyrm_py.nodes import Application, Node

    for node in application.inputs:
        if node not in copies:
            copies[node] = leaf(node.spec, node._value)
    made = Application(application.op, tuple(copies[n] for n in application.inputs))
    made.outputs = tuple(Node(made, node.spec) for node in application.outputs)
    for node, copy in zip(application.outputs, made.outputs, strict=True):
        copy.name = node.name
        if not outside(node):
            copies[node] = copy
    return made


def _order_within(
    roots: Sequence[Node], outside: Callable[[Node], bool]
) -> list[Application]:
    order: list[Application] = []
    seen: set[Application] = set()
    stack = [(root, False) for root in reversed(roots) if not outside(root)]
    while stack:
        node, expanded = stack.pop()
        application = node.application
        if expanded:
            order.append(application)
            continue
        if application in seen:
            continue
        seen.add(application)
        stack.append((node, True))
        stack += [
            (below, False)
            for below in reversed(application.inputs)
            if not outside(below) and below.application not in seen
        ]
    return order
