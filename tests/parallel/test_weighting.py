"""Weights of examples, against loops by hand and against examples that repeat."""

import numpy as np
import pytest
from scipy import sparse
from small_models import Factors, Linear

import wyrm_py as wp
from wyrm_py.errors import DataError, DTypeError, ShapeError

COUNT = 23
WEIGHTS = np.random.default_rng(1).integers(0, 4, COUNT).astype(np.float64)
ENGINES = ("native", "numpy")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [None, 7])
def test_weighted_fit_is_the_loop_by_hand(engine, batch):
    model = Linear(COUNT)
    history = model.fit(
        wp.SGD(0.01),
        epochs=2,
        batch_size=batch,
        shuffle=False,
        engine=engine,
        weights=WEIGHTS,
    )
    values, means = model.first(), []
    for _ in range(2):
        losses = 0.0
        for begin in range(0, COUNT, batch or 1):
            rows = np.arange(begin, min(begin + (batch or 1), COUNT))
            step = [model.by_hand(rows[k : k + 1], values) for k in range(len(rows))]
            losses += sum(WEIGHTS[k] * s[0] for k, s in zip(rows, step, strict=True))
            both = zip(rows, step, strict=True)
            values = values - 0.01 * sum(WEIGHTS[k] * s[1] for k, s in both)
        means.append(losses / WEIGHTS.sum())
    np.testing.assert_allclose(model.values(), values, rtol=1e-12)
    np.testing.assert_allclose(history.losses, means, rtol=1e-12)


@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
def test_whole_weights_are_examples_that_repeat(mode):
    weighted, repeated = Linear(COUNT), Linear(COUNT)
    times = WEIGHTS.astype(int)
    first = weighted.fit(epochs=3, batch_size=COUNT, mode=mode, weights=WEIGHTS)
    repeated.inputs = {
        leaf: np.repeat(column, times, axis=0)
        for leaf, column in repeated.inputs.items()
    }
    second = repeated.fit(epochs=3, batch_size=int(times.sum()), mode=mode)
    np.testing.assert_allclose(weighted.values(), repeated.values(), rtol=1e-12)
    np.testing.assert_allclose(first.losses, second.losses, rtol=1e-12)


@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_every_worker_reads_its_weights(mode, backend, small_blocks):
    """Half of the rows weigh nothing: no order of updates could move those."""
    table, index = wp.ParameterNode(np.zeros((200, 1))), wp.IndexInputNode([0])
    loss = table.index(index).sum(axis=1)
    weights = np.tile([0.0, 2.0], 100)
    history = wp.fit(
        loss,
        wp.SGD(1.0),
        {index: np.arange(200)},
        n_jobs=2,
        mode=mode,
        backend=backend,
        weights=weights,
        progress=False,
    )
    np.testing.assert_array_equal(table.value[:, 0], -weights)
    assert history.losses == [0.0]


@pytest.mark.parametrize("batch", [None, 7])
def test_equal_weights_only_scale_the_gradient(batch):
    plain, doubled = Factors(), Factors()
    first = plain.fit(wp.SGD(0.2), epochs=2, batch_size=batch)
    weights = np.full(200, 2.0)
    second = doubled.fit(wp.SGD(0.1), epochs=2, batch_size=batch, weights=weights)
    np.testing.assert_allclose(plain.values(), doubled.values(), atol=1e-6)
    np.testing.assert_allclose(first.losses, second.losses, rtol=1e-6)


def test_warp_that_finds_nothing_still_ends_the_step():
    """Weights must not hide that the loss is a multiple of the sampler's weight."""
    users, items = wp.ParameterNode(np.ones((5, 2))), wp.ParameterNode(np.ones((9, 2)))
    items.set_value([[0.0, 0.0]] * 8 + [[9.0, 9.0]])  # row 8 by more than the margin
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    taste = users.index(user)
    score = taste.vector_dot(items.index(item))
    known = sparse.csr_array(([1.0], ([0], [8])), shape=(5, 9))
    negative, rank = wp.sample_warp(taste, items, score, known=known, user=user)
    loss = rank * (1.0 - score + taste.vector_dot(items.index(negative))).relu()
    optimizer = wp.SGD(0.1, l2=0.5)  # shrinks the rows of any step that is taken
    before = items.value.copy()
    inputs = {user: np.zeros(4, int), item: np.full(4, 8)}
    wp.fit(loss, optimizer, inputs, weights=np.arange(1.0, 5.0), progress=False)
    np.testing.assert_array_equal(items.value, before)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.r_[np.ones(22), np.nan], DataError, "got nan for example 22"),
        (np.r_[-1.0, np.ones(22)], DataError, "not below zero, got -1.0 for example 0"),
        (np.full(23, 1e300), DataError, "must be finite in float32"),
        (np.zeros(23), DataError, "all weights are zero"),
        (np.ones(22), ShapeError, r"shape \(23,\), one number an example, got \(22,\)"),
        (np.ones((23, 1)), ShapeError, r"got \(23, 1\)"),
        (np.array(["a"] * 23), DTypeError, "must be numbers"),
    ],
)
def test_impossible_weights_are_refused_before_anything_changes(
    weights, error, message
):
    model = Factors()
    inputs = {leaf: column[:23] for leaf, column in model.inputs.items()}
    before = model.values()
    with pytest.raises(error, match=message):
        wp.fit(model.loss, wp.SGD(0.1), inputs, weights=weights, progress=False)
    np.testing.assert_array_equal(model.values(), before)


def test_a_loss_that_is_one_number_a_batch_takes_no_weights():
    model = Linear(COUNT)
    with pytest.raises(ShapeError, match="is not the batch"):
        wp.fit(
            model.loss.mean(),
            wp.SGD(0.1),
            model.inputs,
            batch_size=5,
            weights=WEIGHTS,
            progress=False,
        )
