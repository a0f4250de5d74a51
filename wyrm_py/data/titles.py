"""Titles of items by id, from a file such as MovieLens' `u.item`."""

from pathlib import Path

from wyrm_py.data.delimited import (
    BLANKS,
    DelimitedText,
    shorten,
    split_line,
)
from wyrm_py.data.files import read_content
from wyrm_py.data.roles import USUAL_NAMES, plain_name
from wyrm_py.errors import DataError

_TITLE_NAMES = frozenset({"title", "name", "movietitle", "itemname", "label"})


def read_titles(path: str | Path) -> dict[str, str]:
    """Read titles from delimited text, also gzipped, in UTF-8 or Latin-1.

    Parameters
    ----------
    path : path of a file
        A header names the columns of ids and of titles ("title" or "name");
        otherwise they are the first two, cut by any delimiter `read_ratings` takes.

    Returns
    -------
    dict of str to str
        Title by the text of the id.

    Raises
    ------
    MissingFileError
        There is no such file.
    DataError
        The file is empty or damaged, or a line has no title.
    """
    name, content = str(path), read_content(path)
    try:
        content.decode("utf-8")
        text = DelimitedText(name, content)
    except UnicodeDecodeError:
        text = DelimitedText(name, content, encoding="latin-1")
    columns = _columns(text.sample[0])
    titles: dict[str, str] = {}
    for count, (number, line) in enumerate(text.lines()):
        if count == 0 and columns:
            continue
        if text.delimiter == BLANKS:  # a title has blanks of its own
            fields = line.split(maxsplit=1)
        else:
            fields = split_line(line, text.delimiter)
        item, title = columns or (0, 1)
        if max(item, title) >= len(fields):
            raise DataError(
                f"{name}, line {number}: an id and a title are required, found "
                f"{shorten(line)}. Correct the line or leave it out."
            )
        titles[fields[item]] = fields[title]
    return titles


def _columns(header: list[str]) -> tuple[int, int] | None:
    """Return the columns of ids and titles if the line is a header."""
    names = [plain_name(field) for field in header]
    titles = [k for k, name in enumerate(names) if name in _TITLE_NAMES]
    items = [k for k, name in enumerate(names) if name in USUAL_NAMES["item"] | {"id"}]
    items = [k for k in items if k not in titles]
    return (items[0], titles[0]) if items and titles else None
