"""What all estimators share: settings as scikit-learn wants them, and files."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

import wyrm_py as wp
from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.errors import (
    CorruptCheckpointError,
    NotFittedError,
    SettingError,
    UnsavableError,
)
from wyrm_py.models.base import Estimator


@dataclass(eq=False, repr=False)
class Line(Estimator):
    """Least squares through the origin."""

    _kind: ClassVar[str] = "line"

    optimizer: object = "sgd"
    learning_rate: object = None
    l2: object = None
    epochs: int = 5
    n_jobs: int = 1
    backend: str = "processes"
    random_state: object = 0

    def fit(self, x, y, **more):
        slope = wp.ParameterNode([[0.0]])
        left, right = wp.InputNode([[0.0]]), wp.InputNode([[0.0]])
        optimizer = self._make_optimizer(wp.SGD(0.1))
        more.setdefault("progress", False)
        inputs = {left: x, right: y}
        self._train((slope * left - right).square(), optimizer, inputs, **more)
        self.slope_ = slope.value[0].copy()
        return self

    def score(self, x, y):
        return -float(np.square(self.slope_ * np.asarray(x).ravel() - y).mean())

    def _to_arrays(self):
        return {"slope": self.slope_}

    def _metadata(self):
        return {"unit": "m"}

    def _take(self, arrays, metadata):
        if metadata["unit"] != "m" or arrays["slope"].shape != (1,):
            raise ValueError("no line")
        self.slope_ = arrays["slope"]


X = np.linspace(-1, 1, 60).reshape(-1, 1)
Y = 3 * X[:, 0]


def test_settings_are_listed_cloned_and_searched():
    model = Line(epochs=3)
    assert model.get_params()["epochs"] == 3
    assert clone(model).get_params() == model.get_params()
    grid = {"epochs": np.array([0, 20]), "learning_rate": [0.1]}
    search = GridSearchCV(model, grid, cv=2).fit(X, Y)
    assert search.best_params_["epochs"] == 20
    assert search.best_estimator_.slope_[0] == pytest.approx(3, abs=0.01)


def test_training_passes_settings_on_and_keeps_the_history():
    seen = []
    model = Line(epochs=7).fit(
        X, Y, callbacks=[lambda h: len(seen.append(1) or seen) == 4]
    )
    assert len(model.history_.losses) == 4
    assert model.history_.seed == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, wp.SGD(0.3, l2=0.01)),
        ({"learning_rate": 0.2}, wp.SGD(0.2, l2=0.01)),
        ({"l2": 0.0}, wp.SGD(0.3)),
        ({"optimizer": "adagrad"}, wp.Adagrad()),
        ({"optimizer": "adam", "learning_rate": 0.2, "l2": 0.1}, wp.Adam(0.2, l2=0.1)),
        ({"optimizer": "ftrl"}, wp.FTRL()),
        ({"optimizer": wp.SGD(0.7)}, wp.SGD(0.7)),
    ],
)
def test_the_optimizer_is_the_default_with_what_the_settings_say(settings, expected):
    made = Line(**settings)._make_optimizer(wp.SGD(0.3, l2=0.01))
    assert repr(made) == repr(expected)
    assert made is not settings.get("optimizer")


def test_impossible_optimizers_are_refused():
    for settings, message in [
        ({"optimizer": "best"}, "adagrad, adam, ftrl, sgd"),
        ({"optimizer": 3}, "adagrad"),
        ({"optimizer": wp.SGD(0.1), "l2": 0.1}, "Set them there"),
        ({"learning_rate": -1}, "learning_rate"),
    ]:
        with pytest.raises(SettingError, match=message):
            Line(**settings).fit(X, Y)


def test_a_fitted_model_survives_pickle_and_a_file(tmp_path):
    rate = wp.schedules.Exponential(0.1, gamma=0.9)
    model = Line(learning_rate=rate, epochs=np.int64(4)).fit(X, Y)
    model.save(tmp_path / "m")
    for again in (pickle.loads(pickle.dumps(model)), Line.load(tmp_path / "m")):
        assert again.slope_ == model.slope_
        assert again.epochs == 4
        assert repr(again.learning_rate) == repr(rate)
        check_is_fitted(again)
        again.fit(X, Y)
        assert again.slope_ == model.slope_
    optimizer = wp.Adagrad(0.5, l2=0.1)
    Line(optimizer).fit(X, Y).save(tmp_path / "m")
    assert repr(Line.load(tmp_path / "m").optimizer) == repr(optimizer)


def test_what_was_not_fitted_or_cannot_be_held_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError, match="save: the Line has not been trained"):
        Line().save(tmp_path / "m")
    with pytest.raises(UnsavableError, match="n_jobs"):
        Line().fit(X, Y).set_params(n_jobs=print).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "m"
    Line().fit(X, Y).save(path)
    arrays, metadata = read_arrays(path)

    def refused(match, arrays=arrays, **changed):
        write_arrays(tmp_path / "bad", arrays, metadata | changed)
        with pytest.raises(CorruptCheckpointError, match=match):
            Line.load(tmp_path / "bad")

    refused("'parameters', a Line needs 'line'", kind="parameters")
    refused("fit together", settings=None)
    refused("fit together", settings={"colour": 1})
    refused("fit together", settings={"optimizer": {"class": "os.system"}})
    refused("fit together", unit="km")
    refused("fit together", arrays={"slope": np.zeros(2)})
    refused("fit together", arrays={"other": np.zeros(1)})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptCheckpointError):
        Line.load(path)


def test_functions_of_validation_take_the_estimator():
    seen = []

    def slope(model):
        seen.append(model)
        return len(seen)

    model = Line(epochs=4)
    stop = wp.EarlyStopping(metric="slope", patience=1, mode="min")
    model.fit(np.ones(8), np.ones(8), validation=slope, stop=stop)
    assert seen == [model] * 2  # it got no better
    assert model.history_.metrics == [{"slope": 1.0}, {"slope": 2.0}]


def test_the_history_is_kept_in_files(tmp_path):
    model = Line().fit(np.ones(8), np.ones(8))
    model.save(tmp_path / "file")
    assert Line.load(tmp_path / "file").history_ == model.history_
    saved = wp.read_manifest(tmp_path / "file")["metadata"]["history"]
    assert wp.History.from_dict(saved) == model.history_
