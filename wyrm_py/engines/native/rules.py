"""Prints the lines of an optimizer's rule for one parameter.

Numbers that hold for a whole update or a whole row are worked out in float64 and
then rounded once to the parameter's dtype, as in NumPy. Names get a mark by dtype:
`beta1` is float32, `beta1_f8` float64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines.native.operands import Operand, plus, times, type_name
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer

if TYPE_CHECKING:
    from wyrm_py.leaves import ParameterNode
    from wyrm_py.optim import Optimizer
    from wyrm_py.optim.formula import Formula

LANES = 16
"""Numbers in the largest vector: single numbers are updated by so many at once."""

_TAKEN = re.compile(
    r"([a-z]|[a-z]\d+|\w+_\d+|\w+_|stream\d+|start_\w+|settings|control|sizes|order|"
    r"streams|total|begin|end|batch|batch_size|seed|epoch|block|soon|ring|counts|norm|"
    r"norm_scale|scale|table|numbers_\w+|entries)$"
)
"""Names that stand for something else in emitted text."""


class RuleWriter:
    """Writes rule, counts and catching up for one parameter block."""

    def __init__(
        self,
        writer: Writer,
        slots: Slots,
        optimizer: Optimizer,
        node: ParameterNode,
    ) -> None:
        block, shape = node.block, slots.value(node).extents
        self.writer, self.optimizer, self._slots = writer, optimizer, slots
        self.value = slots.block(block)
        self.formulas = optimizer.formulas()
        self.kind = type_name(block.dtype)
        self._mark = "" if block.dtype == np.float32 else "_f8"
        self._rows = shape[0].text if shape else "u64(1)"
        self._width = "u64(1)"
        for extent in shape[1:]:
            self._width = times(self._width, extent.text)
        name = optimizer.slot_name
        states = {s: slots.state(block, name(s)) for s in optimizer.slots}
        self._arrays = {"value": self.value, **states}
        if self.formulas.counts:
            self._step = slots.state(block, name("step"), "parameter")
        if self.formulas.catches_up:
            self._row_step = slots.state(block, name("row_step"), "row")

    @property
    def adds_up(self) -> bool:
        """Whether updates by the parts of a gradient come to that by their sum.

        Rows that come twice then need no hash table: skip-gram with five negatives
        of width 32 takes 170 ns an example, 205 with one.
        """
        optimizer = self.optimizer
        plain = optimizer.clip is None and optimizer.clip_norm is None
        linear = self.formulas.rule.text == "value = value - learning_rate * gradient"
        return plain and linear and not self.formulas.counts

    def clipped(self, gradient: str) -> str:
        """Return the text of a gradient element within the bounds of `clip`."""
        if self.optimizer.clip is None:
            return gradient
        clip = self._named("clip")
        return f"minimum(maximum({gradient}, -{clip}), {clip})"

    def begin(self) -> None:
        """Write what is done once per update: count it, work out `once`."""
        write = self.writer.line
        if self.formulas.counts:
            write(f"step = advance({self._step})")
            write("step_f8 = f8(step)")
        self._scalars(self.formulas.once, self.formulas.rule)

    def element(self, place: str, gradient: str) -> None:
        """Write the update of the element at a place of the flat value."""
        self._rewrite(self.formulas.rule, place, self._scaled(gradient))

    def _scaled(self, gradient: str) -> str:
        gradient = self.clipped(gradient)
        if self.optimizer.clip_norm is not None:
            gradient = f"{gradient} * scale{self._mark}"
        return gradient

    @property
    def packs(self) -> bool:
        """Whether `numbers` is faster than one number after the other."""
        slow = any(part in self.formulas.rule.text for part in ("/", "sqrt("))
        return slow and not self.formulas.catches_up

    def numbers(self, rows: Operand, gradients: Operand) -> None:
        """Write the update of a table of width one at rows that all differ.

        Values and states are brought side by side, so that roots and quotients are
        worked out by vectors (14 entries an example, beside a factorization machine's
        vectors: 162 to 147 ns, in a logistic regression 81 to 75).
        """
        write, arrays = self.writer.line, self._arrays
        (count,) = (extent for extent in rows.extents if not extent.is_one)
        packed = {}
        for name, array in {**arrays, "gradient": f"{self.value}gradient"}.items():
            kind = np.dtype(self.kind)
            packed[name] = f"{array.rstrip('_')}_packed"
            self._slots.workspace(packed[name], kind, (count,), LANES)
        with self._each(rows) as (index, k, row):
            for name, array in arrays.items():
                write(f"{packed[name]}[{k}] = {array}[{row}]")
            write(f"{packed['gradient']}[{k}] = {gradients.at(*index, '0')}")
        # whole vectors: what lies beyond the last row is not copied back
        shift = LANES.bit_length() - 1
        vectors = f"(({count.text} + u64({LANES - 1})) >> u64({shift}))"
        place = self.writer.fresh("j")
        with self.writer.block(f"for {place} in range(u64({LANES}) * {vectors}):"):
            gradient = self._scaled(f"{packed.pop('gradient')}[{place}]")
            self._rewrite(self.formulas.rule, place, gradient, packed)
        with self._each(rows) as (_, k, row):
            for name, array in arrays.items():
                write(f"{array}[{row}] = {packed[name]}[{k}]")

    @contextmanager
    def _each(self, rows: Operand) -> Iterator[tuple[Sequence[str], str, str]]:
        """Open a loop over row numbers: gives their index, the place, the number."""
        with self.writer.loops(rows.extents) as index:
            (k,) = (at for at in index if at != "0")
            row = self.writer.fresh("r")
            self.writer.line(f"{row} = {rows.at(*index)}")
            yield index, k, row

    def row(self, row: str) -> None:
        """Write the catching up of a row that this update is about to change."""
        if self.formulas.catches_up:
            self._catch_up(row, "step - i8(1)")
            # another worker may have come with a later step
            last = f"{self._row_step}[{row}]"
            self.writer.line(f"{last} = max({last}, step)")

    def each_row(self, do: Callable[[str], None]) -> None:
        """Write what is done to each row before a dense update."""
        if self.formulas.catches_up:
            row = self.writer.fresh("j")
            with self.writer.block(f"for {row} in range({self._rows}):"):
                do(f"u64({row})")

    def look_up(self, row: str) -> None:
        """Write the catching up of a row that is about to be read."""
        if self.formulas.catches_up:
            # read once: other workers count on
            self.writer.line(f"now = {self._step}[u64(0)]")
            with self.writer.block(f"if {self._row_step}[{row}] < now:"):
                self._catch_up(row, "now")
                self.writer.line(f"{self._row_step}[{row}] = now")

    def _catch_up(self, row: str, now: str) -> None:
        write = self.writer.line
        write(f"missed = {now} - {self._row_step}[{row}]")
        with self.writer.block("if missed > i8(0):"):
            write("missed_f8 = f8(missed)")
            self._scalars(self.formulas.missed_once, self.formulas.missed)
            index = self.writer.fresh("j")
            with self.writer.block(f"for {index} in range({self._width}):"):
                place = plus(times(row, self._width), index)
                self._rewrite(self.formulas.missed, place)

    def _scalars(self, lines: Formula, used: Formula) -> None:
        """Write lines in float64, and round what other lines need of them."""
        names = {name: _own(name) + "_f8" for name in (*lines.reads, *lines.assigns)}
        for line in lines.lines(names, "f8"):
            self.writer.line(line)
        if self.kind != "f8":
            for name in lines.assigns:
                if name in used.reads:
                    mine = self._named(name)
                    self.writer.line(f"{mine} = {self.kind}({names[name]})")

    def _rewrite(
        self,
        lines: Formula,
        place: str,
        gradient: str = "",
        held: Mapping[str, str] | None = None,
    ) -> None:
        """Write lines for one element: load, compute, store.

        held : the arrays of value and states, those of the parameter by default
        """
        at = "u64(0)" if place == "0" else place
        arrays = held or self._arrays
        write = self.writer.line
        for name, array in arrays.items():
            write(f"{self._named(name)} = {array}[{at}]")
            if name == "value" and gradient:
                write(f"{self._named('gradient')} = {gradient}")
        names = {n: self._named(n) for n in (*lines.reads, *lines.assigns)}
        for line in lines.lines(names, self.kind):
            write(line)
        for name, array in arrays.items():
            write(f"{array}[{at}] = {self._named(name)}")

    def _named(self, name: str) -> str:
        return _own(name) + self._mark


def _own(name: str) -> str:
    """Return a rule's name as it stands in the text."""
    return f"own_{name}_" if _TAKEN.match(name) else name


def settings_lines(optimizer: Optimizer, words: Iterable[str]) -> list[str]:
    """Return the lines that load the settings which a text uses."""
    used = set(words)
    lines = []
    for k, name in enumerate(optimizer.settings()):
        here = f"settings[u64({k})]"
        if _own(name) in used:
            lines.append(f"{_own(name)} = f4({here})")
        if f"{_own(name)}_f8" in used:
            lines.append(f"{_own(name)}_f8 = {here}")
    return lines
