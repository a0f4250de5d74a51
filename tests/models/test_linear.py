"""Linear models of sparse rows: closed forms, optima, scikit-learn's conventions."""

import pickle
from functools import partial

import numpy as np
import pytest
from scipy import optimize, sparse
from scipy.special import expit
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator
from supervised_data import a9a, sparse_rows

import wyrm_py as wp
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DTypeError,
    NotFittedError,
    SettingError,
    ShapeError,
)
from wyrm_py.models import SparseLinear

X = sparse_rows()
TRUTH = np.array([2.0, -1.0, 0.5, 0.0, 1.0, -2.0])
LABELS = (X @ TRUTH > 0.1).astype(int)
NUMBERS = X @ TRUTH + 3


def model(**settings):
    return SparseLinear(**{"random_state": 0, **settings})


# -- steps and optima -------------------------------------------------------------

SLOPES = {  # of the loss by the score, for a target of -1 or 1, or a number
    "logistic": lambda score, target: -target * expit(-target * score),
    "hinge": lambda score, target: -target * (target * score < 1),
    "squared": lambda score, target: 2 * (score - target),
}


@pytest.mark.parametrize("loss", SLOPES)
def test_steps_follow_the_gradient_in_closed_form(loss):
    given = model(loss=loss, optimizer="sgd", learning_rate=0.1)
    classes = [-1, 1] if loss != "squared" else None
    targets = 2 * LABELS - 1 if classes else NUMBERS
    weights, offset = np.zeros(6), 0.0 if classes else NUMBERS[0]
    for k in range(12):
        x, target = X[[k]].toarray()[0], targets[k]
        given.partial_fit(X[[k]], [target], classes=classes)
        slope = SLOPES[loss](x @ weights + offset, target)
        weights, offset = weights - 0.1 * slope * x, offset - 0.1 * slope
        np.testing.assert_allclose(given.coef_, weights, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(given.intercept_, [offset], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared"])
def test_steps_are_those_of_scikit_learn(loss):
    mine = model(loss=loss, optimizer="sgd", learning_rate=0.05)
    settings = dict(learning_rate="constant", eta0=0.05, penalty=None)
    if loss == "squared":  # half of the square there
        other = SGDRegressor(**{**settings, "eta0": 0.1})
        mine.partial_fit(X[[0]] * 0, [0.0])
    else:
        other = SGDClassifier(loss={"logistic": "log_loss"}.get(loss, loss), **settings)
    more = {} if loss == "squared" else {"classes": [0, 1]}
    targets = NUMBERS if loss == "squared" else LABELS
    for k in range(40):
        mine.partial_fit(X[[k]], targets[[k]], **more)
        # dense: of sparse rows it moves the intercept a hundredth as far
        other.partial_fit(X[[k]].toarray(), targets[[k]], **more)
    np.testing.assert_allclose(mine.coef_, other.coef_.ravel(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(mine.intercept_, other.intercept_, rtol=1e-3, atol=1e-5)


def test_logistic_comes_to_the_convex_optimum():
    dense = np.random.default_rng(1).normal(size=(60, 4))
    signs = np.sign(dense @ [1.0, -1.0, 0.5, 0.0] + 0.3)

    def objective(w):
        losses = np.logaddexp(0, -signs * (dense @ w[:4] + w[4]))
        return losses.mean() + 0.01 * (w @ w)  # l2 / 2 on all: every column is stored

    best = optimize.minimize(objective, np.zeros(5), tol=1e-12)
    given = model(epochs=400, l2=0.02).fit(dense, signs)
    found = np.append(given.coef_, given.intercept_)
    assert objective(found) < best.fun + 2e-4
    np.testing.assert_allclose(found, best.x, atol=0.03)


def test_squared_comes_to_least_squares():
    design = np.hstack([X.toarray(), np.ones((40, 1))])
    noisy = NUMBERS + np.random.default_rng(2).normal(0, 0.1, 40)
    best = np.linalg.lstsq(design, noisy, rcond=None)[0]
    given = model(loss="squared", epochs=400, learning_rate=0.3).fit(X, noisy)
    found = np.append(given.coef_, given.intercept_)
    np.testing.assert_allclose(found, best, atol=0.01)
    assert given.score(X, noisy) > 0.99


def test_ftrl_makes_weights_zero_that_say_nothing():
    rng = np.random.default_rng(3)
    rows = sparse.csr_array((rng.random((500, 40)) < 0.3).astype(float))
    labels = rows[:, :2] @ [3.0, -3.0] + rng.normal(0, 0.3, 500) > 0
    zeros = [
        (model(optimizer="ftrl", l1=l1).fit(rows, labels).coef_ == 0).sum()
        for l1 in (0.0, 5.0, 20.0)
    ]
    assert zeros[0] == 0 and zeros[0] < zeros[1] < zeros[2]
    chosen = model(optimizer="ftrl", l1=20.0).fit(rows, labels)
    assert (chosen.coef_[:2] != 0).all() and zeros[2] > 10


def test_real_rows_are_told_apart():
    rows, labels, test, truth = a9a()
    assert model(epochs=5).fit(rows, labels).score(test, truth) >= 0.849


# -- data and labels --------------------------------------------------------------


def test_dense_sparse_and_unsorted_rows_are_one():
    turned = X.tocoo().tocsr()[:, ::-1].tocsc()[:, ::-1].tocsr()
    double = X.copy()
    double.indices = np.repeat(X.indices, 2)  # every entry as two halves
    double.data, double.indptr = np.repeat(X.data, 2) / 2, X.indptr * 2
    wanted = model().fit(X, LABELS).coef_
    for rows in (X.toarray(), X.tocsc(), sparse.coo_matrix(X), turned, double):
        np.testing.assert_allclose(model().fit(rows, LABELS).coef_, wanted, rtol=1e-5)
    assert double.nnz == 2 * X.nnz  # what was given stays


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [3, 7], [-0.0, 1.0]])
def test_labels_may_be_any_two(labels):
    names = np.array(labels)[LABELS]
    given = model(epochs=30).fit(X, names)
    np.testing.assert_array_equal(given.classes_, np.unique(labels))
    assert given.predict(X).dtype == names.dtype
    assert given.score(X, names) > 0.9
    sure = given.predict_proba(X)
    np.testing.assert_allclose(sure.sum(axis=1), 1)
    np.testing.assert_allclose(sure[:, 1], expit(given.decision_function(X)), rtol=1e-6)
    np.testing.assert_array_equal(given.classes_[sure.argmax(1)], given.predict(X))


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_each_of_several_classes_is_trained_against_the_rest(loss):
    names = np.array(["a", "b", "c"])[np.digitize(X @ TRUTH, [-0.7, 0.7])]
    given = model(loss=loss).fit(X, names)
    assert given.coef_.shape == (3, 6) and given.intercept_.shape == (3,)
    for k, name in enumerate(given.classes_):
        alone = model(loss=loss).fit(X, names == name)
        np.testing.assert_allclose(given.coef_[k], alone.coef_, rtol=1e-4, atol=1e-6)
    scores = X @ given.coef_.T + given.intercept_
    np.testing.assert_allclose(given.decision_function(X), scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(given.predict(X), given.classes_[scores.argmax(1)])
    if loss == "logistic":
        sure = expit(scores) / expit(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(given.predict_proba(X), sure, rtol=1e-4)


def test_a_weight_is_a_factor_of_the_gradient():
    weights = np.random.default_rng(5).random(40)
    mine = model(optimizer="sgd", learning_rate=0.1)
    for k in range(20):
        mine.partial_fit(X[[k]], LABELS[[k]], [0, 1], sample_weight=weights[[k]])
    other = model(optimizer="sgd", learning_rate=0.1)
    for k in range(20):
        other.set_params(learning_rate=0.1 * weights[k])
        other.partial_fit(X[[k]], LABELS[[k]], [0, 1])
    np.testing.assert_allclose(mine.coef_, other.coef_, rtol=1e-4, atol=1e-6)


# -- going on ---------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adagrad", "ftrl", "adam"])
def test_new_columns_are_as_if_they_had_always_been_there(optimizer):
    narrow = X[:20, :4].tocsr()
    wide = sparse.hstack([narrow, sparse.csr_array((20, 2))]).tocsr()
    results = []
    for first in (narrow, wide):
        given = model(optimizer=optimizer).partial_fit(first, LABELS[:20], [0, 1])
        given.partial_fit(X[20:], LABELS[20:])
        results.append(given.coef_)
    np.testing.assert_allclose(*results, rtol=1e-6)
    assert given.n_features_in_ == 6 and given.coef_[4:].all()


def test_state_is_kept_between_calls_and_in_files_and_pickles(tmp_path):
    halves = [(X[:20], LABELS[:20]), (X[20:], LABELS[20:])]

    def trained(between):
        given = model().partial_fit(*halves[0], classes=[0, 1])
        return between(given).partial_fit(*halves[1]).coef_

    def from_file(given):
        given.save(tmp_path / "model.wyrm")
        return SparseLinear.load(tmp_path / "model.wyrm")

    wanted = trained(lambda given: given)
    fresh = model().partial_fit(*halves[1], classes=[0, 1]).coef_
    assert not np.allclose(wanted, fresh)
    np.testing.assert_array_equal(trained(from_file), wanted)
    np.testing.assert_array_equal(
        trained(lambda given: pickle.loads(pickle.dumps(given))), wanted
    )


@pytest.mark.parametrize("labels", [["no", "yes"], [0, 1], [False, True], None])
def test_files_keep_the_model(labels, tmp_path):
    loss, names = (
        ("logistic", np.array(labels)[LABELS])
        if labels
        else (
            "squared",
            NUMBERS,
        )
    )
    given = model(loss=loss, optimizer=wp.FTRL(0.2, l1=0.1)).fit(X, names)
    given.save(tmp_path / "model.wyrm")
    again = SparseLinear.load(tmp_path / "model.wyrm")
    np.testing.assert_array_equal(again.predict(X), given.predict(X))
    assert again.predict(X).dtype == given.predict(X).dtype
    assert again.optimizer.l1 == 0.1


def test_files_whose_parts_do_not_fit_are_refused(tmp_path):
    from wyrm_py.arrayfile import read_arrays, write_arrays

    path = tmp_path / "model.wyrm"
    model().fit(X, LABELS).save(path)
    arrays, metadata = read_arrays(path)
    bad = [
        (arrays | {"intercept": np.zeros((1, 4), np.float32)}, metadata),
        ({k: v for k, v in arrays.items() if k != "weights"}, metadata),
        (arrays | {"weights/adagrad.sum": np.zeros((9, 1), np.float32)}, metadata),
        (arrays, metadata | {"classes": ["only"]}),
    ]
    for held, told in bad:
        write_arrays(path, held, told)
        with pytest.raises(CorruptCheckpointError):
            SparseLinear.load(path)


def test_how_rows_are_cut_into_calls_changes_nothing():
    whole = model().partial_fit(X, LABELS, [0, 1])
    parts = model()
    for begin, end in ((0, 1), (1, 20), (20, 40)):
        parts.partial_fit(X[begin:end], LABELS[begin:end], [0, 1])
    np.testing.assert_array_equal(parts.coef_, whole.coef_)
    np.testing.assert_array_equal(parts.intercept_, whole.intercept_)


@pytest.mark.parametrize(
    "change", [dict(learning_rate=0.5), dict(loss="hinge"), dict(optimizer="sgd")]
)
def test_settings_changed_between_calls_take_effect(change):
    """The step that calls share is not that of other settings."""
    given = model().partial_fit(X, LABELS, [0, 1])
    other = pickle.loads(pickle.dumps(given))  # has no step yet
    for each in (given, other):
        each.set_params(**change).partial_fit(X, LABELS)
    same = model().partial_fit(X, LABELS, [0, 1]).partial_fit(X, LABELS)
    np.testing.assert_array_equal(given.coef_, other.coef_)
    assert not np.allclose(given.coef_, same.coef_)


def test_two_workers_train_one_model():
    rows = sparse_rows(400, seed=6)
    labels = rows @ TRUTH > 0
    given = model(n_jobs=2, backend="threads").fit(rows, labels)
    assert given.history_.workers == 2
    assert given.partial_fit(rows, labels).score(rows, labels) > 0.9


def test_fit_starts_anew_also_after_calls_that_went_on():
    given = model().partial_fit(X, LABELS, [0, 1]).fit(X, LABELS)
    np.testing.assert_array_equal(given.coef_, model().fit(X, LABELS).coef_)
    given.partial_fit(X, LABELS)
    assert not np.array_equal(given.coef_, model().fit(X, LABELS).coef_)


# -- scikit-learn -----------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_checks_of_scikit_learn_pass(loss):
    found = check_estimator(model(loss=loss), on_skip=None, on_fail=None)
    failed = {each["check_name"] for each in found if each["status"] == "failed"}
    # an example of weight 2 is one step, not two: as for scikit-learn's own SGD
    assert failed == {
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    }


def test_the_loss_decides_what_the_estimator_is():
    assert is_classifier(SparseLinear("hinge")) and is_regressor(
        SparseLinear("squared")
    )
    assert hasattr(SparseLinear(), "predict_proba")
    assert not hasattr(SparseLinear("hinge"), "predict_proba")
    assert not hasattr(SparseLinear("squared"), "decision_function")
    assert clone(SparseLinear(l1=0.3)).get_params() == SparseLinear(l1=0.3).get_params()


def test_searches_and_pipelines_take_it():
    tokens = [[f"t{c}" for c in X[[k]].indices] for k in range(40)]
    truth = np.array([("t0" in row) for row in tokens])
    pipeline = make_pipeline(
        FeatureHasher(64, input_type="string"), model(epochs=20, learning_rate=0.5)
    )
    grid = {"sparselinear__optimizer": ["sgd", "ftrl"], "sparselinear__l2": [None, 0.1]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(tokens, truth)
    assert search.best_score_ > 0.9
    assert search.best_estimator_.predict_proba(tokens[:3]).shape == (3, 2)


# -- wrong use --------------------------------------------------------------------

NAN = X.toarray()
NAN[2, 3] = np.nan

WRONG = {
    "a NaN in X": (lambda: model().fit(NAN, LABELS), DataError, "NaN"),
    "three axes": (lambda: model().fit(np.ones((2, 2, 2)), [0, 1]), DataError, "dim 3"),
    "a vector": (lambda: model().fit(np.ones(3), [0, 1, 0]), DataError, "1D array"),
    "words in X": (lambda: model().fit([["a"], ["b"]], [0, 1]), DataError, "float"),
    "no rows": (lambda: model().fit(X[:0], []), DataError, "0 sample"),
    "one class": (lambda: model().fit(X, LABELS * 0), DataError, "1 class"),
    "numbers as labels": (lambda: model().fit(X, NUMBERS), DataError, "continuous"),
    "NaN in y": (
        lambda: model(loss="squared").fit(X, NUMBERS * np.nan),
        DataError,
        "y: .*NaN",
    ),
    "too few labels": (lambda: model().fit(X, LABELS[:9]), ShapeError, "got shape"),
    "no y": (lambda: model().fit(X, None), DataError, "y is None"),
    "weights of another length": (
        lambda: model().fit(X, LABELS, sample_weight=[1, 2]),
        ShapeError,
        "sample_weight",
    ),
    "weights below zero": (
        lambda: model().fit(X, LABELS, sample_weight=-np.ones(40)),
        DataError,
        "not below zero",
    ),
    "weights that are words": (
        lambda: model().fit(X, LABELS, sample_weight=["a"] * 40),
        DTypeError,
        "numbers",
    ),
    "groups": (
        lambda: model().fit(X, LABELS, groups=LABELS),
        SettingError,
        "groups are for",
    ),
    "an unknown loss": (
        lambda: model(loss="log").fit(X, LABELS),
        SettingError,
        "one of logistic, hinge, squared",
    ),
    "an unknown optimizer": (
        lambda: model(optimizer="lbfgs").fit(X, LABELS),
        SettingError,
        "optimizer must be",
    ),
    "l1 twice": (
        lambda: model(optimizer=wp.FTRL(), l1=0.1).fit(X, LABELS),
        SettingError,
        "l1 belongs",
    ),
    "a seed below zero": (
        lambda: model(random_state=-1).fit(X, LABELS),
        SettingError,
        "random_state",
    ),
    "a value beyond float32": (
        lambda: model().fit(X * 1e300, LABELS),
        DataError,
        "inf",
    ),
    "l1 below zero": (lambda: model(l1=-1.0).fit(X, LABELS), SettingError, "l1"),
    "no training": (lambda: model().predict(X), NotFittedError, "not been trained"),
    "no coefficients": (lambda: model().coef_, NotFittedError, "not been trained"),
    "no classes": (lambda: model().partial_fit(X, LABELS), SettingError, "first call"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_told(name):
    call, kind, words = WRONG[name]
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda m: m.predict(X[:, :5]), ShapeError, "expecting 6 features"),
        (lambda m: m.partial_fit(X[:, :5], LABELS), ShapeError, "expecting 6 features"),
        (lambda m: m.partial_fit(X, LABELS + 1), DataError, r"\[2\].*none of"),
        (lambda m: m.partial_fit(X, LABELS, classes=[0, 2]), SettingError, "must stay"),
        (lambda m: m.fit(X, LABELS * 0), DataError, "1 class"),
        (lambda m: m.fit(NAN, LABELS), DataError, "NaN"),
        (lambda m: m.set_params(l2=-1).fit(X, LABELS), SettingError, "l2"),
        (lambda m: m.set_params(epochs=0.5).fit(X, 1 - LABELS), SettingError, "epochs"),
        (lambda m: m.set_params(backend="x").fit(X, LABELS), SettingError, "backend"),
        (
            lambda m: m.set_params(n_jobs=0).partial_fit(np.ones((40, 9)), LABELS),
            SettingError,
            "n_jobs",
        ),
    ],
)
def test_wrong_use_leaves_what_was_fitted(call, kind, words):
    given = model().fit(X, LABELS)
    before = given.coef_.copy()
    with pytest.raises(kind, match=words):
        call(given)
    np.testing.assert_array_equal(given.coef_, before)


def test_a_refused_first_call_leaves_nothing():
    given = model(n_jobs=0)
    for call in given.fit, partial(given.partial_fit, classes=[0, 1]):
        with pytest.raises(SettingError, match="n_jobs"):
            call(X, LABELS)
        with pytest.raises(NotFittedError):
            given.predict(X)
