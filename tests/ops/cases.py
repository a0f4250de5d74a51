"""Cases of every op, joined: those of a family may stand in a module of their own."""

import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import expit, logsumexp
from ops import (
    convolution_cases,
    join_cases,
    linalg_cases,
    padding_cases,
    pick_cases,
    pointwise_cases,
    pooling_cases,
)
from ops.case import Shapes
from ops.case import case as _case
from scipy import sparse

import wyrm_py as wp

BROADCASTS: tuple[Shapes, ...] = (
    ((1, 1), (1, 1)),
    ((1, 4), (1, 4)),
    ((3, 4), (3, 4)),
    ((3, 4), (1, 4)),
    ((1, 4), (3, 4)),
    ((3, 1), (1, 4)),
    ((3, 4), (3, 1)),
    ((2, 3, 4), (4,)),
    ((3, 1), (2, 1, 4)),
    ((), (3, 4)),
    ((4,), ()),
)


def _binary():
    ops = [
        ("add", lambda a, b: a + b, lambda a, b: a + b, "normal"),
        ("subtract", lambda a, b: a - b, lambda a, b: a - b, "normal"),
        ("multiply", lambda a, b: a * b, lambda a, b: a * b, "normal"),
        ("divide", lambda a, b: a / b, lambda a, b: a / b, "positive"),
        ("power", lambda a, b: a**b, lambda a, b: a**b, "positive"),
        ("maximum", lambda a, b: a.maximum(b), anp.maximum, "normal"),
    ]
    for number, (name, build, reference, draw) in enumerate(ops):
        for place, shapes in enumerate(BROADCASTS):
            # every pattern with `multiply`, a third of them with each other op
            if name == "multiply" or place % 3 == number % 3:
                yield _case(name, build, reference, *shapes, draw=draw)


_ROW = np.array([[1.5, -0.5, 2.0, 0.25]], np.float32)


def _constants():
    shapes = (3, 4)
    for name, build in {
        "node + 2": lambda a: a + 2,
        "2.5 - node": lambda a: 2.5 - a,
        "node * numpy scalar": lambda a: a * np.float32(0.5),
        "array + node": lambda a: _ROW + a,
        "array - node": lambda a: _ROW - a,
        "array * node": lambda a: _ROW * a,
        "list * node": lambda a: [[1.0], [2.0], [3.0]] * a,
        "negate": lambda a: -a,
        "integer power": lambda a: a**2,
    }.items():
        yield _case(name, build, build if "list" not in name else _listed, shapes)
    for name, build in {
        "1 / node": lambda a: 1 / a,
        "node / array": lambda a: a / _ROW,
        "array / node": lambda a: _ROW / a,
        "node ** -1.5": lambda a: a**-1.5,
        "2 ** node": lambda a: 2.0**a,
        "node ** 3": lambda a: a**3,
    }.items():
        yield _case(name, build, build, shapes, draw="positive")


def _listed(a):
    return np.array([[1.0], [2.0], [3.0]]) * a


def _softplus(a):
    return anp.logaddexp(0.0, a)


def _log_softmax(a, axis=-1):
    return a - logsumexp(a, axis=axis, keepdims=True)


def _unary():
    for name, reference, draw in [
        ("square", lambda a: a * a, "normal"),
        ("sqrt", anp.sqrt, "positive"),
        ("exp", anp.exp, "normal"),
        ("ln", anp.log, "positive"),
        ("tanh", anp.tanh, "normal"),
        ("sigmoid", expit, "normal"),
        ("softplus", _softplus, "normal"),
        ("relu", lambda a: anp.maximum(a, 0.0), "normal"),
        ("absolute", anp.abs, "normal"),
    ]:
        shapes = [(1, 1), (1, 5), (3, 4), (2, 3, 2), ()]
        for shape in shapes if name == "tanh" else shapes[:3:2]:

            def build(a, name=name):
                return getattr(a, name)()

            yield _case(name, build, reference, shape, draw=draw)
    yield _case(
        "ln sigmoid", lambda a: a.sigmoid().ln(), lambda a: -_softplus(-a), (3, 4)
    )
    yield _case("ln softmax", lambda a: a.softmax().ln(), _log_softmax, (3, 4))
    yield _case(
        "ln softmax axis 0",
        lambda a: a.softmax(0).ln(),
        lambda a: _log_softmax(a, 0),
        (3, 4),
    )


def _reductions():
    settings = [
        ((1, 1), None, False),
        ((3, 4), None, False),
        ((3, 4), None, True),
        ((3, 4), 0, False),
        ((3, 4), 1, False),
        ((3, 4), -1, True),
        ((3, 4), 0, True),
        ((1, 4), 0, False),
        ((4,), 0, False),
        ((), None, False),
        ((2, 3, 4), 1, False),
        ((2, 3, 4), (0, 2), False),
        ((2, 3, 4), (2, 0), True),
        ((2, 3, 4), (0, 1), False),
        ((2, 3, 4), (-1, -2), True),
    ]
    for number, (shape, axis, keep) in enumerate(settings):
        for place, name in enumerate(("sum", "mean", "max")):
            if name != "sum" and number % 2 != place % 2:
                continue

            def build(a, name=name, axis=axis, keep=keep):
                return getattr(a, name)(axis, keepdims=keep)

            def reference(a, name=name, axis=axis, keep=keep):
                return getattr(anp, name)(a, axis=axis, keepdims=keep)

            yield _case(f"{name} {axis} {keep}", build, reference, shape)
    yield _case(
        "scalar_sum", lambda a: a.scalar_sum(), lambda a: a.sum().reshape(1, 1), (3, 4)
    )
    yield _case(
        "sum of a broadcast product",
        lambda a, b: (a * b).sum(0),
        lambda a, b: (a * b).sum(0),
        (3, 1),
        (1, 4),
    )
    yield _case(
        "several reductions",
        lambda a: (a - a.mean(0)).square().mean(1, keepdims=True) * a.max() + a.sum(0),
        lambda a: ((a - a.mean(0)) ** 2).mean(1, keepdims=True) * a.max() + a.sum(0),
        (3, 4),
    )


def _linalg():
    for shapes in [
        ((3, 4), (4, 2)),
        ((1, 1), (1, 1)),
        ((1, 4), (4, 1)),
        ((3, 1), (1, 2)),
        ((3, 4), (4,)),
        ((3,), (3, 4)),
        ((4,), (4,)),
    ]:
        yield _case("dot", lambda a, b: a.dot(b), anp.dot, *shapes)
    for name, build, shapes in [
        ("a @ b.T", lambda a, b, t: a @ t(b), ((3, 4), (2, 4))),
        ("a.T @ b", lambda a, b, t: t(a) @ b, ((4, 3), (4, 2))),
        ("a.T @ b.T", lambda a, b, t: t(a) @ t(b), ((4, 3), (2, 4))),
        ("a @ a.T @ b", lambda a, b, t: a @ t(a) @ b, ((3, 4), (3, 2))),
    ]:
        yield _case(
            name,
            lambda a, b, build=build: build(a, b, lambda x: x.t()),
            lambda a, b, build=build: build(a, b, lambda x: x.T),
            *shapes,
        )
    yield _case(
        "array @ node", lambda a: _ROW.T @ a[:1], lambda a: _ROW.T @ a[:1], (3, 4)
    )
    for shapes in [
        ((3, 4), (3, 4)),
        ((1, 1), (1, 1)),
        ((1, 4), (3, 4)),
        ((4,), (4,)),
        ((2, 3, 4), (3, 4)),
        ((2, 1, 4), (1, 3, 4)),
    ]:
        yield _case(
            "vector_dot",
            lambda a, b: a.vector_dot(b),
            lambda a, b: (a * b).sum(axis=-1, keepdims=True),
            *shapes,
        )
    for shape in [(3, 4), (1, 4), (4,), (2, 3, 4)]:
        yield _case(
            "transpose", lambda a: a.t() * 2.0, lambda a: anp.transpose(a) * 2.0, shape
        )


def _shape():
    for shape, target in [
        ((3, 4), (2, 6)),
        ((3, 4), (-1,)),
        ((3, 4), (12, 1)),
        ((2, 3, 4), (6, -1)),
        ((1, 1), ()),
        ((), (1, 1, 1)),
        ((1, 4), (4,)),
    ]:
        yield _case(
            f"reshape {target}",
            lambda a, target=target: a.reshape(target).exp(),
            lambda a, target=target: anp.exp(a.reshape(target)),
            shape,
        )
    yield _case(
        "reshape of a transpose",
        lambda a: a.t().reshape(6, 2).tanh(),
        lambda a: anp.tanh(a.T.reshape(6, 2)),
        (3, 4),
    )
    yield _case(
        "reshape of a slice",
        lambda a: a[::2, 1:3].reshape(4, 1).square(),
        lambda a: a[::2, 1:3].reshape(4, 1) ** 2,
        (3, 4),
    )
    yield _case(
        "reshape of a sum",
        lambda a: (a + 1.0).reshape(4, 3) * a.sum(1),
        lambda a: (a + 1.0).reshape(4, 3) * a.sum(1),
        (3, 4),
    )
    for axis in (0, 1, -1):
        yield _case(
            f"expand_dims {axis}",
            lambda a, axis=axis: a.expand_dims(axis).exp(),
            lambda a, axis=axis: anp.exp(anp.expand_dims(a, axis)),
            (3, 4),
        )
    for shape, axis in [((1, 4), 0), ((3, 1), -1), ((2, 1, 3), 1)]:
        yield _case(
            f"squeeze {axis}",
            lambda a, axis=axis: a.squeeze(axis).exp(),
            lambda a, axis=axis: anp.exp(anp.squeeze(a, axis=axis)),
            shape,
        )


def _slices():
    s = np.s_
    for index in [
        s[1],
        s[-1],
        s[1:3],
        s[::2],
        s[::-1],
        s[1, 2],
        s[:, 1],
        s[:, ::-2],
        s[-3:-1],
        s[-1::-2, 3:0:-1],
        s[0, -2:],
    ]:
        yield _case(
            f"slice {index}",
            lambda a, index=index: a[index].square(),
            lambda a, index=index: a[index] ** 2,
            (4, 5),
        )
    yield _case("slice 3-d", lambda a: a[:, 1, ::2], lambda a: a[:, 1, ::2], (2, 3, 4))
    yield _case("slice 1x1", lambda a: a[0, 0], lambda a: a[0, 0], (1, 1))
    yield _case(
        "slice of a slice",
        lambda a: a[1:, ::2][::-1, 1:].exp(),
        lambda a: anp.exp(a[1:, ::2][::-1, 1:]),
        (4, 5),
    )
    yield _case(
        "slice of a transpose",
        lambda a: a.t()[1:3, ::-1].exp(),
        lambda a: anp.exp(a.T[1:3, ::-1]),
        (4, 5),
    )
    yield _case(
        "overlapping slices",
        lambda a: a[1:] * a[:-1] + a[0],
        lambda a: a[1:] * a[:-1] + a[0],
        (4, 5),
    )


def _joins():
    def join(*parts, axis=0):
        return parts[0].concatenate(*parts[1:], axis=axis)

    for axis, shapes in [
        (0, ((1, 1), (1, 1))),
        (0, ((2, 3), (4, 3))),
        (1, ((3, 2), (3, 1), (3, 4))),
        (-1, ((2, 3), (2, 2))),
        (0, ((3,), (2,))),
        (1, ((2, 1, 3), (2, 2, 3))),
        (0, ((2, 3),)),
    ]:
        yield _case(
            f"concatenate {axis}",
            lambda *parts, axis=axis: join(*parts, axis=axis).square(),
            lambda *parts, axis=axis: anp.concatenate(parts, axis=axis) ** 2,
            *shapes,
        )
    yield _case(
        "concatenate with itself",
        lambda a: join(a, a.tanh(), a, axis=1) * 2.0,
        lambda a: anp.concatenate([a, anp.tanh(a), a], axis=1) * 2.0,
        (3, 2),
    )
    yield _case(
        "concatenate slices, then slice",
        lambda a, b: join(a[:, 1:], b.t(), axis=1)[:, 1:4].exp(),
        lambda a, b: anp.exp(anp.concatenate([a[:, 1:], b.T], axis=1)[:, 1:4]),
        (2, 3),
        (3, 2),
    )


def _rows():
    for rows in [[2], [1, 3], [0, 2, 0], [[0, 1], [1, 4]], [4, 4, 4, 4, 4, 4]]:
        array = np.array(rows)
        yield _case(
            f"index {rows}",
            lambda t, rows=rows: t.index(wp.IndexInputNode(rows)).square(),
            lambda t, array=array: t[array] ** 2,
            (5, 3),
        )
    yield _case(
        "index 1x1 table",
        lambda t: t.index(wp.IndexInputNode([0])),
        lambda t: t[np.array([0])],
        (1, 1),
    )
    yield _case(
        "index of a computed node",
        lambda t: (t * 2.0).tanh().index(wp.IndexInputNode([3, 1, 3])),
        lambda t: anp.tanh(t * 2.0)[np.array([3, 1, 3])],
        (5, 3),
    )

    yield _case(
        "index and dense",
        lambda t: t.index(wp.IndexInputNode([1, 4, 1])) @ t.t(),
        lambda t: t[np.array([1, 4, 1])] @ t.T,
        (5, 3),
    )

    def twice(t):
        a, b = wp.IndexInputNode([1, 4]), wp.IndexInputNode([4, 0])
        return t.index(a) * t.index(b)

    yield _case(
        "index twice",
        twice,
        lambda t: t[np.array([1, 4])] * t[np.array([4, 0])],
        (5, 3),
    )
    yield _case(
        "index by fixed numbers",
        lambda t: t.index([[1, 4], [0, 1]]).exp(),
        lambda t: anp.exp(t[np.array([[1, 4], [0, 1]])]),
        (5, 3),
    )
    yield _case(
        "index by joined and sliced rows",
        lambda t: t.index(
            wp.IndexInputNode([1, 4]).concatenate(wp.IndexInputNode([0, 2, 3])[1:])
        ).exp(),
        lambda t: anp.exp(t[np.array([1, 4, 2, 3])]),
        (5, 3),
    )


def _ragged():
    def segment(name, rows):
        def build(t):
            ragged = wp.IndexInputNode(rows, capacity=6)
            return getattr(t.index(ragged), name)(ragged)

        return build

    rows = [1, 4, 1]
    array = np.array(rows)
    yield _case(
        "segment_sum",
        segment("segment_sum", rows),
        lambda t: t[array].sum(0, keepdims=True),
        (5, 3),
    )
    yield _case(
        "segment_mean",
        segment("segment_mean", rows),
        lambda t: t[array].mean(0, keepdims=True),
        (5, 3),
    )
    yield _case(
        "segment_mean of nothing",
        lambda t: segment("segment_mean", [])(t) + t[:1],
        lambda t: t[:1] * 1.0,
        (5, 3),
    )
    dense = np.array([[0, 1.5, 0, -2, 0], [0, 0, 0, 0, 0], [1, 0.5, 0, 0, 3]])
    yield _case(
        "sparse dot",
        lambda t: wp.SparseInputNode(sparse.csr_array(dense), np.float64).dot(t),
        lambda t: dense @ t,
        (5, 3),
    )

    yield _case(
        "sparse rows",
        lambda t: wp.sparse_rows(
            sparse.csr_array(dense), wp.IndexInputNode([2, 1, 2, 0]), t.dtype
        ).dot(t),
        lambda t: dense[[2, 1, 2, 0]] @ t,
        (5, 3),
    )

    def sparse_mean(t):
        rows = wp.SparseInputNode(sparse.csr_array(dense), t.dtype)
        return t.index(rows.indices).tanh().segment_mean(rows)

    def sparse_mean_reference(t):
        counts = np.maximum((dense != 0).sum(1, keepdims=True), 1)
        return (dense != 0) @ anp.tanh(t) / counts

    yield _case("sparse segment_mean", sparse_mean, sparse_mean_reference, (5, 3))


def _softmaxes():
    def softmax(a, axis):
        return anp.exp(_log_softmax(a, axis))

    settings = [((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1), ((4,), 0), ((1, 1), 1)]
    for shape, axis in settings:
        yield _case(
            f"softmax {axis}",
            lambda a, axis=axis: a.softmax(axis),
            lambda a, axis=axis: softmax(a, axis),
            shape,
        )
    for shape, axis in settings:
        yield _case(
            f"log_softmax {axis}",
            lambda a, axis=axis: a.log_softmax(axis),
            lambda a, axis=axis: _log_softmax(a, axis),
            shape,
        )


def _models():
    def perceptron(x, w, b, v):
        return (x @ w + b).tanh() @ v

    yield _case(
        "perceptron",
        perceptron,
        lambda x, w, b, v: anp.tanh(x @ w + b) @ v,
        *((3, 4), (4, 5), (5,), (5, 1)),
    )

    def ranking(users, items):
        user, item, other = (wp.IndexInputNode([k]) for k in (2, 1, 3))
        difference = items.index(item) - items.index(other)
        return -users.index(user).vector_dot(difference).sigmoid().ln()

    yield _case(
        "matrix factorisation",
        ranking,
        lambda u, v: _softplus(-((u[2:3] * (v[1:2] - v[3:4])).sum(1, keepdims=True))),
        *((4, 3), (5, 3)),
    )

    def attention(q, k, v):
        return (q @ k.t() / 2.0).softmax() @ v

    def attention_reference(q, k, v):
        return anp.exp(_log_softmax(q @ k.T / 2.0)) @ v

    yield _case("attention", attention, attention_reference, (3, 4), (5, 4), (5, 2))


CASES = [
    *_binary(),
    *_constants(),
    *_unary(),
    *_reductions(),
    *_linalg(),
    *_shape(),
    *_slices(),
    *_joins(),
    *_rows(),
    *_ragged(),
    *_softmaxes(),
    *_models(),
    *pointwise_cases.CASES,
    *join_cases.CASES,
    *linalg_cases.CASES,
    *pick_cases.CASES,
    *convolution_cases.CASES,
    *padding_cases.CASES,
    *pooling_cases.CASES,
]
