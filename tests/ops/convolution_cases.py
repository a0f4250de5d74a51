"""Cases of convolution: explicit windows, one sum over channel and window."""

import autograd.numpy as anp
from ops.case import case
from ops.under import first, last, under

SPACES = "xyz"


def convolved(x, kernel, stride, dilation, groups):
    """Return the convolution by its formula."""
    axes = x.ndim - 2
    windows = under(x, kernel.shape[2:], stride, dilation)
    each, inside = len(kernel) // groups, kernel.shape[1]
    window = "ijk"[:axes]
    text = f"bc{SPACES[:axes]}{window},oc{window}->bo{SPACES[:axes]}"
    parts = [
        anp.einsum(
            text,
            windows[:, g * inside : (g + 1) * inside],
            kernel[g * each : (g + 1) * each],
        )
        for g in range(groups)
    ]
    return anp.concatenate(parts, axis=1)


SETTINGS = [
    # image, kernel, stride, dilation, groups
    ((2, 3, 5, 6), (4, 3, 3, 2), (1, 1), (1, 1), 1),
    ((2, 2, 7, 6), (3, 2, 3, 3), (2, 1), (1, 2), 1),
    ((2, 4, 6, 5), (6, 2, 2, 3), (1, 2), (2, 1), 2),
    ((1, 3, 6, 7), (3, 1, 3, 2), (3, 2), (1, 1), 3),
    ((2, 3, 3, 2), (2, 3, 1, 1), (1, 1), (1, 1), 1),
    ((2, 1, 4, 5), (1, 1, 1, 2), (3, 2), (1, 1), 1),
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (1, 1), 1),
    ((1, 2, 3, 3), (2, 2, 3, 3), (1, 1), (1, 1), 1),
    ((3, 2, 9), (4, 2, 3), (2,), (2,), 1),
    ((2, 4, 5), (2, 2, 4), (1,), (1,), 2),
    ((2, 2, 4, 3, 5), (3, 2, 2, 2, 3), (1, 1, 1), (1, 1, 1), 1),
    ((1, 2, 5, 4, 5), (2, 1, 2, 2, 2), (2, 1, 3), (1, 2, 1), 2),
]


def _cases():
    for image, kernel, stride, dilation, groups in SETTINGS:
        for channels_last in (False, True):
            if channels_last and sum(stride) % 2 == 0:
                continue

            def build(
                x,
                k,
                stride=stride,
                dilation=dilation,
                groups=groups,
                last=channels_last,
            ):
                return x.convolve(
                    k, stride, dilation=dilation, groups=groups, channels_last=last
                )

            def reference(
                x,
                k,
                stride=stride,
                dilation=dilation,
                groups=groups,
                channels_last=channels_last,
            ):
                out = convolved(
                    first(x) if channels_last else x, k, stride, dilation, groups
                )
                return last(out) if channels_last else out

            shape = (image[0], *image[2:], image[1]) if channels_last else image
            yield case(
                f"convolve {stride} {dilation} {groups}{' last' * channels_last}",
                build,
                reference,
                shape,
                kernel,
            )
    yield case(
        "convolve views",
        lambda x, k: (x[:, ::2] * 2.0).tanh().convolve(k.t().reshape(2, 2, 3, 2)),
        lambda x, k: convolved(
            anp.tanh(x[:, ::2] * 2.0), k.T.reshape(2, 2, 3, 2), (1, 1), (1, 1), 1
        ),
        (2, 4, 4, 5),
        (6, 4),
    )
    yield case(
        "two convolutions with strides",
        lambda x, k, m: x.convolve(k, 2).relu().convolve(m, (1, 2)),
        lambda x, k, m: convolved(
            anp.maximum(convolved(x, k, (2, 2), (1, 1), 1), 0.0), m, (1, 2), (1, 1), 1
        ),
        (2, 2, 8, 9),
        (3, 2, 2, 2),
        (2, 3, 2, 2),
    )


CASES = list(_cases())
