"""The curves of a run as a picture by matplotlib, which is an optional extra.

Transparent, in tones that can be read on white and on black. Nothing global is
touched: the figure is made without pyplot.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from wyrm_py.errors import MissingPackageError

if TYPE_CHECKING:
    from wyrm_py.parallel.history import History

TONES = ("#3f7fd9", "#d9782d", "#2f9e5f", "#9a5fd0", "#cf4f82", "#1f97ab")
FAINT = "#80868f"


def plot_history(
    history: History, path: str | os.PathLike[str] | None = None, axes: Any = None
) -> Any:
    """Draw the curves of a run; see `History.plot`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "plot: matplotlib is required. Install it with `pip install "
            "'wyrm-py[plot]'`, or use `report`, which needs nothing."
        ) from error
    if axes is not None:
        _draw_losses(axes, history)
        figure = axes.figure
    else:
        panels = _panels(history)
        heights = [2.2] + [1.2] * len(panels)
        figure = Figure(figsize=(7, 1.4 * sum(heights)), layout="constrained", dpi=120)
        found = figure.subplots(
            len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
        )[:, 0]
        figure.patch.set_alpha(0.0)
        _draw_losses(found[0], history)
        for k, (name, values) in enumerate(panels.items()):
            _draw(found[k + 1], name, {name: values}, history, first=k + 2)
        found[-1].set_xlabel("epoch", color=FAINT)
    if path is not None:
        figure.savefig(path)
    return figure


def _panels(history: History) -> dict[str, list[float]]:
    """Return what stands below the losses."""
    names = dict.fromkeys(name for row in history.metrics for name in row)
    nan = float("nan")
    panels = {name: [row.get(name, nan) for row in history.metrics] for name in names}
    if len(set(history.learning_rates)) > 1:
        panels["learning rate"] = history.learning_rates
    return panels


def _draw_losses(axes: Any, history: History) -> None:
    lines = {"training": history.losses}
    if history.validation_losses:
        lines["validation"] = history.validation_losses
    _draw(axes, "loss", lines, history, first=0)
    axes.legend(frameon=False, labelcolor=FAINT)


def _draw(
    axes: Any,
    label: str,
    lines: dict[str, list[float]],
    history: History,
    first: int,
) -> None:
    for k, (name, values) in enumerate(lines.items()):
        axes.plot(
            range(1, len(values) + 1),
            values,
            label=name,
            color=TONES[(first + k) % len(TONES)],
            linewidth=1.8,
            marker="o" if len(values) < 40 else "",
            markersize=3.5,
        )
    if history.best_epoch is not None and label != "learning rate":
        axes.axvline(history.best_epoch + 1, color=FAINT, linewidth=1, linestyle="--")
    axes.set_ylabel(label, color=FAINT)
    axes.patch.set_alpha(0.0)
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.8)
    axes.tick_params(colors=FAINT, length=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.02)
    for side in axes.spines.values():
        side.set_visible(False)
