"""`compile`: one training step as a native function, called from Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native.extents import RAGGED
from wyrm_py.engines.native.kernel import Kernel, bind
from wyrm_py.engines.native.loading import ragged_parts
from wyrm_py.engines.native.slots import CONTROL
from wyrm_py.engines.native.source import Source, generate
from wyrm_py.engines.plan import Plan, require_optimizer
from wyrm_py.graph.limits import row_limits
from wyrm_py.graph.op import Array
from wyrm_py.leaves import LeafNode, ParameterNode, require_node, require_nodes
from wyrm_py.nodes import Node
from wyrm_py.ops.gather import check_rows

if TYPE_CHECKING:
    from wyrm_py.optim import Optimizer
from wyrm_py.parameters import HogwildParameter

_BLOCK = CONTROL.index("block")


class CompiledStep:
    """A training step: forward, backward and update in one native call.

    Call it after setting inputs; it returns the loss, the mean over the root's
    elements, from before the update. Only the parameters change: other nodes
    keep their values, gradients from `backward` are neither applied nor
    cleared, and `backward` then needs a new `forward`.

    A parameter that is frozen or freed after compilation is seen: the step is
    then compiled anew. To switch often, compile one step for each set of
    parameters instead. A frozen parameter among those named raises a GraphError.

    Attributes
    ----------
    source : str
        The printed function.
    drawn : int
        Steps that drew random numbers so far; each draws from its own number.
    """

    def __init__(
        self,
        loss: Node,
        optimizer: Optimizer,
        parameters: Iterable[ParameterNode] | None = None,
    ) -> None:
        require_node("compile", "loss", loss)
        require_optimizer("compile", optimizer)
        if parameters is not None:
            parameters = require_nodes("compile", parameters)
        self._root = loss
        self._optimizer = optimizer
        self._given = parameters
        self.drawn = 0
        self._make_plan()

    def _make_plan(self) -> None:
        self._plan = Plan.training(self._root, self._given)
        self._switches = ParameterNode._switches
        self._trained = self._root.parameters() if self._given is None else self._given
        self._ragged = [x for x in self._plan.leaves() if isinstance(x, RAGGED)]
        self._ragged = [x for x in self._ragged if x.segments is not None]
        self._print()

    def _print(self) -> None:
        self._shared = [  # tables that may grow
            (node.block, node.block.rows)
            for node in self._plan.root._leaves()
            if isinstance(node, ParameterNode)
            and isinstance(node.block, HogwildParameter)
            and node.block.capacity > node.block.rows
        ]
        self._limits = _limits(self._plan)
        self._structure = self._optimizer.structure()
        self._version = self._optimizer.version
        self._source: Source = generate(self._plan, self._optimizer)
        self.source = self._source.text
        self._open()

    def _open(self) -> None:
        symbols = {
            self._source.extents.ragged[leaf]: max(
                getattr(leaf, "capacity", None) or 2 * _entries(leaf), 1
            )
            for leaf in self._ragged
            if leaf in self._source.extents.ragged
        }
        self._room = symbols
        columns = _columns(self._plan.leaves())
        binding = bind(
            self._source,
            columns,
            symbols,
            settings=list(self._optimizer.settings().values()),
        )
        self._kernel: Kernel = binding.open()
        self._kernel.control[1] = 1
        self._places = {
            slot.source: k
            for k, slot in enumerate(self._source.slots.slots)
            if slot.kind == "column" and slot.source[0] in self._ragged
        }
        self._address, self._call = self._kernel.address, self._kernel.call

    def __call__(self) -> float:
        """Run one step on the inputs' current values; return the loss."""
        if self._switches != ParameterNode._switches:
            self._follow_switches()
        for block, rows in self._shared:
            if block.rows != rows:
                self._print()
        for limit in self._limits:
            if limit.leaf._tick != limit.checked:
                check_rows("index", limit.node.value, limit.rows)
                limit.checked = limit.leaf._tick
        if self._ragged:
            self._point_at_entries()
        if self._optimizer.version != self._version:
            self._take_settings()
        if self._source.streams:
            self.drawn += 1
            self._kernel.control[_BLOCK] = self.drawn
        loss = self._call(self._address)
        self._root._tick = -1
        return loss

    def _follow_switches(self) -> None:
        """Plan anew if other parameters are trainable than before."""
        trained = self._root.parameters()
        if self._given is not None and all(node.trainable for node in self._given):
            trained = self._given
        if trained != self._trained:
            self._make_plan()
        self._switches = ParameterNode._switches

    def _take_settings(self) -> None:
        if self._optimizer.structure() != self._structure:
            self._print()
        self._kernel.settings[:] = list(self._optimizer.settings().values())
        self._version = self._optimizer.version

    def _point_at_entries(self) -> None:
        names = self._source.extents.ragged
        if any(_entries(x) > self._room.get(names.get(x, ""), 0) for x in self._ragged):
            self._open()
        columns = _columns(self._ragged)
        for source, place in self._places.items():
            self._kernel.point(place, columns[source])


@dataclass(slots=True)
class _Limit:
    """Row numbers of a leaf must stay below `rows`; `checked` is when they did."""

    node: Node
    rows: int
    leaf: LeafNode
    checked: int = -1


def compile(
    loss: Node,
    optimizer: Optimizer,
    parameters: Iterable[ParameterNode] | None = None,
) -> CompiledStep:
    """Compile forward, backward and update of a loss into one native function.

    Parameters
    ----------
    loss : node of any shape; its elements are summed for the gradient
    optimizer : SGD, Adagrad, ...; settings changed later take effect
    parameters : those to update; all trainable ones under the loss by default

    Raises
    ------
    GraphError
        If `parameters` names nodes that are not trainable under the loss.
    CompileError
        If an op has no native text.
    """
    return CompiledStep(loss, optimizer, parameters)


def _limits(plan: Plan) -> list[_Limit]:
    return [
        _Limit(node, rows, owner)
        for node, rows in row_limits(plan.forward).items()
        if isinstance(owner := node.application.owner, LeafNode)
    ]


def _entries(leaf: LeafNode) -> int:
    return ragged_parts(leaf)[0][0].value.size


def _columns(leaves: Iterable[LeafNode]) -> dict[Any, Array]:
    """Return the current values of leaves as columns of one example."""
    columns: dict[Any, Array] = {}
    for leaf in leaves:
        if not isinstance(leaf, RAGGED) or leaf.segments is None:
            columns[leaf, ""] = leaf.value.reshape(-1)
            continue
        for node, part in ragged_parts(leaf):
            columns[leaf, part] = node.value
        lengths = leaf.lengths.value  # type: ignore[union-attr]
        columns[leaf, "offsets"] = np.concatenate([[0], np.cumsum(lengths)])
    return columns
