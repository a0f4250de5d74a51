"""Cases of products of matrices, of stacks of them, and of orders of axes."""

import autograd.numpy as anp
import numpy as np
from ops.case import case

STACKS = (
    ((2, 3, 4), (2, 4, 5)),
    ((2, 3, 4), (4, 5)),  # one right matrix for all
    ((3, 4), (2, 4, 5)),  # one left matrix for all
    ((2, 1, 3, 4), (5, 4, 2)),  # leading axes broadcast
    ((2, 1, 3), (2, 3, 1)),  # inner products
    ((2, 3, 1), (2, 1, 4)),  # outer products
    ((1, 1, 1), (1, 1, 1)),
    ((1, 3, 4), (5, 4, 2)),
    ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)),
    ((2, 5, 3, 4), (4,)),
    ((4,), (4,)),
    ((3, 4), (4, 2)),
)

_TABLE = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7


def _turn(a):
    return anp.swapaxes(a, -1, -2)


def _products():
    for shapes in STACKS:
        yield case("matmul", lambda a, b: a @ b, anp.matmul, *shapes)
    for left, right, shapes in [
        (True, False, ((2, 4, 3), (2, 4, 5))),
        (False, True, ((2, 3, 4), (2, 5, 4))),
        (True, True, ((2, 4, 3), (5, 4))),
        (True, False, ((4, 3), (4, 5))),
    ]:
        yield case(
            f"matmul transposed {left} {right}",
            lambda a, b, left=left, right=right: a.matmul(b, left, right),
            lambda a, b, left=left, right=right: anp.matmul(
                _turn(a) if left else a, _turn(b) if right else b
            ),
            *shapes,
        )
    for shape in [(5,), (2, 3, 5), (2, 1, 1)]:
        yield case(
            "matmul with a bias",
            lambda a, b, c: a.matmul(b, bias=c),
            lambda a, b, c: anp.matmul(a, b) + c,
            (2, 3, 4),
            (4, 5),
            shape,
        )
    yield case(
        "array @ stack",
        lambda a: _TABLE @ a,
        lambda a: anp.matmul(_TABLE, a),
        (2, 4, 3),
    )


def _readings():
    """Operands that lie in other ways than row by row."""
    for name, build in {
        "of slices": lambda a, b: a[:, 1:3, ::2] @ b[:, 1:3, 2:],
        "of reversed rows": lambda a, b: a[:, ::-1] @ b[:, :, ::-1],
        "of one matrix of a stack": lambda a, b: a[1] @ b[-1, :4],
        "of computed values": lambda a, b: (a * 2.0) @ (b + 1.0),
        "of a chain": lambda a, b: (a @ b[:, :, :4]) @ b,
    }.items():
        yield case(f"product {name}", build, build, (2, 3, 4), (2, 4, 5))
    yield case(
        "product of looked-up rows",
        lambda t, w: t.index([2, 0, 2]).dot(w),
        lambda t, w: anp.dot(t[anp.array([2, 0, 2])], w),
        (3, 4),
        (4, 2),
    )
    yield case(
        "product with a row spread over rows",
        lambda a, w: (a.expand_dims(0) + w[:, :1] * 0.0) @ w,
        lambda a, w: anp.dot(a + w[:, :1] * 0.0, w),
        (4,),
        (4, 4),
    )
    yield case(
        "product wider than a register",
        lambda a, b: a.dot(b).tanh().dot(b.t()),
        lambda a, b: anp.dot(anp.tanh(anp.dot(a, b)), b.T),
        (7, 19),
        (19, 37),
    )


def _orders():
    for axes, shape in [
        ((1, 0), (3, 4)),
        ((0, 1), (3, 4)),
        ((2, 0, 1), (2, 3, 4)),
        ((0, -1, 1), (2, 3, 4)),
        ((3, 1, 0, 2), (2, 1, 3, 2)),
    ]:
        yield case(
            f"transpose {axes}",
            lambda a, axes=axes: a.transpose(*axes).tanh(),
            lambda a, axes=axes: anp.tanh(
                anp.transpose(a, [k % len(axes) for k in axes])
            ),
            shape,
        )
    yield case(
        "swap_axes",
        lambda a: a.swap_axes(0, -1) * 2.0,
        lambda a: anp.swapaxes(a, 0, -1) * 2.0,
        (2, 3, 4),
    )
    yield case(
        "attention",
        lambda q, k, v: (q @ k.swap_axes(-1, -2)).softmax() @ v,
        lambda q, k, v: anp.matmul(_softmax(anp.matmul(q, _turn(k))), v),
        (2, 3, 4),
        (2, 5, 4),
        (2, 5, 3),
    )


def _softmax(a):
    raised = anp.exp(a - anp.max(a, axis=-1, keepdims=True))
    return raised / anp.sum(raised, axis=-1, keepdims=True)


CASES = [*_products(), *_readings(), *_orders()]
