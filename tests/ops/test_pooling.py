"""Pooling: values by hand, ties, leftovers, adjoints, errors."""

import re

import numpy as np
import pytest
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py.errors import DTypeError, ShapeError

IMAGE = np.array([[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 8.0, 6.0], [9.0, 7.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("max", [[5.0, 8.0]]),
        ("min", [[1.0, 0.0]]),
        ("sum", [[13.0, 16.0]]),
        ("average", [[3.25, 4.0]]),
    ],
)
def test_pooling_by_hand_leaves_out_what_does_not_fit(kind, expected):
    x = wp.ParameterNode(IMAGE[None, None])
    out = getattr(x, f"{kind}_pool")(2)
    np.testing.assert_array_equal(out.value[0, 0], expected)
    out.sum().backward()
    assert not x.gradient[0, 0, 2].any()  # the last row is in no window
    assert x.gradient.sum() == {"sum": 8.0}.get(kind, 2.0)


def test_average_pooling_gives_each_element_its_share():
    x = wp.ParameterNode(IMAGE[None, None])
    x.average_pool((3, 2), (1, 1)).sum().backward()
    np.testing.assert_allclose(x.gradient[0, 0], np.tile([1, 2, 2, 1], (3, 1)) / 6)


def each_engine(loss, parameters):
    """Return the gradients in NumPy, emitted text and native code."""
    steps = (
        lambda: numpy_step(loss, wp.SGD(1.0)),
        plain_step(loss, wp.SGD(1.0)),
        wp.compile(loss, wp.SGD(1.0)),
    )
    return [updates(step, parameters)[1] for step in steps]


def test_of_equal_largest_elements_the_first_takes_the_gradient():
    """In all engines, with windows apart and overlapping, also where all is zero."""
    image = np.array([[2.0, 2.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0]])
    apart = [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    overlapping = [[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    for stride, expected in [(2, apart), (1, overlapping)]:
        x = wp.ParameterNode(image[None, None])
        for (found,) in each_engine(x.max_pool(2, stride).sum(), [x]):
            np.testing.assert_array_equal(found[0, 0], expected)
    low = wp.ParameterNode(-image[None, None])
    for (found,) in each_engine(low.min_pool(2).sum(), [low]):
        np.testing.assert_array_equal(found[0, 0], apart)


def test_nan_never_takes_the_gradient_from_a_number():
    for window, expected in [([np.nan, 1, 5], [0, 0, 1]), ([2, np.nan, 1], [1, 0, 0])]:
        x = wp.ParameterNode(np.zeros((1, 1, 3)), np.float64)
        loss = (x + np.array([[window]])).max_pool(3).sum()
        assert np.isnan(loss.value)
        for (found,) in each_engine(loss, [x]):
            np.testing.assert_array_equal(found[0, 0], expected)


def test_nan_and_infinity_come_through():
    x = wp.InputNode([[[1.0, -1.0, 0.0, 0.0, 2.0, 1.0]]], np.float64)
    found = (x.ln() / x.relu()).max_pool(2)  # 0, nan; -inf, -inf; 0.35, 0
    expected = [np.nan, -np.inf, np.log(2.0) / 2.0]
    np.testing.assert_array_equal(found.value[0, 0], expected)
    assert np.isnan(wp.evaluate(found.sum(), {x: x.value[None]})).all()


@pytest.mark.parametrize("kind", ["max", "min", "sum", "average"])
@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [((2, 3, 9), 3, 2), ((2, 2, 5, 7), (2, 3), None), ((1, 2, 4, 5, 6), 2, (1, 2, 3))],
    ids=str,
)
def test_gradients_are_adjoint_and_layouts_agree(kind, shape, window, stride):
    """Pooling is homogeneous: <pool(x), y> is <x, gradient of y>."""
    rng = np.random.default_rng(0)
    x = wp.ParameterNode(rng.standard_normal(shape), np.float64)
    out = getattr(x, f"{kind}_pool")(window, stride)
    y = rng.standard_normal(out.shape)
    out.backward(y)
    expected = (out.value * y).sum()
    assert (x.value * x.gradient).sum() == pytest.approx(expected, rel=1e-12)
    last = wp.ParameterNode(np.moveaxis(x.value, 1, -1), np.float64)
    other = getattr(last, f"{kind}_pool")(window, stride, channels_last=True)
    np.testing.assert_array_equal(np.moveaxis(other.value, -1, 1), out.value)


@pytest.mark.parametrize(
    ("shape", "window", "stride", "message"),
    [
        ((4, 5), 2, None, "(batch, channels, *space) with one to three axes"),
        ((2, 2, 4, 5), (2, 6), None, "the window (2, 6) is larger than the space"),
        ((2, 2, 4, 5), 0, None, "window must be at least 1"),
        ((2, 2, 4, 5), 2, 0, "stride must be at least 1"),
        ((2, 2, 4, 5), (2, 2, 2), None, "3 numbers for 2 axes of space"),
        ((2, 2, 4, 5), 2, (1,), "1 numbers for 2 axes of space"),
        ((2, 2, 4, 5), 1.5, None, "must be integers"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_shape_error(shape, window, stride, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        wp.InputNode(np.zeros(shape)).max_pool(window, stride)


def test_row_numbers_cannot_be_pooled():
    with pytest.raises(DTypeError, match="sum_pool: takes float32 or float64"):
        wp.IndexInputNode(np.zeros((2, 2, 4), int)).sum_pool(2)
