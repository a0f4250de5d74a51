"""Interactions files of every kind are read alike, and bad ones are refused by line."""

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wyrm_py.data.interactions import Interactions
from wyrm_py.data.readers import read_ratings
from wyrm_py.errors import (
    DataError,
    DTypeError,
    MissingColumnError,
    MissingFileError,
    SettingError,
)

ROWS = [("ann", "x1", 5.0, 100), ("bob", "x2", 1.5, 200), ("ann", "x2", 3.0, 300)]
DATA = Path(__file__).parents[2] / "../shared/data/ml-100k"


def as_rows(ratings: Interactions) -> list[tuple[str, str, float, int]]:
    times = ratings.timestamps
    assert times is not None
    return [
        (str(ratings.user_ids[u]), str(ratings.item_ids[i]), float(r), int(t))
        for u, i, r, t in zip(
            ratings.users, ratings.items, ratings.ratings, times, strict=True
        )
    ]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def text_of(delimiter: str, header: str = "", end: str = "\n") -> str:
    lines = [delimiter.join(map(str, row)) for row in ROWS]
    return end.join(([header] if header else []) + lines) + end


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|", "::", " ", "   ", " \t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".dat", ".data"])
def test_the_delimiter_is_found_whatever_the_suffix(tmp_path, delimiter, suffix):
    path = write(tmp_path / f"r{suffix}", text_of(delimiter))
    assert as_rows(read_ratings(path)) == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("header", ["", "userId,movieId,rating,timestamp"])
def test_line_ends_byte_order_mark_and_header_do_not_matter(
    tmp_path, end, mark, header
):
    path = write(tmp_path / "r", mark + text_of(",", header, end).encode())
    assert as_rows(read_ratings(path)) == ROWS


@pytest.mark.parametrize("delimiter", [",", "::", " "])
def test_gzip_is_unpacked_whatever_the_suffix(tmp_path, delimiter):
    path = write(tmp_path / "r.csv", gzip.compress(text_of(delimiter).encode()))
    assert as_rows(read_ratings(path)) == ROWS


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_keeps_the_type_of_the_ids(tmp_path, packed):
    table = pa.table(
        {
            "rating": pa.array([5, 1, 3], pa.int8()),
            "user_id": pa.array([7, 8, 7]),
            "item_id": pa.array(["a", "b", "b"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "r.parquet")
    if packed:
        content = gzip.compress((tmp_path / "r.parquet").read_bytes())
        write(tmp_path / "r.parquet", content)
    ratings = read_ratings(tmp_path / "r.parquet")
    assert ratings.user_ids.dtype == np.int64
    assert ratings.user_ids.tolist() == [7, 8]
    assert ratings.item_ids.tolist() == ["a", "b"]
    assert ratings.users.tolist() == [0, 1, 0]
    assert ratings.ratings.tolist() == [5, 1, 3]
    assert ratings.timestamps is None


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("when,who,what,how much\n1,a,x,5\n", {"user": "who", "item": "WHAT"}),
        ("1,a,x,5\n", {"user": 1, "item": 2, "rating": 3, "timestamp": 0}),
        ("1,a,x,5\n", {"user": "1", "item": "2", "rating": "3", "timestamp": "0"}),
        ("title,item,user\nT,x,a\n", {}),
    ],
)
def test_columns_can_be_named_or_given_by_position(tmp_path, text, options):
    ratings = read_ratings(write(tmp_path / "r", text), **options)
    assert (ratings.user_ids[0], ratings.item_ids[0]) == ("a", "x")
    assert ratings.ratings[0] == (5 if "rating" in options else 1)


def test_two_columns_are_implicit_feedback(tmp_path):
    for text in ("user,item\n1,2\n3,4\n", "1,2\n3,4\n", "a b\n1 2\n3 4\n"):
        options = {"user": 0, "item": 1} if text.startswith("a b") else {}
        ratings = read_ratings(write(tmp_path / "r", text), **options)
        assert ratings.ratings.tolist() == [1, 1]
        assert ratings.user_ids.tolist() == ["1", "3"]
        assert ratings.timestamps is None


def test_ids_of_text_without_header_or_rating_are_data(tmp_path):
    ratings = read_ratings(write(tmp_path / "r", "ann\tx\nbob\ty\n"))
    assert ratings.user_ids.tolist() == ["ann", "bob"]


def test_a_comma_in_quotes_or_in_a_tab_separated_field_is_kept(tmp_path):
    quoted = read_ratings(write(tmp_path / "r", '"a, b",x,5\nc,"y,z",4\n'))
    assert quoted.user_ids.tolist() == ["a, b", "c"]
    tabbed = read_ratings(write(tmp_path / "r", "a, b\tx, 1\t5\nc, d\ty, z\t4\n"))
    assert tabbed.item_ids.tolist() == ["x, 1", "y, z"]


def test_quoted_fields_may_be_of_several_lines_wherever_they_stand(tmp_path):
    """The parser takes a file in blocks of a megabyte: some edge is inside quotes."""
    review = "a" * 40 + "\n" + "b" * 40
    rows = "".join(f'u{k % 7},i{k},{k % 5},"{review}{k}"\n' for k in range(30_000))
    data = read_ratings(write(tmp_path / "r", "user,item,rating,review\n" + rows))
    assert data.item_ids.tolist() == [f"i{k}" for k in range(30_000)]
    assert data.ratings.tolist() == [k % 5 for k in range(30_000)]


def test_blanks_around_fields_are_no_part_of_them(tmp_path):
    ratings = read_ratings(write(tmp_path / "r", "a, x , 5 , 7\n b ,y,4, 8\n"))
    assert ratings.user_ids.tolist() == ["a", "b"]
    assert ratings.item_ids.tolist() == ["x", "y"]


def test_ids_differ_when_their_text_does(tmp_path):
    ratings = read_ratings(write(tmp_path / "r", "007,1,5\n7,1.0,5\n"))
    assert ratings.user_ids.tolist() == ["007", "7"]
    assert ratings.item_ids.tolist() == ["1", "1.0"]


def test_dates_become_seconds(tmp_path):
    text = "user,item,rating,date\na,x,5,1970-01-02\nb,x,4,1970-01-01 00:00:10\n"
    times = read_ratings(write(tmp_path / "r", text)).timestamps
    assert times is not None
    assert times.tolist() == [86400, 10]


words = st.text(
    st.characters(exclude_characters=' ",;|:\t', exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=8,
)
rows = st.lists(
    st.tuples(words, words, st.integers(-5, 5), st.integers(0, 10**9)), min_size=2
)


@settings(max_examples=80)
@given(rows=rows, delimiter=st.sampled_from(["\t", ",", ";", "|", "::", " "]))
def test_any_ids_come_back_as_written(rows, delimiter):
    lines = [delimiter.join(map(str, row)) for row in rows]
    lines.insert(0, delimiter.join(["user", "item", "rating", "timestamp"]))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "r", "\n".join(lines))
        assert as_rows(read_ratings(path)) == rows


def test_movielens_is_read_whole():
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    ratings = read_ratings(DATA / "u.data.gz")
    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_000, 943, 1682)
    values, counts = np.unique(ratings.ratings, return_counts=True)
    assert values.tolist() == [1, 2, 3, 4, 5]
    assert counts.tolist() == [6110, 11370, 27145, 34174, 21201]


GOOD = "1\t2\t3\t4\n" * 5
MALFORMED = {
    "too few fields": ("1\t2\n", "4 fields are required"),
    "too many fields": ("1\t2\t3\t4\t5\n", "4 fields are required"),
    "rating is a word": ("1\t2\tgood\t4\n", "rating"),
    "rating is empty": ("1\t2\t\t4\n", "rating"),
    "rating is NaN": ("1\t2\tNaN\t4\n", "finite"),
    "rating is infinite": ("1\t2\t-inf\t4\n", "finite"),
    "rating is too large": ("1\t2\t1e300\t4\n", "finite"),
    "no user": ("\t2\t3\t4\n", "id of the user"),
    "no item": ("1\t \t3\t4\n", "id of the item"),
    "timestamp is NaN": ("1\t2\t3\tnan\n", "timestamp"),
    "timestamp is too late": ("1\t2\t3\t1e30\n", "timestamp"),
    "timestamp is empty": ("1\t2\t3\t\n", "timestamp"),
    "timestamp is a word": ("1\t2\t3\tlate\n", "timestamp"),
}


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("header", ["", "user\titem\trating\ttime\n"])
def test_a_malformed_line_is_named(tmp_path, case, header):
    line, message = MALFORMED[case]
    path = write(tmp_path / "bad.tsv", header + GOOD + "\n" + line + GOOD)
    number = 7 + bool(header)  # the blank line counts
    with pytest.raises(DataError, match=message) as caught:
        read_ratings(path)
    assert f"bad.tsv, line {number}: " in str(caught.value)


@pytest.mark.parametrize("delimiter", ["::", " "])
def test_a_malformed_line_of_other_delimiters_is_named(tmp_path, delimiter):
    lines = delimiter.join("1234") + "\n"
    path = write(tmp_path / "bad", lines * 3 + f"1{delimiter}2\n" + lines)
    with pytest.raises(DataError, match="bad, line 4: 4 fields"):
        read_ratings(path)


def test_a_malformed_first_line_is_explained_as_header(tmp_path):
    path = write(tmp_path / "bad", "1\t2\tx\t4\n" + GOOD)
    with pytest.raises(MissingColumnError, match=r"'x'.*taken as a header"):
        read_ratings(path)
    with pytest.raises(DataError, match="line 1: 4 fields are required"):
        read_ratings(write(tmp_path / "bad", "user\titem\n" + GOOD))


def test_a_missing_column_lists_those_there_are(tmp_path):
    path = write(tmp_path / "r.csv", "user,item,stars\na,b,3\n")
    with pytest.raises(MissingColumnError, match="'user', 'item', 'stars'"):
        read_ratings(path, rating="points")
    with pytest.raises(MissingColumnError, match="no position 5"):
        read_ratings(path, rating=5)
    with pytest.raises(SettingError, match="one role"):
        read_ratings(path, user=0, item="user")
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "r.parquet")
    with pytest.raises(MissingColumnError, match="'a', 'b'"):
        read_ratings(tmp_path / "r.parquet")


def test_files_that_hold_no_ratings_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_ratings(tmp_path / "nowhere.csv")
    with pytest.raises(MissingFileError, match="not a file"):
        read_ratings(tmp_path)
    packed = gzip.compress(GOOD.encode())
    for content, message in [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (gzip.compress(b""), "empty"),
        (b"user,item,rating\n", "only a header"),
        (packed[:-9], "gzip"),
        (packed[:12] + b"garbage" + packed[19:], "gzip"),
        (b"\x1f\x8bnot gzip at all", "gzip"),
        (b"PAR1 cut off", "Parquet"),
        (b"PK\x03\x04zip", "zip archive"),
        (b"1\0,\0", "zero bytes"),
        (b"word\nother\n", "two fields"),
        (GOOD.encode() + b"caf\xe9\t2\t3\t4\n", "line 6.*0xe9"),
    ]:
        with pytest.raises(DataError, match=message):
            read_ratings(write(tmp_path / "r", content))


@pytest.mark.parametrize(
    ("column", "values"),
    [("rating", [1.0, None]), ("rating", [1.0, float("nan")]), ("user", [1, None])],
)
def test_missing_values_in_parquet_name_the_row(tmp_path, column, values):
    columns = {"user": [1, 2], "item": [3, 4], "rating": [5.0, 4.0], column: values}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    with pytest.raises(DataError, match="row 2"):
        read_ratings(tmp_path / "r.parquet")


def test_ids_that_are_lists_are_refused(tmp_path):
    pq.write_table(pa.table({"user": [[1], [2]], "item": [3, 4]}), tmp_path / "r")
    with pytest.raises((DTypeError, DataError), match="user"):
        read_ratings(tmp_path / "r")


def test_ids_like_user7_and_item9_are_no_header(tmp_path):
    ratings = read_ratings(write(tmp_path / "r", "user7,item9,3\nuser8,item9,4\n"))
    assert ratings.user_ids.tolist() == ["user7", "user8"]
    assert ratings.ratings.tolist() == [3, 4]


def test_weights_are_read_when_they_are_asked_for(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,importance\na,x,0.5\nb,x,2\n")
    ratings = read_ratings(path, weight="importance")
    assert ratings.weights.tolist() == [0.5, 2]
    assert read_ratings(path).weights is None
    for bad in ("-1", "nan", "x"):
        path.write_text(f"user,item,importance\na,x,0.5\nb,x,{bad}\n")
        with pytest.raises(DataError, match=r"line 3: .* as weight"):
            read_ratings(path, weight="importance")
