"""Random graphs for hypothesis: a list of instructions over any leaves.

An instruction names an op, two numbers that pick its operands and one for its
settings, so that a failing graph shrinks well; what does not fit is skipped.
"""

import numpy as np
from hypothesis import strategies as st

import wyrm_py as wp
from wyrm_py.errors import ShapeError

SHAPES = [(1, 1), (1, 3), (2, 3), (2, 1), (3,), (2, 2, 3), ()]


def _index(node, number):
    if len(node.shape) != 2:
        raise ShapeError("another op, please")
    rows = [[0], [0, 0], [1, 0, 1], [[0, 1]]][number % 4]
    return node.index(wp.IndexInputNode(np.minimum(rows, node.shape[0] - 1)))


def _slice(node, number):
    parts = [np.s_[::-1], np.s_[1:], np.s_[-1], np.s_[:, ::2], np.s_[:, -1:]]
    return node[parts[number % 5]]


def _chunk(node, number):
    axis = number % max(len(node.shape), 1)
    parts = node.chunk(1 + number % 3, axis)
    return parts[number % len(parts)]


def _turned(node, number):
    return node.transpose(*np.random.default_rng(number).permutation(len(node.shape)))


def _axis(node, number):
    return number % len(node.shape) if node.shape and number % 4 else None


OPS = {
    "add": lambda a, b, n: a + b,
    "subtract": lambda a, b, n: a - b,
    "multiply": lambda a, b, n: a * b,
    "divide": lambda a, b, n: a / (b.square() + 1.0),
    "tanh": lambda a, b, n: a.tanh(),
    "sigmoid": lambda a, b, n: a.sigmoid(),
    "exp": lambda a, b, n: (a * 0.5).tanh().exp(),
    "ln": lambda a, b, n: (a.square() + 0.5).ln(),
    "square": lambda a, b, n: a.square(),
    "softplus": lambda a, b, n: a.softplus(),
    "number": lambda a, b, n: (n - 3) * 0.5 - a * 1.5,
    "sum": lambda a, b, n: a.sum(_axis(a, n), keepdims=n % 2 == 0),
    "mean": lambda a, b, n: a.mean(_axis(a, n), keepdims=n % 2 == 0),
    "dot": lambda a, b, n: a.dot(b),
    "dot transposed": lambda a, b, n: a.dot(b.t()),
    "vector_dot": lambda a, b, n: a.vector_dot(b),
    "transpose": lambda a, b, n: a.t(),
    "flatten": lambda a, b, n: a.reshape(-1),
    "column": lambda a, b, n: a.reshape(-1, 1),
    "like": lambda a, b, n: a.reshape(b.shape),
    "expand": lambda a, b, n: a.expand_dims(n % (len(a.shape) + 1)),
    "slice": lambda a, b, n: _slice(a, n),
    "index": lambda a, b, n: _index(a, n),
    "chunk": lambda a, b, n: _chunk(a, n),
    "stack": lambda a, b, n: a.stack(b, axis=n % (len(a.shape) + 1)),
    "flatten from": lambda a, b, n: a.flatten(n % max(len(a.shape), 1)),
    "sin": lambda a, b, n: a.sin() * b.cos(),
    "expm1": lambda a, b, n: a.tanh().expm1(),
    "log1p": lambda a, b, n: a.square().log1p(),
    "gelu": lambda a, b, n: a.gelu(),
    "cube": lambda a, b, n: a.tanh() ** (n % 6),
    "blend": lambda a, b, n: a.convex_combination(b, 0.25),
    "stopped": lambda a, b, n: a * wp.InputNode(b.value, a.dtype).stop_gradient(),
    "transpose by axes": lambda a, b, n: _turned(a, n),
    "concatenate": lambda a, b, n: a.concatenate(b, axis=n % max(len(a.shape), 1)),
    "softmax": lambda a, b, n: a.softmax(n % max(len(a.shape), 1)),
    "log_softmax": lambda a, b, n: a.log_softmax(n % max(len(a.shape), 1)),
}

numbers = st.integers(0, 11)
instructions = st.lists(
    st.tuples(st.sampled_from(sorted(OPS)), numbers, numbers, numbers),
    min_size=1,
    max_size=9,
)
leaf_shapes = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4)


def leaves(shapes, seed=0, dtype=np.float64):
    """Return parameter nodes with seeded values, exact in float32 too."""
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    return [wp.ParameterNode(value, dtype) for value in values]


def build(nodes, program):
    """Return a loss () in which every result of the program takes part."""
    made = list(nodes)
    for name, first, second, number in program:
        a, b = made[-1 - first % len(made)], made[-1 - second % len(made)]
        try:
            node = OPS[name](a, b, number)
        except ShapeError:
            continue
        if node.value.size <= 40:
            made.append(node)
    loss = None
    for position, node in enumerate(made):
        weights = np.cos(np.arange(node.value.size) + position).reshape(node.shape)
        part = (node * weights.astype(node.dtype)).sum()
        loss = part if loss is None else loss + part
    return loss
