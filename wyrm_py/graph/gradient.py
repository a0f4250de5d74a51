"""Reverse mode: the gradient of a graph is a graph.

Walks the applications backwards and adds up what each op's page says. Built
once per root and cached there; nodes below which nothing is trainable get no
gradient, so branches that need none are never built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wyrm_py.graph.op import Pointwise, Reduction
from wyrm_py.graph.order import topological_order
from wyrm_py.graph.rows import RowGradient
from wyrm_py.ops.gather import ScatterRows
from wyrm_py.ops.reduce import SumLike

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node


@dataclass
class Contributions:
    """What flows into one node: dense parts and row pairs."""

    dense: list[Node] = field(default_factory=list)
    rows: list[RowGradient] = field(default_factory=list)

    def add(self, part: Node | RowGradient) -> None:
        """Take one more part."""
        if isinstance(part, RowGradient):
            self.rows.append(part)
        else:
            self.dense.append(part)

    def parts(self) -> list[Node | RowGradient]:
        """Return all parts."""
        return [*self.dense, *self.rows]

    def total(self, like: Node) -> Node:
        """Return the sum as one dense node of the shape of `like`."""
        parts = self.dense + [
            pair.values._apply_to(ScatterRows(), pair.rows, pair.values, like)
            for pair in self.rows
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


def reverse(
    seeds: Mapping[Node, Node], wanted: Callable[[Node], bool]
) -> dict[Node, Contributions]:
    """Return, for each node that leads to a wanted leaf, what flows into it.

    `seeds` gives the gradients of the roots. Leaves keep their parts apart (row
    pairs stay pairs); other nodes have exactly one dense part.
    """
    order = topological_order(seeds)
    needed = _needed(order, wanted)
    flows = {
        root: Contributions(dense=[seed])
        for root, seed in seeds.items()
        if root in needed
    }
    if not flows:
        return flows
    for application in reversed(order):
        outputs = application.outputs
        if application.is_leaf or not any(out in flows for out in outputs):
            continue
        gradients = []
        for out in outputs:
            flow = flows.get(out)
            if flow is not None:
                flow.dense, flow.rows = [flow.total(out)], []
            gradients.append(flow.dense[0] if flow else None)
        several = len(outputs) > 1
        upstream: Any = tuple(gradients) if several else gradients[0]
        parts = application.op.gradient(
            upstream,
            tuple(outputs) if several else outputs[0],
            *application.inputs,
        )
        spreads = isinstance(application.op, Pointwise | Reduction) and len(parts) > 1
        for below, part in zip(application.inputs, parts, strict=True):
            if part is None or below not in needed:
                continue
            flow = flows.setdefault(below, Contributions())
            for one in part if isinstance(part, list) else [part]:
                if not isinstance(one, RowGradient) and (
                    spreads or one.dtype != below.dtype
                ):
                    # always written, dropped where the shapes agree: with another
                    # batch size the same graph may broadcast. It casts as well.
                    one = one._apply_to(SumLike(), one, below)
                flow.add(one)
    return flows


def _needed(order: Iterable[Application], wanted: Callable[[Node], bool]) -> set[Node]:
    """Return the nodes below which a wanted leaf stands."""
    needed: set[Node] = set()
    for application in order:
        inputs, outputs = application.inputs, application.outputs
        leads = any(node in needed for node in inputs)
        for out in outputs:
            if not out.spec.is_index and (leads or wanted(out)):
                needed.add(out)
    return needed
