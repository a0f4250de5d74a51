"""Delimited text of any common kind, read into columns of strings or numbers.

The delimiter is found from the first lines, whatever the file is called. The fast
path is pyarrow's parser; only when that refuses are the lines walked one by one in
Python, to say which line is wrong and why. What the columns mean is not decided
here: see readers.py and csvfile.py.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from wyrm_py.errors import DataError

if TYPE_CHECKING:  # slow to import: waits until a file is read
    import pyarrow as pa

BLANKS = " "  # stands for a run of blanks or tabs
DELIMITERS = ("\t", "::", ";", "|", ",", BLANKS)  # the first wins a draw
_SAMPLE_BYTES = 1 << 16
_SAMPLE_LINES = 200
_UNIT = "\x1f"  # "unit separator": stands for '::'


class DelimitedText:
    """Lines of fields: the delimiter, the usual number of fields, the first line.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        The text, in UTF-8 with or without a byte order mark (see `encoding`).
    encoding : str
        "utf-8", or "latin-1" as in the item files of MovieLens.
    delimiter : str of one character, one of `DELIMITERS`, or None
        None finds it from the first lines, which must have two fields or more.
    first_line : int
        Number of the first line, where the content is part of a file.

    Attributes
    ----------
    delimiter : str
    width : int
        Number of fields most lines have.
    sample : list of lists of str
        Fields of the first lines that are not empty.

    Raises
    ------
    DataError
        The content is binary, not in the encoding, or no delimiter is found.
    """

    def __init__(
        self,
        name: str,
        content: bytes,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        first_line: int = 1,
    ) -> None:
        self.name = name
        self.first_line = first_line
        self.encoding = encoding
        self.content = content.removeprefix(b"\xef\xbb\xbf")
        self._check_text()
        end = self.content.find(b"\n", _SAMPLE_BYTES)
        head = self.content[: end if end >= 0 else None].split(b"\n")
        lines = [text for line in head if (text := self._decode(line)).strip()]
        lines = lines[:_SAMPLE_LINES]
        self.delimiter = delimiter or self._find_delimiter(lines)
        self.sample = [split_line(line, self.delimiter) for line in lines]
        self.width = Counter(map(len, self.sample)).most_common(1)[0][0]

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield (line number, text) of the lines that are not empty."""
        for number, line in enumerate(self.content.split(b"\n"), self.first_line):
            text = self._decode(line)
            if text:
                yield number, text

    def explain(
        self, skip: int, requirement: Callable[[list[str], str], str | None]
    ) -> None:
        """Raise a DataError for the first malformed line, if one is found.

        Parameters
        ----------
        skip : int
            0, or 1 where the first line that is not empty is a header.
        requirement : function of the fields and the text of a line
            Returns "... required, found ...", or None for a good line. Lines with
            another number of fields than usual never reach it.
        """
        for count, (number, line) in enumerate(self.lines()):
            fields = split_line(line, self.delimiter)
            fault = None
            if len(fields) != self.width:
                fault = (
                    f"{self.width} fields are required as in the other lines, found "
                    f"{len(fields)}: {shorten(line)}"
                )
            elif count >= skip:
                fault = requirement(fields, line)
            if fault:
                raise self.malformed(number, fault)

    def malformed(self, number: int, fault: str) -> DataError:
        """Return the error of one line: what is required and what was found."""
        return DataError(
            f"{self.name}, line {number}: {fault}. Correct the line or leave it out."
        )

    def columns(
        self, positions: list[int], skip: int, numbers: Collection[int] = ()
    ) -> pa.Table:
        """Return the columns at `positions` as strings, in that order.

        Parameters
        ----------
        positions : list of int
            Each in [0, width); the table's columns are named by them.
        skip : int
            0, or 1 to leave out the first line that is not empty.
        numbers : positions
            Those that are float64 rather than strings; NaN and infinity are numbers.

        Raises
        ------
        pyarrow.ArrowInvalid
            A line has another number of fields, or a field is not a number.
        """
        import pyarrow as pa
        import pyarrow.csv

        names = [str(k) for k in range(self.width)]
        kinds = dict.fromkeys(names, pa.string())
        kinds.update((str(k), pa.float64()) for k in numbers)
        quoted = self.delimiter not in ("::", BLANKS)
        content, delimiter = self._prepared(skip)
        if not content.strip():
            return pa.table({str(k): pa.array([], kinds[str(k)]) for k in positions})
        return pyarrow.csv.read_csv(
            pa.py_buffer(content),
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, encoding=self.encoding
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted and b'"' in content,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=[str(k) for k in positions],
                column_types=kinds,
                null_values=[],
                strings_can_be_null=False,
            ),
        )

    def _prepared(self, skip: int) -> tuple[bytes, str]:
        """Return content and one-character delimiter as pyarrow takes them."""
        content = self.content
        if skip:
            content = content.lstrip(b"\r\n").partition(b"\n")[2]
        if self.delimiter == "::":
            return content.replace(b"::", _UNIT.encode()), _UNIT
        if self.delimiter == BLANKS:
            # Plain replacements: a regular expression takes six times as long.
            content = content.replace(b"\r\n", b"\n").replace(b"\t", b" ")
            while b"  " in content:
                content = content.replace(b"  ", b" ")
            content = content.replace(b"\n ", b"\n").replace(b" \n", b"\n")
            return content.strip(b" "), " "
        return content, self.delimiter

    def _check_text(self) -> None:
        start = self.content[:4]
        if start.startswith(b"PK\x03\x04"):
            raise DataError(
                f"{self.name} is a zip archive: a text or Parquet file is required. "
                "Unpack it first."
            )
        if b"\0" in self.content:
            raise DataError(
                f"{self.name}: text in UTF-8 is required, found zero bytes (a binary "
                "file, or UTF-16). Save it as UTF-8 text or as Parquet."
            )
        try:
            self.content.decode(self.encoding)
        except UnicodeDecodeError as error:
            line = self.content.count(b"\n", 0, error.start) + self.first_line
            raise DataError(
                f"{self.name}, line {line}: text in UTF-8 is required, found byte "
                f"0x{self.content[error.start]:02x}. Convert the file, for example "
                "with `iconv -f latin1 -t utf-8`."
            ) from error

    def _find_delimiter(self, lines: list[str]) -> str:
        """Return the delimiter that cuts most lines into one number of fields."""
        best, share = "", 0.0
        for delimiter in DELIMITERS:
            widths = Counter(len(split_line(line, delimiter)) for line in lines)
            width, count = widths.most_common(1)[0]
            if width > 1 and count / len(lines) > share:
                best, share = delimiter, count / len(lines)
        if not best:
            raise DataError(
                f"{self.name}, line {self.first_line}: at least two fields are "
                "required, cut by tab, comma, semicolon, '|', '::' or blanks, found "
                f"{shorten(lines[0])}. Is this the right file?"
            )
        return best

    def _decode(self, line: bytes) -> str:
        return line.rstrip(b"\r").decode(self.encoding, errors="replace")


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the fields of one line, without the blanks around them."""
    if delimiter == "::":
        fields: list[str] = line.split("::")
    elif delimiter == BLANKS:
        fields = line.split()
    else:
        try:
            fields = next(csv.reader([line], delimiter=delimiter))
        except csv.Error:  # a field longer than the csv module takes
            fields = line.split(delimiter)
    return [field.strip() for field in fields]


def shorten(value: Any, limit: int = 60) -> str:
    """Return a quoted value, cut to `limit` characters, for a message."""
    text = str(value)
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
