"""Rows that grow: the same as a constant matrix that had them all from the start."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import wyrm_py as wp
from wyrm_py import errors

USERS, ITEMS, COLUMNS, WIDTH, EVENTS = 30, 25, 40, 8, 1500


def features(rows=ITEMS, seed=0):
    """Return rows with one to eight entries, but one without any."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((rows, COLUMNS), np.float32)
    for row in range(rows):
        some = rng.choice(COLUMNS, 1 + row % 8, replace=False)
        dense[row, some] = rng.standard_normal(len(some))
    dense[3] = 0
    return sp.csr_array(dense)


def events():
    """Return users, items that appear one after another, and the newest so far."""
    rng = np.random.default_rng(3)
    users = rng.integers(0, USERS, EVENTS)
    items = np.minimum(rng.integers(0, ITEMS, EVENTS), np.arange(EVENTS) // 20)
    return users, items, np.maximum.accumulate(items)


def shared(rng, rows, columns):
    value = rng.standard_normal((rows, columns)).astype(np.float32) * 0.3
    return wp.ParameterNode.shared(wp.HogwildParameter(value))


def learned(rows, loss, cuts=(), grow=lambda newest: None):
    """Return the tables after the events in chunks; `grow` is told the newest item."""
    rng = np.random.default_rng(1)
    users, table = shared(rng, USERS, WIDTH), shared(rng, COLUMNS, WIDTH)
    biases = shared(rng, COLUMNS, 1)
    user, item, last = (wp.IndexInputNode([0]) for _ in range(3))
    taste = users.index(user)

    def score(one):
        chosen = wp.sparse_rows(rows, one)
        return taste.vector_dot(chosen.dot(table)) + chosen.dot(biases)

    better, weight = score(item), 1.0
    if loss == "warp":
        search = {"bias": biases, "last": last, "features": rows}
        wrong, weight = wp.sample_warp(taste, table, better, **search)
    else:
        wrong = wp.sample_uniform(item, last=last)
    loss = weight * (1.0 - better + score(wrong)).relu()
    learner = wp.Learner(loss, wp.Adagrad(0.1), random_state=0)
    columns = events()
    for begin, end in zip([0, *cuts], [*cuts, EVENTS], strict=True):
        grow(columns[2][end - 1])
        parts = (column[begin:end] for column in columns)
        learner.learn(dict(zip((user, item, last), parts, strict=True)))
    return [node.value.copy() for node in (users, table, biases)]


@pytest.mark.parametrize("loss", ["hinge", "warp"])
@pytest.mark.parametrize(
    ("cuts", "capacity"), [((), 100), ((1, 2, 19, 20, 21, 50, 400, 401, 900), 1)]
)
def test_rows_that_come_one_by_one_are_learned_as_those_of_a_matrix(
    loss, cuts, capacity
):
    matrix, rows = features(), wp.GrowingRows(capacity=capacity)

    def grow(newest):
        if newest >= rows.shape[0]:
            rows.append(matrix[rows.shape[0] : newest + 1])

    expected = learned(matrix, loss)
    found = learned(rows, loss, cuts, grow)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
    assert (rows.csr() != matrix[: rows.shape[0]]).nnz == 0
    assert rows.moves == 0 if capacity > 1 else rows.moves > 1


@pytest.mark.parametrize("count", [1, 2])
def test_two_that_are_alike_at_first_stay_apart(count):
    ones = sp.csr_array(np.eye(count, 6, dtype=np.float32) + np.eye(count, 6, 2))
    both = [wp.GrowingRows(ones), wp.GrowingRows(ones)]
    table = wp.ParameterNode(1.0 + np.arange(30.0).reshape(6, 5))
    index = wp.IndexInputNode([0])
    sums = [wp.sparse_rows(rows, index).dot(table) for rows in both]
    learner = wp.Learner(
        (sums[0] + 2.0 * sums[1]).sum(), wp.SGD(1e-30), watch=[sums[0], sums[1]]
    )
    learner.learn({index: [0]})
    for rows, column in zip(both, (4, 5), strict=True):
        rows.append(sp.csr_array(([2.0, 1.0], ([0, 0], [0, column])), (1, 6)))
    done = learner.submit({index: [count, 0]}, wait=True)
    done.loss()
    for node, column in zip(sums, (4, 5), strict=True):
        t = table.value
        expected = [2 * t[0] + t[column], t[0] + t[2]]
        np.testing.assert_array_equal(done.watched[node][:, 0], expected)


def test_nodes_built_before_see_rows_that_came_later():
    rows, index = wp.GrowingRows(), wp.IndexInputNode([0])
    table = wp.ParameterNode(np.random.default_rng(0).standard_normal((COLUMNS, 4)))
    product = wp.sparse_rows(rows, index).dot(table)
    assert not product.value.any()  # no row yet: an empty one
    rows.append(features())
    for row in (0, 3, 24):
        index.set_value([row])
        product.forward()
        expected = features().toarray()[[row]] @ table.value
        np.testing.assert_allclose(product.value, expected, rtol=1e-5, atol=1e-6)


def test_what_was_compiled_before_knows_the_rows_that_there_were():
    rows, index = wp.GrowingRows(features()[:2]), wp.IndexInputNode([0])
    table = wp.ParameterNode(np.ones((COLUMNS, 4)))
    step = wp.compile(wp.sparse_rows(rows, index).dot(table).sum(), wp.SGD(0.1))
    rows.append(features()[2:])
    index.set_value([1])
    step()
    index.set_value([20])
    with pytest.raises(errors.IndexRangeError):
        step()


def test_others_read_rows_while_they_grow():
    rows = wp.GrowingRows(features()[:5])
    reader = wp.GrowingRows.attach(rows.address)
    assert (reader.csr() != features()[:5]).nnz == 0
    rows.append(features()[5:])
    assert (reader.csr() != features()).nnz == 0
    for array in (*reader.views(), *rows.views()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_entries_of_one_column_are_added_up():
    parts = np.array([1.0, 2.0, 4.0]), np.array([5, 1, 5]), np.array([0, 3])
    rows = wp.GrowingRows(sp.csr_array(parts, shape=(1, 7)))
    starts, columns, values = rows.views()
    assert (list(starts), list(columns), list(values)) == ([0, 2], [1, 5], [2.0, 5.0])
    assert rows.shape == (1, 7)


def test_wrong_rows_are_refused_and_change_nothing():
    rows, index = wp.GrowingRows(features()), wp.IndexInputNode([0])
    table = wp.ParameterNode(np.ones((COLUMNS, 4)))
    wp.sparse_rows(rows, index).dot(table)
    holed = features()
    holed.data[7] = np.nan
    wide = sp.csr_array((1, COLUMNS + 1))
    for error, wrong in [
        (errors.DataError, holed),
        (errors.DTypeError, np.eye(3)),
        (errors.IndexRangeError, wide),
    ]:
        with pytest.raises(error, match=r"GrowingRows\.append"):
            rows.append(wrong)
    assert rows.shape == (ITEMS, COLUMNS)
    small = wp.ParameterNode(np.ones((COLUMNS - 1, 4)))
    with pytest.raises(errors.ShapeError, match="40 columns need a table"):
        wp.sparse_rows(rows, index).dot(small)
    with pytest.raises(errors.ShapeError, match="40 columns need a table"):
        query = wp.InputNode(np.ones((1, 4)))
        wp.sample_warp(query, small, wp.InputNode([[0.0]]), features=rows)
    with pytest.raises(errors.DTypeError, match="float32"):
        wp.sparse_rows(rows, index, np.float64)
    far = sp.csr_array(([1.0], [2**32 + 5], [0, 1]), shape=(1, 2**33))
    with pytest.raises(errors.IndexRangeError, match="2147483647 columns at most"):
        wp.GrowingRows(far)
    there = wp.GrowingRows.attach(rows.address)
    with pytest.raises(errors.SettingError, match="for reading only"):
        there.append(features())
    with pytest.raises(errors.SettingError, match="for reading only"):
        wp.sparse_rows(there, index)
    with pytest.raises(TypeError, match="attach"):
        pickle.dumps(rows)
    with pytest.raises(errors.DTypeError, match="scipy"):
        wp.sparse_rows(5, index)
    for capacity in (0, 1.5, True, 2**31):
        with pytest.raises(errors.SettingError, match="capacity"):
            wp.GrowingRows(capacity=capacity)
    with pytest.raises(errors.IndexRangeError):
        wp.Learner(wp.sparse_rows(rows, index).dot(table).sum(), wp.SGD(0.1)).learn(
            {index: [ITEMS]}
        )
