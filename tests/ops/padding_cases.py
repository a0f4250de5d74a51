"""Cases of padding: NumPy's numbers of the cells that are repeated."""

import autograd.numpy as anp
import numpy as np
from ops.case import case
from ops.convolution_cases import convolved


def padded(x, pairs, mode, value=0.0):
    """Return x with its axes of space padded: x is (batch, channels, *space)."""
    pairs = ((0, 0), (0, 0), *pairs)
    if mode in ("zero", "constant"):
        return anp.pad(x, pairs, mode="constant", constant_values=value)
    name = {"reflective": "reflect", "replicative": "edge"}[mode]
    cells = [
        np.pad(np.arange(n), pair, name) for n, pair in zip(x.shape, pairs, strict=True)
    ]
    return x[np.ix_(*cells)]


def _cases():
    for shape, amounts, pairs in [
        ((2, 2, 5), 2, ((2, 2),)),
        ((2, 2, 3, 4), ((1, 2), (3, 0)), ((1, 2), (3, 0))),
        ((1, 2, 4, 2), (0, 1), ((0, 0), (1, 1))),
        ((1, 1, 3, 4, 2), (2, 0, (0, 1)), ((2, 2), (0, 0), (0, 1))),
    ]:
        for mode in ("zero", "constant", "reflective", "replicative"):
            if mode in ("zero", "constant") and len(shape) == 5:
                continue
            if mode == "reflective":
                pairs = tuple(
                    tuple(min(one, n - 1) for one in pair)
                    for pair, n in zip(pairs, shape[2:], strict=True)
                )
                amounts = pairs
            value = 1.5 if mode == "constant" else 0.0
            yield case(
                f"pad {mode} {pairs}",
                lambda x, a=amounts, mode=mode, v=value: x.pad(a, mode, v).square(),
                lambda x, p=pairs, mode=mode, v=value: padded(x, p, mode, v) ** 2,
                shape,
            )
    for mode in ("zero", "replicative"):
        yield case(
            f"pad {mode}, channels last",
            lambda x, mode=mode: x.pad((1, 2), mode, channels_last=True) * 2.0,
            lambda x, mode=mode: (
                padded(x[:, None], ((1, 1), (2, 2), (0, 0)), mode)[:, 0] * 2.0
            ),
            (2, 3, 4, 2),
        )
    for mode in ("zero", "reflective"):
        yield case(
            f"convolve, same {mode}",
            lambda x, k, mode=mode: x.convolve(
                k, (1, 2), padding="same", padding_mode=mode
            ),
            lambda x, k, mode=mode: convolved(
                padded(x, ((1, 1), (0, 1)), mode), k, (1, 2), (1, 1), 1
            ),
            (2, 2, 4, 6),
            (2, 2, 3, 3),
        )


CASES = list(_cases())
