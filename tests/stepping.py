"""One training step in each of the three ways a plan can run.

Shared by the tests of ops and engines: NumPy, the emitted text as plain Python,
and the emitted text compiled.
"""

from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np

import wyrm_py as wp
from wyrm_py.engines.native import step as native_step


def numpy_step(loss, optimizer):
    """Run forward, backward and update; return the mean loss before it."""
    loss.forward()
    value = float(np.mean(loss.value))
    loss.backward()
    optimizer.step(loss.parameters())
    return value


@contextmanager
def uncompiled():
    """Let `wp.compile` give steps whose text runs as plain Python."""
    plain = partial(native_step.bind, compiled=False)
    with mock.patch.object(native_step, "bind", plain):
        yield


def plain_step(loss, optimizer, parameters=None):
    """Return the emitted step as plain Python, a callable that gives the loss."""
    with uncompiled():
        return wp.compile(loss, optimizer, parameters)


@contextmanager
def unchanged(parameters):
    """Put the values of parameters back at the end."""
    held = [node.value.copy() for node in parameters]
    yield
    for node, value in zip(parameters, held, strict=True):
        node.set_value(value)
        node.zero_gradient()


def updates(step, parameters):
    """Return the loss and what a step (a callable) takes off each parameter."""
    parameters = list(parameters)
    before = [node.value.copy() for node in parameters]
    with unchanged(parameters):
        loss = step()
        taken = [
            value - node.value for value, node in zip(before, parameters, strict=True)
        ]
    return loss, taken
