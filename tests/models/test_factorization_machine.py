"""Factorisation machines: brute force over pairs, learning, ranking, files."""

import pickle
from itertools import combinations

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from supervised_data import a9a, sparse_rows

import wyrm_py as wp
from wyrm_py.errors import DataError, SettingError, ShapeError
from wyrm_py.models import FactorizationMachine, SparseLinear
from wyrm_py.models.factorization_machine import by_field

FIELDS = np.array([0, 2, 1, 0, 2, 2])
X = sparse_rows()
NUMBERS = 2 * X[:, [0]].toarray().ravel() - X[:, [1]].multiply(X[:, [2]]).sum(1)
LABELS = (NUMBERS > 0).astype(int)


def machine(**settings):
    return FactorizationMachine(**{"random_state": 0, "width": 3, **settings})


def by_hand(rows, weights, intercept, factors, fields=None):
    """Return scores in float64, pair after pair, as in the papers."""
    scores = []
    for x in rows.toarray().astype(float):
        total = intercept + x @ weights
        for i, j in combinations(np.flatnonzero(x), 2):
            left = factors[i] if fields is None else factors[i, fields[j]]
            right = factors[j] if fields is None else factors[j, fields[i]]
            total += left @ right * x[i] * x[j]
        scores.append(total)
    return np.array(scores)


def scores_by_hand(given, rows):
    parts = given.coef_, given.intercept_[0], given.factors_, given.fields
    return by_hand(rows, *parts)


@pytest.mark.parametrize("fields", [None, FIELDS])
def test_scores_are_the_sums_over_pairs(fields):
    given = machine(loss="squared", fields=fields, initial_scale=1.0, epochs=2)
    given.fit(X, NUMBERS)
    assert given.factors_.shape == ((6, 3) if fields is None else (6, 3, 3))
    np.testing.assert_allclose(
        given.predict(X), scores_by_hand(given, X), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("fields", [None, FIELDS])
def test_a_step_follows_central_differences(fields):
    """Of the loss by hand, in every parameter."""
    given = machine(
        fields=fields, optimizer="sgd", learning_rate=0.1, initial_scale=1.0
    )
    given.set_params(epochs=0).fit(X, LABELS)
    before = [given.coef_, given.intercept_, given.factors_]
    before = [part.astype(float) for part in before]
    row = sparse.csr_array(X[[3]])

    def loss_by_hand(w, b, v):
        (score,) = by_hand(row, w, b[0], v, fields)
        return np.logaddexp(0, -score)

    given.partial_fit(row, [1])
    after = given.coef_, given.intercept_, given.factors_
    for k, (first, last) in enumerate(zip(before, after, strict=True)):
        slope = np.empty_like(first)
        for place in np.ndindex(first.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [part.copy() for part in before]
                moved[k][place] += step
                ends.append(loss_by_hand(*moved))
            slope[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(last, first - 0.1 * slope, rtol=1e-3, atol=1e-5)


def test_pairs_tell_what_columns_alone_cannot():
    """Exclusive or: a line is right half of the time."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (400, 2))
    rows = np.eye(4)[bits + np.array([0, 2])].sum(axis=1)  # one-hot, two columns a bit
    truth = bits[:, 0] != bits[:, 1]
    assert SparseLinear(random_state=0).fit(rows, truth).score(rows, truth) < 0.7
    for fields in (None, [0, 0, 1, 1]):
        given = machine(fields=fields, epochs=20, learning_rate=0.3)
        assert given.fit(rows, truth).score(rows, truth) == 1.0


def test_real_rows_are_told_apart():
    rows, labels, test, truth = a9a()
    assert machine(width=8, epochs=5).fit(rows, labels).score(test, truth) >= 0.849


def test_rows_cut_by_field_hold_what_they_held():
    parts = by_field(X, FIELDS, 3).toarray().reshape(40, 3, 6)
    for field in range(3):
        np.testing.assert_array_equal(
            parts[:, field], np.where(FIELDS == field, X.toarray(), 0)
        )


@pytest.mark.parametrize("fields", [None, FIELDS])
def test_columns_named_twice_in_a_row_are_added_up(fields):
    double = X.copy()
    double.indices, double.indptr = np.repeat(X.indices, 2), X.indptr * 2
    double.data = np.repeat(X.data, 2) / 2
    given = machine(loss="squared", fields=fields).fit(X, NUMBERS)
    again = machine(loss="squared", fields=fields).fit(double, NUMBERS)
    np.testing.assert_allclose(again.factors_, given.factors_, rtol=1e-5)
    np.testing.assert_allclose(given.predict(double), given.predict(X), rtol=1e-5)


# -- ranking ----------------------------------------------------------------------


@pytest.mark.parametrize("fields", [None, FIELDS])
def test_rows_are_ranked_within_their_group(fields):
    """What sets groups apart, however far, says nothing."""
    groups = np.repeat(np.arange(8), 5)
    relevance = np.round(NUMBERS - NUMBERS.min()) + 1000.0 * (groups % 2)
    given = machine(loss="bpr", fields=fields, epochs=20, learning_rate=0.5)
    losses = []
    given.fit(
        X, relevance, groups=groups, callbacks=[lambda h: losses.append(len(h.losses))]
    )
    assert losses == list(range(1, 21)) and len(given.history_.losses) == 20
    assert given.history_.losses[-1] < 0.5 * given.history_.losses[0]
    assert given.score(X, relevance, groups=groups) > 0.95
    np.testing.assert_allclose(
        given.predict(X), scores_by_hand(given, X), rtol=1e-3, atol=1e-3
    )
    assert given.intercept_ == 0 and not hasattr(given, "predict_proba")


def test_a_callback_ends_a_ranking():
    given = machine(loss="bpr", epochs=9)
    given.fit(X, NUMBERS, callbacks=[lambda history: len(history.losses) == 2])
    assert len(given.history_.losses) == 2


def test_one_seed_gives_one_ranking():
    fits = [machine(loss="bpr").fit(X, NUMBERS).predict(X) for _ in range(2)]
    np.testing.assert_array_equal(*fits)


def test_pairs_without_weight_are_not_learned():
    """Only the pairs whose better row has a weight count: here, those of group 0."""
    groups = np.repeat([0, 1], 20)
    relevance = np.where(groups == 0, NUMBERS, -NUMBERS)
    given = machine(loss="bpr", epochs=20, learning_rate=0.5)
    given.fit(X, relevance, sample_weight=1.0 * (groups == 0), groups=groups)
    assert given.score(X[:20], relevance[:20]) > 0.95
    assert given.score(X[20:], relevance[20:]) < 0.3


# -- going on, files, scikit-learn ------------------------------------------------


def test_new_columns_get_vectors_and_old_ones_keep_theirs():
    given = machine().partial_fit(X[:, :4].tocsr(), LABELS, classes=[0, 1])
    before = given.factors_.copy(), given.coef_.copy()
    given.partial_fit(sparse.csr_array((1, 6)), [1])  # stores nothing
    assert given.factors_.shape == (6, 3) and given.n_features_in_ == 6
    np.testing.assert_array_equal(given.factors_[:4], before[0])
    np.testing.assert_array_equal(given.coef_[:4], before[1])
    assert given.factors_[4:].all() and not given.coef_[4:].any()
    assert given.factors_[4:].std() < 0.2


@pytest.mark.parametrize(
    ("fields", "loss"), [(None, "logistic"), (FIELDS, "squared"), (FIELDS, "bpr")]
)
def test_files_and_pickles_keep_the_model(fields, loss, tmp_path):
    targets = LABELS if loss == "logistic" else NUMBERS
    given = machine(loss=loss, fields=fields, epochs=2).fit(X, targets)
    given.save(tmp_path / "machine.wyrm")
    for again in (
        FactorizationMachine.load(tmp_path / "machine.wyrm"),
        pickle.loads(pickle.dumps(given)),
    ):
        np.testing.assert_array_equal(again.predict(X), given.predict(X))
        assert clone(again).get_params().keys() == given.get_params().keys()
        again.partial_fit(X, targets)
    np.testing.assert_array_equal(
        again.factors_, clone(given).fit(X, targets).partial_fit(X, targets).factors_
    )


def test_searches_take_it():
    grid = {"width": [2, 4], "fields": [None, FIELDS]}
    search = GridSearchCV(machine(loss="squared"), grid, cv=2).fit(X, NUMBERS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# -- wrong use --------------------------------------------------------------------

WRONG = {
    "fields of another length": (dict(fields=[0, 1]), ShapeError, "2 for 6 columns"),
    "fields below zero": (dict(fields=FIELDS - 1), SettingError, r"\[0, 6\)"),
    "fields that are no integers": (dict(fields=FIELDS / 2), SettingError, "integers"),
    "fields of two axes": (dict(fields=[FIELDS]), SettingError, r"shape \(1, 6\)"),
    "fields beyond": (dict(fields=FIELDS << 40), SettingError, r"\[0, 6\)"),
    "no width": (dict(width=0), SettingError, "width must be a whole number of 1"),
    "a width of words": (dict(width="a"), SettingError, "width must be a whole"),
    "a scale below zero": (dict(initial_scale=-1), SettingError, "initial_scale"),
    "an unknown loss": (dict(loss="hinge"), SettingError, "logistic, squared, bpr"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_settings_are_told_before_anything_changes(name):
    settings, kind, words = WRONG[name]
    given = machine().fit(X, LABELS)
    before = given.factors_.copy()
    given.set_params(**settings)
    with pytest.raises(kind, match=words):
        given.fit(X, LABELS)
    given.set_params(fields=None, width=3)
    np.testing.assert_array_equal(given.factors_, before)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: machine().fit(X, np.arange(40) % 3), DataError, "OneVsRest"),
        (lambda: machine(loss="bpr").fit(X, 0 * NUMBERS), DataError, "nothing to rank"),
        (
            lambda: machine(loss="bpr").fit(X, NUMBERS, groups=np.arange(40)),
            DataError,
            "nothing to rank",
        ),
        (
            lambda: machine(loss="bpr").fit(X, NUMBERS, groups=[1, 2]),
            ShapeError,
            "groups must have",
        ),
        (lambda: machine().fit(X, LABELS, groups=LABELS), SettingError, "groups are"),
        (
            lambda: (
                machine(fields=FIELDS)
                .fit(X, LABELS)
                .partial_fit(sparse.csr_array((1, 7)), [1])
            ),
            ShapeError,
            "6 for 7 columns",
        ),
        (
            lambda: machine(learning_rate=1e30, optimizer="sgd").fit(X, LABELS),
            wp.errors.DivergenceError,
            "learning rate",
        ),
    ],
)
def test_wrong_use_is_told(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
