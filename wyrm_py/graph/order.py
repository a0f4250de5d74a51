"""The order of a step: every application after the ones it reads.

Walks with a stack, not by recursion: graphs of thousands of nodes are normal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node


def topological_order(
    roots: Iterable[Node], *, shapes: bool = True
) -> list[Application]:
    """Return the applications under `roots`, inputs first, each once.

    With `shapes=False`, inputs of which an op uses only the shape are not
    followed, so that what nobody reads is not computed.
    """
    order: list[Application] = []
    seen: set[Application] = set()
    stack = [(root.application, False) for root in reversed(list(roots))]
    while stack:
        application, expanded = stack.pop()
        if expanded:
            order.append(application)
            continue
        if application in seen:
            continue
        seen.add(application)
        stack.append((application, True))
        inputs = application.inputs
        for position in range(len(inputs) - 1, -1, -1):
            if shapes or position not in application.op.shape_only:
                below = inputs[position].application
                if below not in seen:
                    stack.append((below, False))
    return order
