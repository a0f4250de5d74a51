"""`fit` with several workers: what is written is seen, whatever ends the run."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from small_models import Factors, Linear
from test_lifetime import all_gone, gone
from waiting import PATIENCE, goes_what_came, segments, together

import wyrm_py as wp
from wyrm_py.errors import DivergenceError

COUNT = 20_000  # about 20 blocks
BACKENDS = ("processes", "threads")
ENGINES = ("native", "numpy")
HERE = Path(__file__).parent


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def alone():
    """The one-worker result: loss of the last epoch and parameters."""
    model = Linear(COUNT)
    return model.fit(epochs=4).losses[-1], model.values()


def test_two_workers_come_to_the_loss_of_one(backend, alone):
    model = Linear(COUNT)
    history = model.fit(epochs=4, n_jobs=2, backend=backend, callbacks=[together])
    assert history.workers == 2
    assert history.losses[0] > history.losses[-1]
    assert history.losses[-1] == pytest.approx(alone[0], rel=0.02)
    np.testing.assert_allclose(model.values(), alone[1], atol=0.1)


def test_numpy_engine_runs_on_workers_too(backend):
    model = Linear(2500)
    given = dict(n_jobs=2, backend=backend, callbacks=[together])
    history = model.fit(epochs=2, engine="numpy", **given)
    assert history.workers == 2
    assert history.losses[1] < history.losses[0] / 10
    mean = model.by_hand(np.arange(2500), model.values())[0]
    assert mean == pytest.approx(history.losses[1], rel=0.2)


def test_every_update_of_every_worker_arrives(backend):
    """Rows that no two examples share: Hogwild must lose nothing."""
    count = 9000
    table, index = wp.ParameterNode(np.zeros((count, 1))), wp.IndexInputNode([0])
    loss = table.index(index).sum(axis=1)
    given = dict(n_jobs=2, backend=backend, progress=False, callbacks=[together])
    wp.fit(loss, wp.SGD(1.0), {index: np.arange(count)}, 3, **given)
    np.testing.assert_array_equal(table.value, -3)
    assert not isinstance(table.block, wp.HogwildParameter)


def test_batches_on_workers_take_every_example_once(backend):
    count = 9000
    table, index = wp.ParameterNode(np.zeros((count, 1))), wp.IndexInputNode([0])
    loss = table.index(index).sum(axis=1)
    given = dict(n_jobs=2, backend=backend, batch_size=7, progress=False)
    given["callbacks"] = [together]
    wp.fit(loss, wp.SGD(1.0), {index: np.arange(count)}, 2, **given)
    np.testing.assert_array_equal(table.value, -2)


def test_optimizer_state_comes_back_and_goes_on(backend, engine):
    """Adagrad's sums over rows that are seen once an epoch are exact."""
    count = 3000
    table, index = wp.ParameterNode(np.zeros((count, 1))), wp.IndexInputNode([0])
    loss = table.index(index).sum(axis=1) * 3.0
    for _ in range(2):
        wp.fit(
            loss,
            wp.Adagrad(0.1),
            {index: np.arange(count)},
            n_jobs=2,
            backend=backend,
            engine=engine,
            progress=False,
        )
    np.testing.assert_array_equal(table.block.slot("adagrad.sum"), 18)
    steps = 0.1 * (3 / np.sqrt(9) + 3 / np.sqrt(18))
    np.testing.assert_allclose(table.value, -steps, rtol=1e-6)


def test_shared_parameter_is_trained_where_it_is(backend):
    shared = wp.HogwildParameter(np.zeros((3000, 1)))
    view = shared.value
    table, index = wp.ParameterNode.shared(shared), wp.IndexInputNode([0])
    loss = table.index(index).sum(axis=1)
    given = dict(n_jobs=2, backend=backend, progress=False, callbacks=[together])
    wp.fit(loss, wp.SGD(1.0), {index: np.arange(3000)}, 2, **given)
    np.testing.assert_array_equal(view, -2)


def test_changed_learning_rate_reaches_all_workers(backend, engine):
    count = 3000
    table, index = wp.ParameterNode(np.zeros((count, 1))), wp.IndexInputNode([0])
    loss = table.index(index).sum(axis=1)
    optimizer = wp.SGD(1.0)

    def slower(history):
        optimizer.learning_rate = 0.25

    wp.fit(
        loss,
        optimizer,
        {index: np.arange(count)},
        2,
        n_jobs=2,
        backend=backend,
        engine=engine,
        callbacks=[slower],
        progress=False,
    )
    np.testing.assert_array_equal(table.value, -1.25)


def test_private_parameters_come_back_after_an_error_of_a_callback(backend):
    model = Linear(COUNT)

    def fail(history):
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        model.fit(epochs=50, n_jobs=2, backend=backend, callbacks=[fail])
    loss, _ = model.by_hand(np.arange(COUNT), model.values())
    assert loss < 0.1 < model.by_hand(np.arange(COUNT), model.first())[0]


def test_divergence_on_workers_names_the_parameter(backend):
    model = Linear(COUNT)
    with pytest.raises(DivergenceError, match="parameter weights"):
        model.fit(wp.SGD(1e10), epochs=50, n_jobs=2, backend=backend)
    assert not np.isfinite(model.values()).any()


def test_samplers_on_workers_learn():
    one, two = Factors(), Factors()
    for model in (one, two):
        taste = np.arange(6000) % 30
        model.inputs = {model.user: taste, model.item: taste % 7}
    alone = one.fit(epochs=3).losses[-1]
    assert two.fit(epochs=3, n_jobs=2).losses[-1] == pytest.approx(alone, rel=0.1)


def workers_of(parent):
    """Return the worker processes of a parent."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in map(int, task.read_text().split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"popen_loky" in words:
                found.append(pid)
    return found


def test_killed_workers_are_replaced_and_the_result_is_whole(alone, caplog):
    model, killed = Linear(COUNT), []
    began = threading.Event()

    def kill():
        began.wait()
        for pid in workers_of(os.getpid()):  # all, for some may wait for other runs
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    ends = []

    def callback(history):
        began.set()
        if not thread.is_alive():
            ends.append(len(history.losses))
        return len(ends) == 20

    history = model.fit(wp.SGD(0.001), epochs=10**6, n_jobs=2, callbacks=[callback])
    assert killed and gone(killed)
    assert len(ends) == 20
    assert np.isfinite(history.losses).all()
    assert history.losses[-1] == pytest.approx(0.01, rel=0.1)  # the noise is 0.1
    assert "a worker died" in caplog.text


PROGRAM = """
import sys, time
import numpy as np
from small_models import Linear
import wyrm_py as wp

backend, engine, jobs = sys.argv[1:]
model = Linear(3000)
before = model.by_hand(np.arange(3000), model.first())[0]

def tell(history):
    if len(history.losses) == 1:
        print("go", flush=True)

try:
    model.fit(wp.SGD(1e-4), epochs=10**6, n_jobs=int(jobs), backend=backend,
              engine=engine, callbacks=[tell])
except KeyboardInterrupt:
    after = model.by_hand(np.arange(3000), model.values())[0]
    assert np.isfinite(after) and after < before, (before, after)
    held = model.values()
    time.sleep(0.05)
    assert (held == model.values()).all()
    assert model.fit(wp.SGD(1e-4), n_jobs=2, backend=backend).losses[0] < before
    sys.exit(42)
"""


@pytest.mark.parametrize(
    ("backend", "engine", "jobs"),
    [
        ("processes", "native", 2),
        ("threads", "native", 2),
        ("processes", "numpy", 2),
        ("processes", "native", 1),
    ],
)
def test_ctrl_c_leaves_partly_trained_parameters_and_nobody(backend, engine, jobs):
    before = segments()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, backend, engine, str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        start_new_session=True,
    )
    assert process.stdout.readline() == "go\n"
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=2 * PATIENCE)
    assert (out, errors, process.returncode) == ("", "", 42)
    assert all_gone(process.pid)
    assert goes_what_came(before)
