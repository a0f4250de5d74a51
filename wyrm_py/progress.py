"""The progress bar: epoch, loss and examples per second, on a terminal or notebook.

The only place where the library writes to the screen, and only if it is asked to
and somebody can watch. Imports nothing else of wyrm_py, and rich only when shown.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Progress(NamedTuple):
    """State of a run that works through epochs of blocks."""

    epoch: int  # the one that is being worked on, from 0
    epochs: int
    blocks_done: int  # of all epochs
    blocks: int  # of all epochs
    examples: float  # in all done blocks
    loss: float  # mean of the current epoch so far; NaN before its first block


@contextlib.contextmanager
def progress_bar(asked: bool = True) -> Iterator[Callable[[Progress], None] | None]:
    """Show a bar while the block runs; give the function that moves it.

    Parameters
    ----------
    asked : bool
        Whether the user wants a bar.

    Yields
    ------
    callable or None
        Takes a `Progress`. None if there is nothing to show: not asked for, or
        stderr is neither a terminal nor a notebook.
    """
    if not asked or not _watched():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[speed]} examples/s"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with bar:
        line = bar.add_task("", total=1, epoch="-", loss="-", speed="-")
        began = time.monotonic()

        def move(progress: Progress) -> None:
            elapsed = max(time.monotonic() - began, 1e-9)
            bar.update(
                line,
                completed=progress.blocks_done / max(1, progress.blocks),
                epoch=f"{progress.epoch + 1}/{progress.epochs}",
                loss="-" if math.isnan(progress.loss) else f"{progress.loss:.5g}",
                speed=f"{progress.examples / elapsed:,.0f}",
            )

        yield move


def _watched() -> bool:
    """Tell whether stderr is a terminal, or this is a notebook."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal or "ipykernel" in sys.modules
