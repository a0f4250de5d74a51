"""Initialisers: fans and gains by their tables, distributions by their moments."""

import math
import pickle

import numpy as np
import pytest
from scipy import stats

from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.nn import initialisers as init

SHAPES = [(300, 200), (40, 30, 5), (30, 20, 3, 5)]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7,), (7, 7)),
        ((300, 200), (300, 200)),
        ((8, 3, 5), (15, 40)),
        ((16, 3, 3, 3), (27, 144)),
        ((16, 4, 3, 5), (60, 240)),
        ((6, 2, 2, 3, 4), (48, 144)),
    ],
)
def test_fans_count_the_receptive_field_as_a_product(shape, expected):
    """Trap: neuronika summed the window's extents, drug left the window out."""
    assert init.fans(shape) == expected


def test_a_shape_without_axes_has_no_fans():
    with pytest.raises(ShapeError, match="at least one axis"):
        init.fans(())


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("linear", 1.0),
        ("sigmoid", 1.0),
        ("softmax", 1.0),
        ("tanh", 5 / 3),
        ("relu", math.sqrt(2)),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
        ("selu", 0.75),
    ],
)
def test_gains_are_those_of_the_table(name, gain):
    assert init.calculate_gain(name) == pytest.approx(gain, rel=1e-15)


def test_the_gain_of_a_leaky_relu_depends_on_its_slope():
    assert init.calculate_gain("leaky_relu", 1.0) == pytest.approx(1.0)
    assert init.calculate_gain("leaky_relu", 0.0) == init.calculate_gain("relu")
    with pytest.raises(SettingError, match="'swish'"):
        init.calculate_gain("swish")


def fan_in(shape):
    return shape[0] if len(shape) == 2 else math.prod(shape[1:])


def fan_out(shape):
    return shape[1] if len(shape) == 2 else shape[0] * math.prod(shape[2:])


def variance(name, gain, shape):
    """Return the variance that the paper of an initialiser asks for."""
    if name == "xavier":
        return gain**2 * 2 / (fan_in(shape) + fan_out(shape))
    return gain**2 / fan_in(shape)


SCALED = [
    (init.xavier_uniform(), init.xavier_normal(), "xavier", 1.0),
    (init.xavier_uniform(5 / 3), init.xavier_normal(5 / 3), "xavier", 5 / 3),
    (init.he_uniform(), init.he_normal(), "he", math.sqrt(2)),
    (init.he_uniform(1.2), init.he_normal(1.2), "he", 1.2),
    (init.lecun_uniform(), init.lecun_normal(), "lecun", 1.0),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("even", "bell", "name", "gain"), SCALED)
def test_scaled_initialisers_have_the_variance_of_their_paper(
    even, bell, name, gain, shape
):
    """Trap: wyrm took one fan only, corgi's he was uniform with another width."""
    std = math.sqrt(variance(name, gain, shape))
    bound = std * math.sqrt(3)
    drawn = even(shape, rng())
    assert drawn.shape == shape
    assert np.abs(drawn).max() <= bound
    assert np.abs(drawn).max() > 0.99 * bound
    spread = stats.uniform(-bound, 2 * bound)
    assert stats.kstest(drawn.reshape(-1), spread.cdf).pvalue > 0.001
    drawn = bell(shape, rng())
    assert drawn.std() == pytest.approx(std, rel=0.03)
    assert stats.kstest(drawn.reshape(-1), stats.norm(0, std).cdf).pvalue > 0.001


def test_uniform_and_normal_have_their_bounds_and_moments():
    drawn = init.uniform(-0.5, 2.0)((200, 100), rng())
    assert drawn.min() >= -0.5
    assert drawn.max() < 2.0
    assert stats.kstest(drawn.reshape(-1), stats.uniform(-0.5, 2.5).cdf).pvalue > 0.001
    drawn = init.normal(1.5, 0.25)((200, 100), rng())
    assert stats.kstest(drawn.reshape(-1), stats.norm(1.5, 0.25).cdf).pvalue > 0.001
    assert (init.normal(1.5, 0.0)((2, 3), rng()) == 1.5).all()


def test_fixed_values():
    np.testing.assert_array_equal(init.zeros((2, 3), rng()), np.zeros((2, 3)))
    np.testing.assert_array_equal(init.ones((2, 3), rng()), np.ones((2, 3)))
    np.testing.assert_array_equal(init.constant(3)((2,), rng()), [3.0, 3.0])
    np.testing.assert_array_equal(init.eye((2, 3), rng()), [[1, 0, 0], [0, 1, 0]])
    with pytest.raises(ShapeError, match="two axes"):
        init.eye((2, 3, 4), rng())


def correlate(image, kernel, groups):
    """Return the plain cross-correlation of (C, N) with zero padding."""
    outputs, inputs, window = kernel.shape
    padded = np.pad(image, ((0, 0), (window // 2, window // 2)))
    out = np.zeros((outputs, image.shape[1]))
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(inputs):
            for k in range(window):
                part = padded[first + i, k : k + image.shape[1]]
                out[o] += kernel[o, i, k] * part
    return out


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_dirac_kernel_passes_channels_through(groups):
    image = rng().standard_normal((4, 6))
    kernel = init.dirac(groups)((4, 4 // groups, 3), rng())
    np.testing.assert_array_equal(correlate(image, kernel, groups), image)


def test_a_dirac_kernel_has_its_ones_in_the_middle_of_every_window():
    kernel = init.dirac()((2, 3, 3, 5), rng())
    assert kernel.sum() == 2
    assert kernel[0, 0, 1, 2] == kernel[1, 1, 1, 2] == 1
    assert init.dirac(2)((4, 1, 3, 3, 3), rng()).sum() == 2
    for shape in [(4, 4), (3, 2, 3), (2, 2, 1, 1, 1, 1)]:
        with pytest.raises(ShapeError, match="groups=2"):
            init.dirac(2)(shape, rng())


RANDOM = [init.uniform(), init.normal(), *(one for pair in SCALED for one in pair[:2])]


@pytest.mark.parametrize("initialiser", RANDOM)
def test_draws_are_those_of_the_generator_and_initialisers_pickle(initialiser):
    first = initialiser((4, 3), rng(7))
    np.testing.assert_array_equal(initialiser((4, 3), rng(7)), first)
    assert not np.array_equal(initialiser((4, 3), rng(8)), first)
    sent = pickle.loads(pickle.dumps(initialiser))
    np.testing.assert_array_equal(sent((4, 3), rng(7)), first)


def test_parameters_are_drawn_by_int_or_generator():
    one = init.parameter(init.normal(), (4, 3), 7)
    other = init.parameter(init.normal(), (4, 3), rng(7))
    np.testing.assert_array_equal(one.value, other.value)
    assert one.dtype == np.float32
    double = init.parameter(init.normal(), [4, 3], 7, np.float64)
    assert double.dtype == np.float64
    np.testing.assert_allclose(double.value, one.value, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: init.uniform(1.0, 0.0),
        lambda: init.uniform(0.0, math.inf),
        lambda: init.normal(0.0, -1.0),
        lambda: init.normal(math.nan, 1.0),
        lambda: init.dirac(0),
        lambda: init.parameter(init.zeros, (2, True)),
        lambda: init.parameter(init.zeros, (2, 0)),
    ],
)
def test_impossible_settings_are_setting_errors(make):
    with pytest.raises(SettingError):
        make()
