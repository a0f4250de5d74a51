import contextlib
import errno
import gc
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from waiting import goes_what_came, segments

from wyrm_py.errors import (
    ParameterError,
    SettingError,
    SharedMemoryFullError,
    StaleParameterError,
)
from wyrm_py.parameters import (
    HogwildParameter,
    SharedArray,
    limits,
    parts,
    segment,
    storage,
)
from wyrm_py.parameters.segment import SharedSegment

KINDS = ["memfd", "named"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def descriptors():
    """Count those of segments: pools of other tests may end at any time."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(path.readlink())
            found += "wyrm_py" in target or "psm_" in target
    return found


def attach_as_a_stranger(handle):
    """Attach as a process would that has no mapping yet."""
    known = segment._attached.pop(handle.identity, None)
    try:
        return SharedSegment.attach(handle)
    finally:
        if known is not None:
            segment._attached[handle.identity] = known


def test_fresh_segment_is_zero_and_aligned(kind):
    made = SharedSegment.create(10_000, 10_000, kind)
    view = made.view(np.uint8, 10_000, 0)
    assert not view.any() and view.ctypes.data % 4096 == 0


def test_attached_segment_shows_the_same_bytes(kind):
    made = SharedSegment.create(100, 100, kind)
    other = attach_as_a_stranger(made.handle)
    assert other is not made
    made.view(np.int64, 2, 8)[:] = [5, -7]
    assert other.view(np.int64, 2, 8).tolist() == [5, -7]


def test_size_of_a_memfd_is_sealed():
    made = SharedSegment.create(5000, 5000, "memfd")
    for size in (100, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(made._descriptor, size)


def test_only_the_user_may_open_it(kind):
    made = SharedSegment.create(100, 100, kind)
    assert os.fstat(made._descriptor).st_mode & 0o777 == 0o600


def test_memory_is_committed_part_by_part(kind):
    size = 4 << 20
    made = SharedSegment.create(size, 1 << 20, kind)
    assert os.fstat(made._descriptor).st_blocks * 512 < 2 << 20
    made.commit(1 << 20, 3 << 20)
    assert os.fstat(made._descriptor).st_blocks * 512 >= size


def test_dropped_parameter_makes_its_handle_stale(kind):
    parameter = HogwildParameter(np.ones(3), storage=kind)
    text = pickle.dumps(parameter)
    del parameter
    gc.collect()
    with pytest.raises(StaleParameterError, match=r"wp\.save"):
        pickle.loads(text)


def test_handle_with_another_identity_is_refused(kind):
    made = SharedSegment.create(100, 100, kind)
    forged = made.handle._replace(identity=bytes(16))
    with pytest.raises(StaleParameterError, match="another's"):
        SharedSegment.attach(forged)
    with pytest.raises(StaleParameterError, match="another's"):  # nothing was kept
        SharedSegment.attach(forged)


def test_handle_with_another_size_is_refused(kind):
    made = SharedSegment.create(100, 100, kind)
    with pytest.raises(StaleParameterError, match="another size"):
        attach_as_a_stranger(made.handle._replace(size=1 << 30))


def test_descriptor_number_taken_by_something_else_is_refused():
    made = SharedSegment.create(100, 100, "memfd")
    read, write = os.pipe()
    try:
        with pytest.raises(StaleParameterError, match="something else"):
            attach_as_a_stranger(made.handle._replace(descriptor=read))
    finally:
        os.close(read)
        os.close(write)


def test_another_format_version_is_refused(kind):
    made = SharedSegment.create(100, 100, kind)
    made._header()["version"] = 99
    with pytest.raises(ParameterError, match="version 2 is required, 99"):
        attach_as_a_stranger(made.handle)


def test_foreign_shared_memory_is_refused():
    path = Path("/dev/shm/wyrm-test-foreign")
    path.write_bytes(b"\1" * 8192)
    try:
        with pytest.raises(StaleParameterError, match="another's"):
            SharedSegment.attach_name(path.name)
        path.write_bytes(b"short")
        with pytest.raises(StaleParameterError, match="not wyrm_py's"):
            SharedSegment.attach_name(path.name)
    finally:
        path.unlink()


def test_name_removed_by_somebody_else_does_no_harm():
    parameter = HogwildParameter(np.ones(3), storage="named")
    (Path("/dev/shm") / parameter.name).unlink()
    del parameter
    gc.collect()


def test_lock_excludes_other_threads(kind):
    made = SharedSegment.create(100, 100, kind)
    counter, most = [0], [0]

    def enter():
        for _ in range(50):
            with made.lock():
                counter[0] += 1
                most[0] = max(most[0], counter[0])
                counter[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_nothing_grows_over_many_parameters(kind):
    def state():
        gc.collect()
        maps = Path("/proc/self/maps").read_text()
        return descriptors(), maps.count("wyrm_py") + maps.count("/dev/shm/psm_")

    HogwildParameter(np.ones(3), storage=kind)  # starts the resource tracker
    before = state()
    for _ in range(300):
        parameter = HogwildParameter(np.ones(3), storage=kind)
        attach_as_a_stranger(parameter._segment.handle)
        with parameter._segment.lock():
            pass
    del parameter
    assert state() == before


def refuse(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("cure", ["Make the table", "--shm-size"])
def test_full_memory_is_told_and_leaves_nothing(monkeypatch, cure):
    kind = "named" if "shm" in cure else "memfd"
    SharedSegment.create(1, 1, kind)
    files, before = segments(), descriptors()
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(SharedMemoryFullError, match=rf"3\.\d MiB.*free.*{cure}"):
        HogwildParameter(np.ones((1000, 200)), storage=kind)
    assert goes_what_came(files)
    assert descriptors() == before


def test_slot_that_finds_no_room_changes_nothing(kind, monkeypatch):
    parameter = HogwildParameter(np.ones((10, 2)), storage=kind, capacity=20)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(SharedMemoryFullError):
            parameter.slot("s")
        with pytest.raises(SharedMemoryFullError):
            parameter.grow(20)
    assert parameter.slots() == {} and parameter.rows == 10
    parameter.grow(20)
    assert parameter.slot("s").shape == (20, 2)


def test_more_than_the_free_memory_is_refused_before_allocation(monkeypatch, kind):
    monkeypatch.setattr(limits, "available_memory", lambda: 2 << 20)

    def never(*arguments):
        raise AssertionError("allocated")

    monkeypatch.setattr(os, "posix_fallocate", never)
    monkeypatch.setattr(os, "memfd_create", never)
    with pytest.raises(SharedMemoryFullError, match=r"3\.8 MiB.*2\.0 MiB free"):
        HogwildParameter.normal((1000, 1000), 1, seed=1, storage=kind)


@pytest.mark.parametrize("capacity", [10**14, 10**18, 10**30])
def test_absurd_capacity_is_a_clear_error(kind, capacity):
    before = descriptors()
    with pytest.raises(SharedMemoryFullError, match=r"capacity smaller|shm-size"):
        HogwildParameter(np.ones((2, 2)), storage=kind, capacity=capacity)
    assert descriptors() == before


def test_auto_falls_back_to_named_where_memfd_is_not_to_be_had(monkeypatch):
    def forbidden(*arguments):
        raise PermissionError(errno.EPERM, "forbidden")

    storage.memfd_works.cache_clear()
    monkeypatch.setattr(os, "memfd_create", forbidden)
    try:
        assert HogwildParameter(np.ones(2)).storage == "named"
        with pytest.raises(SettingError, match='storage="auto"'):
            SharedArray.create((2,), int, storage="memfd")
    finally:
        storage.memfd_works.cache_clear()


def test_auto_takes_memfd_on_linux():
    assert HogwildParameter(np.ones(2)).storage == "memfd"


def test_the_format_version_stands_for_this_layout():
    """Whoever changes where things lie must count the version up, and this line."""
    header = parts.HEADER
    layout = {name: header.fields[name][1] for name in header.names}
    assert segment._VERSION == 2
    assert [layout[name] for name in ("shape", "rows", "element_names")] == [
        32,
        168,
        200,
    ]
    assert (layout["counters"], header.itemsize) == (712, 904)
