"""The NumPy engine: walks a plan entry by entry.

It serves `forward` and `backward` of single nodes, debugging, dynamic graphs,
and `fit(engine="numpy")`; native code is tested against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Spec
from wyrm_py.graph.rows import RowArrays, RowGradient
from wyrm_py.nodes import Application, Node, ticks
from wyrm_py.values import as_floats

if TYPE_CHECKING:
    from wyrm_py.engines.plan import Backward, Update


def compute(application: Application) -> None:
    """Compute the outputs of one application from its inputs' values.

    The caller silences NumPy: NaN and infinity follow IEEE.
    """
    inputs = application.inputs
    values: list[Any] = [node.value for node in inputs]
    if application.op.sizes_input is not None:
        _size(application, values)
    given = [node.spec for node in inputs]
    if application.shaped_for != given:  # shapes vary with batches and raggeds
        application.shaped_for = given
        inferred = application.op.infer(*given)
        specs = (inferred,) if isinstance(inferred, Spec) else inferred
        for node, spec in zip(application.outputs, specs, strict=True):
            node._value, node.spec = np.empty(spec.shape, spec.dtype), spec
    outs = [node._value for node in application.outputs]
    if application.stream is not None:
        values.insert(0, application.stream)
    out: Any = outs[0] if len(outs) == 1 else tuple(outs)
    application.op.forward(out, *values)


def _size(application: Application, values: Sequence[Any]) -> None:
    """Give a leaf the length that an op finds."""
    leaf = application.inputs[application.op.sizes_input or 0]
    length = application.op.size(*values)
    leaf._value = np.broadcast_to(np.zeros((), leaf.dtype), (length,))
    leaf.spec = Spec((length,), leaf.dtype)


def run(
    applications: Sequence[Application],
    draw: bool = True,
    before: Callable[[Application], object] | None = None,
) -> None:
    """Compute applications in order; `draw=False` keeps random values.

    `before` is called with each application before it is computed.
    """
    tick = next(ticks)
    with np.errstate(all="ignore"):  # NaN and infinity are looked for by `fit`
        for application in applications:
            if application.is_leaf:
                continue
            if before is not None:
                before(application)
            if draw or not application.op.random:
                compute(application)
            for node in application.outputs:
                node._tick = tick


def accumulate(backward: Backward, weight: ArrayLike) -> None:
    """Run a gradient graph and add what it gives to the nodes."""
    root = backward.root
    upstream = as_floats("backward", weight, root.dtype)
    if upstream.ndim and upstream.shape != root.shape:
        raise ShapeError(
            f"backward: the weight must be a number or have the shape of the node, "
            f"{root.shape}, got {upstream.shape}."
        )
    backward.seed._held(np.broadcast_to(upstream, root.shape))
    run(backward.applications)
    leaves = [n for n, _, _ in backward.flows if n.application.is_leaf]
    if all(leaf._gradient is None for leaf in leaves):  # a step has cleared them
        for node, _, _ in backward.flows:
            node._gradient = None
    for node, dense, pairs in backward.flows:
        node._gradient = added(node._gradient, dense, pairs)


def added(
    held: Array | RowArrays | None, dense: Node | None, pairs: Iterable[RowGradient]
) -> Array | RowArrays | None:
    """Return an accumulated gradient plus the parts that just came in."""
    for pair in pairs:
        part = RowArrays.of(pair.rows.value, pair.values.value)
        if held is None:
            held = part
        elif isinstance(held, RowArrays):
            held = held.joined(part)
        else:
            part.add_to(held)
    if dense is not None:
        total = np.array(dense.value)
        if isinstance(held, RowArrays):
            held.add_to(total)
        elif held is not None and held.shape == total.shape:
            total += held  # a ragged node of another length starts anew
        held = total
    return held


def gradients(updates: Iterable[Update]) -> list[Array | RowArrays | None]:
    """Return the gradient of each parameter of a plan that has just run."""
    return [added(None, update.dense, update.pairs) for update in updates]
