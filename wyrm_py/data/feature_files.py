"""Features of users or items from a table of text: one line an id."""

from __future__ import annotations

from pathlib import Path

from wyrm_py.data.delimited import BLANKS, DelimitedText, shorten, split_line
from wyrm_py.data.files import read_content
from wyrm_py.errors import DataError

SEPARATOR = "|"
"""Between several names in one text."""


def read_features(path: str | Path) -> dict[str, list[str]]:
    """Read what users or items have from delimited text, also gzipped.

    Parameters
    ----------
    path : path of a file
        The first line names the columns, of which the first holds ids. The field
        "Drama|War" of a column "genre" gives the features "genre:Drama" and
        "genre:War", an empty one none.

    Returns
    -------
    dict of str to list of str
        Names of features by the text of the id, for `item_features` or
        `user_features` of `FactorizationRecommender.fit` and `partial_fit`.

    Raises
    ------
    MissingFileError
        There is no such file.
    DataError
        The file is empty or damaged, an id comes twice, or a line has other fields
        than the first.
    """
    name = str(path)
    text = DelimitedText(name, read_content(path))
    columns = text.sample[0]
    found: dict[str, list[str]] = {}
    for count, (number, line) in enumerate(text.lines()):
        if count == 0:
            continue
        blanks = text.delimiter == BLANKS
        fields = line.split() if blanks else split_line(line, text.delimiter)
        if len(fields) != len(columns):
            raise DataError(
                f"{name}, line {number}: {len(columns)} fields are required, as in the "
                f"first line, found {shorten(line)}."
            )
        if fields[0] in found:
            raise DataError(f"{name}, line {number}: {fields[0]!r} comes twice.")
        found[fields[0]] = [
            f"{column}:{one.strip()}"
            for column, field in zip(columns[1:], fields[1:], strict=True)
            for one in field.split(SEPARATOR)
            if one.strip()
        ]
    return found
