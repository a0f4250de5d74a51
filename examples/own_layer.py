"""How do I write a layer of my own and train it beside those that are there?

A layer is a class with parameters as attributes and a `forward` made of ops: no
gradient to write, nothing to register. Here a highway layer (Srivastava et al.,
2015) lets a gate choose, element by element, between a new value and the old one.
"""

import numpy as np

import wyrm_py as wp
from wyrm_py import nn

WIDTH, CLASSES = 16, 8


class Highway(nn.Layer):
    """gate * relu(x W + b) + (1 - gate) * x."""

    def __init__(self, width: int, random_state: int) -> None:
        self.change = nn.Dense(width, width, "relu", random_state=random_state)
        self.gate = nn.Dense(width, width, "sigmoid", random_state=random_state + 1)

    def forward(self, x: wp.Node) -> wp.Node:
        """Mix the new value with the old one."""
        gate = self.gate(x)
        mixed: wp.Node = gate * self.change(x) + (1.0 - gate) * x
        return mixed


def spirals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points on the arms of a spiral, and which arm each is on."""
    rng = np.random.default_rng(seed)
    arm, along = rng.integers(0, CLASSES, count), rng.uniform(0.2, 1.0, count)
    angle = 2 * np.pi * arm / CLASSES + 1.5 * along
    points = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + 0.01 * rng.standard_normal((count, 2)), arm


def main() -> None:
    """Train, and print how many points of new ones are told right."""
    layers = nn.Sequential(
        nn.Dense(2, WIDTH, "tanh", random_state=0),
        Highway(WIDTH, random_state=1),
        Highway(WIDTH, random_state=3),
        nn.Dropout(0.02),
        nn.Dense(WIDTH, CLASSES, random_state=5),
    )
    model = nn.Model(layers, nn.losses.cross_entropy, wp.Adagrad(learning_rate=0.1))
    points, arms = spirals(4000, seed=0)
    new_points, new_arms = spirals(1000, seed=1)

    def accuracy() -> float:
        return float((model.predict(new_points).argmax(axis=1) == new_arms).mean())

    print(layers)
    print(f"accuracy before {accuracy():.3f}")
    model.fit(points, arms, batch_size=16, epochs=20, random_state=0, progress=False)
    print(f"accuracy after  {accuracy():.3f}")


if __name__ == "__main__":
    main()
