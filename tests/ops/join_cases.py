"""Cases of stack, chunk and flatten."""

import autograd.numpy as anp
from ops.case import case


def _stacks():
    for axis, shapes in [
        (0, ((2, 3), (2, 3), (2, 3))),
        (1, ((2, 3), (2, 3))),
        (-1, ((4,), (4,))),
        (0, ((), ())),
    ]:
        yield case(
            f"stack {axis}",
            lambda *parts, axis=axis: parts[0].stack(*parts[1:], axis=axis).square(),
            lambda *parts, axis=axis: anp.stack(parts, axis=axis) ** 2,
            *shapes,
        )


def _chunks():
    for count, axis, shape in [
        (2, 0, (4, 3)),
        (3, 1, (2, 6)),
        (2, -1, (1, 4)),
        (2, 1, (2, 4, 3)),
    ]:

        def build(a, count=count, axis=axis):
            first, *_, last = a.chunk(count, axis)
            return first.tanh() * last  # with three, nothing flows into one

        def reference(a, count=count, axis=axis):
            parts = anp.split(a, count, axis)
            return anp.tanh(parts[0]) * parts[-1]

        yield case(f"chunk {count} {axis}", build, reference, shape)
    yield case("chunk of one", lambda a: a.chunk(1)[0] * a, lambda a: a * a, (2, 3))
    yield case(
        "chunk of a transpose",
        lambda a: a.t().chunk(2)[1].exp(),
        lambda a: anp.exp(a.T[2:]),
        (3, 4),
    )
    yield case(
        "gates",
        lambda x, w: _gated(*(x @ w).chunk(3, axis=1)),
        lambda x, w: _gated_reference(*anp.split(x @ w, 3, 1)),
        *((2, 3), (3, 6)),
    )


def _gated(a, b, c):
    return a.sigmoid() * b.tanh() + c


def _gated_reference(a, b, c):
    return anp.tanh(b) / (1 + anp.exp(-a)) + c


def _flat():
    for first, shape, target in [
        (0, (2, 3, 4), (24,)),
        (1, (2, 3, 4), (2, 12)),
        (-1, (2, 3, 4), (2, 3, 4)),
        (2, (1, 2, 3, 2), (1, 2, 6)),
        (0, (), (1,)),
    ]:
        yield case(
            f"flatten {first}",
            lambda a, first=first: a.flatten(first).tanh(),
            lambda a, target=target: anp.tanh(a.reshape(target)),
            shape,
        )


CASES = [*_stacks(), *_chunks(), *_flat()]
