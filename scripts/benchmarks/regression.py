"""Linear regression, the smallest model: what wyrm_py itself costs around a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .measure import Mark, Measurement, Recorder, mark, per_example, summarise


class Graph(NamedTuple):
    """The README's graph."""

    loss: Any
    x: Any
    y: Any


def graph() -> Graph:
    """Build (y - (slope * x + intercept))**2 on 1 x 1 values."""
    import wyrm_py as wp

    rng = np.random.default_rng(0)
    slope = wp.ParameterNode(rng.random((1, 1)))
    intercept = wp.ParameterNode(rng.random((1, 1)))
    x, y = wp.InputNode(np.zeros((1, 1))), wp.InputNode(np.zeros((1, 1)))
    return Graph((y - (slope * x + intercept)).square(), x, y)


def fit_examples(recorder: Recorder, quick: bool) -> None:
    """ns per example inside `fit`."""
    import wyrm_py as wp

    examples = 200_000 if quick else 1_000_000
    rng = np.random.default_rng(1)
    x_column = rng.random(examples, dtype=np.float32)
    y_column = np.float32(3) * x_column + np.float32(5)
    readings = []
    for _ in range(1 if quick else 5):
        model = graph()
        marks: list[Mark] = []
        wp.fit(
            model.loss,
            wp.SGD(learning_rate=0.1),
            inputs={model.x: x_column, model.y: y_column},
            epochs=11,
            random_state=0,
            callbacks=[_marking(marks)],
            progress=False,
        )
        readings.extend(per_example(marks, examples, chunk=2))
    config = {"optimizer": "sgd", "workers": 1, "examples": examples}
    record = Measurement("regression-fit", "wyrm_py", config)
    recorder.add(record.timed(summarise(readings)))


def _marking(marks: list[Mark]) -> Callable[[Any], None]:
    def after_epoch(_: Any) -> None:
        marks.append(mark())

    return after_epoch


def step_calls(recorder: Recorder, quick: bool) -> None:
    """ns per `x.set_value(v); y.set_value(w); step()`, and per `step()` alone."""
    import wyrm_py as wp

    model = graph()
    step = wp.compile(model.loss, wp.SGD(learning_rate=0.1))
    calls = 20_000 if quick else 100_000
    values = np.random.default_rng(2).random(calls).tolist()
    pairs = [(value, 3.0 * value + 5.0) for value in values]
    x, y = model.x, model.y

    def with_values() -> None:
        for v, w in pairs:
            x.set_value(v)
            y.set_value(w)
            step()

    def alone() -> None:
        for _ in pairs:
            step()

    def set_only() -> None:
        for v, _ in pairs:
            x.set_value(v)

    bodies = {
        "step-set-values": with_values,
        "step-alone": alone,
        "set-value": set_only,
    }
    for name, body in bodies.items():
        body()
        readings = []
        for _ in range(9):
            before = mark()
            body()
            readings.extend(per_example([before, mark()], calls))
        record = Measurement(name, "wyrm_py", {"calls": calls})
        recorder.add(record.timed(summarise(readings)))


def evaluation(recorder: Recorder, dataset: Any) -> None:
    """Seconds to rank and measure all users of a data set natively."""
    from wyrm_py.evaluation import ranking_metrics

    rng = np.random.default_rng(3)
    users = rng.standard_normal((dataset.n_users, 32), np.float32)
    items = rng.standard_normal((dataset.n_items, 32), np.float32)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        ranking_metrics(users, items, dataset.known, dataset.held)
        seconds.append(time.perf_counter() - start)
    record = Measurement("evaluation", "wyrm_py", {"data": dataset.name})
    record.extra = {"seconds": round(float(np.median(seconds[1:])), 4)}
    recorder.add(record)
