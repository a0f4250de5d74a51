"""What `wyrm fit` shows: a progress bar while it trains, and a table of results."""

import time
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wyrm_py.data.ratings import Ratings
from wyrm_py.evaluation import RankingMetrics
from wyrm_py.parallel.history import History


class EpochProgress:
    """A bar over the epochs with loss and speed; only on a terminal, gone at the end.

    Parameters
    ----------
    console : Console
    epochs : int
    examples : int
        Of one epoch.
    """

    def __init__(self, console: Console, epochs: int, examples: int) -> None:
        self._examples = examples
        self._progress = Progress(
            TextColumn("Training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} epochs  {task.description}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=epochs)
        self._last = time.perf_counter()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, history: History) -> None:
        """Show the epoch that has just ended; a callback for `fit`."""
        now = time.perf_counter()
        speed = self._examples / (now - self._last)
        self._last = now
        text = f"loss {history.losses[-1]:.4f}  {speed:,.0f} examples/s"
        self._progress.update(self._task, advance=1, description=text)


def results_table(
    name: str, measured: RankingMetrics, baseline: RankingMetrics
) -> Table:
    """Return a table of the metrics of a model beside ranking by popularity."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="bold")
    top = measured.top
    for title in ("AUC", f"precision@{top}", f"recall@{top}", "MRR", f"NDCG@{top}"):
        table.add_column(title, justify="right")
    for row, metrics in ((name, measured), ("popularity", baseline)):
        values = (
            metrics.auc,
            metrics.precision,
            metrics.recall,
            metrics.mrr,
            metrics.ndcg,
        )
        table.add_row(row, *(f"{value:.4f}" for value in values))
    return table


def summary(
    data: Ratings,
    train: Ratings,
    test: Ratings,
    history: History,
    measured: RankingMetrics,
) -> str:
    """Return lines on the data, the training and the measurement."""
    workers = f"{history.workers} worker" + "s" * (history.workers != 1)
    return (
        f"{len(data):,} ratings of {data.n_users:,} users for {data.n_items:,} items: "
        f"{len(train):,} to train, {len(test):,} to test.\n"
        f"Trained {len(history.losses)} epochs in {history.seconds:.2f} s with "
        f"{workers}: {history.samples_per_second:,.0f} examples/s.\n"
        f"Ranked all unseen items for {measured.users:,} users in "
        f"{measured.seconds:.2f} s."
    )
