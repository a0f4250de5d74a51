"""The simple layers: values by their formula, gradients, shapes and errors."""

import re

import numpy as np
import pytest
from nn.checks import check_gradients, check_layer, draw
from scipy import sparse, special
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py import nn
from wyrm_py.errors import (
    DTypeError,
    IndexRangeError,
    SettingError,
    ShapeError,
)

SHAPES = [(3,), (1, 3), (5, 3), (2, 5, 3), (2, 1, 4, 3)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_is_x_w_plus_b_over_the_last_axis(shape, bias):
    layer = nn.Dense(3, 2, bias=bias, random_state=1, dtype=np.float64)
    if bias:
        layer.bias.set_value([0.5, -1.0])
    x = draw(shape)
    expected = x @ layer.weight.value + (np.array([0.5, -1.0]) if bias else 0.0)
    out = layer(wp.InputNode(x, np.float64))
    assert out.shape == (*shape[:-1], 2)
    np.testing.assert_allclose(out.value, expected, rtol=1e-13)
    check_layer(layer, x)


def test_dense_stores_weights_as_inputs_by_outputs_and_counts_its_parameters():
    layer = nn.Dense(3, 2, activation="relu")
    assert layer.weight.shape == (3, 2)
    assert layer.bias.shape == (2,)
    assert layer.weight.dtype == np.float32
    assert not layer.bias.value.any()
    assert repr(layer).splitlines()[0] == "Dense(activation='relu'): 8 parameters"
    assert [n.name for n in layer.parameters()] == ["weight", "bias"]
    assert len(nn.Dense(3, 2, bias=False).parameters()) == 1


REFERENCES = {
    "relu": lambda a: np.maximum(a, 0.0),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a),
    "elu": lambda a: np.where(a > 0, a, np.expm1(a)),
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "softplus": lambda a: np.logaddexp(0.0, a),
    "softmax": lambda a: special.softmax(a, axis=-1),
    "log_softmax": lambda a: special.log_softmax(a, axis=-1),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_activations_by_name_as_a_setting_and_as_a_layer(name):
    x = draw((5, 3))
    layer = nn.Dense(3, 4, activation=name, random_state=0, dtype=np.float64)
    before = x @ layer.weight.value
    node = wp.InputNode(x, np.float64)
    np.testing.assert_allclose(layer(node).value, REFERENCES[name](before), rtol=1e-12)
    check_layer(layer, x)
    alone = nn.Activation(name)
    np.testing.assert_allclose(alone(node).value, REFERENCES[name](x), rtol=1e-12)
    check_layer(alone, x)


def test_an_activation_may_be_a_function_of_nodes():
    layer = nn.Dense(3, 4, lambda a: a.tanh().square(), random_state=0, dtype="f8")
    x = draw((5, 3))
    out = layer(wp.InputNode(x, np.float64)).value
    np.testing.assert_allclose(out, np.tanh(x @ layer.weight.value) ** 2, rtol=1e-12)
    check_layer(layer, x)


def test_dense_on_sparse_rows_has_row_gradients():
    rows = sparse.csr_array(np.array([[0, 1.5, 0, 0], [2.0, 0, 0, 0]]))
    layer = nn.Dense(4, 2, random_state=0, dtype=np.float64)
    out = layer(wp.SparseInputNode(rows, np.float64))
    np.testing.assert_allclose(out.value, rows.toarray() @ layer.weight.value)
    out.sum().backward()
    assert sparse.issparse(layer.weight.gradient)
    assert sorted(set(layer.weight.gradient.nonzero()[0])) == [0, 1]


def test_embedding_looks_rows_up_and_touches_no_others():
    layer = nn.Embedding(6, 3, random_state=0, dtype=np.float64)
    rows = wp.IndexInputNode([[1, 4], [1, 0]])
    out = layer(rows)
    assert out.shape == (2, 2, 3)
    np.testing.assert_array_equal(out.value, layer.weight.value[rows.value])
    check_gradients(lambda: layer(rows).square(), layer.parameters())
    layer.weight.zero_gradient()
    layer(rows).sum().backward()
    counts = np.zeros((6, 3))
    np.add.at(counts, rows.value.reshape(-1), 1.0)
    assert sparse.issparse(layer.weight.gradient)
    np.testing.assert_array_equal(layer.weight.gradient.toarray(), counts)
    np.testing.assert_array_equal(layer([2, 5]).value, layer.weight.value[[2, 5]])


def test_dropout_follows_the_switch_in_graphs_already_built():
    x = wp.ParameterNode(np.ones((100, 20)))
    layer = nn.Dropout(0.25)
    out = layer(x)
    kept = out.value != 0
    assert 0.7 < kept.mean() < 0.8
    np.testing.assert_allclose(out.value[kept], 1 / 0.75, rtol=1e-6)
    out.sum().backward()
    np.testing.assert_array_equal(x.gradient, out.value)  # trap: the scale counts too
    layer.eval()
    np.testing.assert_array_equal(out.forward().value, x.value)
    layer.train()
    assert (out.forward().value == 0).any()


def test_dropout_layers_within_others_are_switched_and_copied():
    model = nn.Sequential(nn.Dense(4, 50), nn.Dropout(0.5), nn.Dense(50, 1))
    x = wp.InputNode(np.ones((1, 4)))
    other = model.copy()
    model.eval()
    assert not model.steps[1].training
    assert other.steps[1].training  # a copy has a switch of its own
    out = model(x)
    first = out.value.copy()
    np.testing.assert_array_equal(out.forward().value, first)
    assert len({other(x).value.item() for _ in range(5)}) > 1


def test_evaluate_never_drops_and_fit_always_does():
    layer = nn.Dropout(0.5)
    x = wp.InputNode(np.ones((1, 40)))
    weight = wp.ParameterNode(np.zeros((1, 40)), name="weight")
    out = layer(x)
    values = wp.evaluate(out, {x: np.ones((3, 40))}, batch_size=2)
    np.testing.assert_array_equal(values, np.ones((3, 40)))
    layer.eval()
    wp.fit((out * weight).sum(), wp.SGD(1.0), {x: np.ones((1, 1, 40))}, progress=False)
    assert set(np.unique(weight.value)) == {-2.0, 0.0}


def test_shapes_of_examples_change_and_the_first_axis_stays():
    x = draw((5, 2, 3))
    node = wp.InputNode(x, np.float64)
    np.testing.assert_array_equal(nn.Flatten()(node).value, x.reshape(5, 6))
    np.testing.assert_array_equal(nn.Reshape(3, 2)(node).value, x.reshape(5, 3, 2))
    for layer in (nn.Flatten(), nn.Reshape(3, 1, 2)):
        check_layer(layer, x)
    assert nn.Flatten()(wp.InputNode(np.zeros(4))).shape == (4, 1)


def test_sequential_applies_its_layers_in_order():
    model = nn.Sequential(
        nn.Flatten(),
        nn.Dense(6, 4, "tanh", random_state=0, dtype=np.float64),
        nn.Dense(4, 2, random_state=1, dtype=np.float64),
    )
    x = draw((5, 2, 3))
    first, second = model.steps[1:]
    expected = np.tanh(x.reshape(5, 6) @ first.weight.value) @ second.weight.value
    found = model(wp.InputNode(x, np.float64)).value
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    check_layer(model, x)
    assert list(model.named_parameters()) == [
        "steps.1.weight",
        "steps.1.bias",
        "steps.2.weight",
        "steps.2.bias",
    ]


def test_printed_steps_of_layers_compute_what_numpy_does():
    """As plain Python: 3-d inputs, a look-up, shape layers, dropout's own draws."""
    x = wp.InputNode(draw((2, 5, 3)), np.float64)
    rows = wp.IndexInputNode([[1, 4], [1, 0]])
    tower = nn.Sequential(
        nn.Dense(3, 4, "relu", random_state=0, dtype=np.float64),
        nn.Reshape(4, 5),
        nn.Dense(5, 2, "leaky_relu", random_state=1, dtype=np.float64),
        nn.Dropout(0.0),
        nn.Flatten(),
    )
    table = nn.Embedding(6, 4, random_state=2, dtype=np.float64)
    loss = (tower(x) * table(rows).reshape(2, 8)).tanh().sum()
    parameters = [*tower.parameters(), *table.parameters()]
    optimizer = wp.SGD(0.1)
    expected, wanted = updates(lambda: numpy_step(loss, optimizer), parameters)
    found, taken = updates(plain_step(loss, optimizer), parameters)
    assert found == pytest.approx(expected, rel=1e-12)
    for one, other in zip(taken, wanted, strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


def test_batches_of_sequences_train_natively_as_in_numpy():
    """The first axis varies with the batch, and the last batch is shorter."""
    columns = draw((7, 5, 3)), draw((7, 5, 2), seed=1)
    trained = {}
    for engine in ("native", "numpy"):
        layer = nn.Dense(3, 2, "tanh", random_state=0, dtype=np.float64)
        x = wp.InputNode(np.zeros((1, 5, 3)), np.float64)
        y = wp.InputNode(np.zeros((1, 5, 2)), np.float64)
        wp.fit(
            nn.losses.mse(layer(x), y),
            wp.SGD(0.3),
            {x: columns[0], y: columns[1]},
            batch_size=3,
            random_state=0,
            engine=engine,
            progress=False,
        )
        trained[engine] = np.vstack([layer.weight.value, layer.bias.value])
    np.testing.assert_allclose(trained["native"], trained["numpy"], rtol=1e-12)


def test_layers_are_drawn_by_their_seed():
    same = [nn.Dense(3, 2, random_state=5).weight.value for _ in range(2)]
    np.testing.assert_array_equal(*same)
    rng = np.random.default_rng(5)
    shared = [nn.Dense(3, 2, random_state=rng).weight.value for _ in range(2)]
    np.testing.assert_array_equal(shared[0], same[0])
    assert not np.array_equal(shared[1], same[0])


def test_an_initialiser_of_ones_own_gets_shape_and_generator():
    seen = []

    def mine(shape, rng):
        seen.append(shape)
        return np.full(shape, rng.integers(3, 4))

    layer = nn.Dense(3, 2, initialiser=mine, random_state=0)
    assert seen == [(3, 2)]
    assert (layer.weight.value == 3.0).all()
    assert (nn.Embedding(4, 2, initialiser=mine).weight.value == 3.0).all()


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: nn.Dense(0, 2), SettingError, "at least 1"),
        (lambda: nn.Dense(3, 2.5), SettingError, "integers"),
        (lambda: nn.Dense(3, 2, activation="rleu"), SettingError, "'rleu'"),
        (lambda: nn.Dense(3, 2, dtype=np.float16), DTypeError, "float16"),
        (lambda: nn.Dense(3, 2, random_state=-1), SettingError, "random_state"),
        (lambda: nn.Dense(3, 2, random_state="x"), SettingError, "random_state"),
        (lambda: nn.Embedding(0, 2), SettingError, "at least 1"),
        (lambda: nn.Embedding(3, 0), SettingError, "at least 1"),
        (lambda: nn.Dropout(1.5), SettingError, r"\[0, 1\]"),
        (lambda: nn.Dropout("x"), SettingError, r"\[0, 1\]"),
        (lambda: nn.Reshape(-1, 2), SettingError, "at least 1"),
        (lambda: nn.Sequential(), SettingError, "one or more"),
        (lambda: nn.Sequential(np.tanh), SettingError, "Activation"),
        (lambda: nn.Activation("rleu"), SettingError, "one of relu"),
        (lambda: nn.Dense(3, 2, initialiser=lambda s, r: 1.0), ShapeError, r"\(3, 2\)"),
    ],
)
def test_impossible_settings_are_typed_errors(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_values_of_another_shape_are_typed_errors():
    x = wp.InputNode(np.zeros((2, 6, 4)))
    with pytest.raises(ShapeError, match=re.escape("Dense: the last axis must have")):
        nn.Dense(3, 2)(x)  # 48 elements, a multiple of 3
    with pytest.raises(ShapeError, match="first axis stands for the batch"):
        nn.Reshape(12)(x)
    with pytest.raises(IndexRangeError):
        nn.Embedding(3, 2)([3])
