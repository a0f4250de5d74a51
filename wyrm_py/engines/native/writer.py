"""Writes lines of Python: indentation, loops, fresh names. Knows no op."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native.extents import Extent, fixed
from wyrm_py.engines.native.layout import layout, line_of
from wyrm_py.engines.native.nests import joined, nest
from wyrm_py.engines.native.operands import Operand, plus
from wyrm_py.engines.native.products import ProductWriter

if TYPE_CHECKING:
    from wyrm_py.engines.native.slots import Slots
    from wyrm_py.graph.op import Array

INDENT = "    "
AXES = 4
"""Axes of the blocks that `block_copy` takes."""


class Writer:
    """Collects the body of the emitted function.

    `loops_written` counts loops, so that a long step can be cut into several
    functions. `slots` is where ops get scratch memory and kernels from. `training`
    is False in an evaluation: then dropout passes all.
    """

    def __init__(self, depth: int = 0, slots: Slots | None = None) -> None:
        self.lines: list[str] = []
        self.depth = depth
        self.loops_written = 0
        self._cuts: list[tuple[int, int]] = [(0, 0)]
        self._counts: dict[str, int] = {}
        self.stream: str | None = None
        self._slots = slots
        self._products = ProductWriter(self)
        self.training = True

    def line(self, text: str) -> None:
        """Write one line."""
        self.lines.append(INDENT * self.depth + text if text else "")

    @property
    def loops_since_cut(self) -> int:
        """Number of loops since the last cut."""
        return self.loops_written - self._cuts[-1][1]

    def cut(self) -> None:
        """End a piece here: what follows stands in another function."""
        if len(self.lines) > self._cuts[-1][0]:
            self._cuts.append((len(self.lines), self.loops_written))

    def pieces(self) -> list[list[str]]:
        """Return the lines between cuts."""
        starts = [start for start, _ in self._cuts]
        ends = [*starts[1:], len(self.lines)]
        return [self.lines[a:b] for a, b in zip(starts, ends, strict=True)]

    def fresh(self, prefix: str) -> str:
        """Return a local name that is not used yet."""
        number = self._counts.get(prefix, 0)
        self._counts[prefix] = number + 1
        return f"{prefix}_{number}"

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Write a header and indent what follows."""
        self.line(header)
        self.depth += 1
        yield
        self.depth -= 1

    @contextmanager
    def loop(self, extent: Extent) -> Iterator[str]:
        """Open a loop over an axis and give the index; none over length one."""
        if extent.is_one:
            yield "0"
            return
        self.loops_written += 1
        index = self.fresh("j")
        with self.block(f"for {index} in range({extent.text}):"):
            yield index

    @contextmanager
    def loops(self, extents: Sequence[Extent]) -> Iterator[list[str]]:
        """Open nested loops and give the indices."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.loop(extent)) for extent in extents]

    def fill(self, out: Operand, number: str) -> None:
        """Write a number into every element of `out`."""
        loops = joined(out.extents, lambda index: [out.at(*index)])
        with nest(self, out.extents, loops) as index:
            self.line(f"{out.at(*index)} = {out.type}({number})")

    @property
    def slots(self) -> Slots:
        """The arrays of the step."""
        if self._slots is None:
            raise LookupError("this writer stands outside a step")
        return self._slots

    def workspace(self, dtype: np.dtype[Any], extents: Sequence[Extent]) -> Operand:
        """Return scratch memory of a shape, with a name of its own."""
        name = self.slots.unique(None, "w")
        return self.slots.workspace(name, dtype, tuple(extents))

    def length(self, number: int) -> Extent:
        """Return an axis length that does not vary."""
        return fixed(number)

    def table(self, numbers: Array) -> str:
        """Return the name of an array of u64 that is known now."""
        return self.slots.table(numbers)

    def copy(self, out: Operand, x: Operand) -> None:
        """Copy `x`, of the same shape, into `out`."""
        with self.loops(out.extents) as index:
            value = x.at(*index)
            text = value if x.dtype == out.dtype else f"{out.type}({value})"
            self.line(f"{out.at(*index)} = {text}")

    def product(
        self, out: Operand, a: Operand, b: Operand, *, accumulate: bool = False
    ) -> None:
        """Write matrix products of a and b into `out`, or add them to it.

        out : shape (..., M, N), in memory, its last axis side by side
        a, b : shapes (..., M, K) and (..., K, N); leading axes broadcast
        """
        self._products.write(out, a, b, accumulate)

    def listed_product(
        self,
        out: tuple[Operand, str, int],
        left: tuple[Operand, str, str, str],
        right: tuple[Operand, str, str],
        sizes: Sequence[int],
        accumulate: bool = False,
    ) -> None:
        """Write the product of parts of arrays; see `kernel_calls`.

        out : array, start, numbers from row to row
        left : array, start, tables of rows and of columns
        right : array, start, table of rows
        sizes : M, N, K
        """
        self.loops_written += 1
        places: list[str] = []
        for array, *rest in (out, left, right):
            place = layout(array)
            if place is None:
                raise LookupError("a product needs operands with strides")
            start = plus("0" if place.start == "u64(0)" else place.start, str(rest[0]))
            start = "u64(0)" if start == "0" else start
            places += [place.array, start, *map(str, rest[1:])]
        places[2] = f"u64({places[2]})"
        arguments = [
            self.slots.kernel("listed_product", out[0].dtype),
            *places,
            *(fixed(size).text for size in sizes),
            f"u64({int(accumulate)})",
        ]
        self.line(f"listed_product({', '.join(arguments)})")

    def row_product(
        self,
        name: str,
        vector: Operand,
        table: Operand,
        entries: tuple[Operand, Operand],
        span: tuple[str, str] | None = None,
        biases: Sequence[Operand] = (),
    ) -> str | None:
        """Return a call of `row_products`; None if a part does not lie side by side.

        name : "sum_of_rows" or "dot_of_rows", with a vector (D,) written or read
        entries : row numbers and weights, (n,); all, or `span`: the first, and how many
        """
        rows, weights = entries
        width = vector.extents[0]
        lines = [line_of(x) for x in (vector, rows, weights)]
        tables = [_whole_table(x) for x in (table, *biases)]
        kinds = {x.dtype for x in (vector, table, weights, *biases)}
        if None in lines or None in tables or len(kinds) > 1 or width.is_one:
            return None
        (array, start), (numbers, first), (factors, same) = lines  # type: ignore[misc]
        if first != same:
            return None
        self.loops_written += 1
        begin, count = span or (first, rows.extents[0].text)
        given = [array, start, tables[0], width.text, numbers, factors, begin, count]
        return f"{name}({', '.join(map(str, given + tables[1:]))})"

    def view(
        self, x: Operand, extents: Sequence[Extent], read: Callable[..., str]
    ) -> Operand:
        """Return an operand of a shape that reads elements of another."""
        return Operand(x.dtype, extents, read)

    def in_a_row(self, x: Operand, dtype: np.dtype[Any]) -> Operand:
        """Return all elements of `x`, of fixed shape, side by side: `x` or a copy."""
        length = fixed(prod(e.fixed or 0 for e in x.extents))
        if x.flat is not None and x.dtype == dtype:
            row = Operand(dtype, (length,), x.flat, x.flat)
            place = layout(row)
            if place is not None and place.strides == ("u64(1)",):
                return row
        copied = self.workspace(dtype, x.extents)
        self.copy(copied, x)
        return self.view(copied, (length,), copied.flat)  # type: ignore[arg-type]

    def block_copy(self, out: Operand, x: Operand) -> None:
        """Copy `x` into `out`, up to four axes of one shape; see `kernel_calls`."""
        to, source = layout(out), layout(x)
        fits = out.dtype == x.dtype and len(out.extents) <= AXES
        if to is None or source is None or not fits:
            self.copy(out, x)
            return
        self.loops_written += 1
        ahead = AXES - len(out.extents)
        arguments = [self.slots.kernel("block_copy", out.dtype)]
        for place in (to, source):
            strides = ("u64(0)",) * ahead + place.strides
            arguments += [place.array, place.start, *strides]
        lengths = ["u64(1)"] * ahead + [extent.text for extent in out.extents]
        self.line(f"block_copy({', '.join(arguments + lengths)})")

    def draw(self) -> str:
        """Draw 64 random bits from the stream of the op being written."""
        stream = self.stream
        self.line(f"{stream} = {stream} + GAMMA")
        bits = self.fresh("draw")
        self.line(f"{bits} = mix({stream})")
        return bits

    def draw_below(self, limit: str) -> str:
        """Draw a row number in [0, limit), limit < 2**32."""
        row = self.fresh("r")
        self.line(f"{row} = ((({self.draw()} >> u64(32)) * {limit}) >> u64(32))")
        return row


def _whole_table(table: Operand) -> str | None:
    """Return the array in which the rows of a table follow each other, if one is."""
    found = layout(table)
    width = table.extents[1]
    strides = (width.text, "u64(0)" if width.is_one else "u64(1)")
    if found is None or found.start != "u64(0)" or found.strides != strides:
        return None
    return found.array
