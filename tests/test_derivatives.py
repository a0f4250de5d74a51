"""Higher derivatives: closed forms, and HIPS autograd."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import hessian_vector_product as autograd_product
from autograd import jacobian as autograd_jacobian

import wyrm_py as wp

RNG = np.random.default_rng(0)


def parameter(value, name=None):
    return wp.ParameterNode(value, np.float64, name=name)


# -- Jacobians -------------------------------------------------------------------


def test_the_jacobian_of_softmax_is_its_closed_form():
    logits = parameter(RNG.normal(size=5))
    s = logits.softmax().value
    found = wp.jacobian(logits.softmax(), logits)
    np.testing.assert_allclose(found, np.diag(s) - np.outer(s, s), rtol=1e-12)


def test_the_jacobian_of_a_product_is_the_other_factor():
    a, b = parameter(RNG.normal(size=(2, 3))), parameter(RNG.normal(size=(3, 4)))
    found = wp.jacobian(a @ b, b)
    assert found.shape == (2, 4, 3, 4)
    expected = np.einsum("ik,jl->ijkl", a.value, np.eye(4))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (1, 1), (3,), (2, 3)])
def test_jacobians_are_those_of_an_independent_differentiator(shape):
    def f(x, xp):
        return xp.exp(xp.sin(x)) * x.sum() if xp is anp else x.sin().exp() * x.sum()

    value = np.asarray(RNG.normal(size=shape))
    node = parameter(value)
    expected = autograd_jacobian(lambda x: f(x, anp))(value)
    found = wp.jacobian(f(node, None), node)
    assert found.shape == shape + shape
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_jacobian_follows_the_leaves_and_leaves_no_gradient_behind():
    x = parameter(np.array([1.0, 2.0]))
    y = x.square()
    x.set_value([3.0, 4.0])
    np.testing.assert_array_equal(wp.jacobian(y, x), np.diag([6.0, 8.0]))
    np.testing.assert_array_equal(wp.jacobian(y, x), np.diag([6.0, 8.0]))
    assert x.gradient is None


def test_a_jacobian_by_an_intermediate_node_and_by_the_node_itself():
    x = parameter(np.array([1.0, 2.0]))
    middle = x * 3.0
    np.testing.assert_array_equal(
        wp.jacobian(middle.square(), middle), np.diag([6, 12])
    )
    np.testing.assert_array_equal(wp.jacobian(middle, middle), np.eye(2))


def test_a_jacobian_holds_random_draws_fixed():
    x = parameter(np.ones(50))
    y = x.dropout(0.5)
    drawn = y.value.copy()
    np.testing.assert_array_equal(wp.jacobian(y, x), np.diag(drawn))
    np.testing.assert_array_equal(y.value, drawn)


def test_the_jacobian_of_looked_up_rows_is_dense():
    table = parameter(np.arange(6.0).reshape(3, 2))
    found = wp.jacobian(table.index([2, 0, 2]), table)
    expected = np.zeros((3, 2, 3, 2))
    for k, row in enumerate([2, 0, 2]):
        expected[k, :, row] = np.eye(2)
    np.testing.assert_array_equal(found, expected)


def test_a_jacobian_that_does_not_flow_is_an_error():
    with pytest.raises(wp.errors.GraphError, match="jacobian: none flows"):
        wp.jacobian(parameter([1.0]).exp(), parameter([1.0]))


# -- Hessians --------------------------------------------------------------------


def test_the_hessian_of_a_quadratic_form_is_its_matrix():
    matrix = RNG.normal(size=(4, 4))
    x = parameter(RNG.normal(size=(4, 1)))
    loss = (x.t() @ (matrix @ x)) * 0.5
    found = wp.jacobian(wp.gradient(loss, x), x)[:, 0, :, 0]
    np.testing.assert_allclose(found, (matrix + matrix.T) / 2, rtol=1e-10)


def model(xp, w, b, v):
    inputs = np.linspace(-1, 1, 12).reshape(4, 3)
    if xp is anp:
        return (anp.tanh(inputs @ w + b) @ v).sum() ** 2
    return (inputs @ w + b).tanh().dot(v).sum().square()


def test_products_with_the_hessian_are_those_of_an_independent_differentiator():
    values = [RNG.normal(size=s) for s in [(3, 5), (5,), (5, 1)]]
    vectors = [RNG.normal(size=value.shape) for value in values]
    nodes = [parameter(value) for value in values]
    found = wp.hessian_vector_product(model(None, *nodes), nodes, vectors)

    flat = np.concatenate([v.reshape(-1) for v in values])
    ends = np.cumsum([v.size for v in values])[:-1]

    def of_flat(x):
        parts = anp.split(x, ends)
        return model(
            anp, *(p.reshape(v.shape) for p, v in zip(parts, values, strict=True))
        )

    way = np.concatenate([v.reshape(-1) for v in vectors])
    expected = np.split(autograd_product(of_flat)(flat, way), ends)
    for node, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            node.value, value.reshape(node.shape), rtol=1e-10, atol=1e-12
        )


def test_a_product_with_the_hessian_is_a_node_that_follows_its_leaves():
    x = parameter(np.array([1.0, 2.0]))
    way = wp.InputNode(np.array([1.0, 0.0]), np.float64)
    (product,) = wp.hessian_vector_product(x**3, [x], [way])  # 6 x v
    np.testing.assert_array_equal(product.value, [6.0, 0.0])
    x.set_value([5.0, 7.0])
    way.set_value([1.0, 2.0])
    np.testing.assert_array_equal(product.forward().value, [30.0, 84.0])


def test_a_linear_loss_has_the_hessian_zero():
    a, b = parameter(np.ones(3)), parameter(np.ones((2, 2)))
    first, second = wp.hessian_vector_product(
        a.sum() * 2.0 + b.exp(), [a, b], [np.ones(3), np.ones((2, 2))]
    )
    np.testing.assert_array_equal(first.value, np.zeros(3))
    np.testing.assert_allclose(second.value, np.full((2, 2), np.e))


def test_vectors_have_the_shapes_of_the_parameters():
    x = parameter(np.ones(3))
    for vectors in ([np.ones(2)], [], [np.ones(3), np.ones(3)]):
        with pytest.raises(wp.errors.ShapeError, match="hessian_vector_product"):
            wp.hessian_vector_product(x.exp(), [x], vectors)


def test_newtons_step_solves_a_quadratic_problem_at_once():
    rng = np.random.default_rng(3)
    inputs, target = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    w = parameter(np.zeros((3, 1)))
    slope = wp.gradient((inputs @ w - target).square(), w)
    hessian = wp.jacobian(slope, w).reshape(3, 3)
    w.set_value(w.value - np.linalg.solve(hessian, slope.value))
    expected, *_ = np.linalg.lstsq(inputs, target, rcond=None)
    np.testing.assert_allclose(w.value, expected, rtol=1e-10)


def test_third_derivatives_of_a_power():
    x = parameter(np.array([0.0, 2.0, -1.0]))
    slope = x**4
    for _ in range(3):
        slope = wp.gradient(slope, x)
    np.testing.assert_allclose(slope.value, 24.0 * x.value, atol=1e-12)
