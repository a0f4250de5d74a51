"""What `wyrm fit` prints: a table of results, and lines about the run."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from wyrm_py.data.interactions import Interactions
from wyrm_py.evaluation import RankingMetrics
from wyrm_py.parallel.history import History


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
