"""`exact_rows`: a table trained by rows is what dense gradients would make of it."""

import itertools

import numpy as np
import pytest
from stepping import numpy_step, plain_step

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.engines import functions

R, D, STEPS = 7, 3, 40
SETTINGS = {
    "l2": {"l2": 0.05},
    "large l2": {"l2": 15.0},  # one step turns the sign: 1 - 0.1 * 15
    "momentum": {"momentum": 0.9},
    "momentum, l2": {"momentum": 0.9, "l2": 0.05},
    "oscillating": {"momentum": 0.9, "l2": 3.0},  # complex eigenvalues
    "dampened": {"momentum": 0.8, "dampening": 0.4, "l2": 0.1},
    "nesterov": {"momentum": 0.8, "nesterov": True, "l2": 0.1},
    "all": {"momentum": 0.7, "dampening": 0.2, "nesterov": True, "l2": 0.2},
    "clipped": {"momentum": 0.9, "l2": 0.05, "clip": 0.5, "clip_norm": 0.6},
}
every_setting = pytest.mark.parametrize("more", SETTINGS.values(), ids=SETTINGS)


def looked_up(steps=STEPS):
    """Few rows a step, some twice, some seldom, one never."""
    rng = np.random.default_rng(0)
    chances = np.array([8, 4, 2, 1, 0.3, 0.1, 0]) / 15.4
    return rng.choice(R, p=chances, size=(steps, 2))


class Model:
    """Squared distance of looked-up rows from targets: gradients need the values."""

    def __init__(self, dtype=np.float64, batch=None):
        start = np.linspace(-1.0, 1.0, R * D).reshape(R, D)
        self.table = wp.ParameterNode(start, dtype, name="table")
        self.bias = wp.ParameterNode(np.zeros(D), dtype, name="bias")
        self.row = wp.IndexInputNode([0], name="row")
        self.other = wp.IndexInputNode([0], name="other")
        sums = self.table.index(self.row) + self.table.index(self.other) * 0.5
        self.loss = (sums + self.bias - 0.3).square().sum(axis=1)
        self.parameters = [self.table, self.bias]

    def values(self):
        return np.concatenate([self.table.value, self.bias.value[None]])


def dense(more, rows, rate=lambda step: 0.1):
    """Return what dense gradients make of it, step by step, by the textbook."""
    table = np.linspace(-1.0, 1.0, R * D).reshape(R, D)
    w = np.concatenate([table, np.zeros((1, D))])
    v = np.zeros_like(w)
    mu, damp = more.get("momentum", 0.0), more.get("dampening", 0.0)
    for step, (a, b) in enumerate(rows):
        error = 2 * (w[a] + 0.5 * w[b] + w[R] - 0.3)
        g = np.zeros_like(w)
        g[a] += error
        g[b] += 0.5 * error
        g[R] += error
        if "clip" in more:
            g = np.clip(g, -more["clip"], more["clip"])
            g *= min(1.0, more["clip_norm"] / np.linalg.norm(g))
        g += more.get("l2", 0.0) * w
        v = mu * v + (1 - damp) * g if mu else g
        w = w - rate(step) * (g + mu * v if more.get("nesterov") else v)
    return w


def close(model, expected, bound=1e-10):
    np.testing.assert_allclose(model.values(), expected, rtol=bound, atol=bound)


# -- steps ---------------------------------------------------------------------------


@every_setting
def test_emitted_steps_catch_up_before_they_read(more):
    model, optimizer = Model(), wp.SGD(0.1, exact_rows=True, **more)
    step = plain_step(model.loss, optimizer)
    for a, b in looked_up():
        model.row.set_value([a])
        model.other.set_value([b])
        step()
    optimizer.catch_up(model.parameters)
    close(model, dense(more, looked_up()))


@every_setting
def test_a_loop_in_python_is_exact_if_it_catches_up_before_forward(more):
    model, optimizer = Model(), wp.SGD(0.1, exact_rows=True, **more)
    for a, b in looked_up():
        model.row.set_value([a])
        model.other.set_value([b])
        optimizer.catch_up([model.table], [a, b])
        numpy_step(model.loss, optimizer)
    optimizer.catch_up(model.parameters)
    close(model, dense(more, looked_up()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_steps_do_the_same(dtype):
    more = SETTINGS["nesterov"]
    model, optimizer = Model(dtype), wp.SGD(0.1, exact_rows=True, **more)
    step = wp.compile(model.loss, optimizer)
    for a, b in looked_up():
        model.row.set_value([a])
        model.other.set_value([b])
        step()
    optimizer.catch_up(model.parameters)
    close(model, dense(more, looked_up()), 1e-10 if dtype == np.float64 else 1e-5)
    assert model.table.block.slots()["sgd.step"] == STEPS
    assert (model.table.block.slots()["sgd.row_step"] == STEPS).all()


def test_rows_of_any_shape_and_of_views_are_caught_up():
    """Look-ups of several rows, of ragged ones, and by rows that were worked out."""
    more = SETTINGS["momentum, l2"]
    results = []
    for exact in (True, False):
        table = wp.ParameterNode(np.linspace(-1, 1, R * D).reshape(R, D), np.float64)
        rows = wp.IndexInputNode([[0, 1]])
        bag = wp.IndexInputNode([2], capacity=4)
        far = table if not exact else None
        both = table.index(rows.reshape(2)).sum() + table.index(rows.t()).square().sum()
        loss = both + table.index(bag).square().sum()
        if far is not None:
            optimizer = wp.SGD(0.1, exact_rows=True, **more)
        else:
            loss = loss + (table * 0.0).sum()  # makes the gradient dense
            optimizer = wp.SGD(0.1, **more)
        step = plain_step(loss, optimizer)
        for (a, b), (c, d) in itertools.pairwise(looked_up(12)):
            rows.set_value([[a, b]])
            bag.set_value([c, d, a][: 1 + a % 3])
            step()
        optimizer.catch_up([table])
        results.append(table.value)
    np.testing.assert_allclose(*results, rtol=1e-10, atol=1e-12)


def last_state(table, rows, of_row=lambda row: row):
    """Return the last state of a loop that looks up a row at each element."""

    def body(state, row):
        state = (state + table.index(of_row(row))).tanh()
        return state, state

    start = wp.InputNode(np.zeros((1, D)), np.float64)
    return wp.scan(body, rows, start)[1]


def test_rows_looked_up_in_a_loop_are_caught_up_before_it():
    more = SETTINGS["momentum, l2"]
    tables = []
    for exact in (True, False):
        table = wp.ParameterNode(np.linspace(-1, 1, R * D).reshape(R, D), np.float64)
        rows = wp.IndexInputNode([0, 1])
        loss = last_state(table, rows).square().sum()
        if not exact:
            loss = loss + (table * 0.0).sum()
        optimizer = wp.SGD(0.1, exact_rows=exact, **more)
        step = plain_step(loss, optimizer)
        for pair in looked_up(12):
            rows.set_value(pair)
            step()
        optimizer.catch_up([table])
        tables.append(table.value)
    np.testing.assert_allclose(*tables, rtol=1e-10, atol=1e-12)


def test_rows_that_a_loop_works_out_itself_are_refused():
    table = wp.ParameterNode(np.ones((R, D)), np.float64)
    rows = wp.IndexInputNode([[0], [1]])
    loss = last_state(table, rows, lambda row: row.reshape(1)).sum()
    with pytest.raises(errors.CompileError, match="exact_rows: rows looked up inside"):
        wp.compile(loss, wp.SGD(0.1, l2=0.1, exact_rows=True))
    plain_step(loss, wp.SGD(0.1, l2=0.1))()


def test_dense_steps_between_steps_by_rows_keep_the_count():
    """A table trained by rows in one loss and as a whole in another."""
    more = SETTINGS["momentum, l2"]
    tables = []
    for exact in (True, False):
        table = wp.ParameterNode(np.linspace(-1, 1, R * D).reshape(R, D), np.float64)
        row = wp.IndexInputNode([0])
        by_row = table.index(row).sum()
        whole = (table * 2.0).sum()
        optimizer = wp.SGD(0.1, exact_rows=exact, **more)
        if not exact:
            by_row = by_row + (table * 0.0).sum()
        steps = [plain_step(by_row, optimizer), plain_step(whole, optimizer)]
        for k, (a, _) in enumerate(looked_up(15)):
            row.set_value([a])
            steps[k % 3 == 2]()
        optimizer.catch_up([table])
        tables.append(table.value)
    np.testing.assert_allclose(*tables, rtol=1e-10, atol=1e-12)


def test_without_anything_to_miss_there_is_nothing_to_keep():
    model, optimizer = Model(), wp.SGD(0.1, exact_rows=True)
    numpy_step(model.loss, optimizer)
    optimizer.catch_up(model.parameters)
    assert model.table.block.slots() == {}


def test_shared_tables_that_grow_start_new_rows_at_their_step():
    more = SETTINGS["momentum, l2"]
    shared = wp.HogwildParameter(np.ones((3, 2)), np.float64, capacity=100)
    table = wp.ParameterNode.shared(shared)
    row = wp.IndexInputNode([0])
    optimizer = wp.SGD(0.1, exact_rows=True, **more)
    step = plain_step(table.index(row).sum() * 1.0, optimizer)
    for _ in range(5):
        step()
    shared.grow(50)
    shared.value[3:] = 1.0
    optimizer.catch_up([table])
    np.testing.assert_array_equal(shared.value[3:], np.ones((47, 2)))
    assert (shared.value[1:3] < 1.0).all()


def test_catching_up_in_pieces_is_catching_up_at_once():
    more = SETTINGS["all"]
    values = []
    for pieces in (1, 4):
        model, optimizer = Model(), wp.SGD(0.1, exact_rows=True, **more)
        for a, _ in looked_up(8):
            model.row.set_value([a])
            numpy_step(model.loss, optimizer)
        for rows in np.array_split(np.arange(R), pieces):
            optimizer.catch_up([model.table], rows)
            optimizer.catch_up([model.table], rows)
        values.append(model.values())
    np.testing.assert_allclose(*values, rtol=1e-13)


@pytest.mark.parametrize("row", [-1, R])
def test_rows_that_are_not_there_are_refused(row):
    model = Model()
    with pytest.raises(errors.IndexRangeError, match="catch_up"):
        wp.SGD(l2=0.1, exact_rows=True).catch_up([model.table], [0, row])


def test_missed_steps_by_the_million_take_no_time_and_stay_finite():
    node = wp.ParameterNode([[1.0], [1.0]], np.float64)
    optimizer = wp.SGD(0.1, momentum=0.9, l2=1e-6, exact_rows=True)
    numpy_step(node.index(wp.IndexInputNode([0])).sum(), optimizer)
    node.block.slots()["sgd.step"][...] = 10**6
    optimizer.catch_up([node])
    # slowest eigenvalue of one step, from its characteristic polynomial
    roots = np.roots([1.0, -(1.9 - 1e-7), 0.9])
    slow = roots.max()
    fast = roots.min()
    share = (1 - 1e-7 - fast) / (slow - fast)
    np.testing.assert_allclose(node.value[1, 0], share * slow**1e6, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"l1": 0.1}, {"penalty": "value"}])
def test_what_has_no_closed_form_is_refused(wrong):
    with pytest.raises(errors.SettingError, match="takes l2 as the only penalty"):
        wp.SGD(exact_rows=True, **wrong)
    optimizer = wp.SGD(exact_rows=True)
    ((name, value),) = wrong.items()
    with pytest.raises(errors.SettingError, match="takes l2 as the only penalty"):
        setattr(optimizer, name, value)
    with pytest.raises(errors.SettingError, match="Adam: has no setting 'exact_rows'"):
        wp.Adam().exact_rows = True


def test_linear_power_is_the_power_of_a_matrix():
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = rng.normal(size=(2, 2)) * 0.7
        counts = np.array([0, 1, 2, 3, 17, 40])
        found = np.array(functions.linear_power(*matrix.ravel(), counts))
        for k, count in enumerate(counts):
            expected = np.linalg.matrix_power(matrix, count).ravel()
            np.testing.assert_allclose(found[:, k], expected, rtol=1e-10, atol=1e-12)
    one = functions.linear_power(0.5, 0.0, 0.0, 2.0, 3)
    assert [float(x) for x in one] == [0.125, 0.0, 0.0, 8.0]
