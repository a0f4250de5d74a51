"""Online learning of recommenders: streams, growth, readers in other processes."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.models import FactorizationRecommender

USERS, ITEMS = 300, 200


def taste_events(count, seed=0, users=USERS, items=ITEMS, shift=0):
    """Return ids of users and items: most users like one of ten groups of items."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, count)
    liked = (user + shift) % 10 + 10 * rng.integers(0, items // 10, count)
    item = np.where(rng.random(count) < 0.9, liked, rng.integers(0, items, count))
    return user, item


def learned(events, size=10_000, begin=None, **settings):
    """Return a model that has learned chunks of a size."""
    model = FactorizationRecommender(
        **{"loss": "bpr", "width": 8, "random_state": 0} | settings
    )
    model.begin_stream(**begin or {})
    return model.partial_fit(wp.data.Events(*events), chunk_size=size)


def tables(model):
    return [getattr(model, f"{name}_vectors_") for name in ("user", "item")]


# -- learning ------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["bpr", "warp", "logistic"])
def test_a_stream_is_learned_and_progress_says_how_well_before_learning(loss):
    model = learned(taste_events(30_000), loss=loss)
    progress = model.progress_
    assert progress.events == 30_000
    assert (len(model.users_), len(model.items_)) == (USERS, ITEMS)
    assert progress.auc.recent > progress.auc.mean > 0.6
    assert progress.auc.recent > 0.8
    best = model.recommend(7, n=10, exclude_seen=False).ids
    assert np.mean(best % 10 == 7) > 0.7


def test_how_a_stream_is_cut_changes_nothing():
    events = taste_events(9000)
    strings = [
        np.array([f"{kind}{one}" for one in column], object)
        for kind, column in zip("ui", events, strict=True)
    ]
    one, other = learned(events, 9000), learned(strings, 777)
    for first, second in zip(tables(one), tables(other), strict=True):
        assert np.array_equal(first, second)
    assert one.progress_.auc.mean == pytest.approx(other.progress_.auc.mean)
    assert one.progress_.auc.recent == pytest.approx(other.progress_.auc.recent)
    assert other.users_.ids[0] == f"u{one.users_.ids[0]}"


def test_progress_is_what_a_model_that_has_not_learned_yet_would_say():
    events = taste_events(3000)
    model = learned(events, 3000)
    before = model.progress_.auc.mean * 3000
    more = taste_events(1, seed=5)
    scores = model.predict(np.repeat(more[0], ITEMS), model.items_.ids)
    own = model.predict(*more)
    expected = np.mean(own > scores) + np.mean(own == scores) / 2
    model.partial_fit(wp.data.Events(*more))
    found = model.progress_.auc.mean * 3001 - before
    assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 20))
    assert abs(found * 40 - round(found * 40)) < 1e-6  # a share of 20 candidates


def test_ratings_are_predicted_with_the_mean_of_those_before():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, USERS, 40_000), rng.integers(0, ITEMS, 40_000)
    ratings = 1 + items % 5 + rng.normal(0, 0.1, len(users))
    ratings = ratings.astype(np.float32)
    model = learned((users, items, ratings), 5000, loss="squared")
    assert model.mean_ == pytest.approx(ratings.mean(), abs=1e-4)
    assert np.isnan(model.progress_.auc.mean)
    assert model.progress_.loss.recent < 0.5 * ratings.var()
    np.testing.assert_allclose(model.predict([5, 5], [15, 19]), [1, 5], atol=0.7)
    cut = learned((users, items, ratings), 333, loss="squared")
    np.testing.assert_allclose(tables(cut)[0], tables(model)[0], atol=1e-5)


def test_a_fitted_model_goes_on_with_what_it_knows_and_learns_newcomers():
    users, items = taste_events(5000, users=100)
    model = FactorizationRecommender(loss="bpr", width=8, random_state=0)
    model.fit(np.stack([users, items], 1))
    before = [table.copy() for table in tables(model)]
    model.begin_stream()
    for table, same in zip(tables(model), before, strict=True):
        assert np.array_equal(table, same)
    seen = model.seen_.of_users(np.arange(100))[1]
    assert len(seen) == len(set(zip(users, items, strict=True)))
    fresh = taste_events(3000, seed=1)
    model.partial_fit(wp.data.Events(*fresh))
    assert len(model.users_) == USERS
    assert model.user_vectors_.shape == (USERS, 8)
    model.fit(np.stack([users, items], 1))
    assert len(model.users_) == 100
    assert model._ready().learner.examples == 0  # another stream


def test_new_rows_begin_with_numbers_of_their_own_however_tables_grow():
    users = np.arange(100_000)
    grown = learned((users, users % 50), 1000, begin={"reserved": 2000}, width=2)
    at_once = learned((users, users % 50), 100_000, width=2)
    for one, other in zip(tables(grown), tables(at_once), strict=True):
        assert np.array_equal(one, other)
    assert len(grown.users_) == 100_000
    assert grown._ready().tables["user_vectors"].capacity >= 100_000


def test_two_workers_learn_as_well_while_tables_grow():
    model = learned(taste_events(60_000), 500, n_jobs=2)
    assert model.progress_.events == 60_000
    assert model.progress_.auc.recent > 0.8
    assert np.isfinite(tables(model)[0]).all()


def test_hashed_users_share_a_fixed_number_of_rows():
    events = taste_events(30_000)
    model = learned(events, begin={"user_buckets": 1024})
    assert model.user_vectors_.shape == (1024, 8)
    assert model.progress_.auc.recent > 0.8
    best = model.recommend([7, 17], n=10, exclude_seen=False).ids
    assert np.mean(best % 10 == 7) > 0.6
    with pytest.raises(errors.SettingError, match="users are hashed"):
        model.similar_users(7)
    with pytest.raises(errors.SettingError, match="power of two"):
        FactorizationRecommender().begin_stream(user_buckets=1000)


def test_hashed_users_are_of_one_type():
    model = learned(([1, 2], [3, 4]), begin={"user_buckets": 1024})
    with pytest.raises(errors.DTypeError, match="ids of type int64, got str"):
        model.partial_fit([("1", 3)])
    for asked in ("1", 1.0):
        with pytest.raises(errors.DTypeError, match=r"users: .* Give ids of that type"):
            model.recommend(asked)
    same = model.recommend(np.uint8(1)).scores
    assert np.array_equal(same, model.recommend(1).scores)
    before = model.user_vectors_.copy()
    model.partial_fit(iter(["1,3"]))
    changed = np.flatnonzero((model.user_vectors_ != before).any(1))
    assert changed.tolist() == model.users_.codes([1]).tolist()


def test_ids_in_text_are_of_the_kind_that_the_model_has(tmp_path):
    """Otherwise 42 and "42" would be two users."""
    users, items = taste_events(2000)
    lines = [f"{u},{i}\n" for u, i in zip(users, items, strict=True)]
    path = tmp_path / "events.csv"
    path.write_text("user,item\n" + "".join(lines))
    names = [f"i{item}" for item in items]
    for given in ((users, items), (users, names)):
        model, expected = (learned(given) for _ in range(2))
        expected.partial_fit(wp.data.Events(*given))
        if given[1] is names:
            lines = [f"{u},{i}\n" for u, i in zip(users, names, strict=True)]
            path.write_text("user,item\n" + "".join(lines))
        model.partial_fit(path)
        assert len(model.users_) == len(np.unique(users))
        for one, other in zip(tables(model), tables(expected), strict=True):
            assert np.array_equal(one, other)
    with pytest.raises(errors.DataError, match="line 1: a whole number .* the user"):
        model.partial_fit(iter(["u1,i1\n"]))
    with pytest.raises(errors.DTypeError, match=r"users .* int64, .* the str given"):
        model.partial_fit([("1", "i1")])
    fresh = FactorizationRecommender()
    assert fresh.partial_fit(iter(["1,2\n"])).users_.type == "str"
    fresh = FactorizationRecommender().partial_fit(iter(["1,2\n"]), ids="int")
    assert fresh.users_.type == "int64"


def test_a_half_life_keeps_adagrad_able_to_follow_a_drift():
    before, after = taste_events(60_000), taste_events(20_000, seed=2, shift=5)
    events = [np.concatenate(pair) for pair in zip(before, after, strict=True)]
    deaf = learned(events).progress_
    awake = learned(events, begin={"half_life": 10_000}).progress_
    assert awake.auc.recent > deaf.auc.recent + 0.02
    cut = learned(events, 331, begin={"half_life": 10_000}).progress_
    assert cut.auc.recent == pytest.approx(awake.auc.recent)


LIMITED = """
import resource
import numpy as np
import wyrm_py as wp
from wyrm_py.models import FactorizationRecommender
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
model = FactorizationRecommender(loss="bpr", width=32, random_state=0)
model.partial_fit(wp.data.Events(np.arange(30_000), np.arange(30_000) % 50))
print(len(model.users_), model._ready().tables["user_vectors"].capacity < 1 << 24)
"""


def test_where_address_space_is_limited_less_is_reserved():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], text=True, capture_output=True
    )
    assert done.stdout.split() == ["30000", "True"], done.stderr


# -- answers, files, copies ----------------------------------------------------


def test_what_was_seen_is_left_out():
    users, items = taste_events(5000)
    model = learned((users, items), 100)
    found = model.recommend(list(range(USERS)), n=ITEMS)
    for user in range(0, USERS, 37):
        mine = set(items[users == user])
        answered = found.ids[user][np.isfinite(found.scores[user])]
        assert set(answered) == set(range(ITEMS)) - mine
    model = learned((users, items), begin={"record_seen": False})
    assert np.isfinite(model.recommend(0, n=ITEMS).scores).all()


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_a_saved_stream_goes_on_where_it_stood(way, tmp_path):
    first, rest = taste_events(9000), taste_events(5000, seed=3)
    model = learned(first)
    if way == "file":
        model.save(tmp_path / "model.wyrm")
        again = FactorizationRecommender.load(tmp_path / "model.wyrm")
    else:
        again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.recommend(3, n=20).ids, model.recommend(3, n=20).ids)
    for one in (model, again):
        one.partial_fit(wp.data.Events(*rest))
    for one, other in zip(tables(model), tables(again), strict=True):
        assert np.array_equal(one, other)
    hashed = learned(first, begin={"user_buckets": 512})
    hashed.save(tmp_path / "hashed.wyrm")
    loaded = FactorizationRecommender.load(tmp_path / "hashed.wyrm")
    assert np.array_equal(loaded.recommend(3).ids, hashed.recommend(3).ids)
    with pytest.raises(errors.DTypeError, match="ids of type int64"):
        loaded.recommend("3")


def test_a_stream_that_begins_anew_keeps_its_state_unless_the_model_was_fitted(
    tmp_path,
):
    first, rest = taste_events(5000), taste_events(5000, seed=3)
    expected = learned(first).partial_fit(wp.data.Events(*rest))
    model = learned(first)
    model.begin_stream(window=50).partial_fit(wp.data.Events(*rest))
    assert np.array_equal(tables(model)[0], tables(expected)[0])
    model.save(tmp_path / "model.wyrm")
    again = FactorizationRecommender.load(tmp_path / "model.wyrm")
    again.fit(np.stack(taste_events(900, users=50), 1))
    assert again._ready().learner.examples == 0
    assert len(again.user_vectors_) == 50


# -- errors --------------------------------------------------------------------


def test_a_chunk_without_weight_is_as_if_it_were_not_there():
    users, items = np.arange(20) % 5, np.arange(20) % 7
    weights = np.arange(20) % 2
    found = [
        FactorizationRecommender(loss="bpr", width=4, random_state=0).partial_fit(
            wp.data.Interactions(users, items, weights=weights), chunk_size=size
        )
        for size in (1, 20)
    ]
    assert all(map(np.array_equal, *map(tables, found)))
    assert np.isfinite(found[0].progress_.loss.mean)


def test_users_of_events_that_were_refused_have_rows_like_all_others():
    model = learned(([1, 2], [2, 3]), width=4)
    users = np.arange(3000)
    with pytest.raises(errors.DTypeError, match="items"):
        model.partial_fit(wp.data.Events(users, [f"i{user}" for user in users]))
    assert np.isfinite(model.predict(users, np.full(3000, 2))).all()


@pytest.mark.parametrize("seed", [-1, 1.5, "today"])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(errors.SettingError, match="random_state"):
        learned(([1], [2]), random_state=seed)


def test_hashed_users_cannot_be_listed():
    model = learned(([1], [2]), begin={"user_buckets": 16})
    with pytest.raises(errors.SettingError, match="hashed"):
        _ = model.user_ids_


def test_what_cannot_be_learned_online_is_refused():
    with pytest.raises(errors.SettingError, match="looks at all items of a user"):
        FactorizationRecommender(loss="warp-kos").begin_stream()
    with pytest.raises(errors.SettingError, match='take sampler="uniform"'):
        FactorizationRecommender(loss="bpr", sampler="popular").begin_stream()
    with pytest.raises(errors.SettingError, match="half_life is for Adagrad"):
        FactorizationRecommender(optimizer="sgd").begin_stream(half_life=100)
    for name in ("window", "candidates", "half_life", "reserved"):
        with pytest.raises(errors.SettingError, match=f"{name} must be an integer"):
            FactorizationRecommender().begin_stream(**{name: 0})
    with pytest.raises(errors.DataError, match="learns ratings, got events without"):
        learned(taste_events(10), loss="squared")
    rated = (*taste_events(3000), np.arange(3000.0))
    with pytest.raises(errors.DivergenceError):
        learned(rated, loss="squared", optimizer="sgd", learning_rate=1e9)
