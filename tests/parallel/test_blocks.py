import copy
import os
import pickle
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pytest
import toy_tasks
from toy_tasks import Count, Diverge, Fail, mean_loss

from wyrm_py.errors import SettingError, StaleParameterError, WorkerLostError
from wyrm_py.parallel.blocks import run_blocks
from wyrm_py.parallel.pools import effective_backend, resolve_jobs
from wyrm_py.parallel.tally import MAX_REPEATS
from wyrm_py.parameters import SharedArray

WORKERS = [(1, "processes"), (2, "processes"), (3, "threads")]
SEVERAL = WORKERS[1:]


@pytest.fixture(params=WORKERS, ids=lambda w: f"{w[0]}-{w[1]}")
def workers(request):
    return {"n_jobs": request.param[0], "backend": request.param[1]}


@pytest.fixture(params=SEVERAL, ids=lambda w: f"{w[0]}-{w[1]}")
def several(request):
    return {"n_jobs": request.param[0], "backend": request.param[1]}


def test_every_block_is_done_once_and_losses_are_exact(workers):
    task = Count.make(5, 13)
    report = run_blocks(task, blocks=13, epochs=5, **workers)
    assert (task.counts.array == 1).all()
    assert report.losses == [mean_loss(epoch, 13) for epoch in range(5)]
    assert report.examples == 2 * 5 * 13
    assert report.workers == workers["n_jobs"]
    assert report.restarts == 0 and not report.stopped and report.diverged is None
    assert report.seconds > 0


def test_callbacks_run_here_in_order_while_all_workers_wait(workers):
    task = Count.make(4, 7)
    seen = []

    def on_epoch(epoch, loss):
        assert threading.current_thread() is threading.main_thread()
        before = task.counts.array.copy()
        assert (before[: epoch + 1] == 1).all() and not before[epoch + 1 :].any()
        time.sleep(0.005)
        np.testing.assert_array_equal(task.counts.array, before)
        seen.append((epoch, loss))

    report = run_blocks(task, blocks=7, epochs=4, on_epoch=on_epoch, **workers)
    assert seen == [(epoch, mean_loss(epoch, 7)) for epoch in range(4)]
    assert report.losses == [loss for _, loss in seen]


def test_true_from_on_epoch_stops(workers):
    task = Count.make(9, 5)
    report = run_blocks(
        task, blocks=5, epochs=9, on_epoch=lambda epoch, _: epoch == 2, **workers
    )
    assert report.stopped and len(report.losses) == 3
    assert report.examples == 2 * 3 * 5
    assert (task.counts.array[:3] == 1).all() and not task.counts.array[3:].any()


@dataclass
class WaitsToBeShown(Count):
    """Ends only once progress was reported."""

    shown: SharedArray = None

    def __post_init__(self):
        self.shown = SharedArray.create((1,), np.int64)

    def before(self, epoch, block):
        while (epoch, block) == (2, 19) and not self.shown.array[0]:
            time.sleep(0.001)


def test_progress_is_reported_and_ends_complete(workers):
    task = WaitsToBeShown.make(3, 20, seconds=0.01)  # longer than between reports
    seen = []

    def on_progress(progress):
        seen.append(progress)
        task.shown.array[0] = 1

    run_blocks(task, blocks=20, epochs=3, on_progress=on_progress, **workers)
    done = [progress.blocks_done for progress in seen]
    assert len(seen) > 1 and done == sorted(done)
    last = seen[-1]
    assert (last.epoch, last.epochs) == (2, 3)
    assert (last.blocks_done, last.blocks, last.examples) == (60, 60, 120)
    assert last.loss == mean_loss(2, 20)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_loss_that_is_not_finite_ends_the_run_and_is_named(workers, value):
    task = Diverge.make(30, 5, value=value, seconds=0.001)
    seen = []
    report = run_blocks(
        task, blocks=5, epochs=30, on_epoch=lambda *a: seen.append(a), **workers
    )
    assert report.diverged == (1, 2)
    assert report.losses == [mean_loss(0, 5)] and len(seen) == 1
    assert not task.counts.array[2:].any()


def test_marks_are_used_again_over_many_epochs(several, monkeypatch):
    monkeypatch.setattr("wyrm_py.parallel.page._MARKS", 1)
    task = Count.make(40, 3)
    report = run_blocks(task, blocks=3, epochs=40, **several)
    assert (task.counts.array == 1).all()
    assert report.losses == [mean_loss(epoch, 3) for epoch in range(40)]


def test_more_workers_than_blocks_are_lowered():
    report = run_blocks(Count.make(2, 2), blocks=2, epochs=2, n_jobs=50)
    assert report.workers == 2


@pytest.mark.parametrize(("blocks", "epochs"), [(0, 3), (3, 0)])
def test_nothing_to_do_is_done_without_opening(blocks, epochs, workers):
    report = run_blocks(None, blocks=blocks, epochs=epochs, **workers)
    assert report.losses == [] and report.seconds == 0


@dataclass
class Pids(Count):
    pids: SharedArray = None

    def open(self, worker):
        self.pids.array[worker] = os.getpid()
        return super().open(worker)


def test_processes_stay_warm_between_runs(monkeypatch):
    monkeypatch.setattr("wyrm_py.parallel.pools._Processes._idle", None)  # of others
    pids = []
    for _ in range(3):
        task = Pids.make(2, 8, pids=SharedArray.create((2,), np.int64))
        run_blocks(task, blocks=8, epochs=2, n_jobs=2)
        pids.append(set(task.pids.array.tolist()))
    assert len(pids[0]) == 2 and os.getpid() not in pids[0]
    assert pids[0] == pids[1] == pids[2]


def test_one_worker_runs_in_this_process():
    task = Pids.make(1, 4, pids=SharedArray.create((1,), np.int64))
    run_blocks(task, blocks=4, epochs=1, n_jobs=1)
    assert task.pids.array.tolist() == [os.getpid()]


class Blas(Count):
    def open(self, worker):
        counts = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "MY_OWN")]
        mask = next(
            line.split()[1]
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("SigBlk")
        )
        interrupts_blocked = int(mask, 16) & 2
        self.counts.array[0, 0] = counts == ["1", None] and interrupts_blocked
        return lambda epoch, block: (0.0, 1.0)


def test_workers_leave_cores_and_ctrl_c_to_the_driver(monkeypatch):
    before = dict(os.environ)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("wyrm_py.parallel.pools._Processes._idle", None)
    task = Blas.make(1, 4)
    run_blocks(task, blocks=4, epochs=1, n_jobs=2)
    assert task.counts.array[0, 0]
    monkeypatch.undo()
    assert dict(os.environ) == before


@pytest.mark.parametrize("how", ["kill", "_exit", "exit"])
@pytest.mark.parametrize("epoch", [0, 2])
def test_dead_worker_is_replaced_and_its_blocks_are_done_again(how, epoch):
    task = Fail.make(4, 9, how=how, at=(epoch, 3), seconds=0.001)
    report = run_blocks(task, blocks=9, epochs=4, n_jobs=2)
    assert report.restarts == 1
    assert report.losses == [mean_loss(epoch, 9) for epoch in range(4)]
    assert report.examples == 2 * 4 * 9
    counts = task.counts.array
    # The block of a worker that died along may have been counted, not marked.
    assert (counts >= 1).all() and counts.sum() <= 4 * 9 + 1


def test_dead_worker_is_replaced_while_callbacks_are_served():
    task = Fail.make(4, 6, at=(2, 5), times=2)
    seen = []
    report = run_blocks(
        task, blocks=6, epochs=4, n_jobs=2, on_epoch=lambda *a: seen.append(a)
    )
    assert report.restarts == 2
    assert seen == [(epoch, mean_loss(epoch, 6)) for epoch in range(4)]


@pytest.mark.parametrize(("how", "words"), [("kill", "SIGKILL"), ("_exit", r"\(3\)")])
def test_worker_that_always_dies_ends_the_run_naming_block_and_exit(how, words):
    task = Fail.make(2, 6, how=how, times=100)
    with pytest.raises(WorkerLostError, match=rf"(?s)block 3 of epoch 0.*{words}"):
        run_blocks(task, blocks=6, epochs=2, n_jobs=2)
    assert task.tries.array[0] == 1 + MAX_REPEATS


def test_thread_that_exits_counts_as_dead():
    task = Fail.make(2, 6, how="exit", times=100)
    with pytest.raises(WorkerLostError, match=r"block 3 of epoch 0.*SystemExit\(5\)"):
        run_blocks(task, blocks=6, epochs=2, n_jobs=2, backend="threads")
    assert task.tries.array[0] == 1 + MAX_REPEATS


class DieAtOpen(Count):
    def open(self, worker):
        os._exit(7)


def test_worker_that_dies_before_any_block_ends_the_run():
    with pytest.raises(WorkerLostError, match="before they did a block"):
        run_blocks(DieAtOpen.make(1, 4), blocks=4, epochs=1, n_jobs=2)
    task = Count.make(3, 5)  # the next run is a fresh start
    run_blocks(task, blocks=5, epochs=3, n_jobs=2)
    assert (task.counts.array == 1).all()


def test_worker_that_died_while_idle_is_replaced():
    task = Pids.make(2, 8, pids=SharedArray.create((2,), np.int64))
    run_blocks(task, blocks=8, epochs=2, n_jobs=2)
    os.kill(int(task.pids.array[0]), 9)
    time.sleep(0.3)
    task = Count.make(2, 8)
    run_blocks(task, blocks=8, epochs=2, n_jobs=2)
    assert (task.counts.array == 1).all()


def test_exception_of_a_task_arrives_with_type_message_and_notes(workers):
    task = Fail.make(500, 6, how="error", seconds=0.001)
    with pytest.raises(ValueError, match="on purpose") as caught:
        run_blocks(task, blocks=6, epochs=500, **workers)
    assert str(caught.value) == "on purpose"
    assert caught.value.__notes__ == ["block note"]
    count = task.counts.array.sum()
    assert count < 500 * 6
    time.sleep(0.02)
    assert task.counts.array.sum() == count  # everybody has stopped


def test_exception_of_another_process_shows_its_traceback():
    with pytest.raises(ValueError, match="on purpose") as caught:
        run_blocks(Fail.make(1, 6, how="error"), blocks=6, epochs=1, n_jobs=2)
    assert "in fail" in str(caught.value.__cause__)


def test_exception_that_cannot_be_pickled_arrives_by_name():
    task = Fail.make(1, 6, how="unpicklable")
    with pytest.raises(RuntimeError, match="LocalError: cannot travel"):
        run_blocks(task, blocks=6, epochs=1, n_jobs=2)


class FailToOpen(Count):
    def open(self, worker):
        if worker == 1:
            raise KeyError("at open")
        return super().open(worker)


def test_exception_while_opening_stops_those_who_wait(several):
    with pytest.raises(KeyError, match="at open"):
        run_blocks(FailToOpen.make(1, 6), blocks=6, epochs=1, **several)


@dataclass
class Stale:
    text: bytes

    def __reduce__(self):
        return pickle.loads, (self.text,)


def test_stale_handle_in_a_task_is_a_clear_error():
    array = SharedArray.create((3,), np.int64)
    text = pickle.dumps(array)
    del array
    with pytest.raises(StaleParameterError, match=r"wp\.save"):
        run_blocks(Stale(text), blocks=6, epochs=1, n_jobs=2)


@pytest.mark.parametrize("callback", ["on_epoch", "on_progress"])
def test_exception_of_a_callback_stops_the_workers(several, callback):
    epochs = 100_000  # some minutes
    task = Count.make(epochs, 6, seconds=0.001)

    def fail(*arguments):
        raise LookupError("callback")

    with pytest.raises(LookupError, match="callback"):
        run_blocks(task, blocks=6, epochs=epochs, **{callback: fail}, **several)
    count = task.counts.array.sum()
    time.sleep(0.02)
    assert task.counts.array.sum() == count < epochs * 6


def test_callback_may_run_blocks_and_use_joblib(several):
    inner = []

    def on_epoch(epoch, loss):
        task = Count.make(2, 4)
        run_blocks(task, blocks=4, epochs=2, **several)
        inner.append(task.counts.array.sum())
        squares = joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(k, 2) for k in [2, 3])
        assert squares == [4, 9]

    run_blocks(Count.make(2, 4), blocks=4, epochs=2, on_epoch=on_epoch, **several)
    assert inner == [8, 8]


def nested(shared):
    backend = effective_backend("processes")
    task = Count(shared)
    run_blocks(task, blocks=5, epochs=2, n_jobs=2)
    return backend


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_inside_a_joblib_worker_threads_are_used(backend):
    shared = [SharedArray.create((2, 5), np.int64) for _ in range(2)]
    with joblib.parallel_config(backend=backend):
        used = joblib.Parallel(n_jobs=2)(joblib.delayed(nested)(s) for s in shared)
    assert used == ["threads", "threads"]
    assert all((s.array == 1).all() for s in shared)


def test_joblib_settings_of_the_caller_do_not_matter():
    task = Count.make(2, 5)
    with joblib.parallel_config(backend="threading", n_jobs=1):
        assert run_blocks(task, blocks=5, epochs=2, n_jobs=2).workers == 2
    assert (task.counts.array == 1).all()


def test_several_threads_may_run_at_once():
    made = [Count.make(3, 6, seconds=0.002) for _ in range(2)]
    threads = [
        threading.Thread(
            target=run_blocks, args=(task,), kwargs=dict(blocks=6, epochs=3, n_jobs=2)
        )
        for task in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((task.counts.array == 1).all() for task in made)


def test_global_random_state_is_left_alone(several):
    before = copy.deepcopy(np.random.get_state()[1])  # noqa: NPY002
    run_blocks(Count.make(1, 5), blocks=5, epochs=1, **several)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True, None])
def test_impossible_numbers_of_jobs_are_refused(n_jobs):
    with pytest.raises(SettingError, match="n_jobs"):
        run_blocks(None, blocks=1, epochs=1, n_jobs=n_jobs)


def test_negative_numbers_of_jobs_count_from_all_cores():
    assert resolve_jobs(-1) == joblib.cpu_count()
    assert resolve_jobs(-1000) == 1
    assert resolve_jobs(7) == 7


def test_unknown_backend_lists_the_options():
    with pytest.raises(SettingError, match='"processes" or "threads"'):
        run_blocks(None, blocks=1, epochs=1, backend="cluster")


def test_no_warnings_or_output(capfd, several):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_blocks(Count.make(2, 6), blocks=6, epochs=2, **several)
    assert capfd.readouterr() == ("", "")


def test_toy_losses_are_what_the_tests_expect():
    assert mean_loss(0, 2) == (1000 + 1001) / 4
    assert toy_tasks.loss(2, 5) == 3005
