"""Pairs within groups, against all pairs one by one."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from wyrm_py.errors import DataError
from wyrm_py.models.ordered_pairs import OrderedPairs

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 50).astype(float)
GROUPS = RNG.integers(0, 6, 50)


def lower(row):
    """Return the rows of the same group with a lower label."""
    return set(np.flatnonzero((GROUPS == GROUPS[row]) & (LABELS < LABELS[row])))


def test_every_row_with_a_lower_one_is_there_once_and_meets_them_all():
    pairs = OrderedPairs(LABELS, GROUPS)
    assert sorted(pairs.better) == [row for row in range(50) if lower(row)]
    met = {row: [] for row in pairs.better}
    rng = np.random.default_rng(1)
    for _ in range(300):
        for row, other in zip(pairs.better, pairs.draw(rng), strict=True):
            met[row].append(other)
    for row, others in met.items():
        assert set(others) == lower(row)
        counts = np.unique(others, return_counts=True)[1]
        assert counts.min() > 0.4 * 300 / len(lower(row))  # none is rare


def test_agreement_is_that_of_all_pairs():
    scores = np.round(RNG.normal(size=50), 1)  # with ties
    pairs = OrderedPairs(LABELS, GROUPS)
    shares = [
        np.mean(
            [(scores[o] < scores[r]) + 0.5 * (scores[o] == scores[r]) for o in lower(r)]
        )
        for r in pairs.better
    ]
    assert pairs.agreement(scores) == pytest.approx(np.mean(shares))


def test_agreement_of_two_labels_is_the_auc():
    labels, scores = (LABELS > 1).astype(float), RNG.normal(size=50)
    pairs = OrderedPairs(labels, np.zeros(50, int))
    assert pairs.agreement(scores) == pytest.approx(roc_auc_score(labels, scores))


def test_nothing_to_rank_is_told():
    with pytest.raises(DataError, match="nothing to rank"):
        OrderedPairs(np.ones(4), np.array([0, 0, 1, 1]))
