"""What does it cost that workers do not wait for each other?

A 10 x 4 matrix is taken apart into vectors of its rows and of its columns, in three
ways: by one worker, by lock-free workers (Hogwild), and by workers that add their
gradients in rounds. On so few rows workers meet far more often than in a large table,
and still all of them find the matrix. What Hogwild costs is that the bits depend on who
was first; in rounds they do not.
"""

from typing import Any

import numpy as np

import wyrm_py as wp

ROWS, COLUMNS, WIDTH = 10, 4, 10
WAYS: dict[str, dict[str, Any]] = {
    "single": {},
    "hogwild": {"n_jobs": 2},
    "synchronous": {"n_jobs": 2, "mode": "synchronous"},
}


class Factorization:
    """cell (i, j) = vector of row i times vector of column j."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        cells = rng.normal(0, 0.3, (ROWS, WIDTH)) @ rng.normal(0, 0.3, (WIDTH, COLUMNS))
        rows = wp.ParameterNode(rng.normal(0, WIDTH**-0.5, (ROWS, WIDTH)))
        columns = wp.ParameterNode(rng.normal(0, WIDTH**-0.5, (COLUMNS, WIDTH)))
        row, column = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        cell = wp.InputNode(np.zeros((1, 1)))
        self.loss = (rows.index(row).vector_dot(columns.index(column)) - cell).square()
        i, j = np.indices(cells.shape).reshape(2, -1)
        self.inputs = {row: i, column: j, cell: cells[i, j]}

    def errors(self) -> np.ndarray:
        """Return the squared error of each cell."""
        return wp.evaluate(self.loss, self.inputs).ravel()

    def train(self, **settings: Any) -> np.ndarray:
        """Train until it is found; return the squared errors that are left."""
        wp.fit(
            self.loss,
            wp.Adagrad(learning_rate=0.1),
            self.inputs,
            epochs=10_000,
            callbacks=[lambda history: history.losses[-1] < 1e-8],
            random_state=0,
            progress=False,
            **settings,
        )
        return self.errors()


def main() -> None:
    """Train in each way, twice from the same start."""
    print(f"before       mean squared error {Factorization().errors().mean():.1e}")
    for name, settings in WAYS.items():
        first, second = (Factorization().train(**settings) for _ in range(2))
        same = "the same" if np.array_equal(first, second) else "not the same"
        print(f"{name:12s} mean squared error {first.mean():.1e}, {same} bits again")


if __name__ == "__main__":
    main()
