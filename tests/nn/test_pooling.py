"""Pooling layers: the reduction of each window, and of all of space."""

import re

import numpy as np
import pytest
from nn.checks import check_layer, draw
from ops.under import under

import wyrm_py as wp
from wyrm_py import nn
from wyrm_py.errors import SettingError, ShapeError

REDUCERS = {"Max": np.max, "Min": np.min, "Sum": np.sum, "Average": np.mean}


@pytest.mark.parametrize("kind", REDUCERS)
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_layer_reduces_each_window(kind, axes, channels_last):
    layer = getattr(nn, f"{kind}Pool{axes}d")(2, (1, 2, 3)[:axes], channels_last)
    x = draw((2, 3, 5, 4, 5)[: 2 + axes])
    windows = under(x, (2,) * axes, layer.stride, (1,) * axes)
    expected = REDUCERS[kind](windows, axis=tuple(range(2 + axes, 2 + 2 * axes)))
    given = np.moveaxis(x, 1, -1) if channels_last else x
    out = layer(wp.InputNode(given, np.float64)).value
    found = np.moveaxis(out, -1, 1) if channels_last else out
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    check_layer(layer, given)


def test_the_stride_is_the_window_unless_given():
    assert nn.MaxPool2d((2, 3)).stride == (2, 3)
    assert nn.MaxPool2d((2, 3), 1).stride == (1, 1)
    assert nn.MaxPool2d(2).parameters() == []


@pytest.mark.parametrize("kind", REDUCERS)
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_global_pooling_reduces_all_of_space(kind, shape, channels_last):
    x = draw(shape)
    layer = nn.GlobalPool(kind.lower(), channels_last)
    axes = tuple(range(1, x.ndim - 1) if channels_last else range(2, x.ndim))
    out = layer(wp.InputNode(x, np.float64))
    np.testing.assert_allclose(out.value, REDUCERS[kind](x, axis=axes), rtol=1e-12)
    check_layer(layer, x)


def test_errors_name_the_layer_and_the_cure():
    with pytest.raises(ShapeError, match="MaxPool2d: window must be at least 1"):
        nn.MaxPool2d(0)
    with pytest.raises(ShapeError, match="SumPool1d: stride .* 2 numbers for 1 axes"):
        nn.SumPool1d(2, (1, 2))
    with pytest.raises(SettingError, match="one of average, max, min, sum, got 'mean'"):
        nn.GlobalPool("mean")
    flat = wp.InputNode(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match=re.escape("4 axes in all, got a value of")):
        nn.MinPool2d(2)(flat)
    with pytest.raises(ShapeError, match="GlobalPool: takes"):
        nn.GlobalPool()(flat)
