"""Padding: NumPy's padding, and the adjoint as gradient."""

import re

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.errors import DTypeError, SettingError, ShapeError

NAMES = {"reflective": "reflect", "replicative": "edge"}


@pytest.mark.parametrize("mode", ["zero", "constant", "reflective", "replicative"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pad_is_that_of_numpy(mode, channels_last):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    pairs = ((0, 0), (1, 2), (3, 0), (0, 0))
    if not channels_last:
        pairs = ((0, 0), (0, 0), (1, 2), (3, 0))
    node = wp.InputNode(x, np.float64)
    value = 2.5 if mode == "constant" else 0.0
    found = node.pad(((1, 2), (3, 0)), mode, 2.5, channels_last)
    more = {"constant_values": value} if mode not in NAMES else {}
    expected = np.pad(x, pairs, NAMES.get(mode, "constant"), **more)
    np.testing.assert_array_equal(found.value, expected)


@pytest.mark.parametrize("mode", ["zero", "reflective", "replicative"])
@pytest.mark.parametrize("shape", [(2, 2, 5), (2, 2, 4, 5), (1, 2, 3, 4, 3)], ids=str)
def test_the_gradient_is_the_adjoint(mode, shape):
    """<pad(x), y> is <x, gradient of y>: what was repeated folds back."""
    rng = np.random.default_rng(1)
    x = wp.ParameterNode(rng.standard_normal(shape), np.float64)
    out = x.pad(2, mode)
    y = rng.standard_normal(out.shape)
    out.backward(y)
    expected = (out.value * y).sum()
    assert (x.value * x.gradient).sum() == pytest.approx(expected, rel=1e-12)


def test_repeated_cells_fold_back_by_hand():
    """Of ones each cell receives how often it is seen."""
    for mode, seen in [("reflective", [1, 3, 3, 1]), ("replicative", [3, 1, 1, 3])]:
        x = wp.ParameterNode([[[1.0, 2.0, 3.0, 4.0]]])
        x.pad(2, mode).sum().backward()
        np.testing.assert_array_equal(x.gradient[0, 0], seen)
    x = wp.ParameterNode([[[1.0, 2.0]]])
    x.pad(3, "constant", 7.0).sum().backward()
    np.testing.assert_array_equal(x.gradient[0, 0], [1, 1])


def test_constants_may_be_infinite_and_pass_no_gradient():
    x = wp.ParameterNode([[[-1.0, -2.0]]])
    out = x.pad(1, "constant", -np.inf).max_pool(2)
    np.testing.assert_array_equal(out.value, [[[-1.0, -2.0]]])
    out.sum().backward()
    np.testing.assert_array_equal(x.gradient, [[[1.0, 1.0]]])


@pytest.mark.parametrize(
    ("shape", "amounts", "mode", "message"),
    [
        ((4, 5), 1, "zero", "(batch, channels, *space) with one to three axes"),
        ((2, 2, 4), (1, 2), "zero", "2 parts for 1 axes of space"),
        ((2, 2, 4), -1, "zero", "none negative, got -1"),
        ((2, 2, 4), ((1, 2, 3),), "zero", "or pairs (before, after)"),
        ((2, 2, 4), 0.5, "zero", "must be integers"),
        ((2, 2, 4), 4, "reflective", "needs an axis longer than 4, got 4"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_shape_error(shape, amounts, mode, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        wp.InputNode(np.zeros(shape)).pad(amounts, mode)


def test_modes_values_and_dtypes_are_checked():
    x = wp.InputNode(np.zeros((2, 2, 4)))
    with pytest.raises(SettingError, match=r"one of 'zero', .* got 'wrap'"):
        x.pad(1, "wrap")
    with pytest.raises(SettingError, match=r"one of 'zero', .* got \['zero'\]"):
        x.pad(1, ["zero"])
    for wrong in (np.nan, "1", None, 1j):
        with pytest.raises(SettingError, match=f"must be a number, got {wrong!r}"):
            x.pad(1, "constant", wrong)
    with pytest.raises(DTypeError, match="pad: takes float32 or float64"):
        wp.IndexInputNode(np.zeros((2, 2, 4), int)).pad(1)
