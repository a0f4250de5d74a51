"""Trainings that are killed in the middle of an epoch.

`python killed.py FOLDER` starts every case in a process of its own, which leaves a
checkpoint there and ends by SIGKILL.
"""

import math
import os
import signal
import sys
from pathlib import Path

import numpy as np

import wyrm_py as wp
from wyrm_py.parallel import run

RATE = wp.schedules.Warmup(0.2, 3, 0.1)  # changes within epochs
CASES = {
    "native": (lambda: wp.Adagrad(0.1), {}),
    "schedule": (lambda: wp.SGD(RATE, momentum=0.5), {}),
    "batches": (lambda: wp.Adam(0.02), {"batch_size": 4}),
    "numpy": (lambda: wp.Adagrad(0.1), {"engine": "numpy"}),
    "exact rows": (
        lambda: wp.SGD(RATE, momentum=0.5, l2=0.01, exact_rows=True),
        {"engine": "numpy"},
    ),
    "synchronous": (
        lambda: wp.Adagrad(0.1),
        {"mode": "synchronous", "n_jobs": 2, "batch_size": 4},
    ),
}
EPOCHS = 4
COUNT = 300


class Training:
    """BPR by hand, with a sampler, over many small blocks."""

    def __init__(self, case):
        rng = np.random.default_rng(0)
        self.users = wp.ParameterNode(rng.normal(size=(20, 4)), name="users")
        self.items = wp.ParameterNode(rng.normal(size=(30, 4)), name="items")
        user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        negative = wp.sample_uniform(item, 30)
        better = self.items.index(item) - self.items.index(negative)
        self.loss = -self.users.index(user).vector_dot(better).sigmoid().ln()
        self.inputs = {
            user: rng.integers(0, 20, COUNT),
            item: rng.integers(0, 30, COUNT),
        }
        optimizer, self.settings = CASES[case]
        self.optimizer = optimizer()

    def fit(self, epochs, **given):
        seed = None if "resume" in given else 3
        return wp.fit(
            self.loss,
            self.optimizer,
            self.inputs,
            epochs=epochs,
            random_state=seed,
            progress=False,
            **self.settings,
            **given,
        )


class Deadly(wp.Checkpoint):
    """Ends the process once a checkpoint of the third epoch's middle is written."""

    def write(self, parameters, optimizer, history):
        super().write(parameters, optimizer, history)
        found = history.unfinished
        if len(history.losses) == 2 and found and len(found.blocks) > 8:
            os.kill(os.getpid(), signal.SIGKILL)


def use_small_blocks():
    run.block_size_for = lambda examples, workers, batch, most: math.lcm(16, batch)


def die(folder, case):
    """Train in a child until it is killed; return the signal that ended it."""
    child = os.fork()
    if child == 0:
        Training(case).fit(EPOCHS, checkpoint=Deadly(folder / case, every=1e-9))
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    use_small_blocks()
    deaths = {case: die(Path(sys.argv[1]), case) for case in CASES}
    sys.exit(deaths != dict.fromkeys(CASES, signal.SIGKILL))
