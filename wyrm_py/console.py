"""What the commands print about a model: a table of results, lines about a run."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from wyrm_py.data.interactions import Interactions
from wyrm_py.evaluation import RankingMetrics
from wyrm_py.parallel.history import History

_COLUMNS = {
    "auc": "AUC",
    "precision": "precision@{}",
    "recall": "recall@{}",
    "mrr": "MRR",
    "ndcg": "NDCG@{}",
}
_MORE = ("f1", "map", "hit_rate", "coverage", "top", "users", "seconds")


def results_table(rows: Mapping[str, RankingMetrics]) -> Table:
    """Return a table of metrics, one model a row."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="bold")
    for title in _COLUMNS.values():
        tops = {metrics.top for metrics in rows.values()}
        table.add_column(title.format(*tops), justify="right")
    for name, metrics in rows.items():
        values = (getattr(metrics, column) for column in _COLUMNS)
        table.add_row(name, *(f"{value:.4f}" for value in values))
    return table


def metrics_record(metrics: RankingMetrics) -> dict[str, Any]:
    """Return the means as numbers by name."""
    return {name: getattr(metrics, name) for name in (*_COLUMNS, *_MORE)}


def summary(
    data: Interactions,
    train: Interactions,
    test: Interactions,
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
