"""Checks shared by the tests of layers and losses."""

import numpy as np
import pytest

import wyrm_py as wp

EPS = 1e-6


def dense(gradient):
    """Return a gradient as a dense array."""
    return gradient.toarray() if hasattr(gradient, "toarray") else gradient


def draw(shape, seed=0, low=-2.0, high=2.0):
    """Return seeded float64 numbers, none close to zero or to another's negative."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def check_gradients(build, parameters, seed=0):
    """Compare gradients with float64 central differences along a random direction.

    `build` makes the node anew from the parameters; its elements are weighted, so
    that none of them can be wrong unseen.
    """
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 1.5, build().shape) * rng.choice([-1, 1], build().shape)
    ways = [rng.standard_normal(node.shape) for node in parameters]
    held = [node.value.copy() for node in parameters]
    for node in parameters:
        node.zero_gradient()
    (build() * weights).sum().backward()
    slope = sum(
        float((dense(node.gradient) * way).sum())
        for node, way in zip(parameters, ways, strict=True)
    )
    ends = []
    for sign in (EPS, -EPS):
        for node, value, way in zip(parameters, held, ways, strict=True):
            node.set_value(value + sign * way)
        ends.append(float((build().value * weights).sum()))
    for node, value in zip(parameters, held, strict=True):
        node.set_value(value)
    numeric = (ends[0] - ends[1]) / (2 * EPS)
    assert slope == pytest.approx(numeric, rel=1e-6, abs=1e-8 * max(1.0, abs(ends[0])))


def check_layer(layer, x):
    """Check the gradients of a float64 layer: of its parameters and of its input."""
    wide = wp.ParameterNode(x, np.float64)
    nodes = [*layer.parameters(), wide]
    assert all(node.dtype == np.float64 for node in nodes)
    check_gradients(lambda: layer(wide), nodes)
