"""Checkpoints while a run goes on, and runs that go on from them."""

import logging
import subprocess
import sys
from pathlib import Path

import killed
import numpy as np
import pytest
from toy_tasks import HalfUntil
from waiting import together

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.parallel import run


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(run, "block_size_for", run.block_size_for)
    killed.use_small_blocks()


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    program = Path(killed.__file__)
    subprocess.run([sys.executable, str(program), str(folder)], check=True)
    return folder


def resumed(training, path, **given):
    history = wp.History()
    wp.load(
        path, training.loss.parameters(), optimizer=training.optimizer, history=history
    )
    left = killed.EPOCHS - len(history.losses)
    return history, training.fit(left, resume=history, **given)


@pytest.mark.parametrize("case", killed.CASES)
def test_a_run_killed_within_an_epoch_goes_on_to_the_same_bits(left_behind, case):
    whole, second = killed.Training(case), killed.Training(case)
    expected = whole.fit(killed.EPOCHS)
    second.users.set_value(0.0)  # all of it comes from the file
    history, found = resumed(second, left_behind / case)
    assert len(history.losses) == 2 and 8 < len(history.unfinished.blocks) < 19
    np.testing.assert_array_equal(second.users.value, whole.users.value)
    np.testing.assert_array_equal(second.items.value, whole.items.value)
    for name, state in whole.items.block.slots().items():
        np.testing.assert_array_equal(second.items.block.slots()[name], state)
    assert found.losses == expected.losses
    assert found.unfinished is None and len(found.epoch_seconds) == killed.EPOCHS
    total = killed.EPOCHS * killed.COUNT
    assert found.samples_per_second * found.seconds == pytest.approx(total)
    assert sum(found.worker_examples) == total
    assert sum(found.epoch_seconds) == pytest.approx(found.seconds)
    assert second.optimizer.epoch == whole.optimizer.epoch == killed.EPOCHS


class Interrupting(wp.Checkpoint):
    """Ends the run, not the process, after one checkpoint in mid-epoch."""

    def write(self, parameters, optimizer, history):
        super().write(parameters, optimizer, history)
        if history.unfinished is not None:
            Path(f"{self.path}.interrupted").touch()
            raise KeyboardInterrupt


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_several_workers_go_on_and_repeat_only_blocks_under_way(
    tmp_path, backend, monkeypatch
):
    """Every row counts how often its example was taken."""

    def until_interrupted(task, *, blocks, **given):
        half = HalfUntil(task, Path(f"{path}.interrupted"), blocks // 2)
        return run_blocks(half, blocks=blocks, **given)

    run_blocks = run.run_blocks
    monkeypatch.setattr(run, "run_blocks", until_interrupted)
    count = 4000
    table, index = wp.ParameterNode(np.zeros((count, 1))), wp.IndexInputNode([0])
    loss, inputs = table.index(index).sum(axis=1), {index: np.arange(count)}
    given = dict(n_jobs=2, backend=backend, engine="numpy", progress=False)
    path = tmp_path / "file"
    with pytest.raises(KeyboardInterrupt):
        wp.fit(
            loss,
            wp.SGD(1.0),
            inputs,
            2,
            checkpoint=Interrupting(path, every=1e-3),
            **given,
        )
    history, optimizer = wp.History(), wp.SGD(0.5)
    wp.load(path, loss.parameters(), optimizer=optimizer, history=history)
    assert history.losses == []
    kept, marked = -table.value[:, 0], 16 * len(history.unfinished.blocks)
    wp.fit(loss, optimizer, inputs, 2, resume=history, callbacks=[together], **given)
    taken = -table.value[:, 0]
    assert taken.min() >= 2  # no example was left out
    assert taken.sum() == 2 * count + (kept.sum() - marked)


def test_the_end_of_a_run_is_kept_too(tmp_path):
    training, later = killed.Training("native"), killed.Training("native")
    path = tmp_path / "file"
    history = training.fit(2, checkpoint=wp.Checkpoint(path, every=1e9))
    found = wp.History()
    wp.load(path, later.loss.parameters(), optimizer=later.optimizer, history=found)
    assert found == history
    np.testing.assert_array_equal(later.users.value, training.users.value)


def test_older_files_are_kept_by_number(tmp_path):
    training, path = killed.Training("native"), tmp_path / "file"
    checkpoint = wp.Checkpoint(path, every=1e-9, keep=3)
    training.fit(2, checkpoint=checkpoint)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "file.1", "file.2"]
    progress = []
    for name in ("file.2", "file.1", "file"):
        later, found = killed.Training("native"), wp.History()
        parameters = later.loss.parameters()
        wp.load(tmp_path / name, parameters, history=found)
        blocks = found.unfinished.blocks if found.unfinished else []
        progress.append((len(found.losses), len(blocks)))
    assert progress == [(1, 18), (2, 0), (2, 0)]  # after the last block, at the end


def test_a_model_can_be_kept_by_its_own_names(tmp_path):
    training, path = killed.Training("native"), tmp_path / "file"
    named = {"u": training.users, "i": training.items}
    training.fit(1, checkpoint=wp.Checkpoint(path, named))
    other = {
        name: wp.ParameterNode(np.zeros(node.shape)) for name, node in named.items()
    }
    wp.load(path, other)
    np.testing.assert_array_equal(other["i"].value, training.items.value)


def test_an_unwritable_folder_is_an_error_before_training(tmp_path):
    training = killed.Training("native")
    before = training.users.value.copy()
    with pytest.raises(FileNotFoundError):
        training.fit(1, checkpoint=wp.Checkpoint(tmp_path / "missing" / "file"))
    np.testing.assert_array_equal(training.users.value, before)


def test_training_goes_on_when_a_checkpoint_cannot_be_written(
    tmp_path, monkeypatch, caplog
):
    whole, training = killed.Training("native"), killed.Training("native")
    whole.fit(2)

    def full(*arguments, **given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wyrm_py.checkpointing.save", full)
    with caplog.at_level(logging.WARNING, "wyrm_py"):
        training.fit(2, checkpoint=wp.Checkpoint(tmp_path / "file", every=1e-9))
    np.testing.assert_array_equal(training.users.value, whole.users.value)
    assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_run_cannot_go_on_within_an_epoch_of_other_data(left_behind):
    training = killed.Training("native")
    training.inputs = {leaf: column[:-1] for leaf, column in training.inputs.items()}
    before = training.users.value.copy()
    with pytest.raises(errors.DataError, match="300 examples, the columns have 299"):
        history = wp.History()
        wp.load(
            left_behind / "native",
            killed.Training("native").loss.parameters(),
            history=history,
        )
        training.fit(2, resume=history)
    np.testing.assert_array_equal(training.users.value, before)


@pytest.mark.parametrize(
    "given", [{"every": 0}, {"every": "1"}, {"keep": 0}, {"keep": 1.5}]
)
def test_impossible_settings_are_refused(tmp_path, given):
    with pytest.raises(errors.SettingError, match="Checkpoint: "):
        wp.Checkpoint(tmp_path / "file", **given)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(errors.SettingError, match="wp.Checkpoint"):
        killed.Training("native").fit(1, checkpoint=str(tmp_path / "file"))
