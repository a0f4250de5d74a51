"""`exact_rows` in `fit`: catching up while blocks, epochs and workers go on."""

import numpy as np
import pytest
from optim.test_exact_rows import SETTINGS, Model, close, dense, looked_up

import wyrm_py as wp
from wyrm_py.optim.schedules import Exponential
from wyrm_py.parallel import run as run_module

COUNT = 96


def fitted(more, rate=0.1, callbacks=(), **settings):
    model, optimizer = Model(), wp.SGD(rate, exact_rows=True, **more)
    rows = looked_up(COUNT)
    inputs = {model.row: rows[:, 0], model.other: rows[:, 1]}
    given = {"shuffle": False, "progress": False, "epochs": 2, **settings}
    wp.fit(
        model.loss,
        optimizer,
        inputs,
        callbacks=[lambda _, f=f: f(model, optimizer) for f in callbacks],
        **given,
    )
    return model


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
@pytest.mark.parametrize("name", ["l2", "all"])
def test_one_worker_is_exactly_dense(name, mode, engine, in_python, small_blocks):
    model = fitted(SETTINGS[name], mode=mode, engine=engine)
    close(model, dense(SETTINGS[name], [*looked_up(COUNT)] * 2))
    assert model.table.block.slots()["sgd.step"] == 2 * COUNT


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
def test_batches_are_dense_steps(mode, engine, in_python, small_blocks):
    """The reference makes the table's gradient dense by another term."""
    more, results = SETTINGS["all"], []
    for exact in (True, False):
        model, optimizer = Model(), wp.SGD(0.01, exact_rows=exact, **more)
        loss = model.loss if exact else model.loss + (model.table * 0.0).sum()
        inputs = dict(zip([model.row, model.other], looked_up(COUNT).T, strict=True))
        given = {"mode": mode, "engine": engine, "batch_size": 5, "progress": False}
        wp.fit(loss, optimizer, inputs, shuffle=False, **given)
        results.append(model.values())
    np.testing.assert_allclose(*results, rtol=1e-10, atol=1e-10)


def test_rows_asked_for_ahead_are_caught_up_when_their_turn_comes(
    monkeypatch, in_python, small_blocks
):
    """A step then knows the rows of later examples, and reads its own from a ring."""
    monkeypatch.setattr(run_module, "CACHE_BYTES", 0)
    more = SETTINGS["all"]
    close(fitted(more), dense(more, [*looked_up(COUNT)] * 2))


def test_the_compiled_loop_is_exactly_dense(small_blocks):
    more = SETTINGS["momentum, l2"]
    close(fitted(more), dense(more, [*looked_up(COUNT)] * 2))


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_schedules_count_missed_steps_with_the_rate_of_their_epoch(
    engine, in_python, small_blocks
):
    more = SETTINGS["momentum, l2"]
    model = fitted(more, rate=Exponential(0.1, gamma=0.5), epochs=3, engine=engine)
    rows = [*looked_up(COUNT)] * 3
    close(model, dense(more, rows, lambda step: 0.1 * 0.5 ** (step // COUNT)))


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_callbacks_see_rows_that_are_up_to_date(engine, in_python):
    more, seen = SETTINGS["momentum, l2"], []

    def look(model, optimizer):
        seen.append(model.values().copy())
        optimizer.learning_rate = 0.02

    model = fitted(more, callbacks=[look], engine=engine)
    expected = dense(more, looked_up(COUNT))
    np.testing.assert_allclose(seen[0], expected, rtol=1e-10, atol=1e-10)
    rows = [*looked_up(COUNT)] * 2
    close(model, dense(more, rows, lambda step: 0.1 if step < COUNT else 0.02))


def test_synchronous_workers_are_dense_steps_in_turn(in_python, small_blocks):
    """Gradients of a round are taken at the same values, then applied in order."""
    results = [
        fitted(SETTINGS["nesterov"], mode="synchronous", engine=engine, n_jobs=2)
        for engine in ("native", "numpy")
    ]
    close(results[0], results[1].values())
    again = fitted(SETTINGS["nesterov"], mode="synchronous", n_jobs=2)
    np.testing.assert_array_equal(again.values(), results[0].values())


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_workers_together_miss_no_step(backend, small_blocks):
    """Without gradients every row must decay by the number of all updates. Workers
    wait between epochs, so that no two of them have one row in hand."""
    table = wp.ParameterNode(np.ones((320, 4)), np.float64)
    row = wp.IndexInputNode([0])
    loss = (table.index(row) * 0.0).sum()
    given = {"n_jobs": 2, "backend": backend, "epochs": 3, "progress": False}
    wp.fit(loss, wp.SGD(0.1, l2=0.01, exact_rows=True), {row: np.arange(320)}, **given)
    slots = table.block.slots()
    assert slots["sgd.step"] == 3 * 320
    assert (slots["sgd.row_step"] == 3 * 320).all()
    np.testing.assert_allclose(table.value, (1 - 0.1 * 0.01) ** (3 * 320), rtol=1e-9)


def test_adam_counts_the_updates_of_all_workers(small_blocks):
    """The count is advanced as one, so none is lost: bias corrections are exact."""
    table = wp.ParameterNode(np.ones((320, 4)))
    row = wp.IndexInputNode([0])
    inputs, given = {row: np.arange(320)}, {"epochs": 3, "progress": False}
    loss = table.index(row).square().sum()
    wp.fit(loss, wp.Adam(0.01), inputs, n_jobs=2, **given)
    assert table.block.slots()["adam.step"] == 3 * 320
