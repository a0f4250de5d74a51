"""How does one model go from a Python loop to native speed?

y = 3 x + 5 is learned three times from the same graph: by hand, with a compiled step,
and with `fit`. All three find the same line; each is faster than the one before. With
three slopes it is the same graph, here trained by two workers without a lock.
"""

import time

import numpy as np

import wyrm_py as wp

EXAMPLES = 3_000

rng = np.random.default_rng(0)
slope = wp.ParameterNode(rng.random((1, 1)))
intercept = wp.ParameterNode(rng.random((1, 1)))
x, y = wp.InputNode(np.zeros((1, 1))), wp.InputNode(np.zeros((1, 1)))
loss = (y - (slope * x + intercept)).square()
optimizer = wp.SGD(learning_rate=0.1)

xs = rng.random(EXAMPLES)
ys = 3 * xs + 5


def by_hand() -> None:
    """Forward, backward, update: every step is visible."""
    for xv, yv in zip(xs, ys, strict=True):
        x.set_value(xv)
        y.set_value(yv)
        loss.forward()
        loss.backward(1.0)
        optimizer.step(loss.parameters())


def compiled() -> None:
    """The same loop; `step()` is forward, backward and update in one native call."""
    step = wp.compile(loss, optimizer)
    for xv, yv in zip(xs, ys, strict=True):
        x.set_value(xv)
        y.set_value(yv)
        step()


def fitted() -> None:
    """The loop itself is native: row k of every column is example k."""
    wp.fit(loss, optimizer, inputs={x: xs, y: ys}, random_state=0)


def with_three_slopes() -> np.ndarray:
    """y = a + 2 b + 3 c + 5: one product, and two Hogwild workers."""
    slopes, row = wp.ParameterNode(np.zeros((3, 1))), wp.InputNode(np.zeros((1, 3)))
    loss = (y - (row.dot(slopes) + intercept)).square()
    rows = rng.random((20_000, 3))
    targets = rows @ [1, 2, 3] + 5
    intercept.set_value(0.5)
    wp.fit(loss, optimizer, inputs={row: rows, y: targets}, n_jobs=2)
    return slopes.value


def main() -> None:
    for train in (by_hand, compiled, fitted):
        slope.set_value(0.5)
        intercept.set_value(0.5)
        start = time.perf_counter()
        train()
        seconds = time.perf_counter() - start
        line = f"{slope.value.item():.3f} x + {intercept.value.item():.3f}"
        print(f"{train.__name__:8s} y = {line}   {seconds:.2f} s")

    many = rng.random(1_000_000)
    history = wp.fit(loss, optimizer, inputs={x: many, y: 3 * many + 5}, epochs=10)
    print(f"a long fit takes {1e9 / history.samples_per_second:.1f} ns an example")

    a, b, c = with_three_slopes().ravel()
    d = intercept.value.item()
    print(f"2 workers y = {a:.3f} a + {b:.3f} b + {c:.3f} c + {d:.3f}")


if __name__ == "__main__":
    main()
