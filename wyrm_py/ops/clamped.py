"""A logarithm that stays finite at zero, for losses over probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wyrm_py.graph.op import Pointwise

if TYPE_CHECKING:
    from wyrm_py.nodes import Node


class ClampedLn(Pointwise):
    """max(ln(a), -100); the gradient is that of ln with a floor of 1e-12 under a.

    So a probability of exactly zero costs 100 and is still driven up, by a finite
    gradient. In between, from e**-100 to 1e-12, the gradient is too small.
    """

    expression = "maximum(ln(a), T(-100))"

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g / inputs[0].maximum(1e-12),)
