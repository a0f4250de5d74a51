"""Writes lines of Python: indentation, loops, fresh names. Knows no op."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.operands import Operand

INDENT = "    "


class Writer:
    """Collects the body of the emitted function.

    `loops_written` counts loops, so that a long step can be cut into several
    functions. `training` is False in an evaluation: then dropout passes all.
    """

    def __init__(self, depth: int = 0) -> None:
        self.lines: list[str] = []
        self.depth = depth
        self.loops_written = 0
        self._cuts: list[tuple[int, int]] = [(0, 0)]
        self._counts: dict[str, int] = {}
        self.stream: str | None = None
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
        with self.loops(out.extents) as index:
            self.line(f"{out.at(*index)} = {out.type}({number})")

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
