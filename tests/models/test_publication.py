"""Other processes read a model while it is trained, and are told when it ends."""

import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from waiting import PATIENCE, goes_what_came, segments

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.models import FactorizationRecommender


def learned(users, items):
    """Return a model that has learned some events."""
    model = FactorizationRecommender(loss="bpr", width=4, random_state=0)
    return model.partial_fit(wp.data.Events(users, items))


TRAINER = """
import sys, time
import numpy as np
import wyrm_py as wp
from wyrm_py.models import FactorizationRecommender
model = FactorizationRecommender(loss="bpr", width=8, random_state=0)
print(model.publish(sys.argv[1] or None), flush=True)
number = 0
for line in sys.stdin:
    users = np.repeat(np.arange(number, number + 100), 10)
    model.partial_fit(wp.data.Events(users, users % 70 + number // 100))
    number += 100
    print(len(model.users_), len(model.items_), *model.recommend(3, 5).ids, flush=True)
"""


class Trainer:
    """A process that learns when asked and says what it then recommends."""

    def __init__(self, path=""):
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAINER, str(path)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.address = self.process.stdout.readline().strip()

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [int(word) for word in self.process.stdout.readline().split()]

    def end(self, how=None):
        if how is None:
            self.process.stdin.close()
        else:
            self.process.send_signal(how)
        self.process.wait(timeout=PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.mark.parametrize("how", [None, signal.SIGKILL])
def test_another_process_answers_while_the_trainer_learns(tmp_path, how):
    before = segments()
    path = tmp_path / "live"
    trainer = Trainer(path)
    assert trainer.address == str(path)
    trainer.ask()
    reader = FactorizationRecommender.attach(path)
    for _ in range(3):
        users, items, *best = trainer.ask()
        assert list(reader.recommend(3, 5).ids) == best
        assert (len(reader.users_), len(reader.items_)) == (users, items)
        assert reader.predict([users - 1], [3]).shape == (1,)
    with pytest.raises(ValueError, match="read-only"):
        reader.user_vectors_[0] = 1
    with pytest.raises(errors.SettingError, match="read from another process"):
        reader.publish()
    copied = pickle.loads(pickle.dumps(reader))
    trainer.end(how)
    assert list(copied.recommend(3, 5).ids) == best  # of its own
    with pytest.raises(errors.StaleParameterError, match="its trainer has ended"):
        reader.recommend(3)
    with pytest.raises(errors.StaleParameterError, match="its trainer has ended"):
        FactorizationRecommender.attach(path)
    assert goes_what_came(before)
    assert not path.exists()
    assert path.is_symlink() == (how is not None)  # leads nowhere


def test_without_a_path_a_killed_trainer_leaves_nothing_at_all():
    trainer = Trainer()
    trainer.ask()
    reader = FactorizationRecommender.attach(trainer.address)
    assert len(reader.users_) == 100
    trainer.end(signal.SIGKILL)
    with pytest.raises(errors.StaleParameterError):
        reader.recommend(3)


def test_readers_follow_tables_that_moved_and_a_link_that_is_replaced(tmp_path):
    model = FactorizationRecommender(loss="bpr", width=4, random_state=0)
    model.begin_stream(reserved=1024)
    path = tmp_path / "live"
    model.publish(path)
    reader = FactorizationRecommender.attach(path)
    users = np.arange(5000)
    model.partial_fit(wp.data.Events(users, users % 10))
    assert np.array_equal(reader.recommend([4999]).ids, model.recommend([4999]).ids)
    assert reader.user_vectors_.shape == (5000, 4)
    model.publish(path)  # anew
    with pytest.raises(errors.StaleParameterError):
        reader.recommend([4999])
    assert len(FactorizationRecommender.attach(path).users_) == 5000
    del model
    assert not path.is_symlink()


def test_each_publication_holds_all_that_was_seen_and_a_failed_one_ends_none(tmp_path):
    model = learned([1] * 5 + [2], [0, 1, 2, 3, 4, 9])
    assert list(model.recommend(1, 1).ids) == [9]
    for path in (tmp_path / "first", tmp_path / "second"):
        model.publish(path)
        with pytest.raises(OSError, match="nowhere"):
            model.publish(tmp_path / "nowhere" / "at all")
        reader = FactorizationRecommender.attach(path)
        assert list(reader.recommend(1, 1).ids) == [9]


def test_a_model_that_another_process_trains_is_not_trained_here():
    model = learned([1, 2], [2, 3])
    place = model.publish()
    reader = FactorizationRecommender.attach(place)
    other = wp.data.Interactions([7, 8], [3, 4])
    for train in (reader.fit, reader.partial_fit, lambda _: reader.begin_stream()):
        with pytest.raises(errors.SettingError, match="`save` it and `load`"):
            train(other)
    assert np.array_equal(reader.predict([1, 2], [2, 3]), model.predict([1, 2], [2, 3]))


def test_what_is_no_published_model_is_refused(tmp_path):
    path = tmp_path / "other"
    path.write_text("hello")
    for wrong in (path, tmp_path / "nothing", "/proc/1/fd/0", "/proc/self/fd/0"):
        with pytest.raises(errors.StaleParameterError, match="attach"):
            FactorizationRecommender.attach(wrong)
