"""The native ranking metrics equal slow plain-Python ones, ties included."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from wyrm_py.data import Interactions, leave_out_split, time_split
from wyrm_py.errors import DataError, SettingError, ShapeError
from wyrm_py.evaluation import (
    popularity_metrics,
    ranking_metrics,
    ranking_metrics_of_scores,
)
from wyrm_py.evaluation.kernel import COLUMNS, rank_rows

NAMES = ["auc", "precision", "recall", "f1", "map", "mrr", "ndcg", "hit_rate"]


def mean(values):
    return sum(values) / len(values) if values else math.nan


def oracle(scores, train, test, top):
    """Sort whole lists and compare all pairs, straight from the definitions."""
    found = {name: [] for name in NAMES}
    shown = set()
    for user, row in enumerate(scores.tolist()):
        seen = {i for i, value in enumerate(train[user]) if value}
        good = {i for i, value in enumerate(test[user]) if value} - seen
        bad = [i for i in range(len(row)) if i not in seen and i not in good]
        if not good:
            continue
        if bad:
            pairs = [(row[i], row[j]) for i in good for j in bad]
            found["auc"].append(mean([(p > n) + 0.5 * (p == n) for p, n in pairs]))
        ranked = sorted([*good, *bad], key=lambda i: (-row[i], i in good))
        shown.update(sorted([*good, *bad], key=lambda i: (-row[i], i))[:top])
        hits = [i in good for i in ranked[:top]]
        precision, recall = sum(hits) / top, sum(hits) / len(good)
        both = precision + recall
        down_to = [sum(hits[: k + 1]) / (k + 1) for k, hit in enumerate(hits) if hit]
        first = next(k for k, i in enumerate(ranked) if i in good)
        gain = sum(hit / math.log2(k + 2) for k, hit in enumerate(hits))
        ideal = sum(1 / math.log2(k + 2) for k in range(min(top, len(good))))
        for name, value in {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / both if both else 0,
            "map": sum(down_to) / min(top, len(good)),
            "mrr": 1 / (first + 1),
            "ndcg": gain / ideal,
            "hit_rate": float(any(hits)),
        }.items():
            found[name].append(value)
    coverage = len(shown) / scores.shape[1]
    return [*(mean(values) for values in found.values()), coverage]


def values(metrics):
    return [*(getattr(metrics, name) for name in NAMES), metrics.coverage]


def random_case(seed, n_users=12, n_items=40, width=3, whole=True, density=0.2):
    rng = np.random.default_rng(seed)
    if whole:  # whole numbers make many exact ties
        users = rng.integers(-2, 3, (n_users, width)).astype(np.float32)
        items = rng.integers(-2, 3, (n_items, width)).astype(np.float32)
        biases = rng.integers(-1, 2, n_items).astype(np.float32)
    else:
        users = rng.standard_normal((n_users, width)).astype(np.float32)
        items = rng.standard_normal((n_items, width)).astype(np.float32)
        biases = rng.standard_normal(n_items).astype(np.float32)
    train = (rng.random((n_users, n_items)) < density).astype(np.float32)
    test = (rng.random((n_users, n_items)) < density).astype(np.float32)
    test[::4] = 0
    return users, items, biases, train, test


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("width", [1, 3, 4, 7, 8])
@pytest.mark.parametrize("top", [1, 5, 60])
def test_metrics_equal_the_definitions(seed, whole, width, top):
    users, items, biases, train, test = random_case(seed, width=width, whole=whole)
    metrics = ranking_metrics(
        users, items, sp.csr_array(train), sp.csr_array(test), biases, top
    )
    scores = users.astype(float) @ items.T + biases
    assert values(metrics) == pytest.approx(oracle(scores, train, test, top), rel=1e-12)
    assert metrics.users == 9
    assert metrics.top == top


@settings(max_examples=60)
@given(
    n_users=st.integers(1, 6),
    n_items=st.integers(1, 12),
    top=st.integers(1, 15),
    seed=st.integers(0, 10_000),
    density=st.floats(0, 0.9),
)
def test_metrics_equal_the_definitions_on_small_sets(
    n_users, n_items, top, seed, density
):
    users, items, _, train, test = random_case(seed, n_users, n_items, 2, True, density)
    expected = oracle(users @ items.T, train, test, top)
    matrices = sp.csr_array(train), sp.csr_array(test)
    if math.isnan(expected[1]):
        with pytest.raises(DataError, match="no user has a test positive"):
            ranking_metrics(users, items, *matrices, top=top)
    else:
        metrics = ranking_metrics(users, items, *matrices, top=top)
        assert values(metrics) == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("negatives", [0, 3])
def test_the_kernel_runs_as_plain_python(negatives):
    users, items, biases, train, test = random_case(1)
    train, test = sp.csr_array(train), sp.csr_array(test)
    test = sp.csr_array(test - test.multiply(train))
    test.eliminate_zeros()
    rows = np.flatnonzero(np.diff(test.indptr))
    results, shown = np.empty((len(rows), COLUMNS)), np.zeros(40, np.uint8)
    discounts = 1 / np.log2(np.arange(2, 12))
    seed = np.uint64(np.random.default_rng(7).integers(1 << 63))
    with np.errstate(over="ignore"):  # 64-bit products wrap around on purpose
        rank_rows(
            *(users[rows] @ items.T + biases, 40, rows),
            *(train.indptr, train.indices, test.indptr, test.indices),
            *(discounts, negatives, seed, shown, results),
        )
    native = ranking_metrics(
        *(users, items, train, test, biases),
        negatives=negatives or None,
        random_state=7,
    )
    for column, name in enumerate(["auc", None, "recall", "mrr", "ndcg", "map"]):
        if name:
            np.testing.assert_allclose(
                results[:, column], native.per_user[name], rtol=1e-12
            )
    if not negatives:
        assert shown.mean() == native.coverage


def test_the_number_of_threads_does_not_matter():
    users, items, biases, train, test = random_case(2, n_users=50)
    matrices = sp.csr_array(train), sp.csr_array(test)
    results = [
        values(ranking_metrics(users, items, *matrices, biases, n_jobs=jobs))
        for jobs in (1, 2, 3, -1, 100)
    ]
    assert all(result == results[0] for result in results)


def test_a_perfect_model_scores_one_and_a_constant_one_gets_no_credit():
    test = sp.csr_array(np.eye(4))
    train = sp.csr_array((4, 4))
    perfect = ranking_metrics(np.eye(4), np.eye(4), train, test, top=1)
    assert values(perfect) == [1] * 9
    constant = ranking_metrics(np.ones((4, 1)), np.ones((4, 1)), train, test, top=1)
    # the four items tie, so all users are shown the first one
    assert values(constant) == [0.5, 0, 0, 0, 0, 0.25, 0, 0, 0.25]


def test_a_top_beyond_the_catalogue_costs_nothing():
    scores, test = np.arange(12.0).reshape(2, 6), sp.csr_array(np.eye(2, 6, 5))
    train = sp.csr_array((2, 6), dtype=np.float32)
    found = ranking_metrics_of_scores(scores, train, test, top=10**12)
    assert (found.recall, found.mrr, found.coverage) == (1, 1, 1)
    assert found.precision == pytest.approx(1e-12)


def test_popularity_ranks_by_train_counts():
    *_, train, test = random_case(3)
    scores = np.tile(train.sum(axis=0), (len(train), 1))
    metrics = popularity_metrics(sp.csr_array(train), sp.coo_array(test), top=5)
    assert values(metrics) == pytest.approx(oracle(scores, train, test, 5), rel=1e-12)
    seen = np.roll(train, 1, axis=0)
    metrics = popularity_metrics(*map(sp.csr_array, (train, test, seen)), top=5)
    assert values(metrics) == pytest.approx(oracle(scores, seen, test, 5), rel=1e-12)


def test_inputs_are_taken_in_any_layout_and_left_alone():
    users, items, biases, train, test = random_case(4)
    expected = values(
        ranking_metrics(users, items, sp.csr_array(train), sp.csr_array(test), biases)
    )
    frozen = items.copy()
    frozen.flags.writeable = False
    coo = sp.coo_matrix(test)
    doubled = sp.coo_matrix(  # every entry twice, and a stored zero
        (
            np.r_[coo.data, coo.data, 0],
            (np.r_[coo.row, coo.row, 0], np.r_[coo.col, coo.col, 0]),
        ),
        shape=coo.shape,
    )
    metrics = ranking_metrics(
        np.asfortranarray(users.astype(">f8")),
        frozen,
        sp.csc_array(train),
        doubled,
        biases.tolist(),
    )
    assert values(metrics) == expected
    assert doubled.nnz == 2 * coo.nnz + 1


def test_wrong_input_is_refused():
    users, items, biases, train, test = random_case(5)
    matrices = sp.csr_array(train), sp.csr_array(test)
    with pytest.raises(ShapeError, match="one width"):
        ranking_metrics(users, items[:, 1:], *matrices)
    with pytest.raises(ShapeError, match="two dimensions"):
        ranking_metrics(users[0], items, *matrices)
    with pytest.raises(ShapeError, match=r"train must be .* \(12, 40\)"):
        ranking_metrics(users, items, matrices[0].T, matrices[1])
    with pytest.raises(ShapeError, match=r"test must be a sparse .* got \(12, 40\)"):
        ranking_metrics(users, items, matrices[0], test)
    with pytest.raises(ShapeError, match="item_biases"):
        ranking_metrics(users, items, *matrices, biases[:-1])
    with pytest.raises(DataError, match="row 2 has NaN"):
        spoiled = users.copy()
        spoiled[2, 1] = np.nan
        ranking_metrics(spoiled, items, *matrices)
    with pytest.raises(SettingError, match="top"):
        ranking_metrics(users, items, *matrices, top=0)
    with pytest.raises(SettingError, match="n_jobs"):
        ranking_metrics(users, items, *matrices, n_jobs=0)
    with pytest.raises(DataError, match="no user has a test positive"):
        ranking_metrics(users, items, matrices[1], matrices[1])


def test_the_last_item_held_out_is_found_at_its_rank():
    """Reciprocal rank as for sequences: last item left out, seen ones excluded."""
    data = Interactions([0, 0, 0, 1, 1], [0, 1, 2, 3, 0], timestamps=[1, 2, 3, 1, 2])
    train, test = leave_out_split(data, latest=True)
    item = {int(name): code for code, name in enumerate(data.item_ids)}
    scores = np.zeros((2, 4))
    scores[0, [item[0], item[1]]] = 9  # seen: they do not count
    scores[0, item[2]] = scores[0, item[3]] = 1  # a tie counts against: rank 2
    scores[1, item[0]] = 5  # rank 1
    metrics = ranking_metrics(scores, np.eye(4), train.csr(), test.csr(), top=1)
    assert metrics.mrr == (1 / 2 + 1) / 2


def test_values_of_each_user_make_the_means():
    users, items, biases, train, test = random_case(6)
    matrices = sp.csr_array(train), sp.csr_array(test)
    metrics = ranking_metrics(users, items, *matrices, biases, top=5)
    scores = users.astype(float) @ items.T + biases
    for place, user in enumerate(metrics.per_user["user"]):
        one = slice(user, user + 1)
        alone = oracle(scores[one], train[one], test[one], 5)
        found = [metrics.per_user[name][place] for name in NAMES]
        assert found == pytest.approx(alone[:-1], rel=1e-12, nan_ok=True)
    assert "per_user" not in repr(metrics)


def test_average_precision_and_ndcg_equal_those_of_scikit_learn():
    users, items, biases, train, test = random_case(8, n_users=30, whole=False)
    test[train > 0] = 0
    metrics = ranking_metrics(
        *(users, items, sp.csr_array((30, 40)), sp.csr_array(test), biases), top=40
    )
    scores = users @ items.T + biases
    rows = metrics.per_user["user"]
    average = [average_precision_score(test[u], scores[u]) for u in rows]
    np.testing.assert_allclose(metrics.per_user["map"], average, rtol=1e-9)
    gains = [ndcg_score(test[u : u + 1], scores[u : u + 1]) for u in rows]
    np.testing.assert_allclose(metrics.per_user["ndcg"], gains, rtol=1e-9)
    areas = [roc_auc_score(test[u], scores[u]) for u in rows]
    np.testing.assert_allclose(metrics.per_user["auc"], areas, rtol=1e-9)


@pytest.mark.parametrize("n_users", [1, 25, 50])
@pytest.mark.parametrize("n_items", [40, 150, 203])
def test_equal_vectors_tie_wherever_the_items_stand(n_users, n_items):
    """No sum may depend on the place of the item, or ties would come apart."""
    rng = np.random.default_rng(9)
    users = rng.standard_normal((n_users, 37)).astype(np.float32)
    items = np.tile(rng.standard_normal((1, 37)).astype(np.float32), (n_items, 1))
    places = np.arange(n_users), rng.integers(0, n_items, n_users)
    test = sp.csr_array((np.ones(n_users), places), (n_users, n_items))
    metrics = ranking_metrics(users, items, sp.csr_array(test.shape), test)
    assert metrics.auc == 0.5
    assert metrics.mrr == pytest.approx(1 / n_items)
    assert metrics.coverage == 10 / n_items


@pytest.mark.parametrize("as_function", [True, False])
def test_metrics_of_scores_equal_those_of_the_vectors_that_made_them(as_function):
    users, items, biases, train, test = random_case(10, n_users=60)
    matrices = sp.csr_array(train), sp.csr_array(test)
    scores, asked = users @ items.T + biases, []

    def function(rows):
        asked.extend(rows.tolist())
        return scores[rows]

    kept = scores.copy()
    found = ranking_metrics_of_scores(
        function if as_function else scores, *matrices, top=5, n_jobs=2
    )
    expected = ranking_metrics(users, items, *matrices, biases, top=5)
    assert values(found) == values(expected)
    np.testing.assert_array_equal(scores, kept)
    if as_function:
        assert asked == expected.per_user["user"].tolist()


def test_a_function_is_asked_for_as_many_rows_as_a_table_may_hold(monkeypatch):
    users, items, _, train, test = random_case(11, n_users=60)
    matrices = sp.csr_array(train), sp.csr_array(test)
    sizes = []

    def function(rows):
        sizes.append(len(rows))
        return users[rows] @ items.T

    monkeypatch.setattr("wyrm_py.evaluation.ranking._CELLS", 7 * 40)
    found = ranking_metrics_of_scores(function, *matrices)
    assert sizes == [7] * 6 + [3]
    assert values(found) == values(ranking_metrics(users, items, *matrices))


def test_a_sample_as_large_as_all_negatives_gives_the_whole_ranking():
    users, items, biases, train, test = random_case(12)
    arguments = users, items, sp.csr_array(train), sp.csr_array(test), biases
    sampled = ranking_metrics(*arguments, negatives=40)
    whole = ranking_metrics(*arguments)
    assert values(sampled)[:-1] == values(whole)[:-1]
    assert math.isnan(sampled.coverage)


def test_sampled_negatives_are_different_unseen_items_drawn_alike():
    """One positive that scores highest among those sampled has rank one: its chance."""
    n_items, n_users, positive_rank, negatives = 30, 4000, 5, 6
    scores = np.tile(np.arange(n_items, 0, -1, dtype=np.float32), (n_users, 1))
    wanted = sp.csr_array(
        (np.ones(n_users), (np.arange(n_users), np.full(n_users, positive_rank + 2))),
        shape=scores.shape,
    )
    hidden = sp.csr_array(
        (np.ones(2 * n_users), (np.repeat(np.arange(n_users), 2), [0, 1] * n_users)),
        shape=scores.shape,
    )
    arguments = scores, hidden, wanted
    found = ranking_metrics_of_scores(*arguments, top=1, negatives=negatives)
    # five better ones among 27: hypergeometric, without replacement
    chance = math.comb(22, negatives) / math.comb(27, negatives)
    assert found.hit_rate == pytest.approx(chance, abs=4 * math.sqrt(chance / n_users))
    assert found.auc == pytest.approx(22 / 27, abs=0.01)
    lost = (1 - found.per_user["auc"]) * negatives
    assert np.allclose(lost, lost.round())
    ranks = np.bincount(lost.round().astype(int), minlength=6) / n_users
    expected = [math.comb(5, k) * math.comb(22, 6 - k) for k in range(6)]
    np.testing.assert_allclose(ranks, np.array(expected) / math.comb(27, 6), atol=0.04)
    again = ranking_metrics_of_scores(*arguments, top=1, negatives=negatives, n_jobs=1)
    assert values(again)[:-1] == values(found)[:-1]
    other = ranking_metrics_of_scores(
        *arguments, top=1, negatives=negatives, random_state=1
    )
    assert values(other)[:-1] != values(found)[:-1]


def test_the_latest_items_and_times_left_out_are_measured_end_to_end():
    rng = np.random.default_rng(13)
    users, items = rng.integers(0, 30, 900), rng.integers(0, 50, 900)
    data = Interactions(users, items, timestamps=rng.permutation(900))
    scores = rng.standard_normal((data.n_users, data.n_items))
    for train, test in (leave_out_split(data, latest=True), time_split(data)):
        met, left_out = train.csr().toarray() > 0, test.csr().toarray() > 0
        found = ranking_metrics_of_scores(scores, train.csr(), test.csr(), top=5)
        expected = oracle(scores.astype(np.float32), met, left_out, 5)
        assert values(found) == pytest.approx(expected, rel=1e-12)
        sampled = ranking_metrics_of_scores(
            scores, train.csr(), test.csr(), top=5, negatives=10
        )
        assert sampled.users == found.users
        # of fewer negatives, no more can stand ahead
        assert (sampled.per_user["mrr"] >= found.per_user["mrr"]).all()
        assert sampled.mrr > found.mrr
