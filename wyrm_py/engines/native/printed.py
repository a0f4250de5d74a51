"""The printed evaluation of a node, which the node keeps for the next time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import Source, generate
from wyrm_py.engines.plan import Plan
from wyrm_py.graph.limits import row_limits
from wyrm_py.leaves import ParameterNode
from wyrm_py.nodes import Node


@dataclass(frozen=True)
class Printed:
    """A source, and the bounds of the row numbers it may be fed.

    It holds while `state` does: settings, parameter blocks and shapes of leaves, which
    are all that may change under a node.
    """

    state: tuple[Any, ...]
    limits: dict[Node, int]
    source: Source


def printed(plan: Plan, settings: Settings) -> Printed:
    """Return the evaluation of a plan's root, printed anew only if something changed.

    The node holds it, so that it goes where the node goes.
    """
    node = plan.root
    kept, state = node._printed, (settings, *_leaves(plan))
    if kept is None or kept.state != state:
        limits = row_limits(plan.forward)
        kept = Printed(state, limits, generate(plan, None, settings))
        node._printed = kept
    return kept


def _leaves(plan: Plan) -> list[Any]:
    """Return the shapes of all leaves, and the blocks of the parameters."""
    leaves = [a for a in plan.forward if a.owner is not None]
    shapes = [tuple(node.shape for node in a.outputs) for a in leaves]
    owners = [a.owner for a in leaves]
    return [shapes, [p.block for p in owners if isinstance(p, ParameterNode)]]
