"""Loops of a few iterations, all known: they become one vector instruction a line.

LLVM unrolls a loop of small literal length into scalar code before it looks for
vectors, and around one of run-time length it prints checks and tails that take longer
than the loop. A literal length that must not be unrolled gives straight vector code
(factorization machine of width 8: 225 to 175 ns an example).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from llvmlite import ir as llvm
from numba.core import ir, lowering, typed_passes
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.compiler_machinery import register_pass

SHORT = (4, 8)
"""Lengths of these loops: whole vectors of any register (multiples of 16 stay open)."""

short_range = range
"""The range of a loop that stays a loop until vectors have been made of it."""

_LOOP = re.compile(r"(\s*)for \w+ in range\((?:length(\d+)_)?")


def short_lengths(lines: Sequence[str]) -> set[int]:
    """Return the short lengths that bound loops without loops inside.

    lines : text in which fixed lengths are named length8_ and the like
    """
    return {length for length in _innermost(lines) if length in SHORT}


def _innermost(lines: Sequence[str]) -> Iterator[int]:
    """Give the fixed lengths of innermost loops."""
    depth, length = -1, 0  # of the loop that has had no other inside
    for line in [*lines, "end"]:
        indent = len(line) - len(line.lstrip())
        if length and line and indent <= depth:
            yield length
            length = 0
        found = _LOOP.match(line)
        if found is not None:
            whole = line.endswith("_):") and found[2] is not None
            depth, length = indent, int(found[2]) if whole else 0


class _Lower(lowering.Lower):
    """Tells LLVM which loops not to unroll."""

    def lower_function_body(self) -> Any:
        short = {label for label, block in self.blocks.items() if _opens(block)}
        loops = compute_cfg_from_blocks(self.blocks).loops() if short else {}
        self._backward = {
            (label, loop.header)
            for loop in loops.values()
            if any(entry in short for entry in loop.entries)
            for label in loop.body
        }
        self._names = {id(block): label for label, block in self.blocks.items()}
        return super().lower_function_body()

    def lower_block(self, block: Any) -> None:
        self._here = self._names[id(block)]
        super().lower_block(block)

    def lower_inst(self, inst: Any) -> None:
        super().lower_inst(inst)
        if isinstance(inst, ir.Jump) and (self._here, inst.target) in self._backward:
            hint = self.module.add_metadata(["llvm.loop.unroll.disable"])
            own = llvm.MDValue(self.module, [], str(len(self.module.metadata)))
            own.operands = (own, hint)  # LLVM takes what names itself for a loop
            self.builder.block.terminator.set_metadata("llvm.loop", own)


def _opens(block: Any) -> bool:
    """Whether a block ends with the opening of a short loop."""
    return any(
        isinstance(inst, ir.Assign)
        and isinstance(inst.value, ir.Global)
        and inst.value.name == "short_range"
        for inst in block.body
    )


@register_pass(mutates_CFG=True, analysis_only=False)
class Lowering(typed_passes.NativeLowering):
    """Numba's lowering to LLVM, with hints on short loops."""

    _name = "wyrm_lowering"

    @property
    def lowering_class(self) -> Any:
        return _Lower
