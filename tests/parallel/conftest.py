"""Fixtures of the tests of training."""

import math

import pytest


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks also of few examples."""

    def size(examples, workers, batch_size, most):
        return math.lcm(16, batch_size)

    monkeypatch.setattr("wyrm_py.parallel.fit.block_size_for", size)
