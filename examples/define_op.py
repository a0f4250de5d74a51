"""What does it take to add an op, and will it train at native speed?

One class. A function of single elements is an expression, from which both engines
work; any other op writes its NumPy value and its native loops. The gradient is written
in ops, so it needs no code of its own and can be differentiated again.
"""

from typing import Any, Literal, TypeAlias

import numpy as np

import wyrm_py as wp

Engine: TypeAlias = Literal["native", "numpy"]


class Logcosh(wp.Pointwise):
    """ln(cosh(a)): a square near zero, |a| far away; robust to outliers."""

    expression = "absolute(a) + softplus(T(-2) * absolute(a)) - T(0.6931471805599453)"

    def gradient(self, g: wp.Node, out: wp.Node, *inputs: wp.Node) -> tuple[wp.Node]:
        return (g * inputs[0].tanh(),)


class CumulativeSum(wp.Op):
    """Sums of the elements up to each one, along the only axis of a vector."""

    def infer(self, *inputs: wp.Spec) -> wp.Spec:
        if len(inputs[0].shape) != 1:
            raise wp.errors.ShapeError(
                f"cumulative_sum: takes a vector, got shape {inputs[0].shape}. "
                "Reshape it with `.reshape(-1)`?"
            )
        return inputs[0]

    def forward(self, out: Any, *inputs: Any) -> None:
        np.cumsum(inputs[0], out=out)

    def emit(self, writer: Any, out: Any, *inputs: Any) -> None:
        total = writer.fresh("total")
        writer.line(f"{total} = {out.type}(0)")
        with writer.loops(out.extents) as index:
            writer.line(f"{total} = {total} + {inputs[0].at(*index)}")
            writer.line(f"{out.at(*index)} = {total}")

    def gradient(self, g: wp.Node, out: wp.Node, *inputs: wp.Node) -> tuple[wp.Node]:
        return (g[::-1].apply(CumulativeSum())[::-1],)  # sums from each one on


def main() -> None:
    rng = np.random.default_rng(0)
    steps = wp.ParameterNode(np.zeros(8), dtype=np.float64, name="steps")
    seen = wp.InputNode(np.zeros(8), dtype=np.float64, name="seen")
    loss = (steps.apply(CumulativeSum()) - seen).apply(Logcosh()).sum()

    seen.set_value(rng.normal(size=8))
    loss.forward()
    numeric, analytic = wp.finite_difference(steps, loss)
    print(f"gradient is right to {np.abs(numeric - analytic).max():.0e}")

    # noisy views of a staircase, one in ten of them nonsense
    truth = np.array([1.0, 0.0, 2.0, 0.0, 0.0, -1.0, 0.0, 3.0])
    views = np.cumsum(truth) + rng.normal(scale=0.1, size=(20_000, 8))
    views[::10] += rng.normal(scale=100.0, size=views[::10].shape)
    optimizer = wp.Adagrad(learning_rate=0.1)
    runs: list[tuple[Engine, int]] = [("numpy", 2_000), ("native", 20_000)]
    for engine, rows in runs:
        steps.set_value(0)
        history = wp.fit(loss, optimizer, {seen: views[:rows]}, engine=engine)
        error = np.abs(steps.value - truth).max()
        speed = history.samples_per_second
        print(f"{engine:6s} error {error:.2f}, {speed:,.0f} examples a second")


if __name__ == "__main__":
    main()
