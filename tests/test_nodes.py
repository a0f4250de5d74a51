"""What nodes promise: values, gradients, what is stale, what is added up."""

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py import errors


def parameter(value, dtype=np.float64, **settings):
    return wp.ParameterNode(np.asarray(value, float), dtype, **settings)


@pytest.fixture
def table():
    return parameter(np.arange(12.0).reshape(4, 3), name="table")


# -- values --------------------------------------------------------------------


def test_a_python_loop_over_values_gives_the_exact_dynamic_example():
    a, b = parameter([[5.0]]), parameter([[2.0]])
    c = wp.InputNode(np.zeros((1, 1)), np.float64)
    for _ in range(10):
        c = c + a * b
        if c.value.item() > 50:
            c = c * a
    c.backward()
    assert c.value.item() == 195300
    assert a.gradient.item() == 232420
    assert b.gradient.item() == 97650


def test_a_node_has_its_value_as_soon_as_it_is_built():
    x = wp.InputNode(np.full((2, 3), 2.0))
    assert np.array_equal((x * x + 1.0).value, np.full((2, 3), 5.0))


def test_values_change_with_forward_only():
    x = wp.InputNode(np.ones((1, 1)))
    y = x * 3.0
    x.set_value(2.0)
    assert y.value.item() == 3.0
    assert y.forward() is y
    assert y.value.item() == 6.0


def test_float32_is_the_default_and_numbers_take_the_dtype_of_the_node():
    single = wp.ParameterNode(np.ones((2, 2)))
    double = wp.ParameterNode(np.ones((2, 2)), dtype=np.float64)
    assert single.dtype == np.float32
    for node in (single * 2, 2.5 - single, [[1, 2]] * single, single / np.float64(3)):
        assert node.dtype == node.value.dtype == np.float32
    assert (single * np.ones((2, 2), np.int64)).dtype == np.float32
    assert (single * double).dtype == np.float64
    assert (single + np.ones((2, 2))).dtype == np.float64


def test_gradients_have_the_dtype_of_their_parameter():
    single = wp.ParameterNode(np.ones((2, 2)))
    double = wp.ParameterNode(np.full((2, 2), 3.0), dtype=np.float64)
    rows = wp.IndexInputNode([1, 0])
    loss = single.dot(double) + single * double + single.index(rows) * double
    loss.sum().backward()
    assert single.gradient.dtype == np.float32
    assert double.gradient.dtype == np.float64


def test_integers_and_slices_in_brackets_follow_numpy():
    x = wp.InputNode(np.arange(12.0).reshape(3, 4))
    assert x[1].shape == (4,)
    assert x[np.int64(1), 2].shape == ()
    assert x[1:, ::2].shape == (2, 2)


def test_a_node_is_no_truth_value_and_no_sequence():
    x = wp.InputNode(np.ones((2, 2)))
    with pytest.raises(errors.GraphError, match=r"no truth value.*\.value"):
        if x:
            raise AssertionError
    with pytest.raises(TypeError):
        iter(x)


def test_nodes_hash_by_identity():
    x, y = wp.InputNode(1.0), wp.InputNode(1.0)
    assert len({x, y}) == 2
    assert x != y


def test_a_node_shows_its_op_name_and_shape():
    x = wp.InputNode(np.ones((2, 3)), name="x")
    assert repr(x) == "<InputNode 'x' float32[2, 3]>"
    assert repr(x.vector_dot(x)) == "<vector_dot float32[2, 1]>"


# -- gradients -----------------------------------------------------------------


def test_gradients_add_up_over_backward_calls_until_cleared():
    x = parameter([[3.0]])
    y = x.square()
    assert x.gradient is None
    y.backward()
    y.backward(2.0)
    assert x.gradient.item() == 18.0
    y.zero_gradient()
    assert x.gradient is None
    y.backward()
    assert x.gradient.item() == 6.0


def test_backward_is_allowed_straight_after_construction():
    x = parameter([[3.0]])
    x.square().backward()
    assert x.gradient.item() == 6.0


def test_intermediate_nodes_have_gradients_too():
    x = parameter([[3.0]])
    y = x * 2.0
    z = y.square()
    z.backward()
    assert y.gradient.item() == 12.0
    assert z.gradient.item() == 1.0
    z.backward()
    assert y.gradient.item() == 24.0
    z.zero_gradient()
    assert y.gradient is None


def test_a_leaf_that_is_not_trainable_gets_no_gradient():
    x, frozen = parameter([[3.0]]), parameter([[2.0]], trainable=False)
    given = wp.InputNode([[4.0]], np.float64)
    loss = x * frozen * given
    loss.backward()
    assert frozen.gradient is None
    assert given.gradient is None
    assert x.gradient.item() == 8.0
    assert loss.parameters() == [x]


def test_a_graph_without_parameters_has_nothing_to_go_back_to():
    x = wp.InputNode([[3.0]])
    y = x.square()
    y.backward()
    assert x.gradient is None
    assert y.parameters() == []


def test_the_weight_may_be_a_number_or_an_array_of_the_shape():
    x = parameter([[1.0, 2.0], [3.0, 4.0]])
    weights = np.array([[1.0, 0.0], [-1.0, 2.0]])
    y = x.square()
    y.backward(weights)
    assert np.array_equal(x.gradient, 2 * x.value * weights)
    y.zero_gradient()
    y.backward(0.5)
    assert np.array_equal(x.gradient, x.value)


def test_a_weight_of_another_shape_is_refused_before_anything_changes():
    x = parameter([[1.0, 2.0]])
    y = x.square()
    with pytest.raises(
        errors.ShapeError, match=r"weight must be .* shape .*\(1, 2\), got \(2, 1\)"
    ):
        y.backward(np.ones((2, 1)))
    assert x.gradient is None


def test_backward_after_set_value_without_forward_is_an_error():
    x, given = parameter([[3.0]]), wp.InputNode([[1.0]], np.float64, name="given")
    y = x * given
    given.set_value(2.0)
    with pytest.raises(errors.GraphError, match=r"'given'.*Call `\.forward\(\)`"):
        y.backward()
    assert x.gradient is None
    y.forward()
    y.backward()
    assert x.gradient.item() == 2.0


def test_set_value_on_a_parameter_makes_a_graph_stale_too():
    x = parameter([[3.0]])
    y = x.square()
    x.set_value(1.0)
    with pytest.raises(errors.GraphError):
        y.backward()


def test_a_node_built_on_a_stale_one_is_stale_too():
    x = parameter([[3.0]])
    y = x.square()
    x.set_value(1.0)
    z = y * 2.0
    with pytest.raises(errors.GraphError):
        z.backward()


def test_forward_of_a_part_does_not_make_the_whole_current():
    x = parameter([[3.0]])
    y = x.square()
    z = y * 2.0
    x.set_value(1.0)
    y.forward()
    y.backward()
    with pytest.raises(errors.GraphError):
        z.backward()


def test_an_optimizer_step_does_not_make_a_graph_stale():
    x = parameter([[3.0]])
    y, z = x.square(), x * 4.0
    y.backward()
    wp.SGD(0.1).step(y.parameters())
    z.backward()
    assert x.gradient.item() == 4.0


def test_step_over_a_subset_applies_and_clears_only_that_subset():
    x, y = parameter([[3.0]]), parameter([[5.0]])
    loss = x * y
    loss.backward()
    wp.SGD(1.0).step([x])
    assert x.value.item() == -2.0
    assert x.gradient is None
    assert y.value.item() == 5.0
    assert y.gradient.item() == 3.0


def test_several_nodes_over_one_block_have_gradients_of_their_own():
    shared = wp.HogwildParameter(np.array([[2.0]]), dtype=np.float64)
    first, second = wp.ParameterNode.shared(shared), wp.ParameterNode.shared(shared)
    (first * 3.0 + second.square()).backward()
    assert first.gradient.item() == 3.0
    assert second.gradient.item() == 4.0
    wp.SGD(1.0).step([first, second])
    assert shared.value.item() == -5.0
    assert first.gradient is None
    assert second.gradient is None


# -- rows ----------------------------------------------------------------------


def test_the_gradient_of_looked_up_rows_is_a_scipy_array_of_the_tables_shape(table):
    assert table.gradient is None
    table.index(wp.IndexInputNode([2, 0])).backward()
    gradient = table.gradient
    assert isinstance(gradient, sparse.csr_array)
    assert gradient.shape == table.shape
    assert gradient.dtype == np.float64
    expected = np.zeros((4, 3))
    expected[[0, 2]] = 1.0
    assert np.array_equal(gradient.toarray(), expected)
    assert np.array_equal(np.diff(gradient.indptr), [3, 0, 3, 0])
    gradient.check_format(full_check=True)


def test_repeated_rows_are_summed_in_what_the_user_sees(table):
    table.index(wp.IndexInputNode([1, 3, 1, 1])).backward()
    assert np.array_equal(
        table.gradient.toarray(), np.repeat([[0.0], [3.0], [0.0], [1.0]], 3, axis=1)
    )
    assert table.gradient.nnz == 6


def test_a_table_looked_up_twice_gets_both_gradients(table):
    loss = table.index(wp.IndexInputNode([1])) + 2.0 * table.index(
        wp.IndexInputNode([1])
    )
    loss.backward()
    loss.backward()
    assert isinstance(table.gradient, sparse.csr_array)
    assert np.array_equal(table.gradient.toarray()[:, 0], [0, 6, 0, 0])


@pytest.mark.parametrize("rows_first", [True, False])
def test_a_table_used_by_rows_and_densely_gets_one_dense_gradient(table, rows_first):
    rows = table.index(wp.IndexInputNode([1, 1])).sum()
    dense = (table * 5.0).sum()
    loss = rows + dense if rows_first else dense + rows
    loss.backward()
    assert isinstance(table.gradient, np.ndarray)
    assert np.array_equal(table.gradient[:, 0], [5, 7, 5, 5])


def test_rows_and_dense_gradients_add_up_over_several_graphs(table):
    rows = table.index(wp.IndexInputNode([3])).sum()
    dense = (table * 5.0).sum()
    rows.backward()
    dense.backward()
    rows.backward()
    assert np.array_equal(table.gradient[:, 0], [5, 5, 5, 7])


def test_rows_of_a_computed_table_pass_a_dense_gradient(table):
    doubled = table * 2.0
    doubled.index(wp.IndexInputNode([1, 1])).backward()
    assert isinstance(table.gradient, np.ndarray)
    assert np.array_equal(table.gradient[:, 0], [0, 4, 0, 0])


def test_looking_up_rows_allocates_nothing_of_the_size_of_the_table():
    large = wp.ParameterNode(np.zeros((1, 4)), np.float32)
    large = wp.ParameterNode(np.zeros((200_000, 4)), np.float32)
    rows = wp.IndexInputNode([199_999, 5])
    loss = large.index(rows).square().sum()
    loss.backward()
    assert large._gradient.values.shape == (2, 4)
    assert large.gradient.nnz == 8


# -- gradients as nodes --------------------------------------------------------


def test_the_gradient_of_a_gradient_is_the_second_derivative():
    x = parameter([[2.0]])
    cube = x**3
    slope = wp.gradient(cube, x)
    assert slope.value.item() == pytest.approx(12.0)
    curvature = wp.gradient(slope, x)
    assert curvature.value.item() == pytest.approx(12.0)
    third = wp.gradient(curvature, x)
    assert third.value.item() == pytest.approx(6.0)


def test_a_gradient_can_stand_in_a_loss():
    """Gradient penalty: d/dw (dy/dx)**2 with y = w x**2."""
    w, x = parameter([[3.0]]), wp.InputNode([[2.0]], np.float64)
    slope = wp.gradient(w * x.square(), x)
    penalty = slope.square()
    assert penalty.value.item() == 144.0
    penalty.backward()
    assert w.gradient.item() == pytest.approx(2 * 12.0 * 4.0)


def test_second_derivatives_pass_through_looked_up_rows(table):
    rows = wp.IndexInputNode([1, 1, 2])
    cube = table.index(rows) ** 3
    slope = wp.gradient(cube, table)
    assert np.allclose(slope.value[1], 2 * 3 * table.value[1] ** 2)
    slope.sum().backward()
    expected = np.zeros((4, 3))
    expected[1], expected[2] = 12 * table.value[1], 6 * table.value[2]
    found = table.gradient
    found = found.toarray() if sparse.issparse(found) else found
    assert np.allclose(found, expected)


def test_the_gradient_follows_new_values_after_forward():
    x = wp.InputNode([[2.0]], np.float64)
    slope = wp.gradient(x.square(), x)
    x.set_value(5.0)
    assert slope.forward().value.item() == 10.0


def test_a_gradient_that_does_not_flow_is_an_error():
    x, other = parameter([[2.0]]), parameter([[2.0]])
    with pytest.raises(errors.GraphError, match="none flows"):
        wp.gradient(x.square(), other)


# -- stable forms --------------------------------------------------------------


def test_ln_of_a_sigmoid_stays_finite_where_the_sigmoid_underflows():
    x = parameter([[-1000.0, 0.0, 1000.0]])
    y = x.sigmoid().ln()
    y.backward()
    assert np.allclose(y.value, [[-1000.0, -np.log(2), 0.0]])
    assert np.allclose(x.gradient, [[1.0, 0.5, 0.0]])


def test_ln_of_a_softmax_stays_finite_where_the_softmax_underflows():
    x = parameter([[0.0, -2000.0, 0.0]])
    y = x.softmax().ln()
    assert np.allclose(y.value, [[-np.log(2), -2000.0 - np.log(2), -np.log(2)]])
    y.backward([[0.0, 1.0, 0.0]])
    assert np.allclose(x.gradient, [[-0.5, 1.0, -0.5]])


def test_softmax_of_large_numbers_does_not_overflow():
    x = parameter([[1e4, 1e4]])
    assert np.array_equal(x.softmax().value, [[0.5, 0.5]])


def test_ties_of_a_maximum_share_the_gradient():
    x = parameter([[1.0, 3.0, 3.0]])
    x.max().backward()
    assert np.array_equal(x.gradient, [[0.0, 0.5, 0.5]])


def test_kinks_have_the_stated_derivatives():
    x, y = parameter([[0.0, 2.0]]), parameter([[0.0, 2.0]])
    (x.relu() + x.absolute()).backward()
    assert np.array_equal(x.gradient, [[0.0, 2.0]])
    x.zero_gradient()
    x.maximum(y).backward()
    assert np.array_equal(x.gradient, [[1.0, 1.0]])
    assert np.array_equal(y.gradient, [[0.0, 0.0]])


def test_nan_passes_through_silently():
    x = wp.InputNode([[np.nan, -1.0, 0.0]]) * parameter([[1.0]])
    assert np.isnan((x.relu() + x.maximum(0.0) + x.exp()).value[0, 0])
    assert np.isnan(x.ln().value[0, 1])
    assert x.ln().value[0, 2] == -np.inf
    assert (1.0 / x).value[0, 2] == np.inf
    x.ln().backward()


def test_powers_of_two_take_any_base():
    x = parameter([[-3.0, 0.0]])
    (x**2).backward()
    assert np.array_equal(x.gradient, [[-6.0, 0.0]])


# -- deep graphs ---------------------------------------------------------------


def test_graphs_of_thousands_of_nodes_need_no_recursion():
    x = parameter([[1.0]])
    y = x
    for _ in range(5000):
        y = y + x * 0.5
    assert y.forward().value.item() == 2501.0
    y.backward()
    assert x.gradient.item() == 2501.0
    y.zero_gradient()
    assert y.parameters() == [x]
    del y  # nor does freeing it


# -- errors --------------------------------------------------------------------


def shaped(*shape):
    return wp.InputNode(np.ones(shape))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: shaped(8, 32).dot(shaped(4, 32)),
            r"dot: inner sizes differ, left \(8, 32\), right \(4, 32\)\. Transpose the "
            r"right operand with `\.t\(\)`\?",
        ),
        (
            lambda: shaped(8, 3).dot(shaped(4, 2)),
            r"dot: inner sizes differ, left \(8, 3\), right \(4, 2\)\. The left's",
        ),
        (
            lambda: shaped(2, 3, 4).dot(shaped(4, 2)),
            r"dot: takes two matrices .*\(2, 3, 4\), right \(4, 2\).*reshape",
        ),
        (
            lambda: shaped(3, 2) + shaped(3, 4),
            r"add: operands of shapes \(3, 2\), \(3, 4\) do not broadcast.*`\.reshape",
        ),
        (
            lambda: shaped(3, 2).vector_dot(shaped(3, 1)),
            r"vector_dot: last axes .* left \(3, 2\), right \(3, 1\).*`\.dot",
        ),
        (
            lambda: shaped(3, 2).vector_dot(shaped(4, 2)),
            r"vector_dot: operands of shapes \(3, 2\), \(4, 2\) do not broadcast",
        ),
        (
            lambda: shaped(3, 4).sum(2),
            r"sum: axis 2 does not exist in a value of 2 axes; give one from -2 to 1",
        ),
        (lambda: shaped(3, 4).softmax(2), r"softmax: axis 2 does not exist"),
        (
            lambda: shaped(3, 4).reshape(5, -1),
            r"reshape: \(3, 4\) has 12 elements and does not fit \(5, -1\)",
        ),
        (lambda: shaped(3, 4).reshape(-1, -1), r"reshape: .*Use -1 once"),
        (lambda: shaped(3, 4).squeeze(0), r"squeeze: axis 0 of \(3, 4\) has length 3"),
        (lambda: shaped(3, 4).squeeze(2), r"squeeze: axis 2 does not exist"),
        (lambda: shaped(3, 4).expand_dims(5), r"expand_dims: axis 5 does not exist"),
        (lambda: shaped(3, 4)[3], r"slice: index 3 is outside an axis of length 3"),
        (lambda: shaped(3, 4)[2:2], r"slice: .*is empty"),
        (lambda: shaped(3, 4)[0, 0, 0], r"slice: 3 indices for a value .*\(3, 4\)"),
        (lambda: shaped(3, 4)[[0, 1]], r"slice: takes integers .*`\.index\(node\)`"),
        (lambda: shaped(3, 4)[True], r"slice: takes integers and slices, got True"),
        (
            lambda: shaped(3, 4).concatenate(shaped(3, 5)),
            r"concatenate: shapes \(3, 4\), \(3, 5\) must agree on every axis but 0",
        ),
        (
            lambda: shaped(3, 4).concatenate(shaped(4), axis=0),
            r"concatenate: shapes \(3, 4\), \(4,\) must agree",
        ),
        (
            lambda: shaped(3, 4).stack(shaped(4, 3)),
            r"concatenate: shapes \(1, 3, 4\), \(1, 4, 3\) must agree",
        ),
        (lambda: shaped(3, 4).stack(shaped(3, 4), axis=3), r"expand_dims: axis 3"),
        (
            lambda: shaped(3, 5).chunk(2, axis=1),
            r"chunk: axis 1 of shape \(3, 5\) cannot be cut into 2 equal.*slices",
        ),
        (lambda: shaped(3, 4).chunk(4), r"chunk: axis 0 of shape \(3, 4\)"),
        (lambda: shaped(3, 4).chunk(0), r"chunk: .* into 0 equal parts"),
        (lambda: shaped(3, 4).chunk(-2, 1), r"chunk: .* into -2 equal parts"),
        (lambda: shaped(3, 4).chunk(1.5), r"chunk: .*must be integers, got \(1\.5,\)"),
        (lambda: shaped(3, 4).chunk(2, axis=2), r"chunk: axis 2 does not exist"),
        (lambda: shaped(3, 4).chunk(1, axis=2), r"chunk: axis 2 does not exist"),
        (lambda: shaped(3, 4).flatten(2), r"flatten: axis 2 does not exist"),
        (
            lambda: shaped(2, 3, 4).index(wp.IndexInputNode([0])),
            r"index: tables are two-dimensional .* got \(2, 3, 4\)",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_named_with_the_op_and_the_cure(build, message):
    with pytest.raises(errors.ShapeError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: shaped(3, 4).index(shaped(1)),
            r"index: takes an integer index node, got float32\[1\]\. .*IndexInputNode",
        ),
        (
            lambda: shaped(3, 4) + wp.IndexInputNode([0]),
            r"add: takes float32 or float64 values, got int64\[1\] of an index node",
        ),
        (lambda: wp.IndexInputNode([0]).exp(), r"exp: takes float32 or float64"),
        (lambda: wp.IndexInputNode([0]).sum(), r"sum: takes float32 or float64"),
        (lambda: wp.IndexInputNode([0]).softmax(), r"softmax: takes float32 or"),
        (
            lambda: shaped(3, 4) + "words",
            r"constant: takes numbers, got dtype <U5",
        ),
        (lambda: shaped(3, 4) + np.ones(4, complex), r"constant: .*complex128"),
        (lambda: shaped(3, 4) + np.ones(4, bool), r"constant: .*got dtype bool"),
        (lambda: shaped(3, 4) + None, r"constant: .*got dtype object"),
    ],
)
def test_wrong_kinds_of_operands_are_refused(build, message):
    with pytest.raises(errors.DTypeError, match=message):
        build()


def test_a_row_past_the_table_is_an_index_error_with_its_position(table):
    with pytest.raises(
        errors.IndexRangeError, match=r"in \[0, 4\), got 4 at position 1"
    ):
        table.index(wp.IndexInputNode([0, 4]))
    rows = wp.IndexInputNode([0])
    node = table.index(rows)
    rows.set_value(7)
    with pytest.raises(errors.IndexRangeError, match="got 7 at position 0"):
        node.forward()
