"""Synchronous mode against a loop of rounds written in NumPy."""

import numpy as np
import pytest
from small_models import Factors, Linear

import wyrm_py as wp
from wyrm_py.parallel import synchronous

ENGINES = ("native", "numpy")
COUNT = 85  # blocks of 16 (or 48): one worker has a shorter last block

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def by_rounds(model, jobs, batch, size, epochs, rate, l2):
    """Adagrad by rounds: all gradients at one place, applied in worker order."""
    weights, means = model.first(), []
    total = np.zeros_like(weights)
    for _ in range(epochs):
        steps = []
        for worker in range(jobs):
            mine = []
            for block in range(worker, -(-COUNT // size), jobs):
                end = min((block + 1) * size, COUNT)
                begins = range(block * size, end, batch)
                mine += [np.arange(b, min(b + batch, end)) for b in begins]
            steps.append(mine)
        losses = 0.0
        for turn in range(max(map(len, steps))):
            busy = [mine[turn] for mine in steps if turn < len(mine)]
            found = [(len(rows), *model.by_hand(rows, weights)) for rows in busy]
            for count, loss, gradient in found:
                losses += count * loss
                g = gradient + l2 * weights
                total += g**2
                weights -= rate * g / (1e-10 + np.sqrt(total))
        means.append(losses / COUNT)
    return weights, total, means


@pytest.mark.parametrize("jobs", [1, 2, 3])
@pytest.mark.parametrize(("batch", "size"), [(None, 16), (6, 48)])
def test_rounds_are_the_loop_by_hand(engine, jobs, batch, size):
    model = Linear(COUNT)
    history = model.fit(
        wp.Adagrad(0.1, l2=0.01),
        epochs=2,
        n_jobs=jobs,
        mode="synchronous",
        batch_size=batch,
        shuffle=False,
        engine=engine,
    )
    weights, total, means = by_rounds(model, jobs, batch or 1, size, 2, 0.1, 0.01)
    np.testing.assert_allclose(model.values(), weights, rtol=1e-10)
    np.testing.assert_allclose(history.losses, means, rtol=1e-10)
    state = [node.block.slot("adagrad.sum").ravel() for node in (model.w, model.b)]
    np.testing.assert_allclose(np.concatenate(state), total, rtol=1e-10)


def factors(jobs, engine="native", batch=None, seed=1):
    model = Factors()
    history = model.fit(
        epochs=2,
        n_jobs=jobs,
        mode="synchronous",
        engine=engine,
        batch_size=batch,
        random_state=seed,
    )
    return model.values(), history.losses


@pytest.mark.parametrize(("jobs", "batch"), [(1, None), (2, None), (3, None), (3, 7)])
def test_rows_and_samplers_repeat_bit_for_bit(engine, jobs, batch, request):
    if batch:  # one of them is enough to compile
        request.getfixturevalue("in_python")
    (first, losses), (again, same) = (factors(jobs, engine, batch) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert losses == same
    if jobs == 3:
        assert not np.array_equal(first, factors(jobs, engine, batch, seed=2)[0])


@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize("jobs", [1, 3])
def test_engines_agree(jobs, batch, in_python):
    (native, losses), (walked, same) = (factors(jobs, e, batch) for e in ENGINES)
    np.testing.assert_allclose(native, walked, atol=2e-6)
    np.testing.assert_allclose(losses, same, rtol=1e-6)


def test_numbers_of_workers_differ_and_all_learn():
    results = [factors(jobs) for jobs in (1, 2, 3)]
    assert not np.array_equal(results[0][0], results[1][0])
    assert not np.array_equal(results[1][0], results[2][0])
    for _, losses in results:
        assert losses[1] < losses[0]


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_neither_backend_nor_threads_change_a_bit(backend, monkeypatch):
    plain, losses = factors(3)
    monkeypatch.setattr(synchronous, "WORTH_A_THREAD", 0)
    model = Factors()
    history = model.fit(
        epochs=2, n_jobs=3, mode="synchronous", backend=backend, random_state=1
    )
    np.testing.assert_array_equal(model.values(), plain)
    assert history.losses == losses and history.workers == 3


@pytest.mark.parametrize("clip", [{"clip": 0.05}, {"clip_norm": 0.05}, {"l2": 0.1}])
def test_settings_apply_to_collected_gradients(clip, in_python):
    native, walked = Factors(), Factors()
    given = dict(epochs=1, n_jobs=2, mode="synchronous")
    native.fit(wp.SGD(0.5, **clip), **given)
    walked.fit(wp.SGD(0.5, **clip), engine="numpy", **given)
    np.testing.assert_allclose(native.values(), walked.values(), atol=2e-6)


def test_callbacks_stop_and_change_settings(in_python):
    model, optimizer = Linear(COUNT), wp.SGD(0.01)

    def callback(history):
        optimizer.learning_rate = 1e-30
        return len(history.losses) == 3

    history = model.fit(
        optimizer, epochs=9, n_jobs=2, mode="synchronous", callbacks=[callback]
    )
    assert len(history.losses) == 3
    assert history.losses[1] == pytest.approx(history.losses[2], rel=1e-12)
    assert history.losses[1] < history.losses[0]


def test_dense_and_row_parameters_in_one_round(in_python):
    """A table read by rows and a dense one, collected side by side."""
    rng = np.random.default_rng(3)
    starts = rng.normal(size=(6, 2)), rng.normal(size=(1, 2))
    rows = rng.integers(0, 6, 40)
    results = []
    for engine in ENGINES:
        table = wp.ParameterNode(starts[0], np.float64)
        scale = wp.ParameterNode(starts[1], np.float64)
        index = wp.IndexInputNode([0])
        loss = (table.index(index) * scale - 1.0).square().sum(axis=1)
        given = dict(n_jobs=2, mode="synchronous", batch_size=3, engine=engine)
        wp.fit(
            loss,
            wp.Adagrad(0.1),
            {index: rows},
            random_state=0,
            progress=False,
            **given,
        )
        results.append(np.concatenate([table.value.ravel(), scale.value.ravel()]))
    np.testing.assert_allclose(*results, rtol=1e-9)
