"""Products of stacks and orders of axes: what is refused, and what is printed."""

import re

import numpy as np
import pytest
from stepping import numpy_step, plain_step, updates
from waiting import together

import wyrm_py as wp
from wyrm_py.errors import DTypeError, ShapeError
from wyrm_py.graph.op import Op


def nodes(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [wp.ParameterNode(rng.standard_normal(s), dtype) for s in shapes]


@pytest.mark.parametrize(
    ("build", "shapes", "message"),
    [
        (
            lambda a, b: a @ b,
            ((2, 3, 4), (2, 5, 4)),
            r"matmul: inner sizes differ, left \(2, 3, 4\), right \(2, 5, 4\)\. "
            r"Transpose the right operand with `\.swap_axes\(-1, -2\)`\?",
        ),
        (
            lambda a, b: a @ b,
            ((2, 3, 4), (2, 3, 5)),
            "matmul: inner sizes differ.*The left's columns must equal",
        ),
        (
            lambda a, b: a @ b,
            ((2, 3, 4), (3, 4, 5)),
            r"matmul: operands of shapes \(2,\), \(3,\) do not broadcast",
        ),
        (lambda a, b: a @ b, ((), (2, 3, 4)), r"matmul: .*left \(\).*with `\*`"),
        (lambda a, b: a @ b, ((2, 3, 4), ()), r"dot: takes two matrices"),
        (lambda a, b: a @ b, ((3,), (2, 4, 5)), "matmul: inner sizes differ"),
        (
            lambda a, b: a.matmul(b, transpose_left=True),
            ((3,), (3, 4)),
            "swap_axes: axis -2 does not exist in a value of 1 axes",
        ),
        (
            lambda a, b: a.matmul(b, bias=np.ones(4)),
            ((2, 3, 4), (4, 5)),
            r"add: operands of shapes \(2, 3, 5\), \(4,\)",
        ),
        (lambda a, b: a.dot(b), ((2, 3, 4), (4, 5)), "dot: takes two matrices"),
        (lambda a, _: a.transpose(0, 0), ((2, 3), ()), r"transpose: .*\(0, 0\)"),
        (lambda a, _: a.transpose(0), ((2, 3), ()), r"transpose: .*2 axes"),
        (lambda a, _: a.transpose(0, 2), ((2, 3), ()), r"transpose: .*\(0, 2\)"),
        (lambda a, _: a.transpose(0.5, 1), ((2, 3), ()), "must be integers"),
        (lambda a, _: a.swap_axes(0, 2), ((2, 3), ()), "swap_axes: axis 2 does not"),
    ],
)
def test_what_does_not_fit_is_refused(build, shapes, message):
    with pytest.raises(ShapeError, match=message):
        build(*nodes(*shapes))


def test_row_numbers_are_not_multiplied():
    with pytest.raises(DTypeError, match="matmul"):
        nodes((2, 3, 4))[0] @ wp.IndexInputNode(np.zeros((2, 4, 1), np.int64))


def calls(source):
    return re.findall(r"gemm\(gemm_f\d", source)


def test_one_matrix_for_a_stack_is_one_product_and_its_gradient_one():
    w, k = nodes((4, 5), (5, 2))
    x = wp.InputNode(np.ones((6, 3, 4)))
    loss = (x @ w @ k).square().sum()
    source = wp.compile(loss, wp.SGD(0.1)).source
    assert len(calls(source)) == 5  # two forward; k, then what flows back, then w
    assert not re.search(r"for .*:\n\s+gemm\(", source)


def test_a_step_without_products_names_no_kernel():
    (w,) = nodes((4, 5))
    outer = wp.InputNode(np.ones((4, 1))).dot(wp.InputNode(np.ones((1, 5))))
    inner = w[:1].dot(wp.InputNode(np.ones((5, 1))))
    source = wp.compile((outer * w).sum() + inner.sum(), wp.SGD(0.1)).source
    assert "gemm" not in source


def test_looked_up_rows_are_copied_once_for_the_product_and_its_gradient():
    table, w = nodes((9, 4), (4, 5))
    rows = table.index(wp.IndexInputNode([1, 7, 1]))
    loss = rows.dot(w).square().sum()
    step = wp.compile(loss, wp.SGD(0.1))
    assert len(re.findall(r"^ +w\d+\[.*\] = ", step.source, re.M)) == 1
    expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), [table, w])
    found, taken = updates(step, [table, w])
    assert found == pytest.approx(expected, rel=1e-5)
    for one, other in zip(taken, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [plain_step, wp.compile])
def test_float32_and_float64_multiply_in_float64(make):
    (a,), (b,) = nodes((3, 6)), nodes((6, 4), dtype=np.float64)
    loss = a.dot(b).square().sum()
    assert loss.dtype == np.float64
    expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), [a, b])
    found, taken = updates(make(loss, wp.SGD(0.1)), [a, b])
    assert found == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(taken[0], wanted[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(taken[1], wanted[1], rtol=1e-12, atol=1e-12)


class SumOfProducts(Op):
    """a b + c d, the second product added in place."""

    def infer(self, *inputs):
        a, b, _, _ = inputs
        return a._replace(shape=(*a.shape[:-1], b.shape[-1]))

    def forward(self, out, *inputs):
        a, b, c, d = inputs
        out[...] = a @ b + c @ d

    def emit(self, writer, out, *inputs):
        a, b, c, d = inputs
        writer.product(out, a, b)
        writer.product(out, c, d, accumulate=True)

    def gradient(self, g, out, *inputs):
        a, b, c, d = (x.swap_axes(-1, -2) for x in inputs)
        return g @ b, a @ g, g @ d, c @ g


@pytest.mark.parametrize("make", [plain_step, wp.compile])
@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3, 4), (2, 4, 5), (2, 3, 6), (2, 6, 5)),
        ((1, 4), (4, 1), (1, 3), (3, 1)),
        ((3, 1), (1, 4), (3, 1), (1, 4)),
    ],
)
def test_an_op_of_ones_own_adds_products_in_place(make, shapes):
    given = nodes(*shapes, dtype=np.float64)
    loss = given[0].apply(SumOfProducts(), *given[1:]).square().sum()
    expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), given)
    found, taken = updates(make(loss, wp.SGD(0.1)), given)
    assert found == pytest.approx(expected, rel=1e-12)
    for one, other in zip(taken, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_workers_multiply_stacks_in_shuffled_batches(n_jobs):
    rng = np.random.default_rng(5)
    wanted = rng.standard_normal((4, 2)).astype(np.float32)
    columns = rng.standard_normal((300, 3, 4)).astype(np.float32)
    x, y = wp.InputNode(np.zeros((1, 3, 4))), wp.InputNode(np.zeros((1, 3, 2)))
    (w,) = nodes((4, 2))
    loss = (x @ w - y).square()
    given = {x: columns, y: columns @ wanted}
    history = wp.fit(
        *(loss, wp.SGD(0.01)),
        inputs=given,
        epochs=20,
        batch_size=7,
        n_jobs=n_jobs,
        callbacks=[together],
        random_state=1,
        progress=False,
    )
    assert history.losses[-1] < 1e-6 < history.losses[0]
    np.testing.assert_allclose(w.value, wanted, atol=1e-3)


def test_training_with_products_repeats_bit_for_bit():
    def train():
        a, b = nodes((40, 70), (70, 33))
        x = wp.InputNode(np.zeros((1, 40)))
        loss = (x @ a).tanh().dot(b).square().mean()
        column = np.random.default_rng(6).standard_normal((64, 40))
        wp.fit(
            *(loss, wp.Adagrad(0.05)),
            inputs={x: column},
            epochs=3,
            batch_size=9,
            random_state=2,
            progress=False,
        )
        return a.value.tobytes(), b.value.tobytes()

    assert train() == train()
