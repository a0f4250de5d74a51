"""Read ratings from a file: delimited text of any common kind, or Parquet.

The kind is told from the content, not from the name: both may be gzipped. Text goes
through delimited.py, the meaning of the columns through roles.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from wyrm_py.data.delimited import DelimitedText, shorten
from wyrm_py.data.events import LATEST, Events
from wyrm_py.data.files import read_content
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.roles import ROLES, Wanted, find_columns, is_header, is_number
from wyrm_py.data.tables import table_events
from wyrm_py.errors import DataError, MissingColumnError, SettingError, WyrmError

IdKind = Literal["str", "int"]
IdKinds = IdKind | tuple[IdKind, IdKind]

_LARGEST = float(np.finfo(np.float32).max)


def read_ratings(
    path: str | Path,
    user: Wanted = None,
    item: Wanted = None,
    rating: Wanted = None,
    timestamp: Wanted = None,
    weight: Wanted = None,
    ids: IdKinds = "str",
) -> Interactions:
    """Read ratings from CSV, TSV, other delimited text or Parquet, also gzipped.

    Parameters
    ----------
    path : path of a file
        Text is UTF-8; its fields are cut by tabs, commas, semicolons, '|', '::' or
        runs of blanks, found from the first lines. A first line that does not parse
        as data is a header.
    user, item, rating, timestamp, weight : str, int or None
        Name or position (from 0) of the column. By default usual names such as
        `userId` are recognised; without a header the order is user, item, rating,
        timestamp. Without a rating column every rating is 1.0. Weights are only read
        when they are asked for.
    ids : "str", "int", or a pair of them, of users and items
        What ids in a text file are; those in Parquet are as stored.

    Returns
    -------
    Interactions

    Raises
    ------
    MissingFileError
        There is no such file.
    MissingColumnError
        A column is not there; the message lists those there are.
    DataError
        The file is empty or damaged, or a line is malformed (another number of
        fields, no id, a rating that is NaN or no number); the message names file and
        line.
    SettingError
        `ids` is none of these.
    """
    kinds = id_kinds("read_ratings", ids)
    wanted = dict(zip(ROLES, (user, item, rating, timestamp, weight), strict=True))
    content = read_content(path)
    if content.startswith(b"PAR1"):
        return _from_parquet(str(path), content, wanted)
    return parse_ratings(DelimitedText(str(path), content), wanted, kinds)


def id_kinds(who: str, ids: IdKinds) -> dict[str, IdKind]:
    """Return what the ids of each role are in text, or raise a SettingError."""
    pair = (ids, ids) if isinstance(ids, str) else ids
    options = get_args(IdKind)
    both = isinstance(pair, tuple | list) and len(pair) == 2
    if not both or any(kind not in options for kind in pair):
        raise SettingError(
            f"{who}: ids must be one of {', '.join(map(repr, options))}, or a pair of "
            f"them for users and items, got {ids!r}."
        )
    return dict(zip(("user", "item"), pair, strict=True))


def parse_ratings(
    text: DelimitedText, wanted: dict[str, Wanted], kinds: Mapping[str, IdKind]
) -> Interactions:
    """Return the ratings of a text; `wanted` has a name or position for each role.

    Raises
    ------
    MissingColumnError, DataError
        As for `read_ratings`.
    """
    places, header = text_places(text, wanted)
    return Interactions.from_chunks([text_events(text, places, int(header), kinds)])


def text_places(
    text: DelimitedText, wanted: dict[str, Wanted]
) -> tuple[dict[str, int], bool]:
    """Return the position of each role's column, and whether there is a header.

    Raises
    ------
    MissingColumnError
        A column is not there.
    DataError
        The header is malformed.
    """
    header = is_header(text.sample, wanted)
    names = text.sample[0] if header else None
    if names is not None and len(names) != text.width:
        text.explain(1, lambda _fields, _line: None)
    try:
        return find_columns(text.name, names, text.width, wanted), header
    except MissingColumnError as error:
        if header and not any(isinstance(want, str) for want in wanted.values()):
            because = "Line 1 is taken as a header since it does not parse as data."
            raise MissingColumnError(f"{error} {because}") from None
        raise


def text_events(
    text: DelimitedText,
    places: dict[str, int],
    skip: int,
    kinds: Mapping[str, IdKind],
) -> Events:
    """Return the events of a text: ids without the blanks around them.

    Parameters
    ----------
    places : dict of role to position
    skip : int
        1 where the first line that is not empty is a header, else 0.
    kinds : dict of "user" and "item" to "str" or "int"

    Raises
    ------
    DataError
        There are none, or a line is malformed; the message names it.
    """
    try:
        table = text.columns(list(places.values()), skip).rename_columns(list(places))
        if table.num_rows == 0:
            raise DataError(f"{text.name} has no ratings, only a header.")
        columns = dict(zip(places, table.columns, strict=True))
        for role in ("user", "item"):
            columns[role] = pc.utf8_trim_whitespace(columns[role])
            if pc.any(pc.equal(columns[role], "")).as_py():
                raise DataError(f"the {role} is empty")
            if kinds[role] == "int":
                columns[role] = columns[role].cast(pa.int64())
        return table_events(text.name, columns, first=1)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, WyrmError) as error:

        def fault(fields: list[str], line: str) -> str | None:
            required = _requirement(fields, places, kinds)
            return required and f"{required}, found {shorten(line)}"

        text.explain(skip, fault)
        if isinstance(error, DataError):
            raise
        raise DataError(f"{text.name} cannot be read: {error}") from error


def _requirement(
    fields: list[str], places: dict[str, int], kinds: Mapping[str, IdKind]
) -> str | None:
    """Return what the fields of a line ought to have and do not, or None."""
    value = {role: fields[place] for role, place in places.items()}
    for role in ("user", "item"):
        if not value[role]:
            return f"an id of the {role} is required"
        if kinds[role] == "int" and not _is_whole(value[role]):
            return f"a whole number below 2**63 is required as id of the {role}"
    rating = value.get("rating", "1")
    if not is_number(rating) or not abs(float(rating)) <= _LARGEST:
        return "a finite number is required as rating"
    weight = value.get("weight", "1")
    if not is_number(weight) or not 0 <= float(weight) <= _LARGEST:
        return "a finite number of zero or more is required as weight"
    time = value.get("timestamp", "1")
    if not (abs(float(time)) < LATEST if is_number(time) else _is_date(time)):
        return "a number or an ISO date is required as timestamp"
    return None


def _is_whole(text: str) -> bool:
    return bool(re.fullmatch("-?[0-9]+", text)) and -(2**63) <= int(text) < 2**63


def _is_date(text: str) -> bool:
    try:
        pa.array([text]).cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return False
    return True


def _from_parquet(name: str, content: bytes, wanted: dict[str, Wanted]) -> Interactions:
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(content))
        places = parquet_places(name, file, wanted)
        columns = file.read(list(places.values()))
    except (pa.ArrowException, OSError) as error:
        raise damaged_parquet(name, error) from error
    if columns.num_rows == 0:
        raise DataError(f"{name} has no ratings.")
    by_role = {role: columns[column] for role, column in places.items()}
    return Interactions.from_chunks([table_events(name, by_role, first=1)])


def parquet_places(
    name: str, file: pyarrow.parquet.ParquetFile, wanted: dict[str, Wanted]
) -> dict[str, str]:
    """Return the name of each role's column.

    Raises
    ------
    MissingColumnError
        A column is not there.
    DataError
        Another column has the same name.
    """
    names = file.schema_arrow.names
    places = find_columns(name, names, len(names), wanted)
    for place in places.values():
        if names.count(names[place]) > 1:
            raise DataError(
                f"{name}: each column needs a name of its own, {names[place]!r} is "
                f"that of {names.count(names[place])}."
            )
    return {role: names[place] for role, place in places.items()}


def damaged_parquet(name: str, error: Exception) -> DataError:
    """Return the error of Parquet data that Arrow cannot read."""
    return DataError(f"{name}: the Parquet data is damaged or cut off ({error}).")
