"""A run that is continued gives the bits of one that was never interrupted."""

import numpy as np
import pytest
from small_models import Factors, Linear

import wyrm_py as wp
from wyrm_py import errors

WAYS = {
    "native": {},
    "in batches": {"batch_size": 7},
    "numpy": {"engine": "numpy"},
    "numpy in batches": {"engine": "numpy", "batch_size": 7},
    "synchronous": {"mode": "synchronous", "n_jobs": 2, "batch_size": 5},
    "synchronous numpy": {"mode": "synchronous", "n_jobs": 2, "engine": "numpy"},
    "in order": {"shuffle": False},
}


MODELS = {"linear": lambda: Linear(203), "factors": Factors}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS)
def test_two_runs_equal_one_bit_for_bit(model, way):
    whole, parts, restarted = (MODELS[model]() for _ in range(3))
    expected = whole.fit(epochs=5, **WAYS[way])
    first = parts.fit(epochs=2, **WAYS[way])
    last = parts.fit(epochs=3, random_state=None, resume=first, **WAYS[way])
    np.testing.assert_array_equal(parts.values(), whole.values())
    assert last.losses == expected.losses
    assert last.seed == expected.seed == 0
    assert len(first.losses) == 2  # the earlier history stays as it was
    if way != "in order" or model == "factors":  # the same seed alone is not enough
        restarted.fit(epochs=2, **WAYS[way])
        restarted.fit(epochs=3, **WAYS[way])
        assert (restarted.values() != whole.values()).any()


def test_a_resumed_history_adds_up():
    model = Linear(100)
    first = model.fit(epochs=2, random_state=None)
    assert first.samples_per_second * first.seconds == pytest.approx(200)
    seen = []
    last = model.fit(
        epochs=2,
        random_state=None,
        resume=first,
        callbacks=[lambda history: seen.append(len(history.losses))],
    )
    assert seen == [3, 4]
    assert last.seed == first.seed
    assert last.seconds > first.seconds
    assert last.samples_per_second * last.seconds == pytest.approx(400)


@pytest.mark.parametrize(
    "given",
    [
        {"resume": 3},
        {"resume": "history"},
        {"resume": wp.History(), "random_state": 1},
    ],
)
def test_what_cannot_be_resumed_is_refused_before_anything_changes(given):
    model = Linear(10)
    with pytest.raises(errors.SettingError, match="resume"):
        model.fit(**{"random_state": None, **given})
    np.testing.assert_array_equal(model.values(), model.first())


def test_callbacks_do_not_change_the_bits_of_scheduled_exact_rows():
    def train(callbacks):
        model = Factors()
        rate = wp.schedules.Exponential(0.1, 0.5)
        optimizer = wp.SGD(rate, l2=0.01, momentum=0.5, exact_rows=True)
        model.fit(optimizer, epochs=4, engine="numpy", callbacks=callbacks)
        assert optimizer.epoch == 4
        return model.values()

    np.testing.assert_array_equal(train([]), train([lambda history: None]))
