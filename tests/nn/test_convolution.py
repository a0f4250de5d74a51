"""Convolution layers: formulas, settings, training, errors."""

import re

import numpy as np
import pytest
from nn.checks import check_layer, draw
from ops.convolution_cases import convolved
from ops.padding_cases import padded

import wyrm_py as wp
from wyrm_py import nn
from wyrm_py.errors import SettingError, ShapeError

LAYERS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.mark.parametrize("axes", LAYERS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_layer_is_a_convolution_with_a_bias(axes, channels_last):
    layer = LAYERS[axes](
        2,
        3,
        2,
        stride=(2, 1, 1)[:axes],
        padding=1,
        dilation=(1, 2, 1)[:axes],
        channels_last=channels_last,
        random_state=0,
        dtype=np.float64,
    )
    layer.bias.set_value([0.5, -1.0, 2.0])
    x = draw((2, 2, 4, 5, 3)[: 2 + axes])
    expected = convolved(
        padded(x, ((1, 1),) * axes, "zero"),
        layer.weight.value,
        layer.stride,
        layer.dilation,
        1,
    ) + np.reshape([0.5, -1.0, 2.0], (3,) + (1,) * axes)
    given = np.moveaxis(x, 1, -1) if channels_last else x
    out = layer(wp.InputNode(given, np.float64)).value
    found = np.moveaxis(out, -1, 1) if channels_last else out
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    check_layer(layer, given)


@pytest.mark.parametrize("mode", ["zero", "reflective", "replicative"])
def test_groups_and_padding_modes_reach_the_convolution(mode):
    layer = nn.Conv2d(
        4, 6, (3, 2), padding="same", padding_mode=mode, groups=2, dtype=np.float64
    )
    assert layer.weight.shape == (6, 2, 3, 2)
    x = draw((2, 4, 5, 4))
    image = padded(x, ((1, 1), (0, 1)), mode)
    expected = convolved(image, layer.weight.value, (1, 1), (1, 1), 2)
    found = layer(wp.InputNode(x, np.float64)).value
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_settings_are_seen_and_parameters_are_those_of_the_seed():
    one, other = (nn.Conv2d(2, 3, 3, random_state=4, activation="relu") for _ in "ab")
    np.testing.assert_array_equal(one.weight.value, other.weight.value)
    assert one.weight.dtype == one.bias.dtype == np.float32
    assert not one.bias.value.any()
    assert list(one.named_parameters()) == ["weight", "bias"]
    assert nn.Conv2d(2, 3, 3, bias=False).bias is None
    assert repr(one).splitlines()[0].startswith("Conv2d(window=(3, 3), stride=(1, 1)")
    x = wp.InputNode(draw((1, 2, 4, 4)))
    assert (one(x).value >= 0).all()


def test_a_network_learns_which_way_stripes_run():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 64)
    waves = np.sign(np.sin(np.arange(8) * 2.0 + rng.uniform(0, 6, (64, 1))))
    images = np.broadcast_to(waves[:, None, None], (64, 1, 8, 8)).copy()
    images[labels == 1] = images[labels == 1].swapaxes(2, 3)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, activation="relu", random_state=1),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, activation="relu", random_state=2),
        nn.GlobalPool(),
        nn.Dense(8, 2, random_state=3),
    )
    x, y = wp.InputNode(images[:1]), wp.IndexInputNode(labels[:1])
    scores = network(x)
    wp.fit(
        nn.losses.cross_entropy(scores, y),
        wp.Adam(0.02),
        {x: images, y: labels},
        epochs=20,
        batch_size=16,
        random_state=0,
        progress=False,
    )
    found = wp.evaluate(scores, {x: images}, batch_size=32)
    assert (found.argmax(-1) == labels).mean() > 0.95


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"groups": 2}, SettingError, "Conv2d: channels must be divisible by groups"),
        ({"groups": 0}, SettingError, "integers of at least 1"),
        ({"window": 0}, ShapeError, "Conv2d: window must be at least 1"),
        ({"window": (3, 3, 3)}, ShapeError, "3 numbers for 2 axes"),
        ({"stride": 0}, ShapeError, "Conv2d: stride must be at least 1"),
        ({"dilation": -1}, ShapeError, "Conv2d: dilation must be at least 1"),
        ({"padding": (1, 2, 3)}, ShapeError, "Conv2d: padding (1, 2, 3) has 3 parts"),
        ({"padding": "valid"}, ShapeError, 'numbers of cells or "same"'),
        ({"padding_mode": "wrap"}, SettingError, "`padding_mode` must be"),
        ({"padding_mode": "constant"}, SettingError, "`padding_mode` must be"),
        ({"activation": "step"}, SettingError, "step"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused_at_once(settings, error, message):
    given = {"in_channels": 3, "out_channels": 4, "window": 3} | settings
    with pytest.raises(error, match=re.escape(message)):
        nn.Conv2d(**given)


def test_a_value_that_does_not_fit_is_refused():
    layer = nn.Conv2d(3, 4, 3)
    with pytest.raises(
        ShapeError, match=r"Conv2d: takes .* 4 axes in all.*\(3, 5, 5\)"
    ):
        layer(wp.InputNode(np.zeros((3, 5, 5))))
    with pytest.raises(ShapeError, match="made for 3 channels"):
        layer(wp.InputNode(np.zeros((1, 2, 5, 5))))
    with pytest.raises(ShapeError, match="larger than the space"):
        layer(wp.InputNode(np.zeros((1, 3, 5, 2))))
