"""Copies of a graph: every worker of the NumPy engine walks nodes of its own.

A replica is a flat list that pickles whatever the depth of the graph;
parameters travel as their blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wyrm_py.graph.order import topological_order
from wyrm_py.leaves import (
    Constant,
    IndexInputNode,
    InputNode,
    LeafNode,
    ParameterNode,
    SparseInputNode,
)
from wyrm_py.nodes import Application, Node
from wyrm_py.parameters import ParameterBlock
from wyrm_py.sparse_rows import Entries


@dataclass
class Replica:
    """A graph as data: leaves and applications in order."""

    entries: list[tuple[Any, ...]]

    @classmethod
    def of(
        cls, root: Node, blocks: Mapping[int, ParameterBlock] | None = None
    ) -> tuple[Replica, dict[LeafNode, int]]:
        """Return the replica of a root and the number of each leaf in it."""
        replaced = blocks or {}
        order = topological_order([root])
        number = {a: k for k, a in enumerate(order)}
        entries: list[tuple[Any, ...]] = []
        for application in order:
            owner = application.owner
            if isinstance(owner, LeafNode):
                entries.append(("leaf", *_describe(owner, replaced)))
                continue
            inputs = [
                (number[n.application], n.application.outputs.index(n))
                for n in application.inputs
            ]
            specs = [node.spec for node in application.outputs]
            entries.append(("op", application.op, inputs, specs))
        leaves = {a.owner: number[a] for a in order if isinstance(a.owner, LeafNode)}
        return cls(entries), leaves

    def build(self) -> list[Application]:
        """Return new applications, in order; the root's is the last."""
        built: list[Application] = []
        for entry in self.entries:
            if entry[0] == "leaf":
                built.append(_make(*entry[1:]).application)
                continue
            _, op, inputs, specs = entry
            nodes = tuple(built[k].outputs[j] for k, j in inputs)
            application = Application(op, nodes)
            application.outputs = tuple(Node(application, spec) for spec in specs)
            built.append(application)
        return built


def _describe(leaf: LeafNode, blocks: Mapping[int, ParameterBlock]) -> tuple[Any, ...]:
    if isinstance(leaf, ParameterNode):
        block = blocks.get(id(leaf.block), leaf.block)
        return ParameterNode, block, leaf.trainable, leaf.name
    if isinstance(leaf, IndexInputNode):
        return IndexInputNode, leaf.value, leaf.capacity, leaf.name
    if isinstance(leaf, Entries):
        return Entries, leaf.longest, leaf.dtype, leaf.name
    return type(leaf), leaf.value, leaf.dtype, leaf.name


def _make(kind: type[LeafNode], given: Any, setting: Any, name: str | None) -> LeafNode:
    if kind is ParameterNode:
        node = ParameterNode.__new__(ParameterNode)
        node._adopt(given, name, setting)
        return node
    if kind is IndexInputNode:
        return IndexInputNode(given, setting, name)
    if kind is SparseInputNode:
        return SparseInputNode(given, setting, name)
    if kind is InputNode:
        return InputNode(given, setting, name)
    if kind is Entries:
        return Entries(given)
    return Constant(np.asarray(given), setting)
