"""Random numbers that go on where they were when the file was written."""

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.random_state import generator_state, new_generator

KINDS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


def _generator(kind, seed=3):
    return np.random.Generator(getattr(np.random, kind)(seed))


def _value():
    return wp.ParameterNode([1.0], name="w")


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_goes_on(tmp_path, kind):
    rng = _generator(kind)
    rng.random(5)
    rng.integers(7, dtype=np.uint32)  # leaves half a draw behind
    wp.save(tmp_path / "file", [_value()], random_state=rng)
    expected = rng.integers(1 << 32, size=9, dtype=np.uint32)
    other = _generator(kind, 8)
    wp.load(tmp_path / "file", [_value()], random_state=other)
    found = other.integers(1 << 32, size=9, dtype=np.uint32)
    np.testing.assert_array_equal(found, expected)


class Drawing:
    """A graph with dropout and a sampler."""

    def __init__(self):
        self.table = wp.ParameterNode(
            np.arange(200.0).reshape(20, 10) / 100, name="table"
        )
        self.item = wp.IndexInputNode([3])
        negative = wp.sample_uniform(self.item, 20)
        taken = self.table.index(negative) * self.table.index(self.item)
        self.loss = taken.dropout(0.5).square().sum()

    def values(self, count=6):
        found = []
        for _ in range(count):
            self.loss.forward()
            found.append(float(self.loss.value))
        return found


def test_draws_of_a_graph_and_several_states_go_on_together(tmp_path):
    one, rng = Drawing(), np.random.default_rng(1)
    one.values()
    rng.random()
    wp.save(tmp_path / "file", [one.table], random_state=[rng, one.loss])
    expected, number = one.values(), rng.random()
    other, fresh = Drawing(), np.random.default_rng(2)
    wp.load(tmp_path / "file", [other.table], random_state=[fresh, other.loss])
    assert other.values() == expected
    assert fresh.random() == number
    assert len(set(expected)) > 1


class Loop:
    """A loop of one's own: drawn examples, drawn negatives, dropout, Adam."""

    def __init__(self, compiled, seed):
        self.drawing, self.rng = Drawing(), np.random.default_rng(seed)
        self.optimizer = wp.Adam(0.01)
        self.step, self.draws = self.by_hand, self.drawing.loss
        if compiled:
            self.step = self.draws = wp.compile(self.drawing.loss, self.optimizer)

    def by_hand(self):
        loss = self.drawing.loss
        loss.forward()
        loss.backward()
        self.optimizer.step(loss.parameters())
        return float(loss.value)

    def run(self, steps):
        losses = []
        for _ in range(steps):
            self.drawing.item.set_value([self.rng.integers(20)])
            losses.append(self.step())
        return losses

    def what(self):
        return {
            "what": [self.drawing.table],
            "optimizer": self.optimizer,
            "random_state": [self.rng, self.draws],
        }


@pytest.mark.parametrize("compiled", [False, True])
def test_a_loop_of_ones_own_goes_on(tmp_path, compiled):
    whole, second = Loop(compiled, 0), Loop(compiled, 9)
    whole.run(5)
    wp.save(tmp_path / "file", **whole.what())
    expected = whole.run(5)
    wp.load(tmp_path / "file", **second.what())
    assert second.run(5) == expected
    np.testing.assert_array_equal(second.drawing.table.value, whole.drawing.table.value)
    assert len(set(expected)) > 4


@pytest.mark.parametrize("kind", KINDS)
def test_states_out_of_range_are_refused_where_numpy_would_read_foreign_memory(kind):
    state = generator_state(_generator(kind))
    assert new_generator("load", state).random() == _generator(kind).random()
    bad = [{**state, key: -(10**8)} for key in state if key != "bit_generator"]
    bad += [{**state, key: 10**40} for key in state if key != "bit_generator"]
    inner = state["state"]
    for key, value in inner.items():
        worse = [-1, 10**40, "1", None] if isinstance(value, int) else []
        worse += [value[1:], [*value, 1], [-1] * len(value)] if not worse else []
        bad += [{**state, "state": {**inner, key: v}} for v in worse]
    bad += [{**state, "more": 1}, {**state, "state": []}]
    for changed in bad:
        with pytest.raises(errors.CorruptCheckpointError):
            new_generator("load", changed)


def _damaged(path, states):
    arrays, metadata = wp.checkpoint.read_arrays(path)
    wp.checkpoint.write_arrays(path, arrays, metadata | {"random_state": states})


PCG = {"bit_generator": "PCG64", "state": {"state": 1, "inc": 3}}


@pytest.mark.parametrize(
    ("states", "error"),
    [
        ([{"generator": PCG}], errors.CorruptCheckpointError),  # without has_uint32
        ([{"generator": {"bit_generator": "Evil"}}], errors.CorruptCheckpointError),
        ([{"generator": 3}], errors.CorruptCheckpointError),
        ([{"steps": 3}], errors.SettingError),
        ([3], errors.CorruptCheckpointError),
        ([], errors.SettingError),
        ("text", errors.SettingError),
    ],
)
def test_states_that_do_not_fit_change_nothing(tmp_path, states, error):
    path = tmp_path / "file"
    wp.save(path, [_value()], random_state=np.random.default_rng(0))
    _damaged(path, states)
    node, rng = wp.ParameterNode([5.0], name="w"), np.random.default_rng(4)
    with pytest.raises(error):
        wp.load(path, [node], random_state=rng)
    assert node.value == 5
    assert rng.random() == np.random.default_rng(4).random()


def test_another_graph_or_kind_of_bits_is_refused(tmp_path):
    path = tmp_path / "file"
    one = Drawing()
    wp.save(path, [one.table], random_state=[one.loss, np.random.default_rng(0)])
    plain = one.table.sum()
    with pytest.raises(errors.SettingError, match="Build the same graph"):
        wp.load(path, [one.table], random_state=[plain, np.random.default_rng(0)])
    with pytest.raises(errors.SettingError, match="has the bits of PCG64"):
        wp.load(path, [one.table], random_state=[one.loss, _generator("SFC64")])
    with pytest.raises(errors.SettingError, match="holds 2 random states"):
        wp.load(path, [one.table], random_state=one.loss)


@pytest.mark.parametrize("given", [3, "seed", [None], np.random.RandomState(0)])
def test_a_seed_is_no_state(tmp_path, given):
    with pytest.raises(errors.SettingError, match="pass `history=`"):
        wp.save(tmp_path / "file", [_value()], random_state=given)
