"""Look-ups of the same rows: updates in native steps against those of NumPy."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp

FEATURES = 12


def features(rows, seed, share=0.4):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((rows, FEATURES)) * (
        rng.random((rows, FEATURES)) < share
    )
    return sp.csr_array(dense)


def scored(look_ups, width, seed=0, dtype=np.float64):
    """Return a loss of rows looked up several times, vectors and biases alike."""
    rng = np.random.default_rng(seed)
    vectors = wp.ParameterNode(rng.standard_normal((FEATURES, width)), dtype)
    biases = wp.ParameterNode(rng.standard_normal((FEATURES, 1)), dtype)
    taste = wp.ParameterNode(rng.standard_normal((1, width)), dtype)
    matrix, loss = features(6, seed), 0.0
    for sign, row in zip((1, -1, 1, -1, 1), look_ups, strict=False):
        stored = wp.sparse_rows(matrix, wp.IndexInputNode([row]), dtype)
        score = taste.vector_dot(stored.dot(vectors)) + stored.dot(biases)
        loss = loss + (score * sign).sigmoid().ln() * -(1.0 + row)
    return loss, [vectors, biases, taste]


OPTIMIZERS = {
    "sgd": lambda: wp.SGD(0.1),
    "adagrad": lambda: wp.Adagrad(0.1, l2=0.1),
    "adam": lambda: wp.Adam(0.1),
    "clipped": lambda: wp.Adagrad(0.1, clip_norm=0.5),
}


def compare(graph, rule, make):
    """Compare a step with NumPy's; each starts from new parameters and state."""
    loss, parameters = graph()
    expected = updates(lambda: numpy_step(loss, rule), parameters)
    loss, parameters = graph()
    found = updates(make(loss, rule), parameters)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("make", [plain_step, wp.compile])
@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("look_ups", [[0], [0, 1], [2, 2], [0, 1, 2], [3, 4, 3, 5]])
def test_rows_of_several_look_ups_are_summed_before_the_rule(look_ups, rule, make):
    compare(lambda: scored(look_ups, width=3), OPTIMIZERS[rule](), make)


def test_more_look_ups_than_are_merged_go_through_a_table():
    graph = partial(scored, [0, 1, 2, 3, 1], width=3)
    compare(graph, wp.Adagrad(0.1), wp.compile)


def test_what_takes_itself_away_changes_nothing():
    """The same row as right and wrong item: Adagrad needs an exact zero."""
    rng = np.random.default_rng(1)
    matrix = features(6, 1)
    for width in (1, 16, 32):
        vectors = wp.ParameterNode(rng.standard_normal((FEATURES, width)))
        biases = wp.ParameterNode(rng.standard_normal((FEATURES, 1)))
        taste = wp.InputNode(rng.standard_normal((1, width)))
        scores = []
        for _ in range(2):
            stored = wp.sparse_rows(matrix, wp.IndexInputNode([2]))
            scores.append(taste.vector_dot(stored.dot(vectors)) + stored.dot(biases))
        loss = -(scores[0] - scores[1]).sigmoid().ln()
        before = vectors.value.copy(), biases.value.copy()
        wp.compile(loss, wp.Adagrad(0.1))()
        np.testing.assert_array_equal(vectors.value, before[0])
        np.testing.assert_array_equal(biases.value, before[1])


def product_of_tables():
    """Return a loss where the gradient of one table is made of rows of another."""
    rng = np.random.default_rng(2)
    vectors = wp.ParameterNode(rng.standard_normal((FEATURES, 4)), np.float64)
    others = wp.ParameterNode(rng.standard_normal((5, 4)), np.float64)
    stored = wp.sparse_rows(features(6, 3), wp.IndexInputNode([1]), np.float64)
    loss = others.index(wp.IndexInputNode([3])).vector_dot(stored.dot(vectors)).sum()
    return loss, [others, vectors]


@pytest.mark.parametrize("make", [plain_step, wp.compile])
def test_gradients_that_read_a_parameter_are_taken_before_it_changes(make):
    compare(product_of_tables, wp.Adagrad(0.1), make)


def test_gradients_of_rows_are_not_written_to_memory():
    loss, _ = scored([0, 1], width=16)
    text = wp.compile(loss, wp.Adagrad(0.1)).source
    products = [x for x in text.splitlines() if "= e" in x]
    assert products and not any("entries" in line for line in products)
    assert text.count("sqrt(") == 2 * 3 + 1  # alone, summed, alone; and the taste


def looked_up_by_segment():
    """Return a loss of rows looked up by the place of each entry: the same, always."""
    table = wp.ParameterNode(np.ones((FEATURES, 3)), np.float64)
    stored = wp.sparse_rows(features(6, 3), wp.IndexInputNode([1]), np.float64)
    each = table.index(stored.segments) * stored.data.expand_dims(1)
    return each.square().sum(), [table]


def looked_up_in_two_axes():
    """Return a loss of rows looked up by numbers (1, 1) and by those of features."""
    rng = np.random.default_rng(0)
    table = wp.ParameterNode(rng.standard_normal((FEATURES, 3)), np.float64)
    stored = wp.sparse_rows(features(6, 3), wp.IndexInputNode([1]), np.float64)
    single = table.index(wp.IndexInputNode([[2]])).reshape(1, 3)
    return single.vector_dot(stored.dot(table)).sum(), [table]


@pytest.mark.parametrize("graph", [looked_up_by_segment, looked_up_in_two_axes])
@pytest.mark.parametrize("make", [plain_step, wp.compile])
def test_rows_that_may_come_twice_are_summed(graph, make):
    compare(graph, wp.Adagrad(0.1), make)
