"""Arithmetic with NumPy broadcasting: + - * / ** and unary minus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wyrm_py.graph.op import Pointwise
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.nodes import Node
    from wyrm_py.ops.methods import Value


class Add(Pointwise):
    expression = "a + b"

    def vanishes(self, *zero: bool) -> bool:
        return all(zero)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        return g, g


class Subtract(Pointwise):
    expression = "a - b"

    def vanishes(self, *zero: bool) -> bool:
        return all(zero)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        return g, -g


class Multiply(Pointwise):
    expression = "a * b"

    def vanishes(self, *zero: bool) -> bool:
        return any(zero)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        return g * b, g * a


class Divide(Pointwise):
    expression = "a / b"

    def vanishes(self, *zero: bool) -> bool:
        return zero[0]

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        _, b = inputs
        return g / b, -g * out / b


class Negate(Pointwise):
    expression = "-a"

    def vanishes(self, *zero: bool) -> bool:
        return zero[0]

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (-g,)


class Power(Pointwise):
    """a ** b; the gradient towards b needs a > 0, as the function does."""

    expression = "power(a, b)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        return g * b * a ** (b - 1.0), g * out * a.ln()


_PRODUCTS = range(-8, 9)


class ArithmeticMethods(Methods):
    """Operators. Numbers and arrays on either side become constants."""

    __slots__ = ()

    def __add__(self, other: Value) -> Node:
        return self._apply(Add(), other)

    def __radd__(self, other: Value) -> Node:
        return self._constant(other) + self

    def __sub__(self, other: Value) -> Node:
        return self._apply(Subtract(), other)

    def __rsub__(self, other: Value) -> Node:
        return self._constant(other) - self

    def __mul__(self, other: Value) -> Node:
        return self._apply(Multiply(), other)

    def __rmul__(self, other: Value) -> Node:
        return self._constant(other) * self

    def __truediv__(self, other: Value) -> Node:
        return self._apply(Divide(), other)

    def __rtruediv__(self, other: Value) -> Node:
        return self._constant(other) / self

    def __pow__(self, exponent: Value) -> Node:
        """Raise to a power; whole numbers up to 8 are products, of any base."""
        if isinstance(exponent, int | float) and exponent in _PRODUCTS:
            return self._whole_power(int(exponent))
        return self._apply(Power(), exponent)

    def _whole_power(self, exponent: int) -> Node:
        """Multiply out: quicker, and all derivatives exist at 0."""
        if exponent < 0:
            return 1.0 / self._whole_power(-exponent)
        if exponent < 2:
            return self * exponent + (1.0 - exponent)
        if exponent == 2:
            return self.square()
        if exponent % 2:
            return self._whole_power(exponent - 1) * self
        return self._whole_power(exponent // 2).square()

    def __rpow__(self, base: Value) -> Node:
        return self._constant(base) ** self

    def __neg__(self) -> Node:
        return self._apply(Negate())

    def reciprocal(self) -> Node:
        """Return 1 / a."""
        return 1.0 / self

    def axpy(self, alpha: Value, y: Value) -> Node:
        """Return alpha * a + y, with broadcasting."""
        return self * alpha + y

    def convex_combination(self, other: Value, weight: Value) -> Node:
        """Return weight * a + (1 - weight) * other, with broadcasting.

        `weight` is a number or a node, usually in [0, 1]: not checked.
        """
        share = self._constant(weight)
        return self * share + (1.0 - share) * other

    if TYPE_CHECKING:

        def _constant(self, value: Value) -> Node: ...

        def square(self) -> Node: ...
