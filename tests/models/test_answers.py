"""Answers of a fitted recommender, compared with whole sorts in plain NumPy."""

import numpy as np
import pytest
import scipy.sparse as sp

from wyrm_py.data import Interactions
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    NotFittedError,
    SettingError,
    ShapeError,
    UnknownIdError,
)
from wyrm_py.models.answers import Answers
from wyrm_py.models.seen import Seen

USERS = ["ann", "bob", "cyd", "dan", "eve"]


class Model(Answers):
    """Vectors made up, as if they had been fitted."""

    n_jobs = 2

    def __init__(self, n_items=40, width=6, seed=0, features=None):
        rng = np.random.default_rng(seed)
        self.user_vectors_ = rng.standard_normal((len(USERS), width), np.float32)
        self.item_vectors_ = rng.standard_normal((n_items, width), np.float32)
        self.item_biases_ = rng.standard_normal(n_items, np.float32)
        self.users_, self.items_ = IdMap(USERS, "user"), IdMap(self.names(n_items))
        self.met = sp.csr_array(rng.random((len(USERS), n_items)) < 0.3)
        self.seen_ = Seen.of(self.met)
        self.feature_vectors = features

    def names(self, n_items):
        return np.arange(n_items) * 10 + 5

    def _require_fitted(self, who):
        if not hasattr(self, "users_"):
            raise NotFittedError(f"{who}: not fitted")

    def _tastes(self, who, users, features):
        if self.feature_vectors is None:
            return super()._tastes(who, users, features)
        known = self.user_vectors_[users] * (users >= 0)[:, None]
        vectors = known if features is None else known + features @ self.feature_vectors
        return vectors.astype(np.float32), np.arange(len(users), dtype=np.float32)

    def scores(self):
        return self.user_vectors_ @ self.item_vectors_.T + self.item_biases_


def order(scores, n):
    return np.argsort(-scores, axis=-1, kind="stable")[..., :n]


def test_recommend_gives_the_unseen_items_with_the_highest_scores():
    model = Model()
    scores = np.where(model.met.toarray(), -np.inf, model.scores())
    ids, found = model.recommend(["cyd", "ann", "cyd"], n=7)
    expected = order(scores[[2, 0, 2]], 7)
    np.testing.assert_array_equal(ids, expected * 10 + 5)
    np.testing.assert_allclose(
        found, np.take_along_axis(scores[[2, 0, 2]], expected, 1), rtol=1e-5
    )
    single = model.recommend("cyd", n=7)
    assert single.ids.shape == single.scores.shape == (7,)
    np.testing.assert_array_equal(single.ids, ids[0])
    np.testing.assert_array_equal(single.scores, found[0])
    again = model.recommend("cyd", n=7, exclude_seen=False)
    np.testing.assert_array_equal(again.ids, order(model.scores()[2], 7) * 10 + 5)


def test_a_filter_allows_only_its_items_and_places_left_over_are_marked():
    model = Model()
    unseen = [i for i in range(40) if not model.met[1, i]][:2]
    wanted = [i * 10 + 5 for i in unseen] + [7, 8]  # 7 and 8 are not known
    ids, scores = model.recommend("bob", n=4, filter=wanted)
    best = sorted(unseen, key=lambda i: -model.scores()[1, i])
    assert ids.tolist() == [i * 10 + 5 for i in best] + [-1, -1]
    assert (scores[2:] == -np.inf).all()
    with pytest.raises(UnknownIdError, match="filter"):
        model.recommend("bob", filter=[7, 8])


def test_missing_places_of_text_ids_are_none():
    model = Model(n_items=3)
    model.items_ = IdMap(["x", "y", "z"], "item")
    ids, _ = model.recommend("ann", n=3, exclude_seen=False, filter=["z"])
    assert ids.tolist() == ["z", None, None]


def test_more_than_there_are_gives_all_of_them():
    model = Model()
    everything = model.recommend(["ann", "bob"], n=40)
    for n in (41, 10**12):
        ids, scores = model.recommend(["ann", "bob"], n=n)
        np.testing.assert_array_equal(ids, everything.ids)
        np.testing.assert_array_equal(scores, everything.scores)
        assert model.similar_items(5, n=n).ids.shape == (40,)
        assert model.similar_users("ann", n=n).ids[-1] is None  # she herself
        assert set(model.similar_users("ann", n=n).ids[:-1]) == set(USERS) - {"ann"}


def test_new_users_are_known_by_their_features():
    rng = np.random.default_rng(1)
    table = rng.standard_normal((4, 6)).astype(np.float32)
    model = Model(features=table)
    features = sp.csr_array(rng.random((2, 4)).astype(np.float32))
    vectors = features @ table
    vectors[1] += model.user_vectors_[3]
    scores = vectors @ model.item_vectors_.T + model.item_biases_
    scores[1] = np.where(model.met.toarray()[3], -np.inf, scores[1])
    ids, found = model.recommend(["new", "dan"], n=5, features=features)
    np.testing.assert_array_equal(ids, order(scores, 5) * 10 + 5)
    with_offsets = -np.sort(-scores, axis=1)[:, :5] + [[0], [1]]
    np.testing.assert_allclose(found, with_offsets, rtol=1e-5)
    nobody = model.recommend(None, n=5, features=features.toarray()[0])
    np.testing.assert_array_equal(nobody.ids, ids[:1])
    rank = model.rank(None, ids[0][::-1], features=features[:1])
    np.testing.assert_array_equal(rank.ids, ids[0])
    pairs = model.predict(["new", "dan"], [5, 15], features=features)
    plain = (vectors @ model.item_vectors_.T + model.item_biases_)[[0, 1], [0, 1]]
    np.testing.assert_allclose(pairs, plain + np.arange(2), rtol=1e-5)


def test_rank_and_predict_give_the_scores_of_what_is_asked():
    model = Model()
    items = [205, 5, 105, 395]
    rows = (np.array(items) - 5) // 10
    scores = model.scores()[4, rows]
    ranked = model.rank("eve", items)
    assert ranked.ids.tolist() == [items[k] for k in order(scores, 4)]
    np.testing.assert_allclose(ranked.scores, -np.sort(-scores), rtol=1e-5)
    predicted = model.predict(["eve"] * 4, items)
    np.testing.assert_allclose(predicted, scores, rtol=1e-5)
    assert predicted.dtype == np.float32
    pairs = np.array([["eve", item] for item in items], object)
    np.testing.assert_array_equal(model.predict(pairs), predicted)
    np.testing.assert_array_equal(model.predict(pairs.tolist()), predicted)
    assert model.predict([], []).shape == (0,)
    assert model.recommend([], n=3).ids.shape == (0, 3)


def test_predict_goes_through_many_pairs_in_parts():
    model = Model()
    rng = np.random.default_rng(2)
    users, items = rng.integers(0, 5, 40_000), rng.integers(0, 40, 40_000)
    predicted = model.predict(np.array(USERS, object)[users], items * 10 + 5)
    np.testing.assert_allclose(predicted, model.scores()[users, items], rtol=1e-4)


@pytest.mark.parametrize("kind", ["items", "users"])
def test_similar_ones_have_the_highest_cosines(kind):
    model = Model()
    table = getattr(model, f"{kind[:-1]}_vectors_")
    table[3] = 0  # no direction: cosine 0 to all
    names = (np.arange(40) * 10 + 5).tolist() if kind == "items" else USERS
    wide = table.astype(float)
    lengths = np.maximum(np.linalg.norm(wide, axis=1), 1e-9)
    cosines = (wide / lengths[:, None]) @ (wide / lengths[:, None]).T
    np.fill_diagonal(cosines, -np.inf)
    ids, scores = getattr(model, f"similar_{kind}")(names[:4], n=3)
    expected = order(cosines[:4], 3)
    assert ids.tolist() == [[names[k] for k in row] for row in expected]
    np.testing.assert_allclose(
        scores, np.take_along_axis(cosines[:4], expected, 1), rtol=1e-5, atol=1e-6
    )
    single = getattr(model, f"similar_{kind}")(names[1], n=3)
    np.testing.assert_array_equal(single.ids, ids[1])
    everything = getattr(model, f"similar_{kind}")(names[1], n=100)
    assert names[1] not in everything.ids.tolist()


def test_wrong_questions_are_refused():
    model = Model()
    for name, asked in (("recommend", "ann"), ("similar_items", 5)):
        with pytest.raises(SettingError, match=rf"^{name}: n must be a whole number"):
            getattr(model, name)(asked, n=0)
    with pytest.raises(UnknownIdError, match=r"'anne'.*Train on data with this user"):
        model.recommend("anne")
    with pytest.raises(UnknownIdError, match="rank.*7"):
        model.rank("ann", [7])
    with pytest.raises(UnknownIdError, match="similar_items"):
        model.similar_items(7)
    with pytest.raises(SettingError, match="no user features"):
        model.recommend("ann", features=np.ones((1, 3)))
    with_features = Model(features=np.ones((3, 6)))
    for users, features in (("ann", np.ones((2, 3))), (["ann", "bob"], np.ones(3))):
        with pytest.raises(ShapeError, match="one row for each"):
            with_features.recommend(users, features=features)
    for users in ("ann", None):
        with pytest.raises(DataError, match="finite features"):
            with_features.recommend(users, features=[[1, np.nan, 0]])
    with pytest.raises(SettingError, match="users or the features"):
        model.recommend(None)
    with pytest.raises(SettingError, match="n must be a whole number"):
        model.recommend("ann", n=0)
    with pytest.raises(ShapeError, match="as many users as items"):
        model.predict(["ann"], [5, 15])
    with pytest.raises(ShapeError, match=r"shape \(N, 2\)"):
        model.predict(np.zeros(3))
    for method in ("recommend", "similar_users", "similar_items", "metrics"):
        with pytest.raises(NotFittedError, match=method):
            getattr(Model.__new__(Model), method)("ann")


def test_metrics_find_what_was_left_out_under_ids_in_another_order():
    model = Model()
    scores = model.scores()
    unseen = np.where(model.met.toarray(), -np.inf, scores)
    favourite = unseen.argmax(axis=1)
    test = Interactions(USERS[::-1], favourite[::-1] * 10 + 5)
    measured = model.metrics(test, top=3)
    assert (measured.users, measured.mrr, measured.recall) == (5, 1, 1)
    assert measured.precision == pytest.approx(1 / 3)
    ranks = [(scores[u] >= scores[u, favourite[u]]).sum() for u in range(5)]
    measured = model.metrics(test, top=3, exclude_seen=False)
    assert measured.mrr == pytest.approx(np.mean(1 / np.array(ranks)))
    with pytest.raises(UnknownIdError, match="metrics"):
        model.metrics(Interactions(["zoe"], [5]))


@pytest.mark.parametrize("metric", ["inner_product", "euclidean", "cosine"])
def test_an_index_over_the_exported_vectors_finds_the_recommendations(metric):
    model = Model(n_items=200)
    items = model.item_index_vectors(metric).astype(float)
    queries = model.user_index_vectors(USERS, metric).astype(float)
    if metric == "inner_product":
        closeness = queries @ items.T
        np.testing.assert_allclose(closeness, model.scores(), rtol=1e-4, atol=1e-5)
    elif metric == "euclidean":
        closeness = -np.linalg.norm(queries[:, None] - items, axis=2)
    else:
        lengths = np.linalg.norm(items, axis=1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-6)
        closeness = (queries @ items.T) / lengths
    wanted = model.recommend(USERS, n=20, exclude_seen=False)
    np.testing.assert_array_equal(order(closeness, 20) * 10 + 5, wanted.ids)
    assert items.shape[1] == queries.shape[1]
    assert model.user_index_vectors("ann", metric).shape == (1, items.shape[1])
    with pytest.raises(SettingError, match="metric must be one of"):
        model.item_index_vectors("manhattan")


def test_damaged_lists_of_seen_items_are_refused():
    for starts in ([0, 5, 3], [0, 2, 9], [-1, 2, 3]):
        seen = Seen(np.array(starts), np.arange(3))
        with pytest.raises(CorruptCheckpointError, match="verify=True"):
            seen.of_users(np.array([0, 1]))
    seen = Seen(np.array([0, 2, 3]), np.array([1, 4, 0], np.int32))
    starts, items = seen.of_users(np.array([1, -1, 0, 7]))
    assert (starts.tolist(), items.tolist()) == ([0, 1, 1, 3, 3], [0, 1, 4])
    assert seen.csr(6).toarray().tolist() == [[0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0]]
