"""Compiled steps: what they read, what they change, when they follow changes."""

import numpy as np
import pytest
from scipy import sparse
from stepping import numpy_step, plain_step, unchanged, updates

import wyrm_py as wp
from wyrm_py import errors


@pytest.fixture
def line():
    """Return a slope, an input and the loss of a line through the origin."""
    slope = wp.ParameterNode([[2.0]], np.float64, name="slope")
    x = wp.InputNode([[3.0]], np.float64, name="x")
    return slope, x, (slope * x).square()


def test_a_step_returns_the_loss_from_before_the_update(line):
    slope, _, loss = line
    step = plain_step(loss, wp.SGD(0.01))
    assert step() == 36.0
    assert slope.value.item() == pytest.approx(2 - 0.01 * 2 * 6 * 3)


def test_a_step_reads_the_inputs_as_they_are_when_it_is_called(line):
    slope, x, loss = line
    step = plain_step(loss, wp.SGD(0.01))
    with unchanged([slope]):
        x.set_value(1.0)
        assert step() == 4.0
    with unchanged([slope]):
        slope.set_value(5.0)
        assert step() == 25.0


def test_the_loss_of_several_elements_is_their_mean_but_the_gradient_of_their_sum():
    x = wp.ParameterNode([[1.0, 3.0]], np.float64)
    step = plain_step(x * 2.0, wp.SGD(1.0))
    assert step() == 4.0
    assert np.array_equal(x.value, [[-1.0, 1.0]])


def test_a_step_neither_applies_nor_clears_what_backward_accumulated(line):
    slope, _, loss = line
    loss.backward()
    before = slope.gradient.copy()
    plain_step(loss, wp.SGD(0.01))()
    assert slope.value.item() == pytest.approx(2 - 0.36)
    assert np.array_equal(slope.gradient, before)


def test_after_a_step_backward_needs_a_forward(line):
    slope, _, loss = line
    step = plain_step(loss, wp.SGD(0.01))
    held = loss.value.copy()
    step()
    assert np.array_equal(loss.value, held)
    with pytest.raises(errors.GraphError, match="compiled step"):
        loss.backward()
    loss.forward()
    loss.backward()
    assert slope.gradient is not None


def test_only_the_named_parameters_change(line):
    slope, x, _ = line
    other = wp.ParameterNode([[1.0]], np.float64)
    loss = (slope * x - other).square()
    plain_step(loss, wp.SGD(0.01), [other])()
    assert slope.value.item() == 2.0
    assert other.value.item() == pytest.approx(1 + 0.01 * 2 * 5)


def test_parameters_that_are_not_under_the_loss_are_refused(line):
    slope, _, loss = line
    stranger = wp.ParameterNode([[1.0]], name="stranger")
    frozen = wp.ParameterNode([[1.0]], name="frozen", trainable=False)
    for wrong in ([stranger], [slope, stranger]):
        with pytest.raises(
            errors.GraphError, match=r"'stranger'.*Under it are.*'slope'"
        ):
            wp.compile(loss, wp.SGD(), wrong)
    with pytest.raises(errors.GraphError, match="got none"):
        wp.compile(loss, wp.SGD(), [])
    with pytest.raises(errors.GraphError, match="'frozen'"):
        wp.compile(loss * frozen, wp.SGD(), [frozen])
    with pytest.raises(errors.GraphError, match="no trainable parameters"):
        wp.compile(wp.InputNode([[1.0]]).square(), wp.SGD())


def test_rows_outside_the_table_are_refused_before_anything_runs():
    table = wp.ParameterNode(np.ones((4, 2)), np.float64)
    rows = wp.IndexInputNode([0, 1])
    step = plain_step(table.index(rows).sum(), wp.SGD(1.0))
    rows.set_value([1, 4])
    with pytest.raises(errors.IndexRangeError, match=r"\[0, 4\), got 4 at position 1"):
        step()
    assert np.array_equal(table.value, np.ones((4, 2)))
    rows.set_value([3, 3])
    step()
    assert np.array_equal(table.value[:, 0], [1, 1, 1, -1])


def test_rows_are_checked_against_the_smallest_table_they_reach():
    large = wp.ParameterNode(np.ones((9, 2)))
    small = wp.ParameterNode(np.ones((4, 2)))
    rows = wp.IndexInputNode([0, 1])
    joined = rows.concatenate(wp.IndexInputNode([8]))
    with pytest.raises(errors.IndexRangeError):
        small.index(joined)
    loss = large.index(joined).sum() + small.index(rows[1:]).sum()
    step = plain_step(loss, wp.SGD(1.0))
    rows.set_value([0, 4])
    with pytest.raises(errors.IndexRangeError, match=r"\[0, 4\), got 4"):
        step()


def test_ragged_rows_of_any_length_run_through_one_step():
    table = wp.ParameterNode(np.arange(8.0).reshape(4, 2), np.float64)
    rows = wp.IndexInputNode([1], capacity=5)
    total = table.index(rows).tanh().segment_sum(rows)
    loss = total.square().sum() + table.index(rows).segment_mean(rows).sum()
    optimizer = wp.Adagrad(0.1)
    step = plain_step(loss, optimizer)
    text = step.source
    for given in ([1], [], [3, 0, 3], [2, 2, 2, 2, 2], [0]):
        rows.set_value(given)
        with unchanged([table]):
            expected, wanted = updates(lambda: numpy_step(loss, optimizer), [table])
            table.block.slot("adagrad.sum")[:] = 0
            found, taken = updates(step, [table])
            table.block.slot("adagrad.sum")[:] = 0
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(taken[0], wanted[0], rtol=1e-12, atol=1e-12)
    assert step.source == text


def test_sparse_rows_of_any_number_of_values_run_through_one_step():
    table = wp.ParameterNode(np.arange(8.0).reshape(4, 2) / 8, np.float64)
    dense = [
        [[0, 2, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]],
        np.zeros((3, 4)),
        np.arange(12).reshape(3, 4),
    ]
    rows = wp.SparseInputNode(sparse.csr_array(np.array(dense[0], float)), np.float64)
    loss = rows.dot(table).square().sum()
    step = wp.compile(loss, wp.SGD(0.01))
    for given in dense:
        rows.set_value(sparse.csr_array(np.array(given, float)))
        expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.01)), [table])
        found, taken = updates(step, [table])
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(taken[0], wanted[0], rtol=1e-12, atol=1e-12)


def test_two_ragged_nodes_of_different_lengths_stand_in_one_step():
    table = wp.ParameterNode(np.arange(8.0).reshape(4, 2) / 8, np.float64)
    first = wp.IndexInputNode([1], capacity=4)
    second = wp.IndexInputNode([2, 3], capacity=4)
    one = table.index(first).segment_sum(first)
    other = table.index(second).segment_mean(second)
    joined = table.index(first.concatenate(second)).square().sum()
    loss = one.vector_dot(other).sum() + joined
    step = plain_step(loss, wp.SGD(0.1))
    for a, b in (([1], [2, 3]), ([0, 0, 1], []), ([], [3]), ([1, 2, 3, 0], [0, 1])):
        first.set_value(a)
        second.set_value(b)
        expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), [table])
        found, taken = updates(step, [table])
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(taken[0], wanted[0], rtol=1e-12, atol=1e-12)


def test_a_shape_that_is_no_multiple_of_a_ragged_length_has_no_native_form():
    table = wp.ParameterNode(np.ones((4, 2)))
    rows = wp.IndexInputNode([1, 2, 3], capacity=4)
    values = table.index(rows)
    with pytest.raises(errors.CompileError, match="train with"):
        wp.compile(values[::2].sum(), wp.SGD())


def test_an_op_without_native_text_is_named_with_the_cure():
    class Odd(wp.Op):
        def infer(self, *inputs):
            return inputs[0]

        def forward(self, out, *inputs):
            out[...] = inputs[0]

        def gradient(self, g, out, *inputs):
            return (g,)

    x = wp.ParameterNode([[1.0, 2.0]])
    with pytest.raises(errors.CompileError, match=r"odd: has no native text.*numpy"):
        wp.compile(x.apply(Odd()).sum(), wp.SGD())


def test_one_step_draws_other_rows_each_time_and_the_same_ones_again_anew():
    def losses():
        table = wp.ParameterNode(np.arange(100.0).reshape(100, 1), np.float64)
        rows = wp.sample_uniform(wp.IndexInputNode([0]), 100)
        step = plain_step(table.index(rows).sum() * 1.0, wp.SGD(1e-12))
        return [round(step()) for _ in range(20)]

    first = losses()
    assert len(set(first)) > 10
    assert first == losses()


def test_float32_and_float64_stand_in_one_native_step():
    single = wp.ParameterNode(np.linspace(-1, 1, 6).reshape(2, 3))
    double = wp.ParameterNode(np.linspace(-1, 2, 6).reshape(3, 2), np.float64)
    loss = single.dot(double).square().sum() + (single * double.t()).sum()
    nodes = [single, double]
    expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), nodes)
    found, taken = updates(wp.compile(loss, wp.SGD(0.1)), nodes)
    assert found == pytest.approx(expected, rel=1e-6)
    for one, other in zip(taken, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_gradient_inside_a_loss_trains_too():
    """Second derivatives in one step, also through looked-up rows."""
    weights = wp.ParameterNode(np.linspace(-1, 1, 12).reshape(4, 3), np.float64)
    table = wp.ParameterNode(np.linspace(-1, 2, 15).reshape(5, 3), np.float64)
    x = wp.InputNode(np.linspace(0, 1, 8).reshape(2, 4), np.float64)
    y = (x.dot(weights) * table.index(wp.IndexInputNode([1, 1]))).tanh().sum()
    penalty = wp.gradient(y, x).square().sum() + wp.gradient(y, table).square().sum()
    loss, nodes = penalty + y, [weights, table]
    expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), nodes)
    found, taken = updates(plain_step(loss, wp.SGD(0.1)), nodes)
    assert found == pytest.approx(expected, rel=1e-12)
    for one, other, node in zip(taken, wanted, nodes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
        numeric, _ = wp.finite_difference(node, loss)
        np.testing.assert_allclose(one / 0.1, numeric, atol=1e-7)


@pytest.mark.parametrize("other", ["table", "dense", "view"])
def test_rows_that_are_added_up_spoil_no_other_gradient(other):
    """One value is the gradient of all: row 2 gets it twice, the others once."""
    rng = np.random.default_rng(3)
    a = wp.ParameterNode(rng.normal(size=(4, 3)), np.float64)
    b = wp.ParameterNode(rng.normal(size=(4, 3)), np.float64)
    more = {
        "table": lambda: b.index(wp.IndexInputNode(1)),
        "dense": lambda: b,
        "view": lambda: b.index(wp.IndexInputNode(1)).reshape(3)[::-1],
    }[other]()
    twice = a.index(wp.IndexInputNode(2)) + a.index(wp.IndexInputNode(2))
    loss = (twice + more).tanh().sum()
    _, wanted = updates(lambda: numpy_step(loss, wp.SGD(1.0)), [a, b])
    for step in (plain_step(loss, wp.SGD(1.0)), wp.compile(loss, wp.SGD(1.0))):
        _, taken = updates(step, [a, b])
        np.testing.assert_allclose(taken, wanted, rtol=1e-12, atol=1e-14)


def test_rows_that_are_added_up_may_be_spread_numbers_of_a_loop():
    table = wp.ParameterNode(np.arange(6.0).reshape(2, 3), np.float64)
    first, again = wp.IndexInputNode([1]), wp.IndexInputNode([1])

    def total(rows):
        initial = wp.InputNode(0.0, np.float64)
        return wp.scan(
            lambda s, k: ((s + table.index(k).mean()).tanh(), s), rows, initial
        )[1]

    loss = total(first) * total(again)
    _, wanted = updates(lambda: numpy_step(loss, wp.SGD(1.0)), [table])
    _, taken = updates(plain_step(loss, wp.SGD(1.0)), [table])
    np.testing.assert_allclose(taken, wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "sums"),
    [
        (wp.SGD(0.5), False),
        (wp.SGD(0.5, clip=0.1), True),
        (wp.SGD(0.5, clip_norm=0.1), True),
        (wp.SGD(0.5, l2=0.1), True),
        (wp.SGD(0.5, momentum=0.5), True),
        (wp.Adagrad(0.5), True),
    ],
    ids=str,
)
def test_rows_that_come_twice_are_summed_first_unless_the_rule_adds_up(optimizer, sums):
    table = wp.ParameterNode(np.arange(8.0).reshape(4, 2) / 8, np.float64)
    several, one = wp.IndexInputNode([1, 2, 1, 1, 0]), wp.IndexInputNode([1])
    loss = (table.index(several) * table.index(one)).tanh().sum()
    step = plain_step(loss, optimizer)
    assert ("find_places(" in step.source) == sums
    for slot in optimizer.slots:
        table.block.slot(optimizer.slot_name(slot))[:] = 0
    _, taken = updates(step, [table])
    for slot in optimizer.slots:
        table.block.slot(optimizer.slot_name(slot))[:] = 0
    _, wanted = updates(lambda: numpy_step(loss, optimizer), [table])
    np.testing.assert_allclose(taken, wanted, rtol=1e-12)
