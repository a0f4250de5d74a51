"""Compilation, cold and cached, as a fresh process sees it.

Run as a module it is that process: it prints its own readings as one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time

from .measure import Measurement, Recorder, in_new_process

WHAT = ("step", "fit", "lstm-4", "lstm-200")
"""A step and a fit of BPR, training steps of an LSTM over so many inputs."""


def measure(recorder: Recorder, quick: bool) -> None:
    """Start processes with an empty and with a filled cache folder."""
    for what in WHAT:
        cold: list[dict[str, float]] = []
        cached: list[dict[str, float]] = []
        for _ in range(1 if quick else 3):
            with tempfile.TemporaryDirectory() as folder:
                cold.append(_process(what, folder))
                cached.extend(_process(what, folder) for _ in range(2))
        for state, readings in (("cold", cold), ("cached", cached)):
            record = Measurement("compile", "wyrm_py", {"what": what, "cache": state})
            record.repeats = len(readings)
            record.extra = {
                key: round(statistics.median(r[key] for r in readings), 3)
                for key in readings[0]
            }
            recorder.add(record)


def _process(what: str, folder: str) -> dict[str, float]:
    return in_new_process("startup", what, WYRM_CACHE_DIR=folder)


def _child(what: str) -> None:
    start = time.perf_counter()
    import numba  # noqa: F401

    numba_there = time.perf_counter()
    import numpy as np

    import wyrm_py as wp

    imported = time.perf_counter()
    kind, _, length = what.partition("-")
    if kind == "lstm":
        given = wp.InputNode(np.zeros((int(length), 16), np.float32))
        _, (hidden, _) = wp.nn.LSTM(16, 32, random_state=0)(given)
        loss = hidden.square().sum()
    else:
        users = wp.ParameterNode(np.full((50, 32), 0.1, np.float32))
        items = wp.ParameterNode(np.full((60, 32), 0.1, np.float32))
        user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        negative = wp.IndexInputNode([1])
        difference = items.index(item) - items.index(negative)
        loss = -users.index(user).vector_dot(difference).sigmoid().ln()
    built, cpu = time.perf_counter(), time.process_time()
    if kind == "fit":
        columns = {user: [0, 1], item: [2, 3], negative: [4, 5]}
        inputs = {node: np.array(column) for node, column in columns.items()}
        wp.fit(loss, wp.Adagrad(0.05), inputs=inputs, epochs=1, progress=False)
    else:
        wp.compile(loss, wp.Adagrad(0.05))()
    readings = {
        "numba_import_s": numba_there - start,
        "wyrm_import_s": imported - numba_there,
        "graph_s": built - imported,
        "seconds": time.perf_counter() - built,
        "cpu_s": time.process_time() - cpu,
    }
    print(json.dumps(readings))


if __name__ == "__main__":
    _child(sys.argv[1])
