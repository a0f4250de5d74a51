"""`wyrm verify`: whether a file is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wyrm_py.arrayfile import verify as verify_file
from wyrm_py.commands.options import Json, write_json, write_line


def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file that wyrm_py wrote.")
    ],
    as_json: Json = False,
) -> None:
    """Check every byte of a model or a checkpoint against its SHA-256 sums.

    Loading a model checks its header, sizes and manifest only, so that it takes
    milliseconds whatever the size. Exit code 0: the file is whole; 1: it is not.
    """
    manifest = verify_file(file)
    size = file.stat().st_size
    kind = manifest["metadata"].get("kind", "parameters")
    if as_json:
        record = {"file": str(file), "kind": kind, "bytes": size}
        write_json(record | {"arrays": len(manifest["tensors"]), "whole": True})
        return
    write_line(
        f"{file} is whole: {kind}, {len(manifest['tensors'])} arrays, {size:,} bytes, "
        f"written by wyrm_py {manifest['library']}."
    )
