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
        """Raise to a power; exponent 2 is `square`, so any base is fine."""
        if isinstance(exponent, int | float) and exponent == 2:
            return self.square()
        if isinstance(exponent, int | float) and exponent in (0, 1):
            return self * exponent + (1.0 - exponent)  # a ** (b - 1) has no value at 0
        return self._apply(Power(), exponent)

    def __rpow__(self, base: Value) -> Node:
        return self._constant(base) ** self

    def __neg__(self) -> Node:
        return self._apply(Negate())

    if TYPE_CHECKING:

        def _constant(self, value: Value) -> Node: ...

        def square(self) -> Node: ...
