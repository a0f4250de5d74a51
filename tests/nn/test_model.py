"""`Model`: one step by hand, whole arrays natively, copies, workers."""

import pickle

import numpy as np
import pytest
from scipy import sparse, special
from waiting import together

import wyrm_py as wp
from wyrm_py import nn
from wyrm_py.errors import DataError, GraphError, IndexRangeError, SettingError


def blobs(count=240, classes=6, width=8, seed=0):
    """Return points around the corners of a cube, and which corner each is of."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-2, 2, (classes, width))
    labels = rng.integers(0, classes, count)
    return centres[labels] + 0.5 * rng.standard_normal((count, width)), labels


def network(width=8, classes=6, hidden=16, dropout=0.0, dtype=np.float32):
    return nn.Sequential(
        nn.Dense(width, hidden, "relu", random_state=1, dtype=dtype),
        nn.Dropout(dropout),
        nn.Dense(hidden, classes, random_state=2, dtype=dtype),
    )


def model(**settings):
    return nn.Model(network(**settings), nn.losses.cross_entropy, wp.Adagrad(0.1))


def accuracy(trained, x, y):
    return (trained.predict(x).argmax(1) == y).mean()


def test_one_step_by_hand_is_gradient_descent():
    layer = nn.Dense(3, 2, random_state=0, dtype=np.float64)
    start = layer.weight.value.copy()
    descent = nn.Model(layer, nn.losses.mse, wp.SGD(0.1))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    out = descent.forward(x)
    np.testing.assert_allclose(out.value, x @ start, rtol=1e-12)
    loss = descent.backward(y)
    error = x @ start - y
    assert loss == pytest.approx((error**2).mean(), rel=1e-12)
    descent.update()
    expected = start - 0.1 * x.T @ error * 2 / error.size
    np.testing.assert_allclose(layer.weight.value, expected, rtol=1e-12)
    assert layer.weight.gradient is None
    assert descent.forward(x).shape == (5, 2)
    assert descent.backward(y) < loss


def test_a_loop_by_hand_learns_to_tell_points_apart():
    x, y = blobs()
    trained = model()
    losses = []
    for _ in range(40):
        trained.forward(x)
        losses.append(trained.backward(y))
        trained.update()
    assert losses[-1] < 0.2 * losses[0]
    assert accuracy(trained, x, y) > 0.95


@pytest.mark.parametrize("settings", [{}, {"n_jobs": 2, "backend": "threads"}])
def test_fit_learns_to_tell_points_apart(settings):
    x, y = blobs()
    trained = model(dropout=0.1)
    settings = {"callbacks": [together], "progress": False, **settings}
    history = trained.fit(x, y, epochs=20, random_state=0, **settings)
    assert history.losses[-1] < 0.3 * history.losses[0]
    assert accuracy(trained, x, y) > 0.95
    other, labels = blobs(seed=0, count=300)
    assert accuracy(trained, other, labels) > 0.9


def test_predict_is_the_forward_pass_without_dropout():
    x, _ = blobs(count=13)
    trained = model(dropout=0.5)
    first, _, last = trained.layer.steps
    hidden = np.maximum(x @ first.weight.value + first.bias.value, 0)
    expected = hidden @ last.weight.value + last.bias.value
    found = trained.predict(x, batch_size=4)
    assert found.shape == (13, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    trained.eval()
    np.testing.assert_allclose(trained.forward(x).value, found, rtol=1e-4, atol=1e-5)


def test_inputs_may_be_row_numbers_or_sparse_rows():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 20, (50, 3))
    target = (rows.sum(1) % 2).astype(np.float32)[:, None]

    class Bag(nn.Layer):
        def __init__(self):
            self.table = nn.Embedding(20, 4, random_state=0)
            self.out = nn.Dense(4, 1, random_state=0)

        def forward(self, numbers):
            return self.out(self.table(numbers).sum(1).tanh())

    trained = nn.Model(Bag(), nn.losses.bce_with_logits, wp.Adagrad(0.3))
    history = trained.fit(rows, target, epochs=60, random_state=0, progress=False)
    assert history.losses[-1] < 0.5 * history.losses[0]
    matrix = sparse.random_array((50, 20), density=0.2, rng=rng, format="csr")
    linear = nn.Model(nn.Dense(20, 1), nn.losses.mse, wp.SGD(0.1))
    history = linear.fit(
        matrix, target, epochs=3, random_state=0, progress=False, engine="numpy"
    )
    assert history.losses[-1] < history.losses[0]
    assert linear.predict(matrix).shape == (50, 1)


def test_a_float64_model_computes_in_float64():
    x, y = blobs(count=20)
    trained = model(dtype=np.float64)
    assert trained.predict(x).dtype == np.float64
    assert trained.forward(x).dtype == np.float64
    log = special.log_softmax(trained.forward(x).value, axis=-1)
    expected = -log[np.arange(20), y].mean()
    assert trained.backward(y) == pytest.approx(expected, rel=1e-12)


def test_a_model_copies_and_pickles_without_its_last_graph():
    x, y = blobs(count=20)
    trained = model()
    trained.forward(x)
    for other in (trained.copy(), pickle.loads(pickle.dumps(trained))):
        np.testing.assert_array_equal(other.predict(x), trained.predict(x))
        with pytest.raises(GraphError, match="`forward`"):
            other.backward(y)
        other.forward(x)
        other.backward(y)
        other.update()
        assert not np.array_equal(other.predict(x), trained.predict(x))
    assert next(iter(trained.named_parameters())) == "layer.steps.0.weight"


def test_a_model_is_a_layer_of_a_larger_graph():
    trained = model()
    x = wp.InputNode(np.ones((2, 8)))
    np.testing.assert_array_equal(trained(x).value, trained.layer(x).value)


@pytest.mark.parametrize(
    "parts",
    [
        (np.tanh, nn.losses.mse, wp.SGD()),
        (nn.Dense(1, 1), "mse", wp.SGD()),
        (nn.Dense(1, 1), nn.losses.mse, 0.1),
    ],
    ids=["layer", "loss", "optimizer"],
)
def test_a_model_of_something_else_is_a_typed_error(parts):
    with pytest.raises((SettingError, TypeError)):
        nn.Model(*parts)


def test_errors_of_fit_name_the_inputs():
    x, y = blobs(count=4)
    with pytest.raises(IndexRangeError, match=r"'y'.*\[0, 6\), got 9 in example 2"):
        model().fit(x, [0, 1, 9, 2], progress=False)
    with pytest.raises(DataError, match="'x'.*'y'"):
        model().fit(x, y[:3], progress=False)
