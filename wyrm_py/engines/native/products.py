"""Writes matrix products: calls of the kernel, loops around them, copies before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native.layout import layout
from wyrm_py.engines.native.operands import Operand, plus

if TYPE_CHECKING:
    from wyrm_py.engines.native.writer import Writer


class ProductWriter:
    """Writes the products of one step."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._home = writer.depth
        self._copies: dict[tuple[Any, ...], Operand] = {}

    def write(self, out: Operand, a: Operand, b: Operand, add: bool) -> None:
        """Write matrix products of a and b into `out`, or add them to it."""
        writer, (rows, columns) = self.writer, out.extents[-2:]
        inline = a.extents[-1].is_one or (rows.is_one and columns.is_one)
        if not inline:
            a, b = (self._with_strides(x, out.dtype) for x in (a, b))
        with writer.loops(out.extents[:-2]) as lead:
            left, right = (
                x.within(*lead[len(out.extents) - len(x.extents) :]) for x in (a, b)
            )
            write = self._inner_products if inline else self._gemm
            write(out.within(*lead), left, right, add)

    def _with_strides(self, x: Operand, dtype: np.dtype[Any]) -> Operand:
        """Return `x`, or a copy where the kernel cannot read it in place.

        A copy serves for the transpose too: of the gradient towards a weight matrix.
        """
        if x.dtype == dtype and layout(x) is not None:
            return x
        wanted = (dtype, x.extents, x.at(*_axes(x)))
        if wanted in self._copies:
            return self._copies[wanted]
        copied = self.writer.workspace(dtype, x.extents)
        self.writer.copy(copied, x)
        if self.writer.depth == self._home:
            # made before all that follows, not in a loop; and values do not change
            self._copies[wanted] = copied
            self._copies[dtype, _swapped(x.extents), x.at(*_swapped(_axes(x)))] = (
                Operand(dtype, _swapped(x.extents), lambda *i: copied.at(*_swapped(i)))
            )
        return copied

    def _inner_products(self, out: Operand, a: Operand, b: Operand, add: bool) -> None:
        """Write a product that is short along K, or has one element, as loops."""
        writer, depth = self.writer, a.extents[1]
        with writer.loop(out.extents[0]) as i, writer.loop(out.extents[1]) as j:
            start = out.at(i, j) if add else f"{out.type}(0)"
            if depth.is_one:
                text = f"{a.at(i, '0')} * {b.at('0', j)}"
                writer.line(f"{out.at(i, j)} = {plus(start if add else '0', text)}")
                return
            total = writer.fresh("s")
            writer.line(f"{total} = {start}")
            with writer.loop(depth) as k:
                writer.line(f"{total} = {total} + {a.at(i, k)} * {b.at(k, j)}")
            writer.line(f"{out.at(i, j)} = {total}")

    def _gemm(self, out: Operand, a: Operand, b: Operand, add: bool) -> None:
        """Write the call of the kernel; see `kernel_calls.gemm`."""
        places = []
        for x, strides in ((out, 1), (a, 2), (b, 2)):
            place = layout(x)
            if place is None:
                raise LookupError("a product needs operands with strides")
            places.append(
                ", ".join([place.array, place.start, *place.strides[:strides]])
            )
        lengths = [length.text for length in (*out.extents, a.extents[1])]
        writer = self.writer
        writer.loops_written += 1
        writer.line(f"gemm({writer.slots.kernel('gemm', out.dtype)}, {places[0]},")
        writer.line(f"     {places[1]}, {places[2]},")
        writer.line(f"     {', '.join(lengths)}, u64({int(add)}))")


def _axes(x: Operand) -> tuple[str, ...]:
    return tuple(f"axis{k}_" for k in range(len(x.extents)))


def _swapped(of_axes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what belongs to the axes with the last two exchanged."""
    return (*of_axes[:-2], of_axes[-1], of_axes[-2])
