"""Known rows drawn, and chosen by their order of score: the same in both engines."""

import numpy as np
import pytest
from scipy import sparse
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.graph.stream import start
from wyrm_py.known_items import kth_best, sample_known

KNOWN = sparse.csr_array(
    np.array([[0, 1, 0, 2, 0], [1, 1, 1, 0, 1], [0, 0, 0, 0, 0]], np.float32)
)


def test_draws_are_even_among_what_the_user_knows():
    users = wp.IndexInputNode([0, 1, 2])
    drawn = sample_known(users, KNOWN, 4000).value
    assert drawn.shape == (3, 4000)
    expected = [[0, 0.5, 0, 0.5, 0], [0.25, 0.25, 0.25, 0, 0.25], [1, 0, 0, 0, 0]]
    for row, shares in zip(drawn, expected, strict=True):
        found = np.bincount(row, minlength=5) / 4000
        np.testing.assert_allclose(found, shares, atol=4 * 0.5 / np.sqrt(4000))
        assert not found[np.equal(shares, 0)].any()


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32])
def test_of_what_is_known_only_the_places_count(dtype):
    known = np.array([[1, 0, 1, 0], [0, 1, 0, 0]])
    user = wp.IndexInputNode([0, 1])
    matrix = sparse.csr_array(known.astype(dtype))
    rows = sample_known(user, matrix, 50).value
    assert set(rows[0]) == {0, 2} and set(rows[1]) == {1}
    drawn = wp.sample_uniform(user, 4, known=matrix, user=user)
    assert drawn.value[0] in {1, 3} and drawn.value[1] in {0, 2, 3}


def test_each_forward_draws_anew():
    node = sample_known(wp.IndexInputNode([1]), KNOWN, 20)
    first = node.value.copy()
    node.forward()
    assert not np.array_equal(node.value, first)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_kth_largest_score_says_which_row(k):
    rng = np.random.default_rng(k)
    scores = rng.permutation(50).reshape(10, 5).astype(float)
    rows = rng.integers(0, 100, (10, 5))
    found = kth_best(wp.InputNode(scores), wp.IndexInputNode(rows), k).value
    for line, numbers, row in zip(scores, rows, found, strict=True):
        assert row == numbers[list(line).index(sorted(line, reverse=True)[k - 1])]


def test_equal_scores_count_in_the_order_of_their_places():
    scores, rows = (
        wp.InputNode([[1.0, 3.0, 3.0, 1.0]]),
        wp.IndexInputNode([[7, 5, 6, 8]]),
    )
    assert [kth_best(scores, rows, k).value.item() for k in (1, 2, 3, 4)] == [
        5,
        6,
        7,
        8,
    ]


def order_statistic():
    """Return a loss that chooses among drawn rows, its parameters and the choice."""
    rng = np.random.default_rng(0)
    users = wp.ParameterNode(rng.standard_normal((3, 4)), np.float64)
    items = wp.ParameterNode(rng.standard_normal((5, 4)), np.float64)
    user = wp.IndexInputNode([1, 0])
    taste = users.index(user)
    drawn = sample_known(user, KNOWN, 6)
    scores = (taste.expand_dims(1) * items.index(drawn)).sum(-1)
    best = kth_best(scores, drawn, 3)
    return taste.vector_dot(items.index(best)).square(), [users, items], best


@pytest.mark.parametrize("make", [plain_step, wp.compile])
def test_both_engines_draw_and_choose_alike(make):
    loss, parameters, best = order_statistic()
    step = make(loss, wp.SGD(0.1))
    chosen = set()
    for block in range(1, 9):
        found, taken = updates(step, parameters)
        random = [a for a in loss._applications() if a.op.random]
        for number, application in enumerate(random):
            application.stream.state = start(0, 0, block, number)
        expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), parameters)
        chosen.add(tuple(best.value))
        assert found == pytest.approx(expected, rel=1e-12)
        for one, other in zip(taken, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert len(chosen) > 1


def test_wrong_use_is_refused():
    user, rows = wp.IndexInputNode([0]), wp.IndexInputNode([[1, 2, 3]])
    scores = wp.InputNode(np.zeros((1, 3)))
    for error, call, message in [
        (errors.GraphError, lambda: sample_known(3, KNOWN, 2), "takes nodes"),
        (errors.SettingError, lambda: sample_known(user, KNOWN, 0), "count"),
        (errors.DTypeError, lambda: sample_known(user, np.eye(2), 2), "scipy.sparse"),
        (errors.DTypeError, lambda: sample_known(scores, KNOWN, 2), "index node"),
        (errors.ShapeError, lambda: sample_known(rows, KNOWN, 2), "one axis"),
        (errors.DataError, lambda: sample_known(user, 0 * KNOWN[:, :0], 2), "nothing"),
        (errors.SettingError, lambda: kth_best(scores, rows, 0), "k must"),
        (errors.ShapeError, lambda: kth_best(scores, rows, 4), "at most the 3"),
        (errors.ShapeError, lambda: kth_best(scores, user, 1), "one shape"),
        (errors.GraphError, lambda: kth_best(scores, [[1, 2, 3]], 1), "takes nodes"),
        (errors.DTypeError, lambda: kth_best(rows, rows, 1), "float"),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_a_user_without_a_row_in_the_matrix_is_refused():
    user = wp.IndexInputNode([3])
    with pytest.raises(errors.IndexRangeError):
        sample_known(user, KNOWN, 2).value
