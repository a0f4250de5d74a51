"""Streams with features: what is known of new users and items when they appear."""

import pickle

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.models import FactorizationRecommender

USERS, ITEMS, GROUPS = 120, 80, 4


def tags(item):
    """Return the group that an item is of, a tag of its own and one of five."""
    return [f"group:{item % GROUPS}", f"item:{item}", f"rest:{item % 5}"]


def country(user):
    return {"country": f"{user % GROUPS}", "age": user / USERS}


BOTH = {"user_features": country, "item_features": tags}


def events(count, seed=0, first=0, users=USERS, items=ITEMS):
    """Return ids: nearly everybody likes items of the own group."""
    rng = np.random.default_rng(seed)
    user = rng.integers(first, first + users, count)
    liked = user % GROUPS + GROUPS * rng.integers(0, items // GROUPS, count)
    item = np.where(rng.random(count) < 0.9, liked, rng.integers(0, items, count))
    return user, item


def new_model(loss="bpr", begin=None, **settings):
    given = {"width": 8, "random_state": 0} | settings
    return FactorizationRecommender(loss, **given).begin_stream(**begin or {})


def learned(some, size=10_000, given=BOTH, **settings):
    model = new_model(**settings)
    return model.partial_fit(wp.data.Events(*some), chunk_size=size, **given)


def all_of(model):
    """Return all that a model answers from, and what features came to mean."""
    found = [getattr(model, f"{s}_{p}_") for s in ("user", "item") for p in PARTS]
    for side in ("user", "item"):
        one = getattr(model, f"{side}_features_")
        found += [one.vectors, one.biases, one.own_vectors, one.own_biases]
    return found


PARTS = ("vectors", "biases")


def assert_same(model, other):
    for one, two in zip(all_of(model), all_of(other), strict=True):
        assert np.array_equal(one, two)


# -- learning ------------------------------------------------------------------


def test_a_stream_is_learned_as_the_update_rule_says():
    """Squared loss and SGD by hand, over tables numbered as everything appears."""
    rng = np.random.default_rng(1)
    users, items = events(400, users=9, items=12)
    ratings = rng.normal(3, 1, 400).astype(np.float32)
    model = new_model("squared", optimizer="sgd", learning_rate=0.05, l2=0.0)
    tables = model._ready(("user", "item")).tables
    first = {
        name: table.parameter.value.astype(np.float64) for name, table in tables.items()
    }
    model.partial_fit(zip(users, items, ratings, strict=True), **BOTH)

    places = {"user": {}, "item": {}}

    def described(side, one, own):
        """Return the rows of someone, numbering what is new, and their values."""
        names = {("own", one): 1.0} | dict(own)
        if "country" in names:
            names = {("own", one): 1.0, f"country:{own['country']}": 1.0}
            names["age"] = own["age"]
        rows = [places[side].setdefault(name, len(places[side])) for name in names]
        return np.array(rows), np.array(list(names.values()))

    for k, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        who, much = described("user", user, country(user))
        what, many = described("item", item, dict.fromkeys(tags(item), 1.0))
        u, v = much @ first["user_vectors"][who], many @ first["item_vectors"][what]
        biases = much @ first["user_biases"][who] + many @ first["item_biases"][what]
        mean = ratings[:k].mean(dtype=np.float64) if k else ratings[0]
        slope = 0.05 * 2 * (u @ v + biases[0] - (ratings[k] - mean))
        first["user_vectors"][who] -= slope * np.outer(much, v)
        first["item_vectors"][what] -= slope * np.outer(many, u)
        first["user_biases"][who] -= slope * much[:, None]
        first["item_biases"][what] -= slope * many[:, None]

    for side, name, one in [("user", "age", 5), ("item", "rest:3", 7)]:
        found, vectors = getattr(model, f"{side}_features_"), first[f"{side}_vectors"]
        code = found.names.codes([name])[0]
        expected = vectors[places[side][name]]
        np.testing.assert_allclose(found.vectors[code], expected, atol=1e-5)
        code = getattr(model, f"{side}s_").codes([one])[0]
        expected = vectors[places[side]["own", one]]
        np.testing.assert_allclose(found.own_vectors[code], expected, atol=1e-5)
    who, much = described("user", 5, country(5))
    np.testing.assert_allclose(
        model.user_vectors_[model.users_.codes([5])[0]],
        much @ first["user_vectors"][who],
        atol=1e-5,
    )


@pytest.mark.parametrize("loss", ["bpr", "warp"])
@pytest.mark.parametrize("identity", [True, False])
def test_how_a_stream_is_cut_changes_nothing(loss, identity):
    some = events(3000)
    one = learned(some, 3000, loss=loss, identity=identity)
    other = learned(some, 77, loss=loss, identity=identity, begin={"reserved": 1})
    strings = [np.array([str(c) for c in column], object) for column in some]
    given = {
        "user_features": {str(user): country(user) for user in range(USERS)},
        "item_features": lambda item: "|".join(tags(int(item))),
    }
    third = learned(strings, 500, given, loss=loss, identity=identity)
    assert_same(one, other)
    assert_same(one, third)
    assert one.progress_.auc.mean == pytest.approx(other.progress_.auc.mean)


def test_features_tell_of_items_that_nobody_has_met():
    plain, model = learned(events(20_000), given={}), learned(events(20_000))
    assert model.progress_.auc.recent > 0.8
    model.add_items([1000, 1001, 1002, 1003], [tags(item)[:1] for item in range(4)])
    best = model.recommend([4, 5, 6, 7], 1, filter=[1000, 1001, 1002, 1003]).ids
    assert list(best[:, 0]) == [1000, 1001, 1002, 1003]
    for features in ([{"country:2": 1}], [["country:2", "never:seen"]]):
        found = model.recommend(None, 10, features=features).ids
        assert np.mean(found % GROUPS == 2) > 0.8
    model.add_users(["new"] if model.users_.type == "str" else [5000], [country(3)])
    assert np.mean(model.recommend(5000, 10).ids % GROUPS == 3) > 0.8
    model.partial_fit([(5000, 1000)] * 3, **BOTH)  # known by now
    assert model.progress_.events == 20_003
    assert len(model.items_) == len(plain.items_) + 4


def test_vectors_are_sums_of_what_features_came_to_mean():
    model = learned(events(3000))
    for side, describe in (("user", country), ("item", tags)):
        ids = getattr(model, f"{side}s_").ids.tolist()
        meant = getattr(model, f"{side}_features_")
        for part in PARTS:
            found = meant.of(
                "test", "features", [describe(one) for one in ids], np.arange(len(ids))
            )[PARTS.index(part)]
            expected = getattr(model, f"{side}_{part}_")
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_two_workers_learn_as_well_while_features_come():
    model = learned(events(40_000, users=2000), 500, n_jobs=2)
    assert model.progress_.auc.recent > 0.75
    assert all(np.isfinite(array).all() for array in all_of(model))


def test_two_workers_are_exact_where_each_event_is_of_its_own():
    """Nobody comes twice and no feature does: no row is touched by two at once."""
    users = np.arange(3000)
    ratings = np.linspace(1, 5, 3000)
    found = [
        learned(
            (users, users, ratings),
            100,
            n_jobs=n_jobs,
            loss="squared",
            given={side: lambda one: [f"only:{one}"] for side in BOTH},
        )
        for n_jobs in (1, 2)
    ]
    assert_same(*found)


# -- beginnings ----------------------------------------------------------------


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_a_fitted_model_goes_on_and_meets_new_features(named, identity):
    users, items = events(3000)
    data = wp.data.Interactions.from_codes(
        users, items, user_ids=np.arange(USERS), item_ids=np.arange(ITEMS)
    )
    given = {"item_features": lambda item: [f"group:{item % GROUPS}"]}
    later = {"item_features": lambda item: ["group:1", "brand:new"]}
    if not named:
        columns = np.arange(ITEMS) % GROUPS
        ones = np.ones(ITEMS, np.float32)
        matrix = sparse.csr_array((ones, (np.arange(ITEMS), columns)))
        given = {"item_features": matrix}
        later = {"item_features": lambda item: [1, 7]}
    model = FactorizationRecommender("bpr", 8, random_state=0, identity=identity)
    model.fit(data, **given)
    before = [model.item_vectors_.copy(), model.item_features_.vectors.copy()]
    model.begin_stream()
    np.testing.assert_allclose(model.item_vectors_, before[0], rtol=1e-5, atol=1e-6)
    assert np.array_equal(model.item_features_.vectors, before[1])
    model.partial_fit([(1, 500), (5, 500), (9, 501)], **later)
    assert len(model.items_) == ITEMS + 2
    found = model.item_features_
    assert len(found.vectors) == GROUPS + 1
    own = found.own_vectors[-1]
    assert own.any() == identity
    one = 1 if not named else found.names.codes(["group:1"])[0]
    expected = found.vectors[one] + found.vectors[-1] + own
    np.testing.assert_allclose(model.item_vectors_[-1], expected, rtol=1e-5)
    again = FactorizationRecommender("bpr", 8, random_state=0, identity=identity)
    again.fit(data, **given)
    assert np.array_equal(again.item_vectors_, before[0])


def test_features_may_come_in_while_a_stream_goes_on():
    first, rest = events(3000), events(3000, seed=1, first=60)
    model = learned(first, given={})
    before = [getattr(model, f"{side}_vectors_").copy() for side in ("user", "item")]
    progress = model.progress_
    trainer = model._ready(("item",))
    assert np.array_equal(model.user_vectors_, before[0])
    np.testing.assert_array_equal(model.item_vectors_, before[1])
    state = trainer.tables["item_vectors"].parameter.slots()
    assert any(array[: len(before[1])].any() for array in state.values())
    model.partial_fit(wp.data.Events(*rest), item_features=tags)
    assert model.progress_ is progress
    assert progress.events == 6000
    assert model.user_features_ is None
    model.partial_fit([(1, 9001)])  # of whom nothing is said
    own = model.item_features_.own_vectors[-1]
    np.testing.assert_array_equal(model.item_vectors_[-1], own)


# -- answers, files, readers ---------------------------------------------------


@pytest.mark.parametrize("way", ["file", "pickle", "begin_stream"])
@pytest.mark.parametrize("loss", ["bpr", "warp"])
def test_a_saved_stream_goes_on_where_it_stood(way, loss, tmp_path):
    first, rest = events(3000, items=40), events(3000, seed=3, first=40)
    model = learned(first, loss=loss)
    again = learned(first, loss=loss)
    if way == "file":
        model.save(tmp_path / "model.wyrm")
        again = FactorizationRecommender.load(tmp_path / "model.wyrm", verify=True)
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(model))
    else:
        again.begin_stream(window=50)
    assert_same(model, again)
    asked = {"users": None, "features": [country(2)]}
    assert np.array_equal(again.recommend(**asked).ids, model.recommend(**asked).ids)
    for one in (model, again):
        one.partial_fit(wp.data.Events(*rest), **BOTH)
    assert_same(model, again)


def test_readers_follow_features_and_tables_that_move(tmp_path):
    model = new_model(begin={"reserved": 1})
    path = tmp_path / "live"
    model.publish(path)
    reader = FactorizationRecommender.attach(path)
    model.partial_fit(wp.data.Events(*events(50)))
    assert reader.recommend(1).ids.shape == (10,)
    assert reader.item_features_ is None
    for seed in range(3):
        some = events(2000, seed=seed, first=1500 * seed, users=1500, items=1600)
        model.partial_fit(wp.data.Events(*some), **BOTH)
        user = int(some[0][-1])
        for ask in ({"users": [user]}, {"users": None, "features": [country(1)]}):
            answers = [one.recommend(**ask) for one in (reader, model)]
            assert np.array_equal(answers[0].ids, answers[1].ids)
            assert np.array_equal(answers[0].scores, answers[1].scores)
        assert_same(reader, model)
    copied = pickle.loads(pickle.dumps(reader))
    assert_same(copied, model)


def test_readers_answer_while_the_trainer_is_ahead_of_what_it_told(tmp_path):
    """Tables and rows have grown and moved, of which readers hear after the chunk."""
    model = learned(events(50), begin={"reserved": 1})
    model.publish(tmp_path / "live")
    reader = FactorizationRecommender.attach(tmp_path / "live")
    told = len(model.users_), len(model.items_)
    some = events(3000, seed=1, first=200, users=1500, items=1600)
    sources = {side: BOTH[f"{side}_features"] for side in ("user", "item")}
    model._trainer.learn(*some, None, None, sources)
    late = FactorizationRecommender.attach(tmp_path / "live")
    for one in (reader, late):
        assert (len(one.users_), len(one.items_)) == told
        known = int(one.users_.ids[0])
        answer = one.recommend(known, 5)
        one.save(tmp_path / "copy.wyrm")
        again = FactorizationRecommender.load(tmp_path / "copy.wyrm")
        assert np.array_equal(again.recommend(known, 5).ids, answer.ids)
        assert (again.user_features_.places.own >= 0).sum() == told[0]
    model.partial_fit(wp.data.Events(*events(10)), **BOTH)
    for one in (reader, late):
        one.recommend(1)
        assert_same(one, model)


@pytest.mark.parametrize("side", ["user", "item"])
def test_who_came_in_a_call_that_was_interrupted_has_features(monkeypatch, side):
    model, whole = learned(events(300)), learned(events(300))
    trainer = model._trainer
    grow, calls = trainer._grow, []

    def interrupted(new):
        calls.append(new)
        if len(calls) == 1:
            raise KeyboardInterrupt
        grow(new)

    monkeypatch.setattr(trainer, "_grow", interrupted)
    new = ([500, 1], [1, 2]) if side == "user" else ([1, 2], [500, 1])
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(wp.data.Events(*map(np.array, new)), **BOTH)
    whole.partial_fit([(500, 500)], **BOTH)
    for one in (model, whole):
        assert len(getattr(one, f"{side}_vectors_")) == len(getattr(one, f"{side}s_"))
        one.recommend(1)
    found = [getattr(one, f"{side}_features_") for one in (model, whole)]
    assert np.array_equal(found[0].places.own, found[1].places.own)
    assert (found[0].places.rows != found[1].places.rows).nnz == 0
    assert list(found[0].names.ids) == list(found[1].names.ids)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["bpr", "squared"])
def test_copies_go_on_with_all_that_the_optimizer_keeps(tmp_path, loss, optimizer):
    users, items = events(400)
    ratings = np.random.default_rng(1).normal(3, 1, 400).astype(np.float32)
    some = wp.data.Events(users, items, ratings)
    model = new_model(loss, optimizer=optimizer, learning_rate=0.05)
    model.partial_fit(some[:200], **BOTH)
    model.save(tmp_path / "model.wyrm")
    loaded = FactorizationRecommender.load(tmp_path / "model.wyrm")
    copies = (
        loaded,
        pickle.loads(pickle.dumps(model)),
        pickle.loads(pickle.dumps(loaded)),
    )
    for one in (model, *copies):
        one.partial_fit(some[200:], **BOTH)
        assert_same(model, one)


def test_a_fit_after_a_stream_begins_anew():
    model = learned(events(500))
    data = wp.data.Interactions(*events(300, seed=5, users=20))
    model.fit(data)
    assert model.item_features_ is None
    assert model.user_vectors_.shape == (20, 8)
    model.partial_fit([(1, 2)])
    assert model.user_features_ is None


# -- errors --------------------------------------------------------------------


def test_wrong_features_are_refused_before_anything_changes():
    model = learned(events(500))
    before = [array.copy() for array in all_of(model)]
    for error, wrong, message in [
        (errors.DTypeError, 7, "item_features.*list of names.*got '7'"),
        (errors.DTypeError, [1, 2], "names of type str are required.*got int64"),
        (errors.DTypeError, {"a": [1]}, "values of features must be numbers"),
        (errors.DataError, {"a": np.nan}, "finite values are required, found nan"),
        (errors.DTypeError, ["a", 3], "item_features"),
        (errors.DataError, ["a", None], "item_features"),
    ]:
        with pytest.raises(error, match=message):
            model.partial_fit([(900, 901)], item_features={901: wrong})
        assert 900 not in model.users_.ids
        assert 901 not in model.items_.ids
    for one, other in zip(all_of(model), before, strict=True):
        assert np.array_equal(one, other)
    for wrong in (np.eye(3), "genre", [["a"]]):
        with pytest.raises(errors.DTypeError, match="must be a mapping or a function"):
            model.partial_fit([(1, 2)], user_features=wrong)
    with pytest.raises(errors.DTypeError, match="str"):
        model.partial_fit([(900, "text")], user_features=country)
    model.partial_fit([(900, 901)], item_features={901: ["a"]})
    assert model.item_features_.names.codes(["a"])[0] >= 0
    with pytest.raises(errors.DataError, match="already"):
        model.add_items([901], [["a"]])
    with pytest.raises(errors.ShapeError, match="each of the 1 ids, got 2"):
        model.add_items([902], [["a"], ["b"]])
    with pytest.raises(errors.ShapeError, match="columns of the training data"):
        model.add_items([902], np.eye(1, 3))
    columns, large = len(model.item_features_.names), np.full(2, 3e38, np.float32)
    twice = sparse.csr_array((large, [0, 0], [0, 2]), shape=(1, columns))
    with pytest.raises(errors.DataError, match="finite"):
        model.add_items([902], twice)
    assert 902 not in model.items_.ids
    for wrong in ("country:1", {"country": "1"}, 5, None):
        with pytest.raises(errors.DTypeError, match="a list of what each has"):
            model.add_users([903], wrong)
    for wrong in ("country:1", {"country": "1"}, 5):
        for who in (None, 1, [1]):
            with pytest.raises(errors.DTypeError, match="a list of what each has"):
                model.recommend(who, features=wrong)


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("own_places", lambda array: array + 10**6),
        ("places", lambda array: array + 10**6),
        ("columns", lambda array: array + 10**6),
        ("columns", lambda array: array - 10**6),
        ("starts", lambda array: array[::-1].copy()),
        ("starts", lambda array: array[:-3]),
        ("values", lambda array: array[:5]),
        ("count", lambda array: array - 50),
        ("count", lambda array: array[:0]),
    ],
)
def test_a_damaged_file_is_refused_when_it_is_loaded_or_learned_from(
    part, damage, tmp_path
):
    learned(events(300)).save(tmp_path / "m")
    arrays, metadata = read_arrays(tmp_path / "m")
    name = f"item_features.{part}"
    write_arrays(tmp_path / "m", arrays | {name: damage(arrays[name])}, metadata)
    with pytest.raises(errors.WyrmError):
        FactorizationRecommender.load(tmp_path / "m").partial_fit([(1, 2)])


def test_any_room_may_be_reserved():
    for reserved in (1, 2**33):
        model = learned(events(50), begin={"reserved": reserved})
        assert np.isfinite(model.item_vectors_).all()


def test_hashed_users_have_no_features():
    with pytest.raises(errors.SettingError, match="Begin without user_buckets"):
        learned(events(10), begin={"user_buckets": 64})
    model = learned(
        events(10), given={"item_features": tags}, begin={"user_buckets": 64}
    )
    assert model.user_vectors_.shape == (64, 8)
