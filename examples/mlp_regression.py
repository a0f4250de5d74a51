"""Does a network that has learned a function also know its derivatives?

f(x, y) = (exp x, exp x + sin y) is learned from points alone by one hidden layer of
16. The derivatives of what was learned are a graph like any other: here they are
compared with exp x and cos y on points that were never seen.
"""

import numpy as np

import wyrm_py as wp
from wyrm_py import nn


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return places (N, 2) in a square, and the values (N, 2) of the function there."""
    places = np.random.default_rng(seed).uniform(-1, 1, (count, 2))
    x, y = places.T
    return places, np.stack([np.exp(x), np.exp(x) + np.sin(y)], axis=1)


def error(found: np.ndarray, true: np.ndarray) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.square(found - true).mean()))


def main() -> None:
    """Train, and print the errors of values and derivatives."""
    network = nn.Sequential(
        nn.Dense(2, 16, "tanh", random_state=0), nn.Dense(16, 2, random_state=1)
    )
    rule = wp.Adam(wp.schedules.Exponential(0.01, gamma=0.985))
    model = nn.Model(network, nn.losses.mse, rule)
    places, values = points(4_000, seed=0)
    unseen, truth = points(1_000, seed=1)

    print(f"error before          {error(model.predict(unseen), truth):.4f}")
    model.fit(places, values, epochs=300, random_state=0, progress=False)
    print(f"error after           {error(model.predict(unseen), truth):.4f}")

    place = wp.InputNode(unseen)
    second = network(place)[:, 1:]
    slopes = wp.gradient(second, place).value
    x, y = unseen.T
    print(f"error of d/dx = exp x {error(slopes[:, 0], np.exp(x)):.4f}")
    print(f"error of d/dy = cos y {error(slopes[:, 1], np.cos(y)):.4f}")


if __name__ == "__main__":
    main()
