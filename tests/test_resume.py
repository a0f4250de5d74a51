"""A training that stops and goes on in another process gives the same bits."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import resumed

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.arrayfile import read_arrays


@pytest.fixture(scope="module")
def resumed_in_another_process(tmp_path_factory):
    """Save each case after three epochs; let another process do three more."""
    folder = tmp_path_factory.mktemp("resumed")
    for case in resumed.CASES:
        training = resumed.Training(case)
        history = training.fit(3)
        wp.save(
            folder / case,
            training.model,
            optimizer=training.optimizer,
            history=history,
        )
    program = Path(resumed.__file__)
    subprocess.run([sys.executable, str(program), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("case", resumed.CASES)
def test_six_epochs_equal_three_and_three_in_another_process(
    resumed_in_another_process, case, tmp_path
):
    whole = resumed.Training(case)
    history = whole.fit(6)
    file = tmp_path / "whole"
    wp.save_model(file, whole.model, optimizer=whole.optimizer, history=history)
    arrays, metadata = read_arrays(file)
    found, found_metadata = read_arrays(resumed_in_another_process / f"{case} again")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert found_metadata["history"]["losses"] == history.losses
    assert found_metadata["history"]["seed"] == 7
    assert found_metadata["optimizer"] == metadata["optimizer"]
    assert len(history.losses) == 6 and len(set(history.losses)) == 6


def test_a_checkpoint_written_by_a_callback_goes_on_too(tmp_path):
    whole, stopped, later = (resumed.Training("Adam") for _ in range(3))
    whole.fit(4)

    def keep(history):
        wp.save(
            tmp_path / "file",
            stopped.model,
            optimizer=stopped.optimizer,
            history=history,
        )
        return len(history.losses) == 2

    wp.fit(
        stopped.loss,
        stopped.optimizer,
        stopped.inputs,
        epochs=4,
        batch_size=4,
        random_state=7,
        callbacks=[keep],
        progress=False,
    )
    history = wp.History()
    wp.load(tmp_path / "file", later.model, optimizer=later.optimizer, history=history)
    assert len(history.losses) == 2
    later.fit(2, resume=history)
    for name, node in later.model.named_parameters().items():
        other = whole.model.named_parameters()[name]
        np.testing.assert_array_equal(node.value, other.value)


def _saved(path, **what):
    wp.save(path, [wp.ParameterNode([1.0], name="w")], **what)
    return path


def test_what_the_file_does_not_hold_is_named_and_nothing_changes(tmp_path):
    path = _saved(tmp_path / "file")
    node = wp.ParameterNode([5.0], name="w")
    for what in ("optimizer", "history", "random_state"):
        given = {"optimizer": wp.SGD(), "history": wp.History(), "random_state": None}
        given["random_state"] = np.random.default_rng(0)
        with pytest.raises(errors.SettingError, match=f"holds no {what}.*save"):
            wp.load(path, [node], **{what: given[what]})
    assert node.value == 5


def test_another_optimizer_is_refused_and_nothing_changes(tmp_path):
    path = _saved(tmp_path / "file", optimizer=wp.SGD(0.25))
    node, optimizer = wp.ParameterNode([5.0], name="w"), wp.Adagrad(0.5)
    with pytest.raises(errors.SettingError, match="settings of SGD, got .* Adagrad"):
        wp.load(path, [node], optimizer=optimizer)
    assert (node.value, optimizer.learning_rate) == (5, 0.5)
    wp.load(path, [node])  # the values alone are fine
    assert node.value == 1


def halving(epoch):
    return 0.5**epoch


class Halved(wp.schedules.Schedule):
    def __init__(self, start):
        self.start = start

    def rate(self, epoch):
        return self.start * 0.5**epoch


@pytest.mark.parametrize(
    ("rate", "own"),
    [(wp.schedules.Lambda(0.5, halving), halving), (Halved(0.5), Halved)],
)
def test_schedules_of_ones_own_come_back(tmp_path, rate, own):
    path = _saved(tmp_path / "file", optimizer=wp.SGD(rate, epoch=2))
    node, optimizer = wp.ParameterNode([5.0], name="w"), wp.SGD(0.25)
    with pytest.raises(errors.UnknownClassError, match="known="):
        wp.load(path, [node], optimizer=optimizer)
    assert (node.value, optimizer.learning_rate) == (5, 0.25)
    for given, known in ((optimizer, [own]), (wp.SGD(rate), ())):
        wp.load(path, [node], optimizer=given, known=known)
        assert given.learning_rate(2) == 0.125
        assert given.learning_rate is not rate
        assert given.epoch == 2


def test_a_compiled_step_sees_the_loaded_settings(tmp_path):
    path = _saved(tmp_path / "file", optimizer=wp.SGD(0.25))
    node, optimizer = wp.ParameterNode([1.0], name="w"), wp.SGD(1e-6)
    step = wp.compile(node.square().sum(), optimizer)
    wp.load(path, [node], optimizer=optimizer)
    step()
    assert node.value == 0.5


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ({"optimizer": 0.1}, errors.SettingError),
        ({"optimizer": wp.SGD}, errors.SettingError),
        ({"history": [0.5]}, errors.SettingError),
        ({"extra": object()}, errors.DTypeError),
        ({"extra": float("nan")}, errors.DTypeError),
    ],
)
def test_what_cannot_be_kept_is_refused_before_writing(tmp_path, what, error):
    with pytest.raises(error):
        _saved(tmp_path / "file", **what)
    assert list(tmp_path.iterdir()) == []


HISTORY = dataclasses.asdict(wp.History([1.0]))


@pytest.mark.parametrize(
    "history",
    [
        3,
        {},
        HISTORY | {"losses": 3},
        HISTORY | {"losses": ["low"]},
        HISTORY | {"seed": -1},
        HISTORY | {"seed": 1 << 63},
        HISTORY | {"workers": 1.5},
        HISTORY | {"seconds": None},
        HISTORY | {"more": 1},
    ],
)
def test_a_history_that_is_none_is_refused(tmp_path, history):
    path = _saved(tmp_path / "file", history=wp.History([1.0]))
    arrays, metadata = read_arrays(path)
    wp.checkpoint.write_arrays(path, arrays, metadata | {"history": history})
    node, given = wp.ParameterNode([5.0], name="w"), wp.History()
    with pytest.raises(errors.CorruptCheckpointError, match="history"):
        wp.load(path, [node], history=given)
    assert node.value == 5 and given == wp.History()


def test_extra_comes_back(tmp_path):
    extra = {"note": "ä", "numbers": [1, 2.5, None]}
    path = _saved(tmp_path / "file", extra=extra)
    assert wp.load(path, [wp.ParameterNode([0.0], name="w")]) == extra
