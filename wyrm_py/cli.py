"""The command `wyrm`: train a recommender on a file of ratings, then ask it.

Results go to standard output, everything else to standard error. Exit codes: 0 fine,
1 the data or a file is at fault, 2 the command line is, 130 interrupted. Each command
is a file of wyrm_py/commands.
"""

import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Annotated, Any

import typer

from wyrm_py.commands import answer, benchmark, evaluate, fit, learn, report, verify
from wyrm_py.errors import SettingError, WyrmError

# What Typer raises for a wrong command line, whichever click it brings.
_UsageError: Any = typer.BadParameter.__bases__[0]

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
        command = error.ctx.command_path if error.ctx else "wyrm"
        said = f"{message.rstrip('.')}. See `{command} --help`."
        return _fail(said, 2) if message else 2
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


for _command in (
    *(fit.fit, evaluate.evaluate, answer.recommend, answer.similar),
    *(learn.learn, report.report, verify.verify, benchmark.benchmark),
):
    app.command()(_stoppable(_command))
