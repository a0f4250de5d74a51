"""Numbers from comma-separated text: records and labels of a `Dataset`."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from wyrm_py.data.dataset import Dataset
from wyrm_py.data.delimited import DELIMITERS, DelimitedText, shorten, split_line
from wyrm_py.data.files import read_content, unpacked
from wyrm_py.data.roles import is_number
from wyrm_py.errors import (
    DataError,
    DTypeError,
    MissingColumnError,
    SettingError,
    ShapeError,
)

Name = str | int
Conversion = Callable[[str], Any]


def read_csv(
    source: str | Path | IO[bytes] | IO[str],
    labels: Name | Sequence[Name] = (),
    columns: Sequence[Name] | None = None,
    *,
    shape: Sequence[int] | None = None,
    header: bool = True,
    delimiter: str | None = ",",
    convert: Mapping[Name, Conversion] | None = None,
    dtype: DTypeLike = np.float32,
    label_dtype: DTypeLike | None = None,
    encoding: str = "utf-8",
) -> Dataset:
    """Read records, and labels if there are any, one a line.

    Parameters
    ----------
    source : path, or open file or stream of bytes or text
        May be gzipped unless it is text. Empty lines are left out.
    labels : column or list of columns
        Those that are the labels. A column is a name in the header, or a position
        from 0.
    columns : list of columns, or None
        Those that are the record, in that order; None takes all that are no labels.
    shape : sizes, or None
        Shape of one record, in C order; None leaves it flat.
    header : bool
        Whether the first line that is not empty names the columns.
    delimiter : str of one character, "::" or None
        None finds it from the first lines; " " stands for any run of blanks.
    convert : {column: function}, or None
        A function gets the text of a field, without the blanks around it, and returns
        its number: `{"species": ["cat", "dog"].index}`. All other fields have to be
        finite numbers.
    dtype, label_dtype : of the records and of the labels
        Floats or integers, the latter from whole numbers below 2**53 in size; None
        takes `dtype`.
    encoding : str

    Returns
    -------
    Dataset
        Records of shape (N, *shape), labels of shape (N,), or (N, K) for a list of K
        columns.

    Raises
    ------
    MissingFileError
        There is no such file.
    MissingColumnError
        A column is not there; the message lists those there are.
    SettingError
        A column is asked for twice, or nothing is left for the records.
    ShapeError
        The columns of a record do not fill `shape`.
    DataError
        There is no data, or a line has another number of fields, a field that is no
        finite number or that its function refuses; the message names the line.
    """
    text = _text(source, encoding, delimiter)
    names = text.sample[0] if header else None
    if names is not None and len(names) != text.width:
        text.explain(1, lambda _fields, _line: None)
    single = isinstance(labels, str | int)
    wanted = [labels] if isinstance(labels, str | int) else list(labels)
    targets = [_place(text, names, column) for column in wanted]
    if columns is None:
        fields = sorted(set(range(text.width)) - set(targets))
    else:
        fields = [_place(text, names, column) for column in columns]
    _require_once(text.name, targets + fields)
    form = _record_shape(text.name, shape, len(fields))
    table = _Table(text, names)
    for column, function in (convert or {}).items():
        table.conversions[_place(text, names, column)] = function
    table.read(targets + fields)
    records = table.array(fields, np.dtype(dtype)).reshape(-1, *form)
    if not targets:
        return Dataset(records)
    held = table.array(targets, np.dtype(label_dtype or dtype))
    return Dataset(records, held[:, 0] if single else held)


class _Table:
    """Columns of float64 by position, and the way back to the line of a fault."""

    def __init__(self, text: DelimitedText, names: list[str] | None) -> None:
        self.text, self.skip = text, int(names is not None)
        self.names = names or range(text.width)
        self.conversions: dict[int, Conversion] = {}
        self.columns: dict[int, NDArray[Any]] = {}

    def read(self, places: list[int]) -> None:
        """Read the columns at some positions, each finite in float64."""
        plain = [place for place in places if place not in self.conversions]
        try:
            table = self.text.columns(places, self.skip, plain)
        except pa.ArrowInvalid as error:
            self.text.explain(self.skip, lambda fields, _: self._fault(fields, plain))
            raise DataError(f"{self.text.name} cannot be read: {error}") from error
        if table.num_rows == 0:
            raise DataError(f"{self.text.name} has no records, only a header.")
        for place, column in zip(places, table.columns, strict=True):
            if place in self.conversions:
                self.columns[place] = self._converted(place, column.to_pylist())
            else:
                self.columns[place] = column.to_numpy()

    def array(self, places: list[int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the columns at some positions, shape (N, K), of a dtype."""
        if dtype.kind not in "fiu":
            raise DTypeError(f"read_csv: a dtype of numbers is required, got {dtype}.")
        count = len(self.columns[places[0]])
        array = np.empty((count, len(places)), dtype)
        for k, place in enumerate(places):
            column = self.columns[place]
            with np.errstate(over="ignore", invalid="ignore"):  # refused below
                array[:, k] = column
            good = np.isfinite(column) & np.isfinite(array[:, k])
            what = f"a finite number in {dtype}"
            if dtype.kind in "iu":
                # all are read as float64, which holds no larger ones exactly
                good &= (array[:, k] == column) & (np.abs(column) < 2**53)
                what = f"a whole number in {dtype}, below 2**53 in size,"
            if not good.all():
                row = int(np.argmin(good))
                raise self._at(row, place, f"{what} is required")
        return array

    def _converted(self, place: int, cells: list[str]) -> NDArray[Any]:
        function, values = self.conversions[place], np.empty(len(cells))
        for row, cell in enumerate(cells):
            try:
                values[row] = float(function(cell.strip()))
            except Exception as error:
                given = f"`convert` must return a number ({type(error).__name__}: "
                raise self._at(row, place, f"{given}{error})") from error
        return values

    def _at(self, row: int, place: int, fault: str) -> DataError:
        """Return the error of one field."""
        lines = list(self.text.lines())
        number, line = lines[row + self.skip]
        cell = split_line(line, self.text.delimiter)[place]
        return self.text.malformed(
            number, f"{fault} in column {self.names[place]!r}, found {shorten(cell)}"
        )

    def _fault(self, fields: list[str], plain: list[int]) -> str | None:
        for place in plain:
            if not is_number(fields[place]):
                required = f"a number is required in column {self.names[place]!r}"
                return f"{required}, found {shorten(fields[place])}"
        return None


def _text(source: Any, encoding: str, delimiter: str | None) -> DelimitedText:
    single = delimiter is None or (len(delimiter) == 1 and delimiter.isascii())
    if not single and delimiter not in DELIMITERS:
        raise SettingError(
            f"read_csv: the delimiter must be one ASCII character, '::' or None, got "
            f"{delimiter!r}."
        )
    if not hasattr(source, "read"):
        name, content = str(source), read_content(source)
    else:
        name, given = str(getattr(source, "name", "stream")), source.read()
        if isinstance(given, str):
            given, encoding = given.encode(), "utf-8"
        content = unpacked(name, given)
    return DelimitedText(name, content, encoding, delimiter)


def _place(text: DelimitedText, names: list[str] | None, column: Name) -> int:
    """Return the position of a column given by name or by position."""
    if isinstance(column, str):
        found = [k for k, name in enumerate(names or ()) if name == column]
        if len(found) == 1:
            return found[0]
        several = f"are {len(found)} columns {column!r}"
        what = several if found else f"is no column {column!r}"
    else:
        if 0 <= column < text.width:
            return int(column)
        what = f"is no position {column} (from 0)"
    there = f"there is no header and {text.width} columns"
    if names is not None:
        there = "the columns are " + ", ".join(shorten(name) for name in names)
    raise MissingColumnError(
        f"{text.name}: there {what}; {there}. Give it by name, or by position "
        f"from 0 to {text.width - 1}."
    )


def _require_once(name: str, places: list[int]) -> None:
    twice = sorted(place for place, times in Counter(places).items() if times > 1)
    if twice:
        raise SettingError(
            f"{name}: a column can be asked for once, among labels and columns "
            f"together, got {twice} twice. Leave one of them out."
        )


def _record_shape(
    name: str, shape: Sequence[int] | None, count: int
) -> tuple[int, ...]:
    if count == 0:
        raise SettingError(
            f"{name}: at least one column is required for the records, every one is a "
            "label. Ask for fewer labels."
        )
    form = (count,) if shape is None else tuple(shape)
    if any(size < 1 for size in form) or math.prod(form) != count:
        raise ShapeError(
            f"{name}: {count} columns are the record, which do not fill the shape "
            f"{form}. Change `shape` or name the `columns`."
        )
    return form
