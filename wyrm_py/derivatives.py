"""Gradients as nodes, Jacobians, and the checker that compares with differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines import numpy as engine
from wyrm_py.engines.plan import OnesLike
from wyrm_py.errors import DTypeError, GraphError, ShapeError
from wyrm_py.graph.gradient import reverse
from wyrm_py.graph.op import Array
from wyrm_py.leaves import Constant, InputNode, ParameterNode
from wyrm_py.nodes import Node, apply, symbolic
from wyrm_py.ops.join import ZerosLike

if TYPE_CHECKING:
    from wyrm_py.ops.methods import Value


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
        (found,) = _gradients(output, [node], seed)
    return _flowing("gradient", output, node, found).forward()


def jacobian(output: Node, node: Node) -> Array:
    """Return the derivatives of every element of `output` by every one of `node`.

    At the current values of the leaves; random draws are held fixed. The Hessian
    of a loss is `jacobian(gradient(loss, node), node)`.

    Parameters
    ----------
    output : node of any shape
    node : a node of floats under `output`

    Returns
    -------
    array of shape (*output.shape, *node.shape), made by one backward pass for
    each element of `output`

    Raises
    ------
    GraphError
        If no gradient flows from `output` to `node`.
    """
    order = output._applications()
    engine.run(order, draw=False)
    with symbolic():
        seed = Constant(np.zeros(output.shape, output.dtype), output.dtype)
        (found,) = _gradients(output, [node], seed)
    row = _flowing("jacobian", output, node, found)
    known = set(order)
    backward = [a for a in row._applications() if a not in known]
    rows = np.empty((*output.shape, *node.shape), row.dtype)
    for place in np.ndindex(output.shape):
        seed.value[place] = 1
        engine.run(backward)
        rows[place] = row.value
        seed.value[place] = 0
    return rows


def hessian_vector_product(
    loss: Node, parameters: Sequence[Node], vectors: Sequence[Value]
) -> list[Node]:
    """Return the Hessian of the sum of `loss` times a vector, as nodes.

    It costs about two gradients; the Hessian itself is never made.

    Parameters
    ----------
    loss : node of any shape; its elements are summed
    parameters : nodes of floats under the loss, whose elements together are what
        the Hessian is taken by
    vectors : one for each of them, of its shape: arrays, or nodes to set later

    Returns
    -------
    one node for each parameter, of its shape; zeros where no gradient flows

    Source: Pearlmutter, "Fast exact multiplication by the Hessian", Neural
    Computation 6 (1994).

    Raises
    ------
    ShapeError
        If the vectors do not have the shapes of the parameters.
    """
    constants = [p._constant(v) for p, v in zip(parameters, vectors, strict=False)]
    wanted, given = [p.shape for p in parameters], [v.shape for v in constants]
    if wanted != given or len(vectors) != len(parameters):
        raise ShapeError(
            "hessian_vector_product: one vector of the shape of each parameter is "
            f"needed, {wanted}, got {len(vectors)} of {given}."
        )
    with symbolic():
        (seed,) = apply(OnesLike(), loss)
        slopes = _gradients(loss, parameters, seed)
        products = [
            (slope * vector).sum()
            for slope, vector in zip(slopes, constants, strict=True)
            if slope is not None
        ]
        found: list[Node | None] = [None] * len(parameters)
        if products:
            projected = sum(products[1:], start=products[0])
            (seed,) = apply(OnesLike(), projected)
            found = _gradients(projected, parameters, seed)
        nodes = [
            apply(ZerosLike(), p)[0] if node is None else node
            for node, p in zip(found, parameters, strict=True)
        ]
    return [node.forward() for node in nodes]


def _gradients(output: Node, nodes: Sequence[Node], seed: Node) -> list[Node | None]:
    """Return what flows into nodes, dense, when `seed` flows into the output."""
    wanted = set(nodes)
    flows = reverse({output: seed}, lambda other: other in wanted)
    return [flows[node].total(node) if node in flows else None for node in nodes]


def _flowing(who: str, output: Node, node: Node, found: Node | None) -> Node:
    if found is None:
        raise GraphError(
            f"{who}: none flows from {output!r} to {node!r}. Take it by a node that "
            "the output is computed from."
        )
    return found


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
        (total,) = _gradients(output, [parameter], seed)
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
