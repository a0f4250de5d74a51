"""SGD and Adagrad against their formulas, by rows and densely, in both engines."""

from functools import partial
from unittest import mock

import numpy as np
import pytest
from stepping import numpy_step, plain_step, unchanged

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.parallel import run

ROWS = np.array([3, 1, 3, 0])
WEIGHTS = np.arange(1.0, 13.0).reshape(4, 3) / 4


def table(dtype=np.float64):
    return wp.ParameterNode(
        np.linspace(-1.0, 1.0, 15).reshape(5, 3), dtype, name="table"
    )


def row_loss(node):
    """A sum over looked-up rows, one of them twice: gradient known by hand."""
    rows = wp.IndexInputNode(ROWS)
    return (node.index(rows) * WEIGHTS.astype(node.dtype)).sum()


def row_gradient():
    expected = np.zeros((5, 3))
    np.add.at(expected, ROWS, WEIGHTS)
    return expected


def dense_loss(node):
    """The same gradient, without looking anything up."""
    return (node * row_gradient().astype(node.dtype)).sum()


ENGINES = {
    "numpy": lambda loss, optimizer: lambda: numpy_step(loss, optimizer),
    "plain": plain_step,
}
OPTIMIZERS = {
    "sgd": lambda **more: wp.SGD(0.1, **more),
    "adagrad": lambda **more: wp.Adagrad(0.1, epsilon=1e-3, **more),
}
every_engine = pytest.mark.parametrize("engine", ENGINES)
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS)


def clipped(gradient, clip=None, clip_norm=None):
    if clip is not None:
        gradient = np.clip(gradient, -clip, clip)
    if clip_norm is not None:
        gradient = gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    return gradient


def closed_form(make, value, gradients, l2=0.0, **clips):
    """Return the value after some dense gradients, by the textbook."""
    value, total = value.copy(), np.zeros_like(value)
    for gradient in gradients:
        g = clipped(gradient, **clips) + l2 * value
        if make == "sgd":
            value -= 0.1 * g
        else:
            total += g * g
            value -= 0.1 * g / (1e-3 + np.sqrt(total))
    return value


@every_engine
@every_optimizer
@pytest.mark.parametrize("more", [{}, {"clip": 0.8}, {"clip_norm": 1.5}], ids=str)
@pytest.mark.parametrize("loss_of", [row_loss, dense_loss])
def test_steps_follow_the_closed_form(engine, make, more, loss_of):
    node = table()
    expected = closed_form(make, node.value, [row_gradient()] * 3, **more)
    step = ENGINES[engine](loss_of(node), OPTIMIZERS[make](**more))
    for _ in range(3):
        step()
    np.testing.assert_allclose(node.value, expected, rtol=1e-12, atol=1e-12)


@every_engine
@every_optimizer
def test_l2_shrinks_whole_parameters_but_only_the_rows_that_were_touched(engine, make):
    dense, rows = table(), table()
    before = dense.value.copy()
    for node, loss_of in ((dense, dense_loss), (rows, row_loss)):
        ENGINES[engine](loss_of(node), OPTIMIZERS[make](l2=0.5))()
    expected = closed_form(make, before, [row_gradient()], l2=0.5)
    np.testing.assert_allclose(dense.value, expected, rtol=1e-12, atol=1e-12)
    touched = [0, 1, 3]
    np.testing.assert_allclose(
        rows.value[touched], expected[touched], rtol=1e-12, atol=1e-12
    )
    assert np.array_equal(rows.value[[2, 4]], before[[2, 4]])


@every_engine
@every_optimizer
@pytest.mark.parametrize(
    "more", [{}, {"clip": 0.8, "clip_norm": 1.5}, {"clip_norm": 100.0}], ids=str
)
def test_rows_are_updated_as_a_dense_gradient_with_zeros_would(engine, make, more):
    """Zero rows leave SGD and Adagrad (without l2) where they are."""
    dense, rows = table(), table()
    for node, loss_of in ((dense, dense_loss), (rows, row_loss)):
        step = ENGINES[engine](loss_of(node), OPTIMIZERS[make](**more))
        step()
        step()
    np.testing.assert_allclose(rows.value, dense.value, rtol=1e-12, atol=1e-12)


@every_engine
def test_repeated_rows_are_summed_before_adagrad(engine):
    """Two gradients of 1 are one of 2: sum 4, not 1 + 1."""
    node = wp.ParameterNode(np.zeros((3, 2)), np.float64)
    looked_up = node.index(wp.IndexInputNode([1, 1]))
    ENGINES[engine](looked_up.sum(), wp.Adagrad(0.5))()
    state = node.block.slot("adagrad.sum")
    assert np.array_equal(state[:, 0], [0, 4, 0])
    np.testing.assert_allclose(node.value[1], -0.5 * 2 / 2, rtol=1e-9)


@every_engine
@pytest.mark.parametrize("number", [2, 4, 5, 9])
def test_look_ups_of_one_table_in_one_step_are_summed_first(engine, number):
    """Single look-ups, compared pairwise up to four, through a hash table above."""
    node = wp.ParameterNode(np.zeros((3, 2)), np.float64)
    rows = [k * k % 3 for k in range(number)]
    loss = sum(
        (node.index(wp.IndexInputNode([row])) * (k + 1.0)).sum()
        for k, row in enumerate(rows)
    )
    ENGINES[engine](loss, wp.Adagrad(1.0))()
    expected = np.zeros(3)
    np.add.at(expected, rows, np.arange(1.0, number + 1))
    assert np.array_equal(node.block.slot("adagrad.sum")[:, 0], expected**2)


@every_engine
def test_clipping_comes_after_the_sum_and_before_the_norm(engine):
    node = wp.ParameterNode(np.zeros((3, 1)), np.float64)
    rows = node.index(wp.IndexInputNode([0, 0, 2]))
    loss = (rows * np.array([[1.0], [1.0], [-9.0]])).sum()
    ENGINES[engine](loss, wp.SGD(1.0, clip=1.5, clip_norm=1.5))()
    scale = 1.5 / np.sqrt(1.5**2 + 1.5**2)
    np.testing.assert_allclose(node.value[:, 0], [-1.5 * scale, 0, 1.5 * scale])


@every_engine
def test_the_norm_is_that_of_all_parameters_together(engine):
    first = wp.ParameterNode(np.zeros((1, 1)), np.float64)
    second = wp.ParameterNode(np.zeros((4, 1)), np.float32)
    loss = first * 3.0 + (second.index(wp.IndexInputNode([2])) * 4.0)
    ENGINES[engine](loss, wp.SGD(1.0, clip_norm=1.0))()
    np.testing.assert_allclose(first.value.item(), -0.6, rtol=1e-6)
    np.testing.assert_allclose(second.value[:, 0], [0, 0, -0.8, 0], rtol=1e-6)


@every_engine
def test_a_zero_gradient_has_no_norm_to_divide_by(engine):
    node = wp.ParameterNode(np.ones((2, 2)), np.float64)
    ENGINES[engine]((node * 0.0).sum(), wp.SGD(1.0, clip_norm=1.0))()
    assert np.array_equal(node.value, np.ones((2, 2)))


@every_engine
@every_optimizer
def test_several_nodes_over_one_block_are_summed_before_the_rule(engine, make):
    shared = wp.HogwildParameter(table().value, dtype=np.float64)
    first, second = wp.ParameterNode.shared(shared), wp.ParameterNode.shared(shared)
    expected = closed_form(make, shared.value, [3 * row_gradient()])
    loss = row_loss(first) + 2.0 * row_loss(second)
    ENGINES[engine](loss, OPTIMIZERS[make]())()
    np.testing.assert_allclose(shared.value, expected, rtol=1e-12, atol=1e-12)


@every_engine
@every_optimizer
def test_rows_and_dense_uses_of_one_table_are_summed_before_the_rule(engine, make):
    node = table()
    expected = closed_form(make, node.value, [3 * row_gradient()])
    ENGINES[engine](2.0 * row_loss(node) + dense_loss(node), OPTIMIZERS[make]())()
    np.testing.assert_allclose(node.value, expected, rtol=1e-12, atol=1e-12)


@every_engine
@every_optimizer
def test_a_frozen_parameter_stays_as_it_is(engine, make):
    node = table()
    frozen = wp.ParameterNode(np.full((5, 3), 2.0), np.float64, trainable=False)
    ENGINES[engine]((node * frozen).sum(), OPTIMIZERS[make]())()
    assert np.array_equal(frozen.value, np.full((5, 3), 2.0))
    assert not np.array_equal(node.value, table().value)


def test_native_optimizers_are_those_of_numpy():
    """Everything at once: rows, dense, l2, both clips, float32 and float64."""
    for make in OPTIMIZERS.values():
        optimizer = make(l2=0.1, clip=1.2, clip_norm=2.0)
        results = []
        for native in (False, True):
            nodes = [table(np.float64), table(np.float32), table(np.float64)]
            loss = (
                row_loss(nodes[0])
                + dense_loss(nodes[1])
                + row_loss(nodes[2]) * 0.5
                + (nodes[2].index(wp.IndexInputNode([4])) * 2.0).sum()
            )
            if native:
                step = wp.compile(loss, optimizer)
                losses = [step() for _ in range(3)]
            else:
                losses = [numpy_step(loss, optimizer) for _ in range(3)]
            results.append((losses, [node.value for node in nodes]))
        np.testing.assert_allclose(*(losses for losses, _ in results), rtol=1e-6)
        for one, other in zip(results[0][1], results[1][1], strict=True):
            bound = 1e-6 if one.dtype == np.float32 else 1e-7
            np.testing.assert_allclose(one, other, rtol=bound, atol=bound)


# -- state -----------------------------------------------------------------------


def test_state_lives_with_the_parameter_under_the_name_of_rule_and_role():
    node = table()
    loss = dense_loss(node)
    numpy_step(loss, wp.Adagrad(0.1))
    once = node.block.slot("adagrad.sum").copy()
    np.testing.assert_array_equal(once, row_gradient() ** 2)
    numpy_step(loss, wp.Adagrad(0.3))  # another optimizer of the kind goes on
    np.testing.assert_array_equal(node.block.slot("adagrad.sum"), 2 * once)
    assert wp.Adagrad().slot_name("sum") == "adagrad.sum"


def test_sgd_keeps_no_state():
    node = table()
    numpy_step(dense_loss(node), wp.SGD(0.1))
    assert wp.SGD().state(node.block) == []


def test_a_step_without_a_gradient_changes_nothing():
    node = table()
    wp.Adagrad(0.1).step([node])
    assert np.array_equal(node.value, table().value)


def test_a_node_named_twice_is_updated_once():
    node = table()
    loss = dense_loss(node)
    loss.backward()
    wp.SGD(0.1).step([node, node])
    np.testing.assert_allclose(node.value, table().value - 0.1 * row_gradient())


def test_step_leaves_no_gradient_behind():
    node = table()
    loss = row_loss(node)
    loss.backward()
    wp.SGD(0.1).step(loss.parameters())
    assert node.gradient is None


# -- settings --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [wp.SGD, wp.Adagrad])
@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf, "0.1", None, True])
def test_an_impossible_learning_rate_is_refused(kind, wrong):
    with pytest.raises(
        errors.SettingError,
        match=f"{kind.__name__}: learning_rate must be a finite number above zero, or",
    ):
        kind(learning_rate=wrong)


@pytest.mark.parametrize("kind", [wp.SGD, wp.Adagrad])
@pytest.mark.parametrize(
    ("name", "wrong", "bound"),
    [
        ("l2", -0.1, "not below zero"),
        ("l2", np.nan, "not below zero"),
        ("clip", 0.0, "above zero"),
        ("clip", -1, "above zero"),
        ("clip_norm", 0.0, "above zero"),
        ("clip_norm", np.inf, "above zero"),
        ("clip_norm", "1", "above zero"),
    ],
)
def test_impossible_penalties_and_bounds_are_refused(kind, name, wrong, bound):
    message = f"{kind.__name__}: {name} must be a finite number {bound}"
    with pytest.raises(errors.SettingError, match=message):
        kind(**{name: wrong})
    optimizer = kind()
    with pytest.raises(errors.SettingError, match=message):
        setattr(optimizer, name, wrong)


def test_epsilon_must_be_above_zero():
    with pytest.raises(errors.SettingError, match="Adagrad: epsilon must be"):
        wp.Adagrad(epsilon=0.0)


def test_an_unknown_setting_is_refused_when_it_is_set_later():
    optimizer = wp.SGD()
    with pytest.raises(errors.SettingError, match="SGD: has no setting 'beta1'"):
        optimizer.beta1 = 0.9


def test_an_optimizer_shows_its_settings():
    assert repr(wp.SGD(0.1, clip=2)) == "SGD(learning_rate=0.1, clip=2.0)"
    assert repr(wp.Adagrad(epsilon=0.1)) == "Adagrad(learning_rate=0.05, epsilon=0.1)"


def test_settings_changed_later_take_effect_in_a_compiled_step():
    """Also those that need other text: l2 and clips that were off."""
    node = table()
    loss = dense_loss(node)
    optimizer = wp.SGD(0.1)
    step = plain_step(loss, optimizer)
    start = node.value.copy()
    for name, value in [
        ("learning_rate", 0.1),
        ("learning_rate", 0.025),
        ("l2", 0.5),
        ("clip", 0.75),
        ("clip_norm", 1.25),
        ("clip", None),
        ("l2", 0.0),
    ]:
        setattr(optimizer, name, value)
        text = step.source
        results = []
        with unchanged([node]):
            step()
            results.append(node.value.copy())
        with unchanged([node]):
            numpy_step(loss, optimizer)
            results.append(node.value.copy())
        np.testing.assert_allclose(*results, rtol=1e-12)
        assert not np.array_equal(results[0], start)
        if name == "learning_rate":
            assert step.source == text


# -- several backward passes before a step ------------------------------------------


@every_optimizer
def test_steps_of_eight_examples_lose_none_of_the_last_three(make):
    """wyrm's synchronised optimizer never applied a remainder."""
    given, weights = np.arange(19) % 5, np.arange(1.0, 20.0) / 10

    def remaining(taken):
        return [slice(k, min(k + 8, taken)) for k in range(0, taken, 8)]

    gradients = []
    for part in remaining(19):
        gradients.append(np.zeros((5, 3)))
        np.add.at(gradients[-1], given[part], weights[part, None])
    expected = closed_form(make, table().value, gradients)

    node, row = table(), wp.IndexInputNode([0])
    weight = wp.InputNode([[0.0]], np.float64)
    loss, optimizer = (node.index(row) * weight).sum(), OPTIMIZERS[make]()
    for part in remaining(19):
        for k in range(19)[part]:
            row.set_value([given[k]])
            weight.set_value(weights[k])
            loss.forward()
            loss.backward()
        optimizer.step([node])
    np.testing.assert_allclose(node.value, expected, rtol=1e-12, atol=1e-12)

    trained = table()
    row, weight = wp.IndexInputNode([0]), wp.InputNode([[0.0]], np.float64)
    loss = (trained.index(row) * weight).sum(axis=1)
    inputs = {row: given, weight: weights}
    settings = {"batch_size": 8, "shuffle": False, "mode": "synchronous"}
    with mock.patch.object(run, "bind", partial(run.bind, compiled=False)):
        wp.fit(loss, OPTIMIZERS[make](), inputs, progress=False, **settings)
    np.testing.assert_allclose(trained.value, expected, rtol=1e-12, atol=1e-12)
