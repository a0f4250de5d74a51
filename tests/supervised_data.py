"""Rows that the tests of supervised estimators share."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_svmlight_file

A9A = Path(__file__).parents[2] / "shared" / "data" / "a9a"


def sparse_rows(count=40, columns=6, seed=0, density=0.5):
    """Return CSR rows whose values are normal numbers; some rows may be empty."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(count, columns))
    return sparse.csr_array(np.where(rng.random(dense.shape) < density, dense, 0))


def a9a():
    """Return the rows and labels of a9a to train and to test, or skip."""
    if not A9A.is_dir():
        pytest.skip("../shared/data/a9a is not there")
    parts = []
    for name in ("a9a.gz", "a9a.t.gz"):
        with gzip.open(A9A / name, "rb") as file:
            parts += load_svmlight_file(file, n_features=123)
    return parts
