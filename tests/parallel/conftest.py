"""Fixtures of the tests of training."""

import math
from functools import partial

import pytest

from wyrm_py.parallel import run as run_module


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks also of few examples."""

    def size(examples, workers, batch_size, most):
        return math.lcm(16, batch_size)

    monkeypatch.setattr(run_module, "block_size_for", size)


@pytest.fixture
def in_python(monkeypatch):
    """The emitted text runs as plain Python: nothing to compile."""
    monkeypatch.setattr(run_module, "bind", partial(run_module.bind, compiled=False))
