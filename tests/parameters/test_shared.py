import copy
import pickle

import joblib
import numpy as np
import pytest

from wyrm_py.errors import ParameterError, SettingError, StaleParameterError
from wyrm_py.parameters import HogwildParameter, PlainParameter, SharedArray

STORAGES = ["memfd", "named"]


@pytest.fixture(params=STORAGES)
def storage(request):
    return request.param


def in_workers(function, *arguments, times=1):
    """Run a function in loky workers, never in this process."""
    with joblib.parallel_config(backend="loky", max_nbytes=None):
        calls = [joblib.delayed(function)(*arguments) for _ in range(times)]
        return joblib.Parallel(n_jobs=2)(calls)


def test_handle_is_small_and_leads_to_the_same_memory_here(storage):
    parameter = HogwildParameter(np.zeros((1000, 100)), storage=storage)
    text = pickle.dumps(parameter)
    assert len(text) < 500
    other = pickle.loads(text)
    other.value[7, 7] = 3
    assert parameter.value[7, 7] == 3
    assert other.value.ctypes.data == parameter.value.ctypes.data
    assert pickle.loads(pickle.dumps(other)).value[7, 7] == 3


def write_everywhere(parameter, number):
    parameter.value[3] += number
    parameter.slot("adagrad.sum")[3] += 2 * number
    return pickle.dumps(parameter), parameter.rows


def test_joblib_sends_a_handle_and_writes_are_seen_here(storage):
    # Large enough that joblib would memory-map an ordinary array.
    parameter = HogwildParameter(np.zeros((3000, 100)), storage=storage)
    [(text, rows)] = in_workers(write_everywhere, parameter, 1)
    assert rows == 3000
    assert parameter.value[3].tolist() == [1.0] * 100
    assert parameter.value.sum() == 100
    assert parameter.slots()["adagrad.sum"].sum() == 200
    # A handle passed on by a worker still leads here.
    pickle.loads(text).value[0, 0] = 5
    assert parameter.value[0, 0] == 5


def make_slots(parameter, names):
    for name in names:
        parameter.slot(name)[...] += 1
    return list(parameter.slots())


def test_processes_that_make_slots_at_once_agree(storage):
    parameter = HogwildParameter(np.zeros((50, 3)), storage=storage)
    orders = in_workers(make_slots, parameter, ("x", "y", "z"), times=4)
    assert all(order == ["x", "y", "z"] for order in orders)
    assert parameter.slots().keys() == {"x", "y", "z"}
    with pytest.raises(ParameterError, match="x, y, z"):
        parameter.slot("w")


def see_growth(parameter, rows):
    before = parameter.value.shape
    parameter.grow(rows)
    parameter.value[-1] = 1
    return before, parameter.value.shape, parameter.slot("s").shape


def test_growth_is_seen_by_every_process(storage):
    parameter = HogwildParameter(np.ones((3, 5)), storage=storage, capacity=5000)
    parameter.slot("s")[...] = 4
    old = parameter.value
    parameter.grow(4)
    assert (parameter.rows, parameter.capacity) == (4, 5000)
    np.testing.assert_array_equal(parameter.value[3], np.zeros(5))
    np.testing.assert_array_equal(parameter.slot("s")[:, 0], [4, 4, 4, 0])
    assert in_workers(see_growth, parameter, 5000) == [((4, 5), (5000, 5), (5000, 5))]
    assert parameter.shape == parameter.slot("s").shape == (5000, 5)
    assert parameter.value[-1].tolist() == [1] * 5
    assert parameter.value.ctypes.data == old.ctypes.data
    assert not parameter.value[4:-1].any()


def test_new_rows_start_at_the_step_of_their_parameter():
    """What was missed by the old rows never happened to the new ones."""
    parameter = HogwildParameter(np.ones((3, 5)), capacity=5000)
    parameter.slot("sgd.step", "parameter")[...] = 7
    steps = parameter.slot("sgd.row_step", "row")
    steps[...] = [1, 2, 3]
    parameter.grow(5000)
    grown = parameter.slot("sgd.row_step", "row")
    assert grown.shape == (5000,)
    assert grown[:3].tolist() == [1, 2, 3]
    assert (grown[3:] == 7).all()


@pytest.mark.parametrize("rows", [2, 11, -1, 4.5, "4"])
def test_growth_out_of_bounds_changes_nothing(rows):
    parameter = HogwildParameter(np.ones((3, 2)), capacity=10)
    with pytest.raises(ParameterError, match="from 3 to the capacity 10"):
        parameter.grow(rows)
    assert parameter.shape == (3, 2)


@pytest.mark.parametrize("capacity", [2, 0, -1, 3.5, "9"])
def test_capacity_below_the_rows_is_refused(capacity):
    with pytest.raises(ParameterError, match="capacity must be"):
        HogwildParameter(np.ones((3, 2)), capacity=capacity)


def test_scalar_cannot_have_capacity():
    with pytest.raises(ParameterError, match="at least one to grow"):
        HogwildParameter(1.0, capacity=2)


def test_unknown_storage_lists_the_options():
    with pytest.raises(SettingError, match='"auto", "memfd" or "named"'):
        HogwildParameter(np.ones(2), storage="disk")


def test_only_named_storage_has_a_name():
    assert HogwildParameter(np.ones(2), storage="memfd").name is None
    named = HogwildParameter(np.ones(2), storage="named")
    assert HogwildParameter.attach(named.name).value.tolist() == [1, 1]


@pytest.mark.parametrize("name", [None, "", "a/b", "a\0b", 3])
def test_impossible_names_are_refused(name):
    with pytest.raises(ParameterError, match=r"\.name"):
        HogwildParameter.attach(name)


def test_attaching_to_what_is_no_parameter_is_refused():
    with pytest.raises(StaleParameterError, match="ended or dropped"):
        HogwildParameter.attach("wyrm-no-such-name")
    array = SharedArray.create((5,), np.int64, storage="named")
    with pytest.raises(ParameterError, match="no parameter"):
        HogwildParameter.attach(array._segment.name)


def test_normal_draws_what_numpy_draws():
    parameter = HogwildParameter.normal((1100, 1000), 0.5, seed=3, dtype=np.float64)
    expected = np.random.default_rng(3).standard_normal((1100, 1000)) * 0.5
    np.testing.assert_array_equal(parameter.value, expected)
    assert HogwildParameter.normal((2, 3), 0.1, seed=1).dtype == np.float32


def test_normal_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    HogwildParameter.normal((2, 3), 0.1, seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("shape", [(0, 3), (2, -1), (2.5, 1), "ab"])
def test_normal_refuses_impossible_shapes(shape):
    with pytest.raises(ParameterError, match="positive whole numbers"):
        HogwildParameter.normal(shape, 0.1, seed=1)


@pytest.mark.parametrize(
    ("scale", "seed"), [(-1, 1), (np.nan, 1), (np.inf, 1), ("a", 1), (1, -1), (1, "a")]
)
def test_normal_refuses_impossible_settings(scale, seed):
    with pytest.raises(SettingError, match="normal"):
        HogwildParameter.normal((2, 2), scale, seed=seed)


def test_share_and_copy_into_carry_value_and_state(storage):
    private = PlainParameter(np.arange(6.0).reshape(3, 2), dtype=np.float64)
    private.slot("adagrad.sum")[...] = 2
    shared = HogwildParameter.share(private, storage=storage)
    assert shared.dtype == np.float64 and shared.slots().keys() == {"adagrad.sum"}
    shared.value[...] += 1
    shared.slot("adagrad.sum")[...] = 8
    assert private.value[0, 0] == 0
    shared.copy_into(private)
    np.testing.assert_array_equal(private.value, np.arange(1.0, 7.0).reshape(3, 2))
    assert private.slot("adagrad.sum").tolist() == [[8, 8]] * 3


def test_copy_into_another_shape_is_refused():
    with pytest.raises(ParameterError, match=r"\(3,\) and \(4,\)"):
        HogwildParameter(np.ones(3)).copy_into(PlainParameter(np.ones(4)))


def test_deepcopy_keeps_storage_and_capacity(storage):
    parameter = HogwildParameter(np.ones((2, 2)), storage=storage, capacity=9)
    other = copy.deepcopy(parameter)
    assert (other.storage, other.capacity) == (storage, 9)
    other.grow(9)
    assert parameter.rows == 2


def test_repr_tells_shape_dtype_and_storage():
    text = repr(HogwildParameter(np.ones((2, 3)), storage="named"))
    assert text == 'HogwildParameter((2, 3), float32, storage="named")'
