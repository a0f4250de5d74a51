"""Loops over sequences: against unrolled graphs, differences and both engines."""

import pickle
from functools import partial

import numpy as np
import pytest
from autograd import grad
from autograd import numpy as anp
from stepping import plain_step, updates
from waiting import together

import wyrm_py as wp
from wyrm_py import errors
from wyrm_py.engines.native import source
from wyrm_py.parallel import run

RNG = np.random.default_rng(5)


def draw(*shape):
    return RNG.standard_normal(shape) * 0.5


def parameters(*shapes, dtype=np.float64):
    return [wp.ParameterNode(draw(*shape), dtype) for shape in shapes]


def telling(node):
    """Return one number that depends on every element of a node, unevenly."""
    weights = np.random.default_rng(1).uniform(0.5, 1.5, node.shape[1:])
    return (node * weights.astype(node.dtype)).sum() + node.square().sum()


# -- graphs: (loss, the parameters under it) -----------------------------------


def rnn():
    """A vanilla recurrent net; the final state and all outputs are read."""
    x, w, u, b, h = parameters((5, 3), (3, 4), (4, 4), (4,), (4,))

    def body(h, x):
        h = (x.dot(w) + h.dot(u) + b).tanh()
        return h, h

    outputs, final = wp.scan(body, x, h)
    return telling(outputs) + telling(final), [x, w, u, b, h]


def lstm_with_two_states():
    x, u, h, c = parameters((4, 12), (3, 12), (3,), (3,))

    def body(state, x):
        h, c = state
        f, i, g, o = (x + h.dot(u)).chunk(4, axis=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), h

    outputs, (_, c) = wp.scan(body, x, (h, c))
    return telling(outputs) + telling(c), [x, u]


def states_that_swap():
    x, a, b = parameters((4, 3), (2,), (2,))

    def body(state, x):
        a, b = state
        return (b, a + b * x.sum()), a * b

    outputs, (a_last, b_last) = wp.scan(body, x, (a, b))
    return telling(outputs) + telling(a_last) + telling(b_last), [x, a, b]


def only_the_final_state():
    x, h = parameters((6, 3), (3,))
    _, final = wp.scan(lambda h, x: (h * 0.5 + x, x), x, h)
    return telling(final), [x, h]


def outputs_that_are_states_and_elements():
    x, h = parameters((4, 3), (3,))

    def body(h, x):
        return (h + x).tanh(), (h, x, x * h)

    (before, elements, product), _ = wp.scan(body, x, h)
    return telling(before) + telling(elements) + telling(product), [x, h]


def numbers_as_states():
    x, h = parameters((7,), ())

    def body(h, x):
        h = (h * 0.9 + x).sigmoid()
        return h, h

    outputs, final = wp.scan(body, x, h)
    return telling(outputs) + final, [x, h]


def one_step():
    x, w, h = parameters((1, 3), (3, 3), (3,))
    outputs, final = wp.scan(lambda h, x: ((h.dot(w) + x).tanh(), h * x), x, h)
    return telling(outputs) + telling(final), [x, w, h]


def backwards():
    x, w, h = parameters((5, 3), (3, 3), (3,))
    outputs, final = wp.scan(
        lambda h, x: ((h.dot(w) + x).tanh(), h * x), x, h, reverse=True
    )
    return telling(outputs) + telling(final), [x, w, h]


def look_ups_inside():
    table, h = parameters((7, 4), (4,))
    rows = wp.IndexInputNode([1, 3, 3, 6])

    def body(h, row):
        e = table.index(row)
        h = (h * 0.5 + e).tanh()
        return h, (h * e).sum()

    outputs, final = wp.scan(body, rows, h)
    return telling(outputs) + telling(final), [table, h]


def a_fixed_look_up_inside():
    table, x, h = parameters((7, 4), (3, 4), (4,))
    row = wp.IndexInputNode([2])

    def body(h, x):
        h = (h + x * table.index(row).reshape(4)).tanh()
        return h, h

    outputs, _ = wp.scan(body, x, h)
    return telling(outputs), [table, x, h]


def loop_in_a_loop():
    x, u, h = parameters((3, 4, 2), (2, 2), (2,))

    def outer(h, xs):
        def inner(r, x):
            r = (r.dot(u) + x).tanh()
            return r, r * h

        outputs, r = wp.scan(inner, xs, h)
        return r, outputs.sum(axis=0)

    outputs, final = wp.scan(outer, x, h)
    return telling(outputs) + telling(final), [x, u, h]


def loop_after_a_loop():
    x, u, v, h = parameters((4, 3), (3, 3), (3, 3), (3,))
    first, _ = wp.scan(lambda h, x: ((h.dot(u) + x).tanh(),) * 2, x, h)
    second, final = wp.scan(lambda h, x: ((h.dot(v) + x).tanh(),) * 2, first, h)
    return telling(second) + telling(final), [x, u, v, h]


def batch_of_sequences():
    x, w, u, h = parameters((2, 5, 3), (3, 4), (4, 4), (2, 4))

    def body(h, x):
        h = (x.dot(w) + h.dot(u)).tanh()
        return h, h

    outputs, final = wp.scan(body, x, h, axis=1)
    return telling(outputs) + telling(final), [x, w, u, h]


def ragged_sequence():
    table, u, h = parameters((7, 3), (3, 3), (3,))
    rows = wp.IndexInputNode([1, 3, 3, 6], capacity=9)

    def body(h, x):
        h = (h.dot(u) + x).tanh()
        return h, h

    outputs, final = wp.scan(body, table.index(rows), h, ragged=rows)
    return telling(outputs) + telling(final), [table, u, h]


def used_twice():
    x, h = parameters((4, 3), (3,))
    outputs, final = wp.scan(lambda h, x: ((h + x).tanh(), h), x, h)
    return telling(outputs) + telling(outputs * 2.0) + telling(final), [x, h]


def nothing_carried():
    """The new state does not depend on the old one."""
    x, w, h = parameters((4, 3), (3, 3), (3,))
    outputs, final = wp.scan(lambda h, x: (x.dot(w), h + x), x, h)
    return telling(outputs) + telling(final), [x, w, h]


GRAPHS = [
    rnn,
    lstm_with_two_states,
    states_that_swap,
    only_the_final_state,
    outputs_that_are_states_and_elements,
    numbers_as_states,
    one_step,
    backwards,
    look_ups_inside,
    a_fixed_look_up_inside,
    loop_in_a_loop,
    loop_after_a_loop,
    batch_of_sequences,
    ragged_sequence,
    used_twice,
    nothing_carried,
]
every_graph = pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.__name__)


def dense(gradient):
    return gradient.toarray() if hasattr(gradient, "toarray") else gradient


@every_graph
def test_gradients_agree_with_differences(graph):
    loss, nodes = graph()
    for node in nodes:
        numeric, analytic = wp.finite_difference(node, loss)
        np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-7)


@every_graph
def test_gradients_of_gradients_agree_with_differences(graph):
    loss, nodes = graph()
    first = wp.gradient(loss, nodes[-1])
    second = first.square().sum()
    for node in nodes:
        if node in second.parameters():
            numeric, analytic = wp.finite_difference(node, second)
            np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-6)


@every_graph
def test_the_emitted_text_computes_the_same(graph):
    loss, nodes = graph()
    loss.forward()
    loss.backward()
    expected = [dense(node.gradient) for node in nodes]
    mean, taken = updates(plain_step(loss, wp.SGD(1.0)), nodes)
    assert mean == pytest.approx(loss.value.item(), rel=1e-12)
    for one, other in zip(taken, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "graph",
    [rnn, lstm_with_two_states, states_that_swap, loop_in_a_loop, ragged_sequence],
    ids=lambda g: g.__name__,
)
def test_native_code_computes_the_same(graph):
    loss, nodes = graph()
    loss.forward()
    loss.backward()
    expected = [dense(node.gradient) for node in nodes]
    mean, taken = updates(wp.compile(loss, wp.SGD(1.0)), nodes)
    assert mean == pytest.approx(loss.value.item(), rel=1e-12)
    for one, other in zip(taken, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


# -- against other ways to the same numbers -----------------------------------


def test_a_loop_equals_the_unrolled_graph():
    x, w, u, h = parameters((5, 3), (3, 4), (4, 4), (4,))
    outputs, final = wp.scan(lambda h, x: ((x.dot(w) + h.dot(u)).tanh(),) * 2, x, h)
    state, unrolled = h, []
    for t in range(5):
        state = (x[t].dot(w) + state.dot(u)).tanh()
        unrolled.append(state.expand_dims(0))
    joined = unrolled[0].concatenate(*unrolled[1:], axis=0)
    np.testing.assert_allclose(outputs.value, joined.value, rtol=1e-14)
    np.testing.assert_allclose(final.value, state.value, rtol=1e-14)
    for node in (x, w, u, h):
        a = wp.gradient(telling(outputs), node).value
        b = wp.gradient(telling(joined), node).value
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_a_loop_equals_autograd():
    x, u, h = draw(6, 3), draw(3, 3), draw(3)

    def reference(u):
        state, total = h, 0.0
        for row in x:
            state = anp.tanh(anp.dot(state, u) + row)
            total = total + anp.sum(state**3)
        return total

    weights = wp.ParameterNode(u, np.float64)
    outputs, _ = wp.scan(
        lambda h, x: ((h.dot(weights) + x).tanh(),) * 2,
        wp.InputNode(x, np.float64),
        wp.InputNode(h, np.float64),
    )
    loss = (outputs**3).sum()
    loss.backward()
    assert loss.value.item() == pytest.approx(reference(u), rel=1e-13)
    np.testing.assert_allclose(weights.gradient, grad(reference)(u), rtol=1e-11)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_truncated_gradients_are_those_of_stretches(length):
    """Stretches of a sequence, each starting from a state that passes no gradient."""
    x, u, h = parameters((7, 3), (3, 3), (3,))

    def body(h, x):
        h = (h.dot(u) + x).tanh()
        return h, h

    outputs, final = wp.scan(body, x, h, truncate=length)
    loss = telling(outputs) + telling(final)
    state, parts = h, []
    for start in range(0, 7, length):
        held = state if start == 0 else state.stop_gradient()
        part, state = wp.scan(body, x[start : start + length], held)
        parts.append(part)
    joined = parts[0].concatenate(*parts[1:], axis=0) if len(parts) > 1 else parts[0]
    expected = telling(joined) + telling(state)
    assert loss.value.item() == pytest.approx(expected.value.item(), rel=1e-12)
    for node in (x, u, h):
        np.testing.assert_allclose(
            wp.gradient(loss, node).value,
            wp.gradient(expected, node).value,
            rtol=1e-11,
            atol=1e-13,
        )
    nodes = [x, u, h]
    _, taken = updates(plain_step(loss, wp.SGD(1.0)), nodes)
    for node, one in zip(nodes, taken, strict=True):
        expected = wp.gradient(loss, node).value
        np.testing.assert_allclose(one, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ragged", [False, True])
def test_truncation_of_a_reversed_loop_is_that_of_the_reversed_sequence(ragged):
    """Row numbers as the sequence; 5 steps: the last would be a multiple of two."""
    table, u, h = parameters((6, 3), (3, 3), (3,))

    def body(h, row):
        h = (h.dot(u) + table.index(row)).tanh()
        return h, h

    def loss(numbers, reverse):
        rows = wp.IndexInputNode(numbers, capacity=5)
        outputs, final = wp.scan(
            body,
            rows,
            h,
            ragged=rows if ragged else None,
            reverse=reverse,
            truncate=2,
        )
        return outputs.square().sum() + telling(final)

    back, forth = loss([1, 4, 0, 5, 1], True), loss([1, 5, 0, 4, 1], False)
    nodes = [table, u, h]
    for node in nodes:
        np.testing.assert_allclose(
            wp.gradient(back, node).value, wp.gradient(forth, node).value, rtol=1e-12
        )
    assert np.abs(wp.gradient(back, h).value).min() > 0
    _, taken = updates(plain_step(back, wp.SGD(1.0)), nodes)
    for node, one in zip(nodes, taken, strict=True):
        np.testing.assert_allclose(
            one, wp.gradient(back, node).value, rtol=1e-9, atol=1e-12
        )


# -- lengths --------------------------------------------------------------------


def ragged_model(dtype=np.float64):
    table, u, h = parameters((9, 3), (3, 3), (3,), dtype=dtype)
    rows = wp.IndexInputNode([0], capacity=8)
    outputs, final = wp.scan(
        lambda h, x: ((h.dot(u) + x).tanh(),) * 2, table.index(rows), h, ragged=rows
    )
    return telling(final), rows, outputs, final, [table, u, h]


def test_a_ragged_sequence_may_have_another_length_each_time_and_be_empty():
    loss, rows, outputs, final, (_, u, h) = ragged_model()
    for given in ([4], [1, 2, 3, 1, 5], [], [8, 8]):
        rows.set_value(given)
        loss.forward()
        assert outputs.shape == (len(given), 3)
        assert final.shape == (1, 3)
        if not given:
            np.testing.assert_array_equal(final.value[0], h.value)
        loss.backward()
        expected = dense(u.gradient)
        step = plain_step(loss, wp.SGD(1.0), [u])
        _, (taken,) = updates(step, [u])
        np.testing.assert_allclose(taken, expected, rtol=1e-9, atol=1e-12)
        loss.zero_gradient()


def test_one_text_serves_sequences_of_any_length():
    def source(length):
        x = wp.InputNode(np.zeros((length, 3)))
        u, h = parameters((3, 3), (3,), dtype=np.float32)
        _, final = wp.scan(lambda h, x: ((h.dot(u) + x).tanh(), h), x, h)
        lines = wp.compile(telling(final), wp.SGD(0.1)).source.splitlines()
        return [line for line in lines if not line.lstrip().startswith("#")]

    assert source(5) == source(500)


def test_a_ragged_batch_equals_its_sequences_one_by_one():
    histories = [[1, 2, 3], [], [4], [5, 5, 8, 0], [2, 7]]
    results = []
    for batch_size in (None, 5, 2):
        generator = np.random.default_rng(2)
        table = wp.ParameterNode(generator.standard_normal((9, 3)), np.float64)
        u = wp.ParameterNode(generator.standard_normal((3, 3)), np.float64)
        h = wp.ParameterNode(generator.standard_normal(3), np.float64)
        rows = wp.IndexInputNode([0], capacity=8)
        _, final = wp.scan(
            lambda h, x, u=u: ((h.dot(u) + x).tanh(),) * 2,
            table.index(rows),
            h,
            ragged=rows,
        )
        loss = final.square().sum(axis=-1)
        values = wp.evaluate(final, {rows: histories}, batch_size=batch_size)
        for engine in ("native", "numpy"):
            before = [node.value.copy() for node in (table, u, h)]
            wp.fit(
                loss,
                wp.SGD(1e-9),  # steps too small for one to be seen by the next
                {rows: histories},
                batch_size=batch_size,
                shuffle=False,
                engine=engine,
                progress=False,
            )
            nodes = (table, u, h)
            taken = [b - n.value for b, n in zip(before, nodes, strict=True)]
            results.append([values.reshape(5, 3), *taken])
            for node, value in zip(nodes, before, strict=True):
                node.set_value(value)
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_allclose(one, same, rtol=1e-5, atol=1e-14)


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_sequences_train_in_batches(engine):
    generator = np.random.default_rng(4)
    xs = generator.standard_normal((64, 6, 3)).astype(np.float32)
    target = xs.sum(axis=(1, 2), keepdims=False)[:, None].astype(np.float32)
    x = wp.InputNode(np.zeros((2, 6, 3)))
    y = wp.InputNode(np.zeros((2, 1)))
    lstm = wp.nn.LSTM(3, 8, random_state=0)
    head = wp.nn.Dense(8, 1, random_state=1)
    _, (h, _) = lstm(x)
    loss = (head(h) - y).square().mean()
    history = wp.fit(
        loss,
        wp.Adagrad(0.1),
        {x: xs, y: target},
        epochs=20,
        batch_size=16,
        random_state=0,
        engine=engine,
        progress=False,
    )
    assert history.losses[-1] < 0.3 * history.losses[0]


def test_workers_share_a_loop():
    histories = [list(range(k % 8)) for k in range(200)]
    for engine, backend in (("native", "processes"), ("numpy", "threads")):
        loss, rows, _, _, (_, u, _) = ragged_model(np.float32)
        before = u.value.copy()
        history = wp.fit(
            loss,
            wp.SGD(0.01),
            {rows: histories},
            epochs=2,
            n_jobs=2,
            backend=backend,
            engine=engine,
            callbacks=[together],
            shuffle=False,
            progress=False,
        )
        assert history.workers == 2
        assert history.losses[1] < history.losses[0]
        assert not np.array_equal(before, u.value)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_step_cut_into_functions_is_the_whole_step(batch_size, monkeypatch):
    """Its pieces have lengths of their own: of the batch, and of batch times T."""
    results = []
    for most in (10**6, 9):
        monkeypatch.setattr(source, "MOST_LOOPS", most)
        monkeypatch.setattr(source, "PIECE_LOOPS", most)
        monkeypatch.setattr(run, "bind", partial(run.bind, compiled=False))
        x = wp.IndexInputNode(np.zeros((2, 4), int))
        label = wp.IndexInputNode(np.zeros((2, 4), int))
        if batch_size is None:
            x, label = (wp.IndexInputNode(np.zeros(4, int)) for _ in range(2))
        embedding = wp.nn.Embedding(5, 3, random_state=0)
        gru = wp.nn.GRU(3, 4, random_state=1)
        head = wp.nn.Dense(4, 5, random_state=2)
        loss = wp.nn.losses.cross_entropy(head(gru(embedding(x))[0]), label)
        codes = np.random.default_rng(0).integers(0, 5, (7, 4))
        wp.fit(
            loss,
            wp.SGD(0.1),
            {x: codes, label: codes},
            batch_size=batch_size,
            random_state=0,
            progress=False,
        )
        results.append([node.value for node in loss.parameters()])
    for whole, cut in zip(*results, strict=True):
        np.testing.assert_allclose(cut, whole, rtol=2e-6, atol=1e-7)


# -- values, draws, copies ------------------------------------------------------


def test_the_body_sees_values_of_the_first_step():
    seen = []

    def body(h, x):
        seen.append((h.value.copy(), x.value.copy()))
        return h + x, h

    wp.scan(body, wp.InputNode([[1.0, 2.0], [3.0, 4.0]]), wp.InputNode([10.0, 20.0]))
    (h, x) = seen[0]
    assert len(seen) == 1
    np.testing.assert_array_equal(h, [10, 20])
    np.testing.assert_array_equal(x, [1, 2])


def test_draws_differ_from_step_to_step_and_agree_between_engines():
    x = wp.InputNode(np.ones((6, 50)), np.float64)
    h = wp.ParameterNode(np.zeros(50), np.float64)

    def body(h, x):
        h = h + x.dropout(0.5)
        return h, h

    outputs, final = wp.scan(body, x, h)
    drawn = np.diff(outputs.value, axis=0, prepend=0)
    assert set(np.unique(drawn)) == {0.0, 2.0}
    assert len({row.tobytes() for row in drawn}) == 6
    losses = [
        wp.fit(
            (final * np.arange(50.0)).sum(),
            wp.SGD(0.1),
            {x: np.ones((3, 6, 50))},
            engine=engine,
            random_state=3,
            shuffle=False,
            progress=False,
        ).losses
        for engine in ("native", "numpy")
        if h.set_value(0.0) is None
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_what_does_not_vary_is_computed_before_the_loop():
    x, h = wp.InputNode(np.ones((4, 2))), wp.InputNode(np.zeros(2))
    w = wp.ParameterNode(np.ones((2, 2)))
    _, final = wp.scan(lambda h, x: (h + x.dot((w * 2.0).exp()), h), x, h)
    source = wp.compile(final.sum(), wp.SGD(0.1)).source
    loop = source.index("in the loop")
    assert source.index("exp(") < loop


def test_outputs_that_are_views_may_be_reshaped():
    x, h = parameters((2, 3), (3,))

    def body(h, x):
        h = (h + x).tanh()
        return h, h[::-1]

    outputs, _ = wp.scan(body, x, h)
    loss = (outputs.reshape(-1) * np.arange(6.0)).sum()
    mean, taken = updates(plain_step(loss, wp.SGD(1.0)), [x, h])
    assert mean == pytest.approx(loss.value.item(), rel=1e-14)
    for node, one in zip((x, h), taken, strict=True):
        np.testing.assert_allclose(one, wp.gradient(loss, node).value, rtol=1e-14)


@pytest.mark.parametrize("turned", ["reversed", "transposed", "ragged", "swapped"])
def test_a_state_may_be_itself_in_another_order(turned):
    """Its memory is written while it is read."""
    x, h = parameters((3, 4), (4,))
    m, table = parameters((3, 3), (5, 4))
    if turned == "reversed":
        o, f = wp.scan(lambda s, e: (s[::-1], s * e), x, h)
    elif turned == "transposed":
        o, f = wp.scan(lambda s, e: (s.t(), s * e.sum()), x, m)
    elif turned == "ragged":
        rows = wp.IndexInputNode([1, 2, 0], capacity=5)
        o, f = wp.scan(lambda s, e: (s[::-1], s * table.index(e)), rows, h, ragged=rows)
    else:
        o, (f, _) = wp.scan(
            lambda s, e: ((s[1][::-1], s[0]), s[0] * e), x, (h, h * 2.0)
        )
    loss = telling(o) + telling(f)
    nodes = loss.parameters()
    mean, taken = updates(plain_step(loss, wp.SGD(1.0)), nodes)
    assert mean == pytest.approx(loss.value.item(), rel=1e-12)
    for node, one in zip(nodes, taken, strict=True):
        np.testing.assert_allclose(one, wp.gradient(loss, node).value, rtol=1e-12)


def test_a_loop_pickles_without_the_graph_around_it():
    _, nodes = rnn()
    big = wp.ParameterNode(np.zeros((1000, 1000)))
    x = nodes[0]
    outputs, _ = wp.scan(
        lambda h, x: ((h + x + big[0, :3]).tanh(), h),
        x,
        wp.InputNode(np.zeros(3), np.float64),
    )
    assert len(pickle.dumps(outputs.op)) < 100_000


# -- wrong use ------------------------------------------------------------------


def plain(h, x):
    return h, h


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x, h: wp.scan(plain, [], h), errors.GraphError, "at least one"),
        (lambda x, h: wp.scan(plain, 3, h), errors.GraphError, "sequence"),
        (lambda x, h: wp.scan(plain, x, 3.0), errors.GraphError, "initial"),
        (lambda x, h: wp.scan(lambda h, x: h, x, h), errors.GraphError, "two things"),
        (lambda x, h: wp.scan(lambda h, x: (3, h), x, h), errors.GraphError, "state"),
        (lambda x, h: wp.scan(lambda h, x: (h, 3), x, h), errors.GraphError, "output"),
        (
            lambda x, h: wp.scan(lambda h, x: ((h, h), h), x, h),
            errors.GraphError,
            "as many states",
        ),
        (
            lambda x, h: wp.scan(lambda h, x: (h.concatenate(h), h), x, h),
            errors.ShapeError,
            "state as it was given",
        ),
        (lambda x, h: wp.scan(plain, x, h, axis=2), errors.ShapeError, "axis 2"),
        (lambda x, h: wp.scan(plain, x, h, axis=1.0), errors.SettingError, "axis"),
        (
            lambda x, h: wp.scan(plain, x, h, truncate=0),
            errors.SettingError,
            "truncate",
        ),
        (lambda x, h: wp.scan(plain, x, h, ragged=x), errors.GraphError, "ragged"),
        (
            lambda x, h: wp.scan(plain, x, wp.IndexInputNode([1])),
            errors.DTypeError,
            "floats",
        ),
        (
            lambda x, h: wp.scan(lambda s, e: (s, wp.InputNode(np.ones(2))), x, h),
            errors.GraphError,
            "same in every step",
        ),
    ],
)
def test_wrong_use_is_told(call, error, says):
    x, h = wp.InputNode(np.ones((4, 2))), wp.InputNode(np.zeros(2))
    with pytest.raises(error, match=says):
        call(x, h)


def test_sequences_of_different_lengths_are_told():
    x, y = wp.InputNode(np.ones((4, 2))), wp.InputNode(np.ones((3, 2)))
    with pytest.raises(errors.ShapeError, match="one length"):
        wp.scan(lambda h, s: (h + s[0] * s[1], h), (x, y), wp.InputNode(np.zeros(2)))


def test_row_numbers_that_a_body_looks_up_are_checked():
    table = wp.ParameterNode(np.ones((5, 2)))
    rows = wp.IndexInputNode([0, 1, 4])
    _, final = wp.scan(
        lambda h, r: (h + table.index(r), h), rows, wp.ParameterNode(np.zeros(2))
    )
    step = wp.compile(final.sum(), wp.SGD(0.1))
    before = table.value.copy()
    rows.set_value([0, 5, 1])
    with pytest.raises(errors.IndexRangeError, match="5"):
        step()
    np.testing.assert_array_equal(before, table.value)
    with pytest.raises(errors.IndexRangeError):
        wp.fit(final.sum(), wp.SGD(0.1), {rows: [[0, 1, 7]]}, progress=False)
