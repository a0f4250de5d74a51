"""The sequence recommender learns chains, answers new users and survives a file."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterSampler

import wyrm_py as wp
from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DivergenceError,
    DTypeError,
    NotFittedError,
    SettingError,
    UnknownIdError,
)
from wyrm_py.models import SequenceRecommender
from wyrm_py.models.runs import runs

RING = 24


def chain(users=160, seed=0, name="i"):
    """Return histories that run along a ring of items, from anywhere, 3 to 8 long."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{seed}-{user}", f"{name}{(start + step) % RING}", step)
        for user, start in enumerate(rng.integers(RING, size=users))
        for step in range(rng.integers(3, 9))
    ]
    user, item, time = zip(*rows, strict=True)
    shuffled = rng.permutation(len(rows))  # timestamps give the order back
    pick = [np.array(column)[shuffled] for column in (user, item, time)]
    return Interactions(*pick[:2], timestamps=pick[2])


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def small(**settings):
    given = {"width": 8, "epochs": 2, "random_state": 0, "max_tries": 10}
    return SequenceRecommender(**{**given, **settings})


@pytest.fixture(scope="module")
def fitted():
    return small(epochs=40).fit(chain())


# -- learning ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "loss", "coupled"),
    [
        ("ewma", "warp", False),
        ("pooling", "warp", False),
        ("gru", "hinge", False),
        ("lstm", "bpr", True),
        slow("ewma", "bpr", False),
        slow("ewma", "hinge", False),
        slow("pooling", "bpr", False),
        slow("pooling", "hinge", False),
        slow("gru", "warp", False),
        slow("gru", "bpr", False),
        slow("lstm", "warp", False),
        slow("lstm", "hinge", False),
    ],
)
def test_every_model_and_loss_learns_a_chain(model, loss, coupled):
    recommender = small(
        model=model, loss=loss, coupled=coupled, epochs=40, max_sequence_length=3
    ).fit(chain())
    assert recommender.score(chain(seed=1)) > 0.6  # chance is 0.17
    assert recommender.history_.losses[-1] < recommender.history_.losses[0]


def test_the_score_is_the_reciprocal_rank_of_the_last_item_by_brute_force(fitted):
    test = chain(users=30, seed=2)
    ranks = []
    for user in test.user_ids:
        rows = np.flatnonzero(test.user_ids[test.users] == user)
        rows = rows[np.argsort(test.timestamps[rows])]
        *before, last = test.item_ids[test.items[rows]]
        scores = dict(
            zip(fitted.item_ids_, fitted.predict_history(before), strict=True)
        )
        rivals = [s for item, s in scores.items() if item not in before]
        ranks.append(1 / sum(s >= scores[last] for s in rivals))
    assert fitted.score(test) == pytest.approx(np.mean(ranks))
    assert fitted.history_metrics(test, top=3).mrr == fitted.score(test)


def test_equal_scores_count_against_the_model(fitted):
    flat = copy.deepcopy(fitted)
    flat.item_vectors_ = np.zeros_like(flat.item_vectors_)
    flat.item_biases_ = np.zeros_like(flat.item_biases_)
    test = Interactions(["a", "a", "a"], ["i0", "i1", "i2"])
    assert flat.score(test) == pytest.approx(1 / (RING - 2))


@pytest.mark.parametrize("loss", ["warp", slow("bpr"), slow("hinge")])
def test_weights_multiply_the_loss_of_each_interaction(loss):
    data, doubled = chain(users=40), chain(users=40)
    doubled.weights = np.full(len(data), 2, np.float32)
    plain, heavy = (small(loss=loss, epochs=1).fit(given) for given in (data, doubled))
    assert heavy.history_.losses == pytest.approx([2 * plain.history_.losses[0]])
    assert (plain.item_vectors_ != 0).all()  # Adagrad's steps do not depend on scale
    np.testing.assert_allclose(plain.item_vectors_, heavy.item_vectors_, atol=1e-4)


def test_runs_start_with_the_short_one_and_predict_nothing_before_their_first_item():
    data = Interactions.from_codes(
        [0] * 5 + [1] * 3 + [2],
        [0, 3, 1, 4, 1, 4, 3, 2, 1],
        weights=[1, 2, 3, 4, 5, 1, 0, 0, 9],
    )
    rows = runs(data, 3, "fit")
    cut = [rows.indices[a:b].tolist() for a, b in pairwise(rows.indptr)]
    assert cut == [[0, 3], [1, 4, 1]]  # 4, 3, 2 weigh nothing; one item is none
    assert rows.data.tolist() == [0, 2, 0, 4, 5]


def test_one_worker_and_a_seed_give_one_result():
    first, second = small().fit(chain()), small().fit(chain())
    assert (first.item_vectors_ == second.item_vectors_).all()
    other = small(random_state=1).fit(chain())
    assert (first.item_vectors_ != other.item_vectors_).any()


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_two_workers_learn_as_well(backend):
    model = small(n_jobs=2, backend=backend, epochs=40).fit(chain())
    assert model.score(chain(seed=1)) > 0.6
    assert model.history_.workers == 2


# -- answers -------------------------------------------------------------------


def test_scores_of_a_history_are_state_times_vectors_plus_biases(fitted):
    items = ["i3", "i4", "i5"]
    state = fitted.user_representation(items)
    keep = 1 / (1 + np.exp(-fitted.learned_["encoder.keep"].astype(float)))
    s = fitted.learned_["encoder.start"].astype(float)
    for item in items:
        row = list(fitted.item_ids_).index(item)
        s = keep * s + (1 - keep) * fitted.item_vectors_[row]
    np.testing.assert_allclose(state, s, atol=1e-5)
    scores = fitted.predict_history(items)
    assert scores.dtype == np.float32 and scores.shape == (RING,)
    expected = fitted.item_vectors_ @ s + fitted.item_biases_
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_many_histories_are_answered_as_each_alone(fitted):
    histories = [["i1"], ["i5", "i6", "i7"], np.array(["i9", "i10"])]
    together, best = (
        fitted.predict_history(histories),
        fitted.recommend_history(histories, 4),
    )
    assert together.shape == (3, RING) and best.ids.shape == best.scores.shape == (3, 4)
    for k, history in enumerate(histories):
        alone, one = (
            fitted.predict_history(history),
            fitted.recommend_history(history, 4),
        )
        np.testing.assert_allclose(alone, together[k], atol=1e-6)
        assert one.ids.tolist() == best.ids[k].tolist()


def test_recommendations_of_a_history_are_its_best_scores(fitted):
    history = ["i20", "i21", "i22"]
    scores = fitted.predict_history(history)
    order = np.argsort(-scores, kind="stable")
    ids = fitted.item_ids_[order]
    every = fitted.recommend_history(history, RING, exclude_seen=False)
    assert every.ids.tolist() == ids.tolist()
    np.testing.assert_allclose(every.scores, scores[order], atol=1e-5)
    unseen = fitted.recommend_history(history, 5)
    assert unseen.ids.tolist() == [i for i in ids if i not in history][:5]
    some = fitted.recommend_history(history, 2, filter=["i0", "i23", "i20", "?"])
    assert set(some.ids) == {"i0", "i23"}


def test_users_of_the_training_data_are_known_by_their_histories(fitted):
    data = chain()
    user = data.user_ids[7]
    rows = np.flatnonzero(data.users == 7)
    history = data.item_ids[data.items[rows[np.argsort(data.timestamps[rows])]]]
    state = fitted.user_representation(history)
    np.testing.assert_allclose(fitted.user_vectors_[7], state, atol=1e-6)
    known, new = fitted.recommend(user, 5), fitted.recommend_history(history, 5)
    assert known.ids.tolist() == new.ids.tolist()
    scores = fitted.predict([user, user], ["i1", "i2"])
    wanted = fitted.predict_history(history)[fitted.items_.require(["i1", "i2"], "")]
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
    assert fitted.similar_items("i5", 2).ids.shape == (2,)
    with pytest.raises(UnknownIdError, match="recommend_history"):
        fitted.recommend("nobody")


def test_only_the_last_items_count():
    model = small(max_sequence_length=3).fit(chain())
    long, short = ["i1", "i9", "i2", "i3", "i4"], ["i2", "i3", "i4"]
    assert (model.predict_history(long) == model.predict_history(short)).all()
    assert "i1" not in model.recommend_history(long, RING).ids


def test_a_user_without_interactions_has_the_state_all_start_from():
    data = chain()
    part = data.take(data.users != 0)
    model = small(model="gru").fit(part)
    assert (model.user_vectors_[0] == 0).all()
    assert model.recommend(data.user_ids[0], 3).ids.shape == (3,)


@pytest.mark.parametrize("history", [[], [["i1"], []], ["i1", ["i2"]], [[["i1"]]]])
def test_an_empty_history_is_a_data_error(fitted, history):
    for answer in (
        fitted.predict_history,
        fitted.recommend_history,
        fitted.user_representation,
    ):
        with pytest.raises(DataError, match="at least one item"):
            answer(history)


def test_unknown_items_and_scores_that_are_not_finite_are_refused(fitted):
    with pytest.raises(UnknownIdError, match="i99"):
        fitted.predict_history(["i1", "i99"])
    broken = copy.deepcopy(fitted)
    broken._states = lambda histories: np.full((1, 8), np.nan, np.float32)
    with pytest.raises(DivergenceError, match="not finite"):
        broken.predict_history(["i1"])
    with pytest.raises(NotFittedError, match="fit"):
        SequenceRecommender().predict_history(["i1"])
    with pytest.raises(DataError, match="two items"):
        fitted.score(Interactions(["a", "b"], ["i1", "i2"]))


# -- going on ------------------------------------------------------------------


def test_partial_fit_continues_histories_and_takes_new_items():
    model = small(epochs=30).fit(chain())
    before = model.user_vectors_.shape, len(model.items_)
    user = chain().user_ids[3]
    known = model.items_.take(model.recent_[3])
    more = [f"new{k}" for k in range(4)]
    data = Interactions(
        [user] * 4 + ["stranger"] * 3, [*more, "i1", "i2", "new0"], np.ones(7)
    )
    sums = model.learned_["adagrad.sum:items"].copy()
    model.partial_fit(data, epochs=2)
    assert len(model.items_) == before[1] + 4
    assert model.user_vectors_.shape == (before[0][0] + 1, 8)
    assert model.learned_["adagrad.sum:items"].shape == (RING + 4, 8)
    assert (model.learned_["adagrad.sum:items"][:RING] >= sums).all()
    history = [*known, *more]
    state = model.user_representation(history)
    np.testing.assert_allclose(model.user_vectors_[3], state, atol=1e-6)
    unseen = model.recommend(user, RING + 4).ids
    assert not set(history) & set(unseen)
    state = model.user_representation(["i1", "i2", "new0"])
    np.testing.assert_allclose(model.user_vectors_[-1], state, atol=1e-6)


def test_partial_fit_alone_learns_and_refuses_other_ids():
    model = small().partial_fit(chain(), epochs=40)
    assert model.score(chain(seed=1)) > 0.6
    kept = model.item_vectors_.copy()
    with pytest.raises(DTypeError):
        model.partial_fit(Interactions([1, 1], [2, 3]))
    assert len(model.users_) == 160 and (model.item_vectors_ == kept).all()
    with pytest.raises(SettingError, match="width"):
        model.set_params(width=4).partial_fit(chain(seed=1))


# -- files, copies and searches ------------------------------------------------


def same(first, second):
    assert first.get_params() == second.get_params()
    for name, array in first.learned_.items():
        assert (second.learned_[name] == array).all(), name
    history = [["i2", "i3"], ["i7"]]
    assert (first.predict_history(history) == second.predict_history(history)).all()
    users = list(chain().user_ids[:3])
    assert (
        first.recommend(users, 3).ids.tolist()
        == second.recommend(users, 3).ids.tolist()
    )


@pytest.mark.parametrize(
    "settings", [{}, {"model": "lstm", "loss": "bpr", "coupled": True}]
)
def test_files_and_pickles_answer_and_go_on_alike(tmp_path, settings):
    model = small(**settings).fit(chain())
    model.save(tmp_path / "model.wyrm")
    loaded = SequenceRecommender.load(tmp_path / "model.wyrm")
    pickled = pickle.loads(pickle.dumps(model))
    for other in (loaded, pickled, copy.deepcopy(model)):
        same(model, other)
    more = chain(users=20, seed=5)
    same(model.partial_fit(more), loaded.partial_fit(more))


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "model.wyrm"
    small().fit(chain()).save(path)
    arrays, metadata = read_arrays(path)
    wrong = {
        "user_vectors": arrays["user_vectors"][:, :3],
        "learned/items": arrays["learned/items"][:-1],
        "recent.offsets": arrays["recent.offsets"][:-1],
        "seen.starts": arrays["seen.starts"][:-1],
        "learned/encoder.keep": arrays["learned/encoder.keep"][:-1],
    }
    for name, array in wrong.items():
        write_arrays(path, {**arrays, name: array}, metadata)
        with pytest.raises(CorruptCheckpointError):
            SequenceRecommender.load(path)
    write_arrays(path, arrays, {**metadata, "kind": "factorization"})
    with pytest.raises(CorruptCheckpointError, match="factorization"):
        SequenceRecommender.load(path)


def test_it_is_searched_by_scikit_learn():
    data = chain(users=60)
    search = GridSearchCV(
        small(), {"epochs": [0, 30]}, cv=GroupKFold(2), error_score="raise"
    )
    search.fit(data, groups=data.users)
    assert search.best_params_ == {"epochs": 30}
    drawn = list(
        ParameterSampler(SequenceRecommender.search_space(), 20, random_state=0)
    )
    for settings in drawn:
        clone(SequenceRecommender(**settings))._require_settings()
    assert len({settings["learning_rate"] for settings in drawn}) == 20


def test_impossible_settings_are_refused():
    wrong = {
        "model": "transformer",
        "loss": ["warp"],
        "width": 0,
        "max_sequence_length": 1,
        "negatives": 1.5,
        "max_tries": True,
        "initial_scale": -1.0,
    }
    for name, value in wrong.items():
        with pytest.raises(SettingError, match=name):
            small(**{name: value}).fit(chain())
    with pytest.raises(DataError, match="two items"):
        small().fit(Interactions(["a", "b"], ["x", "y"]))
    fast = wp.SGD(1e30)
    with pytest.raises(DivergenceError):
        small(optimizer=fast, loss="bpr").fit(chain())
