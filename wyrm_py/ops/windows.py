"""What convolution, pooling and padding share: axes of space and windows on them.

Values are (batch, channels, *space), or (batch, *space, channels) with
`channels_last`, with one to three axes of space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias, TypeVar

import numpy as np

from wyrm_py.errors import ShapeError
from wyrm_py.graph.op import Array, Shape, Spec, require_floats, whole_numbers

_Length = TypeVar("_Length")
PerAxis: TypeAlias = int | Sequence[int]
"""One number for every axis of space, or one for each."""


def require_image(name: str, spec: Spec, channels_last: bool) -> None:
    """Raise unless a value has axes of batch, channels and one to three of space."""
    require_floats(name, spec)
    if not 3 <= len(spec.shape) <= 5:
        order = "(batch, *space, channels)" if channels_last else _FIRST
        ones = "-1, *space, 1" if channels_last else "-1, 1, *space"
        raise ShapeError(
            f"{name}: takes {order} with one to three axes of space, got "
            f"{spec.shape}. Add the axes that are missing, also for a single image "
            f"or a single channel: `.reshape({ones})`."
        )


_FIRST = "(batch, channels, *space)"


def channels_first(x: Array, channels_last: bool) -> Array:
    """Return a view (batch, channels, *space)."""
    return np.moveaxis(x, -1, 1) if channels_last else x


def space_of(shape: Sequence[_Length], channels_last: bool) -> Sequence[_Length]:
    """Return the lengths of the axes of space."""
    return shape[1:-1] if channels_last else shape[2:]


def with_space(shape: Shape, space: Sequence[int], channels_last: bool) -> Shape:
    """Return a shape with other lengths of the axes of space."""
    if channels_last:
        return (shape[0], *space, shape[-1])
    return (*shape[:2], *space)


def per_axis(
    name: str, what: str, given: PerAxis, count: int, least: int = 1
) -> tuple[int, ...]:
    """Return one number an axis of space, each at least `least`."""
    several = tuple(given) if isinstance(given, Sequence) else (given,) * count
    numbers = whole_numbers(name, several)
    if len(numbers) != count:
        raise ShapeError(
            f"{name}: {what} {given!r} has {len(numbers)} numbers for {count} axes of "
            "space. Give one number for all, or one for each."
        )
    if min(numbers) < least:
        raise ShapeError(
            f"{name}: {what} must be at least {least} on every axis of space, got "
            f"{given!r}."
        )
    return numbers


@dataclass(frozen=True)
class Windows:
    """Where windows stand on the axes of space: one number an axis."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def reach(self, window: Sequence[int]) -> tuple[int, ...]:
        """Return how far a window stretches."""
        return tuple(
            (k - 1) * d + 1 for k, d in zip(window, self.dilation, strict=True)
        )

    def places(
        self, name: str, space: Sequence[int], window: Sequence[int]
    ) -> tuple[int, ...]:
        """Return how many windows fit, or raise a ShapeError."""
        reach = self.reach(window)
        if any(r > n for r, n in zip(reach, space, strict=True)):
            dilated = f" (stretched to {reach})" if reach != tuple(window) else ""
            raise ShapeError(
                f"{name}: the window {tuple(window)}{dilated} is larger than the "
                f"space {tuple(space)}. `pad` the value first, or take a smaller "
                "window."
            )
        return tuple(
            (n - r) // s + 1 for n, r, s in zip(space, reach, self.stride, strict=True)
        )

    def taps(
        self, window: Sequence[int], places: Sequence[int]
    ) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
        """Give each element of the window, and what lies under it as an index."""
        for tap in product(*map(range, window)):
            cuts = (
                slice(k * d, k * d + (n - 1) * s + 1, s)
                for k, d, s, n in zip(
                    tap, self.dilation, self.stride, places, strict=True
                )
            )
            yield tap, (..., *cuts)


def position(terms: Sequence[tuple[str, int]], start: int = 0) -> str:
    """Return the text of start + sum(index * step); zeros and ones fold away."""
    texts = [
        index if step == 1 else f"u64({step}) * {index}"
        for index, step in terms
        if index != "0"
    ]
    texts += [f"u64({start})"] if start else []
    return f"({' + '.join(texts)})" if len(texts) > 1 else (texts or ["0"])[0]
