"""Defects of the systems wyrm_py takes the place of, each as a test that they fail.

What another test already shows is not repeated: `docs/parity.md` lists every defect
with its test. Expected values are worked out by hand or in plain NumPy.
"""

import numpy as np
import pytest

import wyrm_py as wp


def parameter(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return wp.ParameterNode(rng.standard_normal(shape), np.float64)


# -- wyrm -----------------------------------------------------------------


def test_forward_twice_or_of_a_part_stops_no_gradient():
    """wyrm: the second call leaves a counter behind, and backward ends there."""
    x = parameter(2, 3)
    inner = x.square()
    loss = inner.sum()
    for run in (loss.forward, loss.forward, inner.forward):
        run()
    loss.backward()
    np.testing.assert_allclose(x.gradient, 2 * x.value, rtol=1e-12)


def test_values_may_be_read_between_training_steps():
    """wyrm: forward-only use needs `clear`, which itself fails in debug builds."""
    w, x = parameter(1, 1), wp.InputNode(np.ones((1, 1)), np.float64)
    predicted = w * x
    loss = (predicted - 2.0).square()
    optimizer = wp.SGD(0.1)
    expected = w.value.item()
    for _ in range(3):
        x.set_value(3.0)
        assert predicted.forward().value.item() == pytest.approx(3 * expected)
        x.set_value(1.0)
        loss.forward()
        loss.backward()
        optimizer.step(loss.parameters())
        expected -= 0.2 * (expected - 2)
        assert w.value.item() == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_heeds_the_gradient_from_above_and_every_target():
    """wyrm: backward(w) and all that follows the loss change nothing; of several
    targets all are subtracted, and the softmax added once."""
    x, targets = parameter(3, 4), np.array([1, 0, 1])
    loss = wp.nn.losses.cross_entropy(x, wp.IndexInputNode(targets), "none")
    weights = np.array([0.5, 2.0, -1.0])
    loss.backward(weights)
    softmax = np.exp(x.value) / np.exp(x.value).sum(axis=1, keepdims=True)
    expected = weights[:, None] * (softmax - np.eye(4)[targets])
    np.testing.assert_allclose(x.gradient, expected, rtol=1e-12)


def test_softmax_normalises_along_its_axis_not_over_the_whole_matrix():
    x = parameter(3, 4, 2)
    for axis in range(3):
        np.testing.assert_allclose(x.softmax(axis).value.sum(axis), 1.0, rtol=1e-12)
        log_sums = np.exp(x.log_softmax(axis).value).sum(axis)
        np.testing.assert_allclose(log_sums, 1.0, rtol=1e-12)


def test_a_transpose_used_twice_adds_both_gradients_the_right_way_round():
    x = parameter(2, 3)
    turned = x.t()
    first, second = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
    ((turned * first).sum() + (turned * second).sum()).backward()
    np.testing.assert_array_equal(x.gradient, (first + second).T)


def test_clipping_a_value_keeps_its_scale():
    """wyrm: the clipped value comes out a hundred times as large."""
    x = wp.ParameterNode([-3.0, -0.5, 0.5, 3.0], np.float64)
    clipped = x.clip(-1.0, 1.0)
    np.testing.assert_array_equal(clipped.value, [-1.0, -0.5, 0.5, 1.0])
    clipped.sum().backward()
    np.testing.assert_array_equal(x.gradient, [0.0, 1.0, 1.0, 0.0])


# -- sbr-rs ---------------------------------------------------------------


def test_the_loss_of_an_epoch_is_that_of_its_own_examples():
    """sbr-rs: read before forward, so one example late."""
    w, x = parameter(1, 1), wp.InputNode(np.zeros((1, 1)), np.float64)
    history = wp.fit(
        w * 0.0 + x, wp.SGD(0.1), {x: [1.0, 10.0, 100.0]}, epochs=2, progress=False
    )
    assert history.losses == [pytest.approx(37.0)] * 2


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_the_loss_of_several_workers_is_a_mean_not_a_sum(backend):
    w, x = parameter(1, 1), wp.InputNode(np.zeros((1, 1)), np.float64)
    history = wp.fit(
        w * 0.0 + x,
        wp.SGD(0.1),
        {x: np.arange(7.0)},
        n_jobs=2,
        backend=backend,
        progress=False,
    )
    assert history.losses == [pytest.approx(3.0)]


# -- drug -----------------------------------------------------------------


def test_no_operand_is_applied_twice_and_gradients_pass_through():
    """drug: n-ary add and mult take the first operand twice and drop the gradient."""
    x, y, z = (parameter(2, 2, seed=seed) for seed in range(3))
    added, product = x + y + z, x * y * z
    np.testing.assert_allclose(added.value, x.value + y.value + z.value)
    np.testing.assert_allclose(product.value, x.value * y.value * z.value)
    (3.0 * added + 5.0 * product).sum().backward()
    expected = 3 + 5 * y.value * z.value
    np.testing.assert_allclose(x.gradient, expected, rtol=1e-12)


def test_a_step_descends():
    """drug: updates add learning_rate * delta, so callers have to negate the loss."""
    x = wp.ParameterNode([[2.0]], np.float64)
    loss = x.square()
    loss.backward()
    wp.SGD(0.1).step([x])
    assert x.value.item() == pytest.approx(2 - 0.1 * 4)


# -- corgi ----------------------------------------------------------------


@pytest.mark.parametrize("power", [3.0, 0.5, -1.0])
def test_the_derivative_of_a_power_is_not_that_of_the_square(power):
    x = wp.ParameterNode([0.5, 2.0, 3.0], np.float64)
    (x**power).sum().backward()
    expected = power * x.value ** (power - 1)
    np.testing.assert_allclose(x.gradient, expected, rtol=1e-12)


def test_axpy_passes_the_gradient_with_its_factor():
    """corgi: with BLAS the factor of the gradient is always -2."""
    x, y = parameter(3, 2), parameter(3, 2, seed=1)
    (0.75 * x + y).sum().backward()
    np.testing.assert_array_equal(x.gradient, np.full((3, 2), 0.75))


def test_he_normal_is_normal_with_the_fan_in_of_the_kernel():
    """corgi: its he is a uniform distribution; neuronika: fan-in adds up the sides
    of a kernel where it has to multiply them."""
    assert wp.nn.initialisers.fans((64, 16, 3, 5)) == (16 * 15, 64 * 15)
    rng = np.random.default_rng(0)
    drawn = wp.nn.initialisers.he_normal()((64, 16, 3, 5), rng)
    assert drawn.std() == pytest.approx(np.sqrt(2 / 240), rel=0.02)
    assert np.abs(drawn).max() > 3.5 * drawn.std()  # a uniform one ends at 1.7


# -- neuronika ------------------------------------------------------------


def test_leaky_relu_scales_the_gradient_below_zero():
    """neuronika: adds 0.01 itself, whatever the gradient from above."""
    x = wp.ParameterNode([-2.0, 3.0], np.float64)
    (x.leaky_relu(0.01) * 7.0).sum().backward()
    np.testing.assert_allclose(x.gradient, [0.07, 7.0], rtol=1e-12)


def test_the_transpose_of_an_oblong_matrix_has_an_oblong_gradient():
    x, weights = parameter(2, 5), np.arange(10.0).reshape(5, 2)
    (x.t() * weights).sum().backward()
    np.testing.assert_array_equal(x.gradient, weights.T)


def test_gradients_of_inner_nodes_are_not_left_over_from_the_last_backward():
    """neuronika: a second backward adds what inner nodes still hold."""
    x = parameter(2, 2)
    inner = x.square()
    loss = inner.sum()
    loss.backward()
    first = x.gradient.copy()
    loss.forward()
    loss.backward()
    np.testing.assert_allclose(x.gradient, 2 * first, rtol=1e-12)


def test_softplus_of_large_numbers_does_not_overflow():
    x = wp.ParameterNode([-1000.0, 0.0, 1000.0], np.float32)
    found = x.softplus()
    np.testing.assert_allclose(found.value, [0.0, np.log(2), 1000.0], rtol=1e-6)
    found.sum().backward()
    np.testing.assert_allclose(x.gradient, [0.0, 0.5, 1.0], rtol=1e-6)
