"""Samplers: what is drawn, how often, never what is known; and WARP's search."""

from functools import partial

import numpy as np
import pytest
from scipy import sparse
from stepping import plain_step

import wyrm_py as wp
from wyrm_py.engines.native.kernel import bind
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan
from wyrm_py.errors import (
    DataError,
    DTypeError,
    GraphError,
    IndexRangeError,
    SettingError,
    ShapeError,
)
from wyrm_py.ops.sampling import alias_tables
from wyrm_py.parallel import run as run_module

ROWS = 10
DRAWS = 20_000
ENGINES = ("native", "numpy")


def draws(node, inputs, batch=None, compiled=True, seed=3):
    """Return a node's values over columns, natively; `seed` starts its stream."""
    plan = Plan.evaluation(node)
    source = generate(plan, None, Settings(batched=batch is not None))
    count = len(next(iter(inputs.values())))
    out = np.empty((count, *node.shape[batch is not None :]), node.dtype)
    columns = {(leaf, ""): np.array(column) for leaf, column in inputs.items()}
    binding = bind(
        source,
        columns,
        {"batch": batch or 1},
        output=out.reshape(-1),
        compiled=compiled,
    )
    binding.open().run(0, count, seed)
    return out


def walked(node, inputs, batch=1, seed=3):
    """Return the same by the NumPy engine: NumPy's definition of the stream."""
    from wyrm_py.engines import numpy as engine
    from wyrm_py.graph.stream import Stream

    plan = Plan.evaluation(node)
    for number, application in enumerate(plan.random()):
        application.stream = Stream(seed, 0, 0, number)
    found = []
    count = len(next(iter(inputs.values())))
    for begin in range(0, count, batch):
        for leaf, column in inputs.items():
            rows = np.asarray(column[begin : begin + batch]).reshape(
                -1, *leaf.shape[1:]
            )
            leaf._held(rows.astype(np.int64))
        engine.run(plan.forward)
        found.append(node.value.copy())
    return np.concatenate(found)


def chance(found, shares):
    """Return chi-square over its degrees of freedom: about 1 if all is well."""
    counts = np.bincount(found.ravel(), minlength=len(shares))
    expected = found.size * np.asarray(shares)
    possible = expected > 0
    assert not counts[~possible].any()
    square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    return square / max(possible.sum() - 1, 1)


KNOWN = sparse.csr_array(
    np.array(
        [
            [0, 1, 0, 0, 1, 1, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [1, 1, 1, 1, 1, 1, 1, 0, 1, 1],
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
    )
)
COUNTS = np.array([1, 0, 5, 2, 8, 0, 1, 3, 0.5, 4])


@pytest.fixture
def nodes():
    user, item = (
        wp.IndexInputNode([0], name="user"),
        wp.IndexInputNode([0], name="item"),
    )
    known = dict(known=KNOWN, user=user)
    return {
        "user": user,
        "item": item,
        "uniform": wp.sample_uniform(item, ROWS),
        "popular": wp.sample_popular(item, COUNTS),
        "uniform known": wp.sample_uniform(item, ROWS, **known),
        "popular known": wp.sample_popular(item, COUNTS, **known),
    }


def inputs_of(nodes, name, count):
    users = np.arange(count) % 4
    given = {nodes["item"]: np.zeros(count, np.int64)}
    return {nodes["user"]: users, **given} if "known" in name else given


# -- how often ---------------------------------------------------------------------


def test_uniform_draws_all_rows_evenly(nodes):
    found = draws(nodes["uniform"], inputs_of(nodes, "uniform", DRAWS))
    assert 0.2 < chance(found, np.full(ROWS, 1 / ROWS)) < 2.2


def test_popular_draws_in_proportion(nodes):
    found = draws(nodes["popular"], inputs_of(nodes, "popular", DRAWS))
    assert 0.2 < chance(found, COUNTS / COUNTS.sum()) < 2.5


@pytest.mark.parametrize("kind", ["uniform", "popular"])
def test_unknown_rows_keep_their_proportions(nodes, kind):
    name = f"{kind} known"
    found = draws(nodes[name], inputs_of(nodes, name, 4 * DRAWS))
    shares = np.ones(ROWS) if kind == "uniform" else COUNTS
    for user in range(4):
        free = shares * (KNOWN.toarray()[user] == 0)
        mine = found[user::4]
        if user == 2:
            assert (mine == 7).all()
        else:
            assert 0.1 < chance(mine, free / free.sum()) < 2.8


@pytest.mark.parametrize("kind", ["uniform", "popular"])
def test_neighbouring_draws_are_independent(nodes, kind):
    found = draws(nodes[kind], inputs_of(nodes, kind, DRAWS))[:, 0]
    shares = np.full(ROWS, 1 / ROWS) if kind == "uniform" else COUNTS / COUNTS.sum()
    pairs = found[:-1] * ROWS + found[1:]
    assert 0.7 < chance(pairs, np.outer(shares, shares).ravel()) < 1.4


def test_popular_falls_back_to_a_row_that_is_not_known():
    """Only known rows have counts: the next one that is not known is taken."""
    counts = np.array([0, 0, 0, 1, 1, 0, 0.0])
    known = sparse.csr_array(np.array([[0, 0, 0, 1, 1, 1, 0], [1, 1, 0, 1, 1, 1, 1]]))
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    node = wp.sample_popular(item, counts, known=known, user=user)
    inputs = {user: np.arange(40) % 2, item: np.zeros(40, int)}
    for found in (draws(node, inputs, compiled=False), walked(node, inputs)[:, None]):
        assert (found.ravel()[::2] == 6).all() and (found.ravel()[1::2] == 2).all()


# -- engines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["uniform", "popular", "uniform known", "popular known"]
)
def test_engines_draw_the_same(nodes, name):
    inputs = inputs_of(nodes, name, 500)
    compiled = draws(nodes[name], inputs).ravel()
    np.testing.assert_array_equal(compiled, walked(nodes[name], inputs))
    plain = draws(nodes[name], {k: v[:50] for k, v in inputs.items()}, compiled=False)
    np.testing.assert_array_equal(compiled[:50], plain.ravel())
    assert not np.array_equal(compiled, draws(nodes[name], inputs, seed=4).ravel())


@pytest.mark.parametrize("name", ["uniform known", "popular known"])
def test_batches_draw_the_same_and_nothing_known(nodes, name):
    inputs = inputs_of(nodes, name, 500)
    single = draws(nodes[name], inputs).ravel()
    batched = draws(nodes[name], inputs, batch=7).ravel()
    np.testing.assert_array_equal(single, batched)
    np.testing.assert_array_equal(single, walked(nodes[name], inputs, batch=7))
    assert not KNOWN.toarray()[np.arange(500) % 4, single].any()


def test_several_draws_an_example():
    user, like = wp.IndexInputNode([0]), wp.IndexInputNode([[0, 0, 0]])
    node = wp.sample_uniform(like, ROWS, known=KNOWN, user=user)
    assert node.shape == (1, 3)
    inputs = {user: np.arange(200) % 4, like: np.zeros((200, 3), int)}
    found = draws(node, {user: inputs[user], like: inputs[like].reshape(-1)})
    found = found.reshape(-1, 3)[:66]
    for k, rows in enumerate(found):
        assert not KNOWN.toarray()[k % 4, rows].any()


def test_samplers_draw_from_streams_of_their_own():
    item = wp.IndexInputNode([0])
    a, b = wp.sample_uniform(item, 1000), wp.sample_uniform(item, 1000)
    values = []
    for _ in range(50):
        a.forward()
        b.forward()
        values.append((a.value.item(), b.value.item()))
    first, second = np.array(values).T
    assert len(set(first)) > 40 and not np.array_equal(first, second)


# -- alias tables ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "counts",
    [
        [1.0],
        [1, 1],
        [0, 1],
        COUNTS,
        [1e-12, 1.0, 1e12],
        np.ones(7),
        np.random.default_rng(0).zipf(1.3, 500).astype(float),
        np.arange(1000.0),
        np.full(3, 0.1),
        np.random.default_rng(1).random(20_000) ** 8,
        [3, 1, 0, 0, 1, 1, 2, 0, 1],
    ],
)
def test_alias_tables_hold_exactly_the_proportions(counts):
    counts = np.asarray(counts, float)
    thresholds, aliases = alias_tables(counts.copy())
    size = len(counts)
    assert ((thresholds >= 0) & (thresholds <= 1 << 32)).all()
    assert ((aliases >= 0) & (aliases < size)).all()
    held = thresholds / 2.0**32 / size
    np.add.at(held, aliases, (1 - thresholds / 2.0**32) / size)
    np.testing.assert_allclose(held, counts / counts.sum(), atol=2.0**-31)
    assert (held[counts == 0] == 0).all()


# -- WARP -----------------------------------------------------------------------------


class Warp:
    def __init__(self, rows=40, margin=1.0, tries=10, bias=False, known=None, seed=0):
        rng = np.random.default_rng(seed)
        self.users = wp.ParameterNode(rng.normal(size=(4, 3)), name="users")
        self.items = wp.ParameterNode(rng.normal(size=(rows, 3)), name="items")
        self.biases = wp.ParameterNode(rng.normal(size=(rows, 1)), name="biases")
        self.user, self.item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        self.taste = self.users.index(self.user)
        self.better = self.taste.vector_dot(self.items.index(self.item))
        more = {} if known is None else {"known": known, "user": self.user}
        if bias:
            self.better = self.better + self.biases.index(self.item)
            more["bias"] = self.biases
        self.row, self.weight = wp.sample_warp(
            self.taste, self.items, self.better, margin=margin, max_tries=tries, **more
        )
        worse = self.taste.vector_dot(self.items.index(self.row))
        if bias:
            worse = worse + self.biases.index(self.row)
        self.loss = self.weight * (margin - self.better + worse).relu()
        count = 150
        self.inputs = {
            self.user: rng.integers(0, 4, count),
            self.item: rng.integers(0, rows, count),
        }

    def scores(self, bias=False):
        scores = self.users.value @ self.items.value.T
        return scores + self.biases.value.T if bias else scores


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("margin", [1.0, 0.25])
def test_warp_finds_a_violating_row_or_gives_weight_zero(bias, margin):
    model = Warp(margin=margin, tries=5, bias=bias)
    scores = model.scores(bias)
    # ln((R - 1) // tries) for a find at each possible try
    possible = np.log(np.maximum((40 - 1) // np.arange(1, 6), 1)).astype(np.float32)
    found = 0
    for user, item in zip(*model.inputs.values(), strict=True):
        model.user.set_value(user), model.item.set_value(item)
        model.loss.forward()
        row, weight = model.row.value.item(), model.weight.value.item()
        assert 0 <= row < 40
        if weight:
            found += 1
            assert np.isclose(possible, weight, rtol=1e-6).any()
            assert scores[user, row] > scores[user, item] - margin - 1e-5
    assert 20 < found


def test_warp_weight_follows_the_number_of_tries():
    """One row of 21 violates: the weight tells at which try it was drawn."""
    rows, tries = 21, 60
    table = np.zeros((rows, 1))
    table[13] = 5
    items = wp.ParameterNode(table)
    query, positive = wp.InputNode([[1.0]]), wp.InputNode([[2.0]])
    row, weight = wp.sample_warp(query, items, positive, max_tries=tries)
    weights = np.log(np.maximum((rows - 1) // np.arange(1, tries + 1), 1))
    seen, chances = [], []
    for _ in range(400):
        weight.forward()
        if row.value.item() == 13:
            seen.append(weight.value.item())
            assert np.isclose(weights, seen[-1], rtol=1e-6).any()
        else:
            assert weight.value == 0
    miss = 1 - 1 / rows
    chances = np.array([miss**k / rows for k in range(tries)])
    expected = (chances * weights).sum() / chances.sum()
    assert len(seen) / 400 == pytest.approx(1 - miss**tries, abs=0.04)
    assert np.mean(seen) == pytest.approx(expected, abs=0.15)


def test_warp_draws_nothing_known():
    known = sparse.csr_array(np.arange(40)[None, :] % 4 != np.arange(4)[:, None])
    model = Warp(known=known, margin=100.0, tries=200)
    for user, item in zip(*model.inputs.values(), strict=True):
        model.user.set_value(user), model.item.set_value(item)
        model.loss.forward()
        assert model.weight.value == 0 or model.row.value % 4 == user


@pytest.fixture
def in_python(monkeypatch):
    """The emitted text runs as plain Python: nothing to compile."""
    monkeypatch.setattr(run_module, "bind", partial(run_module.bind, compiled=False))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch", [None, 7])
def test_warp_engines_agree(batch, bias, request):
    if not bias or batch is None:  # one of them is enough to compile
        request.getfixturevalue("in_python")
    known = sparse.random_array((4, 40), density=0.3, format="csr", rng=1)
    results = []
    for engine in ENGINES:
        model = Warp(bias=bias, known=known)
        given = dict(epochs=2, batch_size=batch, engine=engine, random_state=2)
        history = wp.fit(
            model.loss, wp.Adagrad(0.1), model.inputs, progress=False, **given
        )
        results.append((model.items.value, model.biases.value, history.losses))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=2e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=2e-5)
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
@pytest.mark.parametrize("rule", [wp.Adagrad, wp.Adam])
def test_search_that_finds_nothing_changes_nothing_even_with_l2(
    rule, engine, mode, in_python
):
    """No value, no state, no count of steps; also of the whole table `frame`."""
    model = Warp(margin=-100.0)  # nothing scores so much above the positive
    frame = wp.ParameterNode(np.ones(3))
    model.loss = model.loss * frame.mean()
    held = [node.value.copy() for node in model.loss.parameters()]
    history = wp.fit(
        model.loss,
        rule(0.1, l2=0.5),
        model.inputs,
        engine=engine,
        mode=mode,
        progress=False,
    )
    assert history.losses == [0.0]
    for node, before in zip(model.loss.parameters(), held, strict=True):
        np.testing.assert_array_equal(node.value, before)
        assert not any(state.any() for state in node.block.slots().values())


def test_compiled_step_draws_anew_each_call():
    table, item = wp.ParameterNode(np.zeros((50, 1))), wp.IndexInputNode([0])
    negative = wp.sample_uniform(item, 50)
    loss = table.index(negative).sum(axis=1)
    for step in (wp.compile(loss, wp.SGD(1.0)), plain_step(loss, wp.SGD(1.0))):
        table.set_value(0.0)
        for _ in range(100):
            step()
        assert table.value.sum() == -100
        assert 25 < np.count_nonzero(table.value) < 50


# -- errors ---------------------------------------------------------------------------


def test_drawing_from_more_rows_than_a_table_has_is_refused():
    table, item = wp.ParameterNode(np.zeros((5, 2))), wp.IndexInputNode([0])
    for negative in (
        wp.sample_uniform(item, 6),
        wp.sample_popular(item, np.append(np.ones(5), 1e-9)),
    ):
        while negative.value.item() == 5:  # drawn at once, and looked up at once
            negative.forward()
        loss = table.index(negative).sum()
        for engine in ENGINES:
            with pytest.raises(IndexRangeError, match=r"6 rows.*among 5"):
                wp.fit(loss, wp.SGD(0.1), {item: [0]}, engine=engine, progress=False)
        with pytest.raises(IndexRangeError, match=r"6 rows.*among 5"):
            wp.compile(loss, wp.SGD(0.1))
        with pytest.raises(IndexRangeError, match=r"6 rows.*among 5"):
            wp.evaluate(loss, {item: [0]})
    assert not table.value.any()


def test_a_last_row_beyond_the_table_is_refused():
    query, score = wp.InputNode(np.ones((1, 2))), wp.InputNode([[1.0]])
    table = wp.ParameterNode(np.ones((3, 2)))
    with pytest.raises(IndexRangeError, match=r"\[0, 3\), got 50"):
        wp.sample_warp(query, table, score, last=wp.IndexInputNode([50]))


@pytest.mark.parametrize("engine", ENGINES)
def test_user_without_known_rows_is_refused(nodes, engine):
    table = wp.ParameterNode(np.zeros((ROWS, 2)))
    loss = table.index(nodes["uniform known"]).sum()
    inputs = {nodes["user"]: [0, 4], nodes["item"]: [0, 0]}
    with pytest.raises(IndexRangeError, match=r"\[0, 4\).*got 4 in example 1"):
        wp.fit(loss, wp.SGD(0.1), inputs, engine=engine, progress=False)


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "9", None, 1 << 32])
def test_impossible_numbers_of_rows_are_refused(rows):
    with pytest.raises(SettingError, match="sample_uniform.*number of rows"):
        wp.sample_uniform(wp.IndexInputNode([0]), rows)


@pytest.mark.parametrize(
    "counts",
    [[], [0, 0], [1, -1], [1, np.nan], [1, np.inf], ["a"], None, [[1, 2], [3]]],
)
def test_impossible_counts_are_refused(counts):
    with pytest.raises(DataError, match="sample_popular.*counts"):
        wp.sample_popular(wp.IndexInputNode([0]), counts)


def test_bad_known_rows_are_refused():
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    make = wp.sample_uniform
    with pytest.raises(GraphError, match="go together"):
        make(item, ROWS, known=KNOWN)
    with pytest.raises(GraphError, match="go together"):
        make(item, ROWS, user=user)
    with pytest.raises(DataError, match=r"scipy\.sparse.*ndarray"):
        make(item, ROWS, known=KNOWN.toarray(), user=user)
    with pytest.raises(ShapeError, match=r"\(users, 11\).*10"):
        make(item, ROWS + 1, known=KNOWN, user=user)
    with pytest.raises(DataError, match="user 1 knows all 3"):
        full = sparse.csr_array(np.array([[0, 1, 0], [1, 1, 1]]))
        make(item, 3, known=full, user=user)
    broken = KNOWN.copy()
    broken.indptr[2] = 2
    with pytest.raises(DataError, match="no sound sparse matrix: .*non-decreasing"):
        make(item, ROWS, known=broken, user=user)
    broken = KNOWN.copy()
    broken.indices[0] = -1
    with pytest.raises(DataError, match="no sound sparse matrix: .*indices"):
        make(item, ROWS, known=broken, user=user)
    with pytest.raises(ShapeError, match="one user"):
        make(item, ROWS, known=KNOWN, user=wp.IndexInputNode([0, 1]))
    with pytest.raises((DTypeError, GraphError), match="sample_?[uU]niform"):
        make(item, ROWS, known=KNOWN, user=wp.InputNode([0.0]))


def test_like_must_be_an_index_node():
    for make in (
        lambda n: wp.sample_uniform(n, 3),
        lambda n: wp.sample_popular(n, [1]),
    ):
        with pytest.raises(
            (DTypeError, GraphError), match="sample_?([uU]niform|[pP]opular)"
        ):
            make(wp.InputNode([0.0]))
        with pytest.raises(
            (DTypeError, GraphError), match="sample_?([uU]niform|[pP]opular)"
        ):
            make(np.array([0]))


@pytest.mark.parametrize(
    "setting",
    [
        {"max_tries": 0},
        {"max_tries": True},
        {"max_tries": 1.5},
        {"margin": np.nan},
        {"margin": "1"},
        {"margin": None},
    ],
)
def test_impossible_warp_settings_are_refused(setting):
    query, score = wp.InputNode(np.ones((1, 2))), wp.InputNode(np.ones((1, 1)))
    table = wp.ParameterNode(np.ones((5, 2)))
    (name,) = setting
    with pytest.raises(SettingError, match=f"sample_warp: {name}"):
        wp.sample_warp(query, table, score, **setting)


def test_warp_shapes_are_checked():
    query, score = wp.InputNode(np.ones((1, 2))), wp.InputNode(np.ones((1, 1)))
    table = wp.ParameterNode(np.ones((5, 2)))
    with pytest.raises(ShapeError, match="query"):
        wp.sample_warp(wp.InputNode(np.ones((1, 3))), table, score)
    with pytest.raises(ShapeError, match="positive score"):
        wp.sample_warp(query, table, wp.InputNode(np.ones((1, 2))))
    with pytest.raises(ShapeError, match="bias"):
        wp.sample_warp(query, table, score, bias=wp.ParameterNode(np.ones((4, 1))))


def test_known_matrix_is_left_as_it_was():
    """Unsorted, with duplicates, read-only: it is the caller's."""
    parts = [np.ones(4), np.array([3, 1, 1, 0]), np.array([0, 3, 4])]
    for part in parts:
        part.flags.writeable = False
    known = sparse.csr_array(tuple(parts), shape=(2, 4))
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    node = wp.sample_uniform(item, 4, known=known, user=user)
    assert known.indices.tolist() == [3, 1, 1, 0] and known.indptr.tolist() == [0, 3, 4]
    inputs = {user: np.arange(400) % 2, item: np.zeros(400, int)}
    found = draws(node, inputs, compiled=False).ravel()
    assert set(found[::2]) == {0, 2} and set(found[1::2]) == {1, 2, 3}


@pytest.mark.parametrize("batch", [None, 3])
def test_several_rows_are_drawn_for_each_element_as_one_more_axis(batch):
    user, counts = wp.IndexInputNode([0]), np.arange(1.0, ROWS + 1)
    nodes = {
        wp.sample_popular(user, counts, draws=4): counts / counts.sum(),
        wp.sample_uniform(user, ROWS, draws=4): np.full(ROWS, 1 / ROWS),
        wp.sample_uniform(user, last=user, draws=4): None,
        wp.sample_popular(user, counts, known=KNOWN, user=user, draws=4): None,
    }
    users = np.arange(DRAWS // 4) % KNOWN.shape[0]
    for node, shares in nodes.items():
        assert node.shape == (1, 4)
        found = draws(node, {user: users}, batch)
        assert found.shape == ((len(users), 4) if batch else (len(users), 1, 4))
        found = found.reshape(-1, 4)
        few = walked(node, {user: users[:60]}, batch or 1)
        np.testing.assert_array_equal(few.reshape(-1, 4), found[:60])
        if shares is not None:
            assert chance(found, shares) < 3
            assert chance(found[:, 2], shares) < 3
    forbidden = KNOWN.toarray()[users]
    assert not np.take_along_axis(forbidden, found, axis=1).any()


@pytest.mark.parametrize("wrong", [0, -1, True, 2.0, "3"])
def test_draws_that_are_no_number_of_rows_are_refused(wrong):
    user = wp.IndexInputNode([0])
    with pytest.raises(SettingError, match="draws must be"):
        wp.sample_popular(user, [1, 2], draws=wrong)
    with pytest.raises(SettingError, match="draws must be"):
        wp.sample_uniform(user, 2, draws=wrong)
