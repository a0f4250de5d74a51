"""Products of matrices and vectors, and the transpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import (
    Array,
    Op,
    Reduction,
    Spec,
    View,
    broadcast,
    normalize_axes,
    require_floats,
    whole_numbers,
)
from wyrm_py.ops.methods import Methods
from wyrm_py.ops.reduce import SumLike
from wyrm_py.ops.shape import ExpandDims, MergeAxes, Reshape

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node
    from wyrm_py.ops.methods import Value


class Dot(Op):
    """Matrix product, (M, K) and (K, N) give (M, N)."""

    def infer(self, *inputs: Spec) -> Spec:
        require_floats(self.name, *inputs)
        a, b = inputs
        if len(a.shape) != 2 or len(b.shape) != 2:
            raise ShapeError(
                f"dot: takes two matrices (or a vector in place of one), left "
                f"{a.shape}, right {b.shape}. Reshape with `.reshape(...)`?"
            )
        _require_one_depth(self.name, a, b)
        return Spec((a.shape[0], b.shape[1]), np.result_type(a.dtype, b.dtype))

    def forward(self, out: Array, *inputs: Array) -> None:
        np.matmul(inputs[0], inputs[1], out=out)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        a, b = inputs
        writer.product(out, a, b)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        return g.dot(b.t()), a.t().dot(g)

    def step_factors(self, *inputs: Node) -> tuple[Node, ...] | None:
        a, b = inputs
        if not (isinstance(a.op, Transpose) and a.op.order(2) == (1, 0)):
            return None
        return _same_rows(a.application.inputs[0]), _same_rows(b)

    def sum_of_steps(self, like: Node, *stacks: Node) -> Node:
        """The sum of a_t.t() b_t is one product: the rows of all steps."""
        a, b = (stack._apply(MergeAxes()) for stack in stacks)
        return a.t().dot(b)


class Matmul(Dot):
    """Matrix products of stacks, (..., M, K) and (..., K, N) give (..., M, N).

    Leading axes broadcast, as numpy.matmul does.
    """

    def infer(self, *inputs: Spec) -> Spec:
        require_floats(self.name, *inputs)
        a, b = inputs
        if min(len(a.shape), len(b.shape)) < 2:
            raise ShapeError(
                f"matmul: takes values with axes, left {a.shape}, right {b.shape}. "
                "Multiply by a number with `*`."
            )
        _require_one_depth(self.name, a, b)
        lead = broadcast(self.name, a.shape[:-2], b.shape[:-2])
        shape = (*lead, a.shape[-2], b.shape[-1])
        return Spec(shape, np.result_type(a.dtype, b.dtype))

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        left = g._apply(Matmul(), b.swap_axes(-1, -2))
        right = a.swap_axes(-1, -2)._apply(Matmul(), g)
        return left._apply(SumLike(), a), right._apply(SumLike(), b)

    def step_factors(self, *inputs: Node) -> None:
        return None


def _require_one_depth(name: str, a: Spec, b: Spec) -> None:
    """Raise a ShapeError unless the left's columns are the right's rows."""
    if a.shape[-1] == b.shape[-2]:
        return
    turned = a.shape[-1] == b.shape[-1]
    turn = "`.t()`" if len(b.shape) == 2 else "`.swap_axes(-1, -2)`"
    cure = (
        f"Transpose the right operand with {turn}?"
        if turned
        else "The left's columns must equal the right's rows."
    )
    raise ShapeError(
        f"{name}: inner sizes differ, left {a.shape}, right {b.shape}. {cure}"
    )


class VectorDot(Reduction):
    """Inner products along the last axis: (..., D), (..., D) give (..., 1)."""

    expression = "a * b"

    def infer(self, *inputs: Spec) -> Spec:
        a, b = inputs
        if not a.shape or not b.shape or a.shape[-1] != b.shape[-1]:
            raise ShapeError(
                f"vector_dot: last axes must have one length, left {a.shape}, "
                f"right {b.shape}. For a matrix product use `.dot(...)`."
            )
        return super().infer(*inputs)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return (ndim - 1,)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        return g * b, g * a


@dataclass(frozen=True)
class Transpose(View):
    """Axes in another order: axis k of the value is axis axes[k] of the input."""

    axes: tuple[int, ...] | None = None

    def order(self, ndim: int) -> tuple[int, ...]:
        """Return the axes of the input in their new order; by default reversed."""
        if self.axes is None:
            return tuple(range(ndim))[::-1]
        order = tuple(k + ndim if k < 0 else k for k in self.axes)
        if sorted(order) != list(range(ndim)):
            raise ShapeError(
                f"transpose: each of {ndim} axes must be named once, got {self.axes}."
            )
        return order

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        return Spec(tuple(shape[k] for k in self.order(len(shape))), inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0].transpose(self.order(out.ndim))

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        (x,) = inputs
        order = self.order(len(x.extents))
        back = [order.index(k) for k in range(len(order))]
        return out.reading(lambda *i: x.at(*(i[k] for k in back)))

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        if self.axes is None:
            return (g.t(),)
        order = self.order(len(out.shape))
        return (g.transpose(*(order.index(k) for k in range(len(order)))),)


def _same_rows(node: Node) -> Node:
    """Return what a node that only adds axes of length one was made of."""
    while isinstance(node.op, Reshape | ExpandDims) and (
        node.application.inputs[0].shape[-1:] == node.shape[-1:]
    ):
        node = node.application.inputs[0]
    return node


def _stacked_product(left: Node, right: Node) -> Node:
    """Return numpy.matmul of two nodes."""
    if max(len(left.shape), len(right.shape)) <= 2:
        return left.dot(right)
    if len(left.shape) == 1:
        return left.expand_dims(0)._apply(Matmul(), right).squeeze(-2)
    if len(right.shape) == 1:
        return _stacked_product(left, right.expand_dims(1)).squeeze(-1)
    if len(right.shape) > 2:
        return left._apply(Matmul(), right)
    # one matrix for all rows is one product, and so is its gradient
    rows = left._apply(MergeAxes()).dot(right)
    return rows.reshape(-1, *left.shape[1:-1], right.shape[1])


class LinalgMethods(Methods):
    """Products and the transpose of a node."""

    __slots__ = ()

    def dot(self, other: Value) -> Node:
        """Matrix product; a vector (K,) stands for a row or a column.

        (M, K).dot((K, N)) gives (M, N), (M, K).dot((K,)) gives (M,).
        """
        left, right = self._pair(other)
        row, column = len(left.shape) == 1, len(right.shape) == 1
        product = (left.expand_dims(0) if row else left)._apply(
            Dot(), right.expand_dims(1) if column else right
        )
        if column:
            product = product.squeeze(-1)
        return product.squeeze(0) if row else product

    def matmul(
        self,
        other: Value,
        transpose_left: bool = False,
        transpose_right: bool = False,
        bias: Value | None = None,
    ) -> Node:
        """Matrix products of stacks of matrices; `a @ b` is a.matmul(b).

        (..., M, K) and (..., K, N) give (..., M, N), where leading axes broadcast; a
        vector (K,) stands for a row on the left and for a column on the right, and
        its axis does not come back, all as numpy.matmul does.

        Parameters
        ----------
        other : node or array of at least one axis
        transpose_left, transpose_right : exchange the last two axes of that operand
        bias : added to the products, broadcast to their shape

        Raises
        ------
        ShapeError
            If inner sizes differ, leading axes do not broadcast or an operand has no
            axes (of a transposed one: fewer than two).
        """
        left, right = self._pair(other)
        left = left.swap_axes(-1, -2) if transpose_left else left
        right = right.swap_axes(-1, -2) if transpose_right else right
        product = _stacked_product(left, right)
        return product if bias is None else product + bias

    def __matmul__(self, other: Value) -> Node:
        return self.matmul(other)

    def __rmatmul__(self, other: Value) -> Node:
        left, right = self._pair(other)
        return right.matmul(left)

    def vector_dot(self, other: Value) -> Node:
        """Inner products along the last axis, (..., D), (..., D) to (..., 1)."""
        return self._apply(VectorDot(), other)

    def t(self) -> Node:
        """Return the transpose (axes in reverse order)."""
        return self._apply(Transpose())

    def transpose(self, *axes: int) -> Node:
        """Return the axes in the order given, as numpy.transpose does.

        Axis k of the result is axis `axes[k]` of this value, which may be negative.
        """
        return self._apply(Transpose(whole_numbers("transpose", axes)))

    def swap_axes(self, first: int, second: int) -> Node:
        """Return the value with two axes exchanged."""
        ndim = len(self.shape)
        one, other = (
            normalize_axes("swap_axes", axis, ndim)[0] for axis in (first, second)
        )
        order = list(range(ndim))
        order[one], order[other] = other, one
        return self._apply(Transpose(tuple(order)))

    if TYPE_CHECKING:

        def _pair(self, other: Value) -> tuple[Node, Node]: ...

        def _constant(self, value: Value) -> Node: ...
