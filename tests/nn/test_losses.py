"""Losses against independent formulas, central differences and closed forms."""

import numpy as np
import pytest
from nn.checks import check_gradients, draw
from scipy import sparse, special
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py.errors import (
    DTypeError,
    GraphError,
    IndexRangeError,
    SettingError,
    ShapeError,
)
from wyrm_py.nn import losses

CLASSES = [
    ((4,), 2, -1),
    ((1, 4), [3], -1),
    ((5, 4), [0, 3, 1, 1, 2], -1),
    ((3, 2, 4), [[0, 1], [2, 3], [3, 3]], -1),
    ((2, 4, 3), [[0, 1, 3], [2, 2, 0]], 1),
    ((2, 4, 2, 2), [[[0, 1], [2, 3]], [[3, 3], [1, 0]]], 1),
]


def distributions(shape, axis=-1, seed=3):
    return special.softmax(draw(shape, seed), axis=axis)


def one_hot(labels, shape, axis):
    hot = np.zeros(shape)
    lines = np.expand_dims(np.reshape(labels, np.shape(labels)), axis)
    np.put_along_axis(hot, lines, 1, axis)
    return hot


def chosen_log(log, labels, axis):
    """Return -log[label] by a sum over one-hot rows."""
    return -(log * one_hot(labels, log.shape, axis)).sum(axis)


def elementwise():
    """Yield (loss, first input, target, value by element) for every such loss."""
    x, y = draw((3, 4), 1), draw((3, 4), 2)
    p, t = special.expit(x), special.expit(y)
    d = np.abs(x - y)
    yield losses.mse, x, y, (x - y) ** 2
    yield losses.mae, x, y, d
    yield losses.huber, x, y, special.huber(1.0, x - y)
    yield losses.bce, p, t, special.xlogy(-t, p) + special.xlog1py(t - 1, -p)
    yield (
        losses.bce_with_logits,
        x,
        t,
        special.xlogy(-t, p) + special.xlogy(t - 1, 1 - p),
    )
    yield losses.bpr, x, y, -special.log_expit(x - y)
    yield losses.hinge, x, y, np.maximum(0, 1 - x + y)


ELEMENTWISE = list(elementwise())
NAMES = [loss.__name__ for loss, *_ in ELEMENTWISE]
every_loss = pytest.mark.parametrize(
    ("loss", "x", "y", "value"), ELEMENTWISE, ids=NAMES
)


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_by_element_are_their_formula_in_every_reduction(
    loss, x, y, value, dtype
):
    given, target = wp.InputNode(x, dtype), wp.InputNode(y, dtype)
    bound = 1e-5 if dtype == np.float32 else 1e-12
    for reduction, expected in [
        ("none", value),
        ("sum", value.sum()),
        ("mean", value.mean()),
    ]:
        node = loss(given, target, reduction)
        assert node.shape == np.shape(expected)
        assert node.dtype == dtype
        np.testing.assert_allclose(node.value, expected, rtol=bound, atol=bound)
    assert loss(given, target).value == loss(given, target, "mean").value


@every_loss
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_gradients_of_losses_by_element_are_central_differences(
    loss, x, y, value, reduction
):
    given, target = wp.ParameterNode(x, np.float64), wp.ParameterNode(y, np.float64)
    check_gradients(lambda: loss(given, target, reduction), [given, target])


@every_loss
def test_the_gradient_of_a_mean_is_that_of_the_sum_over_the_count(loss, x, y, value):
    """Trap: drug's loss was a mean and its gradient a sum."""
    gradients = {}
    for reduction in ("mean", "sum"):
        given = wp.ParameterNode(x, np.float64)
        loss(given, wp.InputNode(y, np.float64), reduction).backward()
        gradients[reduction] = given.gradient
    np.testing.assert_allclose(gradients["mean"], gradients["sum"] / 12, rtol=1e-12)


@pytest.mark.parametrize(("shape", "labels", "axis"), CLASSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_labels_of_any_shape_is_the_formula(
    shape, labels, axis, dtype
):
    x = draw(shape)
    expected = chosen_log(special.log_softmax(x, axis), labels, axis)
    node = wp.ParameterNode(x, dtype)
    index = wp.IndexInputNode(labels)
    bound = 1e-5 if dtype == np.float32 else 1e-12
    for given in (index, labels):  # a node, or numbers that stay
        loss = losses.cross_entropy(node, given, "none", axis)
        assert loss.shape == expected.shape
        np.testing.assert_allclose(loss.value, expected, rtol=bound)
    for reduction in ("sum", "mean"):
        loss = losses.cross_entropy(node, index, reduction, axis)
        assert loss.shape == ()
        total = getattr(expected, reduction)()
        np.testing.assert_allclose(loss.value, total, rtol=bound)


@pytest.mark.parametrize(("shape", "labels", "axis"), CLASSES)
def test_cross_entropy_has_the_gradient_softmax_minus_one_hot(shape, labels, axis):
    """Trap: wyrm's ignored what flows in, and took one row only."""
    x = draw(shape)
    node = wp.ParameterNode(x, np.float64)
    loss = losses.cross_entropy(node, wp.IndexInputNode(labels), "none", axis)
    weights = np.asarray(draw(loss.shape, 5))
    (loss * weights).sum().backward(-2.0)
    difference = special.softmax(x, axis) - one_hot(labels, shape, axis)
    expected = -2.0 * np.expand_dims(weights, axis) * difference
    np.testing.assert_allclose(node.gradient, expected, rtol=1e-12, atol=1e-14)
    for reduction in ("none", "mean"):
        check_gradients(
            lambda r=reduction: losses.cross_entropy(node, labels, r, axis).square(),
            [node],
        )


@pytest.mark.parametrize(("shape", "labels", "axis"), CLASSES)
def test_nll_of_log_softmax_is_the_cross_entropy(shape, labels, axis):
    """Trap: neuronika walked the wrong axis and divided differently backwards."""
    node = wp.ParameterNode(draw(shape), np.float64)
    for reduction in ("none", "sum", "mean"):
        one = losses.nll(node.log_softmax(axis), labels, reduction, axis)
        other = losses.cross_entropy(node, labels, reduction, axis)
        assert one.shape == other.shape
        np.testing.assert_allclose(one.value, other.value, rtol=1e-12)
    log = wp.ParameterNode(special.log_softmax(draw(shape), axis), np.float64)
    check_gradients(lambda: losses.nll(log, labels, "none", axis), [log])
    log.zero_gradient()
    losses.nll(log, labels, "mean", axis).backward()
    count = np.size(labels)
    np.testing.assert_allclose(log.gradient, -one_hot(labels, shape, axis) / count)


@pytest.mark.parametrize(("shape", "labels", "axis"), CLASSES)
def test_losses_of_distributions_are_sums_over_the_classes(shape, labels, axis):
    p, t = distributions(shape, axis), distributions(shape, axis, seed=4)
    given = wp.ParameterNode(p, np.float64)
    entropy = -(t * np.log(p)).sum(axis)
    divergence = special.rel_entr(t, p).sum(axis)
    log = wp.ParameterNode(np.log(p), np.float64)
    for reduction in ("sum", "mean"):
        node = losses.categorical_cross_entropy(given, t, reduction, axis)
        np.testing.assert_allclose(node.value, getattr(entropy, reduction)())
        node = losses.kl_divergence(log, t, reduction, axis)
        np.testing.assert_allclose(node.value, getattr(divergence, reduction)())
    target = wp.ParameterNode(t, np.float64)
    check_gradients(
        lambda: losses.categorical_cross_entropy(given, target, "none", axis),
        [given, target],
    )
    check_gradients(
        lambda: losses.kl_divergence(log, target, "none", axis), [log, target]
    )


def test_one_hot_targets_give_the_cross_entropy_of_labels():
    x, labels = draw((5, 4)), [0, 3, 1, 1, 2]
    node = wp.ParameterNode(x, np.float64)
    hot = one_hot(labels, x.shape, -1)
    expected = losses.cross_entropy(node, labels).value
    found = losses.categorical_cross_entropy(node.softmax(), hot)
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    plain = losses.categorical_cross_entropy(wp.InputNode(special.softmax(x, -1)), hot)
    np.testing.assert_allclose(plain.value, expected, rtol=1e-5)


# -- the ends of the number line -------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4, 3e38])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_does_not_overflow(shift, dtype):
    x = np.array([[0.0, 1.0, 2.0], [5.0, -5.0, 0.0]]) * (1.0 if shift < 1e30 else 0.0)
    node = wp.ParameterNode((x + shift).astype(dtype), dtype)
    loss = losses.cross_entropy(node, [2, 1], "none")
    expected = chosen_log(special.log_softmax(x, -1), [2, 1], -1)
    bound = 2e-7 if dtype == np.float32 else 1e-15
    np.testing.assert_allclose(loss.value, expected, rtol=bound * 10)
    loss.sum().backward()
    difference = special.softmax(x, -1) - one_hot([2, 1], x.shape, -1)
    np.testing.assert_allclose(node.gradient, difference, rtol=1e-5, atol=1e-7)


def test_cross_entropy_of_impossible_classes_passes_them_by():
    node = wp.ParameterNode(np.zeros((1, 3)))
    masked = node + np.array([[0.0, -np.inf, 0.0]], np.float32)
    loss = losses.cross_entropy(masked, [0])
    np.testing.assert_allclose(loss.value, np.log(2), rtol=1e-6)
    loss.backward()
    np.testing.assert_allclose(node.gradient, [[-0.5, 0.0, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logs_of_zero_are_clamped_at_minus_100_with_a_finite_gradient(dtype):
    p = wp.ParameterNode([0.0, 1.0, 0.0, 1.0], dtype)
    loss = losses.bce(p, [1.0, 0.0, 0.0, 1.0], "none")
    np.testing.assert_allclose(loss.value, [100.0, 100.0, 0.0, 0.0], atol=1e-12)
    loss.sum().backward()
    assert np.isfinite(p.gradient).all()
    assert p.gradient[0] < 0 < p.gradient[1]  # both are driven the right way
    q = wp.ParameterNode([[0.0, 1.0]], dtype)
    loss = losses.categorical_cross_entropy(q, [[1.0, 0.0]])
    np.testing.assert_allclose(loss.value, 100.0)
    loss.backward()
    assert np.isfinite(q.gradient).all()


def test_bce_of_a_sigmoid_is_exact_where_its_value_saturates():
    z = wp.ParameterNode([-200.0, 200.0, -50.0, 0.0], np.float64)
    targets = [1.0, 0.0, 0.0, 1.0]
    for loss in (
        losses.bce(z.sigmoid(), targets, "none"),
        losses.bce_with_logits(z, targets, "none"),
    ):
        expected = [200.0, 200.0, np.exp(-50.0), np.log(2)]
        np.testing.assert_allclose(loss.value, expected, rtol=1e-14)
        z.zero_gradient()
        loss.sum().backward()
        np.testing.assert_allclose(
            z.gradient, [-1.0, 1.0, np.exp(-50.0), -0.5], rtol=1e-12
        )


def test_kl_divergence_is_zero_where_the_target_is():
    log = wp.ParameterNode([[0.0, -5.0, -1000.0]], np.float64)
    loss = losses.kl_divergence(log, [[1.0, 0.0, 0.0]])
    assert loss.value == 0.0
    loss.backward()
    np.testing.assert_array_equal(log.gradient, [[-1.0, 0.0, 0.0]])
    impossible = wp.InputNode([[0.0, -np.inf]])
    assert losses.kl_divergence(impossible, [[1.0, 0.0]]).value == 0.0


def test_mae_has_the_gradient_zero_where_both_are_equal():
    x = wp.ParameterNode([1.0, 2.0, 3.0])
    losses.mae(x, [1.0, 0.0, 4.0], "sum").backward()
    np.testing.assert_array_equal(x.gradient, [0.0, 1.0, -1.0])


def test_huber_is_linear_beyond_delta():
    x = wp.ParameterNode([0.5, 3.0, -3.0], np.float64)
    loss = losses.huber(x, 0.0, "none", delta=2.0)
    np.testing.assert_allclose(loss.value, special.huber(2.0, x.value), rtol=1e-15)
    loss.sum().backward()
    np.testing.assert_allclose(x.gradient, [0.5, 2.0, -2.0], rtol=1e-15)


def test_hinge_with_margin_and_weight_is_warp():
    better, worse = wp.InputNode([[2.0], [0.5]]), wp.InputNode([[0.0], [1.0]])
    weight = wp.InputNode([[3.0], [2.0]])
    loss = losses.hinge(better, worse, "none", margin=0.25, weight=weight)
    np.testing.assert_allclose(loss.value, [[0.0], [1.5]])


def test_hinge_over_a_searched_negative_is_warp():
    rng = np.random.default_rng(0)
    users = wp.ParameterNode(rng.standard_normal((4, 3)), np.float64)
    items = wp.ParameterNode(rng.standard_normal((600, 3)), np.float64)
    user = wp.IndexInputNode([2])
    known = sparse.csr_array((np.ones(1), ([2], [5])), shape=(4, 600))
    taste = users.index(user)
    better = taste.vector_dot(items.index([5]))
    row, weight = wp.sample_warp(
        taste, items, better, known=known, user=user, max_tries=100
    )
    worse = taste.vector_dot(items.index(row))
    loss = losses.hinge(better, worse, "none", weight=weight)
    u, found = users.value[2], int(row.value[0])
    assert weight.value.item() > 0
    gap = 1.0 - u @ items.value[5] + u @ items.value[found]
    np.testing.assert_allclose(loss.value, weight.value * gap, rtol=1e-12)
    loss.backward()
    assert sorted(set(items.gradient.nonzero()[0])) == sorted({5, found})
    pull = weight.value.item() * u
    np.testing.assert_allclose(items.gradient.toarray()[5], -pull, rtol=1e-12)
    np.testing.assert_allclose(items.gradient.toarray()[found], pull, rtol=1e-12)


# -- mistakes -----------------------------------------------------------------

X = wp.InputNode(np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: losses.mse(X, np.zeros(3)), ShapeError, r"mse: both .* \(3,\)"),
        (lambda: losses.mse(X, np.zeros((3, 1))), ShapeError, "one shape"),
        (lambda: losses.mse(X, X, "average"), SettingError, "'average'"),
        (lambda: losses.mse(np.zeros(3), X), GraphError, "takes a node first"),
        (lambda: losses.bpr(X, X[:, :1]), ShapeError, "one shape"),
        (lambda: losses.hinge(X, X, weight=X[0]), ShapeError, "one shape"),
        (lambda: losses.huber(X, X, delta=0.0), SettingError, "above zero"),
        (lambda: losses.cross_entropy(X, [0, 1, 4]), IndexRangeError, r"\[0, 4\)"),
        (lambda: losses.cross_entropy(X, [0, 1, -1]), IndexRangeError, "negative"),
        (lambda: losses.cross_entropy(X, [0, 1]), ShapeError, r"\(3,\); got \(2,\)"),
        (lambda: losses.cross_entropy(X, [0.0, 1, 2]), DTypeError, "integers"),
        (lambda: losses.cross_entropy(X, X[:, 0]), DTypeError, "index node"),
        (lambda: losses.cross_entropy(X, [0] * 3, axis=2), ShapeError, "axis 2"),
        (lambda: losses.cross_entropy([1.0], [0]), GraphError, "takes a node first"),
        (lambda: losses.nll(X, [0, 1, 4]), IndexRangeError, r"\[0, 4\)"),
        (lambda: losses.nll(X, [[0], [1], [2]]), ShapeError, "along axis"),
    ],
)
def test_mistakes_are_typed_errors(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_fit_checks_labels_before_anything_changes():
    w = wp.ParameterNode(np.ones((2, 3)))
    x, y = wp.InputNode(np.zeros((1, 2))), wp.IndexInputNode([0])
    loss = losses.cross_entropy(x.dot(w), y)
    columns = {x: np.ones((4, 2)), y: [0, 1, 2, 3]}
    with pytest.raises(IndexRangeError, match=r"\[0, 3\), got 3 in example 3"):
        wp.fit(loss, wp.SGD(1.0), columns, batch_size=2, progress=False)
    np.testing.assert_array_equal(w.value, np.ones((2, 3)))


# -- printed steps, batches -----------------------------------------------------


@pytest.mark.parametrize(("shape", "labels", "axis"), CLASSES)
@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.nll])
def test_printed_steps_compute_what_numpy_does(loss, shape, labels, axis):
    w = wp.ParameterNode(draw(shape), np.float64)
    root = loss(w * 2.0, wp.IndexInputNode(labels), "mean", axis)
    optimizer = wp.SGD(0.1)
    expected, wanted = updates(lambda: numpy_step(root, optimizer), [w])
    found, taken = updates(plain_step(root, optimizer), [w])
    assert found == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(taken[0], wanted[0], rtol=1e-12, atol=1e-15)


def test_one_line_and_one_label_train_natively_an_example_at_a_time():
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((30, 5)), rng.integers(0, 3, 30)
    trained = []
    for engine in ("native", "numpy"):
        w = wp.ParameterNode(np.zeros((5, 3)), np.float64)
        x, y = wp.InputNode(np.zeros(5), np.float64), wp.IndexInputNode(0)
        history = wp.fit(
            losses.cross_entropy(x.dot(w), y),
            wp.SGD(0.1),
            {x: columns[0], y: columns[1]},
            epochs=3,
            random_state=0,
            engine=engine,
            progress=False,
        )
        assert history.losses[-1] < history.losses[0]
        trained.append(w.value)
    np.testing.assert_allclose(*trained, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("cross_entropy", "native"),
        ("mse", "native"),
        ("nll", "numpy"),
        ("bce_with_logits", "numpy"),
    ],
)
def test_a_fit_in_batches_is_gradient_descent_on_the_mean(name, engine):
    """The last batch is shorter; a loss that held a shape would be wrong there."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((7, 3))
    start = rng.standard_normal((3, 4))
    w = wp.ParameterNode(start, np.float64)
    x = wp.InputNode(np.zeros((2, 3)), np.float64)
    out = x.dot(w)
    if name in ("cross_entropy", "nll"):
        targets = rng.integers(0, 4, 7)
        y = wp.IndexInputNode([0, 0])
        out = out.log_softmax() if name == "nll" else out
    else:
        targets = rng.uniform(0, 1, (7, 4))
        y = wp.InputNode(np.zeros((2, 4)), np.float64)
    loss = getattr(losses, name)(out, y)
    wp.fit(
        loss,
        wp.SGD(0.5),
        {x: inputs, y: targets},
        batch_size=3,
        shuffle=False,
        progress=False,
        engine=engine,
    )
    expected = start.copy()
    for first in (0, 3, 6):
        a, t = inputs[first : first + 3], targets[first : first + 3]
        z = a @ expected
        if name in ("cross_entropy", "nll"):
            slope = (special.softmax(z, -1) - np.eye(4)[t]) / len(a)
        elif name == "mse":
            slope = 2 * (z - t) / z.size
        else:
            slope = (special.expit(z) - t) / z.size
        expected -= 0.5 * a.T @ slope
    np.testing.assert_allclose(w.value, expected, rtol=1e-10)


def test_a_hinge_may_be_weighed_by_an_array():
    positive, negative = wp.InputNode([0.5, 2.0]), wp.InputNode([0.0, 0.0])
    loss = losses.hinge(
        positive, negative, weight=np.array([2.0, 3.0]), reduction="none"
    )
    np.testing.assert_allclose(loss.value, [1.0, 0.0])


@pytest.mark.parametrize("delta", ["a", None, 0, -1.0])
def test_a_huber_loss_needs_a_number_above_zero(delta):
    x = wp.InputNode([1.0])
    with pytest.raises(wp.errors.SettingError, match="delta"):
        losses.huber(x, x, delta=delta)
