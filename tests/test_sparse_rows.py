"""Rows of a constant CSR matrix inside a graph, against scipy's product."""

import numpy as np
import pytest
import scipy.sparse as sp
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.engines.native import source

ROWS, FEATURES, WIDTH = 7, 11, 16


def features(seed=0, empty=3):
    """Return features (7, 11), stored per row: several, one, none."""
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((ROWS, FEATURES)) * (rng.random((ROWS, FEATURES)) < 0.4)
    dense[empty] = 0
    return sp.csr_array(dense)


def table(width=WIDTH, seed=1):
    values = np.random.default_rng(seed).standard_normal((FEATURES, width))
    return wp.ParameterNode(values, np.float64)


@pytest.mark.parametrize("rows", [[2], [3], [5, 0, 5, 3]])
def test_value_and_gradient_are_those_of_a_product(rows):
    index, weights = wp.IndexInputNode(rows), table()
    chosen = wp.sparse_rows(features(), index, np.float64)
    product = chosen.dot(weights)
    dense = features().toarray()[rows]
    assert chosen.shape == (len(rows), FEATURES)
    np.testing.assert_allclose(product.value, dense @ weights.value)
    loss = product.square().sum()
    loss.backward()
    expected = dense.T @ (2 * dense @ weights.value)
    given = weights.gradient
    np.testing.assert_allclose(
        given.toarray() if sp.issparse(given) else given, expected, atol=1e-12
    )


def test_other_rows_have_another_number_of_entries():
    index, weights = wp.IndexInputNode([0, 1]), table()
    product = wp.sparse_rows(features(), index, np.float64).dot(weights)
    for rows in ([3, 3], [1, 6], [4, 3]):
        index.set_value(rows)
        product.forward()
        expected = features().toarray()[rows] @ weights.value
        np.testing.assert_allclose(product.value, expected, atol=1e-12)


@pytest.mark.parametrize("make", [plain_step, wp.compile])
@pytest.mark.parametrize("rows", [[2], [3], [5, 0, 5, 3]])
def test_a_printed_step_updates_as_numpy_does(make, rows):
    index, weights = wp.IndexInputNode(rows), table()
    loss = wp.sparse_rows(features(), index, np.float64).dot(weights).square().sum()
    optimizer = wp.SGD(0.1)
    expected = updates(lambda: numpy_step(loss, optimizer), [weights])
    found = updates(make(loss, optimizer), [weights])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-12)


def test_gradients_of_gradients_pass_through():
    index, weights = wp.IndexInputNode([1, 5]), table(width=2)
    loss = wp.sparse_rows(features(), index, np.float64).dot(weights).tanh().sum()
    (first,) = (wp.gradient(loss, weights),)
    numeric, analytic = wp.finite_difference(weights, (first.square()).sum())
    np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-8)


def ranking(n_users=30, n_items=ROWS):
    """Return a loss with features on both items of a pair, and its columns."""
    rng = np.random.default_rng(4)
    users = wp.ParameterNode(rng.standard_normal((n_users, WIDTH)) * 0.1)
    weights = wp.ParameterNode(rng.standard_normal((FEATURES, WIDTH)) * 0.1)
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    negative = wp.sample_uniform(item, n_items)
    taste = users.index(user)
    better, worse = (
        taste.vector_dot(wp.sparse_rows(features(), rows).dot(weights))
        for rows in (item, negative)
    )
    loss = -(better - worse).sigmoid().ln()
    columns = {
        user: rng.integers(0, n_users, 200),
        item: rng.integers(0, n_items, 200),
    }
    return loss, [users, weights], columns


def trained(**settings):
    loss, parameters, columns = ranking()
    history = wp.fit(
        loss,
        wp.Adagrad(0.1),
        columns,
        epochs=2,
        random_state=3,
        progress=False,
        **settings,
    )
    return history.losses, [node.value.copy() for node in parameters]


@pytest.mark.parametrize("batch_size", [None, 16])
def test_fit_is_the_same_in_both_engines(batch_size):
    native, walked = (
        trained(engine=engine, batch_size=batch_size) for engine in ("native", "numpy")
    )
    np.testing.assert_allclose(native[0], walked[0], rtol=1e-5)
    for one, other in zip(native[1], walked[1], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_step_cut_into_functions_is_the_same(monkeypatch):
    whole = trained(batch_size=16)
    monkeypatch.setattr(source, "MOST_LOOPS", 5)
    monkeypatch.setattr(source, "PIECE_LOOPS", 2)
    cut = trained(batch_size=16)
    single = trained()
    np.testing.assert_allclose(cut[0], whole[0], rtol=1e-6)
    for one, other in zip(cut[1], whole[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    monkeypatch.undo()
    for one, other in zip(single[1], trained()[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_two_processes_and_synchronous_workers_train():
    for settings in (
        {"n_jobs": 2},
        {"n_jobs": 2, "engine": "numpy", "backend": "threads"},
        {"n_jobs": 2, "mode": "synchronous"},
    ):
        losses, values = trained(**settings)
        assert np.isfinite(losses).all()
        assert all(np.isfinite(value).all() for value in values)
    assert trained(n_jobs=2, mode="synchronous")[0] == losses


def test_sums_of_products_with_a_ragged_leaf_beside():
    """Two lengths of different kinds in one step."""
    weights, other = table(), wp.ParameterNode(np.ones((5, WIDTH)), np.float64)
    index = wp.IndexInputNode([1])
    words = wp.IndexInputNode([0, 4, 4], capacity=6)
    chosen = wp.sparse_rows(features(), index, np.float64)
    text = other.index(words).segment_mean(words)
    loss = (chosen.dot(weights) * text).square().sum()
    columns = {index: [0, 3, 6], words: [[1, 2], [0], []]}
    before = weights.value.copy()
    values = wp.evaluate(loss, columns)
    dense = features().toarray() @ before
    expected = [(dense[0] ** 2).sum(), 0.0, 0.0]
    np.testing.assert_allclose(values, expected, atol=1e-12)
    assert np.isfinite(wp.fit(loss, wp.SGD(0.01), columns, progress=False).losses[0])


def test_wrong_use_is_told():
    index = wp.IndexInputNode([0])
    with pytest.raises(errors.DTypeError, match="scipy.sparse"):
        wp.sparse_rows(np.eye(3), index)
    with pytest.raises(errors.GraphError, match="index node"):
        wp.sparse_rows(features(), [0, 1])
    with pytest.raises(errors.DTypeError, match="integer"):
        wp.sparse_rows(features(), wp.InputNode([1.0]))
    with pytest.raises(errors.ShapeError, match="one axis"):
        wp.sparse_rows(features(), wp.IndexInputNode([[0, 1]]))
    spoiled = features()
    spoiled.data[2] = np.nan
    with pytest.raises(errors.DataError, match="nan in row"):
        wp.sparse_rows(spoiled, index)
    with pytest.raises(errors.IndexRangeError, match=r"\[0, 7\)"):
        wp.sparse_rows(features(), wp.IndexInputNode([7]))
    with pytest.raises(errors.ShapeError, match="inner sizes differ"):
        wp.sparse_rows(features(), index).dot(np.ones((FEATURES + 1, 2)))


def test_row_numbers_of_columns_are_checked_before_native_code():
    index, weights = wp.IndexInputNode([0]), table()
    loss = wp.sparse_rows(features(), index, np.float64).dot(weights).sum()
    with pytest.raises(errors.IndexRangeError, match=r"\[0, 7\), got 9"):
        wp.fit(loss, wp.SGD(0.1), {index: [0, 9]}, progress=False)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_what_was_checked_is_copied(kind):
    """Native code trusts row numbers: a matrix written to later must not reach it."""
    matrix = features()
    matrix.indices, matrix.indptr = (
        matrix.indices.astype(kind),
        matrix.indptr.astype(kind),
    )
    user = wp.IndexInputNode([0, 5])
    weights = table()
    product = wp.sparse_rows(matrix, user, np.float64).dot(weights)
    drawn = wp.sample_known(user, matrix, 3)
    free = wp.sample_uniform(user, FEATURES, known=matrix, user=user)
    dense = matrix.toarray()
    matrix.indices[:], matrix.indptr[1:] = -1, 10**9
    for node in product, drawn, free:
        node.forward()
    np.testing.assert_allclose(product.value, dense[[0, 5]] @ weights.value)
    assert dense[[[0], [5]], drawn.value].all()
    assert not dense[[0, 5], free.value].any()


def test_column_numbers_beyond_32_bits_are_kept():
    wide = sp.csr_array(([1.0, 2.0], [1, 3_000_000_000], [0, 1, 2]), (2, 4_000_000_000))
    index = wp.IndexInputNode([1])
    assert wp.sparse_rows(wide, index).indices.value == 3_000_000_000
    assert wp.sample_known(index, wide, 1).value == 3_000_000_000
