import json
import math
import socket
from datetime import datetime

import pytest
from small_models import Linear

import wyrm_py as wp
from wyrm_py.drawing import Box, Picture
from wyrm_py.errors import DataError
from wyrm_py.parallel.history import History, Unfinished


def test_fresh_history_is_empty_and_its_own():
    first, second = History(), History()
    first.losses.append(1.0)
    assert second.losses == [] and second.workers == 1


def test_repr_tells_epochs_losses_time_and_speed():
    history = History([0.5, 0.25], 2.0, 1_500_000.0, 2)
    assert repr(history) == (
        "History(2 epochs, loss 0.5 -> 0.25, 2 s, 1,500,000 samples/s, 2 workers)"
    )


def test_repr_of_one_epoch_and_of_none():
    one = repr(History([0.5], 0.125, 8.0, 1))
    assert one == "History(1 epoch, loss 0.5, 0.125 s, 8 samples/s, 1 worker)"
    assert repr(History()) == "History(0 epochs, 0 s, 0 samples/s, 1 worker)"


# -- what a fit writes into it --------------------------------------------------------

WAYS = {
    "one worker": {},
    "threads": {"n_jobs": 2, "backend": "threads"},
    "processes": {"n_jobs": 2},
    "synchronous": {"n_jobs": 2, "mode": "synchronous"},
}


@pytest.mark.parametrize("looking", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_speed_and_work_add_up(way, looking, small_blocks):
    history = Linear(203).fit(
        epochs=3, callbacks=[lambda history: None] * looking, **WAYS[way]
    )
    assert sum(history.worker_examples) == 3 * 203
    assert len(history.worker_seconds) == history.workers
    assert 0 < max(history.worker_seconds) <= history.seconds * 1.001
    assert len(history.epoch_seconds) == 3
    assert sum(history.epoch_seconds) <= history.seconds * 1.001
    if way == "synchronous":
        assert min(history.worker_examples) > 0


def test_learning_rates_are_those_at_the_beginning_of_each_epoch():
    rate = wp.schedules.Exponential(0.02, 0.5)
    seen = []
    history = Linear(20).fit(
        wp.SGD(rate), epochs=3, callbacks=[lambda h: seen.append([*h.learning_rates])]
    )
    assert history.learning_rates == [0.02, 0.01, 0.005]
    assert seen == [[0.02], [0.02, 0.01], [0.02, 0.01, 0.005]]
    assert Linear(20).fit(wp.SGD(rate), epochs=3).learning_rates == seen[-1]


def test_a_learning_rate_that_a_callback_sets_is_recorded():
    optimizer = wp.SGD(0.02)

    def halve(history):
        optimizer.learning_rate /= 2

    history = Linear(20).fit(optimizer, epochs=3, callbacks=[halve])
    assert history.learning_rates == [0.02, 0.01, 0.005]


def test_settings_and_machine_are_told_without_who_ran_it():
    history = Linear(20).fit(wp.SGD(0.02), epochs=1, batch_size=5)
    shown = history.settings
    assert shown["optimizer"] == "SGD(learning_rate=0.02)" and shown["examples"] == 20
    assert shown["parameters"] == {"weights": [3, 1], "offset": [1, 1]}
    assert (shown["batch_size"], shown["mode"], shown["weighted"]) == (
        5,
        "hogwild",
        False,
    )
    assert {"processor", "cores", "python", "numpy", "numba"} < set(history.machine)
    assert datetime.fromisoformat(history.started).tzinfo is not None
    assert socket.gethostname() not in json.dumps(history.to_dict())


# -- as JSON --------------------------------------------------------------------------

FULL = History(
    [0.5, 0.25],
    2.0,
    100.0,
    2,
    7,
    validation_losses=[math.nan, 0.5],
    metrics=[{}, {"auc": 0.75, "rank": math.inf}],
    best_epoch=1,
    learning_rates=[0.1, 0.05],
    epoch_seconds=[1.0, 1.0],
    worker_examples=[120.0, 80.0],
    worker_seconds=[1.5, 1.0],
    started="2026-01-02T03:04:05+00:00",
    settings={"optimizer": "SGD()", "parameters": {"w": [3, 1]}},
    machine={"processor": "one"},
    graph=Picture([Box("input", "x", "1"), Box("root", "<square>", "")], [(0, 1)]),
    unfinished=Unfinished(100, 16, [0, 3], [1.5, 2.5]),
)


def test_a_history_comes_back_from_json():
    text = json.dumps(FULL.to_dict(), allow_nan=False)
    found = History.from_dict(json.loads(text))
    assert found.unfinished == FULL.unfinished and found.graph == FULL.graph
    assert math.isnan(found.validation_losses[0])
    assert math.isnan(found.metrics[1].pop("rank"))  # JSON has no infinity
    assert found.metrics == [{}, {"auc": 0.75}]
    assert found.to_dict() == History.from_dict(found.to_dict()).to_dict()


def test_histories_of_older_files_have_fewer_fields():
    older = {
        "losses": [1.0],
        "seconds": 0.5,
        "samples_per_second": 2.0,
        "workers": 1,
        "seed": 3,
    }
    assert History.from_dict(older) == History([1.0], 0.5, 2.0, 1, 3)
    model = Linear(20)
    later = model.fit(epochs=1, random_state=None, resume=History.from_dict(older))
    assert len(later.losses) == len(later.epoch_seconds) == 2
    assert math.isnan(later.epoch_seconds[0]) and later.learning_rates[1] == 0.01


@pytest.mark.parametrize(
    "changed",
    [
        {"losses": [True]},
        {"metrics": [3]},
        {"metrics": [{"a": "b"}]},
        {"best_epoch": -1},
        {"started": 3},
        {"machine": {"a": 3}},
        {"settings": [1]},
        {"graph": {}},
        {"graph": {"boxes": [{"kind": "op", "title": 3, "detail": ""}], "edges": []}},
        {
            "graph": {
                "boxes": [{"kind": "op", "title": "", "detail": ""}],
                "edges": [[0, 0]],
            }
        },
        {
            "graph": {
                "boxes": [{"kind": "</svg>", "title": "", "detail": ""}],
                "edges": [],
            }
        },
        {"unfinished": {}},
        {"unfinished": {"examples": 9, "block_size": 0, "blocks": [0], "losses": [1]}},
        {"unfinished": {"examples": 9, "block_size": 4, "blocks": [3], "losses": [1]}},
        {"unfinished": {"examples": 9, "block_size": 4, "blocks": [0], "losses": []}},
        {"unfinished": {"examples": 9, "block_size": 4, "blocks": [], "losses": []}},
    ],
)
def test_what_is_no_history_is_refused(changed):
    with pytest.raises(DataError, match=f"History: {next(iter(changed))}"):
        History.from_dict(FULL.to_dict() | changed)
