"""`fit` on graphs of many kinds: native code against the NumPy engine."""

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py.parallel import run as run_module

COUNT = 45
ROWS = 6
pytestmark = pytest.mark.usefixtures("small_blocks")


class Case:
    """Parameters and columns from a seed; a builder adds the graph."""

    def __init__(self, build):
        self.rng = np.random.default_rng(11)
        self.inputs, self.parameters = {}, []
        self.loss = build(self)

    def parameter(self, *shape, dtype=np.float32, **more):
        node = wp.ParameterNode(self.rng.normal(0, 0.5, shape), dtype, **more)
        self.parameters.append(node)
        return node

    def rows(self, *shape, limit=ROWS):
        node = wp.IndexInputNode(np.zeros(shape or (1,), int))
        self.inputs[node] = self.rng.integers(0, limit, (COUNT, *node.shape[1:]))
        if node.shape[0] != 1:
            self.inputs[node] = self.rng.integers(0, limit, (COUNT, *node.shape))
        return node

    def floats(self, *shape, dtype=np.float32):
        node = wp.InputNode(np.zeros((1, *shape)), dtype)
        self.inputs[node] = self.rng.normal(size=(COUNT, *shape))
        return node

    def bag(self, name="bag"):
        node = wp.IndexInputNode([0], capacity=4)
        lengths = self.rng.integers(0, 5, COUNT)
        self.inputs[node] = [self.rng.integers(0, ROWS, n) for n in lengths]
        return node


def mixed_dtypes(case):
    """A float64 table and float32 weights: the loss is float64."""
    table = case.parameter(ROWS, 3, dtype=np.float64)
    weights = case.parameter(3, 2)
    out = case.parameter(1, 2, dtype=np.float64)
    x = table.index(case.rows()) * case.floats(3)
    return (x.dot(weights) + out).square().sum(axis=1)


def mixed_inputs(case):
    """A float64 input with float32 parameters, dense and by rows."""
    table, weights = case.parameter(ROWS, 3), case.parameter(1, 3)
    x = case.floats(3, dtype=np.float64)
    return ((table.index(case.rows()) + weights) * x).tanh().square().sum(axis=1)


def three_lookups(case):
    """Rows of one table compared pairwise before the rule sees them."""
    table = case.parameter(ROWS, 3)
    a, b, c = (table.index(case.rows()) for _ in range(3))
    return ((a - b) * c + a).square().sum(axis=1)


def five_lookups(case):
    """More rows than are compared: a hash table."""
    table = case.parameter(ROWS, 3)
    total = table.index(case.rows())
    for _ in range(4):
        total = total * 0.5 + table.index(case.rows()) * total.tanh()
    return total.square().sum(axis=1)


def rows_of_several(case):
    """An index node of shape (1, 4): rows repeat within one look-up."""
    table = case.parameter(ROWS, 3)
    return table.index(case.rows(1, 4)).sum(axis=1).square().sum(axis=1)


def look_ups_of_many_shapes(case):
    """One row and several of one table, a bias by the same rows."""
    table, biases = case.parameter(ROWS, 3), case.parameter(ROWS, 1)
    one, four = case.rows(), case.rows(1, 4)
    scores = (table.index(four) * table.index(one).expand_dims(1)).sum(axis=2)
    return (scores.sum(axis=1, keepdims=True) + biases.index(one)).square().sum(axis=1)


def nodes_over_one_block(case):
    """Two nodes over one shared parameter, by rows; and a frozen third."""
    shared = wp.HogwildParameter(case.rng.normal(0, 0.5, (ROWS, 3)))
    first, second = (wp.ParameterNode.shared(shared) for _ in range(2))
    frozen = wp.ParameterNode.shared(shared, trainable=False)
    case.parameters.append(first)
    a, b = first.index(case.rows()), second.index(case.rows())
    return (a * b - frozen.index(case.rows())).square().sum(axis=1)


def rows_and_dense_of_one_block(case):
    """A table looked up, and read whole: its gradient is dense."""
    table = case.parameter(ROWS, 3)
    row = table.index(case.rows())
    return (row.dot(table.t()).softmax() * case.floats(ROWS)).square().sum(axis=1)


def ragged_and_rows(case):
    """A bag and a row of one table: their pairs are summed together."""
    table = case.parameter(ROWS, 3)
    bag = case.bag()
    taste = table.index(bag).segment_sum(bag)
    return (taste * table.index(case.rows()) + taste).square().sum(axis=1)


def two_bags(case):
    """Two ragged nodes of different lengths."""
    table = case.parameter(ROWS, 3)
    first, second = case.bag(), case.bag()
    a = table.index(first).segment_sum(first)
    b = table.index(second).tanh().segment_sum(second)
    return (a - b).square().sum(axis=1)


def sparse_and_bag(case):
    """CSR rows and a bag, each with a table of its own."""
    table, features = case.parameter(ROWS, 2), case.parameter(5, 2)
    bag = case.bag()
    rows = wp.SparseInputNode(sparse.csr_array((1, 5)))
    case.inputs[rows] = sparse.random_array(
        (COUNT, 5), density=0.4, format="csr", rng=case.rng
    )
    return (table.index(bag).segment_sum(bag) - rows.dot(features)).square().sum(axis=1)


def samplers(case):
    """Two samplers and known rows in one step."""
    known = sparse.random_array((ROWS, ROWS), density=0.4, format="csr", rng=2)
    users, items = case.parameter(ROWS, 3), case.parameter(ROWS, 3)
    user, item = case.rows(), case.rows()
    one = wp.sample_uniform(item, ROWS, known=known, user=user)
    two = wp.sample_popular(item, np.arange(1.0, ROWS + 1))
    taste = users.index(user)
    better = taste.vector_dot(items.index(item) - items.index(one))
    return -(better.sigmoid().ln()) - (
        taste.vector_dot(items.index(item) - items.index(two)).sigmoid().ln()
    )


def network(case):
    """Dense layers over a row: transpose, reshape, concatenation, reductions."""
    table = case.parameter(ROWS, 4)
    w1, b1 = case.parameter(4, 5), case.parameter(1, 5)
    w2 = case.parameter(5, 3)
    hidden = (table.index(case.rows()).dot(w1) + b1).tanh()
    return -(hidden.dot(w2).log_softmax() * case.floats(3)).mean(axis=1)


BUILDERS = [
    mixed_dtypes,
    mixed_inputs,
    three_lookups,
    five_lookups,
    rows_of_several,
    look_ups_of_many_shapes,
    nodes_over_one_block,
    rows_and_dense_of_one_block,
    ragged_and_rows,
    two_bags,
    sparse_and_bag,
    samplers,
    network,
]


def trained(build, optimizer, **settings):
    case = Case(build)
    given = dict(epochs=2, random_state=3, progress=False)
    history = wp.fit(case.loss, optimizer, case.inputs, **given, **settings)
    values = [node.value.ravel().astype(float) for node in case.parameters]
    slot = optimizer.slots and optimizer.slot_name(optimizer.slots[0])
    if slot:
        values += [n.block.slot(slot).ravel().astype(float) for n in case.parameters]
    return np.concatenate(values), history.losses


def agree(build, make, **settings):
    native, losses = trained(build, make(), **settings)
    walked, same = trained(build, make(), engine="numpy", **settings)
    np.testing.assert_allclose(native, walked, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(losses, same, rtol=1e-5, atol=1e-7)
    start = Case(build)
    before = np.concatenate([n.value.ravel() for n in start.parameters])
    assert not np.allclose(native[: len(before)], before, atol=1e-3)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("build", BUILDERS, ids=lambda b: b.__name__)
def test_emitted_text_is_the_numpy_engine(build, batch, in_python):
    agree(build, lambda: wp.Adagrad(0.1), batch_size=batch)


@pytest.mark.parametrize(
    ("build", "batch"),
    [(five_lookups, None), (mixed_dtypes, 4), (samplers, 4)],
    ids=lambda b: getattr(b, "__name__", None),
)
def test_compiled_fit_is_the_numpy_engine(build, batch):
    agree(build, lambda: wp.Adagrad(0.1), batch_size=batch)


@pytest.mark.parametrize(
    "build",
    [
        mixed_dtypes,
        three_lookups,
        rows_and_dense_of_one_block,
        ragged_and_rows,
        samplers,
    ],
    ids=lambda b: b.__name__,
)
def test_synchronous_text_is_the_numpy_engine(build, in_python):
    agree(build, lambda: wp.Adagrad(0.1), mode="synchronous", n_jobs=2, batch_size=4)


SETTINGS = [
    dict(l2=0.1),
    dict(clip=0.05),
    dict(clip_norm=0.1),
    dict(l2=0.1, clip=0.05, clip_norm=0.1),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize(
    "build", [mixed_dtypes, five_lookups], ids=lambda b: b.__name__
)
def test_settings_of_the_optimizer_agree(build, setting, in_python):
    agree(build, lambda: wp.SGD(0.1, **setting))


@pytest.mark.parametrize("build", [three_lookups, samplers], ids=lambda b: b.__name__)
def test_rows_asked_for_ahead_change_nothing(build, monkeypatch, in_python):
    plain, losses = trained(build, wp.Adagrad(0.1))
    monkeypatch.setattr(run_module, "CACHE_BYTES", 0)
    ahead, same = trained(build, wp.Adagrad(0.1))
    np.testing.assert_array_equal(ahead, plain)
    assert losses == same


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_loss_of_a_ragged_axis_is_its_mean_and_the_gradient_of_its_sum(engine):
    """An example without entries has a mean of nothing: zero."""
    table, bag = (
        wp.ParameterNode(np.full((3, 1), 2.0)),
        wp.IndexInputNode([0], capacity=4),
    )
    lists = [[0, 1], [], [2]]
    history = wp.fit(
        table.index(bag) * 3.0,
        wp.SGD(0.5),
        {bag: lists},
        engine=engine,
        progress=False,
    )
    assert history.losses == [pytest.approx((6 + 0 + 6) / 3)]
    np.testing.assert_allclose(table.value, 2 - 0.5 * 3)


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_loss_of_several_elements(engine):
    """Their sum has the gradient, their mean is reported, weighted by examples."""
    w = wp.ParameterNode([[1.0, 2.0]], np.float64)
    x = wp.InputNode(np.zeros((1, 2)), np.float64)
    columns = np.arange(10.0).reshape(5, 2)
    history = wp.fit(
        w * x, wp.SGD(1e-9), {x: columns}, batch_size=2, engine=engine, progress=False
    )
    mean = (columns * [1, 2]).mean()
    assert history.losses == [pytest.approx(mean, rel=1e-6)]
    np.testing.assert_allclose(
        w.value, [[1, 2]] - 1e-9 * columns.sum(axis=0), rtol=1e-15
    )
