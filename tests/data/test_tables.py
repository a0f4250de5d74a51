"""What users have at hand becomes interactions, and goes back; scikit-learn cuts it."""

import datetime
import decimal
import subprocess
import sys
import uuid

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_score,
    train_test_split,
)

from wyrm_py.data import Interactions
from wyrm_py.errors import DataError, DTypeError, MissingColumnError, ShapeError


def triplets(data: Interactions) -> list[tuple]:
    users, items = data.user_ids[data.users], data.item_ids[data.items]
    return list(zip(users.tolist(), items.tolist(), data.ratings.tolist(), strict=True))


@pytest.mark.parametrize("form", ["coo", "csr", "csc", "lil", "dok", "bsr"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_entries_of_a_sparse_matrix_are_ratings(form, kind):
    table = np.array([[0, 2.5, 0, 0], [0, 0, 0, 0], [1, 0, -3, 0]])
    matrix = getattr(scipy.sparse, f"{form}_{kind}")(table)
    data = Interactions.of(matrix)
    assert sorted(triplets(data)) == [(0, 1, 2.5), (2, 0, 1), (2, 2, -3)]
    assert (data.n_users, data.n_items) == (3, 4)
    np.testing.assert_array_equal(data.csr().toarray(), table != 0)


def test_repeated_and_zero_entries_are_kept():
    entries = ([5.0, 1.0, 0.0], ([1, 1, 0], [2, 2, 0]))
    data = Interactions.of(scipy.sparse.coo_array(entries, shape=(2, 3)))
    assert triplets(data) == [(1, 2, 5.0), (1, 2, 1.0), (0, 0, 0.0)]
    stored = scipy.sparse.csr_array(([0.0, 1.0], [0, 1], [0, 2]), shape=(1, 2))
    assert triplets(Interactions.of(stored)) == [(0, 0, 0.0), (0, 1, 1.0)]
    yes = scipy.sparse.csr_array(np.array([[True, False]]))
    assert triplets(Interactions.of(yes)) == [(0, 0, 1.0)]


def test_what_is_no_matrix_of_users_and_items_is_refused():
    with pytest.raises(ShapeError, match="users and items"):
        Interactions.of(scipy.sparse.coo_array(np.array([1.0, 2.0])))
    with pytest.raises(DataError, match="no interactions"):
        Interactions.of(scipy.sparse.csr_array((3, 4)))
    with pytest.raises(DataError, match="nan in row 1"):
        Interactions.of(scipy.sparse.csr_array([[1, np.nan]]))
    with pytest.raises(DTypeError, match="got int"):
        Interactions.of(7)
    with pytest.raises(DTypeError, match="got str"):
        Interactions.of("ratings.csv")


def test_arrays_of_pairs_and_triplets():
    pairs = np.array([[7, 3], [7, 4]])
    assert triplets(Interactions.of(pairs)) == [(7, 3, 1.0), (7, 4, 1.0)]
    rated = np.array([[7, 3, 0.5], [8, 3, 2]])
    assert triplets(Interactions.of(rated)) == [(7, 3, 0.5), (8, 3, 2.0)]
    assert Interactions.of(rated).user_ids.dtype == np.int64
    named = np.array([["a", "x", "1.5"], ["b", "x", "2"]])
    assert triplets(Interactions.of(named)) == [("a", "x", 1.5), ("b", "x", 2.0)]
    other = Interactions.of(rated, item=0, user=1)
    assert triplets(other) == [(3, 7, 0.5), (3, 8, 2.0)]
    with pytest.raises(DTypeError, match="ratings must be numbers"):
        Interactions.of(np.array([["a", "x", "good"]]))
    with pytest.raises(MissingColumnError, match="position 5"):
        Interactions.of(pairs, rating=5)


COLUMNS = {
    "userId": ["u2", "u1", "u2"],
    "movie_id": [30, 10, 20],
    "Rating": [4.5, 3.0, 1.0],
    "ts": pandas.to_datetime(["1970-01-02", "1970-01-01", "1970-01-03"]),
    "importance": [1, 0, 2],
}
FRAMES = {
    "pandas": lambda: pandas.DataFrame(COLUMNS),
    "pandas of arrow": lambda: pandas.DataFrame(COLUMNS).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "pandas of categories": lambda: pandas.DataFrame(COLUMNS).astype(
        {"userId": "category", "movie_id": "category"}
    ),
    "pandas of objects": lambda: pandas.DataFrame(COLUMNS).astype({"userId": object}),
    "polars": lambda: polars.DataFrame(COLUMNS),
    "polars of categories": lambda: polars.DataFrame(COLUMNS).with_columns(
        polars.col("userId").cast(polars.Categorical)
    ),
    "lazy polars": lambda: polars.LazyFrame(COLUMNS),
    "arrow": lambda: pa.Table.from_pandas(pandas.DataFrame(COLUMNS)),
    "record batch": lambda: pa.RecordBatch.from_pandas(pandas.DataFrame(COLUMNS)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_columns_of_dataframes_are_known_by_usual_names(name):
    data = Interactions.of(FRAMES[name](), weight="importance")
    assert triplets(data) == [("u2", 30, 4.5), ("u1", 10, 3.0), ("u2", 20, 1.0)]
    assert data.timestamps.tolist() == [86400, 0, 172800]
    assert data.weights.tolist() == [1, 0, 2]
    assert data.weights.dtype == np.float32
    assert Interactions.of(FRAMES[name]()).weights is None
    swapped = Interactions.of(FRAMES[name](), user="movie_id", item=0, rating=4)
    assert triplets(swapped) == [(30, "u2", 1.0), (10, "u1", 0.0), (20, "u2", 2.0)]
    with pytest.raises(MissingColumnError, match=r"'stars'; the columns are 'userId'"):
        Interactions.of(FRAMES[name](), rating="stars")


def test_numbered_columns_stand_in_the_usual_order():
    frame = pandas.DataFrame([["u", "i", 2.0, 7]])
    data = Interactions.of(frame)
    assert triplets(data) == [("u", "i", 2.0)]
    assert data.timestamps.tolist() == [7]


@pytest.mark.parametrize(
    "ids",
    [
        [uuid.UUID(int=5), uuid.UUID(int=2**90)],
        [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)],
        [b"\xff", b"a"],
        [decimal.Decimal("1.5"), decimal.Decimal("2.5")],
    ],
    ids=["uuid", "date", "bytes", "decimal"],
)
def test_ids_of_objects_come_back_from_pandas(ids):
    data = Interactions.of(pandas.DataFrame({"user": ids, "item": [1, 2]}))
    assert data.user_ids.tolist() == ids


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"user": ["a", None]}, DataError, "users: .* row 1 has none"),
        ({"user": [1.0, np.nan]}, DataError, "users: .* row 1 has none"),
        ({"user": ["a", 1]}, DTypeError, "one type"),
        ({"user": [(1, 2), (3, 4)]}, DTypeError, "ids"),
        ({"rating": [1.0, np.nan]}, DataError, "finite ratings .* row 1"),
        ({"rating": [1.0, np.inf]}, DataError, "finite ratings .* row 1"),
        ({"rating": ["a", "b"]}, DTypeError, "ratings must be numbers"),
        ({"w": [1.0, np.nan]}, DataError, "finite weights .* row 1"),
        ({"w": [1.0, -1]}, DataError, "zero or more .* row 1"),
        ({"timestamp": ["a", "b"]}, DTypeError, "timestamps must be numbers or dates"),
        ({"timestamp": [1, np.nan]}, DataError, "timestamps .* row 1"),
        (
            {"timestamp": pandas.to_datetime(["2020-01-01", None])},
            DataError,
            "timestamps .* row 1",
        ),
    ],
)
def test_bad_values_of_dataframes_are_named_with_their_row(columns, error, message):
    frame = {"user": [1, 2], "item": [3, 4], "w": [1, 1], **columns}
    with pytest.raises(error, match=message):
        Interactions.of(pandas.DataFrame(frame), weight="w")


def test_columns_of_one_name_are_refused():

    frame = pandas.DataFrame([[1, 2, 3, 4]], columns=["user", "item", "x", "x"])
    with pytest.raises(DataError, match="'x' 2 times"):
        Interactions.of(frame)


def test_masked_arrays_are_refused():
    masked = np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    for pairs in masked, masked.astype(float):
        with pytest.raises(DataError, match="masked"):
            Interactions.of(pairs)


def test_numbers_beyond_floats_are_no_ratings():
    with pytest.raises(DataError, match="ratings must be numbers, found '1000"):
        Interactions.of([(1, 2, 10**400)])


def test_interactions_go_to_dataframes_and_come_back():
    data = Interactions(["b", "a"], [7, 8], [1, 2], [3, 4], [0.5, 1])
    for again in (
        data.to_arrow(),
        polars.DataFrame(data),
        data.to_arrow().to_pandas(),
        data,
    ):
        made = Interactions.of(again, weight="weight")
        assert triplets(made) == triplets(data)
        assert made.timestamps.tolist() == [3, 4]
        assert made.weights.tolist() == [0.5, 1]
    assert Interactions([1], [2]).to_arrow().column_names == ["user", "item", "rating"]


def test_rows_are_chosen_by_brackets():
    data = Interactions([5, 6, 7], [1, 2, 3])
    assert data.shape == (3,)
    for rows in (slice(1, None), [1, 2], np.array([False, True, True])):
        assert (
            triplets(data[rows]) == triplets(data[rows, ...]) == [(6, 2, 1), (7, 3, 1)]
        )
    with pytest.raises(ShapeError):
        data[1]


class Mean(BaseEstimator):
    """Remembers what it was given, and scores by it."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, X, y=None):
        assert isinstance(X, Interactions)
        self.mean_ = X.ratings.mean() + self.shift
        return self

    def score(self, X, y=None):
        return -float(np.abs(X.ratings - self.mean_).mean())


def test_scikit_learn_cuts_interactions_by_rows():
    rng = np.random.default_rng(0)
    data = Interactions(rng.integers(0, 4, 60), rng.integers(0, 90, 60), rng.random(60))
    folds = KFold(3)
    scores = cross_val_score(Mean(), data, cv=folds)
    by_hand = [
        Mean().fit(data[train]).score(data[test])
        for train, test in folds.split(np.arange(60))
    ]
    np.testing.assert_array_equal(scores, by_hand)
    search = GridSearchCV(Mean(), {"shift": [-0.3, 0.0, 0.3]}, cv=folds).fit(data)
    assert search.best_params_ == {"shift": 0.0}
    train, test = train_test_split(data, test_size=0.25, random_state=0)
    assert (len(train), len(test)) == (45, 15)
    assert train.user_ids is data.user_ids


def test_neither_pandas_nor_polars_is_needed():
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pandas", "polars"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import numpy, pyarrow, wyrm_py as wp
table = pyarrow.table({"user": ["a"], "item": [1]})
assert len(wp.data.Interactions.of(table)) == 1
assert len(wp.data.Interactions.of(numpy.array([[1, 2]]))) == 1
assert len(list(wp.data.stream([table, table]))) == 2
"""
    subprocess.run([sys.executable, "-c", program], check=True)
