"""The best rows found natively are those of a whole sort, ties and gaps included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wyrm_py.errors import DataError, DTypeError, SettingError, ShapeError
from wyrm_py.retrieval import best


def oracle(scores, n, excluded=None, allowed=None):
    """Sort all rows by score, then code; leave out what may not be there."""
    found_codes, found_scores = [], []
    width = min(n, scores.shape[1])
    for q, line in enumerate(scores.tolist()):
        left_out = set() if excluded is None else set(excluded[q])
        rows = [
            (-score, code)
            for code, score in enumerate(line)
            if code not in left_out
            and (allowed is None or allowed[code])
            and score > -np.inf  # also false for NaN
        ]
        rows = sorted(rows)[:n]
        missing = width - len(rows)
        found_codes.append([code for _, code in rows] + [-1] * missing)
        found_scores.append([-score for score, _ in rows] + [-np.inf] * missing)
    shape = len(scores), width
    return np.reshape(found_codes, shape), np.reshape(found_scores, shape)


def compressed(lists):
    starts = np.cumsum([0, *map(len, lists)])
    return starts, np.array([code for codes in lists for code in codes], np.int32)


def whole_numbers(rng, *shape):
    """Small whole numbers: sums are exact in any order, and ties are many."""
    return rng.integers(-2, 3, shape).astype(np.float32)


@settings(max_examples=50)
@given(
    n_queries=st.integers(0, 70),
    n_items=st.integers(0, 90),
    width=st.integers(1, 40),
    n=st.integers(1, 100),
    n_jobs=st.integers(1, 3),
    seed=st.integers(0, 10_000),
)
def test_the_best_are_those_of_a_whole_sort(n_queries, n_items, width, n, n_jobs, seed):
    rng = np.random.default_rng(seed)
    queries = whole_numbers(rng, n_queries, width)
    items, biases = whole_numbers(rng, n_items, width), whole_numbers(rng, n_items)
    scales = rng.choice([0.5, 1, 2], n_items).astype(np.float32)
    lists = [np.flatnonzero(rng.random(n_items) < 0.3) for _ in range(n_queries)]
    allowed = rng.random(n_items) < 0.7
    scores = (queries @ items.T) * scales + biases
    codes, found = best(
        *(queries, items, biases, n),
        excluded=compressed(lists),
        allowed=allowed,
        scales=scales,
        n_jobs=n_jobs,
    )
    expected = oracle(scores, n, lists, allowed)
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(found, expected[1])
    assert (codes.dtype, found.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_a_single_query_over_many_items_has_one_answer_for_any_threads(n_jobs):
    rng = np.random.default_rng(3)
    items, query = whole_numbers(rng, 35_000, 6), whole_numbers(rng, 1, 6)
    codes, scores = best(query, items, None, 50, n_jobs=n_jobs)
    expected = oracle(query @ items.T, 50)
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(scores, expected[1])


@pytest.mark.parametrize("n_queries", [1, 2, 7, 8, 11, 55])
@pytest.mark.parametrize("width", [3, 16, 50])
def test_equal_items_tie_wherever_they_stand(n_queries, width):
    """A sum that depended on the place of the item would part them."""
    rng = np.random.default_rng(4)
    queries = rng.standard_normal((n_queries, width)).astype(np.float32)
    items = np.tile(rng.standard_normal((1, width)).astype(np.float32), (701, 1))
    codes, scores = best(queries, items, None, 701)
    assert (codes == np.arange(701)).all()
    assert (scores == scores[:, :1]).all()
    exact = (queries.astype(float) @ items[0].astype(float))[:, None]
    np.testing.assert_allclose(scores, np.tile(exact, 701), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_queries", [2, 9, 100])
def test_threads_change_no_bit(n_queries):
    rng = np.random.default_rng(6)
    queries = rng.standard_normal((n_queries, 37)).astype(np.float32)
    items = rng.standard_normal((900, 37)).astype(np.float32)
    expected = best(queries, items, None, 900)
    for n_jobs in (2, 3, 7):
        codes, scores = best(queries, items, None, 900, n_jobs=n_jobs)
        np.testing.assert_array_equal(codes, expected[0])
        np.testing.assert_array_equal(scores, expected[1])


def test_more_than_there_are_gives_all_of_them():
    items = np.arange(5.0)[:, None]
    for n in (5, 6, 10**12, 10**30, np.int64(1 << 62)):
        codes, scores = best(np.ones((2, 1)), items, None, n)
        assert codes.tolist() == [[4, 3, 2, 1, 0]] * 2
        assert scores.tolist() == [[4, 3, 2, 1, 0]] * 2
    codes, scores = best(np.ones((2, 1)), np.ones((0, 1)), None, 10**12)
    assert codes.shape == scores.shape == (2, 0)


def test_nan_and_minus_infinity_are_never_among_the_best():
    biases = np.array([np.nan, 1, -np.inf, np.inf, 0], np.float32)
    codes, scores = best(np.ones((1, 1)), np.ones((5, 1)), biases, 5)
    assert codes.tolist() == [[3, 1, 4, -1, -1]]
    assert scores.tolist() == [[np.inf, 2, 1, -np.inf, -np.inf]]
    codes, _ = best(np.full((2, 1), np.nan), np.ones((5, 1)), None, 2, n_jobs=2)
    assert (codes == -1).all()


def test_arrays_that_cannot_be_written_or_lie_elsewhere_are_taken():
    rng = np.random.default_rng(5)
    queries, items = whole_numbers(rng, 3, 4), whole_numbers(rng, 40, 4)
    expected = best(queries, items, None, 7)
    for array in (queries, items):
        array.flags.writeable = False
    for left, right in (
        (queries, items),
        (np.asfortranarray(queries), np.asfortranarray(items)),
        (queries.astype(">f8"), items.tolist()),
    ):
        codes, scores = best(left, right, None, 7)
        np.testing.assert_array_equal(codes, expected[0])
        np.testing.assert_array_equal(scores, expected[1])


def test_excluded_codes_that_no_item_has_do_no_harm():
    huge = np.array([-5, 1, 2**40]), np.array([0, 3])
    codes, _ = best(np.ones((1, 2)), np.ones((3, 2)), None, 3, excluded=huge[::-1])
    assert codes.tolist() == [[0, 2, -1]]


def test_starts_may_be_a_part_of_longer_ones():
    starts, codes = compressed([[0, 1], [2], [0, 3], [1, 2, 3]])
    found, _ = best(
        np.ones((2, 1)), np.ones((4, 1)), None, 2, excluded=(starts[2:], codes)
    )
    assert found.tolist() == [[1, 2], [0, -1]]


def test_wrong_input_is_refused():
    queries, items = np.ones((2, 3)), np.ones((5, 3))
    with pytest.raises(ShapeError, match=r"one width .* \(2, 3\) and \(5, 2\)"):
        best(queries, items[:, 1:], None, 1)
    with pytest.raises(ShapeError, match="queries must have two dimensions"):
        best(queries[0], items, None, 1)
    with pytest.raises(ShapeError, match=r"biases of shape \(5,\)"):
        best(queries, items, np.ones(4), 1)
    with pytest.raises(ShapeError, match=r"scales of shape \(5,\)"):
        best(queries, items, None, 1, scales=np.ones((5, 1)))
    with pytest.raises(ShapeError, match=r"bools of shape \(5,\), got int64"):
        best(queries, items, None, 1, allowed=np.ones(5, np.int64))
    with pytest.raises(DTypeError, match="takes numbers"):
        best(queries, [["a"]], None, 1)
    for n in (0, 2.5, True):
        with pytest.raises(SettingError, match="n must be a whole number"):
            best(queries, items, None, n)
    with pytest.raises(SettingError, match="n_jobs"):
        best(queries, items, None, 1, n_jobs=0)


@pytest.mark.parametrize(
    ("starts", "codes", "error"),
    [
        ([0, 2, 3], [1, 0, 2], DataError),  # codes fall
        ([0, 2, 3], [1, 1, 2], DataError),  # a code twice
        ([0, 2, 4], [0, 1, 2], DataError),  # starts past the codes
        ([0, 3, 2], [0, 1, 2], DataError),  # starts fall
        ([-2, 0, 3], [0, 1, 2], DataError),
        ([0, 3], [0, 1, 2], ShapeError),
        ([0, 1, 3], [[0, 1, 2]], ShapeError),
        ([0.0, 1.0, 3.0], [0, 1, 2], DTypeError),
        ([0, 1, 3], [0.0, 1.0, 2.0], DTypeError),
    ],
)
def test_exclusions_that_cannot_be_trusted_are_refused(starts, codes, error):
    with pytest.raises(error, match="excluded"):
        best(np.ones((2, 3)), np.ones((5, 3)), None, 1, excluded=(starts, codes))
