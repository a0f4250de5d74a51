"""Streams hand on every event once, in order, a chunk at a time, from any source."""

import collections
import dataclasses
import datetime
import gzip
import io
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse
from waiting import PATIENCE

from wyrm_py.data import Events, Interactions, read_ratings, stream
from wyrm_py.errors import (
    DataError,
    DTypeError,
    MissingColumnError,
    MissingFileError,
    SettingError,
    ShapeError,
)

N = 25
USERS = [f"u{k % 7}" for k in range(N)]
ITEMS = [k % 5 for k in range(N)]
RATINGS = [k / 2 for k in range(N)]
TIMES = [1_000_000_000 + k for k in range(N)]
ROWS = list(zip(USERS, ITEMS, RATINGS, TIMES, strict=True))
NAMED = {"user": USERS, "item": ITEMS, "rating": RATINGS, "timestamp": TIMES}

Rating = collections.namedtuple("Rating", "timestamp item user rating")


@dataclasses.dataclass
class Watched:
    item: int
    user: str
    rating: float
    timestamp: int


class Plain:
    def __init__(self, user, item, rating, timestamp):
        self.user, self.item = user, item
        self.rating, self.timestamp = rating, timestamp


def rows_of(chunks) -> list[tuple]:
    """Return (user, item, rating, timestamp) of all events, ids as text."""
    rows = []
    for chunk in chunks:
        assert len(chunk) > 0
        for name in ("users", "items", "ratings", "timestamps"):
            assert len(getattr(chunk, name)) == len(chunk)
        ids = (list(map(str, pa.array(part).to_pylist())) for part in ids_of(chunk))
        numbers = (chunk.ratings.tolist(), chunk.timestamps.tolist())
        rows += zip(*ids, *numbers, strict=True)
    return rows


def ids_of(chunk):
    for ids in (chunk.users, chunk.items):
        yield ids.to_pylist() if hasattr(ids, "to_pylist") else list(ids)


EXPECTED = [(user, str(item), rating, time) for user, item, rating, time in ROWS]

IN_MEMORY = {
    "tuples": ROWS,
    "lists": list(map(list, ROWS)),
    "named tuples": [Rating(t, i, u, r) for u, i, r, t in ROWS],
    "dictionaries": [dict(zip(NAMED, row, strict=True)) for row in ROWS],
    "dataclasses": [Watched(i, u, r, t) for u, i, r, t in ROWS],
    "objects": [Plain(*row) for row in ROWS],
    "interactions": Interactions(USERS, ITEMS, RATINGS, TIMES),
    "events": Events(USERS, ITEMS, RATINGS, TIMES),
    "pandas": pandas.DataFrame(NAMED),
    "polars": polars.DataFrame(NAMED),
    "lazy polars": polars.LazyFrame(NAMED),
    "arrow": pa.table(NAMED),
    "record batch": pa.RecordBatch.from_pydict(NAMED),
    "array": np.array(ROWS, object),
}


@pytest.mark.parametrize("size", [1, 4, N, 1000])
@pytest.mark.parametrize("source", IN_MEMORY.values(), ids=IN_MEMORY.keys())
def test_what_is_in_memory_is_cut_into_chunks(source, size):
    chunks = list(stream(source, chunk_size=size))
    assert rows_of(chunks) == EXPECTED
    full = N // size
    sizes = [size] * full + [N % size] * (N % size > 0)
    assert list(map(len, chunks)) == sizes
    if isinstance(source, list):
        assert rows_of(stream(iter(source), chunk_size=size)) == EXPECTED
        assert rows_of(stream((row for row in source), chunk_size=size)) == EXPECTED


@pytest.mark.parametrize("source", IN_MEMORY.values(), ids=IN_MEMORY.keys())
def test_interactions_of_a_stream_are_those_of_the_whole(source):
    whole = Interactions(USERS, ITEMS, RATINGS, TIMES)
    for made in (
        Interactions.from_chunks(stream(source, chunk_size=4)),
        Interactions.of(source),
    ):
        for name in ("users", "items", "ratings", "timestamps"):
            np.testing.assert_array_equal(getattr(made, name), getattr(whole, name))
        assert made.user_ids.tolist() == whole.user_ids.tolist()
        assert made.item_ids.tolist() == whole.item_ids.tolist()
        assert made.weights is None


def text(delimiter="\t", header=False, end="\n") -> str:
    lines = [delimiter.join(map(str, row)) for row in ROWS]
    if header:
        lines.insert(0, delimiter.join(("userId", "itemId", "rating", "timestamp")))
    return end.join(lines) + end


JSON = "".join(json.dumps(dict(zip(NAMED, row, strict=True))) + "\n" for row in ROWS)
TEXTS = {
    "tsv": text(),
    "csv": text(",", header=True),
    "::": text("::"),
    "blanks": text("  "),
    "windows": text(";", header=True, end="\r\n"),
    "empty lines": "\n\n" + text(",").replace("\n", "\n\n"),
    "no last end": text().rstrip("\n"),
    "json": JSON,
    "json lists": "".join(json.dumps(row) + "\n" for row in ROWS),
}


@pytest.mark.parametrize("size", [1, 4, N, 1000])
@pytest.mark.parametrize("name", TEXTS)
def test_lines_come_from_files_and_streams(tmp_path, name, size):
    content = TEXTS[name]
    (tmp_path / "plain").write_text(content, newline="")
    (tmp_path / "packed").write_bytes(gzip.compress(content.encode()))
    sources = [
        tmp_path / "plain",
        str(tmp_path / "packed"),
        io.StringIO(content),
        io.BytesIO(content.encode()),
        iter(content.splitlines()),
        iter(content.splitlines(keepends=True)),
    ]
    for source in sources:
        chunks = list(stream(source, chunk_size=size))
        assert rows_of(chunks) == EXPECTED
        assert max(map(len, chunks)) <= size
    twice = [tmp_path / "plain", str(tmp_path / "packed")]
    assert rows_of(stream(twice, chunk_size=size)) == EXPECTED * 2


def test_parquet_comes_by_batches_over_row_groups(tmp_path):
    pa.parquet.write_table(pa.table(NAMED), tmp_path / "plain", row_group_size=10)
    packed = gzip.compress((tmp_path / "plain").read_bytes())
    (tmp_path / "packed").write_bytes(packed)
    for name in ("plain", "packed"):
        chunks = list(stream(tmp_path / name, chunk_size=7))
        assert rows_of(chunks) == EXPECTED
        assert max(map(len, chunks)) <= 7


def test_a_file_is_read_as_read_ratings_reads_it(tmp_path):
    for name, content in (("csv", text(",", header=True)), ("parquet", None)):
        if content is None:
            pa.parquet.write_table(pa.table(NAMED), tmp_path / name)
        else:
            (tmp_path / name).write_text(content)
        whole = read_ratings(tmp_path / name)
        made = Interactions.from_chunks(stream(tmp_path / name, chunk_size=6))
        assert made.users.tolist() == whole.users.tolist()
        assert made.item_ids.tolist() == whole.item_ids.tolist()
        assert made.timestamps.tolist() == whole.timestamps.tolist() == TIMES


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ids_in_text_are_strings_unless_they_are_asked_for_as_integers(tmp_path, end):
    lines = [f" {k % 3}, {-k},{k}{end}" for k in range(1, 9)]
    path = tmp_path / "events.csv"
    path.write_text("user,item,rating\n" + "".join(lines))
    kinds = {"str": str, "int": int}
    for ids in ("str", "int", ("int", "str"), ("str", "int")):
        user, item = (kinds[kind] for kind in ((ids, ids) if ids in kinds else ids))
        expected = [(user(k % 3), item(-k)) for k in range(1, 9)]
        sources = path, iter(lines), io.StringIO("".join(lines))
        read = [
            Interactions.from_chunks(stream(s, chunk_size=3, ids=ids)) for s in sources
        ]
        for data in (*read, read_ratings(path, ids=ids)):
            columns = data.user_ids[data.users], data.item_ids[data.items]
            pairs = zip(*(column.tolist() for column in columns), strict=True)
            assert list(pairs) == expected


def test_ids_that_have_a_type_keep_it():
    for one in ((1, "a"), {"user": 1, "item": "a"}, '{"user": 1, "item": "a"}'):
        (chunk,) = stream(iter([one]), ids="int")
        assert (list(chunk.users), list(chunk.items)) == ([1], ["a"])


@pytest.mark.parametrize("wrong", ["x", "1.0", "1_0", "9223372036854775808", "1e3"])
def test_an_id_that_is_no_whole_number_is_named_by_its_line(tmp_path, wrong):
    path = tmp_path / "events.csv"
    path.write_text(f"user,item\n1,2\n3,4\n5,{wrong}\n")
    for read in (read_ratings, lambda *a, **k: list(stream(*a, chunk_size=2, **k))):
        with pytest.raises(DataError, match="line 4: a whole number .* of the item"):
            read(path, ids="int")
        read(path, ids=("int", "str"))
    for ids in ("float", None, ("int",), ["int", "x"], 3):
        for read in (read_ratings, stream):
            with pytest.raises(SettingError, match="ids must be one of 'str', 'int'"):
                read(path, ids=ids)


def test_iterators_of_tables_are_streams_too():
    parts = [slice(0, 10), slice(10, 11), slice(11, N)]
    frame = polars.DataFrame(NAMED)
    assert rows_of(stream(frame[part] for part in parts)) == EXPECTED
    pandas_frame = pandas.DataFrame(NAMED)
    frames = (pandas_frame[part] for part in parts)
    assert rows_of(stream(frames, chunk_size=3)) == EXPECTED
    whole = Interactions(USERS, ITEMS, RATINGS, TIMES)
    assert rows_of(stream(whole.batches(4))) == EXPECTED
    assert rows_of(stream(pa.table(NAMED).to_batches(max_chunksize=4))) == EXPECTED


def test_columns_are_taken_by_name_or_position():
    rows = [(0.5, "x", "item a", 3, "user a"), (2.0, "x", "item b", 4, "user b")]
    names = ["w", "x", "product", "when", "who"]
    wanted = {"user": "who", "timestamp": "when", "weight": "w"}
    frame = pandas.DataFrame(rows, columns=names)
    records = [dict(zip(names, row, strict=True)) for row in rows]
    lines = io.StringIO("\n".join(",".join(map(str, row)) for row in [names, *rows]))
    for source in (frame, iter(records), lines):
        (chunk,) = stream(source, **wanted)
        users, items = ids_of(chunk)
        assert (users, items) == (["user a", "user b"], ["item a", "item b"])
        assert chunk.weights.tolist() == [0.5, 2.0]
        assert (chunk.ratings, chunk.timestamps.tolist()) == (None, [3, 4])
    positions = {"user": 4, "item": 2, "rating": 0, "timestamp": 3, "weight": 3}
    with pytest.raises(SettingError, match="one role"):
        list(stream(iter(rows), **positions))
    del positions["weight"]
    (chunk,) = stream(iter(rows), **positions)
    assert list(chunk.users) == ["user a", "user b"]
    assert chunk.ratings.tolist() == [0.5, 2.0]


def test_the_fifth_value_of_a_tuple_is_its_weight():
    (chunk,) = stream([("u", "i", 3, 7, 0.25)])
    assert (chunk.ratings, chunk.timestamps, chunk.weights) == (3, 7, 0.25)
    (chunk,) = stream([("u", "i")])
    assert chunk.ratings is chunk.timestamps is chunk.weights is None


def test_dates_of_events_become_seconds():
    utc = datetime.UTC
    for time in (
        datetime.datetime(1970, 1, 2),
        datetime.date(1970, 1, 2),
        np.datetime64("1970-01-02"),
        datetime.datetime(1970, 1, 2, tzinfo=utc),
        "1970-01-02",
        "1970-01-02T00:00:00Z",
        86400,
        86400.5,
        "86400",
    ):
        (chunk,) = stream([("u", "i", 1, time)])
        assert chunk.timestamps.tolist() == [86400]
    (chunk,) = stream([("u", "i", 1, 2**61 + 1)])
    assert chunk.timestamps.tolist() == [2**61 + 1]


def test_an_endless_source_is_read_only_as_far_as_needed():
    taken = []

    def clicks():
        for k in itertools.count():
            taken.append(k)
            yield (k, k)

    chunks = stream(clicks(), chunk_size=3)
    assert taken == []
    assert list(next(chunks).users) == [0, 1, 2]
    assert taken == [0, 1, 2]
    assert list(next(chunks).users) == [3, 4, 5]


@pytest.mark.parametrize("other", [b"3,4\n", ("3", "4"), None, 5])
def test_lines_are_of_one_kind(other):
    with pytest.raises(DataError, match="stream: lines of one kind.*line 1 to 3"):
        list(stream(iter(["1,2\n", "5,6\n", other])))


def test_parquet_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([[1], [2], [3], [4]], names=["user", "item", "x", "x"])
    pyarrow.parquet.write_table(table, tmp_path / "file")
    assert len(next(stream(tmp_path / "file"))) == 1
    with pytest.raises(DataError, match="'x' is that of 2"):
        list(stream(tmp_path / "file", rating="x"))


def test_lines_of_a_pipe_arrive_one_by_one():
    program = (
        "import sys\nfrom wyrm_py.data import stream\n"
        "for chunk in stream(sys.stdin, chunk_size=1):\n"
        "    print(chunk.users[0], flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        for name in ("ann", "bob"):
            child.stdin.write(f"{name}\tx\t5\n")
            child.stdin.flush()
            assert child.stdout.readline() == f"{name}\n"
        child.stdin.close()
        assert child.wait(PATIENCE) == 0


WRONG_LINES = {
    "fields": ("u\ti\t1\nu\ti\t2\nu\ti\n", r"line 3: 3 fields are required"),
    "rating": ("u\ti\t1\nu\ti\t2\n\nu\ti\tnan\n", r"line 4: a finite number"),
    "user": ("u\ti\t1\nu\ti\t2\n \ti\t3\n", r"line 3: an id of the user"),
    "encoding": ("u\ti\t1\nu\ti\t2\n\udcff\ti\t3\n", r"line 3: text in UTF-8"),
    "binary": ("u\ti\t1\nu\ti\t2\n\0\ti\t3\n", "zero bytes"),
    "json": ('{"user": 1, "item": 2}\n\n{"user": 1,\n', "line 3: one JSON object"),
    "deep": ('{"user": 1, "item": 2}\n' + "[" * 100_000, "line 2: one JSON object"),
    "key": ('{"user": 1, "item": 2}\n{"user": 1}\n', "'item' is required .* row 2"),
    "null": ('{"user": 1, "item": 2}\n{"user": null, "item": 2}', "row 2 has none"),
    "kind": ('{"user": 1, "item": 2}\n[1, 2]\n', "of one kind .* row 2"),
    "no object": ('["u", "i"]\n7\n', "one kind"),
}


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("name", WRONG_LINES)
def test_a_wrong_line_is_named_after_the_chunks_before_it(tmp_path, name, size):
    content, message = WRONG_LINES[name]
    path = tmp_path / "file"
    path.write_bytes(content.encode(errors="surrogateescape"))
    if size == 1 and name in ("no object", "key"):
        message = "no column|an event must be"
    elif size == 1 and name == "kind":  # each chunk may be of another
        content, message = "[1, 2]\n[1]\n", "an event is"
        path.write_text(content)
    chunks = stream(path, chunk_size=size)
    with pytest.raises((DataError, DTypeError), match=message):
        list(chunks)
    if size == 1:
        assert len(next(stream(path, chunk_size=size))) == 1


WRONG_EVENTS = [
    ([(1, 2), (3,)], DataError, "2 values are required .* row 1"),
    ([(1, 2), [3, 4]], DataError, "one kind .* row 1"),
    ([(1, 2, "x")], DataError, "ratings must be numbers, found 'x' in row 0"),
    ([(1, 2, 3), (1, 2, None)], DataError, "finite ratings .* row 1"),
    ([(1, 2, [3])], ShapeError, "ratings in one dimension"),
    ([(1, 2, 3, 4, -1)], DataError, "weights of zero or more .* row 0"),
    ([(1, 2, 3, "soon")], DataError, "timestamps must be numbers or dates"),
    ([(1, 2, 3, 4, 5, 6)], DataError, "an event is .user, item"),
    ([(1,)], DataError, "an event is .user, item"),
    ([(None, 2)], DataError, "user of every event .* row 0 has none"),
    ([{"user": 1}], MissingColumnError, "no column for the item"),
    ([{"user": 1, "item": 1}, {"user": 1}], DataError, "'item' is required .* row 1"),
    ([7], DTypeError, "an event must be a tuple"),
    ([Plain(1, 2, 3, 4), object()], DataError, "one kind"),
    (7, DTypeError, "stream: takes a path"),
    (np.zeros(3), ShapeError, r"\(N, 2\)"),
    (np.array([[1, 2.5]]), DataError, "whole numbers .* item 2.5 in row 0"),
    (pa.table({"user": [1], "item": [None]}), DataError, "row 0 has none"),
    (pa.table({"user": [1], "rating": [2]}), MissingColumnError, "'user', 'rating'"),
    (pandas.DataFrame({"user": [1], "item": 1, "rating": "x"}), DTypeError, "numbers"),
    (polars.DataFrame({"user": [], "item": []}), DataError, "no interactions"),
]


@pytest.mark.parametrize(("source", "error", "message"), WRONG_EVENTS)
def test_wrong_events_are_refused_with_their_row(source, error, message):
    with pytest.raises(error, match=message):
        list(stream(source))


def test_rows_are_counted_over_the_whole_stream():
    events = [("u", "i", 1.0)] * 10 + [("u", "i", None)]
    chunks = stream(iter(events), chunk_size=4)
    assert [len(next(chunks)), len(next(chunks))] == [4, 4]
    with pytest.raises(DataError, match="row 10"):
        next(chunks)


def test_wrong_settings_and_missing_files_are_refused_at_once(tmp_path):
    for size in (0, 2.5, True):
        with pytest.raises(SettingError, match="chunk_size"):
            stream([], chunk_size=size)
    for source in (tmp_path / "none", [tmp_path / "none"], tmp_path):
        with pytest.raises(MissingFileError):
            stream(source)
    (tmp_path / "empty").touch()
    assert list(stream(tmp_path / "empty")) == list(stream([])) == []
    with pytest.raises(DataError, match="no interactions"):
        Interactions.from_chunks(stream(tmp_path / "empty"))


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "file"
    packed = gzip.compress(os.urandom(100_000).hex().encode())
    path.write_bytes(packed[:-1000])
    with pytest.raises(DataError, match="gzip data is damaged"):
        list(stream(path))
    pa.parquet.write_table(pa.table(NAMED), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="Parquet data is damaged"):
        list(stream(path))


def test_columns_are_in_all_chunks_or_in_none():
    chunks = [Events([1], [2], [3.0]), Events([1], [2])]
    with pytest.raises(DataError, match="chunk 1 of 2 has no ratings"):
        Interactions.from_chunks(chunks)


def _write_clicks(path, count: int) -> None:
    if path.suffix == ".parquet":
        numbers = np.arange(count)
        table = pa.table({"user": numbers, "item": numbers * 7, "rating": numbers})
        pa.parquet.write_table(table, path, row_group_size=20_000)
        return
    line = "a user,%d,5\n"
    if path.suffix == ".jsonl":
        line = '{"user": "a user", "item": %d}\n'
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt") as file:
        file.writelines(line % k for k in range(count))


def test_memory_does_not_grow_with_the_source(tmp_path):
    small, large = 4_000, 400_000
    for count in (small, large):
        for kind in ("csv", "csv.gz", "jsonl", "parquet"):
            _write_clicks(tmp_path / f"{count}.{kind}", count)
    program = f"""
import pathlib, resource, sys
from wyrm_py.data import stream
def read_all(count):
    files = sorted(pathlib.Path({str(tmp_path)!r}).glob(f"{{count}}.*"))
    for source in (*files, ((k, k % 100, 1.0, k) for k in range(count))):
        assert sum(map(len, stream(source, chunk_size=2000))) == count
    assert len(files) == 4
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
read_all({small})
read_all({large})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert after - before < 20_000  # kB: any of them as a whole would take more


def test_sparse_matrices_stream_their_entries():
    matrix = scipy.sparse.coo_array(([3.0, 0.0], ([1, 0], [2, 2])), shape=(2, 3))
    chunks = list(stream(matrix, chunk_size=1))
    assert [(c.users[0], c.items[0], c.ratings[0]) for c in chunks] == [
        (1, 2, 3.0),
        (0, 2, 0.0),
    ]
