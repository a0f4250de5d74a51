"""Native text of the three convolutions: one kernel of products, no copied windows.

An image is copied to scratch in planes: with stride s, cell q of plane r is cell
q * s + r of the image. In a plane, element k of the window that stands at p lies at
p + shift(k) whatever the stride. So each of the three is a matrix product in which
the rows of one factor are overlapping parts of planes, in memory order:

    convolve    g[o, p]     = sum over (c, k) kernel[o, (c, k)] x[c, p + shift(k)]
    spread      x[c, q]     = sum over (o, k) kernel[o, (c, k)] g[o, q - shift(k)]
    correlate   kernel[(c, k), o] = sum over p x[c, p + shift(k)] g[p, o]

The cells p between the last window of a row and the first of the next are computed
and dropped by `convolve` and hold zeros in `spread`. `indirect_product` takes the
offsets of rows and elements from tables made here, when the step is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.errors import CompileError
from wyrm_py.graph.op import Array
from wyrm_py.ops.windows import Windows, position

if TYPE_CHECKING:
    from wyrm_py.engines.native.extents import Extent
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.ops.convolution import Layout


class Plane:
    """The cells q * stride + start of an image, `counts` of them along each axis.

    taps : numbers of the elements of a window that lie in this plane
    """

    def __init__(
        self, number: int, start: tuple[int, ...], counts: tuple[int, ...], taps: Array
    ) -> None:
        self.number, self.start, self.counts, self.taps = number, start, counts, taps


class Planes:
    """How one channel of an image is laid out in scratch.

    steps : cells from one cell to the next along each axis
    cells : the cell of each place of a window
    shifts : of each element of a window
    offsets : of each element of a window, from the start of the channel
    """

    def __init__(
        self,
        space: Sequence[int],
        window: Sequence[int],
        places: Sequence[int],
        windows: Windows,
    ) -> None:
        stride = windows.stride
        grid = [-(-n // s) for n, s in zip(space, stride, strict=True)]
        self.steps = [prod(grid[axis + 1 :]) for axis in range(len(grid))]
        self.size = prod(grid)
        self.channel = prod(stride) * self.size
        self.cells = _grid(places) @ self.steps
        taps = _grid(window) * windows.dilation
        self.shifts = taps // stride @ self.steps
        number = np.ravel_multi_index(tuple((taps % stride).T), stride)
        self.offsets = number * self.size + self.shifts
        self.planes = [
            Plane(
                k,
                start,
                tuple(
                    -(-(n - r) // s)
                    for n, r, s in zip(space, start, stride, strict=True)
                ),
                np.flatnonzero(number == k),
            )
            for k, start in enumerate(product(*map(range, stride)))
        ]


def _grid(lengths: Sequence[int]) -> Array:
    """Return all indices of an array of these lengths, one a row."""
    return np.array(list(product(*map(range, lengths)))).reshape(-1, len(lengths))


class ConvolutionText:
    """Writes one of the three, for the operands x, kernel and g; one is the result."""

    def __init__(
        self,
        layout: Layout,
        writer: Writer,
        x: Operand,
        kernel: Operand,
        g: Operand,
    ) -> None:
        self.layout, self.writer = layout, writer
        self.x, self.kernel, self.g = x, kernel, g
        out, self.inside, *self.window = _lengths(kernel.extents)
        last = layout.channels_last
        self.groups = layout.groups
        self.outside = out // self.groups  # channels of one group
        self.space = _lengths(x.extents[1:-1] if last else x.extents[2:])
        self.places = _lengths(g.extents[1:-1] if last else g.extents[2:])
        self.planes = Planes(self.space, self.window, self.places, layout.windows)
        self.taps = prod(self.window)
        self.row = self.inside * self.taps  # of the kernel as a matrix
        self.batch = x.extents[0]

    def convolve(self) -> None:
        """Write g from x and the kernel."""
        writer, planes, reach = self.writer, self.planes, int(self.planes.cells[-1]) + 1
        kernel = writer.in_a_row(self.kernel, self.g.dtype)
        image = self._scratch(self.g, self.groups * self.inside * planes.channel)
        result = self._scratch(self.g, self.groups * self.outside * reach)
        rows = writer.table(np.arange(self.outside) * self.row)
        columns = writer.table(np.arange(self.row))
        shifts = writer.table(self._offsets())
        with writer.loop(self.batch) as b:
            for cells, under in self._image(image, b):
                writer.block_copy(cells, under)
            with writer.loop(writer.length(self.groups)) as group:
                matrix = position([(group, self.outside * self.row)])
                writer.listed_product(
                    (result, position([(group, self.outside * reach)]), reach),
                    (kernel, matrix, rows, columns),
                    (image, position([(group, self.inside * planes.channel)]), shifts),
                    (self.outside, reach, self.row),
                )
            writer.block_copy(
                self._upstream(b), self._places(result, (reach, *planes.steps))
            )

    def spread(self) -> None:
        """Write x from g and the kernel."""
        writer, planes = self.writer, self.planes
        before = int(planes.shifts.max())
        kernel = writer.in_a_row(self.kernel, self.x.dtype)
        length = before + planes.size
        upstream = self._scratch(self.x, self.groups * self.outside * length)
        image = self._scratch(self.x, self.groups * self.inside * planes.channel)
        rows = writer.table(np.arange(self.inside) * self.taps)
        tables, o = [], np.arange(self.outside)
        for plane in planes.planes:
            weights = np.add.outer(o * self.row, plane.taps)
            under = np.add.outer(o * length, before - planes.shifts[plane.taps])
            tables.append((plane, writer.table(weights), writer.table(under)))
        writer.fill(upstream, "0")
        with writer.loop(self.batch) as b:
            places = self._places(upstream, (length, *planes.steps), before)
            writer.block_copy(places, self._upstream(b))
            with writer.loop(writer.length(self.groups)) as group:
                for plane, columns, shifts in tables:
                    start = [(group, self.inside * planes.channel)]
                    place = position(start, plane.number * planes.size)
                    matrix = position([(group, self.outside * self.row)])
                    writer.listed_product(
                        (image, place, planes.channel),
                        (kernel, matrix, rows, columns),
                        (upstream, position([(group, self.outside * length)]), shifts),
                        (self.inside, planes.size, self.outside * len(plane.taps)),
                    )
            for cells, over in self._image(image, b):
                writer.block_copy(over, cells)

    def correlate(self) -> None:
        """Write the kernel from x and g."""
        writer, planes, count = self.writer, self.planes, len(self.planes.cells)
        outs = self.groups * self.outside
        image = self._scratch(self.kernel, self.groups * self.inside * planes.channel)
        upstream = self._scratch(self.kernel, count * outs)
        result = self._scratch(self.kernel, self.row * outs)
        rows = writer.table(self._offsets())
        columns = writer.table(planes.cells)
        shifts = writer.table(np.arange(count) * outs)
        steps = [prod(self.places[k + 1 :]) * outs for k in range(len(self.places))]
        writer.fill(result, "0")
        with writer.loop(self.batch) as b:
            for cells, under in self._image(image, b):
                writer.block_copy(cells, under)
            writer.block_copy(self._places(upstream, (1, *steps)), self._upstream(b))
            with writer.loop(writer.length(self.groups)) as group:
                place = position([(group, self.inside * planes.channel)])
                writer.listed_product(
                    (result, position([(group, self.outside)]), outs),
                    (image, place, rows, columns),
                    (upstream, position([(group, self.outside)]), shifts),
                    (self.row, self.outside, count),
                    accumulate=True,
                )
        steps = [outs * prod(self.window[k:]) for k in range(len(self.window) + 1)]
        writer.block_copy(
            self.kernel, self._view(result, self.kernel.extents, (1, *steps))
        )

    # -- scratch and views -----------------------------------------------------------

    def _scratch(self, like: Operand, count: int) -> Operand:
        return self.writer.workspace(like.dtype, (self.writer.length(count),))

    def _offsets(self) -> Array:
        """Return where (c, k) lies among the channels of a group."""
        channels = np.arange(self.inside) * self.planes.channel
        offsets: Array = np.add.outer(channels, self.planes.offsets)
        return offsets

    def _view(
        self,
        scratch: Operand,
        extents: Sequence[Extent],
        steps: Sequence[int],
        start: int = 0,
    ) -> Operand:
        """Return a part of scratch with axes of these steps."""

        def read(*index: str) -> str:
            terms = list(zip(index, steps, strict=True))
            return scratch.at(position(terms, start))

        return self.writer.view(scratch, extents, read)

    def _extents(self, channels: int, counts: Sequence[int]) -> list[Extent]:
        return [self.writer.length(n) for n in (channels, *counts)]

    def _places(
        self, scratch: Operand, steps: Sequence[int], start: int = 0
    ) -> Operand:
        """Return the elements of scratch that stand for (channel, *place) of g."""
        extents = self._extents(self.groups * self.outside, self.places)
        return self._view(scratch, extents, steps, start)

    def _upstream(self, b: str) -> Operand:
        """Return image b of g as (channel, *place)."""
        extents = self._extents(self.groups * self.outside, self.places)
        return self.writer.view(
            self.g, extents, lambda o, *place: self.g.at(*self._index(b, o, place))
        )

    def _image(self, scratch: Operand, b: str) -> Iterator[tuple[Operand, Operand]]:
        """Give the planes of an image in scratch, and the same of image b of x."""
        stride, planes = self.layout.windows.stride, self.planes
        for plane in planes.planes:
            extents = self._extents(self.groups * self.inside, plane.counts)
            steps = (planes.channel, *planes.steps)
            cells = self._view(scratch, extents, steps, plane.number * planes.size)

            def read(c: str, *cell: str, plane: Plane = plane) -> str:
                inside = [
                    position([(q, s)], r)
                    for q, s, r in zip(cell, stride, plane.start, strict=True)
                ]
                return self.x.at(*self._index(b, c, inside))

            yield cells, self.writer.view(self.x, extents, read)

    def _index(self, b: str, channel: str, space: Sequence[str]) -> list[str]:
        if self.layout.channels_last:
            return [b, *space, channel]
        return [b, channel, *space]


def _lengths(extents: Sequence[Extent]) -> list[int]:
    lengths = [extent.fixed for extent in extents]
    if None in lengths:
        raise CompileError(
            "convolve: the lengths of space and channels must not vary with the batch "
            'or a ragged node. Reshape the value, or train with engine="numpy".'
        )
    return lengths  # type: ignore[return-value]
