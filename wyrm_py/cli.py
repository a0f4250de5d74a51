"""The command `wyrm`: train a recommender on a file of ratings, then ask it.

Results go to standard output, everything else to standard error. Exit codes: 0 fine,
1 the data or a file is at fault, 2 the command line is, 130 interrupted.
"""

import functools
import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console

from wyrm_py.atomic_file import require_writable
from wyrm_py.console import results_table, summary
from wyrm_py.data.readers import read_ratings
from wyrm_py.data.split import positives, random_split
from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.data.titles import read_titles
from wyrm_py.errors import SettingError, WyrmError
from wyrm_py.evaluation import popularity_metrics, ranking_metrics
from wyrm_py.models import FactorizationRecommender

# What Typer raises for a wrong command line, whichever click it brings.
_UsageError: Any = typer.BadParameter.__bases__[0]


def _option(
    panel: str, text: str, *names: str, default: str | bool = True, **more: Any
) -> Any:
    """Return a Typer option; `default` is what `--help` shows for it."""
    return typer.Option(
        *names, help=text, rich_help_panel=panel, show_default=default, **more
    )


def _training(text: str, *names: str, **settings: Any) -> Any:
    return _option("Training", text, *names, **settings)


def _measuring(text: str, **settings: Any) -> Any:
    return _option("Data and measurement", text, **settings)


_Column = Annotated[
    str | None,
    _option("Columns", "Name, or position from 0.", default="found by name"),
]

app = typer.Typer(
    name="wyrm",
    help="Train recommenders on all cores, and ask them.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Parameters
    ----------
    arguments : list of str, or None
        None takes those of the process.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code; errors become one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a title may not be in its encoding
        sys.stdout.reconfigure(errors="replace")
    try:
        return int(app(arguments, prog_name="wyrm", standalone_mode=False) or 0)
    except _UsageError as error:
        message = error.format_message()
        message = message.replace("Value error, ", "")  # Typer 0.29 has pydantic's
        return _fail(f"{message.rstrip('.')}. See `wyrm --help`.", 2) if message else 2
    except SettingError as error:
        return _fail(str(error), 2)
    except WyrmError as error:
        return _fail(str(error), 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}".rstrip(".") + ".", 1)


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Give Ctrl-C and a reader that stops early their exit codes.

    Typer answers both in its own way, which changes from version to version.
    """

    @functools.wraps(command)
    def stoppable(**arguments: Any) -> None:
        try:
            command(**arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            raise typer.Exit(_fail("interrupted; nothing was saved.", 130)) from None
        except BrokenPipeError:  # such as `head`, which has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    return stoppable


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"wyrm: {line}\n")
    return code


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"wyrm {metadata.version('wyrm-py')}\n")
        raise typer.Exit


@app.callback()
def _wyrm(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Train recommenders on all cores, and ask them."""


@app.command("fit")
@_stoppable
def fit_command(
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
        Literal["warp", "bpr", "logistic"],
        _training("Loss: WARP ranks best, the others train faster."),
    ] = "warp",
    width: Annotated[
        int, _training("Numbers per user and per item.", metavar="<int>", min=1)
    ] = 32,
    epochs: Annotated[
        int, _training("Passes over the ratings.", metavar="<int>", min=1)
    ] = 10,
    jobs: Annotated[int, _training("Workers; -1 is one a core.")] = -1,
    learning_rate: Annotated[
        float | None, _training("Of Adagrad.", default="suits the loss")
    ] = None,
    l2: Annotated[
        float | None, _training("Penalty.", "--l2", default="suits the loss")
    ] = None,
    seed: Annotated[
        int,
        _training("One seed and one job give the same model.", metavar="<int>", min=0),
    ] = 0,
    positive_from: Annotated[
        float | None,
        _measuring(
            "Lowest rating that counts as liked. What is rated lower is not trained "
            "on, nor recommended again.",
            default="all count",
        ),
    ] = None,
    test_share: Annotated[
        float, _measuring("Share of the ratings kept out of training to measure on.")
    ] = 0.2,
    user_column: _Column = None,
    item_column: _Column = None,
    rating_column: _Column = None,
    timestamp_column: _Column = None,
) -> None:
    """Train a recommender on a file of ratings, measure it and save it.

    A random part of the ratings is kept out of training, to measure how well the
    model ranks what it has not seen, beside ranking by popularity. The model that is
    saved is the one that was measured.
    """
    require_writable(output)
    if ratings is None:
        sys.stderr.write("No RATINGS given: making 100,000 with planted tastes.\n")
        data = synthetic_ratings(random_state=seed)
    else:
        columns = (user_column, item_column, rating_column, timestamp_column)
        data = read_ratings(ratings, *columns)
    seen, rest = random_split(data, test_share, seed)
    train, test = positives(seen, positive_from), positives(rest, positive_from)
    hidden, wanted = seen.csr(), test.csr()
    baseline = popularity_metrics(train.csr(), wanted, seen=hidden)  # checks the data
    recommender = FactorizationRecommender(
        model, width, epochs, learning_rate, l2, n_jobs=jobs, random_state=seed
    )
    recommender.fit(train, seen=seen, progress=True)
    tables = recommender.user_vectors_, recommender.item_vectors_
    measured = ranking_metrics(*tables, hidden, wanted, recommender.item_biases_)
    recommender.save(output)
    out = Console(highlight=False, markup=False, soft_wrap=True)
    out.print(results_table(model, measured, baseline))
    out.print(summary(data, train, test, recommender.history_, measured))
    out.print(f"Saved {output}: the model above, trained without the test ratings.")
    user = str(data.user_ids[train.users[0]])
    command = ("wyrm", "recommend", str(output), "--user", user)
    out.print(f"Try: {shlex.join(command)}")


@app.command("recommend")
@_stoppable
def recommend_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="File made by `wyrm fit`.")
    ],
    user: Annotated[str, typer.Option(help="Id of the user, as in the ratings.")],
    top: Annotated[
        int, typer.Option(metavar="<int>", min=1, help="Number of items.")
    ] = 10,
    titles: Annotated[
        Path | None,
        typer.Option(
            help="File with ids and titles in its first two columns, or under a header."
        ),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items the user has rated.")
    ] = False,
) -> None:
    """Print a user's best unseen items, one a line: id, score, title, cut by tabs."""
    recommender = FactorizationRecommender.load(model)
    names = {} if titles is None else read_titles(titles)
    code = recommender.users_.find(user)
    best = recommender.recommend(
        recommender.users_.take([code])[0], top, not include_seen
    )
    for item, score in zip(*best, strict=True):
        if score == -np.inf:  # there are no more
            break
        fields = [str(item), f"{score:.4f}"]
        if titles is not None:
            fields.append(names.get(str(item), "?"))
        sys.stdout.write("\t".join(fields) + "\n")
