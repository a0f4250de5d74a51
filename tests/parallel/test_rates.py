"""Learning rates of a run: every block of every worker has that of its epoch."""

from dataclasses import dataclass

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.optim.schedules import Exponential, Lambda, Schedule

COUNT = 64


class Rows:
    """Each example has a row of its own and a gradient of one: what is taken off a
    row is the sum of the rates it met, whatever other workers do."""

    def __init__(self, count=COUNT):
        self.table = wp.ParameterNode(np.zeros((count, 2)), np.float64, name="table")
        self.row = wp.IndexInputNode([0], name="row")
        self.loss = self.table.index(self.row).sum()
        self.inputs = {self.row: np.arange(count)}

    def fit(self, optimizer, **settings):
        settings = {"progress": False, "random_state": 0, **settings}
        return wp.fit(self.loss, optimizer, self.inputs, **settings)

    def met(self):
        assert (self.table.value[:, 0] == self.table.value[:, 1]).all()
        return -self.table.value[:, 0]


RATES = Exponential(1.0, gamma=2.0)  # four epochs: 15 in no other way


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
def test_each_epoch_has_its_rate(mode, engine, in_python, small_blocks):
    model = Rows()
    optimizer = wp.SGD(RATES)
    model.fit(optimizer, epochs=4, mode=mode, engine=engine)
    np.testing.assert_array_equal(model.met(), np.full(COUNT, 15.0))
    assert optimizer.epoch == 4


@pytest.mark.parametrize("backend", ["threads", "processes"])
@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_workers_that_do_not_wait_have_the_right_rates(
    backend, engine, small_blocks, in_turn
):
    """Epochs end at different times in two workers: each block brings its epoch."""
    model = Rows(160)
    given = {"n_jobs": 2, "backend": backend, "engine": engine, "shuffle": False}
    model.fit(wp.SGD(RATES), epochs=4, **given)
    np.testing.assert_array_equal(model.met(), np.full(160, 15.0))


def test_any_function_of_the_epoch_reaches_worker_processes(small_blocks, in_turn):
    """Also one that cannot be pickled: the rates are looked up here."""
    model = Rows(160)
    rates = wp.SGD(Lambda(1.0, lambda epoch: 2.0**epoch))
    model.fit(rates, epochs=4, n_jobs=2, shuffle=False)
    np.testing.assert_array_equal(model.met(), np.full(160, 15.0))


@dataclass(frozen=True)
class Ramp(Schedule):
    within_epochs = True

    def rate(self, epoch):
        return 1.0 + epoch


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
def test_a_rate_that_changes_within_epochs_is_that_of_the_block(
    mode, engine, in_python, small_blocks
):
    model = Rows()
    model.fit(wp.SGD(Ramp()), epochs=2, shuffle=False, mode=mode, engine=engine)
    block = np.arange(COUNT) // 16
    np.testing.assert_array_equal(model.met(), (1 + block / 4) + (2 + block / 4))


def test_a_second_fit_goes_on_where_the_first_ended(in_python):
    model, optimizer = Rows(), wp.SGD(RATES)
    model.fit(optimizer, epochs=1)
    model.fit(optimizer, epochs=3)
    np.testing.assert_array_equal(model.met(), np.full(COUNT, 15.0))
    again = Rows()
    optimizer.epoch = 0
    again.fit(optimizer, epochs=4)
    np.testing.assert_array_equal(again.met(), model.met())


def test_a_resumed_run_with_a_new_optimizer_goes_on(in_python):
    model = Rows()
    history = model.fit(wp.SGD(RATES), epochs=2)
    model.fit(wp.SGD(RATES), epochs=2, random_state=None, resume=history)
    np.testing.assert_array_equal(model.met(), np.full(COUNT, 15.0))


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
def test_callbacks_see_the_epoch_and_may_change_schedule_and_epoch(
    mode, engine, in_python
):
    seen = []

    def change(history):
        seen.append((optimizer.epoch, optimizer.rate))
        if len(seen) == 1:
            optimizer.learning_rate = Exponential(100.0, gamma=10.0)
        if len(seen) == 2:
            optimizer.epoch = 0
        if len(seen) == 3:
            optimizer.learning_rate = 0.5

    model, optimizer = Rows(), wp.SGD(RATES)
    model.fit(optimizer, epochs=4, callbacks=[change], mode=mode, engine=engine)
    np.testing.assert_array_equal(model.met(), np.full(COUNT, 1 + 1000 + 100 + 0.5))
    assert seen == [(1, 2.0), (2, 10000.0), (1, 1000.0), (2, 0.5)]


def test_a_schedule_in_place_of_a_number_is_refused_while_a_fit_runs(in_python):
    model, optimizer = Rows(), wp.SGD(0.5)

    def change(history):
        optimizer.learning_rate = RATES

    with pytest.raises(errors.SettingError, match="cannot become a schedule"):
        model.fit(optimizer, epochs=2, callbacks=[change])


def test_an_impossible_rate_is_refused_before_anything_changes(in_python):
    model = Rows()
    wrong = wp.SGD(Lambda(1.0, lambda epoch: 1.0 - epoch))
    with pytest.raises(errors.SettingError, match="got -1.0 at epoch 2"):
        model.fit(wrong, epochs=4)
    assert not model.table.value.any()


def test_a_rate_may_fall_to_nothing(in_python):
    model = Rows()
    for engine in ("native", "numpy"):
        model.fit(wp.SGD(Lambda(1.0, lambda k: 1.0 - k)), epochs=2, engine=engine)
    np.testing.assert_array_equal(model.met(), np.full(COUNT, 2.0))
