"""The recommender learns a checkerboard, keeps its promises and survives a file."""

from pathlib import Path

import numpy as np
import pytest

from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.readers import read_ratings
from wyrm_py.data.split import positives, random_split
from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.errors import (
    CorruptCheckpointError,
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
DATA = Path(__file__).parents[2] / "../shared/data/ml-100k"


def checkerboard() -> Interactions:
    """Return even users with even items and odd with odd, but for each one's own."""
    pairs = [
        (u, i) for u in range(SIZE) for i in range(SIZE) if (u - i) % 2 == 0 and u != i
    ]
    users, items = zip(*pairs, strict=True)
    return Interactions([f"u{u}" for u in users], list(items))


@pytest.fixture(scope="module", params=sorted(LOSSES))
def fitted(request) -> FactorizationRecommender:
    model = FactorizationRecommender(request.param, 8, epochs=40, random_state=0)
    return model.fit(checkerboard())


def test_the_left_out_square_of_the_checkerboard_is_recommended(fitted):
    right = sum(fitted.recommend(f"u{u}", 1)[0][0] == u for u in range(SIZE))
    assert right == SIZE


def test_seen_items_come_first_when_they_are_included(fitted):
    best = [item for item, _ in fitted.recommend("u4", 10, include_seen=True)]
    assert sorted(best) == list(range(0, SIZE, 2))
    assert len(fitted.recommend("u4", 1000)) == SIZE - 9
    assert len(fitted.recommend("u4", 1000, include_seen=True)) == SIZE


def test_scores_are_inner_products_plus_bias_and_fall(fitted):
    row = fitted.users_.find("u3")
    expected = {
        int(item): fitted.user_vectors_[row] @ fitted.item_vectors_[code]
        + fitted.item_biases_[code]
        for code, item in enumerate(fitted.items_.ids)
    }
    found = fitted.recommend("u3", SIZE, include_seen=True)
    assert all(
        score == pytest.approx(expected[item], rel=1e-5) for item, score in found
    )
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)


def test_a_model_comes_back_from_a_file(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    again = FactorizationRecommender.load(tmp_path / "m")
    assert again == fitted  # the settings
    for user in ("u0", "u7"):
        assert again.recommend(user) == fitted.recommend(user)
    assert again.items_.ids.dtype == fitted.items_.ids.dtype


def test_one_worker_and_a_seed_repeat_a_model():
    first, again, other = (
        FactorizationRecommender("warp", 8, epochs=2, random_state=seed).fit(
            checkerboard()
        )
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first.item_vectors_, again.item_vectors_)
    assert not np.array_equal(first.item_vectors_, other.item_vectors_)


@pytest.mark.parametrize("loss", sorted(LOSSES))
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
    assert measured.auc > popular.auc + 0.1
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
    model = FactorizationRecommender("bpr", 8, epochs=1).fit(board.take(keep), board)
    assert all(
        item % 2 != 0 or item == 4 for item, _ in model.recommend("u4", top=1000)
    )


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_user_who_knows_everything_gets_nothing_new(loss):
    ratings = Interactions([0, 0, 0, 1], [0, 1, 2, 1])
    model = FactorizationRecommender(loss, 8, epochs=3, random_state=0).fit(ratings)
    assert model.recommend(0) == []
    assert len(model.recommend(1)) == 2


def test_wrong_use_is_refused(tmp_path):
    board = checkerboard()
    model = FactorizationRecommender("bpr", 8, epochs=1)
    with pytest.raises(NotFittedError, match="recommend"):
        model.recommend("u1")
    with pytest.raises(NotFittedError, match="save"):
        model.save(tmp_path / "m")
    with pytest.raises(ShapeError, match="seen must have the 20 users"):
        model.fit(board, Interactions([1], [2]))
    for settings, message in [
        ({"loss": "best"}, "bpr, warp, logistic"),
        ({"width": 0}, "width"),
        ({"initial_scale": -1.0}, "initial_scale"),
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
    with pytest.raises(SettingError, match="top"):
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

    refused("not a recommender", metadata={"kind": "parameters"})
    refused("fit together", metadata={"kind": "factorization"})
    refused("fit together", metadata={**metadata, "settings": {"colour": 1}})
    refused("fit together", {**arrays, "item_biases": np.zeros(3, np.float32)})
    refused("fit together", {**arrays, "user_vectors": arrays["user_vectors"][:, 1:]})
    refused("fit together", {**arrays, "seen.items": arrays["seen.items"] + 1})
    refused("fit together", {**arrays, "seen.starts": arrays["seen.starts"][1:]})
    missing = {name: part for name, part in arrays.items() if name != "item_vectors"}
    refused("fit together", missing)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptCheckpointError):
        FactorizationRecommender.load(path)
