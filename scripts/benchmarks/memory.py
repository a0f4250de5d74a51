"""Memory of a large table trained by worker processes (Linux: reads smaps_rollup).

Run as a module it is the measured process: it prints its readings as one line of JSON.
The sum of PSS counts a page shared by n processes once, as n parts.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np

from .measure import Measurement, Recorder, descendants, in_new_process

WIDTH = 64
MEGABYTE = 1e6


def measure(recorder: Recorder, quick: bool) -> None:
    """Train a table of 1,000,000 x 64 with one, two and three workers."""
    rows = 200_000 if quick else 1_000_000
    for workers in (1, 2, 3):
        config = {"rows": rows, "width": WIDTH, "workers": workers}
        record = Measurement("memory", "wyrm_py", config, repeats=1)
        record.extra = dict(in_new_process("memory", rows, workers))
        recorder.add(record)


class _Watch(threading.Thread):
    """Samples PSS of this process and its descendants until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0
        self.parts: dict[str, float] = {}
        self.worker_anonymous = 0.0
        self.processes = 0
        self._stop_requested = threading.Event()

    def run(self) -> None:
        while not self._stop_requested.wait(0.02):
            self.sample()

    def sample(self) -> None:
        """Take one reading and keep the largest."""
        readings = [_pss("self"), *(_pss(str(child)) for child in descendants())]
        total = sum(reading.get("Pss", 0.0) for reading in readings)
        if total > self.peak:
            self.peak = total
            self.processes = len(readings)
            self.parts = readings[0]
        for reading in readings[1:]:
            self.worker_anonymous = max(
                self.worker_anonymous, reading.get("Pss_Anon", 0.0)
            )

    def finish(self) -> None:
        """Stop sampling."""
        self._stop_requested.set()
        self.join()


def _pss(process: str) -> dict[str, float]:
    """Return the PSS fields of a process in megabytes, empty if it is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.startswith("Pss"))
    return {field[0].rstrip(":"): int(field[1]) * 1024 / MEGABYTE for field in fields}


def _child(rows: int, workers: int) -> None:
    import wyrm_py as wp

    rng = np.random.default_rng(0)
    table = wp.ParameterNode.shared(
        wp.HogwildParameter.normal((rows, WIDTH), 0.1, seed=0)
    )
    left, right = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    product = table.index(left).vector_dot(table.index(right))
    loss = (product - 1.0).square()
    # every row is visited, so that all of the table and of its state is really there
    columns = {left: rng.permutation(rows), right: rng.permutation(rows)}
    bytes_of_columns = sum(column.nbytes for column in columns.values())
    watch = _Watch()
    watch.sample()
    before = watch.peak
    watch.start()
    wp.fit(
        loss,
        wp.Adagrad(0.05),
        inputs=columns,
        epochs=4,
        n_jobs=workers,
        backend="processes",
        random_state=0,
        progress=False,
    )
    watch.finish()
    table_bytes = rows * WIDTH * 4
    readings = {
        "peak_pss_mb": watch.peak,
        "before_fit_pss_mb": before,
        "table_and_state_mb": 2 * table_bytes / MEGABYTE,
        "columns_mb": bytes_of_columns / MEGABYTE,
        "worker_private_mb": watch.worker_anonymous,
        "processes": watch.processes,
    }
    print(json.dumps({key: round(value, 1) for key, value in readings.items()}))


if __name__ == "__main__":
    _child(int(sys.argv[1]), int(sys.argv[2]))
