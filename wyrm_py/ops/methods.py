"""What the method mixins of the op families stand on.

A family's mixin says only `self._apply(Tanh())`; `wyrm_py.nodes.Node` inherits
all mixins and gives `_apply`, so ops never import the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from wyrm_py.graph.op import Op, Spec
    from wyrm_py.nodes import Application, Node

    Value: TypeAlias = Node | ArrayLike


class Methods:
    """Base of the mixins."""

    __slots__ = ()

    if TYPE_CHECKING:
        spec: Spec
        application: Application

        def _apply(self, op: Op, *others: Value) -> Node: ...

        def _apply_many(self, op: Op, *others: Value) -> tuple[Node, ...]: ...

        @staticmethod
        def _apply_to(op: Op, *inputs: Node) -> Node: ...

        @property
        def shape(self) -> tuple[int, ...]: ...

        @property
        def dtype(self) -> np.dtype[Any]: ...
