"""What runs in a worker: one call for a whole run, from the first block to the last.

A worker never raises: it returns an `Outcome`, so that the others can end their
block in peace and the pool stays warm. A worker process ends with its parent.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
import traceback
from typing import NamedTuple, Protocol

from wyrm_py.parallel.page import ControlPage

_WATCH = 0.5  # seconds between two looks at the parent

_is_worker = False


class Run(Protocol):
    """One block of one epoch, run to its end."""

    def __call__(self, epoch: int, block: int) -> tuple[float, float]:
        """Return the sum of losses and the sum of weights of the block."""


class Task(Protocol):
    """What a run does; sent to every worker, so it must pickle (as handles)."""

    def open(self, worker: int) -> Run:
        """Make ready to run blocks: load functions, attach memory."""


class Outcome(NamedTuple):
    """How a worker ended: well, by an exception, or by an exit."""

    error: BaseException | None = None
    trace: str = ""  # the worker's traceback
    exit: str = ""  # what the worker exited with


class WorkerTraceback(Exception):
    """Cause of an exception that came from another process: its traceback there."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


def work(task: Task, page: ControlPage, worker: int) -> Outcome:
    """Run blocks until there are no more or a stop is asked for."""
    try:
        if not page.stopped:
            _work(task, page, worker)
        return Outcome()
    except SystemExit as error:
        page.stop()
        return Outcome(exit=f"SystemExit({error.code!r})")
    except BaseException as error:
        page.stop()
        return Outcome(error, traceback.format_exc())


def work_in_process(parcel: bytes, worker: int) -> Outcome:
    """Unpack task and page here, where a stale handle is an ordinary error."""
    try:
        task, page = pickle.loads(parcel)
    except Exception as error:
        return _portable(Outcome(error, traceback.format_exc()))
    return _portable(work(task, page, worker))


def start_process(parent: int) -> None:
    """Prepare a fresh worker process: it shall not outlive its parent."""
    global _is_worker
    _is_worker = True
    # Not PR_SET_PDEATHSIG: that follows the thread which started the worker, not
    # the process, and would end warm workers together with a short-lived thread.
    threading.Thread(
        target=_end_with, args=(parent,), name="wyrm_py watch", daemon=True
    ).start()


def in_worker_process() -> bool:
    """Tell whether this process is one of our workers."""
    return _is_worker


def _work(task: Task, page: ControlPage, worker: int) -> None:
    run = task.open(worker)
    lock = page.lock()
    page.start_together(worker)
    while not page.stopped and (ticket := page.claim(lock)) is not None:
        epoch, block = divmod(ticket, page.blocks)
        page.wait_for_epoch(epoch)
        if page.stopped:
            break
        if page.is_done(epoch, block):
            continue
        began = time.monotonic()
        loss, weight = run(epoch, block)
        page.finish(worker, ticket, float(loss), float(weight), began)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)


def _portable(outcome: Outcome) -> Outcome:
    """Replace an exception that does not survive pickling by one that does."""
    error = outcome.error
    if error is None:
        return outcome
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RuntimeError(f"{type(error).__qualname__}: {error}")
        for note in getattr(error, "__notes__", ()):
            plain.add_note(note)
        return outcome._replace(error=plain)
    return outcome
