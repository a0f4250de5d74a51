"""Claims that hold for private and shared blocks alike."""

import copy
import itertools
import math
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from wyrm_py.errors import DTypeError, ParameterError
from wyrm_py.parameters import HogwildParameter, ParameterBlock, PlainParameter

KINDS = {
    "plain": PlainParameter,
    "memfd": lambda *a, **k: HogwildParameter(*a, storage="memfd", **k),
    "named": lambda *a, **k: HogwildParameter(*a, storage="named", **k),
}


@pytest.fixture(params=KINDS)
def make(request):
    return KINDS[request.param]


def test_every_kind_is_a_parameter_block(make):
    assert isinstance(make(np.ones((2, 3))), ParameterBlock)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 1), (7, 3), (4, 16), (2, 3, 5)])
def test_value_is_an_aligned_contiguous_copy(make, shape, dtype):
    given = np.random.default_rng(0).normal(size=shape)
    before = given.copy()
    block = make(given, dtype=dtype)
    assert block.shape == shape
    assert block.dtype == dtype
    assert block.rows == (shape[0] if shape else 1)
    np.testing.assert_array_equal(block.value, given.astype(dtype))
    for array in (block.value, block.slot("rule.role")):
        assert array.flags.c_contiguous and array.flags.writeable
        assert array.ctypes.data % 64 == 0
    block.value[...] = 9
    np.testing.assert_array_equal(given, before)


def test_rows_of_sixteen_floats_are_aligned(make):
    block = make(np.ones((5, 16)))
    assert [row.ctypes.data % 64 for row in block.value] == [0] * 5


def test_value_is_live(make):
    block = make(np.zeros((3, 2)))
    block.value[1, 0] = 4
    assert block.value[1, 0] == 4
    assert block.value.ctypes.data == block.value.ctypes.data


@pytest.mark.parametrize(
    "given",
    [
        np.arange(12, dtype=">f8").reshape(3, 4),
        np.arange(24.0).reshape(3, 8)[:, ::2],
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(12, dtype=np.float16).reshape(3, 4),
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        [[0, 1, 2, 3], [4, 5, 6, 7]],
    ],
    ids=["byte-swapped", "strided", "fortran", "float16", "uint8", "list"],
)
def test_any_layout_is_converted(make, given):
    np.testing.assert_array_equal(make(given).value, np.asarray(given, np.float32))


def test_read_only_value_is_copied(make):
    given = np.ones((2, 2))
    given.flags.writeable = False
    make(given).value[...] = 3


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("text", DTypeError, "real numbers"),
        (None, DTypeError, "real numbers"),
        (np.array([1, None]), DTypeError, "object"),
        (np.array([1j]), DTypeError, "complex128"),
        (np.array([True]), DTypeError, "bool"),
        ([[1, 2], [3]], DTypeError, "different lengths"),
        (sparse.eye_array(3).tocsr(), DTypeError, "toarray"),
        (np.zeros((0, 3)), ParameterError, r"shape \(0, 3\)"),
        (np.array([[0, 1], [np.nan, 1]]), ParameterError, r"nan at \(1, 0\)"),
        (np.array([0, np.inf]), ParameterError, r"inf at \(1,\)"),
        (np.array([0, -np.inf]), ParameterError, r"-inf at \(1,\)"),
        (np.array([0, 1e300]), ParameterError, r"1e\+300 at \(1,\)"),
    ],
)
def test_bad_values_are_named(make, value, error, words):
    with pytest.raises(error, match=words):
        make(value)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, ">f4", "nonsense", object])
def test_only_two_dtypes_are_taken(make, dtype):
    with pytest.raises(DTypeError, match=r"np\.float32 or np\.float64"):
        make(np.ones(3), dtype=dtype)


def test_slots_start_at_zero_and_keep_their_values(make):
    block = make(np.ones((4, 3)))
    assert block.slots() == {}
    state = block.slot("adagrad.sum")
    np.testing.assert_array_equal(state, np.zeros((4, 3), np.float32))
    state[2] = 5
    assert block.slot("adagrad.sum")[2, 0] == 5
    block.slot("adam.first")[...] = 7
    assert list(block.slots()) == ["adagrad.sum", "adam.first"]


def test_fourth_slot_is_refused_naming_the_three(make):
    block = make(np.ones(3))
    for name in ("a", "b", "c"):
        block.slot(name)
    with pytest.raises(ParameterError, match="a, b, c"):
        block.slot("d")
    assert list(block.slots()) == ["a", "b", "c"]
    block.slot("b")


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "\N{SNOWMAN}" * 22, "a\0b", "\ud800", 3]
)
def test_impossible_slot_names_are_refused(make, name):
    block = make(np.ones(3))
    with pytest.raises(ParameterError, match="printable name"):
        block.slot(name)
    assert block.slots() == {}


@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (4, 2, 2)])
def test_slots_per_row_and_per_parameter_are_counts(make, shape):
    block = make(np.ones(shape))
    steps, step = block.slot("sgd.row_step", "row"), block.slot("sgd.step", "parameter")
    assert steps.shape == (block.rows,) and step.shape == ()
    assert steps.dtype == step.dtype == np.int64
    assert not steps.any() and step == 0
    step += 3
    steps[-1] = 2
    assert block.slots()["sgd.step"] == 3
    assert block.slots()["sgd.row_step"][-1] == 2
    assert steps.ctypes.data % 8 == step.ctypes.data % 8 == 0


def test_there_is_room_for_one_slot_per_row_and_three_per_parameter(make):
    block = make(np.ones((3, 2)))
    for name in "abc":
        block.slot(name)
        block.slot(f"{name}.step", "parameter")
    block.slot("a.row_step", "row")
    with pytest.raises(
        ParameterError, match=r"1 arrays .* per row, used by a.row_step"
    ):
        block.slot("b.row_step", "row")
    with pytest.raises(ParameterError, match="3 arrays of optimizer state per param"):
        block.slot("d.step", "parameter")
    with pytest.raises(ParameterError, match="slot 'a': is per element, not per row"):
        block.slot("a", "row")
    with pytest.raises(ParameterError, match="per must be one of 'element', 'row'"):
        block.slot("e", "column")
    assert len(block.slots()) == 7


def test_counters_are_copied_and_pickled(make):
    block = make(np.ones((3, 2)))
    block.slot("a.step", "parameter")[...] = 4
    block.slot("a.row_step", "row")[...] = [1, 2, 3]
    copied = [copy.deepcopy(block), HogwildParameter.share(block)]
    block.slot("a.step", "parameter")[...] = 9
    for other in copied:
        assert other.slot("a.step", "parameter") == 4
        assert other.slot("a.row_step", "row").tolist() == [1, 2, 3]
    again = pickle.loads(pickle.dumps(block))
    assert again.slot("a.step", "parameter") == 9


def test_value_and_slots_never_touch_each_other(make):
    block = make(np.full((5, 3), 10.0))
    arrays = [block.value, *(block.slot(name) for name in "abc")]
    arrays += [block.slot(name, "parameter") for name in "def"]
    arrays.append(block.slot("g", "row"))
    for number, array in enumerate(arrays):
        array[...] = number
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(array, np.full(array.shape, number))
    spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_deepcopy_is_independent(make):
    block = make(np.arange(6.0).reshape(3, 2), dtype=np.float64)
    block.slot("s")[...] = 2
    other = copy.deepcopy(block)
    assert type(other) is type(block) and other.dtype == block.dtype
    assert other.value.ctypes.data % 64 == 0
    block.value[...] = -1
    block.slot("s")[...] = -1
    np.testing.assert_array_equal(other.value, np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(other.slot("s"), np.full((3, 2), 2.0))


def test_plain_parameter_pickles_by_value():
    block = PlainParameter(np.arange(6.0).reshape(3, 2))
    block.slot("s")[...] = 2
    other = pickle.loads(pickle.dumps(block))
    block.value[...] = 0
    assert other.value.ctypes.data % 64 == 0
    assert other.value.sum() == 15 and other.slot("s").sum() == 12


def test_arrays_outlive_their_block(make):
    block = make(np.full((300, 100), 3.0))
    value, state = block.value, block.slot("s")
    del block
    value += 1
    state += 1
    assert value.sum() == 4 * value.size and state.sum() == state.size


def test_size_is_that_of_the_values(make):
    block = make(np.ones((3, 4)))
    assert block.value.nbytes == math.prod(block.shape) * 4


def test_threads_that_ask_at_once_get_the_same_slot(make):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(50):
                block, gate = make(np.ones((50, 4))), threading.Barrier(4)

                def ask(_, block=block, gate=gate):
                    gate.wait()
                    return block.slot("sum").ctypes.data

                assert len(set(pool.map(ask, range(4)))) == 1
    finally:
        sys.setswitchinterval(before)
