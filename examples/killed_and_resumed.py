"""What if the machine goes down in the middle of a training, and when is it done?

A process trains a model and keeps a checkpoint every tenth of a second. It is killed,
as by a power cut, in the middle of an epoch. Another one goes on from the file and
comes to the same bits as a training that nobody interrupted. A third stops by itself
once held-out ratings are predicted no better, goes back to the best epoch, and leaves
a page to look at.

Run it as `python killed_and_resumed.py [report.html]`.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import wyrm_py as wp

USERS, ITEMS, WIDTH = 500, 300, 16


class Training:
    """Ratings by inner products: the same graph, data and start in every process."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        tastes, traits = rng.normal(size=(USERS, 4)), rng.normal(size=(ITEMS, 4))
        user, item = rng.integers(0, USERS, 60_000), rng.integers(0, ITEMS, 60_000)
        rating = (tastes[user] * traits[item]).sum(axis=1) + rng.normal(size=60_000)

        self.nodes = wp.IndexInputNode([0]), wp.IndexInputNode([0]), wp.InputNode([0.0])
        users = rng.normal(0, 0.1, (USERS, WIDTH))
        self.users = wp.ParameterNode(users, name="users")
        items = rng.normal(0, 0.1, (ITEMS, WIDTH))
        self.items = wp.ParameterNode(items, name="items")
        taste, trait = self.users.index(self.nodes[0]), self.items.index(self.nodes[1])
        self.loss = (taste.vector_dot(trait) - self.nodes[2]).square()
        self.optimizer = wp.Adagrad(0.05)
        self.columns = user, item, rating

    def fit(self, epochs: int, **settings: Any) -> wp.History:
        """Train on the first 50,000 ratings."""
        rows = self.rows(0, 50_000)
        return wp.fit(self.loss, self.optimizer, rows, epochs, **settings)

    def rows(self, first: int, last: int) -> dict[wp.Node, Any]:
        """Return some of the ratings as the columns of `fit`."""
        pairs = zip(self.nodes, self.columns, strict=True)
        return {node: column[first:last] for node, column in pairs}


def kill_and_resume(path: Path) -> None:
    """Kill a training, go on, and compare."""
    child = subprocess.Popen([sys.executable, __file__, "--train", str(path)])
    while not path.exists() and child.poll() is None:
        time.sleep(0.01)
    time.sleep(0.25)
    child.kill()
    child.wait()

    resumed, history = Training(), wp.History()
    wp.load(
        path,
        resumed.loss.parameters(),
        optimizer=resumed.optimizer,
        history=history,
    )
    done = len(history.losses)
    blocks = 0 if history.unfinished is None else len(history.unfinished.blocks)
    print(f"killed after {done} epochs and {blocks} blocks of the next one")
    after = resumed.fit(3, resume=history)
    whole = Training()
    whole.fit(done + 3, random_state=1)
    same = np.array_equal(resumed.users.value, whole.users.value)
    print(f"after {len(after.losses)} epochs: the same bits as uninterrupted: {same}")


def stop_at_the_best(page: Path) -> None:
    """Train until held-out ratings are predicted no better."""
    training = Training()
    history = training.fit(
        100,
        random_state=1,
        validation=training.rows(50_000, 60_000),
        stop=wp.EarlyStopping(patience=3),
    )
    best = history.best_epoch or 0
    print(f"stopped after {len(history.losses)} epochs, best {best + 1}", end=": ")
    found = wp.evaluate(training.loss, training.rows(50_000, 60_000)).mean()
    print(
        f"validation loss {found:.4f}, of the last {history.validation_losses[-1]:.4f}"
    )
    history.report(page, "Ratings by inner products")
    print(f"wrote {page}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        checkpoint = wp.Checkpoint(sys.argv[2], every=0.1)
        Training().fit(1_000_000, random_state=1, checkpoint=checkpoint)
    else:
        with tempfile.TemporaryDirectory() as folder:
            kill_and_resume(Path(folder) / "run.wyrm")
            stop_at_the_best(Path([*sys.argv, f"{folder}/report.html"][1]))
