"""How do several processes train one model without `fit`?

The parameters live in shared memory. Every worker builds its own graph over them, with
its own inputs and gradients, and updates them without a lock: Hogwild. What travels to
a worker is a handle, never the values.
"""

import os

import joblib
import numpy as np

import wyrm_py as wp

STEPS = 5_000


def work(
    slope: wp.HogwildParameter, intercept: wp.HogwildParameter, seed: int
) -> tuple[int, float]:
    """Train the shared parameters on examples of this worker's own."""
    rng = np.random.default_rng(seed)
    a = wp.ParameterNode.shared(slope)
    b = wp.ParameterNode.shared(intercept)
    x, y = wp.InputNode(np.zeros((1, 1))), wp.InputNode(np.zeros((1, 1)))
    step = wp.compile((y - (a * x + b)).square(), wp.SGD(learning_rate=0.05))

    loss = 0.0
    for value in rng.random(STEPS):
        x.set_value(value)
        y.set_value(3 * value + 5)
        loss = step()
    return os.getpid(), loss


def main() -> None:
    slope = wp.HogwildParameter(np.zeros((1, 1)))
    intercept = wp.HogwildParameter(np.zeros((1, 1)))

    reports = joblib.Parallel(n_jobs=2)(
        joblib.delayed(work)(slope, intercept, seed) for seed in range(2)
    )

    for process, loss in reports:
        own = "this process" if process == os.getpid() else "another process"
        print(f"a worker in {own} ended with a loss of {loss:.1e}")
    print(f"y = {slope.value.item():.3f} x + {intercept.value.item():.3f}")


if __name__ == "__main__":
    main()
