"""Features and context: sums of rows, cold start, what a context changes."""

import numpy as np
import pytest
from scipy import sparse

from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DTypeError,
    SettingError,
    ShapeError,
    UnknownIdError,
)
from wyrm_py.models import FactorizationRecommender

USERS, ITEMS, GROUPS = 60, 40, 4


def groups(rows):
    """Return one feature a row: the group that it is of."""
    columns = np.arange(rows) % GROUPS
    ones = np.ones(rows, np.float32)
    return sparse.csr_array((ones, (np.arange(rows), columns)), (rows, GROUPS))


def grouped(users=USERS, items=ITEMS, seed=0):
    """Return interactions in which everybody likes items of the own group."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(users), 6)
    what = rng.integers(0, items // GROUPS, len(who)) * GROUPS + who % GROUPS
    return Interactions.from_codes(
        who, what, user_ids=np.arange(users), item_ids=np.arange(items)
    )


@pytest.mark.parametrize("loss", ["bpr", "squared", "warp"])
def test_identity_as_features_trains_the_same_model(loss):
    data = grouped()
    plain = FactorizationRecommender(loss, 8, epochs=3, random_state=1).fit(data)
    described = FactorizationRecommender(
        loss, 8, epochs=3, random_state=1, identity=False
    ).fit(
        data,
        user_features=sparse.eye_array(USERS, format="csr"),
        item_features=sparse.eye_array(ITEMS, format="csr"),
    )
    for name in ("user_vectors_", "item_vectors_", "item_biases_", "user_biases_"):
        one, other = getattr(plain, name), getattr(described, name)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_features_may_be_yes_or_no():
    found = [
        FactorizationRecommender("bpr", 4, epochs=1, random_state=0)
        .fit(grouped(), item_features=features)
        .item_vectors_
        for features in (groups(ITEMS), groups(ITEMS) > 0, groups(ITEMS).toarray() > 0)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.fixture(scope="module", params=["bpr", "warp"])
def fitted(request):
    model = FactorizationRecommender(
        request.param, 8, epochs=30, learning_rate=0.1, random_state=0
    )
    return model.fit(
        grouped(), user_features=groups(USERS), item_features=groups(ITEMS)
    )


def share_of_own_group(model, groups_of_users, **asked):
    ids, _ = model.recommend(n=8, **asked)
    return np.mean(ids % GROUPS == np.reshape(groups_of_users, (-1, 1)))


def test_vectors_are_sums_of_what_features_came_to_mean(fitted):
    for name, rows in (("user", USERS), ("item", ITEMS)):
        learned = getattr(fitted, f"{name}_features_")
        assert learned.vectors.shape == (GROUPS, 8)
        for part in ("vectors", "biases"):
            sums = groups(rows) @ getattr(learned, part)
            expected = sums + getattr(learned, f"own_{part}")
            found = getattr(fitted, f"{name}_{part}_")
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_users_are_served_by_their_features_alone(fitted):
    assert share_of_own_group(fitted, [0, 1, 2, 3], users=None, features=groups(4)) == 1
    new = fitted.recommend(["new"], n=3, features=groups(1))
    assert list(new.ids[0] % GROUPS) == [0, 0, 0]
    known = fitted.predict([5], [9], features=groups(6)[5:])
    np.testing.assert_allclose(known, fitted.predict([5], [9]), rtol=1e-5)


def test_items_are_added_by_their_features_alone(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    model = FactorizationRecommender.load(tmp_path / "m")
    before = model.recommend(7, n=3)
    model.add_items([100, 101, 102, 103], groups(4))
    model.add_users([200, 203], groups(4)[[0, 3]])
    assert len(model.items_) == ITEMS + 4
    best = model.recommend([7, 203], n=ITEMS, filter=[100, 101, 102, 103]).ids[:, 0]
    assert list(best) == [103, 103]
    assert set(before.ids) <= set(model.recommend(7, n=5).ids)
    np.testing.assert_allclose(
        model.predict([200], [101], features=groups(1)), model.predict([200], [101])
    )
    model.save(tmp_path / "m")
    again = FactorizationRecommender.load(tmp_path / "m")
    assert np.array_equal(again.recommend(203).ids, model.recommend(203).ids)
    for wrong in ([7], ["a"], [300, 300]):
        with pytest.raises((DataError, DTypeError)):
            model.add_users(wrong, groups(len(wrong)))
    assert len(model.users_) == USERS + 2


@pytest.mark.parametrize("loss", ["bpr", "warp", "logistic"])
def test_a_context_adds_to_the_taste(loss):
    """In the context of a group everybody likes the items of that group."""
    rng = np.random.default_rng(0)
    where = rng.integers(0, GROUPS, 1500)
    what = rng.integers(0, ITEMS // GROUPS, 1500) * GROUPS + where
    context = groups(GROUPS)[where]
    model = FactorizationRecommender(
        loss, 8, epochs=30, learning_rate=0.1, l2=0.0, random_state=0
    )
    everyone = rng.integers(0, USERS, 1500)
    data = Interactions.from_codes(
        everyone, what, user_ids=np.arange(USERS), item_ids=np.arange(ITEMS)
    )
    model.fit(data, context=context)
    asked = {"users": list(range(10)), "exclude_seen": False}
    for group in range(GROUPS):
        there = model.in_context(groups(GROUPS)[[group]])
        assert share_of_own_group(there, [group] * 10, **asked) > 0.8
        vector = model.context_vectors_[group] @ model.item_vectors_[9]
        added = there.predict([3], [9]) - model.predict([3], [9])
        assert added == pytest.approx(vector, rel=1e-3, abs=1e-4)


def test_wrong_features_are_refused(fitted, tmp_path):
    data, model = grouped(), FactorizationRecommender("bpr", 8, epochs=1)
    holed = groups(USERS)
    holed.data[7] = np.nan
    for error, given, message in [
        (ShapeError, {"user_features": groups(3)}, "each of the 60 users, got 3"),
        (ShapeError, {"item_features": groups(41)}, "each of the 40 items, got 41"),
        (ShapeError, {"context": groups(3)}, "each of the 360 interactions"),
        (DataError, {"user_features": holed}, "finite user_features.*row 7"),
        (DTypeError, {"item_features": np.full((ITEMS, 2), "a")}, "numbers"),
    ]:
        with pytest.raises(error, match=message):
            model.fit(data, **given)
    assert not hasattr(model, "user_vectors_")
    with pytest.raises(SettingError, match="cannot have a context"):
        FactorizationRecommender("warp-kos").fit(data, context=groups(360))
    with pytest.raises(ShapeError, match="4 columns of the training data, got 3"):
        fitted.recommend(None, features=groups(5)[:, :3])
    with pytest.raises(UnknownIdError):
        fitted.recommend("nobody")
    with pytest.raises(SettingError, match="without context"):
        fitted.in_context(groups(1))
    plain = FactorizationRecommender("bpr", 8, epochs=0).fit(data, context=groups(360))
    with pytest.raises(SettingError, match="no user features"):
        plain.recommend(None, features=groups(1))
    with pytest.raises(SettingError, match="without item features"):
        plain.add_items([99], groups(1))
    with pytest.raises(ShapeError, match="4 columns, as in training"):
        plain.in_context(np.ones((1, 5)))
    with pytest.raises(ShapeError, match="one row"):
        plain.in_context(np.ones((2, 4)))
    fitted.save(tmp_path / "m")
    arrays, metadata = read_arrays(tmp_path / "m")
    arrays["item_features.own_biases"] = np.zeros(3, np.float32)
    write_arrays(tmp_path / "m", arrays, metadata)
    with pytest.raises(CorruptCheckpointError, match="fit together"):
        FactorizationRecommender.load(tmp_path / "m")
