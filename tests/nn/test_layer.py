"""`Layer`: parts are found and named, copies are independent, memory is shared."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from stepping import plain_step

import wyrm_py as wp
from wyrm_py import nn
from wyrm_py.errors import GraphError


class Affine(nn.Layer):
    """x W + b, the smallest layer of one's own."""

    def __init__(self, inputs, outputs, seed=0):
        rng = np.random.default_rng(seed)
        self.weight = wp.ParameterNode(rng.standard_normal((inputs, outputs)))
        self.bias = wp.ParameterNode(np.zeros(outputs))

    def forward(self, x):
        return x.dot(self.weight) + self.bias


class Nested(nn.Layer):
    """Parts in attributes, lists, tuples and dicts; one of them used twice."""

    def __init__(self):
        self.width = 3
        self.first = Affine(3, 3, seed=1)
        self.gains = [wp.ParameterNode([1.0, 2.0, 3.0]), wp.ParameterNode(0.5)]
        self.heads = {"left": Affine(3, 2, seed=2), "right": (Affine(3, 2, seed=3),)}
        self.again = self.first

    def forward(self, x):
        hidden = (self.first(x) * self.gains[0]).tanh() * self.gains[1]
        hidden = self.again(hidden)
        return self.heads["left"](hidden) + self.heads["right"][0](hidden)


def ones(rows=2, width=3):
    return wp.InputNode(np.ones((rows, width)))


PATHS = [
    "first.weight",
    "first.bias",
    "gains.0",
    "gains.1",
    "heads.left.weight",
    "heads.left.bias",
    "heads.right.0.weight",
    "heads.right.0.bias",
]


def test_parts_are_found_once_in_order_and_named_by_their_path():
    named = Nested().named_parameters()
    assert list(named) == PATHS
    assert [node.name for node in named.values()] == PATHS


def test_a_name_of_ones_own_stays():
    layer = Affine(2, 2)
    layer.weight.name = "mixing"
    assert list(layer.named_parameters()) == ["weight", "bias"]
    assert layer.weight.name == "mixing"


def test_calling_a_layer_names_its_parameters_in_the_printed_step():
    layer = Nested()
    step = plain_step(layer(ones()).sum(), wp.SGD(0.1))
    assert "heads_right_0_weight" in step.source


def test_parameters_are_the_trainable_ones_and_frozen_ones_keep_their_values():
    layer = Affine(3, 2)
    layer.bias.trainable = False
    assert layer.parameters() == [layer.weight]
    assert list(layer.named_parameters()) == ["weight", "bias"]
    loss = (layer(ones()) - 1.0).square().sum()
    before = layer.weight.value.copy()
    loss.backward()
    wp.SGD(0.1).step(layer.parameters())
    assert not np.array_equal(layer.weight.value, before)
    assert not layer.bias.value.any()


def test_layers_are_listed_outer_ones_first_and_each_once():
    layer = Nested()
    expected = [layer, layer.first, layer.heads["left"], layer.heads["right"][0]]
    assert layer.layers() == expected


def test_the_graph_has_the_parameters_of_the_layer():
    layer = Nested()
    assert set(layer(ones()).parameters()) == set(layer.parameters())


def test_gradients_of_a_layer_used_twice_are_those_of_one_shared_matrix():
    layer = Affine(3, 3)
    x = ones()
    layer(layer(x)).sum().backward()
    w, b = layer.weight.value, layer.bias.value
    ones_out = np.ones((2, 3))
    inner = x.value @ w + b
    expected = inner.T @ ones_out + x.value.T @ (ones_out @ w.T)
    np.testing.assert_allclose(layer.weight.gradient, expected, rtol=1e-5)
    bias = ones_out.sum(0) + (ones_out @ w.T).sum(0)
    np.testing.assert_allclose(layer.bias.gradient, bias, rtol=1e-5)


def test_one_switch_turns_all_layers():
    layer = Nested()
    assert all(part.training for part in layer.layers())
    assert layer.eval() is layer
    assert not any(part.training for part in layer.layers())
    assert layer.train() is layer
    assert all(part.training for part in layer.layers())


@pytest.mark.parametrize("how", [nn.Layer.copy, copy.deepcopy])
def test_a_copy_has_every_value_and_no_memory_of_the_first(how):
    """Trap: wyrm's copy of an LSTM put one gate's weights in place of another's."""
    layer = Nested()
    other = how(layer)
    pairs = list(
        zip(
            layer.named_parameters().items(),
            other.named_parameters().items(),
            strict=True,
        )
    )
    for (path, node), (other_path, other_node) in pairs:
        assert path == other_path
        np.testing.assert_array_equal(node.value, other_node.value)
        assert node is not other_node
        assert not np.shares_memory(node.value, other_node.value)
    assert other.again is other.first
    x = ones()
    before = layer(x).value.copy()
    np.testing.assert_array_equal(other(x).value, before)
    for node in other.parameters():
        node.set_value(7.0)
    np.testing.assert_array_equal(layer(x).value, before)
    assert not np.array_equal(other(x).value, before)


KINDS = {
    "Dense": lambda: nn.Dense(3, 2, "tanh"),
    "Embedding": lambda: nn.Embedding(4, 3),
    "Sequential": lambda: nn.Sequential(nn.Dense(3, 3), nn.Dropout(0.5)),
    "Conv2d": lambda: nn.Conv2d(2, 3, 3),
    "RNN": lambda: nn.RNN(3, [4, 2], learn_initial=True),
    "GRU": lambda: nn.GRU(3, 4),
    "LSTM": lambda: nn.LSTM(3, [4, 2], learn_initial=True),
    "coupled LSTM": lambda: nn.LSTM(3, 4, coupled=True),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_each_kind_of_layer_copies_pickles_and_shares_every_parameter(name, shared):
    """Every parameter gets numbers of its own, so that no two can be exchanged."""
    layer = KINDS[name]()
    for number, node in enumerate(layer.named_parameters().values()):
        node.set_value(np.arange(node.value.size).reshape(node.shape) + 100 * number)
    expected = {k: v.value.copy() for k, v in layer.named_parameters().items()}
    if shared:
        layer.share()
    sent = pickle.loads(pickle.dumps(layer))
    for other in (layer, layer.copy(), layer.replica(), sent):
        named = other.named_parameters()
        assert list(named) == list(expected)
        for path, node in named.items():
            np.testing.assert_array_equal(node.value, expected[path])
    copied = layer.copy().named_parameters()
    for path, node in layer.named_parameters().items():
        assert not np.shares_memory(copied[path].value, node.value)
        sent.named_parameters()[path].set_value(-1.0)
        assert (node.value == -1.0).all() == shared
    assert repr(layer).startswith(type(layer).__name__)


def test_a_copy_after_training_has_the_optimizer_state_and_no_gradient():
    layer = Affine(3, 2)
    optimizer = wp.Adagrad(0.1)
    loss = layer(ones()).square().sum()
    loss.backward()
    optimizer.step(layer.parameters())
    loss.forward()
    loss.backward()
    other = layer.copy()
    assert other.weight.gradient is None
    held, copied = layer.weight.block.slots(), other.weight.block.slots()
    assert held.keys() == copied.keys() != set()
    for name in held:
        np.testing.assert_array_equal(held[name], copied[name])
        assert not np.shares_memory(held[name], copied[name])


def test_a_copy_of_shared_parameters_has_shared_memory_of_its_own():
    layer = Affine(3, 2).share()
    other = layer.copy()
    assert isinstance(other.weight.block, wp.HogwildParameter)
    other.weight.set_value(5.0)
    assert not (layer.weight.value == 5.0).any()


def test_two_nodes_over_one_parameter_stay_together_in_copies_and_in_sharing():
    layer = nn.Layer()
    first = wp.ParameterNode([1.0, 2.0])
    second = wp.ParameterNode([0.0, 0.0])
    second.move(first.block)
    layer.pair = [first, second]
    other = layer.copy()
    other.pair[0].set_value(4.0)
    np.testing.assert_array_equal(other.pair[1].value, [4.0, 4.0])
    layer.share()
    assert layer.pair[0].block is layer.pair[1].block
    assert isinstance(first.block, wp.HogwildParameter)


def test_pickling_a_private_layer_copies_and_a_shared_one_sends_handles():
    layer = Affine(3, 2)
    sent = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(sent.weight.value, layer.weight.value)
    sent.weight.set_value(3.0)
    assert not (layer.weight.value == 3.0).any()
    layer.share()
    sent = pickle.loads(pickle.dumps(layer))
    sent.weight.set_value(3.0)
    assert (layer.weight.value == 3.0).all()
    assert sent(ones()).shape == (2, 2)


def test_pickling_a_parameter_leaves_out_the_graph_around_it():
    layer = Affine(3, 2)
    small = len(pickle.dumps(layer.weight))
    loss = layer(wp.InputNode(np.ones((500, 3)))).square().sum()
    loss.backward()
    sent = pickle.loads(pickle.dumps(layer.weight))
    assert len(pickle.dumps(layer.weight)) < small + 100
    assert sent.gradient is None
    assert sent.trainable


def test_graphs_built_before_sharing_go_on_with_the_shared_parameters():
    layer = Affine(3, 2)
    loss = layer(ones()).square().sum()
    before = loss.value.copy()
    layer.share()
    np.testing.assert_array_equal(loss.forward().value, before)
    layer.weight.set_value(0.0)
    assert loss.forward().value == 0.0


def descend(layer, seed):
    """Train y = 2 x in a worker, on a local graph over shared parameters."""
    rng = np.random.default_rng(seed)
    x, y = wp.InputNode(np.zeros((1, 1))), wp.InputNode(np.zeros((1, 1)))
    loss = (layer(x) - y).square()
    optimizer = wp.SGD(0.1)
    for _ in range(300):
        value = rng.uniform(-1, 1)
        x.set_value(value)
        y.set_value(2 * value)
        loss.forward()
        loss.backward()
        optimizer.step(layer.parameters())


def train_on_two_workers(layer, backend):
    tasks = [joblib.delayed(descend)(layer.replica(), seed) for seed in range(2)]
    joblib.Parallel(n_jobs=2, backend=backend)(tasks)
    assert layer.weight.value.item() == pytest.approx(2.0, abs=0.05)
    assert layer.bias.value.item() == pytest.approx(0.0, abs=0.05)


def test_worker_processes_train_one_shared_layer():
    train_on_two_workers(Affine(1, 1).share(), "loky")


def test_worker_threads_train_one_private_layer():
    train_on_two_workers(Affine(1, 1), "threading")


def test_a_replica_has_the_same_values_and_gradients_of_its_own():
    layer = Nested()
    other = layer.replica()
    layer(ones()).sum().backward()
    named = other.named_parameters()
    for path, node in layer.named_parameters().items():
        assert named[path].block is node.block
        assert named[path].gradient is None
        assert node.gradient is not None
    assert other.again is other.first


def test_the_repr_is_a_tree_with_shapes_and_counts():
    layer = Nested()
    layer.gains[1].trainable = False
    assert repr(layer) == "\n".join(
        [
            "Nested(width=3): 32 parameters",
            "  first: Affine: 12 parameters",
            "    weight: float32[3, 3]",
            "    bias: float32[3]",
            "  gains.0: float32[3]",
            "  gains.1: float32[], frozen",
            "  heads.left: Affine: 8 parameters",
            "    weight: float32[3, 2]",
            "    bias: float32[2]",
            "  heads.right.0: Affine: 8 parameters",
            "    weight: float32[3, 2]",
            "    bias: float32[2]",
            "  again: Affine: 12 parameters",
            "    weight: float32[3, 3]",
            "    bias: float32[3]",
        ]
    )


def test_a_layer_without_forward_says_what_is_missing():
    with pytest.raises(GraphError, match=r"Empty: .*`forward`"):
        type("Empty", (nn.Layer,), {})()(ones())


class Chosen(nn.Layer):
    def __init__(self, parts, rng, initialiser=None, **more):
        self.parts = parts
        self.start = wp.ParameterNode(rng.normal(size=2))


def test_the_arguments_are_remembered_as_they_were_given():
    parts, rng = [Affine(1, 2)], np.random.default_rng(3)
    layer = Chosen(parts, rng, lambda shape, rng: np.ones(shape), table=np.ones(5))
    parts.append("later")
    (kept, generator, function), named = layer._given
    assert kept == [layer.parts[0]]
    np.testing.assert_array_equal(
        wp.ParameterNode(generator.normal(size=2)).value, layer.start.value
    )
    assert "<lambda>" in function.kind  # so that the layer can be pickled
    assert named["table"].kind == "ndarray"  # and nothing large stays in memory
    assert list(layer.named_parameters()) == ["parts.0.weight", "parts.0.bias", "start"]
    again = pickle.loads(pickle.dumps(layer.copy()))
    assert again._given[0][0][0] is again.parts[0]


def test_a_layer_without_a_constructor_takes_no_arguments():
    for wrong in (lambda: nn.Flatten(3), lambda: nn.Flatten(axis=1)):
        with pytest.raises(TypeError, match=r"Flatten\(\) takes no arguments"):
            wrong()


def test_a_layer_built_like_its_base_tells_the_same_parameters():
    class Tall(nn.MaxPool2d):
        """Pools."""

    for kind in (Tall, nn.MaxPool2d, nn.LSTM, nn.Conv1d):
        assert kind.__doc__.count("Parameters\n") == 1
    assert Tall.__doc__.startswith("Pools.") and "window : int" in Tall.__doc__
    assert Affine.__doc__ == "x W + b, the smallest layer of one's own."
