"""Padding of the axes of space, and its adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.graph.op import Array, Op, Spec, whole_numbers
from wyrm_py.ops.methods import Methods
from wyrm_py.ops.shape import Slice
from wyrm_py.ops.windows import position, require_image, space_of

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node

Pairs: TypeAlias = tuple[tuple[int, int], ...]
Amounts: TypeAlias = int | Sequence[int | Sequence[int]]
"""Cells to add: a number, or for each axis a number or (before, after)."""

MODES = {
    "zero": "constant",
    "constant": "constant",
    "reflective": "reflect",
    "replicative": "edge",
}
"""Our modes, and NumPy's names of them."""


@dataclass(frozen=True)
class Pad(Op):
    """A value with cells added around the axes of space.

    pairs : (before, after) for every axis, also those of batch and channels
    """

    pairs: Pairs
    mode: str = "zero"
    number: float = 0.0

    @property
    def repeats(self) -> bool:
        """Whether the cells added repeat others."""
        return self.mode in ("reflective", "replicative")

    def infer(self, *inputs: Spec) -> Spec:
        (x,) = inputs
        if self.mode == "reflective":
            for n, pair in zip(x.shape, self.pairs, strict=True):
                if max(pair) >= n and max(pair) > 0:
                    raise ShapeError(
                        f"pad: reflective padding {pair} needs an axis longer than "
                        f"{max(pair)}, got {n} of shape {x.shape}. Pad less, or with "
                        '"replicative".'
                    )
        padded = (n + sum(pair) for n, pair in zip(x.shape, self.pairs, strict=True))
        return Spec(tuple(padded), x.dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        more = {} if self.repeats else {"constant_values": self.number}
        pad: Any = np.pad
        out[...] = pad(inputs[0], self.pairs, MODES[self.mode], **more)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        (x,) = inputs
        if self.repeats:
            with writer.loops(out.extents) as index:
                writer.line(f"{out.at(*index)} = {x.at(*self.sources(x, index))}")
            return
        writer.fill(out, repr(self.number))
        starts = [before for before, _ in self.pairs]

        def inside(*index: str) -> str:
            pairs = zip(index, starts, strict=True)
            return out.at(*(position([(at, 1)], before) for at, before in pairs))

        with writer.loop(x.extents[0]) as b:
            part = writer.view(out, x.extents[1:], lambda *index: inside(b, *index))
            writer.block_copy(part, x.within(b))

    def sources(self, x: Operand, index: Sequence[str]) -> list[str]:
        """Return which element of x an element repeats, as index texts."""
        found = []
        for at, extent, pair in zip(index, x.extents, self.pairs, strict=True):
            before, last = f"u64({pair[0]})", f"({extent.text} - u64(1))"
            if pair == (0, 0):
                found.append(at)
            elif self.mode == "replicative":
                inside = f"max(u64({at}), {before}) - {before}"
                found.append(f"min({inside}, {last})")
            else:
                distance = (
                    f"(max(u64({at}), {before}) - min(u64({at}), {before}))"  # |at - b|
                )
                found.append(f"min({distance}, u64(2) * {last} - {distance})")
        return found

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node]:
        if self.repeats:
            return (g._apply(FoldPadding(self.pairs, self.mode), inputs[0]),)
        return (g._apply(self.inside()),)

    def inside(self) -> Slice:
        """Return the slice that takes the padding away."""
        return Slice(tuple((b or None, -a or None, None) for b, a in self.pairs))


@dataclass(frozen=True)
class FoldPadding(Op):
    """Adjoint of a padding that repeats: each cell is added to what it repeats."""

    pairs: Pairs
    mode: str
    shape_only = (1,)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[1].shape, inputs[0].dtype)

    def forward(self, out: Array, *inputs: Array) -> None:
        out[...] = 0
        sources = [
            np.pad(np.arange(n), pair, MODES[self.mode])  # type: ignore[call-overload]
            for n, pair in zip(out.shape, self.pairs, strict=True)
        ]
        np.add.at(out, np.ix_(*sources), inputs[0])

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        (g, _) = inputs
        writer.fill(out, "0")
        pad = Pad(self.pairs, self.mode)
        with writer.loops(g.extents) as index:
            at = out.at(*pad.sources(out, index))
            writer.line(f"{at} = {at} + {g.at(*index)}")

    def gradient(self, g: Node, out: Node, *inputs: Node) -> tuple[Node, None]:
        return g._apply(Pad(self.pairs, self.mode)), None


def pairs_of(name: str, amounts: Amounts, count: int) -> Pairs:
    """Return (before, after) for each of `count` axes of space."""
    several = tuple(amounts) if isinstance(amounts, Sequence) else (amounts,) * count
    if len(several) != count:
        raise ShapeError(
            f"{name}: padding {amounts!r} has {len(several)} parts for {count} axes of "
            "space. Give one number for all, or a number or (before, after) for each."
        )
    pairs = []
    for one in several:
        pair = whole_numbers(name, one if isinstance(one, Sequence) else (one, one))
        if len(pair) != 2 or min(pair) < 0:
            raise ShapeError(
                f"{name}: padding must be numbers of cells or pairs (before, after), "
                f"none negative, got {amounts!r}. To cut cells off, slice with [...]."
            )
        pairs.append((pair[0], pair[1]))
    return tuple(pairs)


class PaddingMethods(Methods):
    """Padding of a node."""

    __slots__ = ()

    def pad(
        self,
        amounts: Amounts,
        mode: str = "zero",
        value: float = 0.0,
        channels_last: bool = False,
    ) -> Node:
        """Add cells around one to three axes of space.

        Parameters
        ----------
        amounts : int, or for each axis of space an int or (before, after)
            Cells to add, each at least 0.
        mode : "zero", "constant", "reflective" or "replicative"
            What stands in them: 0, `value`, the cells mirrored at the border cell
            (`c b | a b c`), or the border cell (`a a | a b c`).
        value : float
            The number of mode "constant".
        channels_last : bool
            Whether the node is (batch, *space, channels) instead of
            (batch, channels, *space).

        The gradient is the adjoint: what flows into a repeated cell is added to
        the cell it repeats.
        """
        require_image("pad", self.spec, channels_last)
        if not isinstance(mode, str) or mode not in MODES:
            raise SettingError(
                f"pad: `mode` must be one of {', '.join(map(repr, MODES))}, got "
                f"{mode!r}."
            )
        if (
            not isinstance(value, int | float | np.integer | np.floating)
            or value != value
        ):
            raise SettingError(f"pad: `value` must be a number, got {value!r}.")
        space = pairs_of("pad", amounts, len(space_of(self.shape, channels_last)))
        none = (0, 0)
        pairs = (none, *space, none) if channels_last else (none, none, *space)
        return self._apply(Pad(pairs, mode, float(value) if mode == "constant" else 0))
