"""CSV becomes records and labels as numpy reads it; bad lines and columns are named."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wyrm_py as wp
from wyrm_py.data import read_csv
from wyrm_py.errors import (
    DataError,
    DTypeError,
    MissingColumnError,
    MissingFileError,
    SettingError,
    ShapeError,
)

ANIMALS = """legs,weight,name,tail
4,30.5,dog,1
2,0.2,bird,1

0,1e2,fish,0
"""
KINDS = {"name": ["dog", "bird", "fish"].index}


def animals(**options):
    return read_csv(io.StringIO(ANIMALS), **options)


def test_labels_are_split_from_records_and_text_is_converted():
    data = animals(labels="name", convert=KINDS, label_dtype=np.int64)
    assert data.records.dtype == np.float32
    assert data.records.tolist() == [[4, 30.5, 1], [2, np.float32(0.2), 1], [0, 100, 0]]
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [0, 1, 2]
    spaced = read_csv(io.StringIO("x,name\n 1 , dog\n2,fish \n"), 1, convert=KINDS)
    assert spaced.labels.tolist() == [0, 2]


def test_columns_are_taken_by_name_or_position_in_the_order_asked_for():
    data = animals(labels=["tail", 0], columns=[1], dtype=np.float64)
    assert data.records.tolist() == [[30.5], [0.2], [100]]
    assert data.labels.tolist() == [[1, 4], [1, 2], [0, 0]]
    data = animals(columns=["tail", "legs"])
    assert data.labels is None
    assert data.records.tolist() == [[1, 4], [1, 2], [0, 0]]
    assert animals(labels=["tail"], columns=[0]).labels.shape == (3, 1)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "::", " ", None])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_any_delimiter_with_and_without_header(tmp_path, delimiter, header, end):
    rows = [["1", "2.5"], ["-3", "4e-1"]]
    lines = [["a", "b"], *rows] if header else rows
    text = end.join((delimiter or ";").join(line) for line in lines) + end
    path = tmp_path / "numbers"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    data = read_csv(path, delimiter=delimiter, header=header, dtype=np.float64)
    assert data.records.tolist() == [[1, 2.5], [-3, 0.4]]


def test_any_source_gives_the_same(tmp_path):
    expected = animals(labels="name", convert=KINDS).records.tolist()
    (tmp_path / "plain").write_text(ANIMALS)
    (tmp_path / "packed").write_bytes(gzip.compress(ANIMALS.encode()))
    with (tmp_path / "plain").open() as text, (tmp_path / "plain").open("rb") as raw:
        for source in (
            tmp_path / "plain",
            str(tmp_path / "packed"),
            text,
            raw,
            io.BytesIO(gzip.compress(ANIMALS.encode())),
        ):
            data = read_csv(source, "name", convert=KINDS)
            assert data.records.tolist() == expected


def test_records_have_the_shape_asked_for():
    text = "\n".join(",".join(map(str, range(k, k + 7))) for k in (0, 10))
    data = read_csv(io.StringIO(text), 0, shape=(2, 3), header=False)
    assert data.records.tolist() == [
        [[1, 2, 3], [4, 5, 6]],
        [[11, 12, 13], [14, 15, 16]],
    ]
    assert data.labels.tolist() == [0, 10]
    for shape in [(2, 2), (0, 6), (-2, -3), ()]:
        with pytest.raises(ShapeError, match="6 columns are the record"):
            read_csv(io.StringIO(text), 0, shape=shape, header=False)


def test_one_column_and_one_line_are_enough():
    assert read_csv(io.StringIO("5\n6"), header=False).records.tolist() == [[5], [6]]
    assert read_csv(io.StringIO("x\n7\n")).records.tolist() == [[7]]
    assert read_csv(io.StringIO(' 1 ,"2"\n'), header=False).records.tolist() == [[1, 2]]


def test_records_may_be_wide():
    row = ",".join(["0.25"] * 40_000)  # a line longer than what is looked through
    data = read_csv(io.StringIO(f"{row}\n{row}\n"), header=False)
    assert data.records.shape == (2, 40_000)


@settings(max_examples=50)
@given(
    values=st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers()),
        min_size=1,
    ).filter(lambda rows: all(abs(k) < 2**53 for _, k in rows))
)
def test_numbers_come_back_exactly(values):
    text = "x,k\n" + "".join(f"{x!r},{k}\n" for x, k in values)
    data = read_csv(io.StringIO(text), "k", dtype=np.float64, label_dtype=np.int64)
    assert data.records[:, 0].tolist() == [x for x, _ in values]
    assert data.labels.tolist() == [k for _, k in values]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,2", "a number is required in column 'a', found 'x'"),
        ("1,", "a number is required in column 'b', found ''"),
        ("1,2,3", "2 fields are required as in the other lines, found 3"),
        ("1", "2 fields are required as in the other lines, found 1"),
        ("1,nan", "a finite number in float32 is required in column 'b', found 'nan'"),
        ("-inf,1", "a finite number .* in column 'a', found '-inf'"),
        ("1,1e39", "a finite number .* in column 'b', found '1e39'"),
        ("1_0,1", "a number is required in column 'a', found '1_0'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    path = tmp_path / "bad.csv"
    path.write_text(f"a,b\n1,2\n\n3,4\n{line}\n5,6\n7,8\n")
    with pytest.raises(DataError, match=f"bad.csv, line 5: {message}"):
        read_csv(path)


def test_integers_must_be_whole_and_fit():
    for cell in ("1.5", "300", "-1"):
        with pytest.raises(DataError, match=f"line 3: a whole number in uint8.*{cell}"):
            read_csv(io.StringIO(f"a\n1\n{cell}\n"), dtype=np.uint8)
    for cell in (2**53 - 1, 1 - 2**53):
        data = read_csv(io.StringIO(f"a\n{cell}\n"), dtype=np.int64)
        assert data.records.item() == cell
    for cell in (2**53, 2**53 + 1, -(2**53) - 1):  # as float64 no longer exact
        with pytest.raises(DataError, match=rf"below 2\*\*53 in size.*{cell}"):
            read_csv(io.StringIO(f"a\n{cell}\n"), dtype=np.int64)


def test_what_a_conversion_refuses_is_named():
    for function in (["dog", "bird"].index, {"dog": 0, "bird": 1}.get, {}.__getitem__):
        with pytest.raises(DataError, match="`convert` must return a number") as caught:
            animals(labels="name", convert={"name": function})
        assert caught.value.__cause__ is not None
    with pytest.raises(DataError, match=r"stream, line 5: .*'name', found 'fish'"):
        animals(labels="name", convert={"name": ["dog", "bird"].index})
    with pytest.raises(DataError, match="a finite number"):
        animals(labels="name", convert={"name": lambda text: float("nan")})


def test_columns_that_are_not_there_are_refused():
    with pytest.raises(MissingColumnError, match="no column 'kind'; the columns are"):
        animals(labels="kind")
    with pytest.raises(MissingColumnError, match=r"no position 4 \(from 0\)"):
        animals(columns=[4])
    with pytest.raises(MissingColumnError, match="no position -1"):
        animals(labels=-1)
    with pytest.raises(MissingColumnError, match="there is no column 'sex'"):
        animals(labels="name", convert={"sex": int})
    with pytest.raises(MissingColumnError, match="there is no header and 4 columns"):
        animals(labels="name", header=False)
    with pytest.raises(MissingColumnError, match="there are 2 columns 'a'"):
        read_csv(io.StringIO("a,a\n1,2\n"), "a")


def test_columns_asked_for_twice_are_refused():
    for options in (
        {"labels": ["legs", "legs"]},
        {"labels": ["legs", 0]},
        {"labels": "legs", "columns": ["legs", "tail"]},
        {"columns": [1, "weight"]},
    ):
        with pytest.raises(SettingError, match="asked for once"):
            animals(**options)
    with pytest.raises(SettingError, match="at least one column"):
        read_csv(io.StringIO("a\n1\n"), "a")


def test_impossible_settings_are_refused():
    for delimiter in ("", ",,", "é"):
        with pytest.raises(SettingError, match="delimiter"):
            animals(delimiter=delimiter)
    with pytest.raises(DTypeError, match="dtype of numbers"):
        animals(columns=["legs"], dtype=object)


def test_what_holds_no_data_is_refused(tmp_path):
    for content in (b"", b"\n \n", gzip.compress(b"")):
        with pytest.raises(DataError, match="empty"):
            read_csv(io.BytesIO(content))
    with pytest.raises(DataError, match="only a header"):
        read_csv(io.StringIO("a,b\n"))
    with pytest.raises(DataError, match="line 1: 1 fields are required.*found 2"):
        read_csv(io.StringIO("a,b\n1\n2\n"))
    with pytest.raises(DataError, match="zero bytes"):
        read_csv(io.BytesIO(b"1\0,2"))
    with pytest.raises(DataError, match="line 2.*0xe9"):
        read_csv(io.BytesIO(b"a,b\n1,\xe9\n"))
    with pytest.raises(MissingFileError, match="no such file"):
        read_csv(tmp_path / "nowhere.csv")


def test_a_network_learns_from_a_file():
    """The quickstart of the trade: text labels, a small table, a few epochs."""
    data = animals(labels="name", convert=KINDS, label_dtype=np.int64)
    x, kind = wp.InputNode(np.zeros((1, 3))), wp.IndexInputNode([0])
    weights = wp.ParameterNode(np.zeros((3, 3)))
    chances = (x / 10.0).dot(weights).softmax()
    eye = wp.ParameterNode(np.eye(3), trainable=False)
    loss = -(chances * eye.index(kind)).sum(axis=1).ln()
    history = wp.fit(
        loss,
        wp.SGD(0.5),
        {x: data.records, kind: data.labels},
        epochs=60,
        engine="numpy",
        random_state=0,
        progress=False,
    )
    assert history.losses[-1] < 0.2 * history.losses[0]
