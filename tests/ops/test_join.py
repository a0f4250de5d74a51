"""Joins and chunks in minibatches, and what a chunk costs."""

import numpy as np
import pytest
from stepping import plain_step, updates

import wyrm_py as wp
from wyrm_py.engines.plan import Plan
from wyrm_py.ops.join import Chunk, Concatenate


def network():
    """Gates cut from one product, flattened inputs, a stack of two views."""
    rng = np.random.default_rng(0)
    x = wp.InputNode(np.zeros((1, 2, 3)), np.float64)
    y = wp.InputNode(np.zeros((1, 2)), np.float64)
    gates = wp.ParameterNode(rng.normal(size=(6, 6)), np.float64)
    bias = wp.ParameterNode(rng.normal(size=(6,)), np.float64)
    i, f, g = (x.flatten(1) @ gates + bias).chunk(3, axis=1)
    joined = (i.sigmoid() * g.tanh()).stack(f, axis=1).sum(axis=1)
    loss = (joined - y).square()
    data = {x: rng.normal(size=(50, 2, 3)), y: rng.normal(size=(50, 2))}
    return loss, data, [gates, bias]


@pytest.mark.parametrize("batch_size", [None, 8])
def test_both_engines_train_alike_through_chunks(batch_size):
    found = []
    for engine in ("numpy", "native"):
        loss, data, parameters = network()
        wp.fit(
            loss,
            wp.SGD(0.05),
            data,
            epochs=2,
            batch_size=batch_size,
            engine=engine,
            random_state=0,
            progress=False,
        )
        found.append(np.concatenate([node.value.reshape(-1) for node in parameters]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


def test_the_gradient_of_a_chunk_is_one_join():
    loss, _, _ = network()
    plan = Plan.training(loss)
    kinds = [type(a.op) for a in plan.applications]
    assert kinds.count(Chunk) == 1
    joins = [a for a in plan.backward if isinstance(a.op, Concatenate)]
    assert [len(a.inputs) for a in joins] == [3]


def test_native_chunks_are_read_in_place():
    loss, _, _ = network()
    (line,) = [
        s for s in plain_step(loss, wp.SGD(0.1)).source.splitlines() if "chunk(" in s
    ]
    assert "reads" in line


def test_a_batch_can_be_doubled_and_cut_in_two_but_not_cut_alone():
    rng = np.random.default_rng(1)
    x = wp.InputNode(np.zeros((2, 3)), np.float64)
    weights = wp.ParameterNode(rng.normal(size=(1, 3)), np.float64)
    start = weights.value.copy()
    columns = {x: rng.normal(size=(40, 3))}
    settings = {"batch_size": 10, "random_state": 0, "progress": False}
    plain, twice = (x * weights).concatenate(x).chunk(2)
    found = []
    for engine in ("numpy", "native"):
        weights.set_value(start)
        loss = (plain - twice * 2.0).square()
        wp.fit(loss, wp.SGD(0.01), columns, engine=engine, **settings)
        found.append(weights.value.copy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
    halves = (x * weights).chunk(2)
    with pytest.raises(wp.errors.ShapeError, match=r"chunk: .*\(batch, 3\) cannot"):
        wp.fit((halves[0] - halves[1]).square(), wp.SGD(0.01), columns, **settings)
    np.testing.assert_array_equal(weights.value, found[1])


def test_row_numbers_can_be_cut_and_stay_checked():
    table = wp.ParameterNode(np.arange(20.0).reshape(10, 2), np.float64)
    rows = wp.IndexInputNode([1, 9, 3, 4])
    left, right = rows.chunk(2)
    step = wp.compile((table.index(left) * table.index(right)).sum(), wp.SGD(0.1))
    assert step() == 2 * 6 + 3 * 7 + 18 * 8 + 19 * 9
    rows.set_value([1, 2, 3, 10])
    with pytest.raises(wp.errors.IndexRangeError, match=r"in \[0, 10\), got 10"):
        step()


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_joined_may_also_be_reshaped(turned):
    """Where a part of the join is, its elements do not lie in a row."""
    x = wp.ParameterNode(np.arange(6.0).reshape(2, 3), np.float64)
    part = x.tanh().t().reshape(2, 3) if turned else x.tanh()
    loss = part.concatenate(x.exp(), axis=1).square().sum()
    loss = loss + (part.reshape(-1) * np.arange(6.0)).sum()
    expected = wp.gradient(loss, x).value
    mean, (taken,) = updates(plain_step(loss, wp.SGD(1.0)), [x])
    assert mean == pytest.approx(loss.value.item(), rel=1e-14)
    np.testing.assert_allclose(taken, expected, rtol=1e-14)
