"""Counts in whole registers are those of NumPy, at any length and place."""

import numba
import numpy as np
import pytest

from wyrm_py.engines.native.counting import counts


@numba.njit
def native(values, begin, end, score):
    return counts(values, begin, end, score)


@pytest.mark.parametrize("length", [0, 1, 7, 15, 16, 17, 64, 1000])
def test_numbers_above_a_score_are_counted(length):
    rng = np.random.default_rng(length)
    values = rng.integers(-3, 4, length + 5).astype(np.float32)
    values[rng.random(length + 5) < 0.2] = np.nan
    values[rng.random(length + 5) < 0.1] = np.inf
    for begin, end in ((0, length), (3, 3 + length), (5, 5 + length)):
        part = values[begin:end]
        for score in map(np.float32, (-4, 0, 1.5, np.inf, -np.inf, np.nan)):
            expected = int((part > score).sum()), int((part >= score).sum())
            assert native(values, begin, end, score) == expected
            assert counts(values, begin, end, score) == expected
