"""Metrics of predictions equal scikit-learn's, or their definitions."""

import math

import numpy as np
import pytest
from sklearn import metrics

import wyrm_py as wp
from wyrm_py.errors import DataError, DTypeError, IndexRangeError, ShapeError
from wyrm_py.evaluation import accuracy, auc, log_loss, mae, perplexity, rmse


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


def test_rmse_and_mae_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    found, wanted = rng.standard_normal((2, 50, 3)).astype(np.float32)
    wide = found.ravel().astype(float), wanted.ravel().astype(float)
    assert rmse(found, wanted) == pytest.approx(
        metrics.root_mean_squared_error(*wide), rel=1e-12
    )
    assert mae(found, wanted) == pytest.approx(
        metrics.mean_absolute_error(*wide), rel=1e-12
    )
    assert rmse([3], [0]) == mae([-3], [0]) == 3
    for metric in (rmse, mae):
        with pytest.raises(ShapeError, match="one shape"):
            metric([1, 2], [1])
        with pytest.raises(ShapeError, match="at least one"):
            metric([], [])
        with pytest.raises(DTypeError, match="numbers"):
            metric(["a"], [1])
        with pytest.raises(DataError, match="finite targets"):
            metric([1], [np.nan])


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_log_loss_equals_that_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    chances = rng.dirichlet(np.ones(classes), 200)
    chances[0], chances[1] = np.eye(classes)[:2]  # sure ones, some of them mistaken
    targets = rng.integers(0, classes, 200)
    expected = metrics.log_loss(targets, chances, labels=range(classes))
    assert log_loss(chances, targets) == pytest.approx(expected, rel=1e-12)
    if classes == 2:
        assert log_loss(chances[:, 1], targets) == pytest.approx(expected, rel=1e-9)
        assert log_loss(chances[:, 1], targets == 1) == log_loss(chances[:, 1], targets)
    assert log_loss(chances / 2, targets) == pytest.approx(expected, rel=1e-9)


def test_log_loss_refuses_what_it_cannot_judge():
    with pytest.raises(ShapeError, match=r"got \(0,\)"):
        log_loss([], np.array([], int))
    with pytest.raises(ShapeError, match="one row"):
        log_loss([0.5], [0, 1])
    with pytest.raises(DTypeError, match="targets must be integers"):
        log_loss([0.5], [0.5])
    with pytest.raises(DataError, match="sigmoid"):
        log_loss([1.5], [1])
    with pytest.raises(DataError, match="finite"):
        log_loss([np.nan], [1])
    with pytest.raises(IndexRangeError, match=r"\[0, 2\), found 2"):
        log_loss([0.5], [2])
    with pytest.raises(DataError, match="sum"):
        log_loss([[0.0, 0.0]], [1])


@pytest.mark.parametrize("ties", [False, True])
def test_auc_equals_that_of_scikit_learn(ties):
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 9, 500) if ties else rng.standard_normal(500)
    targets = rng.random(500) < 0.3
    expected = metrics.roc_auc_score(targets, scores)
    assert auc(scores, targets) == pytest.approx(expected, rel=1e-12)
    assert auc(scores, targets.astype(int)) == auc(scores, targets)
    assert auc(scores, np.where(targets, 1, -1)) == auc(scores, targets)


def test_auc_refuses_what_it_cannot_judge():
    for targets in ([0, 1, 2], [-1, 0, 1]):
        with pytest.raises(IndexRangeError, match="0 and 1, or -1 and 1"):
            auc([1.0, 2.0, 3.0], targets)
    with pytest.raises(DataError, match="both classes"):
        auc([1.0, 2.0], [1, 1])
    with pytest.raises(DTypeError, match="numbers"):
        auc([1.0, 2.0], ["a", "b"])
    with pytest.raises(ShapeError, match=r"\(N,\)"):
        auc([[1.0, 2.0]], [[0, 1]])
    with pytest.raises(DataError, match="finite"):
        auc([1.0, np.inf], [0, 1])


def test_labels_may_stand_in_a_column_of_floats():
    """As `fit` takes them."""
    labels, chances = np.array([0, 1, 1, 0]), np.array([0.2, 0.7, 0.4, 0.5])
    assert auc(chances, labels.astype(np.float32)) == auc(chances, labels)
    assert log_loss(chances, labels.astype(float)) == log_loss(chances, labels)
    with pytest.raises(IndexRangeError, match="0 and 1"):
        auc(chances, labels * 0.5)
