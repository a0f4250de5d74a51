"""The op contract: what one page about an op must say.

An op states its shape rule (`infer`), its NumPy value (`forward`), its native
text (`emit`, or `expression`, or `locate`) and its gradient, which is a graph.
Engines know the four kinds below and no op by name. An op that fits a kind
gives less: a pointwise op is an expression and a gradient.

Ops hold settings only (axis, slices); two equal settings are the same op.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import CompileError, DTypeError, ShapeError

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


class Spec(NamedTuple):
    """Shape and dtype of one value."""

    shape: Shape
    dtype: np.dtype[Any]

    @property
    def is_index(self) -> bool:
        """Whether the value holds row numbers rather than floats."""
        return self.dtype.kind == "i"

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


class Op:
    """Base of all ops. See the module docstring and the kinds below."""

    shape_only: tuple[int, ...] = ()
    """Positions of inputs of which only the shape is used, never the value."""
    random: bool = False
    """Whether `forward` draws from the stream it is handed first."""

    moves_rows: ClassVar[bool] = False
    """Whether row numbers in the value are row numbers of the inputs."""
    looks_up: ClassVar[tuple[int, int] | None] = None
    """Positions of a table and of the row numbers looked up in it."""
    same_as: ClassVar[int | None] = None
    """Input whose elements the value has, index by index, if shapes agree."""
    gives_rising_rows: bool = False
    """Whether row numbers rise in the first output of a first input of length one."""
    adds_rows: ClassVar[int | None] = None
    """Input whose length of one says that the value is the sum of the first input
    along its first axis."""
    idle_output: ClassVar[int | None] = None
    """Output whose zero says that a step of one example is to do nothing."""
    sizes_input: ClassVar[int | None] = None
    """Position of a leaf that takes a length which this op finds when it runs."""

    @property
    def name(self) -> str:
        """Name of the method a user types: `VectorDot` is `vector_dot`."""
        return _method_name(type(self).__name__)

    def infer(self, *inputs: Spec) -> Spec | tuple[Spec, ...]:
        """Return shape and dtype of the value, or raise a ShapeError."""
        raise NotImplementedError(f"{self.name}: an op needs `infer`")

    def size(self, *inputs: Any) -> int:
        """Return the length that the leaf at `sizes_input` is to have."""
        raise NotImplementedError(f"{self.name}: an op with a length needs `size`")

    def forward(self, out: Any, *inputs: Any) -> None:
        """Write the value into `out` with NumPy."""
        raise NotImplementedError(f"{self.name}: an op needs `forward`")

    def emit(self, writer: Writer, out: Any, *inputs: Any) -> None:
        """Write the loops that fill `out`."""
        raise CompileError(
            f"{self.name}: has no native text. Give the op an `emit` method, or "
            'train with engine="numpy".'
        )

    def places(self, out: Operand, *inputs: Operand) -> Sequence[Operand] | None:
        """Return where in `out` inputs stand unchanged: they are computed there."""
        return None

    def stands_in(self, out: Any, *inputs: Operand) -> Sequence[Operand | None] | None:
        """Return operands of outputs that can be read from inputs after `emit`.

        None for an output that needs memory of its own, or for all of them.
        """
        return None

    def vanishes(self, *zero: bool) -> bool:
        """Whether the value and its gradients are zero where these inputs are."""
        return False

    def row_limits(self, *inputs: Spec) -> dict[int, int]:
        """Return, for inputs that are row numbers, how many rows there are."""
        return {}

    def look_ups(self) -> list[tuple[int, int | None]]:
        """Return positions of tables and of the row numbers looked up in them.

        None stands for row numbers that are worked out inside a loop.
        """
        return [] if self.looks_up is None else [self.looks_up]

    def rows_below(self, *inputs: Spec) -> int:
        """Return the bound of the row numbers this op makes itself; 0 if none."""
        return 0

    def inner_specs(self, *inputs: Spec) -> dict[Node, Spec]:
        """Return shape and dtype of the values of a loop's body."""
        return {}

    def gradient(self, g: Any, out: Any, *inputs: Node) -> Sequence[Any]:
        """Return one gradient per input, built from `g`, `out` and the inputs.

        Each is a node, a RowGradient, a list of those to be added, or None. With
        several outputs `g` and `out` are tuples; None in `g` says that nothing flows.
        """
        return tuple(None for _ in inputs)

    def step_factors(self, *inputs: Node) -> tuple[Node, ...] | None:
        """Return what `sum_of_steps` needs of each step; None if it has no sum."""
        return None

    def sum_of_steps(self, like: Node, *stacks: Node) -> Node:
        """Return the sum of this value over the steps of a loop, all at once.

        `stacks` are the factors of all steps, with a new first axis; `like` has the
        shape of the sum. Spares a loop the addition of a weight matrix's gradient in
        every step.
        """
        raise NotImplementedError(f"{self.name}: has no sum over steps")


@cache
def _method_name(op: str) -> str:
    """Return `vector_dot` for `VectorDot`; asked for thousands of times a plan."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", op).lower()


class View(Op):
    """An op that computes nothing: each element is an element of an input."""

    moves_rows = True

    def vanishes(self, *zero: bool) -> bool:
        return zero[0] and 0 not in self.shape_only

    def locate(self, out: Any, *inputs: Operand) -> Any:
        """Return the operand that reads the value in place; of several a tuple."""
        raise NotImplementedError(f"{self.name}: a view needs `locate`")


class Pointwise(Op):
    """An elementwise op with broadcasting, from one expression.

    `expression` is Python over the inputs `a`, `b`, `c`, the functions of
    `wyrm_py.engines.functions` and `T(number)` for a literal of the value's
    dtype. It serves both engines.
    """

    expression: ClassVar[str]

    def infer(self, *inputs: Spec) -> Spec:
        require_floats(self.name, *inputs)
        return Spec(
            broadcast(self.name, *(spec.shape for spec in inputs)),
            np.result_type(*(spec.dtype for spec in inputs)),
        )

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = evaluate(self.expression, out.dtype, inputs)


class Reduction(Op):
    """A sum (or maximum) of an elementwise expression over some axes."""

    expression: ClassVar[str] = "a"
    combine: ClassVar[str] = "sum"

    def axes(self, ndim: int) -> tuple[int, ...]:
        """Return the axes that go, of the broadcast inputs, in order."""
        raise NotImplementedError(f"{self.name}: a reduction needs `axes`")

    def axes_between(
        self, whole: Sequence[bool], out: Sequence[bool]
    ) -> tuple[int, ...]:
        """Return the axes that go, given which axes have length one."""
        return self.axes(len(whole))

    @property
    def keeps_axes(self) -> bool:
        """Whether reduced axes stay with length one."""
        return True

    def infer(self, *inputs: Spec) -> Spec:
        require_floats(self.name, *inputs)
        shape = broadcast(self.name, *(spec.shape for spec in inputs))
        gone = self.axes(len(shape))
        if self.keeps_axes:
            kept = tuple(1 if k in gone else n for k, n in enumerate(shape))
        else:
            kept = tuple(n for k, n in enumerate(shape) if k not in gone)
        return Spec(kept, np.result_type(*(spec.dtype for spec in inputs)))

    def forward(self, out: Array, *inputs: Array) -> None:
        values = np.asarray(evaluate(self.expression, out.dtype, inputs))
        reduce: Any = np.sum if self.combine == "sum" else np.max
        gone = self.axes(values.ndim)
        out[...] = reduce(values, axis=gone, keepdims=self.keeps_axes)


@cache
def _compiled(expression: str) -> Any:
    """Return an expression as a function of (T, a, b, ...)."""
    from wyrm_py.engines import functions  # stand with the engines, above the ops

    names = [n for n in "abcdefgh" if re.search(rf"\b{n}\b", expression)]
    text = f"lambda T, {', '.join(names)}: {expression}"
    return eval(text, dict(vars(functions)))


def evaluate(expression: str, dtype: np.dtype[Any], inputs: Sequence[Any]) -> Any:
    """Evaluate a pointwise expression over NumPy arrays."""
    return _compiled(expression)(dtype.type, *inputs)


def broadcast(name: str, *shapes: Shape) -> Shape:
    """Return NumPy's broadcast shape, or raise a ShapeError naming the op."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(str(shape) for shape in shapes)
        raise ShapeError(
            f"{name}: operands of shapes {listed} do not broadcast; axes must be "
            "equal or 1, counted from the last. Reshape one of them with "
            "`.reshape(...)`?"
        ) from None


def require_floats(name: str, *inputs: Spec) -> None:
    """Raise a DTypeError if an input holds row numbers."""
    for spec in inputs:
        if spec.is_index:
            raise DTypeError(
                f"{name}: takes float32 or float64 values, got {spec} of an index "
                "node. Look rows up with `table.index(node)`, or feed the numbers "
                "through an InputNode."
            )


def require_index(name: str, spec: Spec) -> None:
    """Raise a DTypeError unless the input holds row numbers."""
    if not spec.is_index:
        raise DTypeError(
            f"{name}: takes an integer index node, got {spec}. Feed row numbers "
            "through an IndexInputNode."
        )


def whole_numbers(name: str, given: Sequence[Any]) -> tuple[int, ...]:
    """Return integers, NumPy's included, or raise a ShapeError."""
    try:
        return tuple(index(one) for one in given)
    except TypeError:
        raise ShapeError(
            f"{name}: shapes and axes must be integers, got {tuple(given)!r}."
        ) from None


def normalize_axes(
    name: str, axis: int | Sequence[int] | None, ndim: int
) -> tuple[int, ...]:
    """Return sorted non-negative axes; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    several = axis if isinstance(axis, Sequence) else (axis,)
    wanted = whole_numbers(name, several)
    for one in wanted:
        if not -ndim <= one < ndim:
            raise ShapeError(
                f"{name}: axis {one} does not exist in a value of {ndim} axes; "
                f"give one from {-ndim} to {ndim - 1}."
            )
    return tuple(sorted({one % ndim for one in wanted}))
