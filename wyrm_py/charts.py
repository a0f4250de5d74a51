"""Line charts and bars as SVG text: a few lines over epochs, nothing more.

Colours and fonts are those of the page around: classes `line-0`, `line-1`, ... of
the lines, `grid`, `axis`, `mark`. Values that are not finite leave a gap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 12.0, 26.0
"""Room around the lines, pixels."""
MOST_DOTS = 120
"""Epochs up to which each has a dot that says its value when pointed at."""


def line_chart(
    lines: Mapping[str, Sequence[float]],
    width: float = 860.0,
    height: float = 280.0,
    mark: int | None = None,
    floor: float | None = None,
) -> str:
    """Return lines over epochs, counted from 1.

    Parameters
    ----------
    lines : values of each epoch, by name
    mark : epoch (from 0) to put a dashed line at
    floor : a value that the axis reaches down to
    """
    epochs = max(map(len, lines.values()), default=0)
    finite = [v for values in lines.values() for v in values if _fits(v)]
    finite += [] if floor is None else [floor]
    ticks = nice_ticks(min(finite, default=0.0), max(finite, default=1.0))
    low, high = ticks[0], ticks[-1]
    right, bottom = width - RIGHT, height - BOTTOM

    def x(epoch: int) -> float:
        return LEFT + (right - LEFT) * (epoch / (epochs - 1) if epochs > 1 else 0.5)

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (value - low) / (high - low)

    parts = [
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(", ".join(lines))} by epoch">'
    ]
    for tick, text in zip(ticks, tick_texts(ticks), strict=True):
        parts.append(
            f'<line class="grid" x1="{LEFT:g}" x2="{right:g}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/><text class="axis" x="{LEFT - 8:g}" '
            f'y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>'
        )
    parts += [
        f'<text class="axis" x="{x(epoch - 1):.1f}" y="{height - 6:g}" '
        f'text-anchor="middle">{epoch}</text>'
        for epoch in whole_ticks(epochs, int(width // 60))
    ]
    if mark is not None and mark < epochs:
        at = f"{x(mark):.1f}"
        parts.append(
            f'<line class="mark" x1="{at}" x2="{at}" y1="{TOP:g}" y2="{bottom:g}"/>'
        )
    for number, (name, values) in enumerate(lines.items()):
        dots = [(x(k), y(v), k, v) for k, v in enumerate(values) if _fits(v)]
        parts.append(f'<g class="line-{number % 6}">{_path(dots)}')
        if epochs <= MOST_DOTS:
            parts += [
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{2.5 if epochs < 40 else 1.5}">'
                f"<title>{escape(name)}, epoch {k + 1}: {v:.6g}</title></circle>"
                for a, b, k, v in dots
            ]
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _fits(value: float) -> bool:
    return abs(value) < 1e300  # neither NaN, nor so large that differences overflow


def _path(dots: Sequence[tuple[float, float, int, float]]) -> str:
    """Return the lines between epochs that follow each other."""
    text, before = "", None
    for a, b, epoch, _ in dots:
        text += f"{'L' if before == epoch - 1 else 'M'}{a:.1f},{b:.1f}"
        before = epoch
    return f'<path d="{text}"/>' if text else ""


def bar(share: float) -> str:
    """Return a horizontal bar that fills a share of its room."""
    filled = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" '
        'aria-hidden="true"><rect class="room" width="100" height="8"/>'
        f'<rect class="filled" width="{filled:.1f}" height="8"/></svg>'
    )


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return up to `most` round numbers that reach from below to above."""
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        spread = abs(low) / 10 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / (most - 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [k * step for k in range(first, last + 1)]


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Return ticks with the digits that tell neighbours apart."""
    step, largest = ticks[1] - ticks[0], max(map(abs, ticks))
    if largest >= 1e15 or largest < 1e-3:
        return [f"{tick:.3g}" for tick in ticks]
    thousands = int(math.log10(largest) // 3) if largest >= 1e4 else 0
    if thousands:
        unit = 1000.0**thousands
        texts = tick_texts([tick / unit for tick in ticks])
        return [f"{text} {' kMGT'[thousands]}" for text in texts]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += round(step * 10**digits, 6) % 1 != 0  # 2.5
    return [f"{tick:,.{digits}f}" for tick in ticks]


def whole_ticks(count: int, most: int = 12) -> list[int]:
    """Return round numbers in [1, count], the first and about `most` of them."""
    step = max(1, math.ceil(count / max(most, 1)))
    power = 10 ** int(math.log10(step))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= step)
    return [n for n in range(1, count + 1) if n == 1 or n % step == 0]
