"""Cases of activations, powers and other functions of single elements."""

import math

import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import expit
from ops.case import case

import wyrm_py as wp

MASK = np.array([[0.5, -1.0, 2.0, 0.0]])


def _leaky(a, slope):
    return anp.where(a > 0, a, slope * a)


def _elu(a, alpha):
    return anp.where(a > 0, a, alpha * (anp.exp(a) - 1))


def _gelu(a):
    return 0.5 * a * (1 + anp.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))


def _functions():
    for name, build, reference, draw in [
        ("log1p", lambda a: a.log1p(), anp.log1p, "positive"),
        ("expm1", lambda a: a.expm1(), anp.expm1, "normal"),
        ("sin", lambda a: a.sin(), anp.sin, "normal"),
        ("cos", lambda a: a.cos(), anp.cos, "normal"),
        ("abs", abs, anp.abs, "normal"),
        ("leaky_relu", lambda a: a.leaky_relu(), lambda a: _leaky(a, 0.01), "normal"),
        ("leaky 3", lambda a: a.leaky_relu(3), lambda a: _leaky(a, 3.0), "normal"),
        ("elu", lambda a: a.elu(), lambda a: _elu(a, 1.0), "normal"),
        ("elu 0.5", lambda a: a.elu(0.5), lambda a: _elu(a, 0.5), "normal"),
        ("gelu", lambda a: a.gelu(), _gelu, "normal"),
        ("clip", lambda a: a.clip(-0.5, 1), lambda a: anp.clip(a, -0.5, 1), "normal"),
        ("reciprocal", lambda a: a.reciprocal(), lambda a: 1 / a, "positive"),
        ("power 3", lambda a: a**3, lambda a: a**3, "normal"),
        ("power 8", lambda a: a**8.0, lambda a: a**8, "normal"),
        ("power -5", lambda a: a**-5, lambda a: a**-5.0, "positive"),
        ("dropout of nothing", lambda a: a.dropout(0), lambda a: a * 1.0, "normal"),
        ("dropout of all", lambda a: a.dropout(1.0), lambda a: a * 0.0, "normal"),
        ("power 9", lambda a: a**9, lambda a: a**9, "positive"),
    ]:
        yield case(name, build, reference, (3, 4), draw=draw)
    yield case("minimum", lambda a, b: a.minimum(b), anp.minimum, (3, 1), (2, 1, 4))
    yield case(
        "clip between nodes",
        lambda a, low, high: a.clip(low, high),
        lambda a, low, high: anp.minimum(anp.maximum(a, low), high),
        *((3, 4), (1, 4), (3, 1)),
    )
    yield case(
        "times what passes no gradient",
        lambda a: a * wp.InputNode(MASK, a.dtype).tanh().stop_gradient(),
        lambda a: a * np.tanh(MASK),
        (3, 4),
    )


def _several():
    """Python's own loops over operators are the n-ary forms."""
    shapes = ((3, 4), (1, 4), (3, 1))
    yield case("sum of three", lambda *x: sum(x), lambda a, b, c: a + b + c, *shapes)
    yield case("product", lambda *x: math.prod(x), lambda a, b, c: a * b * c, *shapes)


def _blends():
    yield case(
        "axpy",
        lambda x, y: x.axpy(-1.5, y),
        lambda x, y: -1.5 * x + y,
        *((3, 4), (1, 4)),
    )
    yield case(
        "axpy by a node",
        lambda a, x, y: x.axpy(a, y),
        lambda a, x, y: a * x + y,
        *((), (3, 4), (4,)),
    )
    yield case(
        "convex_combination",
        lambda a, b: a.convex_combination(b, 0.25),
        lambda a, b: 0.25 * a + 0.75 * b,
        *((3, 4), (1, 4)),
    )
    yield case(
        "convex_combination by a gate",
        lambda a, b, gate: a.convex_combination(b, gate.sigmoid()),
        lambda a, b, gate: expit(gate) * a + (1 - expit(gate)) * b,
        *((1, 4), (3, 4), (3, 1)),
    )


CASES = [*_functions(), *_several(), *_blends()]
