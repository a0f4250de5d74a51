import copy
import pickle

import joblib
import numpy as np
import pytest

from wyrm_py.errors import DTypeError
from wyrm_py.parameters import SharedArray

PAIR = np.dtype([("row", "i4"), ("value", "f8")])


@pytest.mark.parametrize("storage", ["memfd", "named"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float16, bool, PAIR, "M8[s]"])
def test_created_array_is_zero_and_shared(dtype, storage):
    shared = SharedArray.create((3, 5), dtype, storage)
    assert shared.array.shape == (3, 5) and shared.array.dtype == dtype
    assert shared.array.ctypes.data % 64 == 0
    assert not shared.array.view(np.uint8).any()
    other = pickle.loads(pickle.dumps(shared))
    assert other.array.dtype == dtype
    other.array[1] = np.ones((), dtype)
    np.testing.assert_array_equal(shared.array, other.array)


@pytest.mark.parametrize(
    "given",
    [
        np.arange(12, dtype=">i4").reshape(3, 4),
        np.arange(24).reshape(4, 6)[::2, ::3],
        np.zeros((0, 3)),
        np.float64(3.5),
        [1, 2, 3],
    ],
    ids=["byte-swapped", "strided", "empty", "scalar", "list"],
)
def test_copy_has_equal_values_in_native_order(given):
    array = SharedArray.copy_of(given).array
    np.testing.assert_array_equal(array, np.asarray(given))
    assert array.flags.c_contiguous and array.dtype.isnative


def test_object_arrays_are_refused():
    with pytest.raises(DTypeError, match="without Python objects"):
        SharedArray.copy_of(np.array([1, "a"], object))
    with pytest.raises(DTypeError, match="fixed-size"):
        SharedArray.create((3,), "U")


def add(shared, number):
    shared.array += number


def test_a_loky_worker_writes_into_the_same_array():
    shared = SharedArray.copy_of(np.arange(300_000))
    joblib.Parallel(n_jobs=2)(joblib.delayed(add)(shared, k) for k in [5])
    np.testing.assert_array_equal(shared.array, np.arange(300_000) + 5)


def test_deepcopy_is_independent():
    shared = SharedArray.copy_of(np.arange(3))
    other = copy.deepcopy(shared)
    shared.array[...] = 9
    assert other.array.tolist() == [0, 1, 2]
