"""Loops over a sequence: a body that is traced once and run step by step.

The gradient of a loop is a loop in the other direction: see reversal.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.body import Body
from wyrm_py.graph.limits import row_limits
from wyrm_py.graph.op import Array, Op, Spec, View
from wyrm_py.ops.reduce import SumLike
from wyrm_py.ops.reversal import Reversal

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.nodes import Node

T = TypeVar("T")


@dataclass(frozen=True)
class Inputs(Generic[T]):
    """What a loop takes.

    elements : sequences, (T, ...) each
    states : initial states; of a ragged loop (b, ...), one for each example
    captured : values that every step sees
    ragged : of a ragged loop the example of each entry (T,), and a value whose
        first axis is the number of examples
    """

    elements: tuple[T, ...]
    states: tuple[T, ...]
    captured: tuple[T, ...]
    ragged: tuple[T, ...]


@dataclass(frozen=True)
class Outputs(Generic[T]):
    """What a loop gives.

    tapes : each value its body computes, of all steps, (T, ...)
    before : the states before each step, (T, ...)
    finals : the states after the last step
    sums : sums over all steps
    """

    tapes: tuple[T, ...]
    before: tuple[T, ...]
    finals: tuple[T, ...]
    sums: tuple[T, ...]


@dataclass(frozen=True, eq=False)
class Scan(Op):
    """A body run for each element of sequences, with states carried along.

    backwards : from the last element to the first
    ragged : the sequences of several examples stand one after the other, each
        starts from a state of its own
    truncate : gradients stop at each multiple of this many steps; 0 never
    """

    body: Body = field(repr=False)
    backwards: bool = False
    ragged: bool = False
    truncate: int = 0

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether the body draws."""
        return self.body.random

    @property
    def shape_only(self) -> tuple[int, ...]:  # type: ignore[override]
        """The number of examples of a ragged loop is a shape."""
        return (len(self.body.inputs) + 1,) if self.ragged else ()

    def split(self, inputs: Sequence[T]) -> Inputs[T]:
        """Name the inputs."""
        body = self.body
        a = len(body.elements)
        b = a + len(body.states)
        c = b + len(body.captured)
        given = tuple(inputs)
        return Inputs(given[:a], given[a:b], given[b:c], given[c:])

    def split_outputs(self, outputs: Sequence[T]) -> Outputs[T]:
        """Name the outputs."""
        body = self.body
        a = len(body.computed)
        b = a + len(body.states)
        c = b + len(body.states)
        given = tuple(outputs)
        return Outputs(given[:a], given[a:b], given[b:c], given[c:])

    # -- shapes -----------------------------------------------------------

    def inner_specs(self, *inputs: Spec) -> dict[Node, Spec]:
        """Return shape and dtype of the values of the body."""
        given = self.split(inputs)
        lead = 1 if self.ragged else 0
        return self.body.specs(
            [
                *(Spec(spec.shape[1:], spec.dtype) for spec in given.elements),
                *(Spec(spec.shape[lead:], spec.dtype) for spec in given.states),
                *given.captured,
            ]
        )

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        given, body = self.split(inputs), self.body
        lengths = {spec.shape[0] for spec in (*given.elements, *given.ragged[:1])}
        if len(lengths) != 1:
            shapes = ", ".join(str(spec.shape) for spec in given.elements)
            raise ShapeError(
                f"scan: sequences must have one length, their first axis; got {shapes}."
            )
        (length,) = lengths
        specs = self.inner_specs(*inputs)
        for state, after in zip(body.states, body.after, strict=True):
            if specs[state] != specs[after]:
                raise ShapeError(
                    f"scan: the body must return a state as it was given, "
                    f"{specs[state]}, got {specs[after]}. Give the initial state the "
                    "shape and dtype of the later ones."
                )
        tapes = (*body.computed, *body.states)
        return (
            *(Spec((length, *specs[n].shape), specs[n].dtype) for n in tapes),
            *given.states,
            *(specs[node] for node in body.sums),
        )

    # -- NumPy --------------------------------------------------------------

    def forward(self, out: Any, *inputs: Any) -> None:
        body, values = self.body, dict[Any, Any]()
        stream = inputs[0] if self.random else None
        inputs = inputs[1:] if self.random else inputs
        given, made = self.split(inputs), self.split_outputs(out)
        values.update(zip(body.captured, given.captured, strict=True))
        for final, initial in zip(made.finals, given.states, strict=True):
            final[...] = initial
        for total in made.sums:
            total[...] = 0
        length = len(given.elements[0])
        for t in reversed(range(length)) if self.backwards else range(length):
            place = (given.ragged[0][t], ...) if self.ragged else ...
            states = [np.array(final[place]) for final in made.finals]
            for tape, state in zip(made.before, states, strict=True):
                tape[t] = state
            values.update(zip(body.states, states, strict=True))
            elements = (sequence[t, ...] for sequence in given.elements)
            values.update(zip(body.elements, elements, strict=True))
            rows = (tape[t, ...] for tape in made.tapes)
            body.run(values, dict(zip(body.computed, rows, strict=True)), stream)
            for final, node in zip(made.finals, body.after, strict=True):
                final[place] = values[node]
            for total, node in zip(made.sums, body.sums, strict=True):
                total += values[node]

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        """Return bounds of the row numbers that look-ups of the body take."""
        specs = self.inner_specs(*inputs)
        found = row_limits(self.body.order, specs)
        place = {node: k for k, node in enumerate(self.body.inputs)}
        return {place[node]: limit for node, limit in found.items() if node in place}

    def look_ups(self) -> list[tuple[int, int | None]]:
        """Return the look-ups of the body in tables from outside."""
        place = {node: k for k, node in enumerate(self.body.inputs)}
        found: list[tuple[int, int | None]] = []
        for application in self.body.order:
            for table, rows in application.op.look_ups():
                if application.inputs[table] in place:
                    given = None if rows is None else application.inputs[rows]
                    known = None if given is None else place.get(given)
                    found.append((place[application.inputs[table]], known))
        return found

    # -- gradient -----------------------------------------------------------

    def gradient(self, g: Any, out: Any, *inputs: Node) -> Sequence[Any]:
        return Reversal(self, g, out, inputs).parts()


@dataclass(frozen=True)
class Repeat(View):
    """A value once for each member of another's axes `first` to `last`.

    (H,) with a sequence (T, B, D) and axes 1 to -1 gives (B, H): the initial state
    of each member of a batch.
    """

    first: int = 0
    last: int | None = None
    shape_only = (1,)

    def infer(self, *inputs: Spec) -> Spec:
        value, like = inputs
        return Spec((*like.shape[self.first : self.last], *value.shape), value.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = inputs[0]

    def locate(self, out: Operand, *inputs: Operand) -> Operand:
        lead = len(out.extents) - len(inputs[0].extents)
        return out.reading(lambda *index: inputs[0].at(*index[lead:]))

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(SumLike(), inputs[0]), None
