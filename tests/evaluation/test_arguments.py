"""What the ranking metrics refuse, before native code sees it."""

import numpy as np
import pytest
import scipy.sparse as sp

from wyrm_py.errors import DataError, DTypeError, SettingError, ShapeError
from wyrm_py.evaluation import (
    ranking_metrics,
    ranking_metrics_of_scores,
)


def test_scores_that_cannot_be_ranked_are_refused():
    matrices = sp.csr_array((12, 40)), sp.eye_array(12, 40, format="csr")
    with pytest.raises(ShapeError, match=r"scores of shape \(12, 40\)"):
        ranking_metrics_of_scores(np.zeros((12, 39)), *matrices)
    with pytest.raises(ShapeError, match=r"for 12 rows, got \(12,\)"):
        ranking_metrics_of_scores(lambda rows: np.zeros(len(rows)), *matrices)
    spoiled = np.zeros((12, 40))
    spoiled[2, 3] = np.inf
    with pytest.raises(DataError, match="inf in row 2 for item 3"):
        ranking_metrics_of_scores(spoiled, *matrices)
    with pytest.raises(SettingError, match="negatives"):
        ranking_metrics_of_scores(np.zeros((12, 40)), *matrices, negatives=0)
    with pytest.raises(ShapeError, match="test must be a sparse matrix"):
        ranking_metrics_of_scores(np.zeros((12, 40)), matrices[0], np.ones((12, 40)))
    with pytest.raises(DataError, match="range of float32"):
        ranking_metrics(np.full((12, 2), 1e30), np.full((40, 2), 1e30), *matrices)


def test_text_is_no_score():
    wanted = sp.eye_array(2, 3, format="csr")
    nothing = sp.csr_array((2, 3))
    with pytest.raises(DTypeError, match="scores must be numbers"):
        ranking_metrics_of_scores([["a"] * 3] * 2, nothing, wanted)
    with pytest.raises(DTypeError, match="user_vectors"):
        ranking_metrics([["a"]] * 2, np.ones((3, 1)), nothing, wanted)


def test_matrices_with_places_outside_are_refused():
    users, items = np.ones((12, 3)), np.ones((40, 3))
    empty = sp.csr_array((12, 40))
    for name in ("csr", "csc", "coo"):
        spoiled = sp.csr_array(np.eye(12, 40)).asformat(name)
        if name == "coo":
            spoiled.coords[1][3] = 40
        else:
            spoiled.indices[3] = 10_000_000
        for matrices in ((empty, spoiled), (spoiled, empty)):
            with pytest.raises(DataError, match="no sound sparse matrix"):
                ranking_metrics(users, items, *matrices)
