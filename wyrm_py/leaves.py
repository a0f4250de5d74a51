"""The leaves of graphs: parameters, inputs and constants.

A leaf is given, not computed. `set_value` writes into it in place and makes
the values above it stale until the next `forward`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from wyrm_py.errors import GraphError, ParameterError, SettingError, ShapeError
from wyrm_py.graph.op import Array, Op, Spec
from wyrm_py.nodes import Application, Leaf, Node, ticks
from wyrm_py.parameters import HogwildParameter, ParameterBlock, PlainParameter
from wyrm_py.values import INDEX, as_csr, as_floats, as_rows, fit_shape, float_dtype

if TYPE_CHECKING:
    from wyrm_py.ops.methods import Value


class LeafNode(Node):
    """Base of the leaves."""

    __slots__ = ()

    def __init__(self, spec: Spec, value: Array | None, name: str | None) -> None:
        super().__init__(Application(Leaf(), (), owner=self), spec)
        self.application.outputs = (self,)
        self._value = value
        self.name = name

    def _held(self, array: Array) -> None:
        """Take another array as the value, of any shape: batches, raggeds."""
        self._value = array
        self.spec = Spec(array.shape, array.dtype)

    def _touch(self) -> None:
        self._tick = next(ticks)


class Constant(LeafNode):
    """A number or an array that nobody changes.

    Python numbers, lists of them and integer arrays take the dtype of the node they
    meet; float arrays keep theirs, so float32 with float64 gives float64.
    """

    __slots__ = ()
    grows: ClassVar[bool] = False  # more is appended: then no number of it is final

    def __init__(self, value: Any, dtype: np.dtype[Any]) -> None:
        array = np.asarray(value)
        if dtype.kind == "f":
            typed = isinstance(value, np.ndarray | np.generic)
            # numpy.float64 is a float as well, and a mean or a sum often is one
            keeps = typed and array.dtype.kind == "f" and not isinstance(value, float)
            kept = array.dtype if keeps and array.dtype.itemsize >= 4 else dtype
            array = np.array(as_floats("constant", value, kept))
        super().__init__(Spec(array.shape, array.dtype), array, None)


class ParameterNode(LeafNode):
    """A trainable leaf over a private parameter, or a shared one.

    Parameters
    ----------
    value : array_like of finite numbers, any shape; copied
    dtype : float32 (default) or float64
    name : str or None, shown in errors, in `source` and in checkpoints
    trainable : False freezes it: no gradient is built, no optimizer touches it.
        May be set later too; compiled steps follow.

    Each node has its own gradient, also when several nodes share a parameter.
    """

    __slots__ = ("_trainable", "block")
    _switches: ClassVar[int] = 0
    """How often any parameter was frozen or freed: compiled steps look."""

    def __init__(
        self,
        value: ArrayLike,
        dtype: DTypeLike = np.float32,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        if isinstance(value, HogwildParameter):
            raise ParameterError(
                "ParameterNode: takes an array, got a HogwildParameter. Use "
                "`ParameterNode.shared(parameter)`."
            )
        kind = float_dtype("ParameterNode", dtype)
        array = as_floats("ParameterNode", value, kind)
        self._adopt(PlainParameter(array, dtype=kind), name, trainable)

    @classmethod
    def shared(
        cls,
        parameter: HogwildParameter,
        name: str | None = None,
        trainable: bool = True,
    ) -> ParameterNode:
        """Return a node over a parameter in shared memory."""
        if not isinstance(parameter, HogwildParameter):
            raise ParameterError(
                "ParameterNode.shared: takes a HogwildParameter, got "
                f"{type(parameter).__name__}. Make one with "
                "`wp.HogwildParameter(value)`."
            )
        return cls._over(parameter, name, trainable)

    @classmethod
    def _over(
        cls, block: ParameterBlock, name: str | None, trainable: bool
    ) -> ParameterNode:
        node = cls.__new__(cls)
        node._adopt(block, name, trainable)
        return node

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the parameter, not the graph around the node."""
        return type(self)._over, (self.block, self.name, self.trainable)

    def _adopt(self, block: ParameterBlock, name: str | None, trainable: bool) -> None:
        self.block = block
        self._trainable = trainable
        value = block.value
        LeafNode.__init__(self, Spec(value.shape, value.dtype), value, name)

    def move(self, block: ParameterBlock) -> None:
        """Go on with another block of the same shape: `fit` moves to shared memory."""
        self.block = block
        self._held(block.value)

    @property
    def trainable(self) -> bool:
        """Whether gradients are built and optimizers apply; False is frozen."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        if trainable != self._trainable:
            self._trainable = trainable
            ParameterNode._switches += 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value; a shared table may have grown."""
        return self.value.shape

    @property
    def value(self) -> Array:
        """The live array of the parameter."""
        value = self.block.value
        if value.shape != self.spec.shape:  # a shared table has grown
            self._held(value)
        return value

    def set_value(self, value: ArrayLike) -> None:
        """Write a value in place: a number fills, an array must fit the shape."""
        array = as_floats("ParameterNode.set_value", value, self.dtype)
        if not np.isfinite(array).all():
            raise ParameterError(
                "ParameterNode.set_value: finite numbers are required, got NaN or "
                f"infinity for dtype {self.dtype}."
            )
        live = self.value
        live[...] = (
            array
            if array.ndim == 0
            else fit_shape("ParameterNode.set_value", array, live.shape)
        )
        self._touch()


class InputNode(LeafNode):
    """A leaf for floats, set before each step or fed from a column by `fit`.

    Parameters
    ----------
    value : array_like of numbers, any shape; copied, fixes the shape
    dtype : float32 (default) or float64
    name : str or None, shown in errors and drawings

    Raises
    ------
    DTypeError, ShapeError
        If the value is no dense array of numbers, or the dtype is another.
    """

    __slots__ = ()

    def __init__(
        self, value: ArrayLike, dtype: DTypeLike = np.float32, name: str | None = None
    ) -> None:
        kind = float_dtype("InputNode", dtype)
        array = np.array(as_floats("InputNode", value, kind))
        super().__init__(Spec(array.shape, array.dtype), array, name)

    def set_value(self, value: ArrayLike) -> None:
        """Write a value in place: a number fills, an array must fit the shape."""
        if type(value) is float or type(value) is int:  # the fast path of loops
            self._value.fill(value)
        else:
            array = as_floats("InputNode.set_value", value, self.spec.dtype)
            if array.ndim:
                array = fit_shape("InputNode.set_value", array, self.spec.shape)
            self.value[...] = array
        self._tick = next(ticks)


class IndexInputNode(LeafNode):
    """A leaf for row numbers (int64, not negative).

    Parameters
    ----------
    indices : int >= 0, list or integer array of any shape; fixes the shape
    capacity : int >= 1; with it the node is ragged: one axis of 0 to `capacity`
        row numbers, another number each time
    name : str or None, shown in errors and drawings

    Raises
    ------
    DTypeError, IndexRangeError, ShapeError, SettingError
        If these are no integers, negative, more than `capacity`, or it is not >= 1.
    """

    __slots__ = ("capacity", "lengths", "segments")
    _value: Array  # from the start, unlike that of a computed node

    def __init__(
        self, indices: ArrayLike, capacity: int | None = None, name: str | None = None
    ) -> None:
        array = np.atleast_1d(as_rows("IndexInputNode", indices))
        super().__init__(Spec(array.shape, INDEX), array, name)
        self.capacity = None if capacity is None else _capacity(capacity)
        self.segments: Node | None = None
        self.lengths: Node | None = None
        if capacity is not None:
            self._require_room(array)
            self.segments, self.lengths = _ragged_parts(self)
            self._set_entries(array)

    @property
    def value(self) -> Array:
        """The row numbers, read-only: `set_value` checks what native code trusts."""
        view = super().value.view()
        view.flags.writeable = False
        return view

    def _require_room(self, array: Array) -> None:
        if array.ndim != 1 or len(array) > (self.capacity or 0):
            raise ShapeError(
                f"IndexInputNode: takes at most {self.capacity} row numbers in one "
                f"axis, got shape {array.shape}. Declare a larger `capacity`."
            )

    def _set_entries(self, array: Array, lengths: Array | None = None) -> None:
        """Take entries; `lengths` cuts them into the examples of a batch."""
        self._held(array)
        if lengths is None:
            lengths = np.array([len(array)], INDEX)
        _set_parts(self, lengths)

    def set_value(self, indices: ArrayLike) -> None:
        """Set the row numbers; an int fills a node of fixed shape."""
        if type(indices) is int and self.capacity is None and indices >= 0:
            self._value.fill(indices)
            self._tick = next(ticks)
            return
        array = as_rows("IndexInputNode.set_value", indices)
        if self.capacity is not None:
            array = np.atleast_1d(array)
            self._require_room(array)
            self._set_entries(array)
        elif array.ndim:
            owner = "IndexInputNode.set_value"
            super().value[...] = fit_shape(owner, array, self.spec.shape)
        else:
            super().value.fill(int(array))
        self._touch()


class SparseInputNode(LeafNode):
    """A leaf for scipy CSR rows; its one method is `dot(table)`.

    Parameters
    ----------
    rows : scipy.sparse matrix, (b, F); fixes the shape, not how many are stored
    dtype : float32 (default) or float64
    name : str or None, shown in errors and drawings

    Raises
    ------
    DTypeError, DataError, IndexRangeError
        If these are no scipy rows of numbers, or no well-formed ones.
    """

    __slots__ = ("data", "indices", "lengths", "segments")

    def __init__(
        self, rows: Any, dtype: DTypeLike = np.float32, name: str | None = None
    ) -> None:
        kind = float_dtype("SparseInputNode", dtype)
        matrix = as_csr("SparseInputNode", rows)
        super().__init__(Spec(matrix.shape, kind), None, name)
        self.indices = Node(self.application, Spec((0,), INDEX))
        self.data = Node(self.application, Spec((0,), kind))
        self.segments, self.lengths = _ragged_parts(self, self.indices, self.data)
        self._set_rows(matrix)

    def _set_rows(self, matrix: Any) -> None:
        self._value = matrix
        self.spec = Spec(matrix.shape, self.spec.dtype)
        _hold(self.indices, matrix.indices.astype(INDEX))
        _hold(self.data, matrix.data.astype(self.spec.dtype))
        _set_parts(self, np.diff(matrix.indptr).astype(INDEX))

    def set_value(self, rows: Any) -> None:
        """Set other CSR rows of the same shape."""
        matrix = as_csr("SparseInputNode.set_value", rows)
        if matrix.shape != self.spec.shape:
            raise ShapeError(
                "SparseInputNode.set_value: the shape is fixed at creation, "
                f"{self.spec.shape}, got {matrix.shape}."
            )
        self._set_rows(matrix)
        self._touch()

    def dot(self, other: Value) -> Node:
        """Return rows (b, F) times a table (F, D): (b, D), gradient by rows."""
        table = self._constant(other)
        if table.shape[:1] != self.spec.shape[1:] or len(table.shape) != 2:
            raise ShapeError(
                f"dot: inner sizes differ, left {self.shape}, right {table.shape}."
            )
        return table._weighted_rows(self.indices, self.data, self)

    def _apply_many(self, op: Op, *others: Value) -> tuple[Node, ...]:
        return (self._operand(),)

    def _operand(self) -> Node:
        raise GraphError(
            f"{self!r}: a SparseInputNode can only be multiplied with a table, "
            "`rows.dot(table)`. Use an InputNode for dense values."
        )


def _capacity(value: Any) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise SettingError(
            f"IndexInputNode: capacity must be an integer above zero, got {value!r}."
        )
    return int(value)


def _hold(node: Node, array: Array) -> None:
    node._value = array
    node.spec = Spec(array.shape, array.dtype)


def _ragged_parts(owner: LeafNode, *parts: Node) -> tuple[Node, Node]:
    application = owner.application
    segments = Node(application, Spec((0,), INDEX))
    lengths = Node(application, Spec((1,), INDEX))
    application.outputs = (*application.outputs, *parts, segments, lengths)
    return segments, lengths


def _set_parts(owner: Any, lengths: Array) -> None:
    _hold(owner.lengths, lengths)
    _hold(owner.segments, np.repeat(np.arange(len(lengths), dtype=INDEX), lengths))


def named(nodes: Sequence[Node]) -> str:
    """Return a list of nodes for an error message."""
    return ", ".join(repr(node) for node in nodes)


def require_node(who: str, name: str, given: Any) -> None:
    """Raise a GraphError unless a node was given."""
    if not isinstance(given, Node):
        raise GraphError(
            f"{who}: `{name}` must be a node, built from inputs and parameters, got "
            f"{given!r}."
        )


def require_nodes(who: str, given: Any) -> list[Any]:
    """Return the parameters that were given, or raise a GraphError."""
    if isinstance(given, Iterable) and not isinstance(given, Node):
        nodes = list(given)
        if all(isinstance(node, Node) for node in nodes):
            return nodes
    raise GraphError(f"{who}: `parameters` must be a list of nodes, got {given!r}.")
