"""What convolutions must mean: filters seen by eye, adjoints, spot values, errors."""

import re

import numpy as np
import pytest
from scipy import ndimage, signal
from stepping import numpy_step, updates

import wyrm_py as wp
from wyrm_py.errors import DTypeError, SettingError, ShapeError

STRIPES = np.tile([[1.0, -1.0]], (6, 3))
"""A 6x6 image of vertical stripes."""
VERTICAL = np.array([[1.0, -1.0], [1.0, -1.0]])


def convolve(image, window, **options):
    """Return one image convolved with one window of one channel."""
    x = wp.InputNode(np.asarray(image)[None, None], np.float64)
    kernel = np.asarray(window, np.float64)[None, None]
    return x.convolve(kernel, **options).value[0, 0]


@pytest.mark.parametrize("padding", [0, 1])
def test_a_stripe_detector_sees_its_stripes_and_no_others(padding):
    """Of zero padding only inner places count: it ends the stripes."""
    inner = np.s_[1:-1, 1:-1] if padding else np.s_[:, :]
    parallel = convolve(STRIPES, VERTICAL, padding=padding)[inner]
    across = convolve(STRIPES.T, VERTICAL, padding=padding)[inner]
    np.testing.assert_array_equal(np.abs(parallel), 4.0)
    np.testing.assert_array_equal(across, 0.0)


def test_a_stripe_detector_goes_to_the_border_with_replicative_padding():
    options = {"padding": "same", "padding_mode": "replicative"}
    across = convolve(STRIPES.T, np.tile([[1.0, -1.0]], (3, 1)), **options)
    assert across.shape == (6, 6)
    np.testing.assert_array_equal(across, 0.0)


def test_an_identity_kernel_gives_back_the_image_and_the_gradient():
    rng = np.random.default_rng(0)
    x = wp.ParameterNode(rng.standard_normal((2, 3, 5, 6)), np.float64)
    kernel = np.zeros((3, 3, 3, 3))
    kernel[range(3), range(3), 1, 1] = 1.0
    out = x.convolve(kernel, padding="same")
    np.testing.assert_array_equal(out.value, x.value)
    g = rng.standard_normal(out.shape)
    out.backward(g)
    np.testing.assert_array_equal(x.gradient, g)


def test_same_padding_maps_corners_and_centre():
    """The window's place k at an output p reads cell p + k - middle."""
    image = np.arange(25.0).reshape(5, 5)
    for dy in range(3):
        for dx in range(3):
            window = np.zeros((3, 3))
            window[dy, dx] = 1.0
            out = convolve(image, window, padding="same", padding_mode="replicative")
            for y, x in [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]:
                cell = np.clip([y + dy - 1, x + dx - 1], 0, 4)
                assert out[y, x] == image[tuple(cell)]


@pytest.mark.parametrize(
    ("mode", "name"),
    [("zero", "constant"), ("reflective", "mirror"), ("replicative", "nearest")],
)
def test_same_convolution_is_the_filter_of_scipy(mode, name):
    rng = np.random.default_rng(1)
    image, window = rng.standard_normal((6, 7)), rng.standard_normal((3, 5))
    found = convolve(image, window, padding="same", padding_mode=mode)
    expected = ndimage.correlate(image, window, mode=name)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_valid_convolution_is_the_correlation_of_scipy(axes):
    rng = np.random.default_rng(axes)
    x = rng.standard_normal((2, 3, 7, 6, 5)[: 2 + axes])
    kernel = rng.standard_normal((4, 3, 3, 2, 4)[: 2 + axes])
    expected = [
        [
            sum(
                signal.correlate(c, k, "valid") for c, k in zip(image, one, strict=True)
            )
            for one in kernel
        ]
        for image in x
    ]
    found = wp.InputNode(x, np.float64).convolve(kernel).value
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_two_convolutions_by_hand():
    """Spot values: 4x4 of ones upwards, sums of 2x2, stride 2, then one sum of 2x2."""
    x = wp.ParameterNode(np.arange(1.0, 17.0).reshape(1, 1, 4, 4), np.float64)
    first = wp.ParameterNode(np.ones((1, 1, 2, 2)), np.float64)
    second = wp.ParameterNode([[[[1.0, 2.0], [3.0, 4.0]]]], np.float64)
    middle = x.convolve(first, stride=2)
    out = middle.convolve(second)
    np.testing.assert_array_equal(middle.value[0, 0], [[14, 22], [46, 54]])
    assert out.value.item() == 14 + 2 * 22 + 3 * 46 + 4 * 54
    out.backward()
    expected = np.kron([[1.0, 2.0], [3.0, 4.0]], np.ones((2, 2)))
    np.testing.assert_array_equal(x.gradient[0, 0], expected)
    np.testing.assert_array_equal(second.gradient[0, 0], middle.value[0, 0])
    # each element of the first window meets four cells, weighted 1 to 4
    np.testing.assert_array_equal(first.gradient[0, 0], [[78, 88], [118, 128]])


def test_windows_that_overlap_add_up_in_the_gradient_of_the_image():
    x = wp.ParameterNode(np.zeros((1, 1, 4, 4)), np.float64)
    x.convolve(np.ones((1, 1, 3, 3))).sum().backward()
    expected = np.outer([1, 2, 2, 1], [1, 2, 2, 1])  # windows over each cell
    np.testing.assert_array_equal(x.gradient[0, 0], expected)


def test_batches_are_convolved_one_by_one_and_channels_last_is_an_order_of_axes():
    rng = np.random.default_rng(2)
    x, kernel = rng.standard_normal((3, 2, 6, 5)), rng.standard_normal((4, 2, 3, 2))
    options = {"stride": (2, 1), "dilation": (1, 2)}
    whole = wp.InputNode(x, np.float64).convolve(kernel, **options).value
    for image, expected in zip(x, whole, strict=True):
        one = wp.InputNode(image[None], np.float64).convolve(kernel, **options)
        np.testing.assert_array_equal(one.value[0], expected)
    last = wp.InputNode(np.moveaxis(x, 1, -1), np.float64)
    found = last.convolve(kernel, **options, channels_last=True)
    np.testing.assert_array_equal(np.moveaxis(found.value, -1, 1), whole)


def test_gradient_steps_on_positive_images_make_the_kernel_negative():
    rng = np.random.default_rng(3)
    kernel = wp.ParameterNode(rng.standard_normal((2, 1, 3, 3)))
    x = wp.InputNode(rng.random((4, 1, 8, 8)))
    loss = x.convolve(kernel).mean()
    step = wp.compile(loss, wp.SGD(0.5))
    for _ in range(50):
        step()
    assert (kernel.value < 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 3)},
        {"dilation": (2, 1), "padding": ((1, 0), 2)},
        {"groups": 2, "stride": 2, "padding": "same", "padding_mode": "reflective"},
        {"padding": 2, "padding_mode": "replicative"},
    ],
    ids=str,
)
def test_the_gradient_towards_the_input_is_the_adjoint(options):
    """<convolve(x), y> is <x, gradient of y>; and so for the kernel."""
    rng = np.random.default_rng(4)
    inside = 4 // options.get("groups", 1)
    x = wp.ParameterNode(rng.standard_normal((2, 4, 7, 8)), np.float64)
    kernel = wp.ParameterNode(rng.standard_normal((6, inside, 3, 2)), np.float64)
    out = x.convolve(kernel, **options)
    y = rng.standard_normal(out.shape)
    out.backward(y)
    inner = (out.value * y).sum()
    assert (x.value * x.gradient).sum() == pytest.approx(inner, rel=1e-12)
    assert (kernel.value * kernel.gradient).sum() == pytest.approx(inner, rel=1e-12)


def test_float32_in_native_code_is_close_to_float64():
    """Over K = 144 products: within K units in the last place of the largest."""
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(s) for s in [(4, 16, 9, 9), (32, 16, 3, 3)]]
    exact = [wp.ParameterNode(a, np.float64) for a in arrays]
    rough = [wp.ParameterNode(a, np.float32) for a in arrays]
    losses = [(x.convolve(k).square()).sum() for x, k in (exact, rough)]
    optimizer = wp.SGD(1.0)
    _, wanted = updates(lambda: numpy_step(losses[0], optimizer), exact)
    _, taken = updates(wp.compile(losses[1], optimizer), rough)
    for one, other in zip(taken, wanted, strict=True):
        bound = 144 * np.finfo(np.float32).eps * np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=bound)


@pytest.mark.parametrize("batch_size", [4, 16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_fit_in_batches_is_fit_by_hand(batch_size, channels_last):
    """The last batch is short; both engines."""
    rng = np.random.default_rng(6)
    images = rng.standard_normal((10, 2, 6, 5)).astype(np.float32)
    targets = rng.standard_normal((10, 3)).astype(np.float32)
    if channels_last:
        images = np.moveaxis(images, 1, -1)
    first = rng.standard_normal((3, 2, 3, 2)) * 0.3
    found = {}
    for engine in ("numpy", "native"):
        kernel = wp.ParameterNode(first, np.float32)
        x, y = wp.InputNode(images[:2]), wp.InputNode(targets[:2])
        h = x.convolve(kernel, padding=1, channels_last=channels_last)
        pooled = h.max_pool(2, channels_last=channels_last)
        loss = (pooled.mean((1, 2) if channels_last else (2, 3)) - y).square().mean()
        history = wp.fit(
            loss,
            wp.SGD(0.1),
            {x: images, y: targets},
            epochs=2,
            batch_size=batch_size,
            engine=engine,
            random_state=0,
            progress=False,
        )
        found[engine] = (kernel.value.copy(), history.losses)
    np.testing.assert_allclose(*(found[e][0] for e in found), rtol=0, atol=1e-5)
    np.testing.assert_allclose(*(found[e][1] for e in found), rtol=1e-5)
    assert found["native"][1][1] < found["native"][1][0]


IMAGE = (2, 4, 5, 6)


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "message"),
    [
        ((5, 6), (1, 1, 3, 3), {}, "(batch, channels, *space) with one to three axes"),
        ((4, 5, 6, 7, 8, 9), (1, 5, 1, 1, 1, 1), {}, ".reshape(-1, 1, *space)"),
        ((4, 5, 6), (1, 4, 3, 3), {}, "must have 3 axes, (out, in / groups, *window)"),
        (IMAGE, (3, 4, 6, 2), {}, "the window (6, 2) is larger than the space (5, 6)"),
        (IMAGE, (3, 4, 3, 3), {"dilation": 3}, "(stretched to (7, 7)) is larger"),
        (IMAGE, (0, 4, 3, 3), {}, "the kernel (0, 4, 3, 3) is empty"),
        (IMAGE, (3, 4, 0, 3), {}, "the kernel (3, 4, 0, 3) is empty"),
        (IMAGE, (3, 2, 3, 3), {}, "made for 2 channels in each of 1 groups"),
        (IMAGE, (3, 4, 3, 3), {"channels_last": True}, "the value (2, 4, 5, 6) has 6"),
        (IMAGE, (3, 2, 3, 3), {"groups": 2}, "divisible by groups = 2, got 4"),
        (IMAGE, (3, 1, 3, 3), {"groups": 3}, "divisible by groups = 3, got 4"),
        (IMAGE, (3, 4, 3, 3), {"groups": 0}, "groups must be at least 1"),
        (IMAGE, (3, 4, 3, 3), {"stride": 0}, "stride must be at least 1"),
        (IMAGE, (3, 4, 3, 3), {"stride": (1, -2)}, "stride must be at least 1"),
        (IMAGE, (3, 4, 3, 3), {"dilation": (1, 0)}, "dilation must be at least 1"),
        (IMAGE, (3, 4, 3, 3), {"stride": (1, 2, 3)}, "3 numbers for 2 axes of space"),
        (IMAGE, (3, 4, 3, 3), {"dilation": (1,)}, "1 numbers for 2 axes of space"),
        (IMAGE, (3, 4, 3, 3), {"stride": 1.5}, "must be integers"),
        (IMAGE, (3, 4, 3, 3), {"padding": -1}, "none negative, got -1"),
        (IMAGE, (3, 4, 3, 3), {"padding": (1, 2, 3)}, "3 parts for 2 axes of space"),
        (IMAGE, (3, 4, 3, 3), {"padding": "valid"}, "or \"same\", got 'valid'"),
        (
            IMAGE,
            (3, 4, 3, 3),
            {"padding": 5, "padding_mode": "reflective"},
            "needs an axis longer than 5, got 5",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_shape_error(shape, kernel, options, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        wp.InputNode(np.zeros(shape)).convolve(np.zeros(kernel), **options)


def test_modes_and_dtypes_are_checked():
    x = wp.InputNode(np.zeros(IMAGE))
    with pytest.raises(SettingError, match=r"`mode` must be one of .*'wrap'"):
        x.convolve(np.zeros((3, 4, 3, 3)), padding=1, padding_mode="wrap")
    rows = wp.IndexInputNode(np.zeros(IMAGE, int))
    with pytest.raises(DTypeError, match="convolve: takes float32 or float64"):
        rows.convolve(np.zeros((3, 4, 3, 3)))


def test_float32_with_float64_gives_float64_and_gradients_of_each_dtype():
    rng = np.random.default_rng(7)
    x = wp.ParameterNode(rng.standard_normal((2, 2, 5, 5)), np.float32)
    kernel = wp.ParameterNode(rng.standard_normal((3, 2, 3, 3)), np.float64)
    out = x.convolve(kernel)
    assert out.dtype == np.float64
    loss = out.square().sum()
    _, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.01)), [x, kernel])
    _, taken = updates(wp.compile(loss, wp.SGD(0.01)), [x, kernel])
    for one, other, node in zip(taken, wanted, (x, kernel), strict=True):
        assert one.dtype == node.dtype
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
