"""The loss graphs, against their formulas worked out in NumPy."""

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py.models.factorization import LOSSES, Example, Model, Side

RNG = np.random.default_rng(2)
U, BU = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 1))
V, BV = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 1))
USER, ITEM, WRONG, WEIGHT, RATING = 1, 3, 4, 1.7, 0.8
FEATURES = sparse.csr_array(
    np.array([[1.0, 0, 0.5, 0, 0], [0, 1, 0, -2, 0], [0, 0, 0, 3, 1]])
)
EVENT = sparse.csr_array(np.array([[2.0, 0.0, -1.0]]))
CONTEXT = RNG.standard_normal((3, 4))


def side(vectors, biases, features=None):
    return Side(
        wp.ParameterNode(vectors, np.float64),
        wp.ParameterNode(biases, np.float64),
        features,
    )


def example(model, known=None):
    """Return an example that always finds the same wrong item."""
    wrong = wp.IndexInputNode([WRONG])
    weight = wp.InputNode([[WEIGHT]], np.float64)
    return Example(
        user=wp.IndexInputNode([USER]),
        item=wp.IndexInputNode([ITEM]),
        rating=wp.InputNode([[RATING]], np.float64),
        draw=lambda like: wrong,
        search=lambda taste, better: (wrong, weight),
        known=known,
        k=2,
        n=3,
    )


def value(loss, model, **more):
    return LOSSES[loss].graph(model, example(model, **more)).value.item()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def formula(loss, taste, user_bias, vectors, biases):
    """Return the loss of the example by its formula."""
    score = vectors @ taste + biases[:, 0]
    better, worse = score[ITEM], score[WRONG]
    return {
        "bpr": -np.log(sigmoid(better - worse)),
        "hinge": max(0, 1 - better + worse),
        "logistic": -np.log(sigmoid(better + user_bias))
        - np.log(sigmoid(-worse - user_bias)),
        "warp": WEIGHT * max(0, 1 - better + worse),
        "squared": (RATING - better - user_bias) ** 2,
    }[loss]


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "warp-kos"])
def test_a_loss_is_its_formula(loss):
    model = Model(side(U, BU), side(V, BV))
    expected = formula(loss, U[USER], BU[USER, 0], V, BV)
    assert value(loss, model) == pytest.approx(expected, rel=1e-12)
    assert expected > 0


@pytest.mark.parametrize("loss", ["bpr", "logistic", "squared"])
def test_features_are_summed_and_the_context_is_added(loss):
    weights = np.random.default_rng(0).standard_normal((5, 5))
    described = side(V, BV, sparse.csr_array(weights))
    parts = wp.ParameterNode(CONTEXT, np.float64), wp.SparseInputNode(EVENT, np.float64)
    users = side(np.vstack([U, U[:2]]), np.vstack([BU, BU[:2]]), FEATURES)
    taste = FEATURES @ users.vectors.value
    expected = formula(
        loss,
        taste[USER] + (EVENT @ CONTEXT)[0],
        (FEATURES @ users.biases.value)[USER, 0],
        weights @ V,
        weights @ BV,
    )
    found = value(loss, Model(users, described, *parts))
    assert found == pytest.approx(expected, rel=1e-12)


def test_k_os_warp_takes_the_second_best_of_three_of_the_users_items():
    """By enumeration: the losses that draws of three of two items may give."""
    known = sparse.csr_array(([1.0, 1.0], ([USER, USER], [0, 2])), (3, 5))
    model = Model(side(U, BU), side(V, BV))
    score = V @ U[USER] + BV[:, 0]
    loss = LOSSES["warp-kos"].graph(model, example(model, known))
    better, worse = sorted(score[[0, 2]], reverse=True)
    # of three draws the second best is the better item if that is drawn twice or more
    possible = [WEIGHT * max(0, 1 - own + score[WRONG]) for own in (better, worse)]
    found = []
    for _ in range(400):
        loss.forward()
        found.append(loss.value.item())
    shares = [np.isclose(found, one).mean() for one in possible]
    assert sum(shares) == 1
    assert shares[0] == pytest.approx(0.5, abs=0.12)
