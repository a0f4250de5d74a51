"""Cases of pooling: explicit windows, reduced."""

import autograd.numpy as anp
from ops.case import case
from ops.under import first, last, under

REDUCERS = {"max": anp.max, "min": anp.min, "sum": anp.sum, "average": anp.mean}

SETTINGS = [
    # image, window, stride
    ((2, 2, 4, 6), 2, None),
    ((2, 2, 5, 7), (2, 3), None),
    ((2, 1, 5, 6), (3, 2), (1, 2)),
    ((1, 2, 6, 5), (2, 2), (3, 1)),
    ((1, 1, 1, 1), 1, None),
    ((1, 2, 9, 8), (5, 4), (2, 4)),
    ((2, 3, 7), 3, 2),
    ((1, 2, 4, 5, 4), 2, (2, 1, 2)),
]


def _several(given, count):
    return (given,) * count if isinstance(given, int) else given


def _cases():
    for number, (shape, window, stride) in enumerate(SETTINGS):
        axes = len(shape) - 2
        for place, kind in enumerate(("max", ("min", "sum", "average")[number % 3])):
            channels_last = (number + place) % 3 == 2

            def build(x, kind=kind, w=window, s=stride, channels_last=channels_last):
                return getattr(x, f"{kind}_pool")(w, s, channels_last=channels_last)

            def reference(
                x,
                kind=kind,
                w=window,
                s=stride or window,
                channels_last=channels_last,
                axes=axes,
            ):
                image = first(x) if channels_last else x
                w, s = _several(w, axes), _several(s, axes)
                windows = under(image, w, s, (1,) * axes)
                over = tuple(range(2 + axes, 2 + 2 * axes))
                pooled = REDUCERS[kind](windows, axis=over)
                return last(pooled) if channels_last else pooled

            given = (shape[0], *shape[2:], shape[1]) if channels_last else shape
            name = f"{kind}_pool {window} {stride}{' last' * channels_last}"
            yield case(name, build, reference, given)
    yield case(
        "max_pool twice, of a relu",
        lambda x: (x.relu() + x).max_pool(2).tanh().max_pool((2, 1), 1),
        lambda x: under(
            anp.tanh(
                under(anp.maximum(x, 0.0) + x, (2, 2), (2, 2), (1, 1)).max(axis=(4, 5))
            ),
            (2, 1),
            (1, 1),
            (1, 1),
        ).max(axis=(4, 5)),
        (2, 2, 7, 6),
    )


CASES = list(_cases())
