"""Products of matrices and vectors, and the transpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Op, Reduction, Spec, View, require_floats
from wyrm_py.ops.methods import Methods
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
        if a.shape[1] != b.shape[0]:
            cure = (
                "Transpose the right operand with `.t()`?"
                if a.shape[1] == b.shape[1]
                else "The left's columns must equal the right's rows."
            )
            raise ShapeError(
                f"dot: inner sizes differ, left {a.shape}, right {b.shape}. {cure}"
            )
        return Spec((a.shape[0], b.shape[1]), np.result_type(a.dtype, b.dtype))

    def forward(self, out: Array, *inputs: Array) -> None:
        np.matmul(inputs[0], inputs[1], out=out)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        writer.product(out, *inputs)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        return g.dot(b.t()), a.t().dot(g)

    def step_factors(self, *inputs: Node) -> tuple[Node, ...] | None:
        a, b = inputs
        if not isinstance(a.op, Transpose):
            return None
        return _same_rows(a.application.inputs[0]), _same_rows(b)

    def sum_of_steps(self, like: Node, *stacks: Node) -> Node:
        """The sum of a_t.t() b_t is one product: the rows of all steps."""
        a, b = (stack._apply(MergeAxes()) for stack in stacks)
        return a.t().dot(b)


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


class Transpose(View):
    """Axes in reverse order."""

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[0].shape[::-1], inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0].T

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        (x,) = inputs
        fast = None if x.fast_axis is None else len(x.extents) - 1 - x.fast_axis
        return out.reading(lambda *index: x.at(*index[::-1]), fast_axis=fast)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g.t(),)


def _same_rows(node: Node) -> Node:
    """Return what a node that only adds axes of length one was made of."""
    while isinstance(node.op, Reshape | ExpandDims) and (
        node.application.inputs[0].shape[-1:] == node.shape[-1:]
    ):
        node = node.application.inputs[0]
    return node


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

    def __matmul__(self, other: Value) -> Node:
        return self.dot(other)

    def __rmatmul__(self, other: Value) -> Node:
        left, right = self._pair(other)
        return right.dot(left)

    def vector_dot(self, other: Value) -> Node:
        """Inner products along the last axis, (..., D), (..., D) to (..., 1)."""
        return self._apply(VectorDot(), other)

    def t(self) -> Node:
        """Return the transpose (axes in reverse order)."""
        return self._apply(Transpose())

    if TYPE_CHECKING:

        def _pair(self, other: Value) -> tuple[Node, Node]: ...

        def _constant(self, value: Value) -> Node: ...
