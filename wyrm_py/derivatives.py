"""Gradients as nodes, and the checker that compares them with differences."""

from __future__ import annotations

import numpy as np

from wyrm_py.engines import numpy as engine
from wyrm_py.engines.plan import OnesLike
from wyrm_py.errors import DTypeError, GraphError
from wyrm_py.graph.gradient import reverse
from wyrm_py.graph.op import Array
from wyrm_py.leaves import InputNode, ParameterNode
from wyrm_py.nodes import Node, apply, symbolic


def gradient(output: Node, node: Node) -> Node:
    """Return the gradient of the sum of `output` by `node`, as a node.

    It is a graph like any other: run it forward, use it in a loss, or take its
    gradient again.

    Parameters
    ----------
    output : node of any shape; its elements are summed
    node : a node of floats under `output`

    Returns
    -------
    node of the shape of `node` (dense, also for a table of looked-up rows)

    Raises
    ------
    GraphError
        If no gradient flows from `output` to `node`.
    """
    with symbolic():
        (seed,) = apply(OnesLike(), output)
        flows = reverse({output: seed}, lambda other: other is node)
        if node not in flows:
            raise GraphError(
                f"gradient: none flows from {output!r} to {node!r}. Take it by a "
                "node that the output is computed from."
            )
        found = flows[node].total(node)
    return found.forward()


def finite_difference(parameter: Node, output: Node) -> tuple[Array, Array]:
    """Return (numeric, analytic) gradients of the sum of `output`.

    The numeric one is the central difference over each element of `parameter`,
    with a step of the cube root of the dtype's precision, relative to the
    element. Random draws are held fixed. float64 graphs agree to about 1e-8.

    Parameters
    ----------
    parameter : ParameterNode or InputNode under `output`; restored afterwards
    output : node of any shape

    Returns
    -------
    two arrays of the parameter's shape
    """
    if not isinstance(parameter, ParameterNode | InputNode):
        raise DTypeError(
            "finite_difference: takes a ParameterNode or an InputNode, got "
            f"{parameter!r}."
        )
    order = output._applications()
    engine.run(order, draw=False)
    analytic = np.zeros(parameter.shape, parameter.dtype)
    with symbolic():
        (seed,) = apply(OnesLike(), output)
        flow = reverse({output: seed}, lambda node: node is parameter).get(parameter)
        total = None if flow is None else flow.total(parameter)
    if total is not None:
        known = set(order)
        engine.run([a for a in total._applications() if a not in known])
        analytic[...] = total.value
    value = parameter.value
    held = value.copy()
    numeric = np.zeros(value.shape, np.float64)
    base = float(np.finfo(value.dtype).eps) ** (1 / 3)
    try:
        for place in np.ndindex(value.shape):
            step = base * max(1.0, abs(float(held[place])))
            ends = []
            for moved in (held[place] + step, held[place] - step):
                value[place] = moved
                engine.run(order, draw=False)
                ends.append((float(value[place]), output.value.sum(dtype=np.float64)))
            value[place] = held[place]
            numeric[place] = (ends[0][1] - ends[1][1]) / (ends[0][0] - ends[1][0])
    finally:
        value[...] = held
        engine.run(order, draw=False)
    return numeric, analytic
