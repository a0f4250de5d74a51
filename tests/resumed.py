"""Trainings that stop and go on: the same program builds them in each process.

`python resumed.py FOLDER` goes on with every case from the file of its name and
writes a second file.
"""

import sys
from pathlib import Path

import numpy as np

import wyrm_py as wp
from wyrm_py import nn, schedules

RATE = schedules.Warmup(1.0, 4, 0.25) * schedules.Exponential(0.05, 0.7)
CASES = {
    "SGD": lambda: wp.SGD(RATE, l2=0.01, clip=1.0),
    "momentum": lambda: wp.SGD(0.05, momentum=0.5, nesterov=True),
    "Adagrad": lambda: wp.Adagrad(0.1, l1=0.001),
    "Adam": lambda: wp.Adam(schedules.Step(0.05, 2, 0.5), clip_norm=1.0),
    "AMSGrad": lambda: wp.Adam(0.05, amsgrad=True),
    "AdamW": lambda: wp.AdamW(0.05),
    "RMSProp": lambda: wp.RMSProp(schedules.Cosine(0.05, 6)),
    "Adadelta": lambda: wp.Adadelta(1.0),
    "exact rows": lambda: wp.SGD(0.05, momentum=0.5, l2=0.01, exact_rows=True),
    "exact rows, scheduled": lambda: wp.SGD(RATE, l2=0.01, exact_rows=True),
    "FTRL": lambda: wp.FTRL(0.1),
}
NATIVE = ("SGD", "Adagrad", "Adam")


class Model(nn.Layer):
    """Embedded items against drawn ones, with dropout."""

    def __init__(self, random_state=0):
        rng = np.random.default_rng(random_state)
        self.items = nn.Embedding(30, 4, random_state=rng)
        self.dense = nn.Dense(4, 4, activation="tanh", random_state=rng)
        self.dropout = nn.Dropout(0.25)

    def forward(self, item, other):
        negative = wp.sample_uniform(item, 30)
        here = self.dropout(self.dense(self.items(item)))
        difference = self.items(other) - self.items(negative)
        return -here.vector_dot(difference).sigmoid().ln()


class Training:
    """A model over data with an optimizer, all made anew."""

    def __init__(self, case, random_state=0):
        self.case, self.model = case, Model(random_state)
        self.optimizer = CASES[case]()
        item, other = wp.IndexInputNode([0, 1]), wp.IndexInputNode([1, 2])
        self.loss = self.model(item, other)
        rng = np.random.default_rng(5)
        self.inputs = {node: rng.integers(0, 30, 90) for node in (item, other)}

    def fit(self, epochs, resume=None):
        return wp.fit(
            self.loss,
            self.optimizer,
            self.inputs,
            epochs=epochs,
            batch_size=4,
            engine="native" if self.case in NATIVE else "numpy",
            random_state=7 if resume is None else None,
            resume=resume,
            progress=False,
        )


def go_on(folder):
    """Load each case into a graph made anew, train on and save it again."""
    for case in CASES:
        training, history = Training(case, random_state=99), wp.History()
        training.optimizer.learning_rate = 0.5  # all of it comes from the file
        files = folder / case, folder / f"{case} again"
        wp.load(files[0], training.model, optimizer=training.optimizer, history=history)
        history = training.fit(3, resume=history)
        wp.save_model(
            files[1], training.model, optimizer=training.optimizer, history=history
        )


if __name__ == "__main__":
    go_on(Path(sys.argv[1]))
