"""Prints the module around the body of a step: unpacking, loop, entry.

A long step is cut: each piece becomes a function of its own, which unpacks the
numbers it needs again and takes the values of earlier pieces from memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines.native.elements import stream_name
from wyrm_py.engines.native.extents import Extents
from wyrm_py.engines.native.operands import type_name
from wyrm_py.engines.native.rules import settings_lines
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.slots import CONTROL, Slot, Slots
from wyrm_py.engines.native.writer import INDENT, Writer

if TYPE_CHECKING:
    from wyrm_py.engines.native.loading import LeafLoader
    from wyrm_py.engines.plan import Plan
    from wyrm_py.optim import Optimizer

AHEAD = 4
"""How many examples ahead rows are asked for (large tables: 385 to 240 ns)."""

HEADER = '''\
"""A training step printed by wyrm_py; safe to delete."""

from wyrm_py.engines.functions import *
from wyrm_py.engines.native.kernel_calls import *
from wyrm_py.engines.native.row_products import *
from wyrm_py.engines.native.runtime import *
'''


class Module:
    """Prints the module of one step."""

    def __init__(
        self,
        slots: Slots,
        extents: Extents,
        settings: Settings,
        optimizer: Optimizer | None,
        plan: Plan,
    ) -> None:
        self.slots = slots
        self.extents = extents
        streams = len(plan.random())
        if streams and (settings.cut or settings.resumed):
            slots.add("streams", np.uint64, "streams")
        if optimizer is not None:
            slots.add("settings", np.float64, "settings")
        self.control = _control_lines(settings, streams)
        self.optimizer = optimizer
        self.loop = [*_start_lines(streams, settings), *_loop_lines(settings)]
        self.last = _keep_lines(streams, settings)

    def print_whole(self, body: list[str]) -> str:
        """Print a step as one function."""
        body, sizes = self.extents.resolve(body)
        head = [*self.control, *sizes, *self._numbers(body), *self.loop]
        self.slots.add("functions", np.uint64, "functions", ("steps",))
        return self._print([], head, body)

    def print_cut(self, pieces: list[list[str]], loader: LeafLoader) -> str:
        """Print a step as several functions that one loop calls in turn."""
        functions: list[str] = []
        calls: list[str] = []
        names = [f"piece{k}" for k in range(len(pieces))]
        self.slots.add("functions", np.uint64, "functions", (*names, "steps"))
        for k, piece in enumerate(pieces):
            again = Writer(depth=0)
            if k:
                loader.write_again(again)
            lines, sizes = self.extents.resolve([*again.lines, *piece])
            reload, text = lines[: len(again.lines)], lines[len(again.lines) :]
            head = [*self.control, *sizes, *self._numbers(text)]
            head.append("total = f8(0)")
            used = self._used([*head, *reload, *text])
            arguments = ", ".join(slot.name for slot in used)
            functions += [
                f"@part(u64, {_kinds(used)})",
                f"def piece{k}(k, {arguments}):",
                *(INDENT + line for line in (*head, *reload)),
                *(line[len(INDENT) :] for line in text),
                INDENT + "return total",
                "",
                "",
            ]
            called = f"call(functions, u64({k}), u64(k), {arguments})"
            calls.append(f"total = total + {called}")
        head = [*self.control, *self.loop]
        return self._print(functions, head, [2 * INDENT + call for call in calls])

    def _numbers(self, lines: list[str]) -> list[str]:
        """Return the lines that load the optimizer's numbers which lines name."""
        if self.optimizer is None:
            return []
        return settings_lines(self.optimizer, _words(lines))

    def _used(self, lines: list[str]) -> list[Slot]:
        """Return the arrays that lines name: fewer arguments compile faster."""
        words = _words(lines)
        return [slot for slot in self.slots.slots if slot.name in words]

    def _print(self, functions: list[str], head: list[str], body: list[str]) -> str:
        slots = self.slots.slots
        arguments = ", ".join(slot.name for slot in slots)
        held = next(slot for slot in slots if slot.kind == "functions")
        last = len(held.source) - 1
        lines = [
            HEADER,
            "",
            *functions,
            f"@part({_kinds(slots)})",
            f"def steps({arguments}):",
            *(INDENT + line for line in head),
            *body,
            *(INDENT + line for line in self.last),
            INDENT + "return total",
            "",
            "",
            "@entry",
            "def run(address):",
            f"    table = array_at(address, u64({2 * len(self.slots.slots)}), u64)",
            *(INDENT + line for line in self.slots.unpacking()),
            f"    return call(functions, u64({last}), {arguments})",
            "",
        ]
        return "\n".join(lines)


def _kinds(slots: Sequence[Slot]) -> str:
    """Return the types of arrays as arguments of `runtime.part`."""
    return ", ".join(f"[{type_name(slot.dtype)}]" for slot in slots)


def _control_lines(settings: Settings, streams: int) -> list[str]:
    used = {"begin", "end"}
    used |= {"batch_size"} if settings.batched else set()
    used |= {"seed", "epoch", "block"} if streams and not settings.resumed else set()
    return [
        f"{name} = control[u64({k})]" for k, name in enumerate(CONTROL) if name in used
    ]


def _start_lines(streams: int, settings: Settings) -> list[str]:
    names = [stream_name(k, settings.cut) for k in range(streams)]
    if not settings.resumed:
        starts = [f"stream_start(seed, epoch, block, u64({k}))" for k in range(streams)]
    else:
        starts = [stream_name(k, cut=True) for k in range(streams)]
    pairs = zip(names, starts, strict=True)
    return [f"{name} = {first}" for name, first in pairs if name != first]


def _keep_lines(streams: int, settings: Settings) -> list[str]:
    """Return the lines that keep streams in memory for the next call."""
    if settings.cut or not settings.resumed:
        return []
    names = [(stream_name(k, cut=True), stream_name(k, False)) for k in range(streams)]
    return [f"{kept} = {name}" for kept, name in names]


def _loop_lines(settings: Settings) -> list[str]:
    step = "batch_size" if settings.batched else "u64(1)"
    stop = f"end + u64({AHEAD})" if settings.prefetch else "end"
    return ["total = f8(0)", f"for k in range(begin, {stop}, {step}):"]


def _words(lines: Iterable[str]) -> set[str]:
    return {word for line in lines for word in re.findall(r"\w+", line)}
