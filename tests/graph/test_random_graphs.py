"""Random composed graphs: gradients, and the three ways a step can run."""

import numpy as np
import pytest
from graph.graphs import build, instructions, leaf_shapes, leaves
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp

EPS = 1e-6

relaxed = settings(suppress_health_check=list(HealthCheck))


def dense(gradient):
    return gradient.toarray() if hasattr(gradient, "toarray") else gradient


@settings(relaxed, max_examples=300)
@given(leaf_shapes, instructions)
def test_gradients_are_those_of_central_differences(shapes, program):
    nodes = leaves(shapes)
    loss = build(nodes, program)
    loss.backward()
    rng = np.random.default_rng(1)
    ways = [np.asarray(rng.standard_normal(shape)) for shape in shapes]
    analytic = sum(
        float((dense(node.gradient) * way).sum())
        for node, way in zip(nodes, ways, strict=True)
    )
    starts = [node.value.copy() for node in nodes]
    ends = []
    for sign in (EPS, -EPS):
        for node, start, way in zip(nodes, starts, ways, strict=True):
            node.set_value(start + sign * way)
        ends.append(float(loss.forward().value))
    numeric = (ends[0] - ends[1]) / (2 * EPS)
    scale = max(1.0, abs(ends[0]), abs(numeric))
    assert analytic == pytest.approx(numeric, rel=1e-6, abs=2e-7 * scale)


def compare(step_of, shapes, program, dtype, optimizer, bound):
    nodes = leaves(shapes, dtype=dtype)
    loss = build(nodes, program)
    expected, wanted = updates(lambda: numpy_step(loss, optimizer), nodes)
    found, taken = updates(step_of(loss, optimizer), nodes)
    assert found == pytest.approx(expected, rel=bound, abs=bound)
    for one, other in zip(taken, wanted, strict=True):
        largest = max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=bound * largest)


@settings(relaxed, max_examples=300)
@given(leaf_shapes, instructions)
def test_emitted_text_runs_as_plain_python_like_numpy(shapes, program):
    compare(plain_step, shapes, program, np.float64, wp.SGD(0.1), 1e-11)


compiled = settings(relaxed, phases=[Phase.generate])  # shrinking compiles for minutes


@settings(compiled, max_examples=6)
@given(leaf_shapes, instructions, st.sampled_from([np.float32, np.float64]))
def test_native_is_numpy(shapes, program, dtype):
    bound = 1e-11 if dtype == np.float64 else 1e-4
    compare(wp.compile, shapes, program, dtype, wp.SGD(0.1), bound)


@pytest.mark.slow
@settings(compiled, max_examples=60)
@given(leaf_shapes, instructions, st.sampled_from([np.float32, np.float64]))
def test_native_is_numpy_at_length(shapes, program, dtype):
    bound = 1e-11 if dtype == np.float64 else 1e-4
    compare(wp.compile, shapes, program, dtype, wp.SGD(0.1), bound)
