"""Can the shape of a computation depend on its own values?

A node has its value as soon as it is built, so Python's `while` and `if` can look at
it. The graph that results has a gradient like any other.
"""

import numpy as np

import wyrm_py as wp


def main() -> None:
    a = wp.ParameterNode(5.0, dtype=np.float64)
    b = wp.ParameterNode(2.0, dtype=np.float64)

    c: wp.Node = wp.InputNode(0.0, dtype=np.float64)
    rounds = 0
    while rounds < 10:
        c = c + a * b
        if c.value > 50:
            c = c * a
        rounds += 1

    c.backward()
    print(f"c     = {c.value.item():.0f}")
    print(f"dc/da = {a.gradient.item():.0f}")
    print(f"dc/db = {b.gradient.item():.0f}")


if __name__ == "__main__":
    main()
