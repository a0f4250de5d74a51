"""How does a table with words in it become a trained network, and a file?

Words become numbers by functions that `read_csv` is given, column by column. The
weights are stored, and a new network with other weights takes them over.
"""

import io
import tempfile
from pathlib import Path

import numpy as np

import wyrm_py as wp
from wyrm_py import nn

TABLE = """\
legs, cover,    kilograms, class
4,    fur,      4.5,       mammal
4,    fur,      30,        mammal
2,    fur,      70,        mammal
4,    fur,      250,       mammal
4,    fur,      0.02,      mammal
2,    feathers, 0.02,      bird
2,    feathers, 1.2,       bird
2,    feathers, 6,         bird
2,    feathers, 110,       bird
4,    scales,   0.05,      reptile
4,    scales,   80,        reptile
0,    scales,   0.2,       reptile
0,    scales,   40,        reptile
4,    scales,   300,       reptile
"""
CLASSES = ["mammal", "bird", "reptile"]
COVERS = ["fur", "feathers", "scales"]


def network(seed: int) -> nn.Sequential:
    """3 -> 5 -> 5 -> 3, as many outputs as classes."""
    return nn.Sequential(
        nn.Dense(3, 5, "tanh", random_state=seed),
        nn.Dense(5, 5, "tanh", random_state=seed + 1),
        nn.Dense(5, len(CLASSES), random_state=seed + 2),
    )


def accuracy(model: nn.Model, animals: wp.data.Dataset) -> float:
    """Return the share of animals whose class is told right."""
    return wp.evaluation.accuracy(model.predict(animals.records), animals.labels)


def main() -> None:
    """Read, train, store, and load into a new network."""
    animals = wp.data.read_csv(
        io.StringIO(TABLE),
        labels="class",
        convert={
            "cover": COVERS.index,
            "kilograms": lambda text: np.log10(float(text)),
            "class": CLASSES.index,
        },
        label_dtype=np.int64,
    )
    model = nn.Model(network(seed=0), nn.losses.cross_entropy, wp.Adam(0.02))
    print(f"before   accuracy {accuracy(model, animals):.2f}")
    model.fit(
        animals.records,
        animals.labels,
        batch_size=2,
        epochs=100,
        random_state=0,
        progress=False,
    )
    print(f"trained  accuracy {accuracy(model, animals):.2f}")

    other = nn.Model(network(seed=7), nn.losses.cross_entropy, wp.Adam(0.02))
    print(f"another  accuracy {accuracy(other, animals):.2f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "animals.safetensors"
        wp.save(path, model.parameters())
        wp.load(path, other.parameters())
    print(f"restored accuracy {accuracy(other, animals):.2f}")
    wanted, found = model.predict(animals.records), other.predict(animals.records)
    print(f"the outputs are the same: {np.array_equal(wanted, found)}")


if __name__ == "__main__":
    main()
