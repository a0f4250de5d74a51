"""Cases of ops of losses: entries by label, the cross-entropy, a clamped logarithm."""

import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import logsumexp
from ops.case import case

import wyrm_py as wp
from wyrm_py.ops.clamped import ClampedLn
from wyrm_py.ops.pick import CrossEntropy

LABELS = [
    ((1, 1), [0], -1),
    ((3, 4), [3, 0, 3], -1),
    ((3, 4), [2, 0, 1, 2], 0),
    ((2, 3, 4), [[0, 1, 2], [3, 3, 0]], 2),
    ((2, 3, 4), [[0, 1, 2, 0], [2, 2, 1, 0]], 1),
]


def chosen(a, labels, axis):
    """Return what NumPy picks, in terms that autograd differentiates."""
    hot = np.zeros(a.shape)
    np.put_along_axis(hot, np.expand_dims(np.array(labels), axis), 1, axis)
    return (a * hot).sum(axis=axis)


def entropy(a, labels, axis):
    """Return the cross-entropy by its formula."""
    return logsumexp(a, axis=axis) - chosen(a, labels, axis)


def _cases():
    for shape, labels, axis in LABELS:
        yield case(
            f"pick {axis}",
            lambda a, k=labels, axis=axis: a.pick(wp.IndexInputNode(k), axis).square(),
            lambda a, k=labels, axis=axis: chosen(a, k, axis) ** 2,
            shape,
        )

        def build(a, labels=labels, axis=axis):
            return a.apply(CrossEntropy(axis), wp.IndexInputNode(labels))

        def reference(a, labels=labels, axis=axis):
            return entropy(a, labels, axis)

        yield case(f"cross_entropy {axis}", build, reference, shape)
    yield case(
        "pick by fixed numbers of a computed value",
        lambda a: (a.tanh() * 2.0).t().pick([1, 0, 2, 2]),
        lambda a: chosen((anp.tanh(a) * 2.0).T, [1, 0, 2, 2], 1),
        (3, 4),
    )

    def both(a):
        labels = wp.IndexInputNode([3, 0, 3])
        loss, softmax = a._apply_many(CrossEntropy(-1), labels)
        return softmax * loss.expand_dims(-1)

    def both_reference(a):
        softmax = anp.exp(a - logsumexp(a, axis=-1, keepdims=True))
        return softmax * entropy(a, [3, 0, 3], -1)[:, None]

    yield case("cross_entropy with its softmax", both, both_reference, (3, 4))
    yield case(
        "softmax of a cross_entropy",
        lambda a: a._apply_many(CrossEntropy(-1), wp.IndexInputNode([3, 0, 3]))[1],
        lambda a: anp.exp(a - logsumexp(a, axis=-1, keepdims=True)),
        (3, 4),
    )
    yield case(
        "clamped ln", lambda a: a.apply(ClampedLn()), anp.log, (3, 4), draw="positive"
    )


CASES = list(_cases())
