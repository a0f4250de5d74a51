import pytest

from wyrm_py.errors import SharedMemoryFullError
from wyrm_py.parameters import limits

GIB = 1 << 30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A made-up /proc and /sys/fs/cgroup; returns a function that writes files."""
    monkeypatch.setattr(limits, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path / "cgroup")

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


def test_without_any_file_nothing_is_known_and_nothing_refused(system):
    assert limits.available_memory() is None
    limits.require_memory(1 << 60, "test")


def test_machine_memory_is_read(system):
    system("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   2048 kB\n")
    assert limits.available_memory() == 2 << 20


def test_smallest_cgroup_limit_counts_up_to_the_root(system):
    system("proc/meminfo", f"MemAvailable: {100 * GIB // 1024} kB\n")
    system("proc/self/cgroup", "0::/jobs/one\n")
    system("cgroup/jobs/one/memory.max", "max\n")
    system("cgroup/jobs/one/memory.current", "5\n")
    system("cgroup/jobs/memory.max", f"{8 * GIB}\n")
    system("cgroup/jobs/memory.current", f"{3 * GIB}\n")
    system("cgroup/jobs/memory.stat", f"anon 1\ninactive_file {GIB}\n")
    assert limits.available_memory() == 6 * GIB


def test_version_one_cgroups_are_read(system):
    system("proc/self/cgroup", "5:cpu:/x\n4:memory:/jobs\n0::/\n")
    system("cgroup/memory/jobs/memory.limit_in_bytes", f"{4 * GIB}\n")
    system("cgroup/memory/jobs/memory.usage_in_bytes", f"{GIB}\n")
    system("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    system("cgroup/memory/memory.usage_in_bytes", f"{GIB}\n")
    assert limits.available_memory() == 3 * GIB


def test_refusal_names_wanted_free_and_cure(system):
    system("proc/meminfo", f"MemAvailable: {GIB // 1024} kB\n")
    limits.require_memory(GIB, "test")
    with pytest.raises(SharedMemoryFullError, match=r"test: 2\.0 GiB.*1\.0 GiB free"):
        limits.require_memory(2 * GIB, "test")


@pytest.mark.parametrize(
    ("size", "text"),
    [(5, "5 bytes"), (2048, "2.0 KiB"), (3 << 29, "1.5 GiB"), (1 << 51, "2048.0 TiB")],
)
def test_sizes_are_readable(size, text):
    assert limits.readable_size(size) == text
