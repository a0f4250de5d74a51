"""How well does a small network read handwritten digits, and how fast does it learn?

    python examples/mnist.py FOLDER --network convolutional --workers 2

FOLDER holds the four files of MNIST (Y. LeCun, C. Cortes), packed with gzip or not.
The trained network is saved, loaded and asked again. Of the test digits the
dense network reads 98.1 % right, after 10 epochs that take one worker 16 s of CPU time,
the convolutional one 99.1 %, after 8 epochs and 68 s.
"""

import argparse
import tempfile
from pathlib import Path

import wyrm_py as wp
from wyrm_py import nn

BATCH = 32


def dense() -> nn.Sequential:
    """One hidden layer of 128."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dense(28 * 28, 128, "relu", random_state=0),
        nn.Dense(128, 10, random_state=1),
    )


def convolutional() -> nn.Sequential:
    """Two convolutions, each with a maximum of 2 x 2, and a dense layer."""
    return nn.Sequential(
        nn.Reshape(1, 28, 28),
        nn.Conv2d(1, 16, 3, padding=1, activation="relu", random_state=0),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, activation="relu", random_state=1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dense(32 * 7 * 7, 10, random_state=2),
    )


NETWORKS = {"dense": (dense, 10), "convolutional": (convolutional, 8)}


def train(
    kind: str,
    digits: wp.data.Dataset,
    epochs: int | None = None,
    n_jobs: int = 1,
) -> tuple[nn.Model, wp.History]:
    """Train a network of one kind; threads share its parameters without locks."""
    network, usual = NETWORKS[kind]
    rule = wp.Adam(wp.schedules.Exponential(2e-3, gamma=0.7))
    model = nn.Model(network(), nn.losses.cross_entropy, rule)
    history = model.fit(
        digits.records,
        digits.labels,
        batch_size=BATCH,
        epochs=epochs or usual,
        n_jobs=n_jobs,
        backend="threads",
        random_state=0,
        progress=False,
    )
    return model, history


def accuracy(model: nn.Layer, digits: wp.data.Dataset) -> float:
    """Return the share of digits that are read right."""
    assert isinstance(model, nn.Model)
    return wp.evaluation.accuracy(model.predict(digits.records), digits.labels)


def main() -> None:
    """Train on one part of MNIST, and read the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", choices=NETWORKS, default="dense")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    training, test = wp.data.mnist(chosen.folder)
    model, history = train(chosen.network, training, chosen.epochs, chosen.workers)
    print(f"{chosen.network} network, {history}")
    print(f"accuracy {accuracy(model, test):.4f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.wyrm"
        wp.save_model(path, model)
        print(f"accuracy {accuracy(wp.load_model(path), test):.4f} of the file")


if __name__ == "__main__":
    main()
