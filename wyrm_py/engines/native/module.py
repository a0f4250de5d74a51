"""Prints the module around the body of a step: unpacking, loop, entry.

A long step is cut: each piece becomes a function of its own, which unpacks the
numbers it needs again and takes the values of earlier pieces from memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines.native.elements import stream_name
from wyrm_py.engines.native.extents import Extents
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.slots import CONTROL, Slots
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
        if streams and settings.cut:
            slots.add("streams", np.uint64, "streams")
        if optimizer is not None:
            slots.add("settings", np.float64, "settings")
        self.arguments = ", ".join(slot.name for slot in slots.slots)
        self.control = _control_lines(settings, streams)
        self.rates = _settings_lines(optimizer, plan)
        self.loop = [*_start_lines(streams, settings.cut), *_loop_lines(settings)]

    def print_whole(self, body: list[str]) -> str:
        """Print a step as one function."""
        body, sizes = self.extents.resolve(body)
        head = [*self.control, *sizes, *self.rates, *self.loop]
        return self._print([], head, body)

    def print_cut(self, pieces: list[list[str]], loader: LeafLoader) -> str:
        """Print a step as several functions that one loop calls in turn."""
        functions: list[str] = []
        calls: list[str] = []
        for k, piece in enumerate(pieces):
            again = Writer(depth=0)
            if k:
                loader.write_again(again)
            reload, sizes = self.extents.resolve(again.lines)
            text, more = self.extents.resolve(piece)
            head = [*self.control, *sizes, *more, *self.rates, "total = f8(0)"]
            arguments = self._used([*head, *reload, *text])
            functions += [
                "@part",
                f"def piece{k}(k, {arguments}):",
                INDENT + "never_inline()",
                *(INDENT + line for line in (*head, *reload)),
                *(line[len(INDENT) :] for line in text),
                INDENT + "return total",
                "",
                "",
            ]
            calls.append(f"total = total + piece{k}(u64(k), {arguments})")
        head = ["never_inline()", *self.control, *self.loop]
        return self._print(functions, head, [2 * INDENT + call for call in calls])

    def _used(self, lines: list[str]) -> str:
        """Return the arrays that lines name: fewer arguments compile faster."""
        words = {word for line in lines for word in re.findall(r"\w+", line)}
        return ", ".join(s.name for s in self.slots.slots if s.name in words)

    def _print(self, functions: list[str], head: list[str], body: list[str]) -> str:
        lines = [
            HEADER,
            "",
            *functions,
            "@part",
            f"def steps({self.arguments}):",
            *(INDENT + line for line in head),
            *body,
            INDENT + "return total",
            "",
            "",
            "@entry",
            "def run(address):",
            f"    table = array_at(address, u64({2 * len(self.slots.slots)}), u64)",
            *(INDENT + line for line in self.slots.unpacking()),
            f"    return steps({self.arguments})",
            "",
        ]
        return "\n".join(lines)


def _control_lines(settings: Settings, streams: int) -> list[str]:
    used = {"begin", "end"}
    used |= {"batch_size"} if settings.batched else set()
    used |= {"seed", "epoch", "block"} if streams else set()
    return [
        f"{name} = control[u64({k})]" for k, name in enumerate(CONTROL) if name in used
    ]


def _start_lines(streams: int, cut: bool) -> list[str]:
    return [
        f"{stream_name(k, cut)} = stream_start(seed, epoch, block, u64({k}))"
        for k in range(streams)
    ]


def _loop_lines(settings: Settings) -> list[str]:
    step = "batch_size" if settings.batched else "u64(1)"
    stop = f"end + u64({AHEAD})" if settings.prefetch else "end"
    return ["total = f8(0)", f"for k in range(begin, {stop}, {step}):"]


def _settings_lines(optimizer: Optimizer | None, plan: Plan) -> list[str]:
    if optimizer is None:
        return []
    kinds = {update.block.dtype for update in plan.updates}
    lines = []
    for k, name in enumerate(setting_names(optimizer)):
        if name == "clip_norm":
            lines.append(f"clip_norm = settings[u64({k})]")
            continue
        if np.dtype(np.float32) in kinds:
            lines.append(f"{name} = f4(settings[u64({k})])")
        if np.dtype(np.float64) in kinds:
            lines.append(f"{name}_f8 = settings[u64({k})]")
    return lines


def setting_names(optimizer: Optimizer) -> list[str]:
    """Return the names of the numbers a step takes from its optimizer."""
    names = list(optimizer.settings())
    names += ["clip"] if optimizer.clip is not None else []
    return names + (["clip_norm"] if optimizer.clip_norm is not None else [])


def setting_values(optimizer: Optimizer) -> list[float]:
    """Return those numbers as they are now."""
    values = list(optimizer.settings().values())
    return values + [v for v in (optimizer.clip, optimizer.clip_norm) if v is not None]


def take_settings(optimizer: Optimizer, values: Iterable[float]) -> None:
    """Set an optimizer (a worker's copy) to the numbers of `setting_values`."""
    for name, value in zip(setting_names(optimizer), values, strict=True):
        setattr(optimizer, name, float(value))
