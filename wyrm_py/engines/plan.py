"""Plans: the flat order of a step, the same for both engines.

`Backward` serves `node.backward`: gradients of every node. `Plan` serves
compiled steps and `fit`: the forward nodes, the gradient nodes that updates
need, and one update per parameter block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import CompileError, GraphError, SettingError
from wyrm_py.graph.gradient import Contributions, reverse
from wyrm_py.graph.op import Array, Spec, View
from wyrm_py.graph.order import topological_order
from wyrm_py.graph.rows import RowGradient
from wyrm_py.leaves import Constant, LeafNode, ParameterNode
from wyrm_py.nodes import Application, Node, apply, symbolic
from wyrm_py.parameters import ParameterBlock

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand


@dataclass(frozen=True)
class OnesLike(View):
    """Ones in the shape of a value: the gradient of a sum over it."""

    shape_only = (0,)

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = 1

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        return out.reading(lambda *_: f"{out.type}(1)")


@dataclass
class Backward:
    """The gradient graph of one root, towards every node under it."""

    root: Node
    seed: LeafNode
    applications: list[Application]
    flows: list[tuple[Node, Node | None, list[RowGradient]]]
    parameters: list[ParameterNode]

    @classmethod
    def of(cls, root: Node) -> Backward:
        """Build the gradient graph of a root."""
        with symbolic():
            seed = Constant(np.zeros(root.shape, root.dtype), root.dtype)
            found = reverse({root: seed}, is_trainable)
            flows = [(node, _dense(node, c), c.rows) for node, c in found.items()]
        applications = _new_applications([root], flows)
        return cls(root, seed, applications, flows, root.parameters())


@dataclass
class Update:
    """What one parameter block receives in a step."""

    block: ParameterBlock
    nodes: list[ParameterNode]
    dense: Node | None
    pairs: list[RowGradient]


@dataclass
class Plan:
    """A training step (with updates), or an evaluation (without).

    `watched` are values that a training step writes down, from before its update.
    """

    root: Node
    updates: list[Update]
    forward: list[Application]
    backward: list[Application]
    watched: list[Node] = field(default_factory=list)

    @classmethod
    def training(
        cls,
        root: Node,
        parameters: Iterable[ParameterNode] | None = None,
        watched: Iterable[Node] = (),
    ) -> Plan:
        """Plan forward, gradients and updates of a loss."""
        wanted = root.parameters() if parameters is None else list(parameters)
        chosen = set(wanted)
        below = set(root.parameters())
        if not chosen or not chosen <= below:
            strangers = ", ".join(map(repr, chosen - below)) or "none"
            raise GraphError(
                "parameters: must name trainable parameters under the loss, got "
                f"{strangers}. Under it are "
                f"{', '.join(map(repr, below)) or 'no trainable parameters'}."
            )
        with symbolic():
            (seed,) = apply(OnesLike(), root)
            found = reverse({root: seed}, lambda node: node in chosen)
            updates = _updates(
                [(n, found[n]) for n in wanted if n in found], shared_blocks(wanted)
            )
        flows = [(u.nodes[0], u.dense, u.pairs) for u in updates]
        watched = list(watched)  # first: a step may end early
        forward = topological_order([*watched, root])
        backward = _new_applications([*watched, root], flows)
        return cls(root, updates, forward, backward, watched)

    @classmethod
    def evaluation(cls, root: Node) -> Plan:
        """Plan the forward pass of a node."""
        return cls(root, [], topological_order([root]), [])

    @property
    def applications(self) -> list[Application]:
        """All entries in order."""
        return self.forward + self.backward

    def ends(self) -> list[Node]:
        """Return the values a step is run for."""
        ends = [self.root, *self.watched]
        for update in self.updates:
            ends += [] if update.dense is None else [update.dense]
            for pair in update.pairs:
                ends += [pair.rows, pair.values]
        return ends

    def random(self) -> list[Application]:
        """Return the applications that draw, in the order of their streams."""
        live = set(topological_order(self.ends(), shapes=False))
        return [a for a in self.forward if a.op.random and a in live]

    def look_ups(self) -> list[tuple[Application, ParameterNode, Node]]:
        """Return where rows of updated tables are read, with table and row numbers.

        Raises
        ------
        CompileError
            If row numbers are worked out inside a loop, where nothing can be done
            to the rows before.
        """
        updated = {id(update.block) for update in self.updates}
        found = []
        for application in self.applications:
            for place, rows in application.op.look_ups():
                table = application.inputs[place]
                if not isinstance(table, ParameterNode):
                    continue
                if id(table.block) not in updated:
                    continue
                if rows is None:
                    raise CompileError(
                        "exact_rows: rows looked up inside a scan must be an element "
                        "of its sequence as it stands, or a value from outside, to be "
                        "known before the loop. Look them up before it."
                    )
                found.append((application, table, application.inputs[rows]))
        return found

    def idle(self) -> list[Node]:
        """Return single numbers whose zero says that a step does nothing.

        Only if the loss is a multiple of the number: with other terms beside it,
        or another sampler's, there is still something to do.
        """
        found = []
        for application in self.random():
            position = application.op.idle_output
            if position is None:
                continue
            node = application.outputs[position]
            if set(node.shape) <= {1} and self._vanishes_with(node):
                found.append(node)
        return found

    def _vanishes_with(self, number: Node) -> bool:
        """Whether the loss and all its gradients are zero where `number` is."""
        zero = {number}
        for application in self.forward:
            flags = [node in zero for node in application.inputs]
            if any(flags) and application.op.vanishes(*flags):
                zero.update(application.outputs)
        return self.root in zero

    def leaves(self) -> list[LeafNode]:
        """Return the input leaves (not parameters, not constants), once each."""
        owners = (a.owner for a in self.forward)
        return [
            node
            for node in owners
            if isinstance(node, LeafNode)
            and not isinstance(node, ParameterNode | Constant)
        ]


def require_optimizer(who: str, given: Any) -> None:
    """Raise a SettingError unless an optimizer was given."""
    if isinstance(given, type) or not hasattr(given, "rule"):
        raise SettingError(
            f"{who}: `optimizer` must be an optimizer such as wp.Adagrad(0.05), got "
            f"{given!r}."
        )


def is_trainable(node: Node) -> bool:
    """Whether a node is a parameter that takes gradients."""
    return isinstance(node, ParameterNode) and node.trainable


def shared_blocks(nodes: Iterable[ParameterNode]) -> dict[int, ParameterBlock]:
    """Return the distinct blocks of nodes, by identity."""
    return {id(node.block): node.block for node in nodes}


def _updates(
    found: list[tuple[ParameterNode, Contributions]],
    blocks: dict[int, ParameterBlock],
) -> list[Update]:
    """Join what nodes over one block receive."""
    updates = []
    for key, block in blocks.items():
        nodes = [node for node, _ in found if id(node.block) == key]
        if not nodes:
            continue
        joined = Contributions()
        for node, flow in found:
            if id(node.block) == key:
                joined.dense += flow.dense
                joined.rows += flow.rows
        if joined.dense:  # rows beside a dense gradient are added into it
            updates.append(Update(block, nodes, joined.total(nodes[0]), []))
        else:
            updates.append(Update(block, nodes, None, joined.rows))
    return updates


def _dense(node: Node, flow: Contributions) -> Node | None:
    return Contributions(dense=flow.dense).total(node) if flow.dense else None


def _new_applications(
    roots: Sequence[Node],
    flows: Sequence[tuple[Node, Node | None, list[RowGradient]]],
) -> list[Application]:
    """Return the gradient applications: what flows need beyond the forward."""
    ends: list[Node] = []
    for _, dense, pairs in flows:
        ends += [] if dense is None else [dense]
        for pair in pairs:
            ends += [pair.rows, pair.values]
    known = set(topological_order(roots))
    return [a for a in topological_order(ends, shapes=False) if a not in known]
