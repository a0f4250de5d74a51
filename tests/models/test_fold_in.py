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


def test_several_users_at_once_get_what_each_gets_alone(fitted):
    met = [["i1", "i3", "i5"], ["i4"], ["i7", "i9"]]
    alone = [fitted.predict_history(history) for history in met]
    together = fitted.predict_history(met)
    assert together.shape == (3, SIZE)
    # draws differ, what was learned of the checkerboard does not
    for scores, others in zip(together, alone, strict=True):
        even = fitted.items_.codes([f"i{item}" for item in range(0, SIZE, 2)])
        side = np.isin(np.arange(SIZE), even)
        assert (scores[side].min() > scores[~side].max()) == (
            others[side].min() > others[~side].max()
        )
        assert np.corrcoef(scores, others)[0, 1] > 0.9
    vectors = fitted.fold_in(met)
    assert vectors.shape == (3, 8)
    products = vectors @ fitted.item_vectors_.T + fitted.item_biases_
    for row, product in zip(together - products, products, strict=True):
        np.testing.assert_allclose(row, row[0], atol=1e-4 * np.abs(product).max())
    ids, scores = fitted.recommend_history(met, n=4)
    assert ids.shape == scores.shape == (3, 4)
    for history, found, points, every in zip(met, ids, scores, together, strict=True):
        assert not set(found) & set(history)
        left = np.sort(np.delete(every, fitted.items_.codes(history)))[::-1]
        np.testing.assert_allclose(points, left[:4], rtol=1e-5)
    some = fitted.recommend_history(met, n=2, filter=["i8", "i11", "i13", "?"])
    assert set(some.ids.ravel()) == {"i8", "i11", "i13"}


def test_a_list_of_one_user_is_a_list(fitted):
    assert fitted.fold_in([["i1", "i3"]]).shape == (1, 8)
    assert fitted.recommend_history([["i1", "i3"]], n=3).ids.shape == (1, 3)
    assert np.array_equal(
        fitted.fold_in([["i1", "i3"]])[0], fitted.fold_in(["i1", "i3"])
    )


def test_a_context_counts_for_new_users_too():
    data, rng = checkerboard(), np.random.default_rng(0)
    context = np.eye(2, dtype=np.float32)[rng.integers(0, 2, len(data.items))]
    model = FactorizationRecommender("bpr", 8, epochs=20, random_state=0)
    model.fit(data, context=context)
    met = ["i1", "i3"]
    there = model.in_context([[0.0, 1.0]])
    added = model.item_vectors_ @ model.context_vectors_[1]
    expected = model.predict_history(met) + added
    np.testing.assert_allclose(
        there.predict_history(met), expected, rtol=1e-4, atol=1e-5
    )
    best = there.recommend_history(met, 1, exclude_seen=False)
    assert best.ids[0] == model.item_ids_[np.argmax(expected)]


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
    both = model.fold_in([met, met[:1]], [ratings, [2.0]])
    np.testing.assert_array_equal(both[0], found)
    np.testing.assert_array_equal(both[1], model.fold_in(met[:1], [2.0]))
    # few ratings and no penalty: the solution of minimum norm, which fits them
    model.set_params(l2=0.0)
    exact = model.predict_history([2, 5], [1.0, 4.0])
    np.testing.assert_allclose(exact[model.items_.codes([2, 5])], [1, 4], atol=1e-3)


def test_wrong_use_is_refused(fitted):
    with pytest.raises(NotFittedError, match="fold_in"):
        FactorizationRecommender().fold_in(["i1"])
    with pytest.raises(UnknownIdError, match="'i99'"):
        fitted.fold_in(["i1", "i99"])
    with pytest.raises(DataError, match="predict_history: a list of at least one item"):
        fitted.predict_history([])
    for wrong in ([["i1"], []], ["i1", ["i2"]], "i1", 5):
        with pytest.raises(DataError, match="fold_in: a list of at least one item"):
            fitted.fold_in(wrong)
    model = FactorizationRecommender("squared", 4, epochs=1).fit(rated())
    with pytest.raises(DataError, match="ratings of the items are required"):
        model.fold_in([2])
    with pytest.raises(ShapeError, match="one length"):
        model.fold_in([2, 3], [1.0])
    for wrong in ([1.0], [[1.0, 2.0], [1.0, 2.0]], 1.0):
        with pytest.raises(ShapeError, match="one length"):
            model.fold_in([[2, 3], [4]], wrong)
    with pytest.raises(DataError, match="finite"):
        model.fold_in([2], [np.nan])
