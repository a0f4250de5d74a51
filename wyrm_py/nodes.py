"""What the user holds: nodes. The leaves a graph starts from are in leaves.py.

A node has its value as soon as it is built. `forward` computes the values
under it anew from the leaves; `backward` adds gradients, which stay until an
optimizer's `step` or `zero_gradient`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wyrm_py.errors import GraphError
from wyrm_py.graph.op import Array, Op, Spec
from wyrm_py.graph.order import topological_order
from wyrm_py.graph.rows import RowArrays
from wyrm_py.graph.stream import Stream
from wyrm_py.ops.arithmetic import ArithmeticMethods
from wyrm_py.ops.convolution import ConvolutionMethods
from wyrm_py.ops.dropout import DropoutMethods
from wyrm_py.ops.gather import GatherMethods
from wyrm_py.ops.join import JoinMethods
from wyrm_py.ops.linalg import LinalgMethods
from wyrm_py.ops.padding import PaddingMethods
from wyrm_py.ops.pick import PickMethods
from wyrm_py.ops.pointwise import PointwiseMethods
from wyrm_py.ops.pooling import PoolingMethods
from wyrm_py.ops.reduce import ReduceMethods
from wyrm_py.ops.shape import ShapeMethods
from wyrm_py.ops.softmax import SoftmaxMethods

if TYPE_CHECKING:
    from wyrm_py.engines.native.printed import Printed
    from wyrm_py.engines.plan import Backward
    from wyrm_py.leaves import LeafNode, ParameterNode
    from wyrm_py.ops.methods import Value

ticks = itertools.count(1)
"""Time, as far as graphs know it: leaves are set and nodes computed at ticks."""


_streams = itertools.count(1)


class Leaf(Op):
    """The op of nodes that are given rather than computed."""


class Application:
    """An op applied to inputs: the entry of a plan. Usually one output."""

    __slots__ = ("inputs", "op", "outputs", "owner", "shaped_for", "stream")

    def __init__(
        self, op: Op, inputs: tuple[Node, ...], owner: LeafNode | None = None
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.outputs: tuple[Node, ...] = ()
        self.shaped_for: list[Spec] | None = None
        self.owner = owner  # of a leaf: the node the user sets
        self.stream = Stream(next(_streams)) if op.random else None

    @property
    def is_leaf(self) -> bool:
        """Whether the outputs are given rather than computed."""
        return isinstance(self.op, Leaf)


class Node(
    ArithmeticMethods,
    PointwiseMethods,
    ReduceMethods,
    LinalgMethods,
    ShapeMethods,
    JoinMethods,
    GatherMethods,
    SoftmaxMethods,
    PickMethods,
    DropoutMethods,
    PaddingMethods,
    PoolingMethods,
    ConvolutionMethods,
):
    """A value in a graph, with the methods that build on it.

    Nodes are made by leaves and by methods of nodes. They hash by identity.
    """

    __slots__ = (
        "__weakref__",
        "_backward",
        "_gradient",
        "_order",
        "_printed",
        "_tick",
        "_value",
        "application",
        "name",
        "spec",
    )
    __array_ufunc__ = None  # array * node asks the node, not NumPy
    __array_priority__ = 1000

    def __init__(self, application: Application, spec: Spec) -> None:
        self.application = application
        self.spec = spec
        self.name: str | None = None
        self._value: Array | None = None
        self._gradient: Array | RowArrays | None = None
        self._order: list[Application] | None = None
        self._backward: Backward | None = None
        self._printed: Printed | None = None
        self._tick = 0

    # -- what a node is ---------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value; of a ragged node the current one."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the value: float32 or float64 (int64 for row numbers)."""
        return self.spec.dtype

    @property
    def op(self) -> Op:
        """The op that computes this node."""
        return self.application.op

    @property
    def value(self) -> Array:
        """The value after construction, the last `forward` or `set_value`.

        A live array: copy it to keep it.
        """
        if self._value is None:  # a node of a gradient graph, computed on demand
            self.forward()
        return self._value  # type: ignore[return-value]

    @property
    def gradient(self) -> Any:
        """What `backward` calls have added up since the last clearing.

        A dense array of the node's shape; a scipy.sparse array of that shape
        where only rows of a table were touched; None before any `backward`.
        """
        held = self._gradient
        return held.to_scipy(self.shape) if isinstance(held, RowArrays) else held

    def parameters(self) -> list[ParameterNode]:
        """Return the trainable parameter nodes under this node, each once."""
        return [n for n in self._leaves() if getattr(n, "trainable", False)]  # type: ignore[misc]

    def named(self, name: str) -> Node:
        """Give this node a name, and return it: `hidden = x.tanh().named("hidden")`.

        Names stand in errors and drawings, and `find` looks them up.
        """
        self.name = name
        return self

    def find(self, name: str) -> Node:
        """Return the node of that name under this one.

        Raises
        ------
        GraphError
            If none has that name, or several have.
        """
        nodes = [n for a in self._applications() for n in a.outputs]
        found = [node for node in nodes if node.name == name]
        if len(found) == 1:
            return found[0]
        known = ", ".join(sorted({node.name for node in nodes if node.name})) or "none"
        raise GraphError(
            f"find: {len(found)} nodes under {self!r} are named {name!r}, one is "
            f"needed. Names are given with `.named(...)` or `name=`; here: {known}."
        )

    def zero_gradient(self) -> None:
        """Forget the gradients of this node and of all nodes under it."""
        for application in self._applications():
            for node in application.outputs:
                node._gradient = None

    def __repr__(self) -> str:
        label = f" {self.name!r}" if self.name else ""
        kind = type(self).__name__ if self.application.is_leaf else self.op.name
        return f"<{kind}{label} {self.spec}>"

    def __bool__(self) -> bool:
        raise GraphError(
            f"{self!r} has no truth value; compare its `.value`, for instance "
            "`node.value.item() > 0`."
        )

    __iter__ = None  # a node has no length; without this, x[0], x[1], ... is tried

    # -- running ----------------------------------------------------------

    def _applications(self) -> list[Application]:
        if self._order is None:
            self._order = topological_order([self])
        return self._order

    def _leaves(self) -> list[Node]:
        return [a.owner for a in self._applications() if a.owner is not None]

    def forward(self) -> Node:
        """Compute this node and all nodes under it from the leaves."""
        from wyrm_py.engines import numpy as engine

        engine.run(self._applications())
        return self

    def backward(self, weight: ArrayLike = 1.0) -> None:
        """Add the gradients of sum(weight * self) to the nodes under this one.

        Parameters
        ----------
        weight : number, or array of this node's shape

        Raises
        ------
        GraphError
            If a leaf was set after the values were computed: call `forward`.
        ShapeError
            If `weight` does not have this node's shape.
        """
        from wyrm_py.engines import numpy as engine

        self._require_current()
        if self._backward is None or self._backward.parameters != self.parameters():
            from wyrm_py.engines.plan import Backward

            self._backward = Backward.of(self)
        engine.accumulate(self._backward, weight)

    def _require_current(self) -> None:
        for leaf in self._leaves():
            if leaf._tick > self._tick:
                raise GraphError(
                    f"backward: {leaf!r} was set after {self!r} was computed (or "
                    "a compiled step ran over it). Call `.forward()` first."
                )

    # -- building ---------------------------------------------------------

    def apply(self, op: Op, *others: Value) -> Node:
        """Return the value of an op of your own on this node and others."""
        return self._apply(op, *others)

    def _constant(self, value: Value) -> Node:
        if isinstance(value, Node):
            return value._operand()
        from wyrm_py.leaves import Constant

        return Constant(value, self.dtype)

    def _operand(self) -> Node:
        """Return what ops take for this node; some leaves are no operands."""
        return self

    def _row_numbers(self, rows: Value) -> Node:
        if isinstance(rows, Node):
            return rows
        from wyrm_py.leaves import Constant
        from wyrm_py.values import INDEX, as_rows

        return Constant(np.atleast_1d(as_rows("index", rows)), INDEX)

    def _pair(self, other: Value) -> tuple[Node, Node]:
        return self, self._constant(other)

    def _apply(self, op: Op, *others: Value) -> Node:
        return self._apply_many(op, *others)[0]

    def _apply_many(self, op: Op, *others: Value) -> tuple[Node, ...]:
        inputs = (self, *(self._constant(other) for other in others))
        return apply(op, *inputs)

    @staticmethod
    def _apply_to(op: Op, *inputs: Node) -> Node:
        return apply(op, *inputs)[0]


def apply(op: Op, *inputs: Node) -> tuple[Node, ...]:
    """Apply an op to nodes and compute its value, except in gradient graphs."""
    inferred = op.infer(*(node.spec for node in inputs))
    specs = (inferred,) if isinstance(inferred, Spec) else inferred
    application = Application(op, inputs)
    application.outputs = tuple(Node(application, spec) for spec in specs)
    if not getattr(_state, "symbolic", False):
        from wyrm_py.engines import numpy as engine

        with np.errstate(all="ignore"):
            engine.compute(application)
        below = (n._tick for n in inputs if not n.application.is_leaf)
        tick = min((next(ticks), *below))
        for node in application.outputs:
            node._tick = tick
    return application.outputs


_state = threading.local()


@contextmanager
def symbolic() -> Iterator[None]:
    """Build nodes without values while open: for gradient graphs."""
    before = getattr(_state, "symbolic", False)
    _state.symbolic = True
    try:
        yield
    finally:
        _state.symbolic = before
