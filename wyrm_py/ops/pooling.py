"""Pooling: the largest element, or the sum, of each window on the axes of space.

Each op and its adjoint are closed under the gradient: `SumPool` and
`SpreadPool`; `MaxPool`, whose gradient `SpreadMax` has the adjoint `SelectMax`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.graph.op import Array, Op, Spec
from wyrm_py.ops.methods import Methods
from wyrm_py.ops.windows import (
    PerAxis,
    Windows,
    channels_first,
    per_axis,
    position,
    require_image,
    space_of,
    with_space,
)

if TYPE_CHECKING:
    from wyrm_py.engines.native.extents import Extent
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node

UNROLLED = 16
"""Elements of a window up to which each gets lines of its own: no inner loop."""


@dataclass(frozen=True)
class Pools:
    """Windows of a fixed size on the axes of space."""

    window: tuple[int, ...]
    stride: tuple[int, ...]
    channels_last: bool

    @property
    def _windows(self) -> Windows:
        return Windows(self.stride, (1,) * len(self.stride))

    @property
    def overlap(self) -> bool:
        """Whether an element may lie in several windows."""
        return any(s < k for s, k in zip(self.stride, self.window, strict=True))

    def pooled(self, name: str, x: Spec) -> Spec:
        """Return the shape with one element a window."""
        require_image(name, x, self.channels_last)
        space = space_of(x.shape, self.channels_last)
        places = self._windows.places(name, space, self.window)
        return Spec(with_space(x.shape, places, self.channels_last), x.dtype)

    def taps(self, pooled: Array, *values: Array) -> Iterator[tuple[Array, ...]]:
        """Give, for each element of the window, views of what lies under it."""
        views = [channels_first(x, self.channels_last) for x in values]
        places = space_of(pooled.shape, self.channels_last)
        for _, cut in self._windows.taps(self.window, places):
            yield tuple(view[cut] for view in views)

    def write_taps(
        self,
        writer: Writer,
        index: Sequence[str],
        body: Callable[[list[str], str], None],
    ) -> None:
        """Write the body for each element of the window at `index`.

        The body takes the element's place and its number in the window.
        """
        if prod(self.window) <= UNROLLED:
            for number, tap in enumerate(product(*map(range, self.window))):
                inside = ["0" if k == 0 else f"u64({k})" for k in tap]
                body(self._place(index, inside), f"u64({number})")
            return
        extents = [writer.length(k) for k in self.window]
        with writer.loops(extents) as inside:
            steps = [prod(self.window[k + 1 :]) for k in range(len(inside))]
            flat = position(list(zip(inside, steps, strict=True)))
            body(self._place(index, inside), flat)

    def _place(self, index: Sequence[str], tap: Sequence[str]) -> list[str]:
        first = 1 if self.channels_last else 2
        place = list(index)
        for axis, (step, text) in enumerate(zip(self.stride, tap, strict=True), first):
            place[axis] = position([(place[axis], step), (text, 1)])
        return place

    def covers(self, x: Sequence[Extent], pooled: Sequence[Extent]) -> bool:
        """Whether each element of x lies in exactly one window."""
        space = space_of(x, self.channels_last)
        places = space_of(pooled, self.channels_last)
        return self.stride == self.window and all(
            n.fixed == p.fixed * s  # type: ignore[operator]
            for n, p, s in zip(space, places, self.stride, strict=True)
        )


@dataclass(frozen=True)
class MaxPool(Op):
    """Largest element of each window; the first of equal ones takes the gradient."""

    pools: Pools

    def infer(self, *inputs: Spec) -> Spec:
        return self.pools.pooled(self.name, inputs[0])

    def forward(self, out: Array, *inputs: Array) -> None:
        (x,) = inputs
        pooled = channels_first(out, self.pools.channels_last)
        pooled[...] = -np.inf
        for (under,) in self.pools.taps(out, x):
            np.maximum(pooled, under, out=pooled)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        (x,) = inputs
        with writer.loops(out.extents) as index:
            best = writer.fresh("s")
            writer.line(f"{best} = {x.type}(-inf)")
            self.pools.write_taps(
                writer,
                index,
                lambda place, _: writer.line(
                    f"{best} = maximum({best}, {x.at(*place)})"
                ),
            )
            writer.line(f"{out.at(*index)} = {best}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g._apply(SpreadMax(self.pools), inputs[0]),)


@dataclass(frozen=True)
class SpreadMax(Op):
    """Zeros of the shape of x, with g put where the largest of each window is.

    Inputs are g, one element a window, and x. What several windows put in one
    place is summed.
    """

    pools: Pools

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[1].shape, inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        g, x = inputs
        out[...] = 0
        chosen = _first_largest(self.pools, g, x)
        g = channels_first(g, self.pools.channels_last)
        for number, (target,) in enumerate(self.pools.taps(inputs[0], out)):
            target += np.where(chosen == number, g, 0)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        g, x = inputs
        if not self.pools.covers(out.extents, g.extents):
            writer.fill(out, "0")
        with writer.loops(g.extents) as index:
            chosen = _write_first_largest(writer, self.pools, x, index)
            upstream = writer.fresh("s")
            writer.line(f"{upstream} = {g.at(*index)}")

            def put(place: list[str], number: str) -> None:
                at = out.at(*place)
                part = f"where({chosen} == {x.type}({number}), {upstream}, {g.type}(0))"
                writer.line(f"{at} = {at} + {part}" if overlap else f"{at} = {part}")

            overlap = self.pools.overlap
            self.pools.write_taps(writer, index, put)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(SelectMax(self.pools), inputs[1]), None


@dataclass(frozen=True)
class SelectMax(Op):
    """The element of v where the largest of each window of x is: of (v, x)."""

    pools: Pools

    def infer(self, *inputs: Spec) -> Spec:
        return self.pools.pooled(self.name, inputs[0])

    def forward(self, out: Array, *inputs: Array) -> None:
        v, x = inputs
        chosen = _first_largest(self.pools, out, x)
        target = channels_first(out, self.pools.channels_last)
        for number, (under,) in enumerate(self.pools.taps(out, v)):
            np.copyto(target, under, where=chosen == number)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        v, x = inputs
        with writer.loops(out.extents) as index:
            chosen = _write_first_largest(writer, self.pools, x, index)
            value = writer.fresh("s")
            writer.line(f"{value} = {v.type}(0)")

            def take(place: list[str], number: str) -> None:
                picked = f"{chosen} == {x.type}({number})"
                writer.line(f"{value} = where({picked}, {v.at(*place)}, {value})")

            self.pools.write_taps(writer, index, take)
            writer.line(f"{out.at(*index)} = {value}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(SpreadMax(self.pools), inputs[1]), None


def _first_largest(pools: Pools, pooled: Array, x: Array) -> Array:
    """Return the number, within each window, of its first largest element.

    NaN is never the largest, as in `_write_first_largest`.
    """
    best: Any = -np.inf
    chosen: Any = 0
    for number, (under,) in enumerate(pools.taps(pooled, x)):
        better = under > best
        best = np.where(better, under, best)
        chosen = np.where(better, number, chosen)
    return np.asarray(chosen)


def _write_first_largest(
    writer: Writer, pools: Pools, x: Operand, index: Sequence[str]
) -> str:
    """Write the same; the number is kept as a float, so that lanes stay as wide."""
    best, chosen = writer.fresh("s"), writer.fresh("s")
    writer.line(f"{best} = {x.type}(-inf)")
    writer.line(f"{chosen} = {x.type}(0)")

    def compare(place: list[str], number: str) -> None:
        at = writer.fresh("s")
        writer.line(f"{at} = {x.at(*place)}")
        writer.line(f"{chosen} = where({at} > {best}, {x.type}({number}), {chosen})")
        writer.line(f"{best} = where({at} > {best}, {at}, {best})")

    pools.write_taps(writer, index, compare)
    return chosen


@dataclass(frozen=True)
class SumPool(Op):
    """Sum of each window."""

    pools: Pools

    def infer(self, *inputs: Spec) -> Spec:
        return self.pools.pooled(self.name, inputs[0])

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = 0
        pooled = channels_first(out, self.pools.channels_last)
        for (under,) in self.pools.taps(out, inputs[0]):
            pooled += under

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        (x,) = inputs
        with writer.loops(out.extents) as index:
            total = writer.fresh("s")
            writer.line(f"{total} = {out.type}(0)")
            self.pools.write_taps(
                writer,
                index,
                lambda place, _: writer.line(f"{total} = {total} + {x.at(*place)}"),
            )
            writer.line(f"{out.at(*index)} = {total}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        return (g._apply(SpreadPool(self.pools), inputs[0]),)


@dataclass(frozen=True)
class SpreadPool(Op):
    """Each number of g added to all elements of its window, in the shape of `like`."""

    pools: Pools
    shape_only = (1,)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[1].shape, inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        g = channels_first(inputs[0], self.pools.channels_last)
        out[...] = 0
        for (target,) in self.pools.taps(inputs[0], out):
            target += g

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        g, _ = inputs
        writer.fill(out, "0")
        with writer.loops(g.extents) as index:
            upstream = writer.fresh("s")
            writer.line(f"{upstream} = {g.at(*index)}")

            def add(place: list[str], _number: str) -> None:
                at = out.at(*place)
                writer.line(f"{at} = {at} + {upstream}")

            self.pools.write_taps(writer, index, add)

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(SumPool(self.pools)), None


class PoolingMethods(Methods):
    """Pooling of a node (batch, channels, *space), or with the channels last.

    `window` and `stride` are a number, or one for each axis of space; `stride` is
    `window` by default. No padding: windows that do not fit are left out. To pool
    over all of space reduce its axes, for example `x.mean((2, 3))`.
    """

    __slots__ = ()

    def max_pool(
        self,
        window: PerAxis,
        stride: PerAxis | None = None,
        channels_last: bool = False,
    ) -> Node:
        """Largest element of each window.

        Of several equal ones the first, in the order of the axes, takes the
        gradient.
        """
        pools = self._pools("max_pool", window, stride, channels_last)
        return self._apply(MaxPool(pools))

    def min_pool(
        self,
        window: PerAxis,
        stride: PerAxis | None = None,
        channels_last: bool = False,
    ) -> Node:
        """Smallest element of each window; the first takes the gradient."""
        pools = self._pools("min_pool", window, stride, channels_last)
        return -(-self)._apply(MaxPool(pools))

    def sum_pool(
        self,
        window: PerAxis,
        stride: PerAxis | None = None,
        channels_last: bool = False,
    ) -> Node:
        """Sum of each window."""
        pools = self._pools("sum_pool", window, stride, channels_last)
        return self._apply(SumPool(pools))

    def average_pool(
        self,
        window: PerAxis,
        stride: PerAxis | None = None,
        channels_last: bool = False,
    ) -> Node:
        """Mean of each window."""
        pools = self._pools("average_pool", window, stride, channels_last)
        return self._apply(SumPool(pools)) / prod(pools.window)

    def _pools(
        self, name: str, window: PerAxis, stride: PerAxis | None, channels_last: bool
    ) -> Pools:
        require_image(name, self.spec, channels_last)
        count = len(self.shape) - 2
        size = per_axis(name, "window", window, count)
        step = size if stride is None else per_axis(name, "stride", stride, count)
        return Pools(size, step, channels_last)

    if TYPE_CHECKING:

        def __neg__(self) -> Node: ...
