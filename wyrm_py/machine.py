"""What a run ran on: processor, cores, versions. Nothing that names who ran it."""

from __future__ import annotations

import functools
import os
import platform
from importlib import metadata
from pathlib import Path


def describe_machine() -> dict[str, str]:
    """Return processor, cores, system and versions, by name."""
    return dict(_described())


@functools.cache
def _described() -> dict[str, str]:
    packages = ("wyrm-py", "numpy", "numba")
    return {
        "processor": _processor(),
        "cores": str(_cores()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def _processor() -> str:
    """Return the processor's name; Linux tells it only in a file."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
