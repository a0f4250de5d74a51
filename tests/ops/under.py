"""What lies under the windows of an image, by plain indexing: a reference."""

import autograd.numpy as anp
import numpy as np


def under(x, window, stride, dilation):
    """Return (batch, channels, *places, *window) of x (batch, channels, *space)."""
    axes = len(window)
    settings = zip(x.shape[2:], window, stride, dilation, strict=True)
    grids = []
    for axis, (n, k, s, d) in enumerate(settings):
        places = (n - (k - 1) * d - 1) // s + 1
        cells = np.arange(places)[:, None] * s + np.arange(k) * d
        shape = [1] * (2 * axes)
        shape[axis], shape[axes + axis] = places, k
        grids.append(cells.reshape(shape))
    return x[(slice(None), slice(None), *grids)]


def first(x):
    """Return the channels behind the batch, from behind the space."""
    return anp.transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def last(x):
    """Return the channels behind the space."""
    return anp.transpose(x, (0, *range(2, x.ndim), 1))
