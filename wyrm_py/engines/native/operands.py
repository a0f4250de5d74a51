"""How emitted text reads a value: a local, a buffer, or something in place.

An operand gives text for one element, `x.at(i, j)`. Index texts are u64
expressions or the plain "0"; axes of length one ignore theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wyrm_py.engines.native.extents import Extent

Reader = Callable[..., str]


def type_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype in emitted text: f4, f8, i8."""
    return dtype.str[1:]


def times(a: str, b: str) -> str:
    """Return the text of a product; "0" and "u64(1)" fold away."""
    if "0" in (a, b):
        return "0"
    if a == "u64(1)":
        return b
    return a if b == "u64(1)" else f"{a} * {b}"


def plus(a: str, b: str) -> str:
    """Return the text of a sum; "0" folds away."""
    if a == "0":
        return b
    return a if b == "0" else f"{a} + {b}"


def group(text: str) -> str:
    """Return the text in brackets unless it is a single term."""
    return f"({text})" if " + " in text or " - " in text else text


def flat_index(index: Sequence[str], extents: Sequence[Extent]) -> str:
    """Return the row-major position of an element."""
    position = "0"
    for at, extent in zip(index, extents, strict=True):
        if not extent.is_one:
            position = plus(times(group(position), extent.text), at)
    return position


class Operand:
    """One value as emitted text sees it."""

    def __init__(
        self,
        dtype: np.dtype[Any],
        extents: Sequence[Extent],
        read: Reader,
        flat: Callable[[str], str] | None = None,
    ) -> None:
        self.dtype = dtype
        self.extents = tuple(extents)
        self.type = type_name(dtype)
        self._read = read
        self.flat = flat

    def at(self, *index: str) -> str:
        """Return the text of one element, also as the target of an assignment."""
        return self._read(
            *("0" if e.is_one else i for i, e in zip(index, self.extents, strict=True))
        )

    def aligned(self, index: Sequence[str]) -> str:
        """Return the text of the element that broadcasting pairs with `index`."""
        return self.at(*index[len(index) - len(self.extents) :])

    @property
    def is_scalar(self) -> bool:
        """Whether every axis has length one."""
        return all(extent.is_one for extent in self.extents)

    def reading(self, read: Reader) -> Operand:
        """Return an operand of this shape that reads elsewhere."""
        flat = (lambda _: read(*("0",) * len(self.extents))) if self.is_scalar else None
        return Operand(self.dtype, self.extents, read, flat)

    def reshaping(self, source: Operand) -> Operand:
        """Return an operand of this shape over the elements of `source`."""
        wide = [k for k, e in enumerate(self.extents) if not e.is_one]
        if [self.extents[k] for k in wide] == _wide(source.extents):
            return self._by_axes(source, wide)
        flat = source.flat
        if flat is None:
            raise LookupError("not contiguous")

        def read(*index: str) -> str:
            return flat(flat_index(index, self.extents))

        return Operand(self.dtype, self.extents, read, flat)

    def _by_axes(self, source: Operand, wide: list[int]) -> Operand:
        """The axes are the same but for ones that come or go."""

        def read(*index: str) -> str:
            given = iter([index[k] for k in wide])
            return source.at(
                *("0" if e.is_one else next(given) for e in source.extents)
            )

        return Operand(self.dtype, self.extents, read, source.flat)

    def within(self, *lead: str) -> Operand:
        """Return an operand of the trailing axes, with the leading indices fixed."""
        rest = self.extents[len(lead) :]
        whole = self.flat
        flat = None
        if whole is not None:
            base = flat_index(lead, self.extents[: len(lead)])
            for extent in rest:
                base = times(group(base), extent.text)

            def flat(position: str) -> str:
                return whole(plus(base, position))

        return Operand(self.dtype, rest, lambda *i: self.at(*lead, *i), flat)

    def gathering(self, table: Operand, rows: Operand) -> Operand:
        """Return an operand of this shape over looked-up rows of a table."""

        def read(*index: str) -> str:
            return table.at(rows.at(*index[:-1]), index[-1])

        flat = None
        if rows.is_scalar:
            row = rows.at(*("0",) * len(rows.extents))

            def flat(position: str) -> str:
                return table.at(row, position)

        return Operand(self.dtype, self.extents, read, flat)


def _wide(extents: Sequence[Extent]) -> list[Extent]:
    return [extent for extent in extents if not extent.is_one]


def can_reshape(source: Operand, extents: Sequence[Extent]) -> bool:
    """Whether a reshape needs no copy."""
    return source.flat is not None or _wide(source.extents) == _wide(extents)


def buffer(name: str, dtype: np.dtype[Any], extents: Sequence[Extent]) -> Operand:
    """Return an operand over a flat array of its own."""

    def flat(position: str) -> str:
        return f"{name}[{'u64(0)' if position == '0' else position}]"

    def read(*index: str) -> str:
        return flat(flat_index(index, extents))

    return Operand(dtype, extents, read, flat)


def local(name: str, dtype: np.dtype[Any], extents: Sequence[Extent]) -> Operand:
    """Return an operand over a local variable: one element, or one of a loop."""
    return Operand(dtype, extents, lambda *_: name, lambda _: name)


def offset(
    name: str,
    base: str,
    dtype: np.dtype[Any],
    extents: Sequence[Extent],
    cast: str = "",
) -> Operand:
    """Return an operand over the part of a flat array that starts at `base`."""

    def flat(position: str) -> str:
        text = f"{name}[{plus(base, position)}]"
        return f"{cast}({text})" if cast else text

    def read(*index: str) -> str:
        return flat(flat_index(index, extents))

    return Operand(dtype, extents, read, flat)
