"""What `wp.fit` offers a training, through the estimators."""

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.split import random_split
from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.errors import DataError, SettingError, ShapeError
from wyrm_py.models import (
    FactorizationMachine,
    FactorizationRecommender,
    SequenceRecommender,
    SparseLinear,
)


@pytest.fixture(scope="module")
def halves():
    data = synthetic_ratings(1500, 100, 60, random_state=0)
    return random_split(data, random_state=0)


def test_held_out_interactions_give_validation_losses(halves):
    """Squared loss: the mean over held-out ratings can be had from `predict`."""
    train, test = halves
    model = FactorizationRecommender("squared", 4, 3, random_state=0)
    model.fit(train, validation=test)
    users, items = test.user_ids[test.users], test.item_ids[test.items]
    errors = (model.predict(users, items) - test.ratings) ** 2
    losses = model.history_.validation_losses
    assert len(losses) == 3 and losses[-1] == pytest.approx(errors.mean(), rel=1e-4)


def test_training_stops_by_a_metric_of_the_model_and_keeps_the_best(halves):
    train, test = halves
    best = {}

    def auc(model):
        found = model.score(test)
        best.setdefault(found, model.item_vectors_.copy())
        return found

    model = FactorizationRecommender("bpr", 8, 60, learning_rate=0.5, random_state=0)
    model.fit(train, validation=auc, stop=wp.EarlyStopping("auc", patience=2))
    history = model.history_
    assert len(history.losses) < 60
    top = max(row["auc"] for row in history.metrics)
    assert history.metrics[history.best_epoch]["auc"] == top == model.score(test)
    np.testing.assert_array_equal(model.item_vectors_, best[top])


def test_columns_and_functions_go_together_also_with_context(halves):
    train, test = halves
    context = sparse.csr_array(np.ones((len(train), 2), np.float32))
    model = FactorizationRecommender("bpr", 4, 2, random_state=0)
    model.fit(train, context=context, validation=[test, lambda model: {"one": 1}])
    assert len(model.history_.validation_losses) == 2
    assert model.history_.metrics == [{"one": 1.0}] * 2


def test_strangers_in_validation_are_left_out_and_only_strangers_refused(halves):
    train, _ = halves
    strangers = Interactions([900, 901], [900, 901])
    model = FactorizationRecommender("bpr", 4, 1, random_state=0)
    with pytest.raises(DataError, match="got none among 2"):
        model.fit(train, validation=strangers)
    assert not hasattr(model, "users_")


def test_sequence_models_take_functions(halves):
    train, _ = halves

    def items(model):
        return len(model.recommend_history(model.item_ids_[:2], 5).ids)

    model = SequenceRecommender(model="pooling", epochs=2, random_state=0)
    model.fit(train, validation=items)
    assert [row["items"] for row in model.history_.metrics] == [5.0, 5.0]


def test_a_run_of_an_estimator_is_kept_while_it_trains(halves, tmp_path):
    train, _ = halves
    model = FactorizationRecommender("bpr", 4, 2, random_state=0)
    model.fit(train, checkpoint=wp.Checkpoint(tmp_path / "file"))
    kept = wp.read_manifest(tmp_path / "file")["metadata"]["history"]
    assert wp.History.from_dict(kept).losses == model.history_.losses


def rows(count=300, columns=12):
    """Return labels that a linear model can learn."""
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((count, columns), density=0.4, rng=rng).tocsr()
    return matrix, np.where(matrix @ rng.normal(size=columns) > 0, "yes", "no")


@pytest.mark.parametrize("loss", ["bpr", "squared"])
def test_a_run_that_was_interrupted_goes_on_to_the_same_model(halves, tmp_path, loss):
    train, _ = halves
    settings = {"width": 4, "epochs": 5, "random_state": 3}
    whole = FactorizationRecommender(loss, **settings).fit(train)

    def fail(history):
        if len(history.losses) == 3:
            raise InterruptedError

    checkpoint = wp.Checkpoint(tmp_path / "file", every=1e-9)
    model = FactorizationRecommender(loss, **settings)
    with pytest.raises(InterruptedError):
        model.fit(train, checkpoint=checkpoint, callbacks=[fail])
    assert not hasattr(model, "item_vectors_")
    model.fit(train, resume=tmp_path / "file")
    assert model.history_.losses == whole.history_.losses
    for name in ("user_vectors_", "item_vectors_", "item_biases_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(whole, name))


@pytest.mark.parametrize("fields", [None, np.arange(12) % 3])
def test_held_out_rows_give_the_log_loss(fields):
    X, y = rows()
    model = FactorizationMachine(width=2, fields=fields, epochs=2, random_state=0)
    model.fit(X[:200], y[:200], validation=(X[200:], y[200:]))
    chosen = model.predict_proba(X[200:])[
        np.arange(100), (y[200:] == "yes").astype(int)
    ]
    expected = pytest.approx(-np.log(chosen).mean(), rel=1e-4)
    assert model.history_.validation_losses[-1] == expected


def test_a_linear_model_stops_by_its_own_score_and_keeps_the_best(tmp_path):
    X, y = rows()
    scores = []

    def accuracy(model):
        scores.append(model.score(X[200:], y[200:]))
        return scores[-1]

    model = SparseLinear(epochs=200, random_state=0)
    model.fit(
        X[:200],
        y[:200],
        validation=[(X[200:], y[200:]), accuracy],
        stop=wp.EarlyStopping("accuracy", patience=2),
        checkpoint=wp.Checkpoint(tmp_path / "file"),
    )
    assert len(model.history_.losses) < 200
    assert model.score(X[200:], y[200:]) == max(scores)
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        (3, SettingError, "must be"),
        ((np.ones((2, 5)), ["yes", "no"]), ShapeError, "12 columns"),
        ((np.ones((2, 12)), ["yes", "maybe"]), DataError, "got .'maybe'"),
        ((np.ones((2, 12)), ["yes"]), ShapeError, "validation"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_anything_changes(
    validation, error, message
):
    X, y = rows()
    model = SparseLinear(epochs=1, random_state=0).fit(X, y)
    before = model.coef_.copy()
    with pytest.raises(error, match=message):
        model.fit(X, y, validation=validation)
    np.testing.assert_array_equal(model.coef_, before)


def test_losses_that_rank_take_functions_only():
    X, _ = rows(40)
    model, y = FactorizationMachine("bpr", 2, epochs=2, random_state=0), np.arange(40)
    model.fit(X, y, validation=lambda model: {"two": 2})
    assert model.history_.metrics == [{"two": 2.0}] * 2
    for given in ({"validation": (X, y)}, {"stop": wp.EarlyStopping("loss")}):
        with pytest.raises(SettingError, match="rank"):
            model.fit(X, y, **given)
