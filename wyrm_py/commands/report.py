"""`wyrm report`: a page about the training that made a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wyrm_py.arrayfile import read_manifest
from wyrm_py.atomic_file import require_writable
from wyrm_py.commands.options import Json, write_json, write_line
from wyrm_py.errors import DataError
from wyrm_py.parallel.history import History
from wyrm_py.report import write_report


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A model, or a checkpoint that holds its history."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File for the page.", show_default="RUN.html"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a page about a training: losses, metrics, speed of each worker, settings.

    The page is one HTML file that needs nothing else. With --json the history itself
    is printed and no page is written.
    """
    saved = read_manifest(run)["metadata"].get("history")
    if saved is None:
        raise DataError(
            f"report: {run} holds no history of a training. Models of `wyrm fit` do, "
            "and checkpoints written with `history`."
        )
    history = History.from_dict(saved)
    if as_json:
        write_json(history.to_dict())
        return
    target = require_writable(run.with_suffix(".html") if output is None else output)
    write_report(target, history, title=run.name)
    write_line(f"Wrote {target}.")
