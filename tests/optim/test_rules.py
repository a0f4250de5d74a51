"""Every update rule against the textbook, in both engines, dense and by rows."""

import re

import numpy as np
import pytest
from optim.references import RULES, trained
from stepping import numpy_step, plain_step, uncompiled

import wyrm_py as wp

R, D = 6, 3
LOOKED_UP = [[3, 1, 3], [0, 1, 1], [5, 3, 2], [1, 4, 0], [3, 3, 3]]
WEIGHTS = np.random.default_rng(3).normal(size=(len(LOOKED_UP), 3, D))
START = np.linspace(-1.0, 1.0, R * D).reshape(R, D)

every_rule = pytest.mark.parametrize("rule", RULES)


def gradients():
    """The gradient of each step as a dense array: zero outside the rows."""
    found = np.zeros((len(LOOKED_UP), R, D))
    for step, rows in enumerate(LOOKED_UP):
        np.add.at(found[step], rows, WEIGHTS[step])
    return found


def run(make_step, rule, dtype, looked_up, start=START, **settings):
    """Return the table after some steps; the gradients are those of `gradients`."""
    table = wp.ParameterNode(start, dtype)
    rows = wp.IndexInputNode(LOOKED_UP[0])
    weights = wp.InputNode(WEIGHTS[0] if looked_up else gradients()[0], dtype)
    loss = ((table.index(rows) if looked_up else table) * weights).sum()
    optimizer = RULES[rule][0](**settings)
    step = make_step(loss, optimizer)
    for k in range(len(LOOKED_UP)):
        rows.set_value(LOOKED_UP[k])
        weights.set_value(WEIGHTS[k] if looked_up else gradients()[k])
        step()
    return table


def walked(loss, optimizer):
    return lambda: numpy_step(loss, optimizer)


ENGINES = {"numpy": walked, "plain": plain_step}
every_engine = pytest.mark.parametrize("make_step", ENGINES.values(), ids=ENGINES)


@every_engine
@every_rule
def test_dense_steps_follow_the_papers(rule, make_step):
    table = run(make_step, rule, np.float64, looked_up=False)
    expected = trained(RULES[rule][1], START, gradients())
    np.testing.assert_allclose(table.value, expected, rtol=1e-11, atol=1e-12)


@every_engine
@every_rule
def test_rows_follow_them_with_the_state_of_other_rows_at_rest(rule, make_step):
    """Rows that are not looked up keep value and state; t counts all updates."""
    table = run(make_step, rule, np.float64, looked_up=True)
    expected = trained(
        RULES[rule][1],
        START,
        gradients(),
        touched=[np.unique(rows) for rows in LOOKED_UP],
    )
    np.testing.assert_allclose(table.value, expected, rtol=1e-11, atol=1e-12)


EXACT = ["sgd", "adagrad", "adagrad, decay", "ftrl"]
LAZY = [rule for rule in RULES if rule not in EXACT]


@pytest.mark.parametrize("rule", EXACT)
def test_rows_of_rules_without_memory_of_time_are_exactly_dense(rule):
    """FTRL's only from zero: it draws other starting values there."""
    start = np.zeros((R, D)) if rule == "ftrl" else START
    rows = run(walked, rule, np.float64, looked_up=True, start=start)
    dense = run(walked, rule, np.float64, looked_up=False, start=start)
    np.testing.assert_allclose(rows.value, dense.value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", LAZY)
def test_rows_of_the_others_are_lazy(rule):
    rows = run(walked, rule, np.float64, looked_up=True)
    dense = run(walked, rule, np.float64, looked_up=False)
    assert not np.allclose(rows.value, dense.value, rtol=1e-3)


@every_rule
def test_rows_equal_dense_where_every_step_looks_up_every_row(rule):
    results = []
    for looked_up in (True, False):
        table = wp.ParameterNode(START, np.float64)
        every = table.index(wp.IndexInputNode(np.arange(R))) if looked_up else table
        loss = ((every - 0.3) * gradients()[0]).square().sum() * 0.5
        optimizer = RULES[rule][0](clip=2.0, clip_norm=3.0)
        for _ in range(4):
            numpy_step(loss, optimizer)
        results.append(table.value)
    np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("rule", "looked_up", "dtype"),
    [
        ("nesterov", True, np.float32),
        ("rmsprop, all", True, np.float32),
        ("amsgrad", True, np.float32),
        ("amsgrad", False, np.float64),
        ("ftrl", False, np.float32),
    ],
    ids=str,
)
def test_compiled_rules_are_those_of_numpy(rule, looked_up, dtype):
    """The text of every rule runs as plain Python above; these use all functions."""
    bound = 2e-6 if dtype == np.float32 else 1e-11
    native = run(wp.compile, rule, dtype, looked_up)
    numpy = run(walked, rule, dtype, looked_up)
    np.testing.assert_allclose(native.value, numpy.value, rtol=bound, atol=bound)
    assert native.block.slots().keys() == numpy.block.slots().keys()
    for name, state in native.block.slots().items():
        other = numpy.block.slots()[name]
        np.testing.assert_allclose(state, other, rtol=bound, atol=bound)


@every_rule
def test_float32_text_computes_in_float32(rule):
    """A number without a type would make the arithmetic float64, and slow."""
    plain = run(plain_step, rule, np.float32, looked_up=True)
    numpy = run(walked, rule, np.float32, looked_up=True)
    assert plain.value.dtype == np.float32
    # plain SGD takes off the parts of a row one by one: the last bit may differ
    bound = 1e-7 if rule == "sgd" else 0
    np.testing.assert_allclose(plain.value, numpy.value, rtol=bound, atol=0)


@every_rule
def test_parameters_of_both_dtypes_share_a_step(rule):
    """What is worked out once an update is rounded for each of them."""
    results = []
    for make_step in ENGINES.values():
        nodes = [wp.ParameterNode(START, kind) for kind in (np.float32, np.float64)]
        loss = sum((node.index(wp.IndexInputNode([1, 3])) * 2).sum() for node in nodes)
        step = make_step(loss, RULES[rule][0](clip_norm=3.0))
        for _ in range(3):
            step()
        results.append([node.value for node in nodes])
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-13)
    np.testing.assert_allclose(*results[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "ftrl"])
def test_a_penalty_is_added_to_the_gradient(rule):
    """But for FTRL, whose l1 and l2 are the rule's own."""
    for settings, penalty in [
        ({"l2": 0.3}, lambda w: 0.3 * w),
        ({"l1": 0.2}, lambda w: 0.2 * np.sign(w)),
        ({"l1": 0.2, "l2": 0.3}, lambda w: 0.2 * np.sign(w) + 0.3 * w),
    ]:
        expected = trained(RULES[rule][1], START, gradients(), penalty)
        for make_step in ENGINES.values():
            table = run(make_step, rule, np.float64, looked_up=False, **settings)
            np.testing.assert_allclose(table.value, expected, rtol=1e-11, atol=1e-12)


@every_rule
def test_every_rule_brings_a_small_factorisation_down(rule):
    """|| x y - z ||^2 falls within ten steps, as in neuronika's tests."""
    rng = np.random.default_rng(0)
    x = wp.ParameterNode(rng.normal(size=(3, 3)), np.float64)
    y = wp.ParameterNode(rng.normal(size=(3, 3)), np.float64)
    loss = (x.dot(y) - rng.normal(size=(3, 3))).square().sum()
    optimizer = RULES[rule][0]()
    optimizer.learning_rate = optimizer.rate * (0.1 if "sgd" in rule else 0.2)
    losses = [numpy_step(loss, optimizer) for _ in range(11)]
    assert losses[-1] < losses[0]


# -- what a step costs -------------------------------------------------------------


def text_of(optimizer):
    table = wp.ParameterNode(np.ones((5, 4)), name="table")
    with uncompiled():
        loss = table.index(wp.IndexInputNode([0, 1])).sum()
        return wp.compile(loss, optimizer).source


@pytest.mark.parametrize(
    "optimizer",
    [
        wp.SGD(0.1, exact_rows=True),
        wp.SGD(wp.schedules.Exponential(0.1, gamma=0.5)),
    ],
    ids=str,
)
def test_what_is_not_in_use_leaves_no_text(optimizer):
    assert text_of(optimizer) == text_of(wp.SGD(0.1))


def test_plain_sgd_is_one_line():
    text = text_of(wp.SGD(0.1)).partition("@part")[2]
    assert "value = value - learning_rate * gradient" in text
    for word in ("step_f8", "velocity", "l1", "l2", "missed", "advance"):
        assert not re.search(rf"\b{word}\b", text), word


@every_rule
def test_powers_and_logarithms_are_taken_once_an_update(rule):
    """Not once an element: nothing of that kind stands in the innermost loop."""
    lines = text_of(RULES[rule][0]()).splitlines()
    begin = next(k for k, line in enumerate(lines) if "# update" in line)
    depth = max(len(line) - len(line.lstrip()) for line in lines[begin:])
    inner = [line for line in lines[begin:] if line.startswith(" " * depth)]
    assert any("value" in line for line in inner)
    assert not any(re.search(r"\b(ln|exp|expm1|power)\(", line) for line in inner)


# -- state -------------------------------------------------------------------------


@every_rule
def test_state_lives_with_the_parameter_and_goes_on(rule):
    """Two optimizers of a kind take turns: as if it were one."""
    first = run(walked, rule, np.float64, looked_up=True)
    table = wp.ParameterNode(START, np.float64)
    rows, weights = (
        wp.IndexInputNode(LOOKED_UP[0]),
        wp.InputNode(WEIGHTS[0], np.float64),
    )
    loss = (table.index(rows) * weights).sum()
    for k in range(len(LOOKED_UP)):
        rows.set_value(LOOKED_UP[k])
        weights.set_value(WEIGHTS[k])
        numpy_step(loss, RULES[rule][0]())
    np.testing.assert_array_equal(table.value, first.value)


@every_engine
def test_updates_of_a_parameter_are_counted_whatever_rows_they_touch(make_step):
    table = run(make_step, "adam", np.float64, looked_up=True)
    assert table.block.slots()["adam.step"] == len(LOOKED_UP)


def test_a_step_without_a_gradient_is_not_counted():
    table = run(walked, "adam", np.float64, looked_up=True)
    wp.Adam().step([table])
    assert table.block.slots()["adam.step"] == len(LOOKED_UP)


# -- known figures -----------------------------------------------------------------


def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient():
    for size in (1e-3, 1.0, 1e3):
        node = wp.ParameterNode([0.0], np.float64)
        numpy_step((node * size).sum(), wp.Adam(0.1, epsilon=1e-12))
        np.testing.assert_allclose(node.value, -0.1, rtol=1e-8)


def test_amsgrad_never_forgets_a_large_gradient():
    """After a spike, Adam's second moment decays and AMSGrad's stays."""
    node = wp.ParameterNode([0.0], np.float64)
    given = wp.InputNode([10.0], np.float64)
    optimizer = wp.Adam(0.1, amsgrad=True)
    for gradient in (10.0, 0.0, 0.0, 0.1):
        given.set_value(gradient)
        numpy_step((node * given).sum(), optimizer)
    slots = node.block.slots()
    np.testing.assert_allclose(slots["adam.largest"], 0.001 * 100)
    assert slots["adam.second"] < slots["adam.largest"]


def test_ftrl_gives_exact_zeros_and_adagrad_with_l1_does_not():
    """Features of pure noise go to zero and the one that matters stays."""
    zeros = []
    for make in (lambda: wp.FTRL(0.1, l1=10.0), lambda: wp.Adagrad(0.1, l1=0.05)):
        rng = np.random.default_rng(1)
        weights = wp.ParameterNode(np.zeros((9, 1)), np.float64)
        x = wp.InputNode(np.zeros((1, 9)), np.float64)
        y = wp.InputNode([[0.0]], np.float64)
        step = plain_step((x.dot(weights) - y).square().sum(), make())
        for _ in range(200):
            given = rng.normal(size=9)
            x.set_value(given[None])
            y.set_value(given[0])
            step()
        assert weights.value[0, 0] > 0.5
        zeros.append(np.count_nonzero(weights.value[1:] == 0.0))
    assert zeros[0] >= 6
    assert zeros[1] == 0


def test_centred_rmsprop_survives_a_variance_of_nothing():
    """A constant gradient has no variance; rounding may make it negative."""
    node = wp.ParameterNode(np.zeros(3), np.float32)
    loss = (node * np.float32(0.3)).sum()
    optimizer = wp.RMSProp(1e-6, centered=True, alpha=0.5)
    for _ in range(60):
        numpy_step(loss, optimizer)
    assert np.isfinite(node.value).all()


GIVEN = np.array(
    [
        [0.5, -1.0, 0.25],
        [1.5, 0.5, -0.75],
        [-0.25, 2, 0],
        [0.1, -0.3, 1],
        [0.7, 0.2, -0.4],
    ]
)
ADAM = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
TORCH = [  # figures of torch 2.13, float64, its weight_decay being l2
    (
        wp.SGD(0.1, momentum=0.9, nesterov=True, l2=0.05),
        [0.017429434882753354, -0.8415859770625178, 0.22281148533139936],
    ),
    (
        wp.Adagrad(0.1, learning_rate_decay=0.5, epsilon=1e-3, l2=0.05),
        [0.8266790252685096, -0.46865706260568507, 0.19067303400030944],
    ),
    (
        wp.RMSProp(0.02, alpha=0.9, epsilon=1e-3, momentum=0.6, centered=True),
        [0.6874837727520554, -0.5165956060001593, 0.16924675063911535],
    ),
    (
        wp.Adam(0.05, l2=0.05, **ADAM),
        [0.8150946153498351, -0.4941670801069443, 0.22352185132150906],
    ),
    (
        wp.Adam(0.05, amsgrad=True, **ADAM),
        [0.8218244008638246, -0.4973643041813123, 0.2266640172298517],
    ),
    (
        wp.AdamW(0.05, weight_decay=0.3, **ADAM),
        [0.754037398147348, -0.4641810425802671, 0.21035676980142204],
    ),
    (
        wp.Adadelta(1.0, rho=0.9, epsilon=1e-2),
        [0.16173445191131228, -0.7805904841664628, 0.19387682201798842],
    ),
]


@pytest.mark.parametrize(("optimizer", "expected"), TORCH, ids=str)
def test_five_steps_are_those_of_torch(optimizer, expected):
    node = wp.ParameterNode([1.0, -0.5, 0.25], np.float64)
    given = wp.InputNode(GIVEN[0], np.float64)
    loss = (node * given).sum()
    for gradient in GIVEN:
        given.set_value(gradient)
        numpy_step(loss, optimizer)
    np.testing.assert_allclose(node.value, expected, rtol=1e-13)
