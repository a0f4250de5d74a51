"""`scan`: run a body over a sequence, with states carried from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wyrm_py.errors import DTypeError, GraphError, SettingError, ShapeError
from wyrm_py.graph.body import Body, cut, leaf
from wyrm_py.graph.op import Spec
from wyrm_py.graph.order import topological_order
from wyrm_py.leaves import Constant
from wyrm_py.nodes import Node
from wyrm_py.ops.scan import Repeat, Scan

Several = Node | Sequence[Node]
Step = Callable[[Any, Any], tuple[Any, Any]]


def scan(
    body: Step,
    sequence: Several,
    initial: Several,
    *,
    axis: int = 0,
    ragged: Node | None = None,
    reverse: bool = False,
    truncate: int | None = None,
) -> tuple[Any, Any]:
    """Run `state, output = body(state, x)` for each element x of a sequence.

    The body is traced once and runs as one native loop, so neither compile time
    nor the length of the step's text grow with the sequence. Gradients flow back
    through all steps; what the steps computed is kept, O(length) memory. Values
    from outside (parameters, other nodes) may be used inside; what the body makes
    of those alone is computed once, before the loop.

    Parameters
    ----------
    body : function of (state, x), called once, returns (state, output); where
        `initial` or `sequence` is a tuple, so is the argument, and the state must be
        returned in the form it is given; the output is a node or a tuple of nodes
    sequence : node (T, ...), or a tuple of nodes of one length T >= 0; floats or row
        numbers. x has the shape without `axis`
    initial : node, or a tuple of nodes, of floats: the state before the first step
    axis : the axis of `sequence` that is run over, and of the outputs
    ragged : the index node (with `capacity`) or sparse node whose entries the
        sequence stands for: each example of a batch is a sequence of its own, no
        padding. `initial` is the state each of them starts from, of one example;
        `final` is (b, ...), one for each
    reverse : start from the last element; outputs stay in the order of the sequence
    truncate : int > 0; gradients stop at each multiple of so many steps

    Returns
    -------
    outputs : the outputs of all steps, (T, ...), of the form the body gives
    final : the state after the last step, of the form of `initial`

    Raises
    ------
    ShapeError
        If sequences differ in length or a state changes its shape or dtype.
    GraphError, DTypeError, SettingError
        If the body, the state or a setting is not what is said above.
    """
    sequences, states = _nodes("sequence", sequence), _nodes("initial", initial)
    segments = _require(sequences, states, ragged, axis, truncate)
    before = [leaf(state.spec, np.array(state.value)) for state in states]
    if segments:
        states = [state._apply(Repeat(), segments[1]) for state in states]
    elements = [_element(node, axis) for node in sequences]
    state = before[0] if isinstance(initial, Node) else tuple(before)
    x = elements[0] if isinstance(sequence, Node) else tuple(elements)
    after, outputs = _called(body, state, x)
    traced = _Traced(
        elements, before, _nodes("state", after), _nodes("output", outputs)
    )
    op = Scan(traced.body, bool(reverse), bool(segments), int(truncate or 0))
    sequences = [_moved(node, axis, 0) for node in sequences]
    first, *others = (*sequences, *states, *traced.captured, *segments)
    made = op.split_outputs(first._apply_many(op, *others))
    stacked = dict(zip(traced.body.computed, made.tapes, strict=True))
    stacked.update(zip(traced.body.states, made.before, strict=True))
    stacked.update(zip(traced.body.elements, sequences, strict=True))
    given = [_moved(stacked[node], 0, axis) for node in traced.outputs]
    return (
        given[0] if isinstance(outputs, Node) else tuple(given),
        made.finals[0] if isinstance(initial, Node) else tuple(made.finals),
    )


class _Traced:
    """The body, cut out of the graph it was written in."""

    def __init__(
        self,
        elements: list[Node],
        states: list[Node],
        after: list[Node],
        outputs: list[Node],
    ) -> None:
        if len(after) != len(states):
            raise GraphError(
                f"scan: the body must return as many states as it is given, "
                f"{len(states)}, got {len(after)}."
            )
        roots = [*after, *outputs]
        given = {*elements, *states}
        varying = {node.application for node in given}
        for application in topological_order(roots):
            if any(node.application in varying for node in application.inputs):
                varying.add(application)

        def outside(node: Node) -> bool:
            """Whether a value is the same in all steps, or given."""
            fixed = node.application not in varying
            return node in given or (fixed and not isinstance(node, Constant))

        copies, order = cut(roots, outside)
        for node in outputs:
            if node.application not in varying:
                raise GraphError(
                    f"scan: the output {node!r} is the same in every step; use the "
                    "node itself after the loop."
                )
        for node in given:
            copies.setdefault(node, leaf(node.spec))
        self.captured = [node for node in copies if outside(node) and node not in given]
        self.outputs = [copies[node] for node in outputs]
        self.body = Body(
            elements=tuple(copies[node] for node in elements),
            states=tuple(copies[node] for node in states),
            captured=tuple(copies[node] for node in self.captured),
            after=tuple(copies[node] for node in after),
            sums=(),
            order=order,
        )


def _nodes(what: str, given: Any) -> list[Node]:
    """Return one node or several as a list, or raise a GraphError."""
    several = [given] if isinstance(given, Node) else given
    if isinstance(several, Sequence) and all(isinstance(n, Node) for n in several):
        return [node._operand() for node in several]
    raise GraphError(
        f"scan: the {what} must be a node or a tuple of nodes, got {given!r}."
    )


def _require(
    sequences: list[Node],
    states: list[Node],
    ragged: Any,
    axis: Any,
    truncate: Any,
) -> list[Node]:
    """Return the parts of the ragged node, or raise a typed error."""
    if not sequences:
        raise GraphError("scan: needs at least one sequence; it says how many steps.")
    for node in states:
        if node.spec.is_index:
            raise DTypeError(f"scan: a state must hold floats, got {node!r}.")
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise SettingError(f"scan: axis must be an integer, got {axis!r}.")
    for node in sequences:
        if not -len(node.shape) <= axis < len(node.shape):
            raise ShapeError(
                f"scan: a sequence of shape {node.shape} has no axis {axis}."
            )
    if truncate is not None and not (
        isinstance(truncate, int) and not isinstance(truncate, bool) and truncate > 0
    ):
        raise SettingError(
            f"scan: truncate must be an integer above zero, or None, got {truncate!r}."
        )
    if ragged is None:
        return []
    parts = [getattr(ragged, name, None) for name in ("segments", "lengths")]
    if not all(isinstance(part, Node) for part in parts) or axis != 0:
        raise GraphError(
            "scan: `ragged` takes the IndexInputNode with `capacity` or the "
            "SparseInputNode that the sequence was made of, with axis 0; got "
            f"{ragged!r}, axis {axis}."
        )
    entries = parts[0].shape  # type: ignore[union-attr]
    for node in sequences:
        if node.shape[:1] != entries:
            raise ShapeError(
                f"scan: the first axis of {node.shape} must be that of the ragged "
                f"node, {entries}."
            )
    return parts  # type: ignore[return-value]


def _element(sequence: Node, axis: int) -> Node:
    """Return a leaf for one element, with the value of the first as an example."""
    value = np.moveaxis(sequence.value, axis, 0)
    first = value[0] if len(value) else np.zeros(value.shape[1:], value.dtype)
    return leaf(Spec(first.shape, first.dtype), np.array(first))


def _called(body: Step, state: Any, x: Any) -> tuple[Any, Any]:
    given = body(state, x)
    if not isinstance(given, tuple) or len(given) != 2:
        raise GraphError(
            "scan: the body must return two things, the state after the step and the "
            f"output, got {given!r}."
        )
    return given


def _moved(node: Node, source: int, target: int) -> Node:
    """Return a node with one axis moved to another place."""
    axes = list(range(len(node.shape)))
    axis = axes.pop(source)
    axes.insert(target % len(node.shape), axis)
    return node if axes == sorted(axes) else node.transpose(*axes)
