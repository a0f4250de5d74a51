"""The recommender learns a checkerboard, keeps its promises and survives a file."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import wyrm_py as wp
from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.readers import read_ratings
from wyrm_py.data.split import positives, random_split
from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DivergenceError,
    NotFittedError,
    SettingError,
    ShapeError,
    UnknownIdError,
)
from wyrm_py.evaluation import popularity_metrics, ranking_metrics
from wyrm_py.models import FactorizationRecommender
from wyrm_py.models.factorization import LOSSES

SIZE = 20
RANKING = [name for name, loss in LOSSES.items() if not loss.is_explicit]
DATA = Path(__file__).parents[2] / "../shared/data/ml-100k"


def checkerboard() -> Interactions:
    """Return even users with even items and odd with odd, but for each one's own."""
    pairs = [
        (u, i) for u in range(SIZE) for i in range(SIZE) if (u - i) % 2 == 0 and u != i
    ]
    users, items = zip(*pairs, strict=True)
    return Interactions([f"u{u}" for u in users], list(items))


@pytest.fixture(scope="module", params=RANKING)
def fitted(request) -> FactorizationRecommender:
    epochs = 100 if request.param == "warp-kos" else 40
    model = FactorizationRecommender(request.param, 8, epochs, random_state=0)
    return model.fit(checkerboard())


def test_the_left_out_square_of_the_checkerboard_is_recommended(fitted):
    best = fitted.recommend([f"u{u}" for u in range(SIZE)], 1).ids[:, 0]
    assert list(best) == list(range(SIZE))


def test_seen_items_come_first_when_they_are_included(fitted):
    best, _ = fitted.recommend("u4", 10, exclude_seen=False)
    assert sorted(best) == list(range(0, SIZE, 2))
    unseen = fitted.recommend("u4", SIZE)
    assert np.isfinite(unseen.scores).sum() == SIZE - 9


def test_scores_are_inner_products_plus_biases(fitted):
    who, what = (
        np.repeat([f"u{u}" for u in range(SIZE)], SIZE),
        np.tile(range(SIZE), SIZE),
    )
    users, items = fitted.users_.codes(who), fitted.items_.codes(what)
    expected = (
        (fitted.user_vectors_[users] * fitted.item_vectors_[items]).sum(1)
        + fitted.item_biases_[items]
        + fitted.user_biases_[users]
    )
    np.testing.assert_allclose(
        fitted.predict(who, what), expected, rtol=1e-4, atol=1e-5
    )
    assert fitted.user_biases_.any() == (fitted.loss == "logistic")


def test_a_model_comes_back_from_a_file(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    again = FactorizationRecommender.load(tmp_path / "m")
    assert again.get_params() == fitted.get_params()
    for user in ("u0", "u7"):
        for one, other in zip(
            again.recommend(user), fitted.recommend(user), strict=True
        ):
            assert np.array_equal(one, other)
    assert again.items_.ids.dtype == fitted.items_.ids.dtype
    assert pickle.loads(pickle.dumps(fitted)).recommend("u1").ids[0] == 1


def test_one_worker_and_a_seed_repeat_a_model():
    first, again, other = (
        FactorizationRecommender("warp", 8, epochs=2, random_state=seed).fit(
            checkerboard()
        )
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first.item_vectors_, again.item_vectors_)
    assert not np.array_equal(first.item_vectors_, other.item_vectors_)


@pytest.mark.parametrize("loss", RANKING)
def test_planted_tastes_are_found_with_two_workers(loss):
    train, test = random_split(synthetic_ratings())
    model = FactorizationRecommender(loss, n_jobs=2, backend="threads", random_state=0)
    model.fit(train)
    measured = ranking_metrics(
        model.user_vectors_,
        model.item_vectors_,
        train.csr(),
        test.csr(),
        model.item_biases_,
    )
    popular = popularity_metrics(train.csr(), test.csr())
    assert measured.auc > popular.auc + 0.08  # k-OS looks at the top only
    assert measured.precision > 3 * popular.precision
    losses = model.history_.losses
    assert losses[-1] < losses[0]


@pytest.fixture(scope="module")
def movielens() -> tuple[Interactions, Interactions]:
    """Return the positives of MovieLens' `ua` split, train and test."""
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    parts = [read_ratings(DATA / name) for name in ("ua.base.gz", "ua.test.gz")]
    users = np.concatenate([part.user_ids[part.users] for part in parts])
    items = np.concatenate([part.item_ids[part.items] for part in parts])
    values = np.concatenate([part.ratings for part in parts])
    both = Interactions(users, items, values)
    split = len(parts[0])
    train, test = both.take(np.arange(split)), both.take(np.arange(split, len(both)))
    return positives(train, 4), positives(test, 4)


@pytest.mark.parametrize(
    ("loss", "least"), [("warp", 0.92), ("bpr", 0.91), ("logistic", 0.91)]
)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_movielens_is_ranked_far_better_than_by_popularity(
    loss, least, n_jobs, movielens
):
    train, test = movielens
    model = FactorizationRecommender(
        loss, n_jobs=n_jobs, backend="threads", random_state=0
    ).fit(train)
    measured = ranking_metrics(
        model.user_vectors_,
        model.item_vectors_,
        train.csr(),
        test.csr(),
        model.item_biases_,
    )
    popular = popularity_metrics(train.csr(), test.csr())
    assert popular.auc == pytest.approx(0.872, abs=5e-4)  # the published baseline
    assert popular.precision == pytest.approx(0.067, abs=5e-4)
    assert measured.auc > least
    assert measured.precision > 1.5 * popular.precision


def test_what_was_seen_can_be_more_than_the_positives():
    board = checkerboard()
    keep = np.ones(len(board), bool)
    keep[::7] = False
    model = FactorizationRecommender("bpr", 8, epochs=1).fit(
        board.take(keep), seen=board
    )
    ids, scores = model.recommend("u4", SIZE)
    assert all(item % 2 != 0 or item == 4 for item in ids[np.isfinite(scores)])


@pytest.mark.parametrize("loss", RANKING)
def test_a_user_who_knows_everything_gets_nothing_new(loss):
    ratings = Interactions([0, 0, 0, 1], [0, 1, 2, 1])
    model = FactorizationRecommender(loss, 8, epochs=3, random_state=0).fit(ratings)
    assert np.isinf(model.recommend(0, 3).scores).all()
    assert np.isfinite(model.recommend(1, 3).scores).sum() == 2


def test_wrong_use_is_refused(tmp_path):
    board = checkerboard()
    model = FactorizationRecommender("bpr", 8, epochs=1)
    with pytest.raises(NotFittedError, match="recommend"):
        model.recommend("u1")
    with pytest.raises(NotFittedError, match="save"):
        model.save(tmp_path / "m")
    with pytest.raises(ShapeError, match="seen must have the 20 users"):
        model.fit(board, seen=Interactions([1], [2]))
    for settings, message in [
        ({"loss": "best"}, "bpr, hinge, logistic, squared, warp, warp-kos"),
        ({"sampler": "best"}, "uniform, popular or a function"),
        ({"max_tries": 0}, "max_tries"),
        ({"k": 11}, "k must be at most n"),
        ({"popularity_power": -1.0}, "popularity_power"),
        ({"optimizer": "best"}, "optimizer"),
        ({"width": 0}, "width"),
        ({"initial_scale": -1.0}, "initial_scale"),
        ({"initial_scale": "0.1"}, "initial_scale"),
        ({"random_state": -1}, "random_state"),
        ({"random_state": "today"}, "random_state"),
        ({"epochs": -1}, "epochs"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"backend": "magic"}, "backend"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"l2": -1.0}, "l2"),
    ]:
        with pytest.raises(SettingError, match=message):
            FactorizationRecommender(**settings).fit(board)
    model.fit(board)
    with pytest.raises(UnknownIdError, match="'u2'"):
        model.recommend("u222")
    with pytest.raises(SettingError, match="n must"):
        model.recommend("u1", 0)


def test_divergence_is_an_error():
    model = FactorizationRecommender("bpr", 8, learning_rate=1e30, epochs=5)
    with pytest.raises(DivergenceError):
        model.fit(checkerboard())


def test_foreign_and_inconsistent_files_are_refused(tmp_path):
    path = tmp_path / "m"
    FactorizationRecommender("bpr", 8, epochs=1).fit(checkerboard()).save(path)
    arrays, metadata = read_arrays(path)

    def refused(match, arrays=arrays, metadata=metadata):
        write_arrays(tmp_path / "bad", arrays, metadata)
        with pytest.raises(CorruptCheckpointError, match=match):
            FactorizationRecommender.load(tmp_path / "bad")

    refused("needs 'factorization'", metadata={"kind": "parameters"})
    refused("fit together", metadata={"kind": "factorization"})
    refused("fit together", metadata={**metadata, "settings": {"colour": 1}})
    refused("fit together", {**arrays, "item_biases": np.zeros(3, np.float32)})
    refused("fit together", {**arrays, "user_vectors": arrays["user_vectors"][:, 1:]})
    refused("fit together", {**arrays, "seen.starts": arrays["seen.starts"][1:]})
    missing = {name: part for name, part in arrays.items() if name != "item_vectors"}
    refused("fit together", missing)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptCheckpointError):
        FactorizationRecommender.load(path)


# -- weights, samplers, scikit-learn ---------------------------------------------


def with_weights(data, weights):
    return Interactions.from_codes(
        *(data.users, data.items, data.ratings, None, weights),
        user_ids=data.user_ids,
        item_ids=data.item_ids,
    )


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_weight_of_two_is_a_step_of_twice_the_length(loss):
    board = checkerboard()
    double = with_weights(board, np.full(len(board), 2.0))
    steps = {"epochs": 3, "optimizer": "sgd", "l2": 0.0}
    settings = {"width": 4, "loss": loss, "random_state": 0, **steps}
    twice = FactorizationRecommender(learning_rate=0.01, **settings).fit(double)
    longer = FactorizationRecommender(learning_rate=0.02, **settings).fit(board)
    for name in ("user_vectors_", "item_vectors_", "item_biases_"):
        one, other = getattr(twice, name), getattr(longer, name)
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_an_interaction_without_weight_is_as_if_it_were_not_there():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 600), rng.integers(0, 20, 600)
    ratings = 3.0 + (users % 3) - (items % 2)
    lie = np.arange(600) % 2 == 0  # half of the ratings are wrong, and weigh nothing
    told = np.where(lie, 9.0, ratings)
    data = Interactions(users, items, told, weights=(~lie).astype(float))
    settings = {"width": 4, "epochs": 30, "l2": 0.0, "random_state": 0}
    model = FactorizationRecommender("squared", **settings).fit(data)
    assert model.mean_ == pytest.approx(ratings[~lie].mean(), rel=1e-5)
    assert model.score(Interactions(users, items, ratings)) > -0.35


@pytest.mark.parametrize("sampler", ["popular", "own"])
def test_samplers_are_plugged_in(sampler):
    board, asked = checkerboard(), []

    def own(item, known, user):
        asked.append((item.shape, known.shape))
        return wp.sample_uniform(item, SIZE, known=known, user=user)

    given = own if sampler == "own" else sampler
    model = FactorizationRecommender("bpr", 8, 40, sampler=given, random_state=0)
    model.fit(board)
    best = model.recommend([f"u{u}" for u in range(SIZE)], 1).ids[:, 0]
    assert list(best) == list(range(SIZE))
    assert asked == ([((1,), (SIZE, SIZE))] if sampler == "own" else [])


def test_popular_items_are_drawn_more_often():
    """Items that nobody met are never drawn, so that their biases stay zero."""
    data = Interactions.from_codes(
        *([0, 1, 2, 3] * 5, [0, 0, 1, 1] * 5), item_ids=np.arange(4)
    )
    given = {"l2": 0.0, "random_state": 0}
    popular = FactorizationRecommender("bpr", 2, sampler="popular", **given).fit(data)
    assert not popular.item_biases_[2:].any()
    even = FactorizationRecommender("bpr", 2, **given).fit(data)
    assert (even.item_biases_[2:] < 0).all()


def test_the_score_is_the_auc_over_what_was_not_seen():
    train, test = random_split(synthetic_ratings(5_000, 150, 100))
    model = FactorizationRecommender("bpr", 8, random_state=0).fit(train)
    measured = ranking_metrics(
        *(model.user_vectors_, model.item_vectors_, train.csr(), test.csr()),
        model.item_biases_,
    )
    assert model.score(test) == pytest.approx(measured.auc, rel=1e-6)
    assert model.score(train) > 0.7  # what is scored is not left out
    strange = Interactions(["nobody"], ["nothing"])
    with pytest.raises(DataError, match="none among 1"):
        model.score(strange)


def test_squared_loss_scores_by_its_root_mean_squared_error():
    data = Interactions([1, 1, 2, 3], [7, 8, 7, 8], [5.0, 3.0, 4.0, 1.0])
    model = FactorizationRecommender("squared", 2, random_state=0).fit(data)
    asked = Interactions([1, 3, 9], [8, 7, 7], [2.0, 2.0, 2.0])
    known = model.predict([1, 3], [8, 7])
    new = model.mean_ + model.item_biases_[model.items_.codes([7])]
    errors = np.concatenate([known, new]) - 2.0
    assert model.score(asked) == pytest.approx(-np.sqrt(np.mean(errors**2)), rel=1e-5)
    nothing = Interactions(["u1"], [2], weights=[0.0])
    with pytest.raises(DataError, match="all weights are zero"):
        FactorizationRecommender("squared", 4, epochs=1).fit(checkerboard()).score(
            nothing
        )


@pytest.mark.parametrize("form", ["interactions", "pairs"])
@pytest.mark.parametrize("loss", ["bpr", "squared"])
def test_grid_search_finds_the_better_setting(form, loss):
    data = synthetic_ratings(4_000, 120, 80)
    grid = {"epochs": [0, np.int64(8)], "width": [8]}
    search = GridSearchCV(FactorizationRecommender(loss, random_state=0), grid, cv=2)
    if form == "interactions":
        search.fit(data)
    else:
        ids = (ids[codes] for ids, codes in _columns(data))
        search.fit(np.column_stack([*ids]), data.ratings)
    assert search.best_params_["epochs"] == 8
    assert search.best_score_ > (0.55 if loss == "bpr" else -1.5)
    copy = clone(search.best_estimator_)
    assert copy.get_params() == search.best_estimator_.get_params()
    assert not hasattr(copy, "users_")


def _columns(data):
    return (data.user_ids, data.users), (data.item_ids, data.items)


@pytest.mark.parametrize("loss", ["bpr", "squared"])
def test_bad_data_is_refused(loss):
    board, model = checkerboard(), FactorizationRecommender(loss, 4, epochs=1)
    for error, call, message in [
        (DataError, lambda: model.fit(board, np.full(len(board), np.nan)), "finite"),
        (ShapeError, lambda: model.fit(board, [1.0]), "one length"),
        (DataError, lambda: with_weights(board, np.full(len(board), np.nan)), "finite"),
        (DataError, lambda: model.fit(with_weights(board, 0 * board.ratings)), "zero"),
        (DataError, lambda: model.fit(Interactions([], [])), "at least one"),
    ]:
        with pytest.raises(error, match=message):
            call()
    assert not hasattr(model, "users_")
