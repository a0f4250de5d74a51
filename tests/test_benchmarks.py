"""The benchmark: what it compares with is right, and so are its verdicts."""

import importlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def part(monkeypatch):
    """Return a function that imports a module of the benchmark."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def logistic(x):
    return 1 / (1 + np.exp(-x))


def cross_entropy(parameters, symbols, target):
    """The small LSTM network in float64: gates input, forget, output, candidate."""
    E, W, U, b, V, d = parameters
    h, c = np.zeros(len(U)), np.zeros(len(U))
    for symbol in symbols:
        gates = np.split(E[symbol] @ W + h @ U + b, 4)
        entry, keep, exit_ = map(logistic, gates[:3])
        c = keep * c + entry * np.tanh(gates[3])
        h = exit_ * np.tanh(c)
    scores = V @ h + d
    return np.log(np.exp(scores).sum()) - scores[target]


def test_the_lstm_written_by_hand_is_gradient_descent(part):
    network = part("hand_lstm").HandLSTM(10, 16, 32, 10)
    before = [values.astype(np.float64) for values in network.parameters]
    symbols, target, rate = [3, 1, 3, 7], 2, 0.1
    loss = network.train(np.array([symbols]), np.array([target]), rate)
    assert loss == pytest.approx(cross_entropy(before, symbols, target), rel=1e-5)
    rng = np.random.default_rng(1)
    for place, (old, new) in enumerate(zip(before, network.parameters, strict=True)):
        way = rng.standard_normal(old.shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = [*before[:place], old + step * way, *before[place + 1 :]]
            ends.append(cross_entropy(moved, symbols, target))
        numeric = (ends[0] - ends[1]) / 2e-5
        assert ((old - new) * way).sum() / rate == pytest.approx(numeric, abs=2e-4)


def test_networks_have_sections_and_verdicts(part):
    measure = part("measure")
    recorder = measure.Recorder(io.StringIO())

    def add(name, system, nanoseconds=None, /, *, others=0.0, **extra):
        config = {k: extra.pop(k) for k in ("workers", "network") if k in extra}
        record = measure.Measurement(name, system, config)
        if nanoseconds is not None:
            record.timed(measure.summarise([(2.0 * nanoseconds, nanoseconds)]))
            extra["cores_held_by_others"] = others
        record.extra = extra
        recorder.add(record)

    add("lstm", "wyrm_py", 1_800.0)
    add("lstm", "PyTorch", 180_000.0)
    add("lstm-wide", "wyrm_py", 201_000.0)
    add("convolution", "wyrm_py", 100.0, workers=2)
    add("convolution", "PyTorch", 79.0, workers=2)
    add("mnist", "wyrm_py", network="dense", accuracy=0.978)
    add("mnist", "wyrm_py", network="convolutional", accuracy=0.9879)
    add("ptb", "wyrm_py", network="GRU", perplexity=4.16)
    found = part("network_verdicts").verdicts(recorder)
    assert [verdict.held for verdict in found] == [
        *(True, False),  # 3.6 us of 4, 402 us of 400
        *(None, False),  # one core not measured; 0.79 times PyTorch
        *(True, False, True),
    ]
    assert "PyTorch 360.00 us (100.00x)" in found[0].measured
    table = part("table").markdown(recorder, found, load=0.0, quick=False)
    assert "| PyTorch |  | 360,000 (360,000-360,000) |" in table
    assert "| AUC |" not in table  # columns that stay empty are left out


def test_the_readme_has_a_line_of_what_was_measured_on_both_sides(part):
    readme = part("readme")
    measured = {
        "failure": None,
        "cpu_ns_per_example": 100.0,
        "auc": 0.9,
        "precision_at_10": 0.1,
        "extra": {
            "accuracy": 0.85,
            "cpu_s": 30.0,
            "events_per_s": 500_000,
            "held_out_loss": 2.5,
            "recall_at_20": 0.15,
            "recommend_ms": 0.5,
        },
    }
    records = []
    for line in readme.LINES:
        theirs = dict(line.theirs)
        system = theirs.pop("system")
        ours = measured | {"name": line.name, "system": line.system}
        records.append(ours | {"config": line.ours})
        peer = measured | {"name": line.name, "system": system, "config": theirs}
        records.append(peer | {"cpu_ns_per_example": 4_000.0})
    text = "\n".join(map(json.dumps, records))
    rows = readme.headline(readme.Results(text))
    assert [row[0] for row in rows] == [line.task for line in readme.LINES]
    assert rows[0][1] == "100 ns an example, AUC 0.900, precision@10 0.100"
    assert rows[3][2] == "PyTorch: 4,000 ns an example, AUC 0.900, in batches of 256"
    assert rows[6][1] == "500,000 events/s"
    records[1]["failure"] = "cannot be installed"
    text = "\n".join(map(json.dumps, records))
    assert len(readme.headline(readme.Results(text))) == len(rows) - 1


def test_the_speed_up_of_two_workers_is_by_wall_and_by_cpu_time(part):
    readme = part("readme")
    one = {
        **{"name": "synthetic", "system": "wyrm_py", "failure": None, "auc": 0.92},
        **{"cpu_ns_per_example": 100.0, "wall_ns_per_example": 100.0},
        "config": {
            **{"optimizer": "sgd", "workers": 1},
            **{"engine": "native", "negatives": "uniform"},
        },
    }
    config = {"optimizer": "sgd", "workers": 2, "backend": "threads"}
    two = one | {"config": config, "auc": 0.9185}
    two |= {"cpu_ns_per_example": 125.0, "wall_ns_per_example": 80.0}
    results = readme.Results("\n".join(map(json.dumps, [one, two])))
    ((_, workers, times, *figures),) = readme.scaling(results)
    assert (workers, times) == ("sgd, two threads", "100 ns, 80 ns")
    assert figures == ["1.25x", "1.60x", "-0.0015"]
