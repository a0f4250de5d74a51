"""Seeds and generators of a `random_state`, and who is named when it is none."""

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import nn
from wyrm_py.data import Interactions, random_split
from wyrm_py.errors import SettingError
from wyrm_py.models import (
    FactorizationMachine,
    FactorizationRecommender,
    SequenceRecommender,
    SkipGram,
    SparseLinear,
)
from wyrm_py.seeds import generator, seed_of


def test_a_whole_number_is_its_own_seed():
    for seed in (0, 7, np.int64(2**40), 2**63 - 1):
        assert seed_of("it", seed) == int(seed)
        assert generator("it", seed).random() == np.random.default_rng(seed).random()
    assert 0 <= seed_of("it", 2**80 + 5) < 2**63


def test_generators_are_drawn_from():
    rng = np.random.default_rng(3)
    assert generator("it", rng) is rng
    found = {seed_of("it", rng) for _ in range(20)}
    assert len(found) == 20
    assert seed_of("it", np.random.default_rng(3)) in found


def test_of_a_random_state_one_number_is_the_seed():
    first, same = np.random.RandomState(3), np.random.RandomState(3)
    draws = [generator("it", first).random() for _ in range(3)]
    assert draws == [generator("it", same).random() for _ in range(3)]
    assert len(set(draws)) == 3
    assert first.random() == same.random()
    seeds = [seed_of("it", first) for _ in range(200)]
    assert seeds == [seed_of("it", same) for _ in range(200)]
    assert max(seeds) > 2**62 and min(seeds) >= 0


def test_none_is_another_seed_each_time():
    assert len({seed_of("it", None) for _ in range(20)}) == 20
    assert len({generator("it", None).random() for _ in range(20)}) == 20


BAD = [-1, 1.0, True, "0", [1]]


@pytest.mark.parametrize("function", [generator, seed_of])
@pytest.mark.parametrize("given", BAD)
def test_anything_else_is_refused_by_name(function, given):
    with pytest.raises(SettingError, match=r"^who: random_state must be a whole numb"):
        function("who", given)


# -- who draws ---------------------------------------------------------------------

EVENTS = Interactions([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0])
X, Y = np.eye(4, dtype=np.float32), [0, 1, 1, 0]
SENTENCES = [["a", "b", "c", "a"], ["b", "a", "c"]]


def loss():
    weight = wp.ParameterNode(np.ones((1, 1)))
    target = wp.InputNode(np.zeros((1, 1)))
    return (weight - target).square(), target


def fitted(random_state):
    """Yield each trainer's name, and a function that gives a number it came to."""
    few = {"epochs": 1, "width": 4, "n_jobs": 1, "random_state": random_state}

    def recommender(loss, way):
        def first():
            model = FactorizationRecommender(loss, **few)
            return float(getattr(model, way)(EVENTS).user_vectors_[0, 0])

        return first

    def sequence(way):
        def first():
            model = SequenceRecommender("ewma", **few)
            return float(getattr(model, way)(EVENTS).item_vectors_[0, 0])

        return first

    def machine(loss, way, **more):
        def first():
            model = FactorizationMachine(loss, **few)
            return float(getattr(model, way)(X, Y, **more).factors_[0, 0])

        return first

    def words():
        return float(SkipGram(min_count=1, **few).fit(SENTENCES).vectors_[0, 0])

    recommends, factors = "FactorizationRecommender", "FactorizationMachine"
    yield recommends, recommender("bpr", "fit")
    yield recommends, recommender("squared", "partial_fit")
    yield "SequenceRecommender", sequence("fit")
    yield "SequenceRecommender", sequence("partial_fit")
    yield factors, machine("logistic", "fit")
    yield factors, machine("logistic", "partial_fit", classes=[0, 1])
    yield factors, machine("bpr", "fit")
    yield "SkipGram", words


def test_estimators_take_what_scikit_learn_takes():
    for kind in (np.random.default_rng, np.random.RandomState):
        pairs = zip(fitted(kind(5)), fitted(kind(5)), strict=True)
        for (name, first), (_, same) in pairs:
            values = first(), first()
            assert values == (same(), same()), name
            assert values[0] != values[1], f"{name}: the same draws twice"


@pytest.mark.parametrize("given", BAD)
def test_estimators_refuse_by_their_own_name(given):
    for name, train in fitted(given):
        with pytest.raises(SettingError, match=f"^{name}: random_state"):
            train()
    with pytest.raises(SettingError, match="^SparseLinear: random_state"):
        SparseLinear(random_state=given).fit(X, Y)


def test_every_other_taker_refuses_by_its_own_name():
    with pytest.raises(SettingError, match="^fit: random_state"):
        squared, target = loss()
        wp.fit(squared, wp.SGD(), {target: [1]}, random_state=-1)
    with pytest.raises(SettingError, match="^Learner: random_state"):
        wp.Learner(loss()[0], wp.SGD(), random_state=-1)
    for layer in (nn.Dense, nn.LSTMCell, nn.Embedding):
        with pytest.raises(SettingError, match=f"^{layer.__name__}: random_state"):
            layer(2, 2, random_state=-1)
    with pytest.raises(SettingError, match="^random_split: random_state"):
        random_split(EVENTS, random_state=-1)


def test_fit_learner_and_layers_take_a_random_state():
    for make in (nn.Dense, nn.LSTMCell, nn.Embedding):
        rng = np.random.RandomState(1)
        first, second = make(2, 2, random_state=rng), make(2, 2, random_state=rng)
        again = make(2, 2, random_state=np.random.RandomState(1))
        for one, other, same in zip(
            first.parameters(), second.parameters(), again.parameters(), strict=True
        ):
            assert np.array_equal(one.value, same.value)
            assert one.value.any() <= (not np.array_equal(one.value, other.value))
