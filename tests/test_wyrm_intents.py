"""What the tests of wyrm, the Rust parent, want to hold, with oracles of our own.

Gradients are compared with float64 central differences at 1e-6 (wyrm: float32 at
0.05); thresholds of training runs are wyrm's. Its digits of pi are an example here
(`examples/digits_of_pi.py`). `docs/parity.md` maps features to tests.
"""

import numpy as np
import pytest
from waiting import together

import wyrm_py as wp

EPS = 1e-6


def parameters(*shapes, low=-1.0, high=1.0):
    rng = np.random.default_rng(len(shapes))
    return [wp.ParameterNode(rng.uniform(low, high, s), np.float64) for s in shapes]


def require_gradients(output, *nodes):
    """Compare by random projection, one node at a time; the graph is reused."""
    rng = np.random.default_rng(7)
    output.forward()
    weights = rng.standard_normal(output.shape)
    output.zero_gradient()
    output.backward(weights)
    for node in nodes:
        found = node.gradient
        found = found.toarray() if hasattr(found, "toarray") else found
        value, way = node.value.copy(), rng.standard_normal(node.shape)
        ends = []
        for moved in (value + EPS * way, value - EPS * way):
            node.set_value(moved)
            ends.append(float((output.forward().value * weights).sum()))
        node.set_value(value)
        numeric = (ends[0] - ends[1]) / (2 * EPS)
        assert float((found * way).sum()) == pytest.approx(numeric, rel=1e-6, abs=1e-8)


# -- the graph ------------------------------------------------------------


def test_one_minus_one_scaled_is_zero_with_its_gradient():
    x = wp.ParameterNode(np.ones((10, 10)), np.float64)
    z = (1.0 - x) * 2.0
    assert np.array_equal(z.value, np.zeros((10, 10)))
    require_gradients(z, x)


def test_a_parameter_used_many_times_is_listed_once():
    x, y = parameters((1, 1), (1, 1))
    z = x + y + x + y + x * y + x.square()
    assert len(z.parameters()) == 2
    assert set(z.parameters()) == {x, y}


def test_a_shared_node_is_right_after_each_of_many_rounds():
    """wyrm counts calls of shared nodes; a counter that stays ends all gradients."""
    (x,) = parameters((2, 2))
    shared = x.square()
    z = shared + shared * shared
    for turn in range(3):
        x.set_value(np.full((2, 2), turn + 1.0))
        z.forward()
        z.backward()
        expected = 2 * (turn + 1.0) + 4 * (turn + 1.0) ** 3
        assert np.allclose(x.gradient, expected, rtol=1e-12)
        z.zero_gradient()


class Sloped(wp.Pointwise):
    """2 a, with a gradient that is right or wrong by a factor."""

    expression = "T(2) * a"

    def __init__(self, slope):
        self.slope = slope

    def gradient(self, g, out, a):
        return (self.slope * g,)


@pytest.mark.parametrize("slope", [2.0, 3.0])
def test_the_checker_of_gradients_tells_right_from_wrong(slope):
    (x,) = parameters((3, 2))
    numeric, analytic = wp.finite_difference(x, x.apply(Sloped(slope)).square())
    np.testing.assert_allclose(numeric, 8 * x.value, rtol=1e-7)
    np.testing.assert_allclose(analytic, 4 * slope * x.value, rtol=1e-12)
    assert np.allclose(numeric, analytic, rtol=1e-6) == (slope == 2.0)


# -- gradients, op by op --------------------------------------------------

SQUARE = (5, 5)
ONE_ROW = (1, 10)
GRADIENTS = {
    "add": (lambda x, y: x + y + x, [SQUARE, SQUARE]),
    "subtract": (lambda x, y: x - (y - x), [SQUARE, SQUARE]),
    "subtract, reused with sigmoid": (
        lambda x, y: (x - y).sigmoid() + (x - y),
        [SQUARE, SQUARE],
    ),
    "multiply": (lambda x, y: x * y, [(10, 10), (10, 10)]),
    "divide": (lambda x, y: (x + x) / (y + 3.0), [SQUARE, SQUARE]),
    "vector_dot": (lambda x, y: x.vector_dot(y), [(10, 5), (10, 5)]),
    "dot": (lambda x, y: (x + x).dot(y), [(10, 5), (5, 10)]),
    "dot, its output accumulated": (
        lambda x, y: x.dot(y) + x.dot(y).square(),
        [(10, 5), (5, 10)],
    ),
    "square": (lambda x: x.square(), [SQUARE]),
    "ln of exp": (lambda x: x.exp().ln(), [(2, 2)]),
    "tanh": (lambda x: (x + x).tanh(), [(2, 2)]),
    "scalar_sum": (lambda x: (x * x).scalar_sum(), [(10, 5)]),
    "square and sum": (lambda x: x.square().sum(axis=1), [(10, 5)]),
    "transpose": (lambda x: (x + x).t(), [(10, 5)]),
    "exp": (lambda x: (x + x).exp(), [(10, 5)]),
    "vector_dot and square": (
        lambda x, y: x.vector_dot(y).square(),
        [(10, 5), (10, 5)],
    ),
    "sigmoid, reused": (
        lambda x: (x + x).sigmoid() + (x + x).sigmoid(),
        [(10, 5)],
    ),
    "relu": (lambda x: (x + x).relu() * 3.0, [(10, 5)]),
    "negative": (lambda x: -(x + x), [(10, 5)]),
    "softmax": (lambda x: (x + x).softmax(), [ONE_ROW]),
    "log_softmax": (lambda x: (x + x).log_softmax(), [ONE_ROW]),
    "stacked rows": (
        lambda x, y: (x + y).concatenate(y, axis=0).square(),
        [SQUARE, SQUARE],
    ),
    "stacked columns": (
        lambda x, y: (x + y).concatenate(y, axis=1).square(),
        [SQUARE, SQUARE],
    ),
    "column slices, summed": (
        lambda x: x[:, 0:3].square() + x[:, 3:6] * 2.0 + x[:, 6:9].tanh(),
        [(4, 9)],
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient_is_that_of_central_differences(name):
    build, shapes = GRADIENTS[name]
    nodes = parameters(*shapes)
    require_gradients(build(*nodes), *nodes)


def test_log_softmax_is_the_logarithm_of_softmax():
    (x,) = parameters(ONE_ROW)
    np.testing.assert_allclose(
        x.log_softmax().value, np.log(x.softmax().value), rtol=1e-12
    )


def test_stacked_rows_and_columns_have_the_shapes_of_both():
    x, y = parameters((3, 2), (3, 2))
    assert x.concatenate(y, axis=0).shape == (6, 2)
    assert x.concatenate(y, axis=1).shape == (3, 4)


@pytest.mark.parametrize("target", [0, 7])
def test_gradient_of_cross_entropy_with_an_integer_target(target):
    (x,) = parameters(ONE_ROW)
    label = wp.IndexInputNode([target])
    loss = wp.nn.losses.cross_entropy(x, label)
    expected = -np.log(np.exp(x.value) / np.exp(x.value).sum())[0, target]
    assert loss.value.item() == pytest.approx(expected, rel=1e-12)
    require_gradients(loss, x)


def test_gradient_of_looked_up_rows_also_of_one_row_twice():
    (table,) = parameters((100, 5))
    first, second = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    output = table.index(first).vector_dot(table.index(second) * 2.0).square()
    rng = np.random.default_rng(3)
    for pair in [*rng.integers(0, 100, (10, 2)).tolist(), [4, 4]]:
        first.set_value(pair[0])
        second.set_value(pair[1])
        require_gradients(output, table)


# -- training -------------------------------------------------------------


def test_univariate_regression():
    rng = np.random.default_rng(0)
    slope, intercept = (wp.ParameterNode(rng.random((1, 1))) for _ in range(2))
    x, y = wp.InputNode(np.zeros((1, 1))), wp.InputNode(np.zeros((1, 1)))
    loss = (y - (slope * x + intercept)).square()
    optimizer = wp.Adagrad(0.5)
    for _ in range(200):
        given = rng.random()
        x.set_value(given)
        y.set_value(0.5 * given + 0.2)
        loss.forward()
        loss.backward(1.0)
        optimizer.step(loss.parameters())
    assert loss.value.item() < 1e-2


def test_multivariate_regression_with_three_coefficients():
    rng = np.random.default_rng(0)
    slopes = [wp.ParameterNode(rng.random((1, 1))) for _ in range(3)]
    intercept = wp.ParameterNode(rng.random((1, 1)))
    xs = [wp.InputNode(np.zeros((1, 1))) for _ in range(3)]
    y = wp.InputNode(np.zeros((1, 1)))
    predicted = intercept
    for slope, x in zip(slopes, xs, strict=True):
        predicted = predicted + slope * x
    loss = (y - predicted).square()
    optimizer = wp.SGD(0.1)
    for _ in range(200):
        given = rng.random(3)
        for x, value in zip(xs, given, strict=True):
            x.set_value(value)
        y.set_value(given @ [1.0, 2.0, 3.0] + 5.0)
        loss.forward()
        loss.backward(1.0)
        optimizer.step(loss.parameters())
    assert loss.value.item() < 1e-1


class Factorisation:
    """A 10 x 4 matrix of rank 4, from the product of embeddings of width 10."""

    def __init__(self):
        rng = np.random.default_rng(42)
        truth = rng.normal(0, 0.3, (10, 10)) @ rng.normal(0, 0.3, (10, 4))
        scale = 1 / np.sqrt(10)
        self.rows = wp.ParameterNode(rng.normal(0, scale, (10, 10)))
        self.columns = wp.ParameterNode(rng.normal(0, scale, (4, 10)))
        row, column = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        y = wp.InputNode(np.zeros((1, 1)))
        found = self.rows.index(row).vector_dot(self.columns.index(column))
        self.loss = (found - y).square()
        i, j = (places.ravel() for places in np.indices(truth.shape))
        self.inputs = {row: i, column: j, y: truth[i, j]}

    def fit(self, optimizer, epochs, **settings):
        """Train; the squared errors of all 40 cells afterwards."""
        settings = {"random_state": 0, "progress": False, **settings}
        wp.fit(self.loss, optimizer, self.inputs, epochs=epochs, **settings)
        return wp.evaluate(self.loss, self.inputs).ravel()


def test_factorisation_with_embeddings():
    assert Factorisation().fit(wp.Adagrad(0.1), 200).sum() < 1e-2


def test_factorisation_by_hogwild_on_all_cores():
    errors = Factorisation().fit(wp.SGD(), 100, n_jobs=-1, callbacks=[together])
    assert errors.mean() < 1e-3


def test_factorisation_synchronised_and_the_same_every_time():
    errors = [
        Factorisation().fit(wp.SGD(), 100, n_jobs=2, mode="synchronous")
        for _ in range(2)
    ]
    assert errors[0].mean() < 1e-3
    assert np.array_equal(*errors)


# -- recurrence -----------------------------------------------------------


@pytest.mark.parametrize("coupled", [False, True])
def test_gradients_of_ten_lstm_steps_by_inputs_and_all_weights(coupled):
    (x,) = parameters((10, 10))
    lstm = wp.nn.LSTM(10, 10, coupled=coupled, random_state=0, dtype=np.float64)
    outputs, _ = lstm(x)
    assert len(lstm.parameters()) >= 3
    require_gradients(outputs, x, *lstm.parameters())


# -- numerics -------------------------------------------------------------


def test_row_products_of_every_short_length():
    """Loops over blocks of lanes must not miss or repeat what is left over."""
    rng = np.random.default_rng(1)
    for length in range(1, 32):
        a, b = rng.standard_normal((2, 1, length)).astype(np.float32)
        expected = float(a.astype(np.float64)[0] @ b.astype(np.float64)[0])
        loss = wp.ParameterNode(a).vector_dot(wp.ParameterNode(b))
        assert loss.value.item() == pytest.approx(expected, abs=1e-5)
        assert wp.compile(loss, wp.SGD())() == pytest.approx(expected, abs=1e-5)


def test_an_update_is_a_scaled_subtraction():
    node = wp.ParameterNode(np.arange(12.0).reshape(4, 3), np.float64)
    weights = np.linspace(-1, 1, 12).reshape(4, 3)
    wp.compile((node * weights).sum(), wp.SGD(0.25))()
    np.testing.assert_allclose(
        node.value, np.arange(12.0).reshape(4, 3) - 0.25 * weights, rtol=1e-15
    )


@pytest.mark.parametrize("shape", [(1, 7, 5), (6, 7, 1), (1, 7, 1), (6, 7, 5)])
def test_products_with_a_row_or_a_column_equal_the_general_product(shape):
    m, k, n = shape
    a, b = parameters((m, k), (k, n))
    expected = np.einsum("ik,kj->ij", a.value, b.value)
    weights = np.random.default_rng(2).standard_normal((m, n))
    loss = (a.dot(b) * weights).sum()
    np.testing.assert_allclose(a.dot(b).value, expected, rtol=1e-12)
    before = [node.value.copy() for node in (a, b)]
    assert wp.compile(loss, wp.SGD(1.0))() == pytest.approx((expected * weights).sum())
    np.testing.assert_allclose(before[0] - a.value, weights @ before[1].T, rtol=1e-10)
    np.testing.assert_allclose(before[1] - b.value, before[0].T @ weights, rtol=1e-10)
