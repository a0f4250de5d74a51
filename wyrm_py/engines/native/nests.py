"""Loop nests with no more loops than memory asks for.

Neighbouring axes that lie in one row in every operand become one loop: short inner
axes (of images) else run as scalar tails, and each loop costs time to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.layout import strides_of

if TYPE_CHECKING:
    from wyrm_py.engines.native.writer import Writer

Texts = Callable[[list[str]], Iterable[str]]
"""Gives the texts of all elements that a nest touches at an index."""


def joined(
    extents: Sequence[Extent], texts: Texts, cuts: Collection[int] = ()
) -> list[list[int]]:
    """Return the axes of each loop; those of length one stand in none.

    cuts : axes that must begin a loop
    """
    axes = [f"axis{k}_" for k in range(len(extents))]
    wide = [k for k, extent in enumerate(extents) if not extent.is_one]
    strides = []
    for text in texts(axes):
        found = strides_of(text, axes)
        if found is None:
            return [[k] for k in wide]
        strides.append(found)
    loops: list[list[int]] = []
    for k in wide:
        if not loops or k in cuts or not _in_a_row(strides, loops[-1][-1], k, extents):
            loops.append([])
        loops[-1].append(k)
    return loops


def _in_a_row(
    strides: Sequence[list[str]], axis: int, following: int, extents: Sequence[Extent]
) -> bool:
    length = extents[following].text
    return all(
        _factors(each[axis]) == _factors(each[following], length) for each in strides
    )


def _factors(stride: str, length: str = "") -> list[str]:
    """Return the factors of a stride, and of a length, in order; [] for no stride."""
    if stride == "0":
        return []
    given = [*stride.split(" * "), *(length.split(" * ") if length else ())]
    return ["u64(1)", *sorted(factor for factor in given if factor != "u64(1)")]


@contextmanager
def nest(
    writer: Writer, extents: Sequence[Extent], loops: Iterable[list[int]]
) -> Iterator[list[str]]:
    """Open loops; give the index of each axis, "0" for all but the last of a loop."""
    with ExitStack() as stack:
        index = ["0"] * len(extents)
        for axes in loops:
            row = Extent.product([extents[k] for k in axes])
            index[axes[-1]] = stack.enter_context(writer.loop(row))
        yield index
