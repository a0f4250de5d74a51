"""`wyrm learn`: learn from events as they come in, line by line."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wyrm_py.atomic_file import require_writable
from wyrm_py.commands.options import Column, Json, note, training, write_json
from wyrm_py.data.feature_files import read_features
from wyrm_py.errors import DataError

if TYPE_CHECKING:
    from wyrm_py.models import FactorizationRecommender
    from wyrm_py.models.progressive import Progress


Features = Annotated[
    Path | None,
    training(
        "Table of text, ids in its first column; the others are features of those "
        'who are new, several in one field with "|" between. The first line names '
        "them.",
        metavar="<file>",
        default=False,
    ),
]


def learn(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="EVENTS",
            help="File of events; left out, they are read from standard input. Lines "
            "of CSV, TSV or JSON, or Parquet: user, item, rating, timestamp.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File for the model.")
    ] = Path("model.wyrm"),
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Model to go on from, of `wyrm fit` or `wyrm learn`; its settings "
            "stand.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Literal["bpr", "warp", "logistic", "hinge", "squared"],
        training("Loss; squared learns the ratings, the others that items were met."),
    ] = "bpr",
    width: Annotated[
        int, training("Numbers per user and per item.", metavar="<int>", min=1)
    ] = 32,
    learning_rate: Annotated[
        float | None, training("Of Adagrad.", default="suits the model")
    ] = None,
    half_life: Annotated[
        int | None,
        training(
            "Events after which what was learned counts half: for tastes that change.",
            default="never",
            metavar="<int>",
            min=1,
        ),
    ] = None,
    user_features: Features = None,
    item_features: Features = None,
    seed: Annotated[
        int, training("One seed gives one model.", metavar="<int>", min=0)
    ] = 0,
    every: Annotated[
        int,
        typer.Option(help="Events between two reports.", metavar="<int>", min=1),
    ] = 100_000,
    save_every: Annotated[
        float | None,
        typer.Option(
            help="Seconds between two saves.", show_default="at the end only", min=0.0
        ),
    ] = None,
    user_column: Column = None,
    item_column: Column = None,
    rating_column: Column = None,
    timestamp_column: Column = None,
    as_json: Json = False,
) -> None:
    """Learn from a stream of events, each once, and save the model.

    Users, items and features never seen before get rows of their own. Each event is
    predicted before it is learned from: the figures that are printed are of a model
    that had not seen the events. Ctrl-C and SIGTERM save and end.
    """
    from wyrm_py.models.learn_lines import learn_lines

    require_writable(output)
    recommender = _first(start, model, width, learning_rate, seed)
    if half_life is not None:
        recommender.begin_stream(half_life=half_life)

    reported = 0, 0.0

    def show(progress: Progress) -> None:
        nonlocal reported
        record = _record(progress, *reported)
        reported = progress.events, progress.seconds
        if as_json:
            write_json(record)
            sys.stdout.flush()
        else:
            sys.stdout.write(_line(record) + "\n")
            sys.stdout.flush()

    columns: dict[str, Any] = {
        "user": user_column,
        "item": item_column,
        "rating": rating_column,
        "timestamp": timestamp_column,
    }
    given = sys.stdin.buffer if source is None else source
    try:
        learn_lines(
            recommender,
            given,
            output,
            every=every,
            save_every=save_every,
            report=show,
            user_features=_by_text(user_features),
            item_features=_by_text(item_features),
            **columns,
        )
    except KeyboardInterrupt:
        learned = recommender.__sklearn_is_fitted__() and recommender.progress_.events
        what = f"saved {output}" if learned else "nothing was saved"
        note(f"wyrm: interrupted; {what}.")
        raise typer.Exit(130) from None
    if not as_json:
        note(f"Saved {output}.")


def _by_text(path: Path | None) -> Callable[[object], list[str] | None] | None:
    """Return what the features of an id are found by, whatever its type."""
    if path is None:
        return None
    rows = read_features(path)
    return lambda one: rows.get(str(one))


def _first(
    start: Path | None, loss: str, width: int, rate: float | None, seed: int
) -> FactorizationRecommender:
    from wyrm_py.models import FactorizationRecommender, load

    if start is None:
        return FactorizationRecommender(
            loss=loss, width=width, learning_rate=rate, random_state=seed
        )
    found = load(start)
    if not isinstance(found, FactorizationRecommender):
        raise DataError(
            f"learn: {start} holds a {type(found).__name__}; only matrix factorisation "
            "learns from streams of events."
        )
    return found


def _record(progress: Progress, events: int, seconds: float) -> dict[str, Any]:
    """Return the running figures by name; the speed is that since an earlier one."""
    figures = {
        "loss": progress.loss.recent,
        "auc": progress.auc.recent,
        "hit_rate": progress.hit_rate.recent,
    }
    took = progress.seconds - seconds
    speed = (progress.events - events) / took if took > 0 else math.nan
    counts = {"users": progress.users, "items": progress.items}
    return {
        "events": progress.events,
        **counts,
        **{name: value for name, value in figures.items() if not math.isnan(value)},
        "events_per_second": speed,
    }


def _line(record: dict[str, Any]) -> str:
    """Return the figures as one line to read."""
    names = {"auc": "AUC", "hit_rate": "hit rate", "loss": "loss"}
    counts = (
        f"{record['events']:,} events, {record['users']:,} users, "
        f"{record['items']:,} items"
    )
    figures = [f"{names[name]} {record[name]:.4f}" for name in names if name in record]
    speed = f"{record['events_per_second']:,.0f} events/s"
    return ", ".join([counts, *figures, speed])
