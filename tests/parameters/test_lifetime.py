"""What is left when processes end in any way: nothing, and nothing on stderr."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE, comes, goes_what_came

from wyrm_py.errors import ParameterError, StaleParameterError
from wyrm_py.parameters import HogwildParameter

SHM = Path("/dev/shm")

OWNER = """
import os, signal, sys, time, pickle
import joblib, numpy as np
from wyrm_py.parameters import HogwildParameter, SharedArray

def work(parameter):
    parameter.value[...] += 1
    parameter.slot("s")[...] = 2

def die(parameter):
    parameter.value[0] = 7
    os.kill(os.getpid(), signal.SIGKILL)

storage, end = sys.argv[1:]
parameter = HogwildParameter(np.zeros((500, 40)), storage=storage, capacity=1000)
column = SharedArray.copy_of(np.arange(10), storage)
if end == "workers":
    joblib.Parallel(n_jobs=2)(joblib.delayed(work)(parameter) for _ in range(2))
if end == "worker killed":
    try:
        joblib.Parallel(n_jobs=2)([joblib.delayed(die)(parameter)])
    except RuntimeError as error:
        assert "SIGKILL" in str(error)
    assert parameter.value[0].tolist() == [7] * 40
parameter.slot("t")
sys.stdout.write(pickle.dumps(parameter).hex() + "\\n")
sys.stdout.flush()
if end == "exception":
    raise ValueError("on purpose")
if end in ("interrupt", "kill"):
    time.sleep(600)
if end == "cycle":
    keep = [parameter]; keep.append(keep)
"""

ATTACH = """
import sys
from wyrm_py.parameters import HogwildParameter
parameter = HogwildParameter.attach(sys.argv[1])
assert parameter.shape == (3, 2) and parameter.dtype == "float64", parameter
parameter.value[1] = 7
parameter.slot("s")[0] = 8
"""

FORK = """
import os, sys
import numpy as np
from wyrm_py.parameters import HogwildParameter
parameter = HogwildParameter(np.zeros(5), storage=sys.argv[1])
child = os.fork()
if child == 0:
    parameter.value[0] = 1
    parameter.slot("s")[0] = 3
    sys.exit()
os.waitpid(child, 0)
assert parameter.value[0] == 1 and parameter.slot("s")[0] == 3
if parameter.name:
    assert HogwildParameter.attach(parameter.name).value[0] == 1
    assert os.path.exists("/dev/shm/" + parameter.name)
"""


@pytest.fixture(autouse=True)
def nothing_left():
    before = entries()
    yield
    assert goes_what_came(before, entries)  # the resource tracker's work after SIGKILL


def entries():
    """Names in /dev/shm, without the semaphores of processes that still run."""
    running = {path.name for path in Path("/proc").glob("[0-9]*")}
    return {
        path.name for path in SHM.iterdir() if running.isdisjoint(path.name.split("-"))
    }


def python(program, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
        **options,
    )


@pytest.mark.parametrize("storage", ["memfd", "named"])
@pytest.mark.parametrize("end", ["normal", "workers", "worker killed", "cycle"])
def test_normal_end_is_silent_and_leaves_nothing(storage, end):
    done = python(OWNER, storage, end)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("storage", ["memfd", "named"])
def test_exception_leaves_nothing(storage):
    done = python(OWNER, storage, "exception")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: on purpose")
    assert "leaked" not in done.stderr


def is_stale(text):
    try:
        pickle.loads(text)
    except StaleParameterError:
        return True
    return False


@pytest.mark.parametrize("storage", ["memfd", "named"])
@pytest.mark.parametrize("end", ["interrupt", "kill"])
def test_killed_owner_leaves_nothing_and_stale_handles(storage, end):
    command = [sys.executable, "-c", OWNER, storage, end]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as owner:
        text = bytes.fromhex(owner.stdout.readline().decode())
        parameter = pickle.loads(text)
        owner.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
        owner.wait(timeout=PATIENCE)
    # What is mapped stays good; who comes later is refused.
    parameter.value[...] = 4
    assert parameter.value.sum() == 4 * 500 * 40
    del parameter
    assert comes(lambda: is_stale(text))  # once the tracker has unlinked the name
    with pytest.raises(StaleParameterError, match="ended or dropped"):
        pickle.loads(text)


def test_unrelated_process_attaches_by_name_and_its_end_does_no_harm():
    parameter = HogwildParameter(np.zeros((3, 2)), dtype=np.float64, storage="named")
    for _ in range(2):
        # A session of its own: no shared resource tracker, as from another shell.
        done = python(ATTACH, parameter.name, start_new_session=True)
        assert done.stderr == ""
    assert done.returncode == 0
    time.sleep(0.2)
    assert (SHM / parameter.name).exists()
    assert parameter.value[1].tolist() == [7, 7]
    assert parameter.slots()["s"][0].tolist() == [8, 8]


READ = """
import sys
from wyrm_py.errors import StaleParameterError
from wyrm_py.parameters import HogwildParameter
parameter = HogwildParameter.attach(sys.argv[1], read_only=True)
before = parameter.value
for line in sys.stdin:
    try:
        parameter.require_owner()
        owner = "alive"
    except StaleParameterError:
        owner = "gone"
    try:
        parameter.value[0] = 9
        written = "written"
    except ValueError:
        written = "refused"
    print(owner, parameter.rows, parameter.value.sum(), before.sum(), written)
    sys.stdout.flush()
"""


@pytest.mark.parametrize("storage", ["memfd", "named"])
def test_a_reader_sees_growth_cannot_write_and_is_told_of_the_owners_end(storage):
    parameter = HogwildParameter(np.ones((3, 2)), storage=storage, capacity=1 << 30)
    command = [sys.executable, "-c", READ, parameter.address]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:

        def ask():
            reader.stdin.write("\n")
            reader.stdin.flush()
            return reader.stdout.readline().split()

        assert ask() == ["alive", "3", "6.0", "6.0", "refused"]
        parameter.grow(5)
        parameter.value[3:] = 1
        parameter.value[0] = 2
        assert ask() == ["alive", "5", "12.0", "8.0", "refused"]
        del parameter
        assert ask() == ["gone", "5", "12.0", "8.0", "refused"]
        reader.stdin.close()
    assert reader.returncode == 0


def test_addresses_that_lead_nowhere_are_refused_by_type():
    parameter = HogwildParameter(np.ones((3, 2)))
    address = parameter.address
    assert HogwildParameter.attach(address).value is not parameter.value
    with pytest.raises(ParameterError, match=r"the `.address` of a parameter"):
        HogwildParameter.attach("/proc/x/fd/3?1?00")
    with pytest.raises(StaleParameterError):
        HogwildParameter.attach(address[:-4] + "0000", read_only=True)
    del parameter
    with pytest.raises(StaleParameterError):
        HogwildParameter.attach(address)


@pytest.mark.parametrize("storage", ["memfd", "named"])
def test_end_of_a_forked_child_does_no_harm(storage):
    done = python(FORK, storage)
    assert done.stderr == ""
    assert done.returncode == 0


SMALL_SHM = """
mount -t tmpfs -o size=4m tmpfs /dev/shm || exit 77
exec "$0" -W error -c '
import numpy as np
from wyrm_py.errors import SharedMemoryFullError
from wyrm_py.parameters import HogwildParameter
HogwildParameter(np.ones((2_000_000,)), storage="memfd").value[...] = 2
parameter = HogwildParameter(np.ones((100, 100)), storage="named", capacity=10**6)
for attempt in range(2):
    try:
        HogwildParameter(np.ones((2_000_000,)), storage="named")
    except SharedMemoryFullError as error:
        assert "7.6 MiB" in str(error) and "--shm-size" in str(error), error
    else:
        raise SystemExit("no error")
parameter.slot("s")[...] = 1
parameter.value[...] = 1
'
"""


def test_small_shm_of_a_container_is_an_error_not_a_crash():
    command = ["unshare", "-m", "sh", "-c", SMALL_SHM, sys.executable]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=5 * PATIENCE
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if os.geteuid() != 0 or done.returncode == 77:
        pytest.skip("only root can mount a small /dev/shm in a namespace of its own")
    assert done.stderr == ""
    assert done.returncode == 0
