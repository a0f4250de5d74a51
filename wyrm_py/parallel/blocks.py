"""Run a task block by block on any number of workers.

Knows nothing of graphs: a task opens itself in each worker and then runs blocks,
of 0.1 to 300 ms each. The driver hands out blocks, counts losses, calls back in the
calling thread, replaces workers that die and stops everything on an error, on
Ctrl-C, or when a loss is no longer finite.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

import numpy as np

from wyrm_py.parallel.page import ControlPage, Done
from wyrm_py.parallel.pools import (
    Backend,
    Pool,
    effective_backend,
    make_pool,
    resolve_jobs,
)
from wyrm_py.parallel.tally import SHOW, BlockReport, Deaths, Tally
from wyrm_py.parallel.workers import Outcome, Task, WorkerTraceback
from wyrm_py.progress import Progress

__all__ = ["BlockReport", "run_blocks"]


def run_blocks(
    task: Task,
    *,
    blocks: int,
    epochs: int,
    n_jobs: int = 1,
    backend: Backend = "processes",
    on_progress: Callable[[Progress], object] | None = None,
    on_epoch: Callable[[int, float], bool | None] | None = None,
    on_block: Callable[[Callable[[], Done]], object] | None = None,
    done: Done | None = None,
    report: BlockReport | None = None,
) -> BlockReport:
    """Do every block of every epoch, at least once each.

    Exactly once, in fact, unless a worker dies: then the blocks that were being
    worked on are done again.

    Parameters
    ----------
    task : Task
        `task.open(worker)` gives the function that runs `(epoch, block)` and returns
        the block's sum of losses and sum of weights. Is pickled for processes.
    blocks : int
        Blocks of one epoch.
    epochs : int
    n_jobs : int
        Workers; negative ones count from all cores (-1). One worker runs in the
        calling thread and takes the blocks in order. More take them in order of
        demand, and go on to the next epoch while the last blocks of one end.
    backend : {"processes", "threads"}
        Inside a worker of joblib, threads in any case.
    on_progress : callable, optional
        Called with a `Progress` some times a second, and at the end.
    on_epoch : callable, optional
        Called with epoch and mean loss after each epoch, while all workers wait;
        true ends the run. All callbacks run in the calling thread.
    on_block : callable, optional
        Called again and again between blocks with a function that gives the done
        blocks of the epoch under way: while one worker waits, while several go on.
    done : mapping of int to (float, float), optional
        Blocks of the first epoch that are not to be done again, with what they gave.
    report : BlockReport, optional
        Filled while the run goes on, for callbacks to look at, and returned.

    Raises
    ------
    SettingError
        If `n_jobs` or `backend` is impossible.
    WorkerLostError
        If workers died `MAX_REPEATS` times and once more over the same block, or
        before they did any.
    Exception
        Whatever the task or a callback raised, after all workers have stopped.
    """
    jobs = min(resolve_jobs(n_jobs), blocks)
    backend = effective_backend(backend)
    report = report or BlockReport()
    tally = Tally(blocks, epochs, on_progress, on_epoch, on_block, report)
    if blocks and epochs:
        report.workers = jobs
        if jobs == 1:
            _run_here(task, tally, done or {})
        else:
            _run_on_workers(task, tally, backend, done or {})
    return report


def _run_here(task: Task, tally: Tally, before: Done) -> None:
    """Run all blocks in order in the calling thread."""
    run = task.open(0)
    sums = np.zeros((tally.blocks, 2))
    done, worked = 0, 0.0

    def total() -> tuple[float, float]:
        loss, weight = sums[:done].sum(axis=0)
        return float(loss), float(weight)

    def finished() -> Done:
        blocks = {*range(done), *(before if tally.epoch == 0 else ())}
        return {
            block: (float(sums[block, 0]), float(sums[block, 1]))
            for block in sorted(blocks)
        }

    began = time.monotonic()
    ended = began
    tally.clock = lambda: ended - began
    tally.shares = lambda: ([worked], [max(0.0, tally.clock() - tally.excluded)])
    for block, given in before.items():
        sums[block] = given
    for ticket in range(tally.epochs * tally.blocks):
        epoch, block = divmod(ticket, tally.blocks)
        if epoch or block not in before:
            sums[block] = run(epoch, block)
            worked += sums[block, 1]
        done = block + 1
        ended = time.monotonic()
        if not np.isfinite(sums[block, 0]):
            tally.report.diverged = (epoch, block)
            break
        tally.show(done, total)
        if done == tally.blocks:
            loss, weight = total()
            done = 0
            if tally.end_epoch(loss, weight):
                break
        tally.end_block(finished)
    tally.report.seconds = ended - began
    tally.finish(done, total)


def _run_on_workers(task: Task, tally: Tally, backend: Backend, before: Done) -> None:
    """Run all blocks on a pool, replacing workers that die."""
    report = tally.report
    page = ControlPage.create(
        tally.blocks, tally.epochs, report.workers, stepwise=tally.on_epoch is not None
    )
    page.mark(before)
    pool = make_pool(backend, report.workers)
    deaths = Deaths()
    spent = 0.0
    tally.clock = lambda: spent + page.seconds()
    tally.shares = lambda: (page.examples.tolist(), page.busy.tolist())
    try:
        redo: list[int] = []
        while True:
            page.prepare(redo)
            died = _attempt(task, page, tally, pool)
            spent += page.seconds()
            report.seconds = spent
            report.diverged = page.diverged
            if report.stopped or report.diverged or tally.epoch == tally.epochs:
                break
            redo = page.unfinished(tally.epoch)
            deaths.count(redo, page, died)
            report.restarts += 1
    finally:
        pool.close()
    done = page.done(tally.epoch) if tally.epoch < tally.epochs else 0
    tally.finish(done, lambda: page.sums(tally.epoch))


def _attempt(task: Task, page: ControlPage, tally: Tally, pool: Pool) -> str:
    """Run workers until all have ended; return how they ended, for a message."""
    try:
        futures = pool.start(task, page)
    except BaseException:
        page.stop()
        pool.kill()
        raise
    try:
        _watch(futures, page, tally)
    except BaseException:
        page.stop()
        _settle(futures, pool)
        raise
    died = ""
    outcomes: list[Outcome] = []
    for future in futures:
        error = future.exception()
        if error is None:
            outcomes.append(future.result())
        elif isinstance(error, pool.lost):
            codes = re.search(r"{.*}", str(error))
            died = f"exit codes {codes.group()}" if codes else str(error)
        else:
            raise error
    for outcome in outcomes:
        if outcome.error is not None:
            _raise(outcome)
    if died:
        pool.kill()  # whoever is left must not touch the page any more
    exits = [outcome.exit for outcome in outcomes if outcome.exit]
    return died or ", ".join(exits) or "none died"


def _raise(outcome: Outcome) -> None:
    error = outcome.error
    if error is None:
        return
    if error.__traceback__ is None:  # it comes from another process
        raise error from WorkerTraceback(outcome.trace)
    raise error


def _watch(futures: Sequence[Future[Outcome]], page: ControlPage, tally: Tally) -> None:
    """Collect epochs and tell the callbacks until all workers have ended."""
    while True:
        running = [future for future in futures if not future.done()]
        _collect(page, tally)
        if not running:
            return
        if any(f.done() and f.exception() is not None for f in futures):
            page.stop()
        if tally.epoch < tally.epochs:
            sums = functools.partial(page.sums, tally.epoch)
            tally.show(page.done(tally.epoch), sums)
            tally.tell(functools.partial(page.done_blocks, tally.epoch))
        # Workers wait at the end of an epoch only for on_epoch: then look soon, at
        # a cost that stays in proportion to the length of the epoch.
        elapsed = time.monotonic() - tally.epoch_began
        eager = min(max(1e-4, elapsed / 20), 0.02)
        wait(running, timeout=SHOW / 2 if tally.on_epoch is None else eager)


def _collect(page: ControlPage, tally: Tally) -> None:
    """Count the epochs that are complete, before any whose loss is not finite."""
    while tally.epoch < tally.epochs and page.done(tally.epoch) == page.blocks:
        epoch, diverged = tally.epoch, page.diverged  # told before it is marked done
        if diverged is not None and diverged[0] <= epoch:
            return
        if stops := tally.end_epoch(*page.sums(epoch)):
            page.stop()  # before the release: workers that wait must see it
        page.release(epoch)
        if stops:
            return


def _settle(futures: Sequence[Future[Outcome]], pool: Pool) -> None:
    """Wait until workers have ended their block; a second Ctrl-C kills them."""
    try:
        wait(futures)
    except KeyboardInterrupt:
        pool.kill()
        raise
