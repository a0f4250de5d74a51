"""`wyrm evaluate`: measure a saved model on other ratings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from wyrm_py.commands.options import (
    Column,
    Json,
    ModelFile,
    PositiveFrom,
    Top,
    load_recommender,
    note,
    write_json,
)
from wyrm_py.console import metrics_record, results_table
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.readers import read_ratings
from wyrm_py.data.split import positives
from wyrm_py.errors import DataError
from wyrm_py.models.hashed_ids import kinds_in_text


def evaluate(
    model: ModelFile,
    ratings: Annotated[
        Path,
        typer.Argument(metavar="RATINGS", help="Ratings that were not trained on."),
    ],
    top: Top = 10,
    positive_from: PositiveFrom = None,
    include_seen: Annotated[
        bool,
        typer.Option(
            "--include-seen", help="Rank also what users have met in training."
        ),
    ] = False,
    user_column: Column = None,
    item_column: Column = None,
    rating_column: Column = None,
    timestamp_column: Column = None,
    as_json: Json = False,
) -> None:
    """Measure how a model ranks items that users met after it was trained.

    Ratings of users and items that the model does not know are left out and counted.
    """
    recommender = load_recommender("evaluate", model)
    columns = (user_column, item_column, rating_column, timestamp_column)
    read = read_ratings(ratings, *columns, ids=kinds_in_text(recommender))
    data = positives(read, positive_from)
    test, left_out = _known(recommender, data)
    if left_out:
        note(f"{left_out:,} of {len(data):,} ratings are of unknown users or items.")
    measured = recommender.metrics(test, top, exclude_seen=not include_seen)
    if as_json:
        write_json({**metrics_record(measured), "unknown": left_out})
        return
    out = Console(highlight=False, markup=False, soft_wrap=True)
    out.print(results_table({model.name: measured}))
    out.print(
        f"Ranked the items for {measured.users:,} users in {measured.seconds:.2f} s."
    )


def _known(recommender: Any, data: Interactions) -> tuple[Interactions, int]:
    """Return the interactions of known users and items, and how many are not."""
    users = recommender.users_.codes(data.user_ids)[data.users]
    items = recommender.items_.codes(data.item_ids)[data.items]
    known = np.flatnonzero((users >= 0) & (items >= 0))
    if len(known) == 0:
        raise DataError(
            "evaluate: none of the ratings is of a user and an item that the model "
            "knows. Are the ids written as in training?"
        )
    return data.take(known), len(data) - len(known)
