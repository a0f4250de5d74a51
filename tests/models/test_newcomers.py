"""New users by what they met: folded in as if they had been there in training."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import DataError, NotFittedError, ShapeError, UnknownIdError
from wyrm_py.models import FactorizationRecommender

SIZE = 20


def checkerboard():
    """Return even users with even items and odd with odd."""
    users, items = np.indices((SIZE, SIZE)).reshape(2, -1)
    same = (users + items) % 2 == 0
    return Interactions(users[same], [f"i{item}" for item in items[same]])


@pytest.fixture(scope="module", params=["bpr", "warp", "warp-kos", "logistic"])
def fitted(request):
    rate = {"learning_rate": 0.1, "l2": 0.0, "random_state": 0}
    return FactorizationRecommender(request.param, 8, epochs=60, **rate).fit(
        checkerboard()
    )


@pytest.mark.parametrize("first", [0, 1])
def test_a_new_user_gets_what_those_like_him_met(fitted, first):
    met = [f"i{first}", f"i{first + 2}", f"i{first + 8}"]
    vectors = fitted.user_vectors_.copy(), fitted.item_vectors_.copy()
    best = fitted.recommend_history(met, n=7)
    wanted = {f"i{item}" for item in range(first, SIZE, 2)} - set(met)
    assert set(best.ids) == wanted
    again = fitted.recommend_history(met, n=10, exclude_seen=False)
    assert set(again.ids) == wanted | set(met)
    scores = fitted.predict_history(met)
    codes = fitted.items_.codes(best.ids)
    np.testing.assert_allclose(scores[codes], best.scores, rtol=1e-5)
    assert fitted.fold_in(met).shape == (8,)
    assert np.array_equal(fitted.fold_in(met), fitted.fold_in(met))
    assert np.array_equal(vectors[0], fitted.user_vectors_)
    assert np.array_equal(vectors[1], fitted.item_vectors_)


def rated():
    rng = np.random.default_rng(0)
    users, items = np.indices((30, 12)).reshape(2, -1)
    tastes, places = rng.standard_normal((30, 2)), rng.standard_normal((12, 2))
    ratings = 3 + (tastes[users] * places[items]).sum(1)
    return Interactions(users, items, ratings)


def test_squared_loss_folds_in_by_ridge_regression():
    l2 = 0.3
    model = FactorizationRecommender("squared", 4, l2=l2, epochs=30, random_state=0)
    model.fit(rated())
    met, ratings = [2, 5, 7, 8, 11], [1.0, 4.0, 2.5, 3.0, 5.0]
    codes = model.items_.codes(met)
    rows = np.column_stack([model.item_vectors_[codes], np.ones(5)])
    wanted = np.array(ratings) - model.mean_ - model.item_biases_[codes]
    ridge = Ridge(alpha=0.5 * l2 * 5, fit_intercept=False).fit(rows, wanted)
    found = model.fold_in(met, ratings)
    np.testing.assert_allclose(found, ridge.coef_[:4], rtol=1e-4, atol=1e-5)
    expected = model.item_vectors_ @ ridge.coef_[:4] + model.item_biases_
    expected += ridge.coef_[4] + model.mean_
    scores = model.predict_history(met, ratings)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    # few ratings and no penalty: the solution of minimum norm, which fits them
    model.set_params(l2=0.0)
    exact = model.predict_history([2, 5], [1.0, 4.0])
    np.testing.assert_allclose(exact[model.items_.codes([2, 5])], [1, 4], atol=1e-3)


def test_wrong_use_is_refused(fitted):
    with pytest.raises(NotFittedError, match="fold_in"):
        FactorizationRecommender().fold_in(["i1"])
    with pytest.raises(UnknownIdError, match="'i99'"):
        fitted.fold_in(["i1", "i99"])
    with pytest.raises(DataError, match="predict_history: a history of at least one"):
        fitted.predict_history([])
    model = FactorizationRecommender("squared", 4, epochs=1).fit(rated())
    with pytest.raises(DataError, match="ratings of the items are required"):
        model.fold_in([2])
    with pytest.raises(ShapeError, match="one length"):
        model.fold_in([2, 3], [1.0])
    with pytest.raises(DataError, match="finite"):
        model.fold_in([2], [np.nan])
