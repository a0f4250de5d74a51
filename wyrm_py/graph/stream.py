"""Random streams: the same draws in NumPy and in native code.

SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014): a counter and a finaliser. Every random op owns a
stream; a block of work starts it from (seed, epoch, block, number of the op),
so that a block done again by another worker draws the same numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GAMMA = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def mix(x: int) -> int:
    """Return SplitMix64's finaliser of a 64-bit number."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def start(seed: int, epoch: int, block: int, number: int) -> int:
    """Return the state a stream starts from."""
    state = mix((seed + GAMMA) & _MASK)
    for part in (epoch, block, number):
        state = mix((state ^ part) + GAMMA & _MASK)
    return state


class Stream:
    """A stream of 64-bit draws for the NumPy engine."""

    __slots__ = ("state",)

    def __init__(self, seed: int, epoch: int = 0, block: int = 0, number: int = 0):
        self.state = start(seed, epoch, block, number)

    def draw(self) -> int:
        """Return the next 64 random bits."""
        self.state = (self.state + GAMMA) & _MASK
        return mix(self.state)

    def draws(self, count: int) -> NDArray[Any]:
        """Return the next `count` draws, uint64, as `draw` would give them."""
        steps = np.arange(1, count + 1, dtype=np.uint64)
        x = steps * np.uint64(GAMMA) + np.uint64(self.state)  # wraps around
        self.state = (self.state + count * GAMMA) & _MASK
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    def below(self, limit: int) -> int:
        """Return a number in [0, limit), limit < 2**32, by multiply and shift."""
        return ((self.draw() >> 32) * limit) >> 32

    def uniform(self) -> float:
        """Return a float in [0, 1) with 24 random bits, exact in float32."""
        return (self.draw() >> 40) / (1 << 24)
