"""Where workers run: threads of this process, or loky processes kept warm.

The processes come from joblib's loky, but not from the pool that
`joblib.Parallel` shares: a run keeps its workers busy to the end, and a callback
that used joblib meanwhile would wait for them for ever.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import numbers
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, Literal, NamedTuple, Protocol

import joblib
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.backend.reduction import dumps
from joblib.externals.loky.process_executor import (
    BrokenProcessPool,
    ProcessPoolExecutor,
)
from joblib.parallel import get_active_backend

from wyrm_py.errors import SettingError
from wyrm_py.parallel.page import ControlPage
from wyrm_py.parallel.workers import (
    Outcome,
    Task,
    in_worker_process,
    start_process,
    work,
    work_in_process,
)

Backend = Literal["processes", "threads"]

# What the libraries under a worker read to size their own thread pools.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_IDLE = 300.0  # seconds after which loky ends an idle worker


def resolve_jobs(n_jobs: int) -> int:
    """Return a number of workers; -1 means all cores, -2 all but one, and so on.

    Raises
    ------
    SettingError
        If it is zero or no whole number.
    """
    whole = isinstance(n_jobs, numbers.Integral) and not isinstance(n_jobs, bool)
    if not whole or n_jobs == 0:
        raise SettingError(
            "n_jobs: a positive number of workers, or a negative one to count from "
            f"all cores (-1: all of them), is required, got {n_jobs!r}."
        )
    return int(n_jobs) if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + int(n_jobs))


def effective_backend(backend: Backend) -> Backend:
    """Return where workers will really run.

    Inside a worker (of joblib, of a multiprocessing pool, or one of ours) it is
    threads: such a process should not, or may not, start processes of its own.

    Raises
    ------
    SettingError
        If the backend is unknown.
    """
    if backend not in ("processes", "threads"):
        raise SettingError(
            f'backend: "processes" or "threads" is required, got {backend!r}.'
        )
    nested = (
        get_active_backend()[0].nesting_level
        or multiprocessing.current_process().daemon
        or in_worker_process()
    )
    return "threads" if nested else backend


class Pool(Protocol):
    """Workers of one run."""

    lost: type[Exception] | tuple[()]  # what a future raises if its worker died

    def start(self, task: Task, page: ControlPage) -> list[Future[Outcome]]:
        """Give every worker its one call."""

    def kill(self) -> None:
        """End all workers now; returns when they are gone."""

    def close(self) -> None:
        """Give the workers back after their calls have ended."""


def make_pool(backend: Backend, workers: int) -> Pool:
    """Return a pool of so many workers."""
    return _Threads(workers) if backend == "threads" else _Processes(workers)


class _Threads:
    lost: type[Exception] | tuple[()] = ()

    def __init__(self, workers: int):
        self._pool = ThreadPoolExecutor(workers, "wyrm_py")

    def start(self, task: Task, page: ControlPage) -> list[Future[Outcome]]:
        return [
            self._pool.submit(work, task, page, worker)
            for worker in range(page.workers)
        ]

    def kill(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class _Idle(NamedTuple):
    owner: int  # process id
    workers: int
    pool: Any  # of loky


class _Processes:
    lost: type[Exception] | tuple[()] = BrokenProcessPool

    # One pool waits between runs. A run inside a callback of another run, or in
    # another thread, finds none and makes its own.
    _idle: _Idle | None = None
    _guard = threading.Lock()

    def __init__(self, workers: int):
        self._workers = workers
        self._pool = self._take()

    def start(self, task: Task, page: ControlPage) -> list[Future[Outcome]]:
        parcel = bytes(dumps((task, page)))
        try:
            return self._submit(parcel, page.workers)
        except BrokenProcessPool:  # a worker died while idle
            self.kill()
            return self._submit(parcel, page.workers)

    def kill(self) -> None:
        self._pool.shutdown(wait=True, kill_workers=True)
        self._pool = self._make()

    def close(self) -> None:
        kept = _Idle(os.getpid(), self._workers, self._pool)
        with _Processes._guard:
            older, _Processes._idle = _Processes._idle, kept
        if older is not None:
            older.pool.shutdown(wait=False)

    def _submit(self, parcel: bytes, workers: int) -> list[Future[Outcome]]:
        with _interrupts_held():
            return [
                self._pool.submit(work_in_process, parcel, worker)
                for worker in range(workers)
            ]

    def _take(self) -> Any:
        with _Processes._guard:
            idle, _Processes._idle = _Processes._idle, None
        if idle is None or idle.owner != os.getpid():  # a fork took it along
            return self._make()
        if idle.workers < self._workers:
            idle.pool.shutdown(wait=False)
            return self._make()
        self._workers = idle.workers
        return idle.pool

    def _make(self) -> Any:
        with _interrupts_held():
            return ProcessPoolExecutor(
                self._workers,
                timeout=_IDLE,
                initializer=start_process,
                initargs=(os.getpid(),),
                env={name: os.environ.get(name, "1") for name in _THREAD_VARIABLES},
            )


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while processes start; it raises at the end.

    Loky would be left half started, its semaphores in /dev/shm. And the processes
    inherit the blocked signal: a terminal sends Ctrl-C to all of them, but it is
    the driver who stops them.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    held: list[tuple[int, FrameType | None]] = []
    if in_main and callable(handler):
        # Another thread may take a signal that this one blocks.
        signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    # A resource tracker unblocks the signal when it starts: start both before.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if in_main and callable(handler):
            signal.signal(signal.SIGINT, handler)
            if held:
                handler(*held[0])
