"""Clocks, statistics and records: how every figure of the benchmark is taken.

A training run is read at its epoch marks: the cost of start-up (compilation, starting
workers, checking columns) lies before the first mark and is reported by other
measurements. CPU time counts all threads of this process and of its worker processes.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

PACKAGES = (
    "wyrm-py numpy scipy numba llvmlite joblib torch implicit lightfm lightfm-next "
    "rectools-lightfm scikit-learn vowpalwabbit gensim river"
).split()


class Mark(NamedTuple):
    """A reading of the clocks, in nanoseconds since an arbitrary moment.

    `machine` is the time all cores have spent on anything at all, so that the part
    that others took can be told.
    """

    cpu: int
    wall: int
    machine: int = 0

    def __sub__(self, other: Mark) -> Mark:
        return Mark(*(a - b for a, b in zip(self, other, strict=True)))

    def others(self) -> float:
        """Return, for a difference of marks, the cores that other work held."""
        return max(self.machine - self.cpu, 0) / max(self.wall, 1)


class Summary(NamedTuple):
    """Median, quartiles and least of repeated readings, nanoseconds per example."""

    cpu_ns: float
    cpu_low: float
    cpu_high: float
    wall_ns: float
    wall_low: float
    wall_high: float
    cpu_best: float
    wall_best: float
    repeats: int


@dataclasses.dataclass
class Measurement:
    """One record of the output; `None` means "does not apply"."""

    name: str
    system: str
    config: dict[str, Any]
    cpu_ns_per_example: float | None = None
    cpu_spread: tuple[float, float] | None = None
    wall_ns_per_example: float | None = None
    wall_spread: tuple[float, float] | None = None
    cpu_best: float | None = None
    wall_best: float | None = None
    repeats: int = 0
    auc: float | None = None
    precision_at_10: float | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    failure: str | None = None

    def timed(self, summary: Summary) -> Measurement:
        """Fill the time fields in; returns itself."""
        self.cpu_ns_per_example = round(summary.cpu_ns, 2)
        self.cpu_spread = (round(summary.cpu_low, 2), round(summary.cpu_high, 2))
        self.wall_ns_per_example = round(summary.wall_ns, 2)
        self.wall_spread = (round(summary.wall_low, 2), round(summary.wall_high, 2))
        self.cpu_best = round(summary.cpu_best, 2)
        self.wall_best = round(summary.wall_best, 2)
        self.repeats = summary.repeats
        return self


class Recorder:
    """Keeps the measurements, and writes each as a JSON line as soon as it is there.

    A run that is stopped half way therefore leaves what it had measured.
    """

    def __init__(self, stream: TextIO) -> None:
        self.measurements: list[Measurement] = []
        self._stream = stream
        self._context = {"versions": versions(), "machine": machine()}

    def add(self, measurement: Measurement) -> None:
        """Store, write and show one measurement."""
        self.measurements.append(measurement)
        record = dataclasses.asdict(measurement) | self._context
        self._stream.write(json.dumps(record) + "\n")
        self._stream.flush()
        print(describe(measurement), flush=True)

    def find(
        self, name: str, system: str | None = None, **config: Any
    ) -> Measurement | None:
        """Return the first measurement that matches and did not fail, or None."""
        for measurement in self.measurements:
            if measurement.name != name or measurement.failure is not None:
                continue
            if system is not None and measurement.system != system:
                continue
            if all(measurement.config.get(key) == v for key, v in config.items()):
                return measurement
        return None


def describe(measurement: Measurement) -> str:
    """Return one line of plain text about a measurement."""
    config = " ".join(f"{key}={value}" for key, value in measurement.config.items())
    line = f"{measurement.name:18} {measurement.system:22} {config:44}"
    if measurement.failure is not None:
        return f"{line} not measured: {measurement.failure}"
    if measurement.cpu_ns_per_example is not None:
        line += f" cpu {measurement.cpu_ns_per_example:10.1f} ns"
        line += f"  wall {measurement.wall_ns_per_example:10.1f} ns"
    if measurement.auc is not None:
        line += f"  AUC {measurement.auc:.4f}"
    if measurement.precision_at_10 is not None:
        line += f"  P@10 {measurement.precision_at_10:.4f}"
    extra = " ".join(f"{key}={value}" for key, value in measurement.extra.items())
    return f"{line}  {extra}".rstrip()


def descendants(root: str = "self") -> Iterator[int]:
    """Yield the ids of all live processes below `root` (Linux; elsewhere none)."""
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # the thread or process ended while we looked
            continue
        for child in children:
            yield int(child)
            yield from descendants(child)


class _Clock:
    """Stands still while it is read: a reading costs a tenth of a millisecond."""

    def __init__(self) -> None:
        self._cpu = 0
        self._wall = 0

    def read(self) -> Mark:
        """Read all clocks; CPU time includes ended and live child processes."""
        own, wall = time.process_time_ns(), time.perf_counter_ns()
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = own + int((reaped.ru_utime + reaped.ru_stime) * 1e9)
        for child in descendants():
            try:
                # the clock of another process's CPU time (clock_getcpuclockid)
                cpu += time.clock_gettime_ns((~child << 3) | 2)
            except OSError:
                continue
        reading = Mark(cpu - self._cpu, wall - self._wall, _busy())
        self._cpu += time.process_time_ns() - own
        self._wall += time.perf_counter_ns() - wall
        return reading


mark = _Clock().read


def _busy() -> int:
    """Return the time the cores were not idle, 0 where the system does not tell."""
    try:
        with open("/proc/stat") as stream:  # noqa: PTH123 - half the time of a Path
            fields = [int(field) for field in stream.readline().split()[1:9]]
    except OSError:
        return 0
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def per_example(
    marks: Sequence[Mark], examples: int, chunk: int = 1
) -> list[tuple[float, float]]:
    """Turn the marks of consecutive epochs into (cpu, wall) ns per example.

    Parameters
    ----------
    marks : one reading at the end of each epoch.
    examples : examples in an epoch.
    chunk : epochs that make one repeat; short epochs are joined so that the clocks
        and the machine's other work weigh less.
    """
    readings = []
    for first, last in zip(marks[:-chunk:chunk], marks[chunk::chunk], strict=False):
        count = examples * chunk
        spent = last - first
        readings.append((spent.cpu / count, spent.wall / count))
    return readings


def summarise(readings: Sequence[tuple[float, float]]) -> Summary:
    """Summarise (cpu, wall) readings."""
    values = np.asarray(readings)
    low, middle, high = np.percentile(values, [25, 50, 75], axis=0).tolist()
    best = values.min(axis=0).tolist()
    return Summary(
        cpu_ns=middle[0],
        cpu_low=low[0],
        cpu_high=high[0],
        wall_ns=middle[1],
        wall_low=low[1],
        wall_high=high[1],
        cpu_best=best[0],
        wall_best=best[1],
        repeats=len(readings),
    )


def in_new_process(
    module: str, *arguments: object, **environment: str
) -> dict[str, float]:
    """Run a module of this package in a fresh process; return the JSON it prints."""
    result = subprocess.run(
        [sys.executable, "-m", f"{__package__}.{module}", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        complaint = result.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{module} ended with {result.returncode}: {complaint[-1]}")
    readings: dict[str, float] = json.loads(result.stdout)
    return readings


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that takes part."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what is known about the processor and the system, and the load now."""
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return facts
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    facts["processor"] = fields.get("model name", facts["processor"])
    flags = fields.get("flags", "").split()
    facts["avx512"] = "avx512f" in flags
    return facts
