"""Options that several commands share, and their two kinds of output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wyrm_py.errors import DataError


def option(
    panel: str | None, text: str, *names: str, default: str | bool = True, **more: Any
) -> Any:
    """Return a Typer option; `default` is what `--help` shows for it."""
    return typer.Option(
        *names, help=text, rich_help_panel=panel, show_default=default, **more
    )


def training(text: str, *names: str, **settings: Any) -> Any:
    """Return an option of training."""
    return option("Training", text, *names, **settings)


def measuring(text: str, *names: str, **settings: Any) -> Any:
    """Return an option of what data there is and how a model is measured on it."""
    return option("Data and measurement", text, *names, **settings)


Column = Annotated[
    str | None, option("Columns", "Name, or position from 0.", default="found by name")
]
Json = Annotated[
    bool, option(None, "Print one JSON object instead.", "--json", default=False)
]
ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL", help="File made by `wyrm fit` or `learn`.")
]
Jobs = Annotated[int, training("Workers; -1 is one a core.")]
PositiveFrom = Annotated[
    float | None,
    measuring(
        "Lowest rating that counts as liked. What is rated lower is not trained on, "
        "nor recommended again.",
        default="all count",
    ),
]
Seed = Annotated[
    int,
    training("One seed and one job give the same model.", metavar="<int>", min=0),
]
Top = Annotated[
    int, option(None, "Number of items.", "--top", "-n", metavar="<int>", min=1)
]
Titles = Annotated[
    Path | None,
    option(
        None,
        "File with ids and titles in its first two columns, or under a header.",
        default=False,
    ),
]


def load_recommender(who: str, path: Path) -> Any:
    """Return the model of a file, or raise a DataError if it recommends nothing."""
    from wyrm_py.models import load

    found = load(path)
    if not hasattr(found, "recommend"):
        raise DataError(
            f"{who}: {path} holds a {type(found).__name__}, a recommender is required. "
            "Give a file made by `wyrm fit` or `wyrm learn`."
        )
    return found


def write_line(text: str) -> None:
    """Write a line of results to standard output."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Write a line that is no result to standard error."""
    sys.stderr.write(text + "\n")


def write_json(record: Mapping[str, Any]) -> None:
    """Write one object; numbers that JSON does not have become null."""
    write_line(json.dumps(_plain(record), ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's numbers as numbers, ids as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
