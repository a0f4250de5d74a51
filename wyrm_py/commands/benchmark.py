"""`wyrm benchmark`: how fast this machine trains and answers."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from wyrm_py.commands.options import Json, note, write_json
from wyrm_py.data.split import random_split
from wyrm_py.data.synthetic import synthetic_ratings

QUERIES = 50


def benchmark(
    losses: Annotated[
        list[str] | None,
        typer.Option("--model", help="Loss to train.", show_default="warp and bpr"),
    ] = None,
    ratings: Annotated[
        int, typer.Option(help="Synthetic ratings.", metavar="<int>", min=1000)
    ] = 200_000,
    epochs: Annotated[
        int, typer.Option(help="Passes over them.", metavar="<int>", min=1)
    ] = 5,
    jobs: Annotated[
        list[int] | None,
        typer.Option(help="Workers to measure with.", show_default="1 and all cores"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train on synthetic ratings and print speed, quality and time to answer.

    For comparisons with other libraries see `scripts/benchmark` of the source.
    """
    data = synthetic_ratings(ratings, random_state=0)
    train, test = random_split(data, 0.2, 0)
    cores = os.cpu_count() or 1
    found = []
    for loss in losses or ["warp", "bpr"]:
        for workers in jobs or sorted({1, cores}):
            note(f"{loss}, {workers} worker{'s' * (workers != 1)} ...")
            found.append(_measure(loss, workers, epochs, train, test))
    if as_json:
        write_json({"ratings": ratings, "cores": cores, "runs": found})
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("model", "workers", "examples/s", "ns an example", "AUC", "answer"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for run in found:
        table.add_row(
            run["model"],
            str(run["workers"]),
            f"{run['examples_per_second']:,.0f}",
            f"{1e9 / run['examples_per_second']:.0f}",
            f"{run['auc']:.4f}",
            f"{run['answer_ms']:.2f} ms",
        )
    out = Console(highlight=False, markup=False, soft_wrap=True)
    out.print(table)
    out.print(
        f"{len(train):,} ratings to train, width 32, {epochs} epochs, {cores} cores; "
        "answer: the best 10 items for one user."
    )


def _measure(
    loss: str, workers: int, epochs: int, train: Any, test: Any
) -> dict[str, Any]:
    from wyrm_py.models import FactorizationRecommender

    model = FactorizationRecommender(
        loss=loss, epochs=epochs, n_jobs=workers, backend="threads", random_state=0
    )
    model.fit(train)
    users = train.user_ids[np.linspace(0, train.n_users - 1, QUERIES).astype(int)]
    model.recommend(users[0])  # compiles
    times = []
    for user in users:
        began = time.perf_counter()
        model.recommend(user)
        times.append(time.perf_counter() - began)
    return {
        "model": loss,
        "workers": workers,
        "examples_per_second": model.history_.samples_per_second,
        "auc": model.metrics(test).auc,
        "answer_ms": float(np.median(times)) * 1000,
    }
