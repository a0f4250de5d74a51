"""Leaves: what they take, convert and refuse."""

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.models import SparseLinear


def odd_arrays():
    """Return arrays that are not plain, all with the same numbers."""
    plain = np.arange(6.0).reshape(2, 3)
    frozen = plain.copy()
    frozen.flags.writeable = False
    swapped = plain.astype(plain.dtype.newbyteorder())
    return {
        "read-only": frozen,
        "byte-swapped": swapped,
        "fortran order": np.asfortranarray(plain),
        "strided": np.repeat(plain, 2, axis=1)[:, ::2],
        "reversed": plain[::-1, ::-1].copy()[::-1, ::-1],
        "list": plain.tolist(),
        "integers": plain.astype(np.int16),
        "unsigned": plain.astype(np.uint8),
        "half": plain.astype(np.float16),
        "matrix of a subclass": np.ma.masked_array(plain),
    }


@pytest.mark.parametrize("kind", odd_arrays())
@pytest.mark.parametrize("leaf", [wp.ParameterNode, wp.InputNode])
def test_any_array_of_numbers_is_converted(leaf, kind):
    given = odd_arrays()[kind]
    node = leaf(given)
    other = leaf(np.zeros((2, 3)))
    other.set_value(given)
    for held in (node.value, other.value):
        assert held.dtype == np.float32
        assert held.dtype.isnative
        assert held.flags.c_contiguous
        assert held.flags.writeable
        assert np.array_equal(held, np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("leaf", [wp.ParameterNode, wp.InputNode])
def test_values_are_copied(leaf):
    given = np.zeros((2, 3), np.float32)
    node = leaf(given)
    given += 1
    assert not node.value.any()
    again = np.ones((2, 3), np.float32)
    node.set_value(again)
    again += 1
    assert (node.value == 1).all()


@pytest.mark.parametrize("leaf", [wp.ParameterNode, wp.InputNode])
@pytest.mark.parametrize(
    "given",
    [
        np.ones((2, 3), bool),
        np.ones((2, 3), complex),
        np.ones((2, 3), object),
        "text",
        np.array(["a"]),
        np.array(["2020-01-01"], "datetime64[D]"),
        None,
    ],
)
def test_what_are_no_numbers_is_refused(leaf, given):
    with pytest.raises(errors.DTypeError, match=f"{leaf.__name__}: takes numbers, got"):
        leaf(given)
    node = leaf(np.ones((2, 3)))
    with pytest.raises(errors.DTypeError, match=f"{leaf.__name__}.set_value: takes"):
        node.set_value(given)
    assert (node.value == 1).all()


@pytest.mark.parametrize("leaf", [wp.ParameterNode, wp.InputNode])
def test_a_node_or_a_sparse_matrix_is_no_value(leaf):
    with pytest.raises(errors.DTypeError, match=r"got <InputNode.*Pass its `\.value`"):
        leaf(wp.InputNode(1.0))
    with pytest.raises(errors.DTypeError, match=r"scipy.sparse csr.*SparseInputNode"):
        leaf(sparse.csr_array((2, 3)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_parameters_are_finite(wrong):
    with pytest.raises(errors.ParameterError, match="finite"):
        wp.ParameterNode([1.0, wrong])
    node = wp.ParameterNode([1.0, 2.0])
    for value in (wrong, [0.0, wrong]):
        with pytest.raises(errors.ParameterError, match="set_value: finite numbers"):
            node.set_value(value)
    assert np.array_equal(node.value, [1, 2])


def test_inputs_may_be_infinite_or_nan():
    node = wp.InputNode([1.0, np.nan])
    node.set_value([1e300, -np.inf])
    assert np.array_equal(node.value, [np.inf, -np.inf])
    node.set_value(np.float64(1e300))
    assert np.isinf(node.value).all()


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.complex64, bool])
@pytest.mark.parametrize("leaf", [wp.ParameterNode, wp.InputNode])
def test_other_dtypes_are_refused(leaf, dtype):
    with pytest.raises(errors.DTypeError, match="must be float32 or float64, got"):
        leaf(1.0, dtype=dtype)


@pytest.mark.parametrize("leaf", [wp.ParameterNode, wp.InputNode])
def test_set_value_writes_in_place_and_numbers_fill(leaf):
    node = leaf(np.zeros((2, 3)), np.float64)
    held = node.value
    for number in (2, 2.0, np.float32(2), np.array(2), np.int8(2)):
        node.set_value(0.0)
        node.set_value(number)
        assert np.array_equal(held, np.full((2, 3), 2.0))
        assert node.value is held or np.shares_memory(node.value, held)


@pytest.mark.parametrize("leaf", [wp.ParameterNode, wp.InputNode])
def test_axes_of_length_one_may_be_left_out_but_no_others(leaf):
    node = leaf(np.zeros((3, 1)))
    node.set_value([1.0, 2.0, 3.0])
    assert np.array_equal(node.value, [[1.0], [2.0], [3.0]])
    single = leaf(np.zeros((1, 1)))
    single.set_value([4.0])
    assert single.value.item() == 4.0
    for wrong in (np.zeros(4), np.zeros((3, 2)), np.zeros(0), [[1.0, 2.0]]):
        with pytest.raises(
            errors.ShapeError, match=r"fixed at creation, \(3, 1\), got"
        ):
            node.set_value(wrong)
    assert np.array_equal(node.value, [[1.0], [2.0], [3.0]])


def test_a_hogwild_parameter_needs_the_shared_constructor():
    shared = wp.HogwildParameter(np.zeros((2, 2)))
    with pytest.raises(errors.ParameterError, match=r"ParameterNode.shared"):
        wp.ParameterNode(shared)
    with pytest.raises(errors.ParameterError, match="takes a HogwildParameter, got nd"):
        wp.ParameterNode.shared(np.zeros((2, 2)))


def test_a_shared_parameter_is_written_through_its_nodes():
    shared = wp.HogwildParameter(np.zeros((2, 2)), dtype=np.float64)
    first, second = wp.ParameterNode.shared(shared), wp.ParameterNode.shared(shared)
    assert first.dtype == np.float64
    first.set_value(3.0)
    assert (shared.value == 3).all()
    assert (second.value == 3).all()


# -- rows ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        [1, 0],
        (1, 0),
        np.array([1, 0], np.int32),
        np.array([1, 0], np.uint64),
        np.array([1, 0], ">i8"),
        np.array([1, 9, 0, 9])[::2],
    ],
)
def test_row_numbers_become_int64(given):
    node = wp.IndexInputNode(given)
    other = wp.IndexInputNode([0, 0])
    other.set_value(given)
    for held in (node.value, other.value):
        assert held.dtype == np.int64
        assert held.dtype.isnative
        assert np.array_equal(held, [1, 0])
    assert node.shape == (2,)


def test_row_numbers_are_copied():
    given = np.array([1, 2])
    node = wp.IndexInputNode(given)
    given[:] = 7
    assert np.array_equal(node.value, [1, 2])
    node.set_value(given)
    given[:] = 9
    assert np.array_equal(node.value, [7, 7])


def test_a_single_row_number_makes_and_fills_a_node():
    node = wp.IndexInputNode(3)
    assert node.shape == (1,)
    pair = wp.IndexInputNode([1, 2])
    for number in (5, np.int64(5), np.array(5)):
        pair.set_value(0)
        pair.set_value(number)
        assert np.array_equal(pair.value, [5, 5])


@pytest.mark.parametrize(
    "given",
    [[1.0, 0.0], [True, False], np.array([1.5]), np.array(["1"]), None, True, 2.0],
)
def test_row_numbers_must_be_integers(given):
    with pytest.raises(errors.DTypeError, match="row numbers must be integers, got"):
        wp.IndexInputNode(given)
    node = wp.IndexInputNode([4])
    with pytest.raises(
        errors.DTypeError, match=r"IndexInputNode.set_value: row numbers"
    ):
        node.set_value(given)
    assert node.value.item() == 4


def test_row_numbers_must_not_be_negative():
    with pytest.raises(
        errors.IndexRangeError, match="must not be negative, got -3 at position 1"
    ):
        wp.IndexInputNode([1, -3])
    node = wp.IndexInputNode([4])
    for wrong in (-1, [-1], np.int64(-1)):
        with pytest.raises(errors.IndexRangeError, match="negative, got -1"):
            node.set_value(wrong)
    assert node.value.item() == 4


def test_row_numbers_beyond_int64_are_refused():
    with pytest.raises(errors.IndexRangeError, match="beyond int64"):
        wp.IndexInputNode(np.array([2**63], np.uint64))


def test_the_shape_of_an_index_node_is_fixed():
    node = wp.IndexInputNode([[1, 2], [3, 4]])
    assert node.shape == (2, 2)
    with pytest.raises(errors.ShapeError, match=r"fixed at creation, \(2, 2\), got"):
        node.set_value([1, 2, 3])


# -- ragged rows -----------------------------------------------------------------


def test_a_ragged_node_takes_any_number_of_rows_up_to_its_capacity():
    table = wp.ParameterNode(np.arange(8.0).reshape(4, 2), np.float64)
    rows = wp.IndexInputNode([1], capacity=3)
    total = table.index(rows).segment_sum(rows)
    mean = table.index(rows).segment_mean(rows)
    plain = table.index(rows).sum(0)
    for given in ([0, 3, 3], [2], [], [1, 0]):
        rows.set_value(given)
        expected = table.value[np.array(given, int)]
        for node in (total, mean, plain):
            node.forward()
        assert rows.shape == (len(given),)
        assert total.shape == mean.shape == (1, 2)
        assert np.array_equal(total.value[0], expected.sum(0))
        assert np.array_equal(plain.value, expected.sum(0))
        assert np.array_equal(mean.value[0], expected.sum(0) / max(len(given), 1))
        total.backward()
        counts = np.bincount(np.array(given, int), minlength=4)
        assert np.array_equal(table.gradient.toarray()[:, 0], counts)
        total.zero_gradient()


def test_training_by_hand_over_ragged_rows_needs_no_clearing_in_between():
    table = wp.ParameterNode(np.ones((4, 2)), np.float64)
    rows = wp.IndexInputNode([1], capacity=3)
    looked_up = table.index(rows)
    loss = looked_up.sum()
    for given in ([1, 2, 3], [2], []):
        rows.set_value(given)
        loss.forward()
        loss.backward()
        wp.SGD(0.5).step(loss.parameters())
        assert looked_up.gradient.shape == (len(given), 2)
    assert np.array_equal(table.value[:, 0], [1, 0.5, 0, 0.5])


def test_a_ragged_node_refuses_more_rows_than_its_capacity():
    with pytest.raises(errors.ShapeError, match=r"at most 1 row numbers.*capacity"):
        wp.IndexInputNode([1, 2], capacity=1)
    rows = wp.IndexInputNode([1], capacity=2)
    for wrong in ([1, 2, 3], [[1, 2]]):
        with pytest.raises(errors.ShapeError, match="at most 2 row numbers"):
            rows.set_value(wrong)
    assert rows.shape == (1,)


@pytest.mark.parametrize("capacity", [0, -1, 2.5, True, "3"])
def test_a_capacity_is_a_positive_integer(capacity):
    with pytest.raises(errors.SettingError, match="capacity must be an integer above"):
        wp.IndexInputNode([], capacity=capacity)


def test_segment_sums_need_the_ragged_node():
    table = wp.ParameterNode(np.ones((4, 2)))
    rows = wp.IndexInputNode([1])
    with pytest.raises(errors.GraphError, match=r"segment_sum.*capacity.*got <IndexI"):
        table.index(rows).segment_sum(rows)
    ragged = wp.IndexInputNode([1, 2], capacity=3)
    with pytest.raises(errors.ShapeError, match=r"segment_sum: the first axis"):
        table.index(rows).segment_sum(ragged)


# -- sparse rows -----------------------------------------------------------------


def csr(dense):
    return sparse.csr_array(np.asarray(dense, float))


def test_sparse_rows_times_a_table_is_the_dense_product_with_a_gradient_by_rows():
    first = [[0, 2, 0, 1], [0, 0, 0, 0]]
    second = [[1, 0, 0, 0], [3, 0, 4, 0]]
    table = wp.ParameterNode(np.arange(8.0).reshape(4, 2), np.float64)
    rows = wp.SparseInputNode(csr(first), np.float64)
    product = rows.dot(table)
    for given in (first, second, np.zeros((2, 4))):
        rows.set_value(csr(given))
        product.forward()
        assert np.array_equal(product.value, np.array(given) @ table.value)
        product.backward([[1.0, 10.0], [2.0, 20.0]])
        assert isinstance(table.gradient, sparse.csr_array)
        expected = np.array(given, float).T @ [[1.0, 10.0], [2.0, 20.0]]
        assert np.array_equal(table.gradient.toarray(), expected)
        product.zero_gradient()


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "matrix", "integers", "f8be"])
def test_any_scipy_matrix_of_numbers_is_converted(kind):
    dense = np.array([[0.0, 2.0], [1.0, 0.0]])
    given = {
        "csr": sparse.csr_array(dense),
        "csc": sparse.csc_array(dense),
        "coo": sparse.coo_array(
            ([1.0, 1.0, 1.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2)
        ),
        "matrix": sparse.csr_matrix(dense),
        "integers": sparse.csr_array(dense.astype(np.int32)),
        "f8be": sparse.csr_array(dense),
    }[kind]
    if kind == "f8be":
        given.data = given.data.astype(">f8")
    node = wp.SparseInputNode(given)
    assert node.dtype == np.float32
    table = wp.ParameterNode(np.eye(2))
    product = node.dot(table)
    assert product.dtype == np.float32
    assert np.array_equal(product.value, dense)


def test_changing_the_matrix_afterwards_changes_nothing():
    given = csr([[0, 2], [1, 0]])
    node = wp.SparseInputNode(given, np.float64)
    product = node.dot(wp.ParameterNode(np.eye(2), np.float64))
    given.data[:] = 9
    given.indices[:] = 0
    assert np.array_equal(product.forward().value, [[0, 2], [1, 0]])


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float64])
def test_sparse_rows_of_any_real_kind_are_their_numbers(dtype):
    rows = np.array([[1, 0, 1], [0, 1, 0]])
    table = wp.ParameterNode(np.arange(6.0).reshape(3, 2))
    node = wp.SparseInputNode(csr(np.zeros((2, 3))))
    product = node.dot(table)
    node.set_value(sparse.csr_array(rows.astype(dtype)))
    expected = rows @ np.arange(6.0).reshape(3, 2)
    assert np.array_equal(product.forward().value, expected)
    column = sparse.csr_array(rows.astype(dtype))
    single = wp.SparseInputNode(csr(np.zeros((1, 3))))
    found = wp.evaluate(single.dot(table), {single: column})
    assert np.array_equal(np.reshape(found, (2, 2)), expected)


def test_sparse_rows_of_a_wrong_kind_or_shape_are_refused():
    with pytest.raises(
        errors.DTypeError, match=r"takes scipy.sparse rows, got ndarray"
    ):
        wp.SparseInputNode(np.eye(2))
    with pytest.raises(errors.DTypeError, match="takes numbers, got dtype complex128"):
        wp.SparseInputNode(sparse.csr_array(np.eye(2, dtype=complex)))
    node = wp.SparseInputNode(csr(np.eye(2)))
    with pytest.raises(errors.ShapeError, match=r"\(2, 2\), got \(1, 2\)"):
        node.set_value(csr(np.ones((1, 2))))
    with pytest.raises(errors.ShapeError, match=r"left \(2, 2\), right \(3, 2\)"):
        node.dot(wp.ParameterNode(np.ones((3, 2))))
    with pytest.raises(errors.GraphError, match=r"rows\.dot\(table\)"):
        node.exp()
    with pytest.raises(errors.GraphError, match=r"rows\.dot\(table\)"):
        node * 2.0
    with pytest.raises(errors.GraphError, match=r"rows\.dot\(table\)"):
        wp.ParameterNode(np.ones((2, 2))) * node


def test_sparse_vectors_are_no_rows():
    vector = sparse.coo_array(np.arange(5.0))
    with pytest.raises(errors.ShapeError, match=r"rows and columns, got shape \(5,\)"):
        wp.SparseInputNode(vector)


def unsound(form, fault):
    """Return a matrix (20, 30) whose arrays lead SciPy's loops out of memory."""
    matrix = sparse.random_array((20, 30), density=0.3, format=form, rng=0)
    if form == "coo":
        matrix.coords[1][3] = 10**6
    elif fault == "index":
        matrix.indices[3] = 10**6
    else:
        matrix.indptr[2] = 10**6
    return matrix


@pytest.mark.parametrize("fault", ["index", "start"])
@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo"])
@pytest.mark.parametrize(
    "take",
    [
        lambda x: wp.SparseInputNode(x),
        lambda x: wp.sparse_rows(x, wp.IndexInputNode([0])),
        lambda x: wp.sample_known(wp.IndexInputNode([0]), x, 2),
        lambda x: wp.sample_uniform(
            wp.IndexInputNode([0]), 30, known=x, user=wp.IndexInputNode([0])
        ),
        lambda x: wp.data.Interactions.of(x),
        lambda x: SparseLinear().fit(x, np.arange(20) % 2),
    ],
    ids=["leaf", "rows", "known", "sampler", "interactions", "estimator"],
)
def test_unsound_matrices_are_refused(take, form, fault):
    with pytest.raises((errors.DataError, errors.IndexRangeError)):
        take(unsound(form, fault))
