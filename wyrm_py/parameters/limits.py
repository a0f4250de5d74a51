"""How much memory the system will still give this process.

A shared segment larger than the machine or its container allows is refused
before anything is allocated: afterwards the kernel would answer by killing
processes. Reads /proc and cgroup files (version 1 and 2); where there are none
the answer is "unknown" and nothing is refused.
"""

from __future__ import annotations

from pathlib import Path

from wyrm_py.errors import SharedMemoryFullError

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")

# A cgroup without a limit says "max" (version 2) or a number near 2**63 (version 1).
_NO_LIMIT = 1 << 60

_SMALL = 1 << 20  # bytes; less is never worth reading the limits (0.3 ms)


def available_memory() -> int | None:
    """Return the bytes this process may still allocate, None if unknown."""
    known = [
        free for free in (_free_in_machine(), *_free_in_cgroups()) if free is not None
    ]
    return min(known) if known else None


def require_memory(wanted: int, owner: str) -> None:
    """Refuse an allocation that is larger than the free memory.

    Parameters
    ----------
    wanted : int, bytes
    owner : str
        Who asks, for the message.

    Raises
    ------
    SharedMemoryFullError
        If the system says that fewer bytes are free.
    """
    if wanted < _SMALL:
        return
    free = available_memory()
    if free is not None and wanted > free:
        raise SharedMemoryFullError(
            f"{owner}: {readable_size(wanted)} of shared memory wanted, "
            f"{readable_size(free)} free. Make the table smaller (fewer rows, less "
            "width, float32), free other memory, or raise the memory limit of the "
            "container or job."
        )


def readable_size(size: int) -> str:
    """Return a size in bytes as text with a binary unit."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _free_in_machine() -> int | None:
    for line in _read(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _free_in_cgroups() -> list[int | None]:
    """Room below every memory limit from this process's cgroup up to the root."""
    free: list[int | None] = []
    for line in _read(_PROC / "self" / "cgroup").splitlines():
        _, controllers, inner = line.split(":", 2)
        if controllers == "":
            root, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = _CGROUPS / "memory"
            names = (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
        else:
            continue
        folder = root / inner.lstrip("/")
        levels = [folder, *folder.parents]
        free += [_room(level, *names) for level in levels if level.is_relative_to(root)]
    return free


def _room(folder: Path, limit_name: str, usage_name: str, cache: str) -> int | None:
    limit, usage = _read(folder / limit_name), _read(folder / usage_name)
    if not limit.isdigit() or not usage.isdigit() or int(limit) >= _NO_LIMIT:
        return None
    reclaimable = 0  # file cache counts as used, but the kernel gives it up
    for line in _read(folder / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == cache:
            reclaimable = int(number)
    return max(0, int(limit) - int(usage) + reclaimable)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
