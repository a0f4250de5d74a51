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
from contextlib import contextmanager
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
        out, self.inside, *window = _lengths(kernel.extents)
        last = layout.channels_last
        self.groups = layout.groups
        self.outside = out // self.groups  # channels of one group
        self.space = _lengths(x.extents[1:-1] if last else x.extents[2:])
        self.places = _lengths(g.extents[1:-1] if last else g.extents[2:])
        self.planes = Planes(self.space, window, self.places, layout.windows)
        self.taps = prod(window)
        self.row = self.inside * self.taps  # of the kernel as a matrix
        self.batch = x.extents[0]

    def convolve(self) -> None:
        """Write g from x and the kernel."""
        planes, reach = self.planes, int(self.planes.cells[-1]) + 1
        kernel = self._kernel_copy(self.g)
        image = self._scratch(self.g, self.groups * self.inside * planes.channel)
        result = self._scratch(self.g, self.groups * self.outside * reach)
        rows = self._table(np.arange(self.outside) * self.row)
        columns = self._table(np.arange(self.row))
        shifts = self._table(self._offsets())
        with self.writer.loop(self.batch) as b:
            self._copy_image(image, b)
            with self.writer.loop(self.writer.length(self.groups)) as group:
                matrix = position([(group, self.outside * self.row)])
                self.writer.listed_product(
                    (result, position([(group, self.outside * reach)]), reach),
                    (kernel, matrix, rows, columns),
                    (image, position([(group, self.inside * planes.channel)]), shifts),
                    (self.outside, reach, self.row),
                )
            with self._loops(self.groups * self.outside, self.places) as (o, place):
                cell = position([(o, reach), *_pairs(place, planes.steps)])
                at = self.g.at(*self._index(b, o, place))
                self.writer.line(f"{at} = {result.flat(cell)}")

    def spread(self) -> None:
        """Write x from g and the kernel."""
        planes, before = self.planes, int(self.planes.shifts.max())
        kernel = self._kernel_copy(self.x)
        length = before + planes.size
        upstream = self._scratch(self.x, self.groups * self.outside * length)
        image = self._scratch(self.x, self.groups * self.inside * planes.channel)
        rows = self._table(np.arange(self.inside) * self.taps)
        tables = []
        for plane in planes.planes:
            o = np.arange(self.outside)
            columns = np.add.outer(o * self.row, plane.taps)
            shifts = np.add.outer(o * length, before - planes.shifts[plane.taps])
            tables.append((self._table(columns), self._table(shifts)))
        self.writer.fill(upstream, "0")
        with self.writer.loop(self.batch) as b:
            with self._loops(self.groups * self.outside, self.places) as (o, place):
                cell = position([(o, length), *_pairs(place, planes.steps)], before)
                g = self._cast(self.g.at(*self._index(b, o, place)), self.g, upstream)
                self.writer.line(f"{upstream.flat(cell)} = {g}")
            with self.writer.loop(self.writer.length(self.groups)) as group:
                for plane, (columns, shifts) in zip(planes.planes, tables, strict=True):
                    start = [(group, self.inside * planes.channel)]
                    place = position(start, plane.number * planes.size)
                    matrix = position([(group, self.outside * self.row)])
                    self.writer.listed_product(
                        (image, place, planes.channel),
                        (kernel, matrix, rows, columns),
                        (upstream, position([(group, self.outside * length)]), shifts),
                        (self.inside, planes.size, self.outside * len(plane.taps)),
                    )
            for cell, at in self._cells(b):
                self.writer.line(f"{at} = {image.flat(cell)}")

    def correlate(self) -> None:
        """Write the kernel from x and g."""
        planes, count = self.planes, len(self.planes.cells)
        outs = self.groups * self.outside
        image = self._scratch(self.kernel, self.groups * self.inside * planes.channel)
        upstream = self._scratch(self.kernel, count * outs)
        result = self._scratch(self.kernel, self.row * outs)
        rows = self._table(self._offsets())
        columns = self._table(planes.cells)
        shifts = self._table(np.arange(count) * outs)
        self.writer.fill(result, "0")
        with self.writer.loop(self.batch) as b:
            self._copy_image(image, b)
            with self._loops(outs, self.places) as (o, place):
                steps = [prod(self.places[k + 1 :]) * outs for k in range(len(place))]
                cell = position([(o, 1), *_pairs(place, steps)])
                g = self._cast(self.g.at(*self._index(b, o, place)), self.g, upstream)
                self.writer.line(f"{upstream.flat(cell)} = {g}")
            with self.writer.loop(self.writer.length(self.groups)) as group:
                place = position([(group, self.inside * planes.channel)])
                self.writer.listed_product(
                    (result, position([(group, self.outside)]), outs),
                    (image, place, rows, columns),
                    (upstream, position([(group, self.outside)]), shifts),
                    (self.row, self.outside, count),
                    accumulate=True,
                )
        with self.writer.loops(self.kernel.extents) as (o, c, *tap):
            window = _lengths(self.kernel.extents[2:])
            steps = [prod(window[k + 1 :]) * outs for k in range(len(window))]
            cell = position([(o, 1), (c, self.taps * outs), *_pairs(tap, steps)])
            self.writer.line(f"{self.kernel.at(o, c, *tap)} = {result.flat(cell)}")

    # -- scratch and tables ---------------------------------------------------------

    def _scratch(self, like: Operand, count: int) -> Operand:
        return self.writer.workspace(like.dtype, (self.writer.length(count),))

    def _table(self, offsets: Array) -> str:
        return self.writer.table(offsets.ravel())

    def _offsets(self) -> Array:
        """Return where (c, k) lies among the channels of a group."""
        channels = np.arange(self.inside) * self.planes.channel
        return np.add.outer(channels, self.planes.offsets)

    # -- copies ---------------------------------------------------------------------

    def _index(self, b: str, channel: str, space: Sequence[str]) -> list[str]:
        if self.layout.channels_last:
            return [b, *space, channel]
        return [b, channel, *space]

    @contextmanager
    def _loops(
        self, channels: int, lengths: Sequence[int]
    ) -> Iterator[tuple[str, list[str]]]:
        """Open loops over channels and cells, in the order they lie in memory."""
        extents = [self.writer.length(n) for n in (channels, *lengths)]
        if self.layout.channels_last:
            with self.writer.loops([*extents[1:], extents[0]]) as (*cell, channel):
                yield channel, cell
        else:
            with self.writer.loops(extents) as (channel, *cell):
                yield channel, cell

    def _cells(self, b: str) -> Iterator[tuple[str, str]]:
        """Loop over image b: give the cell in scratch and the element of x."""
        stride, planes = self.layout.windows.stride, self.planes
        for plane in planes.planes:
            channels = self.groups * self.inside
            with self._loops(channels, plane.counts) as (c, cell):
                first = plane.number * planes.size
                terms = [(c, planes.channel), *_pairs(cell, planes.steps)]
                inside = [
                    position([(q, s)], r)
                    for q, s, r in zip(cell, stride, plane.start, strict=True)
                ]
                at = self.x.at(*self._index(b, c, inside))
                yield position(terms, first), at

    def _copy_image(self, image: Operand, b: str) -> None:
        for cell, at in self._cells(b):
            self.writer.line(f"{image.flat(cell)} = {self._cast(at, self.x, image)}")

    def _kernel_copy(self, like: Operand) -> Operand:
        """Return the kernel as a matrix in scratch, in the dtype of the result."""
        copy = self.writer.workspace(like.dtype, self.kernel.extents)
        with self.writer.loops(copy.extents) as index:
            text = self._cast(self.kernel.at(*index), self.kernel, copy)
            self.writer.line(f"{copy.at(*index)} = {text}")
        return copy

    def _cast(self, text: str, source: Operand, target: Operand) -> str:
        return text if source.dtype == target.dtype else f"{target.type}({text})"


def _pairs(index: Sequence[str], steps: Sequence[int]) -> list[tuple[str, int]]:
    return list(zip(index, steps, strict=True))


def _lengths(extents: Sequence[Extent]) -> list[int]:
    lengths = [extent.fixed for extent in extents]
    if None in lengths:
        raise CompileError(
            "convolve: the lengths of space and channels must not vary with the batch "
            'or a ragged node. Reshape the value, or train with engine="numpy".'
        )
    return lengths  # type: ignore[return-value]
