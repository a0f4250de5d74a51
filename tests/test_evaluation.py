"""The native ranking metrics equal slow plain-Python ones, ties included."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import wyrm_py as wp
from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    SettingError,
    ShapeError,
)
from wyrm_py.evaluation import (
    accuracy,
    perplexity,
    popularity_metrics,
    ranking_metrics,
)
from wyrm_py.ranking import rank_users


def mean(values):
    return sum(values) / len(values) if values else math.nan


def oracle(scores, train, test, top):
    """Sort whole lists and compare all pairs, straight from the definitions."""
    aucs, precisions, recalls, f1s, mrrs, ndcgs = [], [], [], [], [], []
    for user, row in enumerate(scores.tolist()):
        seen = {i for i, value in enumerate(train[user]) if value}
        good = {i for i, value in enumerate(test[user]) if value} - seen
        bad = [i for i in range(len(row)) if i not in seen and i not in good]
        if not good:
            continue
        if bad:
            pairs = [(row[i], row[j]) for i in good for j in bad]
            aucs.append(mean([(p > n) + 0.5 * (p == n) for p, n in pairs]))
        ranked = sorted([*good, *bad], key=lambda i: (-row[i], i in good))
        hits = [i in good for i in ranked[:top]]
        precisions.append(sum(hits) / top)
        recalls.append(sum(hits) / len(good))
        both = precisions[-1] + recalls[-1]
        f1s.append(2 * precisions[-1] * recalls[-1] / both if both else 0)
        first = next(k for k, i in enumerate(ranked) if i in good)
        mrrs.append(1 / (first + 1))
        gain = sum(hit / math.log2(k + 2) for k, hit in enumerate(hits))
        ideal = sum(1 / math.log2(k + 2) for k in range(min(top, len(good))))
        ndcgs.append(gain / ideal)
    return [*map(mean, (aucs, precisions, recalls, f1s, mrrs, ndcgs))]


def values(metrics):
    return [
        metrics.auc,
        metrics.precision,
        metrics.recall,
        metrics.f1,
        metrics.mrr,
        metrics.ndcg,
    ]


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


@settings(max_examples=60, deadline=None)
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


def test_the_kernel_runs_as_plain_python():
    users, items, biases, train, test = random_case(1)
    train, test = sp.csr_array(train), sp.csr_array(test)
    test = sp.csr_array(test - test.multiply(train))
    test.eliminate_zeros()
    rows = np.flatnonzero(np.diff(test.indptr))
    results = np.empty((len(rows), 5))
    discounts = 1 / np.log2(np.arange(2, 12))
    rank_users(
        *(rows, users, np.ascontiguousarray(items.T), biases),
        *(train.indptr, train.indices, test.indptr, test.indices),
        *(discounts, 0, len(rows), results),
    )
    native = ranking_metrics(users, items, train, test, biases)
    assert results[:, 0].mean() == pytest.approx(native.auc, rel=1e-12)
    assert results[:, 4].mean() == pytest.approx(native.ndcg, rel=1e-12)


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
    assert values(perfect) == [1, 1, 1, 1, 1, 1]
    constant = ranking_metrics(np.ones((4, 1)), np.ones((4, 1)), train, test, top=1)
    assert values(constant) == [0.5, 0, 0, 0, 0.25, 0]


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


@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 3, 4)])
def test_accuracy_of_scores_is_that_of_their_best_classes(shape):
    rng = np.random.default_rng(len(shape))
    scores = rng.integers(0, 4, (*shape, 3)).astype(np.float32)  # with ties
    targets = rng.integers(0, 3, shape)
    right = [
        row.tolist().index(max(row)) == target
        for row, target in zip(scores.reshape(-1, 3), targets.ravel(), strict=True)
    ]
    assert accuracy(scores, targets) == sum(right) / len(right)
    assert accuracy(scores.argmax(-1), targets) == sum(right) / len(right)


def test_accuracy_of_labels():
    assert accuracy([1, 0, 2, 2], [1, 1, 2, 0]) == 0.5
    assert accuracy(["cat", "dog"], ["cat", "cat"]) == 0.5
    assert accuracy(np.array([0.2, -1.0, 3.0]) > 0, [True, True, True]) == 2 / 3
    assert accuracy(np.eye(3), np.arange(3, dtype=np.uint8)) == 1


def test_accuracy_refuses_what_it_cannot_judge():
    with pytest.raises(ShapeError, match=r"got \(2,\) for \(3,\)"):
        accuracy([1, 2], [1, 2, 3])
    with pytest.raises(ShapeError, match="at least one target"):
        accuracy([], [])
    with pytest.raises(ShapeError, match="one axis of classes"):
        accuracy(np.zeros((2, 3, 4)), [0, 1])
    with pytest.raises(ShapeError, match="one axis of classes"):
        accuracy(np.zeros((2, 0)), [0, 1])
    with pytest.raises(DTypeError, match="threshold"):
        accuracy([0.1, 0.9], [0, 1])
    with pytest.raises(DTypeError, match="targets"):
        accuracy([0, 1], [0.0, 1.0])
    with pytest.raises(DTypeError, match="targets integers"):
        accuracy(np.eye(2), ["a", "b"])
    with pytest.raises(DataError, match=r"found nan at \(1, 0\)"):
        accuracy([[0, 1], [np.nan, 0]], [0, 1])
    for target in (-1, 2):
        with pytest.raises(IndexRangeError, match=r"\[0, 2\)"):
            accuracy(np.eye(2), [0, target])


def test_perplexity_is_the_number_of_equally_likely_symbols():
    for symbols in (1, 2, 27, 50_000):
        assert perplexity(math.log(symbols)) == pytest.approx(symbols, rel=1e-14)
    assert perplexity(0.5 * math.log(2) + 0.5 * math.log(8)) == pytest.approx(4)
    assert perplexity(np.float32(0)) == 1
    assert perplexity(1e4) == perplexity(math.inf) == math.inf
    for impossible in (-0.1, math.nan):
        with pytest.raises(DataError, match="zero or more"):
            perplexity(impossible)


def test_perplexity_of_a_graph_is_the_product_of_its_probabilities():
    scores = np.random.default_rng(0).normal(size=(6, 4))
    targets = np.array([0, 3, 1, 1, 2, 0])
    logits = wp.InputNode(np.zeros((1, 4)), dtype=np.float64)
    chances = wp.evaluate(logits.softmax(), {logits: scores}).reshape(6, 4)
    held = chances[np.arange(6), targets]
    mean_loss = float(-np.log(held).mean())
    assert perplexity(mean_loss) == pytest.approx(np.prod(held) ** (-1 / 6), rel=1e-12)


def test_the_last_item_held_out_is_found_at_its_rank():
    """Reciprocal rank as for sequences: last item left out, seen ones excluded."""
    data = wp.data.Interactions(
        [0, 0, 0, 1, 1], [0, 1, 2, 3, 0], timestamps=[1, 2, 3, 1, 2]
    )
    train, test = wp.data.leave_out_split(data, latest=True)
    item = {int(name): code for code, name in enumerate(data.item_ids)}
    scores = np.zeros((2, 4))
    scores[0, [item[0], item[1]]] = 9  # seen: they do not count
    scores[0, item[2]] = scores[0, item[3]] = 1  # a tie counts against: rank 2
    scores[1, item[0]] = 5  # rank 1
    metrics = ranking_metrics(scores, np.eye(4), train.csr(), test.csr(), top=1)
    assert metrics.mrr == (1 / 2 + 1) / 2
