"""Layers and whole models in files: equal after loading, independent, or refused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import errors, nn
from wyrm_py.arrayfile import read_arrays, write_arrays


def _network(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Dense(3, 4, activation="tanh", random_state=rng),
        nn.Dropout(0.5),
        nn.Dense(4, 2, bias=False, random_state=rng),
    )


class Shift(nn.Layer):
    """A layer of one's own around an op of one's own."""

    def __init__(self, width, scale=1.0):
        self.offset = wp.ParameterNode(np.zeros(width))
        self.inner = nn.Dense(width, width, random_state=0)
        self.scale = scale

    def forward(self, x):
        return self.inner(x)._apply(Cubed()) * self.scale + self.offset


class Cubed(wp.Pointwise):
    """a ** 3."""

    expression = "a * a * a"

    def gradient(self, g, out, a):
        return [g * 3 * a * a]


def _values(layer):
    return {name: node.value.copy() for name, node in layer.named_parameters().items()}


def _assert_same(layer, other):
    values, others = _values(layer), _values(other)
    assert list(values) == list(others)
    for name, value in values.items():
        assert value.dtype == others[name].dtype
        np.testing.assert_array_equal(value, others[name])


def _train(layer, optimizer=None, epochs=2):
    rng = np.random.default_rng(0)
    x = wp.InputNode(np.zeros((1, 3)))
    layer.train()
    loss = layer(x).square().sum()
    wp.fit(
        loss,
        optimizer or wp.Adagrad(0.1),
        {x: rng.normal(size=(20, 3)).astype(np.float32)},
        epochs=epochs,
        random_state=1,
        engine="numpy",
        progress=False,
    )


def test_a_layer_is_saved_by_paths_and_loaded_in_place(tmp_path):
    layer, other = _network(), _network(1)
    layer.steps[0].weight.trainable = False
    wp.save(tmp_path / "file", layer)
    assert "value:steps.0.weight" in read_arrays(tmp_path / "file")[0]
    wp.load(tmp_path / "file", other)
    _assert_same(layer, other)
    wp.load(tmp_path / "file", layer.named_parameters())


def test_a_model_is_built_from_its_file(tmp_path):
    layer = _network()
    _train(layer)
    layer.steps[2].weight.trainable = False
    wp.save_model(tmp_path / "file", layer, extra={"note": "x"})
    other = wp.load_model(tmp_path / "file")
    _assert_same(layer, other)
    assert [step.p for step in other.steps if isinstance(step, nn.Dropout)] == [0.5]
    assert not other.steps[2].weight.trainable and other.steps[0].weight.trainable
    assert repr(other) == repr(layer)
    x = wp.InputNode(np.ones((2, 3)))
    np.testing.assert_array_equal(layer.eval()(x).value, other.eval()(x).value)
    for name, node in layer.named_parameters().items():
        slots = other.named_parameters()[name].block.slots()
        assert slots.keys() == node.block.slots().keys()
        for slot, state in node.block.slots().items():
            assert state.any()
            np.testing.assert_array_equal(slots[slot], state)
    assert wp.load(tmp_path / "file", other) == {"note": "x"}


def test_a_loaded_model_trains_on_as_the_one_in_memory(tmp_path):
    layer, optimizer = _network(), wp.Adagrad(0.1)
    _train(layer, optimizer)
    wp.save_model(tmp_path / "file", layer, optimizer=optimizer)
    other, fresh = wp.load_model(tmp_path / "file"), wp.Adagrad()
    wp.load(tmp_path / "file", other, optimizer=fresh)
    _train(layer, optimizer)
    _train(other, fresh)
    _assert_same(layer, other)


def test_a_layer_used_twice_is_one_layer_again(tmp_path):
    inner = nn.Dense(3, 3, random_state=0)
    wp.save_model(tmp_path / "file", nn.Sequential(inner, nn.Dense(3, 3), inner))
    other = wp.load_model(tmp_path / "file")
    assert other.steps[0] is other.steps[2] is not other.steps[1]


class Pair(nn.Layer):
    """Its settings come in another order than that of the alphabet."""

    def __init__(self, second, first, options):
        self.second, self.first, self.options = second, first, options


def test_the_order_of_settings_is_kept(tmp_path):
    inner = nn.Dense(2, 2)
    wp.save_model(
        tmp_path / "file", Pair(inner, inner, {"z": inner, "a": nn.Dense(1, 1)})
    )
    other = wp.load_model(tmp_path / "file", known=[Pair])
    assert other.first is other.second is other.options["z"]
    assert list(other.options) == ["z", "a"]


def test_a_model_without_parameters_has_a_file_too(tmp_path):
    wp.save_model(tmp_path / "file", nn.Dropout(0.25))
    assert wp.load_model(tmp_path / "file").p == 0.25


def test_a_model_in_shared_memory_is_loaded_private(tmp_path):
    layer = _network().share()
    wp.save_model(tmp_path / "file", layer)
    other = wp.load_model(tmp_path / "file")
    _assert_same(layer, other)
    assert not isinstance(other.steps[0].weight.block, wp.HogwildParameter)


def test_copies_are_equal_and_independent_also_after_a_file(tmp_path):
    layer = _network()
    _train(layer)
    copy = layer.copy()
    wp.save_model(tmp_path / "file", copy)
    loaded = wp.load_model(tmp_path / "file")
    shared = layer.replica()
    for other in (copy, loaded, shared):
        _assert_same(layer, other)
    before = _values(layer)
    _train(layer)
    _assert_same(layer, shared)
    for other in (copy, loaded):
        for name, value in _values(other).items():
            np.testing.assert_array_equal(value, before[name])
        assert (_values(layer)["steps.0.weight"] != before["steps.0.weight"]).any()


LAYERS = {
    "Activation": lambda: nn.Activation("leaky_relu"),
    "AveragePool1d": lambda: nn.AveragePool1d(2),
    "AveragePool2d": lambda: nn.AveragePool2d((2, 3)),
    "AveragePool3d": lambda: nn.AveragePool3d(2, channels_last=True),
    "Conv1d": lambda: nn.Conv1d(2, 3, 3, padding="same", padding_mode="reflective"),
    "Conv2d": lambda: nn.Conv2d(
        4, 6, (3, 2), (2, 1), ((1, 0), 2), groups=2, bias=False
    ),
    "Conv3d": lambda: nn.Conv3d(2, 3, 2, dilation=2, activation="relu", random_state=1),
    "Dense": lambda: nn.Dense(3, 2, "gelu", bias=False, dtype=np.float64),
    "Dropout": lambda: nn.Dropout(0.75),
    "Embedding": lambda: nn.Embedding(7, 3, random_state=5),
    "Flatten": lambda: nn.Flatten(),
    "GlobalPool": lambda: nn.GlobalPool("max", channels_last=True),
    "GRU": lambda: nn.GRU(3, [4, 2], learn_initial=True),
    "GRUCell": lambda: nn.GRUCell(3, 4, True),
    "LSTM": lambda: nn.LSTM(3, 4, coupled=True),
    "LSTMCell": lambda: nn.LSTMCell(3, 4, True, True, dtype=np.float64),
    "MaxPool1d": lambda: nn.MaxPool1d(3, 2),
    "MaxPool2d": lambda: nn.MaxPool2d(2, (1, 2)),
    "MaxPool3d": lambda: nn.MaxPool3d((1, 2, 2)),
    "MinPool1d": lambda: nn.MinPool1d(3, 2),
    "MinPool2d": lambda: nn.MinPool2d(2, (1, 2)),
    "MinPool3d": lambda: nn.MinPool3d((1, 2, 2)),
    "Model": lambda: nn.Model(
        nn.Dense(3, 2), nn.losses.mse, wp.Adam(wp.schedules.Exponential(0.1, 0.5))
    ),
    "RNN": lambda: nn.RNN(3, (4, 4)),
    "RNNCell": lambda: nn.RNNCell(3, hidden=4),
    "Reshape": lambda: nn.Reshape(3, 1),
    "Sequential": lambda: nn.Sequential(nn.Dense(3, 3), nn.Dropout(0.5)),
    "SimpleGRU": lambda: nn.SimpleGRU(3, 4),
    "SimpleGRUCell": lambda: nn.SimpleGRUCell(3, 4),
    "SumPool1d": lambda: nn.SumPool1d(3, 2),
    "SumPool2d": lambda: nn.SumPool2d(2, (1, 2)),
    "SumPool3d": lambda: nn.SumPool3d((1, 2, 2)),
}


def test_every_layer_of_the_package_is_tested_here():
    layers = {
        name
        for name, kind in vars(nn).items()
        if isinstance(kind, type) and issubclass(kind, nn.Layer)
    }
    assert layers - {"Layer"} == LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_comes_back_as_it_was(tmp_path, name):
    layer = LAYERS[name]()
    wp.save_model(tmp_path / "file", layer)
    other = wp.load_model(tmp_path / "file")
    assert type(other) is type(layer)
    assert repr(other) == repr(layer)  # the tree of settings, names and shapes
    _assert_same(layer, other)
    assert wp.to_json(other) == wp.to_json(layer)


# -- classes and ops of one's own -----------------------------------------------


def test_a_layer_with_an_op_of_ones_own_needs_its_class(tmp_path):
    layer = Shift(3, scale=2.0)
    wp.save_model(tmp_path / "file", layer)
    with pytest.raises(errors.UnknownClassError, match=r"'Shift'.*known="):
        wp.load_model(tmp_path / "file")
    other = wp.load_model(tmp_path / "file", known=[Shift])
    x = wp.InputNode(np.full((2, 3), 0.5))
    np.testing.assert_array_equal(layer(x).value, other(x).value)


def test_a_graph_is_no_model(tmp_path):
    x = wp.InputNode(np.ones((1, 3)))
    for graph in (x._apply(Cubed()), [wp.ParameterNode([1.0])], None):
        with pytest.raises(errors.UnsavableError, match="a Layer is required"):
            wp.save_model(tmp_path / "file", graph)
    assert list(tmp_path.iterdir()) == []


def test_a_function_as_activation_is_refused_with_the_cure(tmp_path):
    layer = nn.Sequential(nn.Dense(3, 2, activation=lambda x: x._apply(Cubed())))
    with pytest.raises(errors.UnsavableError, match=r"steps\[0\]\.activation.*'relu'"):
        wp.save_model(tmp_path / "file", layer)
    assert list(tmp_path.iterdir()) == []
    wp.save(tmp_path / "file", layer)  # as the message says
    wp.load(tmp_path / "file", layer)


class Growing(nn.Layer):
    def __init__(self, width):
        self.parts = [nn.Dense(width, width)]

    def forward(self, x):
        return x


def test_a_layer_changed_after_it_was_built_is_refused(tmp_path):
    layer = Growing(2)
    layer.parts.append(nn.Dense(2, 2))
    wp.save_model(tmp_path / "more", layer)
    with pytest.raises(errors.ParameterError, match=r"parts\.1\.weight"):
        wp.load_model(tmp_path / "more", known=[Growing])
    layer = Growing(2)
    layer.parts[0] = nn.Dense(2, 3)
    wp.save_model(tmp_path / "wider", layer)
    with pytest.raises(errors.ShapeError, match=r"parts\.0\.weight"):
        wp.load_model(tmp_path / "wider", known=[Growing])


# -- faults -----------------------------------------------------------------------


def test_a_file_without_a_model_says_so(tmp_path):
    wp.save(tmp_path / "file", _network())
    with pytest.raises(errors.SettingError, match=r"holds no model.*save_model"):
        wp.load_model(tmp_path / "file")


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (None, errors.CorruptCheckpointError),
        ([], errors.CorruptCheckpointError),
        ({"class": "wyrm_py.Dense"}, errors.CorruptCheckpointError),
        ({"class": "wyrm_py.SGD", "settings": {}}, errors.CorruptCheckpointError),
        ({"class": "Popen", "settings": {"args": ["true"]}}, errors.UnknownClassError),
        ({"class": "wyrm_py.Dense", "settings": {"inputs": 3}}, errors.SettingError),
        (
            {"class": "wyrm_py.Dense", "settings": {"inputs": -3, "outputs": 1}},
            errors.SettingError,
        ),
        (
            {"class": "wyrm_py.Dense", "settings": {"inputs": 3, "outputs": 1}},
            errors.ParameterError,
        ),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, model, error):
    wp.save_model(tmp_path / "file", _network())
    arrays, metadata = read_arrays(tmp_path / "file")
    write_arrays(tmp_path / "file", arrays, metadata | {"model": model})
    with pytest.raises(error):
        wp.load_model(tmp_path / "file")


def _cut(content):
    return content[: len(content) // 2]


def _flip_data(content):
    return content[:-5] + bytes([content[-5] ^ 4]) + content[-4:]


def _flip_manifest(content):
    place = content.index(b"Dense")
    return content[:place] + b"dense" + content[place + 5 :]


def _pickled(content):
    return b"cos\nsystem\n(S'true'\ntR."


DAMAGES = [_cut, _flip_data, _flip_manifest, _pickled, lambda content: b""]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused(tmp_path, damage):
    path = tmp_path / "file"
    wp.save_model(path, _network())
    path.write_bytes(damage(path.read_bytes()))
    layer = _network(1)
    before = _values(layer)
    for load in (wp.load_model, lambda path: wp.load(path, layer)):
        with pytest.raises(errors.CorruptCheckpointError, match="cannot be loaded"):
            load(path)
    assert all((before[name] == v).all() for name, v in _values(layer).items())


def test_folders_and_missing_files_are_os_errors(tmp_path):
    for path in (tmp_path, tmp_path / "none" / "file"):
        with pytest.raises(OSError):
            wp.save_model(path, _network())
        with pytest.raises(OSError):
            wp.load_model(path)


def test_the_manifest_is_readable_json(tmp_path):
    wp.save_model(tmp_path / "file", nn.Dense(2, 1), optimizer=wp.SGD(0.125))
    content = (tmp_path / "file").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    _digest, _, text = header["__metadata__"]["wyrm_py"].partition(" ")
    manifest = json.loads(text)
    assert manifest["format"] == 1
    assert manifest["tensors"]["value:weight"]["shape"] == [2, 1]
    assert manifest["metadata"]["model"]["class"] == "wyrm_py.Dense"
    assert manifest["metadata"]["optimizer"]["settings"]["learning_rate"] == 0.125


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_process_killed_while_saving_leaves_a_whole_model(tmp_path):
    program = f"""
import itertools, numpy as np, wyrm_py as wp
from wyrm_py import nn
layer = nn.Dense(500, 500)
for number in itertools.count():
    layer.weight.set_value(np.full((500, 500), number))
    wp.save_model({str(tmp_path / "file")!r}, layer, extra=number)
    print(number, flush=True)
"""
    rng = np.random.default_rng(0)
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE
        ) as writer:
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.02))
            writer.send_signal(signal.SIGKILL)
        layer = wp.load_model(tmp_path / "file")
        assert (layer.weight.value == wp.load(tmp_path / "file", layer)).all()


def test_several_savers_leave_one_whole_file(tmp_path):
    path, failures = tmp_path / "file", []

    def write(number):
        layer = nn.Dense(40, 40)
        layer.weight.set_value(np.full((40, 40), number))
        try:
            for _ in range(8):
                wp.save_model(path, layer, extra=number)
                wp.load_model(path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    layer = wp.load_model(path)
    assert (layer.weight.value == wp.load(path, layer)).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
