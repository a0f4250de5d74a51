"""Schedules: their values, and loops in Python that follow them."""

import copy
import math
import pickle

import numpy as np
import pytest
from stepping import numpy_step, plain_step

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.optim.schedules import (
    Cosine,
    Exponential,
    InverseSqrt,
    Lambda,
    Linear,
    Multiplicative,
    MultiStep,
    Product,
    Step,
    Warmup,
)

VALUES = [
    (Step(1.0, every=2, gamma=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
    (MultiStep(1.0, [1, 2, 3, 4], gamma=2.0), [1, 2, 4, 8, 16, 16]),
    (MultiStep(1.0, [2, 5], gamma=0.1), [1, 1, 0.1, 0.1, 0.1, 0.01]),
    (Exponential(3.0, gamma=0.9), [3 * 0.9**k for k in range(6)]),
    (Multiplicative(2.0, lambda k: 1 / k), [2, 2, 1, 1 / 3, 1 / 12, 1 / 60]),
    (Lambda(2.0, lambda k: k + 1), [2, 4, 6, 8, 10, 12]),
    (InverseSqrt(1.0), [1 / math.sqrt(1 + k) for k in range(6)]),
    (InverseSqrt(1.0, scale=4), [(1 + k / 4) ** -0.5 for k in range(6)]),
    (Warmup(2.0, epochs=4, share=0.5), [1, 1.25, 1.5, 1.75, 2, 2]),
    (Cosine(2.0, epochs=4), [2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5, 0, 0]),
    (Cosine(3.0, epochs=2, end=1.0), [3, 2, 1, 1, 1, 1]),
    (Linear(2.0, epochs=4), [2, 1.5, 1, 0.5, 0, 0]),
    (Linear(3.0, epochs=2, end=1.0), [3, 2, 1, 1, 1, 1]),
    (Exponential(1.0, 0.5) * Step(1.0, 2, 3.0), [1, 0.5, 0.75, 0.375, 9 / 16, 9 / 32]),
    (0.5 * Exponential(1.0, 0.5) * 4, [2, 1, 0.5, 0.25, 0.125, 0.0625]),
]


@pytest.mark.parametrize(("schedule", "expected"), VALUES)
def test_rates_of_the_first_epochs(schedule, expected):
    rates = [schedule(epoch) for epoch in range(6)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("schedule", "_"), VALUES)
def test_whether_a_rate_changes_within_epochs_is_said(schedule, _):
    changes = any(schedule(k + 0.5) != schedule(k) for k in range(4))
    assert changes == schedule.within_epochs


def test_schedules_are_values():
    """Equal by what they say, copied, pickled, and shown as they are made."""
    made = Exponential(0.1, gamma=0.5) * Warmup(1.0, epochs=2)
    assert made == Product((Exponential(0.1, 0.5), Warmup(1.0, 2)))
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made
    assert eval(repr(made)) == made
    assert repr(Exponential(0.1, 0.5)) == "Exponential(start=0.1, gamma=0.5)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Step(0.0, 1), "Step: start must be a finite number above zero"),
        (lambda: Step(0.1, 0), "Step: every must be a whole number of at least 1"),
        (lambda: Step(0.1, 1.5), "Step: every must be a whole number"),
        (lambda: Step(0.1, 1, gamma=-1), "Step: gamma must be"),
        (lambda: MultiStep(0.1, [3, 1]), "MultiStep: milestones must rise"),
        (lambda: MultiStep(0.1, [1, 1]), "MultiStep: milestones must rise"),
        (lambda: MultiStep(0.1, [0.5]), "MultiStep: each milestone must be a whole"),
        (lambda: Exponential("0.1", 0.5), "Exponential: start must be"),
        (lambda: Exponential(0.1, math.nan), "Exponential: gamma must be"),
        (lambda: Cosine(0.1, 5, end=-1), "Cosine: end must not be below zero"),
        (lambda: Linear(0.1, 0), "Linear: epochs must be"),
        (lambda: Linear(0.1, 5, end=-1), "Linear: end must not be below zero"),
        (lambda: Warmup(0.1, 5, share=2), "Warmup: share must be at most 1"),
        (lambda: Exponential(0.1, 0.5) * -1, "start must be"),
        (lambda: Product(()), "Product: at least one schedule"),
        (lambda: Product((0.1,)), "Product: at least one schedule"),
    ],
)
def test_impossible_schedules_are_refused(make, message):
    with pytest.raises(errors.SettingError, match=message):
        make()


# -- optimizers ------------------------------------------------------------------------


def test_the_rate_and_the_epoch_can_be_read_and_set():
    optimizer = wp.Adagrad(Exponential(0.1, gamma=0.5))
    assert (optimizer.epoch, optimizer.rate) == (0, 0.1)
    optimizer.epoch += 1
    assert (optimizer.epoch, optimizer.rate) == (1, 0.05)
    optimizer.epoch = 3
    assert optimizer.settings()["learning_rate"] == optimizer.rate == 0.0125
    optimizer.learning_rate = 0.7
    assert optimizer.rate == 0.7


@pytest.mark.parametrize(
    "make_step", [lambda loss, o: lambda: numpy_step(loss, o), plain_step]
)
def test_steps_in_a_loop_follow_the_epoch(make_step):
    node = wp.ParameterNode([0.0], np.float64)
    optimizer = wp.SGD(Exponential(1.0, gamma=2.0))
    step = make_step(node.sum(), optimizer)
    for _ in range(4):
        step()
        optimizer.epoch += 1
    np.testing.assert_array_equal(node.value, [-(1 + 2 + 4 + 8)])


def test_a_compiled_step_is_not_printed_again_for_another_rate():
    node = wp.ParameterNode([0.0], np.float64)
    optimizer = wp.SGD(Exponential(1.0, gamma=2.0))
    step = plain_step(node.sum(), optimizer)
    kernel = step._kernel
    optimizer.epoch += 1
    step()
    assert step._kernel is kernel
