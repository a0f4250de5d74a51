"""Fixtures of the tests of training."""

import math
from functools import partial

import numpy as np
import pytest
from toy_tasks import InTurn

from wyrm_py.parallel import run as run_module
from wyrm_py.parameters import SharedArray


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


@pytest.fixture
def in_turn(monkeypatch):
    """Examples that keep their place (`shuffle=False`) are in one hand at a time."""
    run_blocks = run_module.run_blocks

    def run(task, *, blocks, **given):
        done = SharedArray.create((blocks,), np.int64)
        return run_blocks(InTurn(task, done), blocks=blocks, **given)

    monkeypatch.setattr(run_module, "run_blocks", run)
