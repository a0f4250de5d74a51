"""Settings that are refused, penalties, and rules of one's own."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import pytest
from stepping import numpy_step, plain_step

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.optim.bounds import BELOW_ONE

KINDS = [wp.SGD, wp.Adagrad, wp.RMSProp, wp.Adam, wp.AdamW, wp.Adadelta, wp.FTRL]
every_kind = pytest.mark.parametrize("kind", KINDS)


def walked(loss, optimizer):
    return lambda: numpy_step(loss, optimizer)


every_engine = pytest.mark.parametrize("make_step", [walked, plain_step])

IMPOSSIBLE = [
    (wp.SGD, "momentum", 1.0, "from 0 up to, not including, 1"),
    (wp.SGD, "momentum", -0.1, "from 0 up to"),
    (wp.SGD, "dampening", 1.1, "from 0 to 1"),
    (wp.SGD, "nesterov", 1, "True or False"),
    (wp.SGD, "exact_rows", None, "True or False"),
    (wp.Adagrad, "learning_rate_decay", -1, "not below zero"),
    (wp.RMSProp, "alpha", 1.0, "from 0 up to, not including, 1"),
    (wp.RMSProp, "alpha", -0.5, "from 0 up to"),
    (wp.RMSProp, "epsilon", 0.0, "above zero"),
    (wp.RMSProp, "centered", "yes", "True or False"),
    (wp.Adam, "beta1", 1.0, "from 0 up to"),
    (wp.Adam, "beta2", np.nan, "from 0 up to"),
    (wp.Adam, "amsgrad", 0, "True or False"),
    (wp.AdamW, "weight_decay", -0.1, "not below zero"),
    (wp.Adadelta, "rho", 1.5, "from 0 up to"),
    (wp.FTRL, "beta", -1.0, "not below zero"),
    (wp.FTRL, "learning_rate", wp.schedules.Exponential(0.1, 0.5), "above zero"),
    (wp.SGD, "l1", -0.1, "not below zero"),
    (wp.SGD, "epoch", -1, "not below zero"),
]


@pytest.mark.parametrize(("kind", "name", "wrong", "bound"), IMPOSSIBLE)
def test_impossible_settings_are_refused_at_once_and_later(kind, name, wrong, bound):
    message = f"{kind.__name__}: {name} must be .*{bound}"
    with pytest.raises(errors.SettingError, match=message):
        kind(**{name: wrong})
    optimizer = kind()
    held = getattr(optimizer, name)
    with pytest.raises(errors.SettingError, match=message):
        setattr(optimizer, name, wrong)
    assert getattr(optimizer, name) == held


@pytest.mark.parametrize("wrong", [{"nesterov": True}, {"dampening": 0.5}])
def test_nesterov_and_dampening_need_momentum(wrong):
    with pytest.raises(errors.SettingError, match="need momentum above zero"):
        wp.SGD(**wrong)
    optimizer = wp.SGD(momentum=0.9, **wrong)
    with pytest.raises(errors.SettingError, match="need momentum above zero"):
        optimizer.momentum = 0.0
    assert optimizer.momentum == 0.9


@every_kind
def test_every_setting_can_be_read_and_set(kind):
    optimizer = kind()
    for name in kind.bounds:
        value = getattr(optimizer, name)
        setattr(optimizer, name, value)
        assert getattr(optimizer, name) == value
    assert set(optimizer.settings()) <= set(kind.bounds)


@every_kind
def test_what_an_optimizer_shows_makes_it_again(kind):
    names = {other.__name__: other for other in KINDS}
    for optimizer in (kind(), kind(0.25, clip=2.0, penalty="value * 2")):
        again = eval(repr(optimizer), names)
        assert {n: getattr(again, n) for n in kind.bounds} == {
            n: getattr(optimizer, n) for n in kind.bounds
        }


def test_momentum_can_be_switched_on_and_off_in_a_compiled_step():
    node = wp.ParameterNode([0.0], np.float64)
    optimizer = wp.SGD(1.0)
    step = plain_step(node.sum(), optimizer)
    step()
    optimizer.momentum = 0.5
    step()
    step()
    optimizer.momentum = 0.0
    step()
    np.testing.assert_allclose(node.value, -(1 + 1 + 1.5 + 1))


# -- penalties ---------------------------------------------------------------------


@every_engine
def test_l1_does_not_move_what_is_zero(make_step):
    """The sign of zero is zero: neuronika, with Rust's sign of one, moves it."""
    node = wp.ParameterNode([-2.0, 0.0, 3.0], np.float64)
    make_step((node * 0.0).sum(), wp.SGD(1.0, l1=0.5))()
    np.testing.assert_array_equal(node.value, [-1.5, 0.0, 2.5])


@every_engine
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_penalty_of_ones_own_is_an_expression(make_step, dtype):
    start = np.array([-2.0, 0.5, 3.0])
    node = wp.ParameterNode(start, dtype)
    optimizer = wp.SGD(0.5, l2=0.1, penalty="0.2 * value / (1 + value ** 2) ** 2")
    make_step((node * 0.0).sum(), optimizer)()
    gradient = 0.1 * start + 0.2 * start / (1 + start**2) ** 2
    np.testing.assert_allclose(node.value, start - 0.5 * gradient, rtol=1e-6)
    assert node.value.dtype == dtype


@pytest.mark.parametrize(
    "wrong",
    [
        "value +",
        "gradient * 2",
        "__import__('os')",
        "value.sum()",
        "[value]",
        "'text'",
        "value if value else 1",
        "value\nvalue",
        "np.exp(value)",
        "lambda: value",
        "print(value)",
        "value; learning_rate = value",
        "value); learning_rate = (value",
        "value\rlearning_rate = value",
        "value #",
        "0 < value < 1",
        "not value",
        "value @ value",
        "value in value",
        "exp(value, value)",
        "maximum(value)",
        "1e999 * value",
        "9" * 400,
        "-" * 50000 + "value",
        3.0,
    ],
)
def test_what_is_no_expression_of_the_value_is_refused(wrong):
    with pytest.raises(errors.SettingError, match="SGD: penalty"):
        wp.SGD(penalty=wrong)


@pytest.mark.parametrize("looked_up", [True, False])
def test_penalties_leave_gradients_as_they_are(looked_up):
    """So two optimizers over one gradient, or two steps, never penalise twice."""
    node = wp.ParameterNode(np.ones((3, 2)), np.float64)
    loss = (node.index(wp.IndexInputNode([0, 2])) if looked_up else node).sum()
    loss.backward()
    held = node._gradient
    before = np.array(held.values if looked_up else held)
    wp.SGD(0.1, l1=1.0, l2=1.0, penalty="value", clip=0.5, clip_norm=0.1).apply(
        [(node.block, held)]
    )
    after = held.values if looked_up else held
    assert not np.array_equal(node.value, np.ones((3, 2)))
    np.testing.assert_array_equal(after, before)


def test_the_elastic_net_shrinks_only_rows_that_were_looked_up():
    node = wp.ParameterNode(np.full((3, 2), 2.0), np.float64)
    loss = (node.index(wp.IndexInputNode([1])) * 0.0).sum()
    numpy_step(loss, wp.SGD(0.5, l1=0.2, l2=0.1))
    expected = np.full((3, 2), 2.0)
    expected[1] -= 0.5 * (0.2 + 0.1 * 2.0)
    np.testing.assert_allclose(node.value, expected)


# -- a rule of one's own ---------------------------------------------------------------


class SignDescent(wp.Optimizer):
    rule = "value = value - learning_rate * sign(gradient)"


@dataclass(eq=False, repr=False)
class Lion(wp.Optimizer):
    """Chen et al., "Symbolic discovery of optimization algorithms" (2023)."""

    bounds: ClassVar = {**wp.Optimizer.bounds, "beta1": BELOW_ONE, "beta2": BELOW_ONE}

    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.99

    slots = ("momentum",)
    once = "share1 = 1 - beta1\nshare2 = 1 - beta2"
    rule = """\
value = value - learning_rate * sign(beta1 * momentum + share1 * gradient)
momentum = beta2 * momentum + share2 * gradient"""


@every_engine
def test_a_rule_of_ones_own_is_one_line(make_step):
    node = wp.ParameterNode([1.0, -1.0, 0.0], np.float64)
    step = make_step(node.square().sum(), SignDescent(0.25))
    step()
    step()
    np.testing.assert_array_equal(node.value, [0.5, -0.5, 0.0])


def test_a_rule_with_settings_and_state_trains_natively_and_in_numpy():
    results = []
    for make_step in (walked, plain_step, wp.compile):
        table = wp.ParameterNode(np.linspace(-1, 1, 12).reshape(4, 3))
        rows = wp.IndexInputNode([0, 2, 0])
        loss = (table.index(rows) - 0.3).square().sum()
        step = make_step(loss, Lion(0.01, beta1=0.8))
        for k in range(5):
            rows.set_value([k % 4, 2, 1])
            step()
        results.append([table.value, table.block.slot("lion.momentum")])
    w, m = np.linspace(-1, 1, 12).reshape(4, 3), np.zeros((4, 3))
    for k in range(5):
        g = np.zeros((4, 3))
        for row in (k % 4, 2, 1):
            g[row] += 2 * (w[row] - 0.3)
        touched = sorted({k % 4, 2, 1})
        w[touched] -= 0.01 * np.sign(0.8 * m + 0.2 * g)[touched]
        m[touched] = (0.99 * m + 0.01 * g)[touched]
    for value, momentum in results:
        np.testing.assert_allclose(value, w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(momentum, m, rtol=1e-4, atol=1e-6)


def test_a_rules_names_never_meet_those_of_the_step():
    """Slots and temporaries called as the emitted text calls its own things."""

    class Awkward(wp.Optimizer):
        slots = ("total", "k")
        rule = """\
t1 = gradient + 0
e = t1 * 1
total = total + e
k = k + 1
j_0 = learning_rate * gradient
value = value - j_0"""

    for make_step in (walked, plain_step):
        node = wp.ParameterNode(np.ones((2, 2)), np.float64)
        loss = (node * 3.0).square().sum()
        step = make_step(loss, Awkward(0.01))
        assert step() == 36.0
        step()
        np.testing.assert_allclose(node.block.slots()["awkward.k"], 2.0)
        np.testing.assert_allclose(node.value, (1 - 0.01 * 18) ** 2)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("value -= gradient", "each line must be `name = expression`"),
        ("for x in y: pass", "each line must be"),
        ("value = gradient.T", "an elementwise expression"),
        ("value = (", "not Python"),
        ("value = value - momentum", "momentum is used and not known"),
    ],
)
def test_a_rule_that_is_no_elementwise_text_is_refused(rule, message):
    wrong = type("Wrong", (wp.Optimizer,), {"rule": rule})
    node = wp.ParameterNode([1.0])
    for make_step in (walked, plain_step):
        with pytest.raises(errors.SettingError, match=f"Wrong: .*{message}"):
            make_step(node.sum(), wrong())()


@pytest.mark.parametrize("slot", ["value", "gradient", "learning_rate", "a b"])
def test_a_slot_with_the_name_of_something_else_is_refused(slot):
    """It would hide the other: nothing would be learned, and nobody told."""
    rule = "value = value - learning_rate * gradient"
    wrong = type("Wrong", (wp.Optimizer,), {"rule": rule, "slots": (slot,)})
    with pytest.raises(errors.SettingError, match=f"Wrong: slots must .* got {slot}"):
        wp.compile(wp.ParameterNode([1.0]).sum(), wrong())


def test_an_optimizer_without_a_rule_is_refused():
    with pytest.raises(errors.SettingError, match="`optimizer` must be an optimizer"):
        wp.compile(wp.ParameterNode([1.0]).sum(), wp.SGD)
