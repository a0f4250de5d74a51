"""`evaluate` against the same node fed by hand, row by row."""

import gc
import weakref

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py.engines.native import printed as printed_module
from wyrm_py.errors import GraphError, IndexRangeError, SettingError, ShapeError
from wyrm_py.parallel import evaluate as evaluate_module

COUNT = 23
BATCHES = (None, 1, 7, 99)


class Model:
    """Scores of items for users, with a feature vector: (1, 1) an example."""

    def __init__(self, dtype=np.float32):
        rng = np.random.default_rng(0)
        self.users = wp.ParameterNode(rng.normal(size=(9, 4)), dtype)
        self.items = wp.ParameterNode(rng.normal(size=(6, 4)), dtype)
        self.user, self.item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        self.x = wp.InputNode(np.zeros((1, 4)), dtype)
        self.joined = self.users.index(self.user) * self.x
        self.score = self.joined.vector_dot(self.items.index(self.item)).sigmoid()
        self.inputs = {
            self.user: rng.integers(0, 9, COUNT),
            self.item: rng.integers(0, 6, COUNT).astype(np.int32),
            self.x: rng.normal(size=(COUNT, 4)),
        }

    def under(self, node):
        """Return the columns that a node reads."""
        leaves = self.inputs if node is self.score else (self.user, self.x)
        return {leaf: self.inputs[leaf] for leaf in leaves}

    def by_hand(self, node):
        values = []
        for k in range(COUNT):
            for leaf, column in self.inputs.items():
                leaf.set_value(column[k])
            values.append(node.forward().value.copy())
        return np.array(values)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", ["score", "joined"])
def test_values_are_those_of_forward(name, batch):
    model = Model()
    node = getattr(model, name)
    found = wp.evaluate(node, model.under(node), batch_size=batch)
    wanted = model.by_hand(node)
    if batch is not None:
        wanted = wanted[:, 0]
    assert found.dtype == np.float32 and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=2e-6)


def test_float64_stays_float64():
    model = Model(np.float64)
    found = wp.evaluate(model.score, model.inputs)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, model.by_hand(model.score), rtol=1e-14)


@pytest.mark.parametrize("batch", [None, 3])
def test_threads_share_the_examples(batch, monkeypatch):
    monkeypatch.setattr(evaluate_module, "CHUNK", 4)
    model = Model()
    alone = wp.evaluate(model.score, model.inputs, batch_size=batch)
    for jobs in (2, 5, -1, 1000):
        found = wp.evaluate(model.score, model.inputs, batch_size=batch, n_jobs=jobs)
        np.testing.assert_array_equal(found, alone)


def test_nothing_changes_and_backward_goes_on():
    model = Model()
    model.score.forward()
    model.score.backward()
    values = [n.value.copy() for n in (model.score, model.joined, model.x, model.users)]
    gradient = model.users.gradient.toarray()
    wp.evaluate(model.score, model.inputs)
    for node, before in zip(
        (model.score, model.joined, model.x, model.users), values, strict=True
    ):
        np.testing.assert_array_equal(node.value, before)
    np.testing.assert_array_equal(model.users.gradient.toarray(), gradient)
    model.score.backward()


def test_trained_values_are_used():
    model = Model()
    before = wp.evaluate(model.score, model.inputs)
    model.users.set_value(0.0)
    after = wp.evaluate(model.score, model.inputs)
    assert (after == 0.5).all() and not (before == 0.5).any()


@pytest.fixture
def printings(monkeypatch):
    """Return a list that gets an entry whenever an evaluation is printed."""
    made, generate = [], printed_module.generate

    def counted(*given):
        made.append(given)
        return generate(*given)

    monkeypatch.setattr(printed_module, "generate", counted)
    return made


def test_printed_once_until_something_changes(printings):
    model = Model()
    wide = model.inputs | {model.item: model.inputs[model.item].astype(np.int64)}
    few = {leaf: column[:3] for leaf, column in wide.items()}

    def check(inputs, batch, count):
        found = wp.evaluate(model.score, inputs, batch_size=batch)
        wanted = model.by_hand(model.score)[: len(found)]
        np.testing.assert_allclose(found.ravel(), wanted.ravel(), rtol=2e-6)
        assert len(printings) == count

    for inputs, batch, count in (
        (wide, None, 1),
        (few, None, 1),
        (model.inputs, None, 2),  # row numbers of 32 bits
        (model.inputs, 5, 3),
        (model.inputs, 7, 3),
    ):
        check(inputs, batch, count)
    model.items.set_value(model.items.value * 2)
    check(model.inputs, 7, 3)
    model.items.move(wp.HogwildParameter(model.items.value * 2))  # other memory
    check(model.inputs, 7, 4)
    check(model.inputs, 7, 4)


def test_rows_of_a_grown_table_are_found(printings):
    parameter = wp.HogwildParameter([[1.0], [2.0]], capacity=9)
    row = wp.IndexInputNode([0])
    node = wp.ParameterNode.shared(parameter).index(row) * 3.0
    with pytest.raises(IndexRangeError):
        wp.evaluate(node, {row: [4]})
    parameter.grow(5)
    parameter.value[4] = 7.0
    np.testing.assert_array_equal(wp.evaluate(node, {row: [4, 1]}).ravel(), [21, 6])
    with pytest.raises(IndexRangeError):
        wp.evaluate(node, {row: [5]})
    assert len(printings) == 2


def test_what_is_kept_goes_with_the_node():
    model = Model()
    wp.evaluate(model.score, model.inputs)
    dies = [weakref.ref(model.score), weakref.ref(model.users.block)]
    del model
    gc.collect()
    assert [one() for one in dies] == [None, None]


@pytest.mark.parametrize("batch", [None, 5])
def test_node_of_row_numbers(batch):
    """A sampler that knows all rows but one has only one value to give."""
    free = np.array([3, 0, 2])
    known = sparse.csr_array(np.arange(4) != free[:, None])
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    node = wp.sample_uniform(item, 4, known=known, user=user)
    users = np.arange(40) % 3
    inputs = {user: users, item: np.zeros(40, int)}
    found = wp.evaluate(node, inputs, batch_size=batch)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found.ravel(), free[users])


def test_leaf_itself():
    x, row = wp.InputNode(np.zeros((1, 2))), wp.IndexInputNode([0])
    column = np.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(wp.evaluate(x, {x: column})[:, 0], column)
    np.testing.assert_array_equal(wp.evaluate(row, {row: [3, 1]}), [[3], [1]])


def test_node_without_inputs_is_one_row():
    table = wp.ParameterNode([[1.0, 2.0]])
    np.testing.assert_array_equal(wp.evaluate(table * 2.0, {}), [[[2.0, 4.0]]])


LISTS = [[3, 1], [], [0], [2, 2, 2, 4], [], [1, 0, 4], [4]]


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_ragged_columns(batch):
    rng = np.random.default_rng(1)
    table = wp.ParameterNode(rng.normal(size=(5, 3)))
    bag = wp.IndexInputNode([0], capacity=4)
    node = table.index(bag).segment_sum(bag).sum(axis=1, keepdims=True)
    found = wp.evaluate(node, {bag: LISTS}, batch_size=batch)
    wanted = [table.value[np.array(part, int)].sum() for part in LISTS]
    np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_sparse_columns(batch):
    rng = np.random.default_rng(1)
    table = wp.ParameterNode(rng.normal(size=(5, 2)))
    rows = wp.SparseInputNode(sparse.csr_array((1, 5)))
    matrix = sparse.random_array((9, 5), density=0.4, format="csr", rng=rng)
    matrix.data[:3] = 0
    found = wp.evaluate(rows.dot(table), {rows: matrix}, batch_size=batch)
    wanted = matrix.toarray() @ table.value
    np.testing.assert_allclose(found.reshape(9, 2), wanted, rtol=1e-5, atol=1e-6)


def test_value_of_varying_shape_is_refused():
    """Its rows would not lie side by side in one array."""
    table = wp.ParameterNode(np.ones((5, 3)))
    bag = wp.IndexInputNode([0], capacity=4)
    for node in (table.index(bag), table.index(bag).sum(axis=1), bag):
        with pytest.raises(ShapeError, match=r"evaluate.*var"):
            wp.evaluate(node, {bag: LISTS})


def test_value_of_all_pairs_in_a_batch_is_refused():
    x = wp.InputNode(np.zeros((1, 3)))
    node = x.dot(x.t())
    assert wp.evaluate(node, {x: np.ones((4, 3))}).shape == (4, 1, 1)
    with pytest.raises(ShapeError, match=r"evaluate.*batch"):
        wp.evaluate(node, {x: np.ones((4, 3))}, batch_size=2)


def test_value_without_the_batch_is_refused():
    x = wp.InputNode(np.zeros((1, 3)))
    for node in (x.sum(), x.sum(axis=0), x.t()):
        with pytest.raises(ShapeError, match=r"evaluate.*first axis"):
            wp.evaluate(node, {x: np.ones((4, 3))}, batch_size=2)


def test_huge_batch_is_lowered():
    model = Model()
    found = wp.evaluate(model.score, model.inputs, batch_size=10**12)
    np.testing.assert_allclose(found, model.by_hand(model.score)[:, 0], rtol=2e-6)


def test_impossible_batch_size_is_refused():
    model = Model()
    with pytest.raises(SettingError, match="batch_size"):
        wp.evaluate(model.score, model.inputs, batch_size=0)
    with pytest.raises(GraphError, match="node"):
        wp.evaluate([model.score], model.inputs)
