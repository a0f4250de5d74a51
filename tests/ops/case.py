"""One case of an op: a graph, and an independent formula for its value.

References are written with `autograd.numpy` (HIPS autograd), so that they give
an independent value and an independent gradient.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import wyrm_py as wp

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Case:
    """`build` over parameter nodes, `reference` over arrays of the same shapes.

    draw : "normal", or "positive" for numbers in [0.5, 2)
    """

    name: str
    build: Callable
    reference: Callable
    shapes: Shapes
    draw: str = "normal"

    def arrays(self):
        """Return the case's seeded values, exact in float32 too."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        draws = {
            "normal": lambda shape: rng.standard_normal(shape),
            "positive": lambda shape: rng.uniform(0.5, 2.0, shape),
        }
        return [
            np.asarray(draws[self.draw](shape), np.float32).astype(np.float64)
            for shape in self.shapes
        ]

    def weights(self, shape):
        """Return seeded weights that make a sum of all elements telling."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()) + 1)
        return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)

    def parameters(self, dtype=np.float64):
        """Return new parameter nodes with the case's values."""
        return [wp.ParameterNode(array, dtype) for array in self.arrays()]

    def __str__(self):
        return self.name


def label(shapes):
    """Return shapes as text: 3x4,1x4."""
    return ",".join("x".join(map(str, shape)) or "()" for shape in shapes)


def case(name, build, reference, *shapes, draw="normal"):
    """Return a case whose name tells its shapes."""
    return Case(f"{name}[{label(shapes)}]", build, reference, shapes, draw)
