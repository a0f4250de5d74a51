"""Checkpoints of parameters: all of the state comes back, or nothing changes."""

import numpy as np
import pytest

from wyrm_py import errors
from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.checkpoint import load, save
from wyrm_py.parameters import HogwildParameter, PlainParameter

KINDS = [PlainParameter, HogwildParameter]


class Node:
    """What `save` and `load` see of a ParameterNode."""

    def __init__(self, block, name=None):
        self.block, self.name = block, name


def _filled(kind, shape=(4, 3), dtype=np.float32, seed=0, slots=("adagrad.sum",)):
    rng = np.random.default_rng(seed)
    parameter = kind(rng.random(shape), dtype=dtype)
    for slot in slots:
        parameter.slot(slot)[...] = rng.random(shape)
    return parameter


def _state(parameter):
    return {"": parameter.value.copy()} | {
        name: state.copy() for name, state in parameter.slots().items()
    }


def _assert_same(state, other):
    assert state.keys() == other.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_state_come_back_in_place(tmp_path, source, target, dtype):
    saved = {
        "users": _filled(source, (5, 2), dtype, seed=1),
        "bias": _filled(source, (), dtype, seed=2, slots=("a", "b", "c")),
        "plain": _filled(source, (3,), dtype, seed=3, slots=()),
    }
    save(tmp_path / "file", saved)
    given = {
        name: _filled(target, p.shape, dtype, seed=9, slots=())
        for name, p in reversed(saved.items())
    }
    views = {name: p.value for name, p in given.items()}
    load(str(tmp_path / "file"), given)
    for name, parameter in given.items():
        _assert_same(_state(parameter), _state(saved[name]))
        np.testing.assert_array_equal(views[name], saved[name].value)


def _counted(kind, seed):
    """Return a parameter with state per element, per row and of a single number."""
    parameter = _filled(kind, (4, 3), seed=seed, slots=("adam.first",))
    parameter.slot("adam.row_step", "row")[...] = np.arange(4) + seed
    parameter.slot("adam.step", "parameter")[...] = 10 + seed
    return parameter


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_counts_of_rows_and_parameters_come_back(tmp_path, source, target):
    saved, fresh, used = (
        _counted(source, 1),
        target(np.ones((4, 3))),
        _counted(target, 5),
    )
    save(tmp_path / "file", saved)
    for parameter in (fresh, used):
        load(tmp_path / "file", parameter)
        _assert_same(_state(parameter), _state(saved))
        assert parameter.slot("adam.step", "parameter") == 11
        assert parameter.slot("adam.row_step", "row").dtype == np.int64


def _negative_count(arrays):
    arrays["adam.row_step:0"][2] = -1


def _other_length(arrays):
    arrays["adam.row_step:0"] = np.zeros(5, np.int64)


def _state_of_floats(arrays):
    arrays["adam.first:0"] = arrays["adam.first:0"].astype(np.float64)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_negative_count, errors.CorruptCheckpointError),
        (_other_length, errors.ShapeError),
        (_state_of_floats, errors.DTypeError),
    ],
)
def test_state_that_does_not_fit_changes_nothing(tmp_path, change, error):
    path = tmp_path / "file"
    save(path, _counted(PlainParameter, 1))
    arrays, metadata = read_arrays(path)
    change(arrays)
    write_arrays(path, arrays, metadata)
    for parameter in (_counted(PlainParameter, 3), _filled(PlainParameter, slots=())):
        before = _state(parameter)
        with pytest.raises(error):
            load(path, parameter)
        _assert_same(_state(parameter), before)


def test_state_of_another_kind_under_a_name_changes_nothing(tmp_path):
    path = tmp_path / "file"
    save(path, _counted(PlainParameter, 1))
    parameter = PlainParameter(np.ones((4, 3)))
    parameter.slot("adam.row_step", "parameter")
    with pytest.raises(errors.ParameterError, match="per parameter.*per row"):
        load(path, parameter)
    assert list(parameter.slots()) == ["adam.row_step"]


def test_state_that_was_not_saved_is_reset(tmp_path):
    save(tmp_path / "file", _filled(PlainParameter, slots=()))
    parameter = _filled(PlainParameter, seed=4)
    load(tmp_path / "file", parameter)
    assert not parameter.slot("adagrad.sum").any()


def test_nodes_go_by_name_if_each_has_its_own(tmp_path):
    blocks = [_filled(PlainParameter, seed=k) for k in range(2)]
    named = [Node(blocks[0], "users"), Node(blocks[1], "items")]
    save(tmp_path / "file", named)
    assert "value:users" in read_arrays(tmp_path / "file")[0]
    swapped = [
        Node(PlainParameter(np.ones((4, 3))), "items"),
        Node(PlainParameter(np.ones((4, 3))), "users"),
    ]
    load(tmp_path / "file", swapped)
    np.testing.assert_array_equal(swapped[0].block.value, blocks[1].value)


@pytest.mark.parametrize("names", [("x", "x"), ("x", None), (None, None), ("x", "")])
def test_without_distinct_names_all_go_by_position(tmp_path, names):
    nodes = [Node(_filled(PlainParameter), name) for name in names]
    save(tmp_path / "file", tuple(nodes))
    assert {"value:0", "value:1"} <= read_arrays(tmp_path / "file")[0].keys()


def test_shared_memory_names_are_not_parameter_names(tmp_path):
    with_name = HogwildParameter(np.ones((2, 2)), storage="named")
    save(tmp_path / "file", [with_name])
    assert list(read_arrays(tmp_path / "file")[0]) == ["value:0"]


def _adagrad(parameter, gradients):
    total = parameter.slot("adagrad.sum")
    for gradient in gradients:
        total += gradient * gradient
        parameter.value[...] -= 0.05 * gradient / (1e-10 + np.sqrt(total))


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_adagrad_equals_uninterrupted_training(tmp_path, kind):
    gradients = np.random.default_rng(3).normal(size=(20, 4, 3)).astype(np.float32)
    start = np.random.default_rng(4).random((4, 3))
    whole, first, second = kind(start), kind(start), kind(np.zeros((4, 3)))
    _adagrad(whole, gradients)
    _adagrad(first, gradients[:12])
    save(tmp_path / "file", {"w": first})
    load(tmp_path / "file", {"w": second})
    _adagrad(second, gradients[12:])
    _assert_same(_state(second), _state(whole))


def _damaged_metadata(path):
    arrays, metadata = read_arrays(path)
    write_arrays(path, arrays, metadata | {"slots": {"w": ["other"]}})


def _odd_slots(path):
    arrays, metadata = read_arrays(path)
    write_arrays(path, arrays, metadata | {"slots": {"w": 3, "v": []}})


def _no_slots(path):
    arrays, metadata = read_arrays(path)
    del metadata["slots"]
    write_arrays(path, arrays, metadata)


def _other_kind(path):
    write_arrays(path, {}, {"kind": "model"})


def _not_finite(path):
    arrays, metadata = read_arrays(path)
    arrays["value:v"][0, 0] = np.nan
    write_arrays(path, arrays, metadata)


def _bit_flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-8])


DAMAGES = [
    _damaged_metadata,
    _odd_slots,
    _no_slots,
    _other_kind,
    _not_finite,
    _bit_flip,
    _cut,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_changes_nothing(tmp_path, damage):
    path = tmp_path / "file"
    save(path, {"w": _filled(PlainParameter), "v": _filled(PlainParameter)})
    damage(path)
    given = {n: _filled(PlainParameter, seed=7, slots=()) for n in ("w", "v")}
    before = {name: _state(parameter) for name, parameter in given.items()}
    with pytest.raises(errors.CorruptCheckpointError):
        load(path, given)
    for name, parameter in given.items():
        _assert_same(_state(parameter), before[name])


def test_missing_and_unexpected_names_are_told_and_change_nothing(tmp_path):
    save(tmp_path / "file", {"w": _filled(PlainParameter), "v": _filled(KINDS[1])})
    w, x = _filled(PlainParameter, seed=5), _filled(PlainParameter, seed=6)
    before = _state(w)
    with pytest.raises(errors.ParameterError, match=r"\['x'\], unexpected: \['v'\]"):
        load(tmp_path / "file", {"w": w, "x": x})
    _assert_same(_state(w), before)


@pytest.mark.parametrize(
    ("shape", "dtype", "error"),
    [
        ((4, 2), np.float32, errors.ShapeError),
        ((12,), np.float32, errors.ShapeError),
        ((4, 3), np.float64, errors.DTypeError),
    ],
)
def test_another_shape_or_dtype_changes_nothing(tmp_path, shape, dtype, error):
    save(tmp_path / "file", {"a": _filled(KINDS[0]), "b": _filled(KINDS[0])})
    fitting = _filled(PlainParameter, seed=5)
    before = _state(fitting)
    with pytest.raises(error, match="parameter 'b'"):
        load(
            tmp_path / "file",
            {"a": fitting, "b": _filled(PlainParameter, shape, dtype, slots=())},
        )
    _assert_same(_state(fitting), before)


def test_state_of_too_many_optimizers_changes_nothing(tmp_path):
    save(tmp_path / "file", _filled(PlainParameter, slots=("a", "b")))
    parameter = _filled(PlainParameter, seed=3, slots=("c", "d"))
    before = _state(parameter)
    with pytest.raises(errors.ParameterError, match="a, b, c, d"):
        load(tmp_path / "file", parameter)
    _assert_same(_state(parameter), before)


@pytest.mark.parametrize("place", ["value", "slot"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_diverged_parameter_is_not_saved(tmp_path, place, number):
    parameter = _filled(PlainParameter)
    save(tmp_path / "file", {"w": parameter})
    before = (tmp_path / "file").read_bytes()
    array = parameter.value if place == "value" else parameter.slot("adagrad.sum")
    array[1, 1] = number
    with pytest.raises(errors.DivergenceError, match="w"):
        save(tmp_path / "file", {"w": parameter})
    assert (tmp_path / "file").read_bytes() == before


@pytest.mark.parametrize("given", [{}, [], 3, "w", {"w": np.ones(3)}, {1: None}])
def test_what_is_no_parameter_is_refused(tmp_path, given):
    with pytest.raises(errors.ParameterError):
        save(tmp_path / "file", given)
    with pytest.raises(errors.ParameterError):
        load(tmp_path / "file", given)


def test_names_that_collide_are_refused(tmp_path):
    clash = {
        "c": _filled(PlainParameter, slots=("a:b",)),
        "b:c": _filled(PlainParameter, slots=("a",)),
    }
    with pytest.raises(errors.ParameterError, match="collide"):
        save(tmp_path / "file", clash)


def test_a_missing_folder_is_found_before_anything_else(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder"):
        save(tmp_path / "none" / "file", {})
