"""Functions of one value, element by element.

Each op is an expression and a gradient written in ops; where a textbook form
overflows or cancels, `ln` picks the stable one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wyrm_py.graph.op import Pointwise
from wyrm_py.ops.methods import Methods
from wyrm_py.ops.softmax import Softmax

if TYPE_CHECKING:
    from wyrm_py.nodes import Node
    from wyrm_py.ops.methods import Value


class Square(Pointwise):
    expression = "a * a"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * 2.0 * inputs[0],)


class Sqrt(Pointwise):
    expression = "sqrt(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * 0.5 / out,)


class Exp(Pointwise):
    expression = "exp(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * out,)


class Ln(Pointwise):
    expression = "ln(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g / inputs[0],)


class Log1p(Pointwise):
    """ln(1 + a), exact for tiny a too."""

    expression = "log1p(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g / (1.0 + inputs[0]),)


class Expm1(Pointwise):
    """exp(a) - 1, exact for tiny a too."""

    expression = "expm1(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * inputs[0].exp(),)


class Sin(Pointwise):
    expression = "sin(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * inputs[0].cos(),)


class Cos(Pointwise):
    expression = "cos(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (-g * inputs[0].sin(),)


class Tanh(Pointwise):
    expression = "tanh(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * (1.0 - out.square()),)


class Sigmoid(Pointwise):
    expression = "sigmoid(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * out * (1.0 - out),)


class Softplus(Pointwise):
    """ln(1 + exp(a)), without overflow for large a."""

    expression = "softplus(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * inputs[0].sigmoid(),)


class Relu(Pointwise):
    """max(a, 0); NaN stays NaN. The derivative at 0 is 0."""

    expression = "where(a < T(0), T(0), a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        # by the value, not by a: what was added before needs no memory of its own
        return (g._apply(Select(), out),)


class Select(Pointwise):
    """a where b > 0, else 0: the gradient of `relu` and its kin."""

    expression = "where(b > T(0), a, T(0))"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(Select(), inputs[1]), None


class Absolute(Pointwise):
    expression = "absolute(a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g * inputs[0]._apply(Sign()),)


class Sign(Pointwise):
    expression = "sign(a)"


class Maximum(Pointwise):
    """The larger of two; where both are equal the gradient goes to the first."""

    expression = "where(b > a, b, a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        to_b = g._apply(Select(), b - a)
        return g - to_b, to_b


class Minimum(Pointwise):
    """The smaller of two; where both are equal the gradient goes to the first."""

    expression = "where(b < a, b, a)"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, Node]:
        a, b = inputs
        to_b = g._apply(Select(), a - b)
        return g - to_b, to_b


class PointwiseMethods(Methods):
    """Elementwise functions of a node."""

    __slots__ = ()

    def square(self) -> Node:
        """Return a * a."""
        return self._apply(Square())

    def sqrt(self) -> Node:
        """Return the square root; NaN below zero."""
        return self._apply(Sqrt())

    def exp(self) -> Node:
        """Return e to the power of each element."""
        return self._apply(Exp())

    def ln(self) -> Node:
        """Return the natural logarithm.

        Of a sigmoid node it is built as -softplus(-a), of a softmax node as a
        log-softmax: both stay exact where the plain form underflows.
        """
        application = self.application
        if isinstance(application.op, Sigmoid):
            return -(-application.inputs[0]).softplus()
        if isinstance(application.op, Softmax):
            return application.inputs[0].log_softmax(application.op.axis)
        return self._apply(Ln())

    def log1p(self) -> Node:
        """Return ln(1 + a), exact for tiny a too; -inf at -1, NaN below."""
        return self._apply(Log1p())

    def expm1(self) -> Node:
        """Return exp(a) - 1, exact for tiny a too."""
        return self._apply(Expm1())

    def sin(self) -> Node:
        """Return the sine of angles in radians."""
        return self._apply(Sin())

    def cos(self) -> Node:
        """Return the cosine of angles in radians."""
        return self._apply(Cos())

    def tanh(self) -> Node:
        """Return the hyperbolic tangent."""
        return self._apply(Tanh())

    def sigmoid(self) -> Node:
        """Return 1 / (1 + exp(-a)), in [0, 1]."""
        return self._apply(Sigmoid())

    def softplus(self) -> Node:
        """Return ln(1 + exp(a))."""
        return self._apply(Softplus())

    def relu(self) -> Node:
        """Return max(a, 0); the derivative at 0 is 0."""
        return self._apply(Relu())

    def leaky_relu(self, slope: float = 0.01) -> Node:
        """Return a where a > 0, else slope * a; the derivative at 0 is `slope`."""
        return self.relu() + slope * self.minimum(0.0)

    def elu(self, alpha: float = 1.0) -> Node:
        """Return a where a > 0, else alpha * (exp(a) - 1).

        Source: Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network
        learning by exponential linear units" (2016), equation 15.
        """
        return self.relu() + alpha * self.minimum(0.0).expm1()

    def gelu(self) -> Node:
        """Return a * (1 + tanh(sqrt(2 / pi) * (a + 0.044715 * a ** 3))) / 2.

        The tanh form of a * P(X < a) for a standard normal X, within 5e-4 of it.
        Source: Hendrycks, Gimpel, "Gaussian error linear units" (2016), section 2.
        """
        scaled = math.sqrt(2.0 / math.pi) * (1.0 + 0.044715 * self.square())
        a = self._operand()
        return (0.5 + 0.5 * (scaled * a).tanh()) * a

    def absolute(self) -> Node:
        """Return |a|; the derivative at 0 is 0. `abs(a)` is the same."""
        return self._apply(Absolute())

    def __abs__(self) -> Node:
        return self.absolute()

    def maximum(self, other: Value) -> Node:
        """Return the larger of two values; where they tie the first's gradient."""
        return self._apply(Maximum(), other)

    def minimum(self, other: Value) -> Node:
        """Return the smaller of two values; where they tie the first's gradient."""
        return self._apply(Minimum(), other)

    def clip(self, low: Value, high: Value) -> Node:
        """Return a within [low, high]; the derivative is 0 outside, else 1."""
        return self.maximum(low).minimum(high)

    if TYPE_CHECKING:

        def _operand(self) -> Node: ...
