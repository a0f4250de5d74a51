"""The synthetic ratings are seeded, complete and hold the planted structure."""

import numpy as np
import pytest

from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.errors import SettingError


def test_they_are_seeded_and_every_pair_occurs_once():
    first, again = synthetic_ratings(), synthetic_ratings()
    assert len(first) == 100_000
    assert np.array_equal(first.items, again.items)
    assert np.array_equal(first.ratings, again.ratings)
    assert not np.array_equal(first.items, synthetic_ratings(random_state=1).items)
    assert first.csr().nnz == 100_000
    assert sorted(set(first.ratings.tolist())) == [1, 2, 3, 4, 5]
    assert np.bincount(first.users, minlength=2000).min() >= 1


def test_popularity_is_skewed_and_tastes_give_a_low_rank():
    ratings = synthetic_ratings(20_000, 400, 300)
    counts = np.sort(np.bincount(ratings.items, minlength=300))[::-1]
    assert counts[:60].sum() > 0.33 * counts.sum()  # a fifth of the items
    matrix = ratings.csr().toarray().astype(float)
    matrix -= np.outer(matrix.sum(1), matrix.sum(0)) / matrix.sum()
    strength = np.linalg.svd(matrix, compute_uv=False)
    assert strength[:6].min() > 1.5 * strength[7]  # six planted tastes stand out


def test_numbers_that_do_not_fit_are_refused():
    for numbers in ((10, 20, 30), (600, 20, 30), (10, 1, 30), (2, 2, 1)):
        with pytest.raises(SettingError, match="synthetic_ratings"):
            synthetic_ratings(*numbers)
    assert len(synthetic_ratings(300, 20, 30)) == 300
