"""What all parts of a step share while it is printed: names, numbers, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native.extents import Extents
from wyrm_py.engines.native.loading import LeafLoader
from wyrm_py.engines.native.operands import Operand
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer
from wyrm_py.ops.scan import Scan

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node


@dataclass
class Printing:
    """What all regions of a step share.

    streams : random streams by application, as text
    cut : the step is printed as several functions
    """

    writer: Writer
    extents: Extents
    slots: Slots
    loader: LeafLoader
    streams: Mapping[Application, str]
    cut: bool
    number: dict[Node, int] = field(default_factory=dict)
    cut_numbers: int = 0

    def enumerate(self, applications: Iterable[Application]) -> None:
        """Give the values of applications their numbers in the text."""
        for application in applications:
            for out in application.outputs:
                self.number[out] = len(self.number)
            if isinstance(application.op, Scan):
                body = application.op.body
                for node in body.inputs:
                    self.number[node] = len(self.number)
                self.enumerate(body.order)

    def memory(self, node: Node) -> Operand:
        """Return scratch memory for a value."""
        letter = "r" if node.spec.is_index else "t"
        shape, kind = self.extents.shapes[node], native_dtype(node)
        return self.slots.workspace(f"{letter}{self.number[node]}", kind, shape)


def native_dtype(node: Node) -> Any:
    """Return the dtype a value has in emitted text."""
    return np.dtype(np.uint64) if node.spec.is_index else node.dtype
