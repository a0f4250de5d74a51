"""`wyrm fit`: train a recommender on a file of ratings, measure it, save it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from wyrm_py.atomic_file import require_writable
from wyrm_py.commands.options import (
    Column,
    Jobs,
    Json,
    PositiveFrom,
    Seed,
    measuring,
    note,
    training,
    write_json,
)
from wyrm_py.console import metrics_record, results_table, summary
from wyrm_py.data.readers import read_ratings
from wyrm_py.data.split import leave_out_split, positives, random_split
from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.evaluation import popularity_metrics
from wyrm_py.report import write_report

SEQUENCES = ("ewma", "pooling", "gru", "lstm")


def fit(
    ratings: Annotated[
        Path | None,
        typer.Argument(
            metavar="RATINGS",
            help="CSV, TSV, other delimited text or Parquet, also gzipped; without a "
            "header: user, item, rating, timestamp. Left out, 100,000 synthetic "
            "ratings are made.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File for the model.")
    ] = Path("model.wyrm"),
    model: Annotated[
        Literal[
            "warp",
            "bpr",
            "logistic",
            "hinge",
            "warp-kos",
            "squared",
            "ewma",
            "pooling",
            "gru",
            "lstm",
        ],
        training(
            "Matrix factorisation by its loss: WARP ranks best, BPR, hinge and "
            "logistic train faster, squared predicts ratings. Or a model of the order "
            "of a user's items, trained with WARP: ewma is the quickest of them. "
            "One of warp, bpr, logistic, hinge, warp-kos, squared, ewma, pooling, "
            "gru, lstm.",
            metavar="<name>",
        ),
    ] = "warp",
    width: Annotated[
        int, training("Numbers per user and per item.", metavar="<int>", min=1)
    ] = 32,
    epochs: Annotated[
        int, training("Passes over the ratings.", metavar="<int>", min=1)
    ] = 10,
    jobs: Jobs = -1,
    learning_rate: Annotated[
        float | None, training("Of Adagrad.", default="suits the model")
    ] = None,
    l2: Annotated[
        float | None, training("Penalty.", "--l2", default="suits the model")
    ] = None,
    seed: Seed = 0,
    positive_from: PositiveFrom = None,
    test_share: Annotated[
        float,
        measuring(
            "Share of the ratings kept out of training to measure on; with a model "
            "of the order it is each user's last item instead."
        ),
    ] = 0.2,
    report: Annotated[
        Path | None,
        measuring("File for a report of the run, HTML.", metavar="FILE", default=False),
    ] = None,
    user_column: Column = None,
    item_column: Column = None,
    rating_column: Column = None,
    timestamp_column: Column = None,
    as_json: Json = False,
) -> None:
    """Train a recommender on a file of ratings, measure it and save it.

    A part of the ratings is kept out of training, to measure how well the model ranks
    what it has not seen, beside ranking by popularity. The model that is saved is the
    one that was measured.
    """
    from wyrm_py.models import FactorizationRecommender, SequenceRecommender

    for path in (output, report):
        if path is not None:
            require_writable(path)
    if ratings is None:
        note("No RATINGS given: making 100,000 with planted tastes.")
        data = synthetic_ratings(random_state=seed)
    else:
        columns = (user_column, item_column, rating_column, timestamp_column)
        data = read_ratings(ratings, *columns)
    ordered = model in SEQUENCES
    seen, rest = (
        leave_out_split(data, 1, latest=data.timestamps is not None)
        if ordered
        else random_split(data, test_share, seed)
    )
    train, test = positives(seen, positive_from), positives(rest, positive_from)
    baseline = popularity_metrics(  # checks the data
        train.csr(), test.csr(), seen=seen.csr()
    )
    settings: dict[str, Any] = {
        "width": width,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "l2": l2,
        "n_jobs": jobs,
        "backend": "threads",  # as fast as processes, and a second sooner at work
        "random_state": seed,
    }
    recommender: Any
    if ordered:
        recommender = SequenceRecommender(model=model, **settings)
        recommender.fit(train, progress=True)
    else:
        recommender = FactorizationRecommender(loss=model, **settings)
        recommender.fit(train, seen=seen, progress=True)
    measured = recommender.metrics(test)
    recommender.save(output)
    if report is not None:
        write_report(report, recommender.history_, title=f"wyrm fit, {model}")
    user = str(train.user_ids[train.users[0]])
    if as_json:
        record = {"model": model, "file": str(output), "epochs": epochs, "user": user}
        record |= {"train": len(train), "test": len(test)}
        record |= {"seconds": recommender.history_.seconds}
        record |= {"losses": recommender.history_.losses}
        record |= {"metrics": metrics_record(measured)}
        write_json(record | {"popularity": metrics_record(baseline)})
        return
    out = Console(highlight=False, markup=False, soft_wrap=True)
    out.print(results_table({model: measured, "popularity": baseline}))
    out.print(summary(data, train, test, recommender.history_, measured))
    out.print(f"Saved {output}: the model above, trained without the test ratings.")
    if report is not None:
        out.print(f"Report: {report}")
    command = ("wyrm", "recommend", str(output), "--user", user)
    out.print(f"Try: {shlex.join(command)}")
