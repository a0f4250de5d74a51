"""Learner: the bits of `fit`, whatever the chunks, while tables grow."""

import threading
from itertools import pairwise

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.parallel.learner import Learner

RNG = np.random.default_rng(0)


def regression():
    """Return a loss, its inputs, its parameters and its prediction."""
    weights = wp.ParameterNode(np.zeros((1, 3)), name="weights")
    x, y = wp.InputNode(np.zeros((1, 3))), wp.InputNode([[0.0]])
    guess = weights.vector_dot(x)
    return (y - guess).square(), (x, y), weights, guess


def numbers(count):
    x = RNG.standard_normal((count, 3)).astype(np.float32)
    return x, x @ np.array([1.0, -2.0, 0.5], np.float32)


def ranking(rows=50, capacity=None):
    """Return a loss with a sampler, its inputs and its tables, with room to grow."""
    rng = np.random.default_rng(1)

    def table(name):
        value = rng.standard_normal((rows, 4)).astype(np.float32)
        shared = wp.HogwildParameter(value, capacity=capacity or rows)
        return wp.ParameterNode.shared(shared, name=name)

    users, items = table("users"), table("items")
    user, item, last = (wp.IndexInputNode([0]) for _ in range(3))
    taste, wrong = users.index(user), wp.sample_uniform(item, last=last)
    margin = taste.vector_dot(items.index(item)) - taste.vector_dot(items.index(wrong))
    return -margin.sigmoid().ln(), (user, item, last), (users, items), margin


def events(count, rows=50):
    users, items = RNG.integers(0, rows, (2, count))
    return users, items, np.maximum.accumulate(items)


def fed(inputs, columns, begin=0, end=None):
    return {n: c[begin:end] for n, c in zip(inputs, columns, strict=True)}


def learn_in_chunks(learner, inputs, columns, cuts):
    edges = [0, *cuts, len(columns[0])]
    sizes = np.diff(edges)
    losses = [
        learner.learn(fed(inputs, columns, begin, end))
        for begin, end in pairwise(edges)
    ]
    return sizes @ np.array(losses) / sizes.sum()


# -- the same as fit -----------------------------------------------------------


def test_one_worker_comes_to_the_bits_of_fit_whatever_the_chunks():
    columns = numbers(3000)
    loss, inputs, expected, _ = regression()
    history = wp.fit(
        *(loss, wp.Adagrad(0.1), fed(inputs, columns)), shuffle=False, progress=False
    )
    for cuts in ([], [1, 2, 700, 701, 2999]):
        loss, inputs, found, _ = regression()
        mean = learn_in_chunks(Learner(loss, wp.Adagrad(0.1)), inputs, columns, cuts)
        assert np.array_equal(found.value, expected.value)
        assert mean == pytest.approx(history.losses[0], rel=1e-12)


def test_draws_are_those_of_fit_where_blocks_are_of_the_largest_size():
    columns = events(70_000)
    loss, inputs, expected, _ = ranking()
    wp.fit(
        *(loss, wp.SGD(0.1), fed(inputs, columns)),
        **{"shuffle": False, "random_state": 4, "progress": False},
    )
    for cuts in ([], [5, 4095, 4100, 50_000]):
        loss, inputs, found, _ = ranking()
        learner = Learner(loss, wp.SGD(0.1), random_state=4)
        learn_in_chunks(learner, inputs, columns, cuts)
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one.value, other.value)


def test_batches_and_weights_are_as_in_fit():
    columns, weights = numbers(1024), RNG.random(1024)
    values = []
    for learns in (False, True):
        loss, inputs, found, _ = regression()
        given = fed(inputs, columns)
        if learns:
            learner = Learner(loss, wp.SGD(0.1), batch_size=16)
            first = {node: column[:512] for node, column in given.items()}
            rest = {node: column[512:] for node, column in given.items()}
            means = [learner.learn(first, weights[:512])]
            means += [learner.learn(rest, weights[512:])]
            shares = weights[:512].sum(), weights[512:].sum()
            mean = np.average(means, weights=shares)
        else:
            history = wp.fit(
                *(loss, wp.SGD(0.1), given),
                **{"batch_size": 16, "shuffle": False, "progress": False},
                weights=weights,
            )
            mean = history.losses[0]
        values.append((found.value.copy(), mean))
    np.testing.assert_allclose(values[0][0], values[1][0], rtol=1e-6)
    assert values[0][1] == pytest.approx(values[1][1], rel=1e-6)


def test_waiting_chunks_are_done_in_order_by_one_worker():
    columns = events(9000)
    loss, inputs, expected, _ = ranking()
    learn_in_chunks(Learner(loss, wp.SGD(0.1), random_state=4), inputs, columns, [])
    loss, inputs, found, _ = ranking()
    learner = Learner(loss, wp.SGD(0.1), random_state=4)
    for begin in range(0, 9000, 1000):
        learner.submit(fed(inputs, columns, begin, begin + 1000))
    learner.drain()
    assert learner.examples == 9000
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.value, other.value)


# -- what is watched, and settings ---------------------------------------------


def test_watched_values_are_from_before_each_update():
    x, y = numbers(200)
    loss, inputs, _, guess = regression()
    learner = Learner(loss, wp.SGD(0.05), watch=[guess])
    learned = learner.submit(fed(inputs, (x, y)))
    mean = learned.loss()
    weights, expected = np.zeros(3), []
    for row, target in zip(x.astype(np.float64), y, strict=True):
        expected.append(weights @ row)
        weights += 0.05 * 2 * (target - expected[-1]) * row
    found = learned.watched[guess]
    assert found.shape == (200, 1, 1)
    np.testing.assert_allclose(found[:, 0, 0], expected, atol=1e-5)
    assert mean == pytest.approx(np.mean((y - np.array(expected)) ** 2), rel=1e-5)


def test_watching_a_search_that_ends_a_step_early():
    loss, (user, item, _), (users, items), _ = ranking()
    taste = users.index(user)
    better = taste.vector_dot(items.index(item))
    wrong, weight = wp.sample_warp(taste, items, better, margin=-1e9)  # finds nothing
    loss = weight * (1.0 - better + taste.vector_dot(items.index(wrong))).relu()
    before = users.value.copy()
    columns = events(40)[:2]
    learned = Learner(loss, wp.SGD(0.1), watch=[better]).submit(
        fed((user, item), columns)
    )
    assert learned.loss() == 0
    expected = (users.value[columns[0]] * items.value[columns[1]]).sum(1)
    np.testing.assert_allclose(learned.watched[better][:, 0, 0], expected, rtol=1e-5)
    assert np.array_equal(users.value, before)


def test_a_schedule_counts_examples_and_settings_may_change():
    loss, inputs, weights, _ = regression()
    rates = []

    class Rate(wp.schedules.Schedule):
        def rate(self, epoch):
            rates.append(epoch)
            return 0.0

    optimizer = wp.SGD(Rate())
    learner = Learner(loss, optimizer)
    columns = numbers(6000)
    learn_in_chunks(learner, inputs, columns, [100, 5000])
    assert sorted({rate for rate in rates if rate % 4096 == 0}) == [0, 4096]
    assert optimizer.epoch == 6000
    assert not weights.value.any()
    optimizer.learning_rate = 0.1
    learner.learn(fed(inputs, columns))
    assert weights.value.any()


# -- tables that grow ----------------------------------------------------------


def test_tables_grow_between_calls_without_another_step():
    loss, inputs, (users, items), _ = ranking(50, capacity=5000)
    learner = Learner(loss, wp.Adagrad(0.1), random_state=0)
    learner.learn(fed(inputs, events(100)))
    source, place = learner.source, users.value.ctypes.data
    step = next(iter(learner._steps.values()))
    with pytest.raises(errors.IndexRangeError, match=r"\[0, 50\), got 4999"):
        learner.learn(fed(inputs, ([4999], [4999], [4999])))
    for table in (users, items):
        table.block.grow(5000)
        table.value[50:] = RNG.standard_normal((4950, 4))
    before = users.value[4998:].copy()
    learner.learn(fed(inputs, ([4999], [4999], [4998])))
    assert learner.source is source
    assert next(iter(learner._steps.values())) is step
    assert users.value.ctypes.data == place
    assert (users.value[4998:] == before).tolist() == [[True] * 4, [False] * 4]


def test_a_step_that_names_the_rows_of_a_table_follows_its_growth():
    loss, (user, item, _), (users, items), _ = ranking(50, capacity=5000)
    taste = users.index(user)
    better = taste.vector_dot(items.index(item))
    wrong, weight = wp.sample_warp(taste, items, better, margin=1e9)  # takes any row
    loss = weight * (1.0 - better + taste.vector_dot(items.index(wrong))).relu()
    learner = Learner(loss, wp.SGD(0.1), random_state=0)
    columns = events(2000)[:2]
    learner.learn(fed((user, item), columns))
    items.block.grow(5000)
    learner.learn(fed((user, item), columns))
    assert np.any(items.value[2500:] != 0)


def test_a_table_that_moved_is_followed():
    loss, inputs, (users, _), _ = ranking()
    learner = Learner(loss, wp.Adagrad(0.1), random_state=0)
    columns = events(100)
    learner.learn(fed(inputs, columns))
    old, moved = users.value, wp.HogwildParameter.share(users.block)
    users.move(moved)
    before = old.copy()
    learner.learn(fed(inputs, columns))
    assert np.array_equal(old, before)
    assert not np.array_equal(moved.value, before)


def test_a_table_of_a_single_row_grows():
    shared = wp.HogwildParameter(np.ones((1, 3)), capacity=4)
    table, row = wp.ParameterNode.shared(shared), wp.IndexInputNode([0])
    found = table.index(row)
    learner = Learner((1.0 - found).square().sum(), wp.SGD(0.1), watch=[found])
    learner.learn({row: [0]})
    shared.grow(4)
    shared.value[1:] = [[2], [3], [4]]
    done = learner.submit({row: [2, 0, 3]}, wait=True)
    done.loss()
    assert done.watched[found][:, 0, 0].tolist() == [3, 1, 4]


def test_tables_grow_under_running_workers_and_no_update_is_lost():
    chunks, size = 60, 2000
    first = wp.HogwildParameter(np.zeros((size, 1)), capacity=chunks * size)
    table = wp.ParameterNode.shared(first)
    row = wp.IndexInputNode([0])
    learner = Learner(table.index(row).sum(), wp.SGD(1.0), n_jobs=2)
    reading = threading.Event()

    def look():  # a reader beside the workers
        while not reading.is_set():
            seen = first.value
            assert seen.shape[0] % size == 0
            assert seen.min() >= -3

    reader = threading.Thread(target=look)
    reader.start()
    for chunk in range(chunks):
        rows = np.arange(chunk * size, (chunk + 1) * size)
        if chunk:
            first.grow((chunk + 1) * size)
            first.value[rows] = chunk % 5
        learner.submit({row: np.tile(rows, 1)})
    learner.drain()
    reading.set()
    reader.join()
    expected = np.repeat(np.arange(chunks) % 5, size) - 1.0
    assert np.array_equal(first.value[:, 0], expected)


# -- errors --------------------------------------------------------------------


def test_wrong_use_is_refused_by_type_and_changes_nothing():
    loss, inputs, weights, _ = regression()
    for settings in ({"batch_size": 0}, {"n_jobs": 0}, {"random_state": -1}):
        with pytest.raises(errors.SettingError):
            Learner(loss, wp.SGD(0.1), **settings)
    with pytest.raises(errors.GraphError):
        Learner(loss, wp.SGD(0.1), watch=[3])
    learner = Learner(loss, wp.SGD(0.1))
    x, y = numbers(4)
    with pytest.raises(errors.MissingColumnError, match="learn: no column"):
        learner.learn({inputs[0]: x})
    with pytest.raises(errors.DataError, match="nan in example 0"):
        learner.learn(fed(inputs, (x, np.full(4, np.nan))))
    with pytest.raises(errors.DataError, match="^learn: weights must be finite"):
        learner.learn(fed(inputs, (x, y)), [1, 1, -1, 1])
    with pytest.raises(errors.DataError, match="empty"):
        learner.learn(fed(inputs, (x[:0], y[:0])))
    with pytest.raises(errors.ShapeError, match="^learn: weights must have the shape"):
        learner.learn(fed(inputs, (x, y)), [1, 1])
    with pytest.raises(errors.DTypeError, match="^learn: weights"):
        learner.learn(fed(inputs, (x, y)), ["1"] * 4)
    whole = Learner(loss.sum(), wp.SGD(0.1), batch_size=2)
    with pytest.raises(errors.ShapeError, match="^learn: weights need a loss with one"):
        whole.learn(fed(inputs, (x, y)), np.ones(4))
    assert not weights.value.any()
    assert learner.examples == 0


def test_divergence_is_told_by_the_chunk_it_happened_in():
    loss, inputs, _, _ = regression()
    learner = Learner(loss, wp.SGD(1e6))
    with pytest.raises(errors.DivergenceError, match="Lower the learning rate"):
        learner.learn(fed(inputs, numbers(200)))


def test_longer_examples_of_ragged_columns_get_room():
    table = wp.ParameterNode(np.ones((9, 2)))
    bag = wp.IndexInputNode([0], capacity=64)
    learner = Learner(table.index(bag).segment_sum(bag).square().sum(), wp.SGD(0.01))
    learner.learn({bag: [[0], [1]]})
    before = table.value.copy()
    learner.learn({bag: [list(range(9)) * 5]})
    assert (table.value < before).all()


def test_the_mean_loss_of_no_weight_is_nan():
    loss, (x, y), weights, _ = regression()
    learner = wp.Learner(loss, wp.SGD(0.1))
    assert np.isnan(learner.learn({x: np.ones((2, 1, 3)), y: [1, 2]}, [0, 0]))
    assert not weights.value.any()
