"""Dropout: shares, scale, the switch, and the same draws in both engines."""

import numpy as np
import pytest
from stepping import numpy_step, plain_step, updates
from waiting import together

import wyrm_py as wp
from wyrm_py.graph.stream import Stream


def ones(*shape):
    return wp.ParameterNode(np.ones(shape), np.float64)


def test_elements_are_zero_with_probability_p_and_else_scaled():
    dropped = ones(200, 500).dropout(0.3).value
    assert set(np.unique(dropped)) == {0.0, 1 / 0.7}
    share = (dropped == 0).mean()  # of 100,000: a standard deviation is 0.00145
    assert abs(share - 0.3) < 5 * 0.00145
    assert abs(dropped.mean() - 1) < 5 * 0.00145 / 0.7


def test_neighbours_are_dropped_independently():
    kept = (ones(300, 300).dropout(0.5).value > 0) * 2.0 - 1.0
    for shift in (1, 2, 3, 300):
        flat = kept.reshape(-1)
        assert abs((flat[shift:] * flat[:-shift]).mean()) < 5 / 300


def test_the_gradient_is_the_mask_with_its_scale():
    weights = wp.ParameterNode(np.full((4, 8), 3.0), np.float64)
    out = weights.dropout(0.6)
    (out * 2.0).sum().backward()
    np.testing.assert_allclose(weights.gradient, 2.0 * out.value / 3.0, rtol=1e-14)
    assert 0 < (weights.gradient == 0).sum() < 32


def test_each_forward_draws_a_mask_and_backward_does_not():
    weights = ones(10, 10)
    out = weights.dropout(0.5)
    first = out.value.copy()
    out.sum().backward()
    np.testing.assert_array_equal(out.value, first)
    assert not np.array_equal(out.forward().value, first)


def test_a_mask_used_twice_is_one_mask():
    out = ones(10, 10).dropout(0.5)
    np.testing.assert_array_equal((out * out).value, 4.0 * (out.value > 0))


def test_differences_hold_the_mask_fixed():
    weights = wp.ParameterNode(np.linspace(-1, 1, 24).reshape(4, 6), np.float64)
    numeric, analytic = wp.finite_difference(weights, weights.dropout(0.5).tanh())
    np.testing.assert_allclose(numeric, analytic, rtol=1e-6, atol=1e-8)
    assert (analytic == 0).any() and (analytic != 0).any()


def test_built_graphs_follow_the_switch():
    mode = wp.Mode()
    weights = ones(10, 10)
    out = weights.dropout(0.5, mode)
    assert (out.value == 0).any()
    mode.training = False
    np.testing.assert_array_equal(out.forward().value, np.ones((10, 10)))
    out.sum().backward()
    np.testing.assert_array_equal(weights.gradient, np.ones((10, 10)))
    mode.training = True
    assert (out.forward().value == 0).any()
    assert repr(mode) == "Mode(training=True)"


def test_one_switch_serves_many_nodes_and_without_one_a_node_trains():
    mode = wp.Mode(training=False)
    out = ones(10, 10).dropout(0.5, mode).dropout(0.9, mode)
    np.testing.assert_array_equal(out.value, np.ones((10, 10)))
    assert (ones(10, 10).dropout(0.5).value == 0).any()


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan, "half", None, True])
def test_a_probability_outside_0_to_1_is_refused(p):
    with pytest.raises(wp.errors.SettingError, match=r"p must be a number in \[0, 1\]"):
        ones(2, 2).dropout(p)


def test_row_numbers_cannot_be_dropped():
    with pytest.raises(wp.errors.DTypeError, match="dropout"):
        wp.IndexInputNode([1, 2]).dropout(0.5)


def test_a_run_of_draws_is_that_of_single_draws():
    several, single = Stream(7, 1, 2, 3), Stream(7, 1, 2, 3)
    for count in (0, 1, 5, 100):
        drawn = several.draws(count)
        assert drawn.tolist() == [single.draw() for _ in range(count)]
    assert several.state == single.state


def follow(loss):
    """Start every stream where a compiled step starts its first call."""
    from wyrm_py.engines.plan import Plan

    for number, application in enumerate(Plan.training(loss).random()):
        application.stream = Stream(0, 0, 1, number)


@pytest.mark.parametrize("build", [plain_step, wp.compile], ids=["plain", "native"])
def test_both_engines_draw_the_same_masks(build):
    rng = np.random.default_rng(0)
    weights = wp.ParameterNode(rng.normal(size=(3, 4, 5)), np.float64)
    bias = wp.ParameterNode(rng.normal(size=(1, 1)), np.float64)
    hidden = (weights.dropout(0.4) * 2.0).tanh().dropout(0.1)
    loss = hidden.square().sum() * bias.dropout(0.01)
    optimizer = wp.SGD(1.0)
    nodes = [weights, bias]
    step = build(loss, optimizer)
    follow(loss)
    expected, wanted = updates(lambda: numpy_step(loss, optimizer), nodes)
    found, taken = updates(step, nodes)
    assert found == pytest.approx(expected, rel=1e-12)
    for one, other in zip(taken, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def regression(mode=None):
    """A linear model whose inputs are dropped: data and graph."""
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(200, 6))
    truth = columns @ np.array([[1.0], [-2.0], [0.5], [0.0], [3.0], [1.0]])
    weights = wp.ParameterNode(np.zeros((6, 1)), np.float64)
    x = wp.InputNode(np.zeros((1, 6)), np.float64)
    y = wp.InputNode(np.zeros((1, 1)), np.float64)
    prediction = x.dropout(0.5, mode) @ weights
    loss = (prediction - y).square()
    return weights, prediction, loss, {x: columns, y: truth}, x


@pytest.mark.parametrize("batch_size", [None, 16])
def test_fit_trains_alike_in_both_engines_whatever_the_switch_says(batch_size):
    found = {}
    for engine in ("numpy", "native"):
        for training in (True, False):
            weights, _, loss, inputs, _ = regression(wp.Mode(training))
            history = wp.fit(
                loss,
                wp.SGD(0.01),
                inputs,
                epochs=2,
                batch_size=batch_size,
                engine=engine,
                random_state=3,
                progress=False,
            )
            found[engine, training] = np.append(weights.value, history.losses)
    first = found["numpy", True]
    for other in found.values():
        np.testing.assert_allclose(other, first, rtol=1e-10)
    weights, _, loss, inputs, _ = regression()
    x, y = inputs
    plain = (x @ weights - y).square()
    settings = {"epochs": 2, "batch_size": batch_size, "random_state": 3}
    wp.fit(plain, wp.SGD(0.01), inputs, **settings, progress=False)
    assert np.abs(weights.value[:, 0] - first[:6]).max() > 0.01  # dropout did work


def test_evaluate_never_drops_whatever_the_switch_says():
    weights, prediction, _, inputs, x = regression(wp.Mode(training=True))
    weights.set_value(1.0)
    values = wp.evaluate(prediction, {x: inputs[x]})
    expected = inputs[x].sum(1).reshape(-1, 1, 1)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    batched = wp.evaluate(prediction, {x: inputs[x]}, batch_size=32)
    np.testing.assert_allclose(batched, expected[:, 0], rtol=1e-12)


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_worker_processes_drop_as_well(engine):
    weights, _, loss, inputs, _ = regression(wp.Mode(training=False))
    wp.fit(
        loss,
        wp.SGD(0.01),
        inputs,
        epochs=4,
        n_jobs=2,
        engine=engine,
        callbacks=[together],
        random_state=0,
        progress=False,
    )
    # with half of the inputs dropped the weights stay clearly below the truth
    assert 0.5 < weights.value[4, 0] < 2.9


def test_a_dropped_score_of_looked_up_rows_trains_natively():
    rng = np.random.default_rng(2)
    users, items = (wp.ParameterNode(rng.normal(size=(9, 4))) for _ in range(2))
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    score = users.index(user).vector_dot(items.index(item))
    loss = (score.dropout(0.5) - 1.0).square()
    columns = {user: rng.integers(0, 9, 300), item: rng.integers(0, 9, 300)}
    found = []
    for engine in ("native", "numpy"):
        start = users.value.copy(), items.value.copy()
        history = wp.fit(
            loss, wp.SGD(0.01), columns, engine=engine, random_state=1, progress=False
        )
        found.append((history.losses[0], users.value.copy()))
        users.set_value(start[0])
        items.set_value(start[1])
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-5)


def recurrent(mode):
    """A recurrent network that drops its state in every step."""
    x = wp.InputNode(np.zeros((5, 2, 3)), np.float64)
    start = wp.InputNode(np.zeros((2, 3)), np.float64)
    rng = np.random.default_rng(1)
    weights = wp.ParameterNode(rng.normal(size=(3, 3)), np.float64)

    def body(state, value):
        state = (state.dropout(0.3, mode) @ weights + value).tanh()
        return state, state

    outputs, _ = wp.scan(body, x, start)
    columns = {x: rng.normal(size=(20, 5, 2, 3)), start: rng.normal(size=(20, 2, 3))}
    return outputs.square().sum(), columns, weights


def test_a_loop_drops_anew_in_every_step_and_alike_in_both_engines():
    found = []
    for engine in ("numpy", "native"):
        loss, columns, weights = recurrent(wp.Mode(training=False))
        settings = {"engine": engine, "random_state": 0, "progress": False}
        wp.fit(loss, wp.SGD(0.01), columns, **settings)
        found.append(weights.value.copy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_loop_drops_nothing_in_evaluation():
    loss, columns, _ = recurrent(wp.Mode(training=True))
    values = wp.evaluate(loss, columns)
    mode = wp.Mode(training=False)
    same, given, _ = recurrent(mode)
    for k, expected in enumerate(values):
        for node, column in given.items():
            node.set_value(column[k])
        assert same.forward().value == pytest.approx(expected, rel=1e-12)
