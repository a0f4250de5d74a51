"""Five checks of every op: value, gradient, used twice, plain Python, native."""

import importlib
import pkgutil

import numpy as np
import pytest
from autograd import grad
from ops.cases import CASES
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
import wyrm_py.ops
from wyrm_py.engines.plan import Plan
from wyrm_py.graph import op as contract
from wyrm_py.graph.op import Op

EPS = 1e-6
every_case = pytest.mark.parametrize("case", CASES, ids=str)

ELSEWHERE = {
    "SampleUniform": "draws; test_sampling.py",
    "SampleUpTo": "draws; test_sampling.py",
    "SamplePopular": "draws; test_sampling.py",
    "SampleWarp": "draws; test_sampling.py",
    "SampleKnown": "draws; test_known_items.py",
    "KthBest": "chooses rows; test_known_items.py",
    "Scan": "a loop; test_scan.py",
    "Repeat": "makes states of a batch; test_scan.py",
    "Uncut": "cuts gradients of a loop; test_scan.py",
}


def weighted(case, parameters):
    """Return sum(weights * op), one number, as a node."""
    out = case.build(*parameters)
    return (out * case.weights(out.shape).astype(out.dtype)).sum()


def reference_loss(case, *arrays):
    out = case.reference(*arrays)
    return (out * case.weights(np.shape(out))).sum()


def dense(gradient):
    return gradient.toarray() if hasattr(gradient, "toarray") else gradient


def gradients(case, parameters):
    weighted(case, parameters).backward()
    return [dense(node.gradient) for node in parameters]


def op_classes():
    found = set()
    for module in pkgutil.iter_modules(wyrm_py.ops.__path__, "wyrm_py.ops."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, Op):
                found.add(kind)
    return {kind for kind in found if kind.__module__ != contract.__name__}


def test_every_op_class_stands_in_some_case():
    covered = set()
    for case in CASES:
        parameters = case.parameters()
        loss = weighted(case, parameters)
        first = wp.gradient(loss, parameters[0])
        plans = [Plan.training(loss).applications, first._applications()]
        if first.square().sum().parameters():
            second = Plan.training((first * first).sum())
            plans.append(second.applications)
        covered |= {type(a.op) for plan in plans for a in plan}
    missing = {kind.__name__ for kind in op_classes() - covered}
    assert missing == set(ELSEWHERE)


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_is_that_of_the_reference(case, dtype):
    node = case.build(*case.parameters(dtype))
    expected = case.reference(*case.arrays())
    assert node.shape == np.shape(expected)
    if case.name.startswith("sparse dot"):
        dtype = np.float64  # its rows are float64
    assert node.dtype == node.value.dtype == dtype
    bound = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(node.value, expected, rtol=bound, atol=bound)


@every_case
def test_gradient_is_that_of_central_differences(case):
    """By random projection: one direction over all inputs at once."""
    parameters = case.parameters()
    arrays = case.arrays()
    rng = np.random.default_rng(0)
    ways = [np.asarray(rng.standard_normal(array.shape)) for array in arrays]
    found = gradients(case, parameters)
    analytic = sum(float((g * way).sum()) for g, way in zip(found, ways, strict=True))
    ends = []
    for sign in (EPS, -EPS):
        for node, array, way in zip(parameters, arrays, ways, strict=True):
            node.set_value(array + sign * way)
        ends.append(float(weighted(case, parameters).value))
    numeric = (ends[0] - ends[1]) / (2 * EPS)
    scale = max(1.0, abs(ends[0]))
    assert analytic == pytest.approx(numeric, rel=1e-6, abs=1e-8 * scale)


@every_case
def test_gradient_is_that_of_an_independent_differentiator(case):
    arrays = case.arrays()
    found = gradients(case, case.parameters())
    for position, gradient in enumerate(found):
        expected = grad(lambda *a: reference_loss(case, *a), position)(*arrays)
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-10)


@every_case
def test_gradient_of_the_gradient_is_that_of_central_differences(case):
    parameters = case.parameters()
    rng = np.random.default_rng(1)
    for place, (node, array) in enumerate(zip(parameters, case.arrays(), strict=True)):
        spread = rng.standard_normal(array.shape)
        way = np.asarray(rng.standard_normal(array.shape))

        def slope(node=node, spread=spread):
            return (wp.gradient(weighted(case, parameters), node) * spread).sum()

        projected = slope()
        analytic = 0.0
        if node in projected.parameters():
            projected.zero_gradient()
            projected.backward()
            if node.gradient is not None:
                analytic = float((dense(node.gradient) * way).sum())
        ends = []
        for sign in (EPS, -EPS):
            node.set_value(array + sign * way)
            ends.append(float(slope().value))
        node.set_value(array)
        numeric = (ends[0] - ends[1]) / (2 * EPS)
        scale = max(1.0, abs(ends[0]))
        assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-7 * scale), place


@every_case
def test_used_twice_the_gradients_are_summed(case):
    single = gradients(case, case.parameters())
    parameters = case.parameters()
    out = case.build(*parameters)
    weights = case.weights(out.shape)
    again = case.build(*parameters)  # another look-up of the same tables
    loss = (out * weights).sum() + (out * weights).sum() + (again * weights).sum()
    loss.backward()
    for node, expected in zip(parameters, single, strict=True):
        np.testing.assert_allclose(
            dense(node.gradient), 3 * expected, rtol=1e-10, atol=1e-10
        )


@every_case
def test_emitted_text_runs_as_plain_python_like_numpy(case):
    parameters = case.parameters()
    loss = weighted(case, parameters)
    optimizer = wp.SGD(0.1)
    expected, wanted = updates(lambda: numpy_step(loss, optimizer), parameters)
    found, taken = updates(plain_step(loss, optimizer), parameters)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for one, other in zip(taken, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


TOGETHER = 5
"""Cases a compiled step: each compilation costs a second, long steps more."""

DTYPES = (np.float64, np.float32)


def chosen():
    """Return what is compiled in the everyday run.

    Every third case, float64 and float32 in turn, and what is missing for every op
    class to be compiled in both dtypes.
    """
    taken, seen = [], {dtype: set() for dtype in DTYPES}
    for wanted in (True, False):
        for position, case in enumerate(CASES):
            plan = Plan.training(weighted(case, case.parameters()))
            ops = {type(a.op) for a in plan.applications}
            for turn, dtype in enumerate(DTYPES):
                regular = position % 6 == 3 * turn
                if regular if wanted else not ops <= seen[dtype]:
                    taken.append((case, dtype))
                    seen[dtype] |= ops
    return taken


QUICK = chosen()
THOROUGH = [(case, dtype) for case in CASES for dtype in DTYPES]


@pytest.mark.parametrize("begin", range(0, len(QUICK), TOGETHER))
def test_native_is_numpy(begin):
    compare_native(QUICK[begin : begin + TOGETHER])


@pytest.mark.slow
@pytest.mark.parametrize("begin", range(0, len(THOROUGH), TOGETHER))
def test_native_is_numpy_for_all_cases_in_both_dtypes(begin):
    compare_native(THOROUGH[begin : begin + TOGETHER])


def compare_native(chosen):
    """Run several cases in one step: one loss, parameters of their own.

    float32 gradients differ by the order of sums: by at most 32 units in the
    last place of the largest element that was summed or updated.
    """
    built = []
    for case, dtype in chosen:
        parameters = case.parameters(dtype)
        built.append((case, dtype, parameters, weighted(case, parameters)))
    loss = sum((part for *_, part in built[1:]), start=built[0][-1])
    everything = [node for _, _, parameters, _ in built for node in parameters]
    optimizer = wp.SGD(1.0)
    expected, wanted = updates(lambda: numpy_step(loss, optimizer), everything)
    found, taken = updates(wp.compile(loss, optimizer), everything)
    pairs = iter(zip(taken, wanted, strict=True))
    bound = 0.0
    for case, dtype, parameters, part in built:
        unit = 1e-13 if dtype == np.float64 else 32 * float(np.finfo(dtype).eps)
        bound += unit * max(abs(float(part.value)), 1.0)
        for node in parameters:
            one, other = next(pairs)
            largest = max(np.abs(node.value).max(), np.abs(other).max(), 1.0)
            np.testing.assert_allclose(
                one, other, rtol=0, atol=unit * largest, err_msg=case.name
            )
    assert found == pytest.approx(expected, abs=bound)
