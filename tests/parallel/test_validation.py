"""Validation after each epoch, and stopping by it."""

import logging
import math

import numpy as np
import pytest
from small_models import Factors, Linear

import wyrm_py as wp
from wyrm_py.errors import (
    DataError,
    IndexRangeError,
    MissingColumnError,
    SettingError,
    ShapeError,
)

WAYS = {
    "native": {},
    "in batches": {"batch_size": 7},
    "numpy": {"engine": "numpy"},
    "threads": {"n_jobs": 2, "backend": "threads"},
    "processes": {"n_jobs": 2},
    "synchronous": {"n_jobs": 2, "mode": "synchronous"},
}


def kept_aside(model, count=50):
    rng = np.random.default_rng(9)
    xs = rng.normal(size=(count, 3))
    return {model.x: xs, model.y: rng.normal(size=(count, 1))}


@pytest.mark.parametrize("way", WAYS)
def test_validation_losses_are_what_evaluate_gives_after_each_epoch(way, small_blocks):
    model = Linear(203)
    aside, seen = kept_aside(model), []

    def evaluate(history):
        values = wp.evaluate(model.loss, aside, WAYS[way].get("batch_size"))
        residuals = aside[model.y] - (aside[model.x] @ model.w.value + model.b.value)
        np.testing.assert_allclose(values.mean(), (residuals**2).mean(), rtol=1e-9)
        seen.append(float(values.mean()))
        assert history.validation_losses == seen

    history = model.fit(epochs=3, validation=aside, callbacks=[evaluate], **WAYS[way])
    assert history.validation_losses == seen and len(set(seen)) == 3


@pytest.mark.parametrize("way", ["native", "in batches", "synchronous"])
def test_who_looks_on_does_not_change_the_bits(way, small_blocks, tmp_path):
    alone, watched = Factors(), Factors()
    first = alone.fit(epochs=3, **WAYS[way])
    second = watched.fit(
        epochs=3,
        validation=[watched.inputs, lambda history: 1.0],
        stop=wp.EarlyStopping(metric="loss", patience=9, restore_best=False),
        checkpoint=wp.Checkpoint(tmp_path / "file", every=1e-9),
        callbacks=[lambda history: None],
        **WAYS[way],
    )
    np.testing.assert_array_equal(alone.values(), watched.values())
    assert first.losses == second.losses


def test_draws_of_validation_are_the_same_each_epoch():
    """With parameters that hardly move, only other draws could change the loss."""
    model = Factors()
    history = model.fit(wp.SGD(1e-30), epochs=3, validation=model.inputs)
    assert len(set(history.validation_losses)) == 1
    assert len(set(history.losses)) == 3  # training draws anew


def test_validation_has_no_dropout():
    values = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    table, index = wp.ParameterNode(values), wp.IndexInputNode([0])
    loss = wp.nn.Dropout(0.5)(table.index(index)).sum(axis=1)
    inputs = {index: np.arange(4)}
    history = wp.fit(
        loss, wp.SGD(1e-30), inputs, validation=inputs, progress=False, random_state=0
    )
    mean = pytest.approx([values.sum(axis=1).mean()], rel=1e-6)
    assert history.validation_losses == mean and history.losses != mean


def test_weights_are_for_training_only():
    model = Linear(50)
    aside = kept_aside(model)
    history = model.fit(validation=aside, weights=np.arange(50))
    assert history.validation_losses == [wp.evaluate(model.loss, aside).mean()]


def test_functions_give_metrics_by_name():
    def accuracy(history):
        return len(history.losses) / 10

    def several(history):
        return {"recall": np.float32(0.5), "width": 3}

    model = Linear(20)
    history = model.fit(epochs=2, validation=[accuracy, several])
    assert history.metrics == [
        {"accuracy": 0.1, "recall": 0.5, "width": 3.0},
        {"accuracy": 0.2, "recall": 0.5, "width": 3.0},
    ]
    assert history.validation_losses == []
    later = model.fit(
        epochs=1, resume=history, random_state=None, validation=model.inputs
    )
    assert math.isnan(later.validation_losses[1]) and len(later.validation_losses) == 3
    assert later.metrics == history.metrics  # of its own epochs


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        (3, SettingError, "validation must be columns"),
        ([{}, {}], SettingError, "at most one of columns"),
        (lambda model: {model.x: np.zeros((5, 3))}, MissingColumnError, "validation"),
        (
            lambda model: {model.x: np.zeros((5, 2)), model.y: np.zeros(5)},
            ShapeError,
            "fit: validation: the column",
        ),
        (
            lambda model: {model.x: np.full((5, 3), np.nan), model.y: np.zeros(5)},
            DataError,
            "nan in example 0",
        ),
    ],
)
def test_impossible_validation_is_refused_before_anything_changes(
    validation, error, message
):
    model = Linear(20)
    given = validation(model) if callable(validation) else validation
    with pytest.raises(error, match=message):
        model.fit(validation=given)
    np.testing.assert_array_equal(model.values(), model.first())


def test_row_numbers_of_validation_are_checked():
    model = Factors()
    aside = {leaf: np.array([99]) for leaf in model.inputs}
    with pytest.raises(IndexRangeError, match="fit: validation"):
        model.fit(validation=aside)


def test_a_function_that_returns_no_number_is_named():
    def nothing(history):
        return None

    with pytest.raises(SettingError, match="nothing must return a number"):
        Linear(20).fit(validation=nothing)


# -- stopping -------------------------------------------------------------------------

VALUES = [0.5, 0.4, 0.45, 0.39, 0.41, 0.6, 0.7, 0.1]


def replay(values, name="error"):
    """Return a validation function that gives these values, epoch by epoch."""

    def metric(history):
        return {name: values[len(history.losses) - 1]}

    return metric


@pytest.mark.parametrize("way", WAYS)
def test_training_stops_when_patience_ends_and_goes_back_to_the_best(way, small_blocks):
    model, seen, states = Linear(203), [], []

    def look(history):
        seen.append(model.values())
        states.append(model.w.block.slot("adagrad.sum").copy())

    history = model.fit(
        wp.Adagrad(0.1),
        epochs=8,
        validation=replay(VALUES),
        stop=wp.EarlyStopping(patience=2),
        callbacks=[look],
        **WAYS[way],
    )
    assert len(history.losses) == 6 and history.best_epoch == 3
    np.testing.assert_array_equal(model.values(), seen[3])
    np.testing.assert_array_equal(model.w.block.slot("adagrad.sum"), states[3])
    assert not np.array_equal(seen[3], seen[5])


@pytest.mark.parametrize(
    ("values", "settings", "epochs", "best"),
    [
        (VALUES, {"patience": 1}, 3, 1),
        (VALUES, {"patience": 3}, 7, 3),
        (VALUES, {"patience": 4}, 8, 7),
        (VALUES, {"patience": 3, "minimum": 0.05}, 5, 1),
        ([1.0, 2.0, 3.0], {"patience": 1, "mode": "max"}, 3, 2),
        ([1.0, 2.0, 3.0], {"patience": 1, "mode": "min"}, 2, 0),
        ([math.nan, 2.0, math.nan, 3.0], {"patience": 2}, 4, 1),
    ],
)
def test_patience_minimum_and_mode(values, settings, epochs, best):
    history = Linear(20).fit(
        epochs=len(values),
        validation=replay(values),
        stop=wp.EarlyStopping(**settings),
        engine="numpy",
    )
    assert (len(history.losses), history.best_epoch) == (epochs, best)


@pytest.mark.parametrize("name", ["recall", "test_loss"])
def test_the_direction_follows_the_name(name):
    stop = wp.EarlyStopping(metric=name, patience=1)
    given = dict(validation=replay([1.0, 2.0, 3.0], name), stop=stop, engine="numpy")
    history = Linear(20).fit(epochs=3, **given)
    assert len(history.losses) == (3 if name == "recall" else 2)


def test_stopping_by_the_validation_loss_is_the_default():
    model = Linear(20)
    far = {model.x: np.zeros((1, 3)), model.y: model.start[1]}  # right from the start
    history = model.fit(epochs=9, validation=far, stop=wp.EarlyStopping(patience=2))
    assert len(history.losses) == 3 and history.best_epoch == 0


def test_a_resumed_run_counts_the_epochs_before_it(caplog):
    model = Linear(20)
    stop, validation = wp.EarlyStopping(patience=3), replay(VALUES[3:])
    given = dict(stop=stop, validation=validation, engine="numpy")
    first = model.fit(epochs=2, **given)
    with caplog.at_level(logging.WARNING, "wyrm_py"):
        last = model.fit(epochs=5, random_state=None, resume=first, **given)
    assert len(last.losses) == 4 and last.best_epoch == 0
    assert "not restored" in caplog.text


@pytest.mark.parametrize(
    "given",
    [
        {"patience": 0},
        {"patience": 1.5},
        {"minimum": -1.0},
        {"minimum": math.nan},
        {"mode": "best"},
        {"metric": 3},
    ],
)
def test_impossible_settings_of_stopping_are_refused(given):
    with pytest.raises(SettingError, match="EarlyStopping: "):
        wp.EarlyStopping(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"stop": 3},
        {"stop": wp.EarlyStopping()},
        {"stop": wp.EarlyStopping(metric="validation_loss"), "validation": replay([1])},
        {"stop": wp.EarlyStopping(metric="recall")},
    ],
)
def test_stopping_by_what_is_not_there_is_refused_at_once(given):
    model = Linear(20)
    with pytest.raises(SettingError, match=r"stop must be|watches what is not there"):
        model.fit(**given)
    np.testing.assert_array_equal(model.values(), model.first())


def test_a_metric_that_no_function_returns_is_named():
    stop = wp.EarlyStopping(metric="recall")
    with pytest.raises(SettingError, match="'recall' is not among error, loss"):
        Linear(20).fit(validation=replay([1.0]), stop=stop, engine="numpy")
