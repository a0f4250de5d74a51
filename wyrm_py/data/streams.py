"""Streams: events in chunks, from files larger than memory and from live sources."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import scipy.sparse

from wyrm_py.data.delimited import DelimitedText, shorten
from wyrm_py.data.events import Events
from wyrm_py.data.files import opened, require_file
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.readers import (
    IdKind,
    IdKinds,
    damaged_parquet,
    id_kinds,
    parquet_places,
    text_events,
    text_places,
)
from wyrm_py.data.records import events_of_records
from wyrm_py.data.roles import ROLES, Wanted
from wyrm_py.data.rows import batch_rows, whole
from wyrm_py.data.tables import events_of, is_table, table_events
from wyrm_py.errors import DataError, DTypeError

Kinds = dict[str, IdKind]

_WHO = "stream"


def stream(
    source: Any,
    *,
    user: Wanted = None,
    item: Wanted = None,
    rating: Wanted = None,
    timestamp: Wanted = None,
    weight: Wanted = None,
    ids: IdKinds = "str",
    chunk_size: int = 65_536,
) -> Iterator[Events]:
    """Return an iterator over the events of a source, one chunk in memory at a time.

    Parameters
    ----------
    source : path, or list of paths
        Parquet, delimited text as for `read_ratings`, or one JSON object or list a
        line; text may be gzipped. Of Parquet, one row group is held.
    source : open file or stream of text or bytes, such as `sys.stdin`
        Lines of delimited text or JSON.
    source : iterator or list of events
        Tuples (user, item[, rating[, timestamp[, weight]]]), named tuples,
        dictionaries or objects with attributes, all of one kind; or lines of text.
        No event is taken from an iterator before its chunk is asked for.
    source : iterator or list of chunks
        `Events`, `Interactions`, dataframes, Arrow tables or record batches.
    source : anything `Interactions.of` takes
    user, item, rating, timestamp, weight : str, int or None
        Name or position (from 0) of each column, as for `Interactions.of`.
    ids : "str", "int", or a pair of them, of users and items
        What ids in delimited text are; those of other sources are as they come.
    chunk_size : int >= 1
        Most events of one chunk. With 1, each event is handed on at once.

    Returns
    -------
    iterator of Events

    Raises
    ------
    MissingFileError
        There is no such file.
    SettingError
        The chunk size is impossible, or `ids` is none of these.
    DTypeError
        The source is none of these.
    MissingColumnError, DataError, ShapeError
        While iterating: a column is not there, or an event is malformed. The message
        names the line of a file (from 1), or the event (from 0). Chunks before it were
        handed on.
    """
    size = whole(_WHO, "chunk_size", chunk_size, least=1)
    wanted = dict(zip(ROLES, (user, item, rating, timestamp, weight), strict=True))
    kinds = id_kinds(_WHO, ids)
    if isinstance(source, str | os.PathLike):
        return _of_file(require_file(source), wanted, kinds, size)
    if isinstance(source, list | tuple) and source and all(map(_is_path, source)):
        files = [require_file(path) for path in source]
        return chain.from_iterable(_of_file(one, wanted, kinds, size) for one in files)
    if hasattr(source, "read"):
        name = str(getattr(source, "name", _WHO))
        return _of_lines(name, iter(source), wanted, kinds, size)
    if _is_chunk(source):
        return _cut(source, wanted, size)
    if not isinstance(source, Iterable):
        raise DTypeError(
            f"{_WHO}: takes a path, a stream of lines, an iterator of events or of "
            f"chunks, or what `Interactions.of` takes, got {shorten(source)}."
        )
    return _of_iterator(iter(source), wanted, kinds, size)


def _is_path(one: object) -> bool:
    return isinstance(one, str | os.PathLike)


def _is_chunk(one: Any) -> bool:
    """Tell whether something holds many events, ready to be cut."""
    if isinstance(one, Events | Interactions | np.ndarray):
        return True
    if isinstance(one, tuple | list | dict | str | bytes):  # quick: most are these
        return False
    return scipy.sparse.issparse(one) or is_table(one)


def _cut(chunk: Any, wanted: dict[str, Wanted], size: int) -> Iterator[Events]:
    if scipy.sparse.issparse(chunk):
        chunk = Interactions.of(chunk)
    if isinstance(chunk, Interactions):
        for rows in batch_rows(_WHO, len(chunk), size):
            yield _events(chunk.take(rows))
        return
    events = chunk if isinstance(chunk, Events) else events_of(_WHO, chunk, wanted)
    for rows in batch_rows(_WHO, len(events), size):
        yield events[rows]


def _events(data: Interactions) -> Events:
    users, items = data.user_ids[data.users], data.item_ids[data.items]
    return Events(users, items, data.ratings, data.timestamps, data.weights)


def _of_iterator(
    source: Iterator[Any], wanted: dict[str, Wanted], kinds: Kinds, size: int
) -> Iterator[Events]:
    first = 0
    for one in source:
        if isinstance(one, str | bytes):
            yield from _of_lines(_WHO, chain([one], source), wanted, kinds, size)
        elif _is_chunk(one):
            yield from _cut(one, wanted, size)
        else:
            records = [one, *islice(source, size - 1)]
            yield events_of_records(_WHO, records, wanted, first)
            first += len(records)


def _of_file(
    path: Path, wanted: dict[str, Wanted], kinds: Kinds, size: int
) -> Iterator[Events]:
    with opened(path) as file:
        if file.peek(4)[:4] == b"PAR1":
            yield from _of_parquet(str(path), file, wanted, size)
        else:
            yield from _of_lines(str(path), file, wanted, kinds, size)


def _of_parquet(
    name: str, source: io.BufferedReader[Any], wanted: dict[str, Wanted], size: int
) -> Iterator[Events]:
    first = 1
    try:
        with pyarrow.parquet.ParquetFile(source, pre_buffer=False) as file:
            places = parquet_places(name, file, wanted)
            for batch in file.iter_batches(size, columns=list(places.values())):
                if batch.num_rows:
                    columns = {role: batch[column] for role, column in places.items()}
                    yield table_events(name, columns, first)
                first += batch.num_rows
    except pa.ArrowException as error:
        raise damaged_parquet(name, error) from error


def _of_lines(
    name: str,
    lines: Iterable[Any],
    wanted: dict[str, Wanted],
    kinds: Kinds,
    size: int,
) -> Iterator[Events]:
    """Yield the events of lines of text, in what form the first one tells."""
    source, number = iter(lines), 1
    form: _JSONLines | _Delimited | None = None
    while batch := list(islice(source, size)):
        content = _joined(name, batch, number)
        if content.strip():
            if form is None:
                is_json = content.lstrip()[:1] in (b"{", b"[")
                form = (
                    _JSONLines(name, wanted)
                    if is_json
                    else _Delimited(name, wanted, kinds)
                )
            events = form.read(content, number)
            if events is not None:
                yield events
        number += len(batch)


def _joined(name: str, lines: list[Any], number: int) -> bytes:
    """Return lines of text or bytes, with or without their ends, as one text."""
    try:
        if isinstance(lines[0], bytes):
            return (b"" if lines[0].endswith(b"\n") else b"\n").join(lines)
        return ("" if lines[0].endswith("\n") else "\n").join(lines).encode()
    except (TypeError, AttributeError) as error:
        raise DataError(
            f"{name}: lines of one kind, text or bytes, are required from line "
            f"{number} to {number + len(lines) - 1} ({error})."
        ) from None


class _Delimited:
    """Delimited text in blocks: the first tells delimiter, header and columns."""

    def __init__(self, name: str, wanted: dict[str, Wanted], kinds: Kinds) -> None:
        self.name, self.wanted, self.kinds = name, wanted, kinds
        self.head: DelimitedText | None = None
        self.places: dict[str, int] = {}

    def read(self, content: bytes, number: int) -> Events | None:
        """Return the events of a block that begins at a line; None of a header."""
        if self.head is not None:
            delimiter = self.head.delimiter
            text = DelimitedText(self.name, content, "utf-8", delimiter, number)
            text.width = self.head.width
            return text_events(text, self.places, 0, self.kinds)
        self.head = text = DelimitedText(self.name, content, first_line=number)
        self.places, header = text_places(text, self.wanted)
        if header and b"\n" not in content.strip():
            return None
        return text_events(text, self.places, int(header), self.kinds)


class _JSONLines:
    """One JSON object or list a line."""

    def __init__(self, name: str, wanted: dict[str, Wanted]) -> None:
        self.name, self.wanted = name, wanted

    def read(self, content: bytes, number: int) -> Events | None:
        """Return the events of a block that begins at a line."""
        try:
            lines = [text for text in content.decode().split("\n") if text.strip()]
            records = list(map(json.loads, lines))
        except (ValueError, RecursionError):
            raise self._fault(content, number) from None
        return events_of_records(self.name, records, self.wanted, number)

    def _fault(self, content: bytes, number: int) -> DataError:
        """Return the error of the first line that is no JSON."""
        for line, text in enumerate(content.split(b"\n"), number):
            try:
                json.loads(text.strip() or b"0")
            except (ValueError, RecursionError) as error:
                found = shorten(text.decode("utf-8", "replace"))
                return DataError(
                    f"{self.name}, line {line}: one JSON object or list is required "
                    f"({error}), found {found}."
                )
        return DataError(f"{self.name}: JSON in UTF-8 is required.")
