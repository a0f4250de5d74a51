"""Read ratings from a file: delimited text of any common kind, or Parquet.

The kind is told from the content, not from the name: both may be gzipped. Text goes
through delimited.py, the meaning of the columns through roles.py.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from wyrm_py.data.arrow import missing_in
from wyrm_py.data.delimited import DelimitedText, shorten
from wyrm_py.data.files import read_content
from wyrm_py.data.ids import IdMap
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.roles import ROLES, Wanted, find_columns, is_header, is_number
from wyrm_py.errors import DataError, MissingColumnError

_LARGEST = float(np.finfo(np.float32).max)
_LATEST = 2.0**62  # seconds, so that they fit into 64 bits


def read_ratings(
    path: str | Path,
    user: Wanted = None,
    item: Wanted = None,
    rating: Wanted = None,
    timestamp: Wanted = None,
) -> Interactions:
    """Read ratings from CSV, TSV, other delimited text or Parquet, also gzipped.

    Parameters
    ----------
    path : path of a file
        Text is UTF-8; its fields are cut by tabs, commas, semicolons, '|', '::' or
        runs of blanks, found from the first lines. A first line that does not parse
        as data is a header.
    user, item, rating, timestamp : str, int or None
        Name or position (from 0) of the column. By default usual names such as
        `userId` are recognised; without a header the order is user, item, rating,
        timestamp. Without a rating column every rating is 1.0.

    Returns
    -------
    Interactions
        With ids as text from a text file, as stored from Parquet.

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
    """
    wanted = dict(zip(ROLES, (user, item, rating, timestamp), strict=True))
    content = read_content(path)
    if content.startswith(b"PAR1"):
        return _from_parquet(str(path), content, wanted)
    return parse_ratings(DelimitedText(str(path), content), wanted)


def parse_ratings(text: DelimitedText, wanted: dict[str, Wanted]) -> Interactions:
    """Return the ratings of a text; `wanted` has a name or position for each role.

    Raises
    ------
    MissingColumnError, DataError
        As for `read_ratings`.
    """
    header = is_header(text.sample, wanted)
    names = text.sample[0] if header else None
    if names is not None and len(names) != text.width:
        text.explain(1, lambda _fields, _line: None)
    try:
        places = find_columns(text.name, names, text.width, wanted)
    except MissingColumnError as error:
        if header and not any(isinstance(want, str) for want in wanted.values()):
            because = "Line 1 is taken as a header since it does not parse as data."
            raise MissingColumnError(f"{error} {because}") from None
        raise
    try:
        columns = text.columns(list(places.values()), skip=int(header))
        columns = columns.rename_columns(list(places))
        return _assemble(text.name, columns)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, _Unusable) as error:

        def fault(fields: list[str], line: str) -> str | None:
            required = _requirement(fields, places)
            return required and f"{required}, found {shorten(line)}"

        text.explain(int(header), fault)
        raise DataError(f"{text.name} cannot be read: {error}") from error


class _Unusable(Exception):
    """A value is missing or not a number; the message is completed by the caller."""


def _assemble(name: str, columns: pa.Table) -> Interactions:
    """Return ratings from a table whose columns are named by their roles."""
    if columns.num_rows == 0:
        raise DataError(f"{name} has no ratings, only a header.")
    codes, ids = {}, {}
    for role in ("user", "item"):
        column = columns[role]
        if pa.types.is_string(column.type):
            column = pc.utf8_trim_whitespace(column)
            if pc.any(pc.equal(column, "")).as_py():
                raise _Unusable(f"the {role} is empty")
        missing = missing_in(column)
        if missing.any():
            raise DataError(
                f"{name}, column of the {role}s: an id is required in every row, row "
                f"{np.argmax(missing) + 1} has none."
            )
        known = IdMap(kind=role)
        codes[role], ids[role] = known.add(column), known.ids
    ratings = np.ones(columns.num_rows, np.float32)
    if "rating" in columns.column_names:
        numbers = _numbers(columns["rating"])
        if not (np.abs(numbers) <= _LARGEST).all():
            raise _Unusable("a rating is NaN or infinite")
        ratings = numbers.astype(np.float32)
    times = None
    if "timestamp" in columns.column_names:
        times = _seconds(columns["timestamp"])
    return Interactions.from_codes(
        codes["user"],
        codes["item"],
        ratings,
        times,
        user_ids=ids["user"],
        item_ids=ids["item"],
    )


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def _seconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return whole seconds from numbers, dates or their text."""
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:
            column = column.cast(pa.timestamp("ns"))
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    if column.null_count or not pc.all(pc.less(pc.abs(column), _LATEST)).as_py():
        raise _Unusable("a timestamp is missing or out of range")
    seconds: NDArray[np.int64] = column.cast(pa.int64(), safe=False).to_numpy()
    return seconds


def _requirement(fields: list[str], places: dict[str, int]) -> str | None:
    """Return what the fields of a line ought to have and do not, or None."""
    value = {role: fields[place] for role, place in places.items()}
    for role in ("user", "item"):
        if not value[role]:
            return f"an id of the {role} is required"
    rating = value.get("rating", "1")
    if not is_number(rating) or not abs(float(rating)) <= _LARGEST:
        return "a finite number is required as rating"
    time = value.get("timestamp", "1")
    if not (abs(float(time)) < _LATEST if is_number(time) else _is_date(time)):
        return "a number or an ISO date is required as timestamp"
    return None


def _is_date(text: str) -> bool:
    try:
        pa.array([text]).cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return False
    return True


def _from_parquet(name: str, content: bytes, wanted: dict[str, Wanted]) -> Interactions:
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(content))
        names = file.schema_arrow.names
        places = find_columns(name, names, len(names), wanted)
        columns = file.read([names[place] for place in places.values()])
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name}: the Parquet data is damaged or cut off ({error})."
        ) from error
    columns = columns.select([names[place] for place in places.values()])
    columns = columns.rename_columns(list(places))
    try:
        return _assemble(name, columns)
    except (pa.ArrowException, _Unusable) as error:
        raise DataError(f"{name}{_first_fault(columns)}: {error}.") from error


def _first_fault(columns: pa.Table) -> str:
    """Return ', row N' for the first row that has no usable value, or ''."""
    checks: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
        "rating": lambda column: pc.invert(
            pc.fill_null(pc.is_finite(column.cast(pa.float64(), safe=False)), False)
        ),
        "timestamp": pc.is_null,
    }
    for role, check in checks.items():
        if role in columns.column_names:
            try:
                row = check(columns[role]).index(True).as_py()
            except pa.ArrowException:
                continue
            if row >= 0:
                return f", row {row + 1}"
    return ""
