"""What can be done with graphs: dynamic code, subsets, several roots, own ops."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
from waiting import PATIENCE

import wyrm_py as wp


def parameter(value, **settings):
    return wp.ParameterNode(value, np.float64, **settings)


# -- dynamic graphs ---------------------------------------------------------------


def test_a_loop_of_products_is_differentiated():
    x = parameter([1.0])
    out = x
    for _ in range(5):
        out = out * 4.0
    out.backward()
    assert out.value.item() == 1024
    assert x.gradient.item() == 1024


def test_a_dynamic_graph_is_built_anew_each_step_over_the_same_parameters():
    """Sequences of any length, as a Python loop: only the parameters stay."""
    rng = np.random.default_rng(0)
    decay, scale = parameter(np.full((1, 1), 0.3)), parameter(np.full((1, 1), 0.2))
    optimizer = wp.SGD(0.02)
    losses = []
    for _ in range(400):
        series = rng.normal(size=rng.integers(1, 6))
        state, truth = wp.InputNode([[0.0]], np.float64), 0.0
        for value in series:
            state = state * decay + scale * float(value)
            truth = truth * 0.7 + 0.5 * value
        loss = (state - truth).square()
        loss.backward()
        optimizer.step([decay, scale])
        losses.append(loss.value.item())
    assert np.mean(losses[-50:]) < 1e-3 < np.mean(losses[:50])
    assert decay.value.item() == pytest.approx(0.7, abs=0.1)
    assert scale.value.item() == pytest.approx(0.5, abs=0.05)


def test_a_name_may_be_reassigned_and_the_graph_continued_after_backward():
    x = parameter([3.0])
    y = x * 2.0
    y.backward()
    y = y * x + 1.0  # 2 x^2 + 1, over the very node that ran backward
    x.zero_gradient()
    y.backward()
    assert y.value.item() == 19
    assert x.gradient.item() == 12


def test_branches_that_are_never_used_change_nothing():
    x = parameter([3.0])
    y = x.square()
    _ = [y.exp(), x.ln(), (y * x).sum()]
    y.backward()
    assert x.gradient.item() == 6


def test_a_quotient_by_its_own_sum_has_the_gradient_zero():
    x = parameter([1.0, 2.0, 5.0])
    (x / x.sum()).sum().backward()
    np.testing.assert_allclose(x.gradient, 0.0, atol=1e-15)


def test_a_graph_is_reused_with_new_inputs_and_without_stale_values():
    x, w = wp.InputNode([[0.0, 0.0]], np.float64), parameter([[2.0], [3.0]])
    y = (x @ w).square()
    for given in ([[1.0, 1.0]], [[0.0, 2.0]], [[1.0, 1.0]]):
        x.set_value(given)
        w.zero_gradient()
        assert y.forward().value.item() == (2 * given[0][0] + 3 * given[0][1]) ** 2
        y.backward()
        expected = 2 * (np.array(given) @ w.value) * np.array(given).T
        np.testing.assert_array_equal(w.gradient, expected)


def test_inputs_are_fed_from_any_iterator():
    x = wp.InputNode([[0.0]], np.float64)
    y = x * x + 1.0
    found = []
    for value in (k * 0.5 for k in range(4)):
        x.set_value(value)
        found.append(y.forward().value.item())
    assert found == [1.0, 1.25, 2.0, 3.25]


def test_forward_of_one_node_computes_no_more_than_what_is_under_it():
    calls = []

    class Watched(wp.Pointwise):
        expression = "a + T(0)"

        def forward(self, out, *inputs):
            calls.append(1)
            super().forward(out, *inputs)

    x = parameter([1.0])
    middle = x * 2.0
    middle.apply(Watched())
    calls.clear()
    middle.forward()
    assert calls == []


def test_prediction_alone_needs_no_clearing_between_inputs():
    x, w = wp.InputNode([[0.0]], np.float64), parameter([[3.0]])
    prediction = (x * w).tanh()
    for value in (1.0, -1.0, 0.5):
        x.set_value(value)
        assert prediction.forward().value.item() == np.tanh(3.0 * value)
    assert w.gradient is None


def test_a_graph_that_nobody_holds_is_freed_and_its_parameters_stay():
    x = parameter(np.ones((10, 10)))
    y = (x.exp() * x).sum()
    y.backward()
    wp.gradient(y, x).square().sum().backward()
    inner = [weakref.ref(node) for node in (y, y.application.inputs[0])]
    del y
    gc.collect()
    assert [ref() for ref in inner] == [None, None]
    assert x.value.sum() == 100


# -- roots and weights --------------------------------------------------------------


def test_several_roots_add_their_gradients_into_shared_nodes():
    x = parameter([2.0, 3.0])
    shared = x.square()
    first, second = shared.sum(), (shared * 10.0).sum()
    first.backward()
    second.backward(2.0)
    np.testing.assert_array_equal(x.gradient, 2 * x.value * 21)
    np.testing.assert_array_equal(shared.gradient, [21.0, 21.0])


def test_an_upstream_array_weighs_every_element_of_a_root():
    x = parameter(np.ones((2, 3)))
    y = x * 2.0
    weight = np.arange(6.0).reshape(2, 3)
    for _ in range(5):
        y.backward(weight)
    np.testing.assert_array_equal(x.gradient, 10.0 * weight)


def test_gradients_can_be_taken_and_cleared_before_the_next_pass():
    x = parameter([3.0])
    y = x.square()
    y.backward()
    taken = x.gradient
    x.zero_gradient()
    assert x.gradient is None
    y.backward()
    assert (taken.item(), x.gradient.item()) == (6, 6)


# -- frozen parts, subsets -----------------------------------------------------------


def test_no_gradient_flows_through_what_is_stopped():
    x = parameter([3.0])
    (x * x.stop_gradient()).backward()
    assert x.gradient.item() == 3  # of x * 3
    alone = x.exp().stop_gradient()
    assert alone.value.item() == pytest.approx(np.exp(3.0))
    with pytest.raises(wp.errors.GraphError, match="none flows"):
        wp.gradient(alone, x)


def test_what_is_stopped_is_not_trained_natively_either():
    a, b = parameter([[3.0]]), parameter([[2.0]])
    loss = (a.stop_gradient() * b + a).square()
    step = wp.compile(loss, wp.SGD(0.01))
    assert step() == 81.0
    assert a.value.item() == pytest.approx(3.0 - 0.01 * 2 * 9)  # as of (6 + a)^2
    assert b.value.item() == pytest.approx(2.0 - 0.01 * 2 * 9 * 3)


def test_a_compiled_step_sees_a_parameter_that_is_frozen_and_freed_again():
    a, b = parameter([[1.0]]), parameter([[1.0]])
    step = wp.compile((a * b + 1.0).square(), wp.SGD(0.125))
    step()
    assert a.value.item() == b.value.item() == 0.5
    b.trainable = False
    step()
    assert (a.value.item(), b.value.item()) == (0.34375, 0.5)
    b.trainable = True
    step()
    assert b.value.item() != 0.5
    a.trainable = b.trainable = False
    for _ in range(2):
        with pytest.raises(wp.errors.GraphError, match="no trainable parameters"):
            step()


def test_a_step_over_named_parameters_ignores_others_and_refuses_a_frozen_one():
    a, b = parameter([[1.0]]), parameter([[1.0]])
    step = wp.compile((a * b).square(), wp.SGD(0.25), parameters=[a])
    text = step.source
    b.trainable = False
    step()
    assert step.source is text
    assert (a.value.item(), b.value.item()) == (0.5, 1.0)
    a.trainable = False
    for _ in range(2):
        with pytest.raises(wp.errors.GraphError, match="must name trainable"):
            step()
    a.trainable = True
    step()
    assert a.value.item() == 0.25


def test_a_frozen_parameter_is_left_alone_by_fit():
    a, b = parameter([[1.0]]), parameter([[1.0]], trainable=False)
    x = wp.InputNode([[0.0]], np.float64)
    loss = (a * x + b - 3.0).square()
    for engine in ("numpy", "native"):
        wp.fit(loss, wp.SGD(0.1), {x: np.ones(50)}, engine=engine, progress=False)
        assert b.value.item() == 1.0
    assert a.value.item() == pytest.approx(2.0, abs=1e-3)


class Adversaries:
    """A generator that shifts noise and a critic that scores values, each with a
    loss of its own over the same graph."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.shift = parameter(np.zeros((1, 1)), name="shift")
        self.slope = parameter(rng.normal(size=(1, 1)) * 0.1, name="slope")
        self.offset = parameter(np.zeros((1, 1)), name="offset")
        self.noise = wp.InputNode(np.zeros((32, 1)), np.float64)
        self.real = wp.InputNode(np.zeros((32, 1)), np.float64)
        made = self.noise + self.shift
        self.fooled = -self.score(made).sigmoid().ln().mean()
        self.told = (
            -self.score(self.real).sigmoid().ln().mean()
            - (-self.score(made)).sigmoid().ln().mean()
            + 0.05 * (self.slope.square() + self.offset.square()).sum()
        )
        self.critic = [self.slope, self.offset]

    def score(self, values):
        return values * self.slope + self.offset

    def feed(self, rng):
        self.noise.set_value(rng.normal(size=(32, 1)))
        self.real.set_value(rng.normal(loc=2.0, size=(32, 1)))


@pytest.mark.parametrize("compiled", [False, True], ids=["numpy", "native"])
def test_two_losses_with_optimizers_of_their_own_train_against_each_other(compiled):
    model, rng = Adversaries(), np.random.default_rng(1)
    optimizers = wp.SGD(0.2), wp.SGD(0.05)
    turns = [(model.told, optimizers[0], model.critic)]
    turns += [(model.fooled, optimizers[1], [model.shift])]
    if compiled:
        steps = [wp.compile(*turn) for turn in turns]
    shifts = []
    for _ in range(600):
        model.feed(rng)
        if compiled:
            for step in steps:
                step()
        else:
            for loss, optimizer, part in turns:
                loss.forward()
                loss.backward()
                optimizer.step(part)
                loss.zero_gradient()  # what flowed into the other's part
        shifts.append(model.shift.value.item())
    assert np.mean(shifts[-200:]) == pytest.approx(2.0, abs=0.3)


def test_a_turn_changes_its_own_part_only():
    model = Adversaries()
    model.feed(np.random.default_rng(2))
    held = [node.value.copy() for node in model.critic]
    step = wp.compile(model.fooled, wp.SGD(0.1), [model.shift])
    step()
    assert model.shift.value.item() != 0
    for node, value in zip(model.critic, held, strict=True):
        np.testing.assert_array_equal(node.value, value)


# -- leaves from NumPy, names ----------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3)),
        np.ones(4),
        np.full((2, 2), 7.0),
        np.eye(3),
        np.arange(5),
        np.linspace(0, 1, 5),
        np.logspace(0, 3, 4, base=2.0),
        np.geomspace(1, 1000, 4),
        np.random.default_rng(0).random((2, 2)),
        [[1, 2], [3, 4]],
        [[[1.5]], [[2.5]]],
        3,
    ],
    ids=lambda array: str(np.shape(array)),
)
def test_any_array_or_nested_literal_makes_a_leaf_or_an_operand(array):
    for node in (parameter(array), wp.InputNode(array, np.float64)):
        np.testing.assert_array_equal(node.value, np.asarray(array))
        np.testing.assert_array_equal((node + array).value, 2.0 * np.asarray(array))
        assert node.shape == np.shape(array)


def test_nodes_are_found_by_name():
    x = wp.InputNode([1.0], name="x")
    hidden = (x * 2.0).named("hidden")
    out = hidden.exp()
    assert out.find("hidden") is hidden
    assert out.find("x") is x
    assert repr(hidden) == "<multiply 'hidden' float32[1]>"
    assert hidden.name == "hidden"


def test_a_name_that_nobody_or_two_have_is_refused():
    x = wp.InputNode([1.0], name="x")
    out = x.exp().named("twin") + x.ln().named("twin")
    with pytest.raises(wp.errors.GraphError, match=r"0 nodes .* 'y'.*here: twin, x\."):
        out.find("y")
    with pytest.raises(wp.errors.GraphError, match=r"find: 2 nodes"):
        out.find("twin")


def test_values_are_compared_with_numpys_tools_and_a_node_itself_fails_loudly():
    x = parameter([1.0, 2.0])
    np.testing.assert_array_equal(x.value, [1.0, 2.0])
    for compare in (np.testing.assert_allclose, np.testing.assert_array_equal):
        with pytest.raises((TypeError, AssertionError)):
            compare(x, [1.0, 2.0])


# -- ops of your own -----------------------------------------------------------


class Flipped(wp.Op):
    """The elements of a vector in reverse order: NumPy only, no native text."""

    def infer(self, *inputs):
        return inputs[0]

    def forward(self, out, *inputs):
        out[...] = inputs[0][::-1]

    def gradient(self, g, out, *inputs):
        return (g.apply(Flipped()),)


def flipped_problem():
    weights = parameter(np.zeros(3))
    x = wp.InputNode(np.zeros(3), np.float64)
    loss = (weights.apply(Flipped()) - x).square().sum()
    return weights, loss, {x: np.tile([1.0, 2.0, 3.0], (100, 1))}


def test_an_op_in_numpy_alone_is_checked_and_trains_with_the_numpy_engine():
    weights, loss, inputs = flipped_problem()
    weights.set_value([0.5, -1.0, 2.0])
    numeric, analytic = wp.finite_difference(weights, loss)
    np.testing.assert_allclose(numeric, analytic, rtol=1e-7)
    wp.fit(loss, wp.SGD(0.1), inputs, engine="numpy", progress=False)
    np.testing.assert_allclose(weights.value, [3.0, 2.0, 1.0], rtol=1e-6)


def test_an_op_without_native_text_is_refused_natively_before_anything_changes():
    weights, loss, inputs = flipped_problem()
    for run in (
        lambda: wp.compile(loss, wp.SGD(0.1)),
        lambda: wp.fit(loss, wp.SGD(0.1), inputs, progress=False),
        lambda: wp.evaluate(loss, inputs),
    ):
        with pytest.raises(wp.errors.CompileError, match=r"flipped: .* `emit`"):
            run()
    np.testing.assert_array_equal(weights.value, np.zeros(3))


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_an_op_of_ones_own_travels_to_workers(backend):
    weights, loss, inputs = flipped_problem()
    settings = {"n_jobs": 2, "backend": backend, "engine": "numpy", "progress": False}
    wp.fit(loss, wp.SGD(0.1), inputs, epochs=2, **settings)
    np.testing.assert_allclose(weights.value, [3.0, 2.0, 1.0], rtol=1e-3)


SCRIPT = """
import numpy as np
import wyrm_py as wp

class Doubled(wp.Pointwise):
    expression = "a + a"

    def gradient(self, g, out, *inputs):
        return (g * 2.0,)

if __name__ == "__main__":
    w = wp.ParameterNode(np.zeros(1), np.float64)
    x = wp.InputNode(np.zeros(1), np.float64)
    loss = (w.apply(Doubled()) - x).square()
    for engine in ("numpy", "native"):
        w.set_value(0.0)
        wp.fit(loss, wp.SGD(0.05), {x: np.full(200, 6.0)}, n_jobs=2, engine=engine,
               progress=False)
        print(round(w.value.item(), 3))
"""


def test_an_op_of_a_script_travels_to_worker_processes(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    command = [sys.executable, str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=10 * PATIENCE
    )
    assert done.stdout.split() == ["3.0", "3.0"], done.stderr
