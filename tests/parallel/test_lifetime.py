"""Ctrl-C, killed parents, ordinary ends: no process and no word is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import PATIENCE, comes, goes_what_came, segments

HERE = Path(__file__).parent

PROGRAM = """
import os, signal, sys, time
import numpy as np
from toy_tasks import Count
from wyrm_py.parallel import blocks
from wyrm_py.parallel.blocks import run_blocks
from wyrm_py.parameters import HogwildParameter, SharedArray

end, backend = sys.argv[1:]

class Hang(Count):
    def before(self, epoch, block):
        while True:
            time.sleep(0.01)

class Tell(Count):
    def open(self, worker):
        sys.stdout.write(f"{os.getpid()}\\n")
        sys.stdout.flush()
        return super().open(worker)

class TellHang(Tell, Hang):
    pass

def settle(futures, **given):
    if not given:  # within reach of the second Ctrl-C
        print("waiting", flush=True)
    return wait(futures, **given)

blocks.wait, wait = settle, blocks.wait
parameter = HogwildParameter(np.zeros((50, 4)), storage="named")
task = (TellHang if end == "hang" else Tell).make(1, 100_000, seconds=0.002)
if end == "normal":
    run_blocks(task, blocks=10, epochs=1, n_jobs=2, backend=backend)
    sys.exit()
try:
    run_blocks(task, blocks=100_000, epochs=1, n_jobs=2, backend=backend)
except KeyboardInterrupt:
    count = task.counts.array.sum()
    time.sleep(0.05)
    assert count == task.counts.array.sum() < 100_000
    if end == "again":
        # Parameters and the pool stay usable.
        other = Count.make(1, 8)
        run_blocks(other, blocks=8, epochs=1, n_jobs=2, backend=backend)
        assert (other.counts.array == 1).all()
    sys.exit(42)
"""


def start(end, backend):
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, end, backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # a group of its own, as a terminal makes one
    )


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids):
    return comes(lambda: not any(alive(pid) for pid in pids))


def all_gone(session):
    return comes(lambda: not session_members(session))


def session_members(session):
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(folder.name))
    return members


@pytest.fixture
def run():
    started = []

    def begin(end, backend="processes"):
        process = start(end, backend)
        started.append(process)
        pids = [int(process.stdout.readline()) for _ in range(2)]
        time.sleep(0.1)
        return process, pids

    yield begin
    for process in started:
        for pid in session_members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_normal_end_is_silent_and_leaves_nobody(run, backend):
    process, _ = run("normal", backend)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 0
    assert all_gone(process.pid)


@pytest.mark.parametrize("end", ["once", "again"])
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_ctrl_c_stops_all_workers_and_arrives_here(run, backend, end):
    process, _ = run(end, backend)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 42
    assert all_gone(process.pid)


def test_second_ctrl_c_does_not_wait_for_the_block(run):
    process, pids = run("hang")
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    assert alive(process.pid) and all(alive(pid) for pid in pids)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 42
    assert all_gone(process.pid)


@pytest.mark.parametrize("end", ["once", "hang"])
def test_killed_parent_leaves_no_worker_and_no_memory(run, end):
    before = segments()
    process, pids = run(end)
    process.kill()
    process.wait()
    assert gone(pids)
    assert all_gone(process.pid)
    assert goes_what_came(before)
