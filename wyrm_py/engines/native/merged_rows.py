"""Rows of several look-ups whose numbers rise: walked where they are, like with like.

The features of a positive and a negative item, for instance, of which a few are the
same: a hash table would need all of them copied to one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wyrm_py.engines.native.groups import wide
from wyrm_py.engines.native.operands import Operand, local, plus, times
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer

if TYPE_CHECKING:
    from wyrm_py.nodes import Node
    from wyrm_py.parameters import ParameterBlock


class Visitor(NamedTuple):
    """What is done to a parameter: `row` is handed the number of a row before its
    elements, if there is one; `element` the place and the gradient of each.
    """

    element: Callable[[str, str], None]
    row: Callable[[str], None] | None = None

    def visit(self, writer: Writer, row: str, values: Operand, *index: str) -> None:
        """Write what is done to a row, given its gradient within values (..., D)."""
        if self.row is not None:
            self.row(row)
        width = values.extents[-1]
        with writer.loop(width) as j:
            self.element(plus(times(row, width.text), j), values.at(*index, j))


@dataclass
class Part:
    """A piece of the gradients of parameters: loops that call a visitor for each.

    `numbers` are rows that all differ, of a table of width one, and their gradients.
    """

    blocks: Sequence[ParameterBlock]
    walk: Callable[[Sequence[Visitor]], None]
    numbers: tuple[Operand, Operand] | None = None


class LookUp(NamedTuple):
    """Row numbers, and for each parameter the gradients of the rows."""

    rows: Operand
    values: Sequence[Operand]


Places = dict[tuple[int, int], Operand]
"""For each place in one look-up that in another, from 1; 0 if the row is not there."""


class MergedRows:
    """Writes walks over look-ups of one to a few lists of rising rows."""

    def __init__(self, writer: Writer, slots: Slots) -> None:
        self.writer, self.slots = writer, slots
        self._found: dict[tuple[Node, ...], Places] = {}

    def walked(self, blocks: Sequence[ParameterBlock], look_up: LookUp) -> Part:
        """Hand over rows where they are.

        Logistic regression on 14 columns an example takes 89 ns, 153 through the
        hash table.
        """

        def walk(visitors: Sequence[Visitor]) -> None:
            with self.writer.loops(look_up.rows.extents) as index:
                self._hand_over(visitors, look_up, index)

        rows, first = look_up.rows, look_up.values[0]
        single = first.extents[-1].is_one and len(wide(rows.extents)) == 1
        return Part(blocks, walk, (rows, first) if single else None)

    def merged(
        self,
        blocks: Sequence[ParameterBlock],
        key: tuple[Node, ...],
        look_ups: Sequence[LookUp],
    ) -> list[Part]:
        """Hand over each row at its first look-up, with what others add to it."""
        if len(key) == 1:
            return [self.walked(blocks, look_ups[0])]
        if key not in self._found:
            self._found[key] = self._find([look_up.rows for look_up in look_ups])
        places = self._found[key]
        return [self._part(blocks, k, look_ups, places) for k in range(len(look_ups))]

    def _part(
        self,
        blocks: Sequence[ParameterBlock],
        number: int,
        look_ups: Sequence[LookUp],
        places: Places,
    ) -> Part:
        writer, look_up = self.writer, look_ups[number]
        before = [places[number, k] for k in range(number)]
        after = {k: places[number, k] for k in range(number + 1, len(look_ups))}

        def walk(visitors: Sequence[Visitor]) -> None:
            with self._each(look_up.rows) as k, _if(writer, _absent(before, k)):
                with _if(writer, _absent(after.values(), k)):
                    self._hand_over(visitors, look_up, [k])
                if after:
                    with writer.block("else:"):
                        sums = self._summed(look_up, k, look_ups, after)
                        self._hand_over(visitors, sums, [k])

        return Part(blocks, walk)

    def _hand_over(
        self, visitors: Sequence[Visitor], look_up: LookUp, index: Sequence[str]
    ) -> None:
        row = self.writer.fresh("r")
        self.writer.line(f"{row} = {look_up.rows.at(*index)}")
        for visitor, values in zip(visitors, look_up.values, strict=True):
            own = index[len(index) + 1 - len(values.extents) :]
            visitor.visit(self.writer, row, values, *own)

    def _summed(
        self,
        look_up: LookUp,
        k: str,
        look_ups: Sequence[LookUp],
        after: dict[int, Operand],
    ) -> LookUp:
        """Write the sums of the gradients of one row."""
        writer, sums = self.writer, []
        for number, values in enumerate(look_up.values):
            name, width = writer.fresh("w"), values.extents[-1:]
            total = local(name, values.dtype, width)
            if not width[0].is_one:
                total = self.slots.workspace(name, values.dtype, width)
            with writer.loops(width) as (j,):
                writer.line(f"{total.at(j)} = {values.at(k, j)}")
            for other, places in after.items():
                known = [] if len(after) == 1 else [f"{places.at(k)} != u64(0)"]
                with _if(writer, known):
                    more = look_ups[other].values[number]
                    place = f"({places.at(k)} - u64(1))"
                    with writer.loops(width) as (j,):
                        both = f"{total.at(j)}, {more.at(place, j)}"
                        writer.line(f"{total.at(j)} = rounded_sum({both})")
            sums.append(total)
        return LookUp(look_up.rows, sums)

    def _find(self, lists: Sequence[Operand]) -> Places:
        """Write where the rows of each list stand in each other one."""
        places: Places = {}
        for later, rows in enumerate(lists):
            for earlier, others in enumerate(lists[:later]):
                for pair, of in (((later, earlier), rows), ((earlier, later), others)):
                    name = self.writer.fresh("same")
                    kind = np.dtype(np.uint64)
                    places[pair] = self.slots.workspace(name, kind, of.extents)
                self._find_pair(
                    rows, others, places[later, earlier], places[earlier, later]
                )
        return places

    def _find_pair(
        self, rows: Operand, others: Operand, there: Operand, back: Operand
    ) -> None:
        """Write where `rows` stand in `others`, and the other way round."""
        writer = self.writer
        at, row = writer.fresh("m"), writer.fresh("r")
        inside = f"{at} < {others.extents[-1].text}"
        writer.line(f"{at} = u64(0)")

        def pass_by() -> None:
            writer.line(f"{back.at(at)} = u64(0)")
            writer.line(f"{at} = {at} + u64(1)")

        with self._each(rows) as k:
            writer.line(f"{row} = {rows.at(k)}")
            with writer.block(f"while {inside} and {others.at(at)} < {row}:"):
                pass_by()
            writer.line(f"{there.at(k)} = u64(0)")
            with writer.block(f"if {inside} and {others.at(at)} == {row}:"):
                writer.line(f"{back.at(at)} = u64({k}) + u64(1)")
                writer.line(f"{at} = {at} + u64(1)")
                writer.line(f"{there.at(k)} = {at}")
        with writer.block(f"while {inside}:"):
            pass_by()

    @contextmanager
    def _each(self, rows: Operand) -> Iterator[str]:
        """Open a loop over rows, if there are several; give the place."""
        with self.writer.loops(rows.extents) as index:
            yield index[-1]


def _absent(places: Iterable[Operand], k: str) -> list[str]:
    return [f"{place.at(k)} == u64(0)" for place in places]


def _if(writer: Writer, conditions: Sequence[str]) -> AbstractContextManager[None]:
    """Open a block under conditions; none if there are none."""
    if not conditions:
        return nullcontext()
    return writer.block(f"if {' and '.join(conditions)}:")
