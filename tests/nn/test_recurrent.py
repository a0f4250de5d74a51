"""Recurrent cells and layers: against their formulas, written out in NumPy."""

import numpy as np
import pytest
from nn.checks import check_gradients, dense, draw
from scipy.special import expit
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py import nn
from wyrm_py.errors import GraphError, SettingError, ShapeError

INPUTS, HIDDEN = 3, 4

# -- the formulas: (cell, states, x) -> states; the first of them is the output --------


def gates(cell, h, x, count):
    """Return x W + h U + b of each gate."""
    total = x @ cell.input_weight.value + h @ cell.hidden_weight.value + cell.bias.value
    return np.split(total, count, axis=-1)


def rnn(cell, states, x):
    (total,) = gates(cell, states[0], x, 1)
    return (np.tanh(total),)


def gru(cell, states, x):
    (h,) = states
    r, z, _ = map(expit, gates(cell, h, x, 3))
    weights = cell.input_weight.value, cell.hidden_weight.value, cell.bias.value
    w, u, b = (np.split(value, 3, axis=-1)[2] for value in weights)
    n = np.tanh(x @ w + b + r * (h @ u + cell.candidate_bias.value))
    return ((1 - z) * n + z * h,)


def simple_gru(cell, states, x):
    (h,) = states
    a, f = map(expit, gates(cell, h, x, 2))
    return (a * h + (1 - a) * f,)


def lstm(cell, states, x):
    h, c = states
    f, i, g, o = gates(cell, h, x, 4)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


def coupled(cell, states, x):
    h, c = states
    f, g, o = gates(cell, h, x, 3)
    c = expit(f) * c + (1 - expit(f)) * np.tanh(g)
    return expit(o) * np.tanh(c), c


KINDS = {
    "RNN": (nn.RNN, nn.RNNCell, {}, rnn),
    "GRU": (nn.GRU, nn.GRUCell, {}, gru),
    "SimpleGRU": (nn.SimpleGRU, nn.SimpleGRUCell, {}, simple_gru),
    "LSTM": (nn.LSTM, nn.LSTMCell, {}, lstm),
    "coupled LSTM": (nn.LSTM, nn.LSTMCell, {"coupled": True}, coupled),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def varied(layer):
    """Return a layer all of whose parameters differ from zero and from each other."""
    for seed, node in enumerate(layer.named_parameters().values()):
        node.set_value(draw(node.shape, seed, -0.8, 0.8))
    return layer


def make_cell(kind, **settings):
    _, cell, given, _ = KINDS[kind]
    return varied(cell(INPUTS, HIDDEN, **given, **settings, dtype=np.float64))


def make_layer(kind, hidden=HIDDEN, **settings):
    layer, _, given, _ = KINDS[kind]
    return varied(layer(INPUTS, hidden, **given, **settings, dtype=np.float64))


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def values(state):
    """Return the values of a state, of a stack too, in one list."""
    if isinstance(state, wp.Node):
        return [state.value]
    return [value for part in state for value in values(part)]


def run(kind, cell, x, start):
    """Return outputs (..., T, H) and final states of the formula over (..., T, D)."""
    states, outputs = start, []
    for t in range(x.shape[-2]):
        states = KINDS[kind][3](cell, states, x[..., t, :])
        outputs.append(states[0])
    return np.stack(outputs, axis=-2), states


# -- values and gradients --------------------------------------------------------


@kinds
@pytest.mark.parametrize("batch", [(), (1,), (2,)], ids=str)
def test_a_cell_is_its_formula(kind, batch):
    cell, x = make_cell(kind), draw((*batch, INPUTS), 90)
    count = len(as_tuple(cell.start()))
    before = [draw((*batch, HIDDEN), 91 + k, -1, 1) for k in range(count)]
    nodes = tuple(wp.ParameterNode(value, np.float64) for value in before)
    wide = wp.ParameterNode(x, np.float64)

    def step():
        return cell(nodes if count > 1 else nodes[0], wide)

    state, output = step()
    expected = KINDS[kind][3](cell, before, x)
    for found, wanted in zip(as_tuple(state), expected, strict=True):
        np.testing.assert_allclose(found.value, wanted, rtol=1e-12)
    np.testing.assert_allclose(output.value, expected[0], rtol=1e-12)
    check_gradients(
        lambda: as_tuple(step()[0])[-1] + step()[1].square(),
        [*cell.parameters(), wide, *nodes],
    )


@kinds
@pytest.mark.parametrize("shape", [(1, 3), (5, 3), (2, 4, 3), (2, 1, 3, 3)], ids=str)
def test_a_layer_is_its_formula_step_by_step_from_zeros(kind, shape):
    layer, x = make_layer(kind), draw(shape, 90)
    outputs, final = layer(wp.InputNode(x, np.float64))
    count = len(as_tuple(final))
    zeros = [np.zeros((*shape[:-2], HIDDEN))] * count
    expected, states = run(kind, layer.cells[0], x, zeros)
    np.testing.assert_allclose(outputs.value, expected, rtol=1e-12)
    assert outputs.shape == (*shape[:-1], HIDDEN)
    for found, wanted in zip(as_tuple(final), states, strict=True):
        np.testing.assert_allclose(found.value, wanted, rtol=1e-12)


@kinds
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 3)], ids=str)
def test_gradients_of_a_stack_with_learned_states_agree_with_differences(kind, shape):
    layer = make_layer(kind, [HIDDEN, 2], learn_initial=True)
    x = wp.ParameterNode(draw(shape, 90), np.float64)

    def both():
        outputs, final = layer(x)
        last = final[-1][-1] if isinstance(final[-1], tuple) else final[-1]
        return outputs.square().sum(-2) + last

    check_gradients(both, [*layer.parameters(), x])


def test_finite_difference_checks_a_layer():
    layer = make_layer("LSTM", learn_initial=True)
    loss = layer(wp.InputNode(draw((3, INPUTS), 90), np.float64))[0].square().sum()
    for node in layer.parameters():
        numeric, analytic = wp.finite_difference(node, loss)
        np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-9)


@kinds
def test_a_stack_is_its_cells_one_after_the_other(kind):
    layer = make_layer(kind, [4, 2, 3])
    x = wp.InputNode(draw((2, 5, INPUTS), 90), np.float64)
    outputs, final = layer(x)
    for cell, state in zip(layer.cells, final, strict=True):
        count = len(as_tuple(state))
        zeros = [np.zeros((2, cell.hidden))] * count
        expected, states = run(kind, cell, x.value, zeros)
        for found, wanted in zip(values(state), states, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
        x = wp.InputNode(expected, np.float64)
    np.testing.assert_allclose(outputs.value, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_cell_may_be_the_body_of_a_loop_of_ones_own(kind):
    layer, x = make_layer(kind, learn_initial=True), draw((2, 5, INPUTS), 90)
    node, cell = wp.InputNode(x, np.float64), layer.cells[0]

    def body(state, x):
        state, output = cell(state, x)
        return state, (output, output.sum(-1))

    (outputs, sums), final = wp.scan(body, node, cell.start(node), axis=1)
    expected, last = layer(node)
    np.testing.assert_allclose(outputs.value, expected.value, rtol=1e-12)
    np.testing.assert_allclose(sums.value, expected.value.sum(-1), rtol=1e-12)
    np.testing.assert_allclose(values(final), values(last), rtol=1e-12)
    check_gradients(
        lambda: wp.scan(body, node, cell.start(node), axis=1)[0][0], layer.parameters()
    )


def test_a_sequence_of_201_steps_runs_forwards_and_backwards():
    layer, x = make_layer("LSTM"), draw((201, INPUTS), 90)
    zeros = [np.zeros(HIDDEN)] * 2
    wide = wp.ParameterNode(x, np.float64)
    expected, _ = run("LSTM", layer.cells[0], x, zeros)
    np.testing.assert_allclose(layer(wide)[0].value, expected, rtol=1e-10)
    check_gradients(lambda: layer(wide)[0], [*layer.parameters(), wide])


# -- gates -----------------------------------------------------------------------


def with_biases(kind, *biases):
    """Return a cell whose gates depend on their biases alone."""
    cell = make_cell(kind)
    for node in cell.parameters():
        node.set_value(np.zeros(node.shape))
    cell.bias.set_value(np.repeat(np.array(biases, float), HIDDEN))
    return cell


OPEN, SHUT = 50.0, -50.0


@pytest.mark.parametrize(
    ("biases", "wanted"),
    [
        ((OPEN, SHUT, OPEN, OPEN), 0.7),  # kept
        ((SHUT, SHUT, OPEN, OPEN), 0.0),  # forgotten: a tanh would turn its sign
        ((OPEN, OPEN, OPEN, OPEN), 1.7),
        ((OPEN, OPEN, SHUT, OPEN), -0.3),  # a logistic candidate would add nothing
    ],
)
def test_gates_of_an_lstm_are_logistic_and_its_candidate_is_a_tanh(biases, wanted):
    cell = with_biases("LSTM", *biases)
    state = (
        wp.InputNode(np.zeros(HIDDEN), "f8"),
        wp.InputNode(np.full(HIDDEN, 0.7), "f8"),
    )
    (_, c), output = cell(state, wp.InputNode(np.ones(INPUTS), "f8"))
    np.testing.assert_allclose(c.value, wanted, atol=1e-12)
    np.testing.assert_allclose(output.value, np.tanh(wanted), atol=1e-12)


@pytest.mark.parametrize(
    ("biases", "wanted"),
    [
        ((OPEN, OPEN, 0.0), 0.7),  # the update gate keeps the state
        ((OPEN, SHUT, SHUT), -1.0),
        ((OPEN, SHUT, 0.0), np.tanh(0.4)),  # the candidate's own bias
        ((SHUT, SHUT, 0.0), 0.0),  # reset
    ],
)
def test_gates_of_a_gru_keep_reset_and_renew(biases, wanted):
    cell = with_biases("GRU", *biases)
    cell.candidate_bias.set_value(np.full(HIDDEN, 0.4))
    state, x = wp.InputNode(np.full(HIDDEN, 0.7), "f8"), np.ones(INPUTS)
    _, output = cell(state, wp.InputNode(x, "f8"))
    np.testing.assert_allclose(output.value, wanted, atol=1e-12)


# -- states ----------------------------------------------------------------------


@kinds
def test_two_halves_with_the_state_carried_equal_the_whole(kind):
    layer, x = make_layer(kind, [4, 2], learn_initial=True), draw((2, 7, INPUTS), 90)
    whole, last = layer(wp.InputNode(x, np.float64))
    first, middle = layer(wp.InputNode(x[:, :3], np.float64))
    second, final = layer(wp.InputNode(x[:, 3:], np.float64), initial=middle)
    joined = np.concatenate([first.value, second.value], axis=1)
    np.testing.assert_allclose(joined, whole.value, rtol=1e-12)
    for found, wanted in zip(values(final), values(last), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_gradients_flow_through_a_carried_state():
    layer, x = make_layer("LSTM"), wp.ParameterNode(draw((6, INPUTS), 90), np.float64)

    def halves():
        _, middle = layer(x[:3])
        return layer(x[3:], initial=middle)[0][-1]

    layer(x)[0][-1].sum().backward()
    whole = x.gradient.copy()
    x.zero_gradient()
    halves().sum().backward()
    np.testing.assert_allclose(x.gradient, whole, rtol=1e-12)
    assert np.abs(whole[:3]).min() > 0


@kinds
def test_initial_states_are_learned_if_asked_for(kind):
    fixed, learned = make_layer(kind), make_layer(kind, learn_initial=True)
    x = wp.InputNode(draw((2, 4, INPUTS), 90), np.float64)
    assert fixed.cells[0].initial is None
    assert not np.any(values(fixed.start()))
    outputs, final = learned(x)
    starts = learned.cells[0].initial
    assert len(starts) == len(as_tuple(final)) == len(values(learned.start(x)))
    repeated = [np.tile(node.value, (2, 1)) for node in starts]
    np.testing.assert_array_equal(values(learned.start(x)), repeated)
    expected, _ = run(kind, learned.cells[0], x.value, repeated)
    np.testing.assert_allclose(outputs.value, expected, rtol=1e-12)
    before = [node.value.copy() for node in starts]
    outputs.sum().backward()
    wp.SGD(0.1).step(learned.parameters())
    for node, value in zip(starts, before, strict=True):
        assert (node.value != value).all()
    new = type(learned)(INPUTS, HIDDEN, learn_initial=True)
    assert not np.any(values(new.start()))  # they begin as zeros


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_reversed_is_the_sequence_turned_round(kind):
    layer, x = make_layer(kind, [4, 2]), draw((2, 5, INPUTS), 90)
    backwards, last = layer(wp.InputNode(x, np.float64), reverse=True)
    turned, final = layer(wp.InputNode(x[:, ::-1], np.float64))
    np.testing.assert_allclose(backwards.value[:, ::-1], turned.value, rtol=1e-12)
    for found, wanted in zip(values(last), values(final), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def side_by_side(states):
    """Return the states of a stack as one node, (..., width of all)."""
    first, *others = (part for state in states for part in as_tuple(state))
    return first.concatenate(*others, axis=-1)


@kinds
def test_a_ragged_batch_equals_its_sequences_one_by_one(kind):
    layer = make_layer(kind, [4, 2], learn_initial=True)
    table = wp.ParameterNode(draw((6, INPUTS), 90), np.float64)
    nodes, lists = [table, *layer.parameters()], [[1, 4, 0, 5], [], [2, 2]]
    alone = [layer(table.index(wp.IndexInputNode(r)))[1] for r in lists if r]
    alone.insert(1, layer.start())  # nothing is read
    alone = [side_by_side(states) for states in alone]
    for node in alone:
        node.square().sum().backward()
    expected = [dense(node.gradient) for node in nodes]
    values_alone = [node.value for node in alone]

    rows = wp.IndexInputNode([0], capacity=4)
    final = side_by_side(layer(table.index(rows), ragged=rows)[1])
    before = [node.value.copy() for node in nodes]
    if kind in ("GRU", "LSTM"):
        found = wp.evaluate(final, {rows: lists}, batch_size=3)
        np.testing.assert_allclose(found, values_alone, rtol=1e-9)
    history = wp.fit(
        final.square().sum(-1),
        wp.SGD(1.0),
        {rows: lists},
        batch_size=3,
        engine="numpy",
        progress=False,
    )
    assert history.losses[0] == pytest.approx(np.square(values_alone).sum() / 3)
    for node, value, wanted in zip(nodes, before, expected, strict=True):
        np.testing.assert_allclose(value - node.value, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_truncated_gradients_are_those_of_stretches_with_a_given_state(kind):
    layer, x = make_layer(kind), draw((7, INPUTS), 90)
    outputs, _ = layer(wp.InputNode(x, np.float64), truncate=3)
    outputs.square().sum().backward()
    truncated = [node.gradient.copy() for node in layer.parameters()]
    for node in layer.parameters():
        node.zero_gradient()
    state = None
    for start in (0, 3, 6):
        part = wp.InputNode(x[start : start + 3], np.float64)
        found, final = layer(part, initial=state)
        np.testing.assert_allclose(outputs.value[start : start + 3], found.value)
        found.square().sum().backward()
        held = tuple(wp.InputNode(v, np.float64) for v in values(final))
        state = held if len(held) > 1 else held[0]
    for node, wanted in zip(layer.parameters(), truncated, strict=True):
        np.testing.assert_allclose(node.gradient, wanted, rtol=1e-9, atol=1e-12)


# -- as layers -------------------------------------------------------------------


@kinds
def test_a_copy_has_the_same_matrices_and_is_independent(kind):
    layer = make_layer(kind, [4, 4], learn_initial=True)
    x = wp.InputNode(draw((5, INPUTS), 90), np.float64)
    before = layer(x)[0].value.copy()
    held = {name: n.value.copy() for name, n in layer.named_parameters().items()}
    copied = layer.copy()
    np.testing.assert_array_equal(copied(x)[0].value, before)
    for name, node in copied.named_parameters().items():
        np.testing.assert_array_equal(node.value, held[name])
    copied(x)[0].sum().backward()
    wp.SGD(0.1).step(copied.parameters())
    for name, node in copied.named_parameters().items():
        assert (node.value != held[name]).any(), name
    for name, node in layer.named_parameters().items():
        np.testing.assert_array_equal(node.value, held[name])
    np.testing.assert_array_equal(layer(x)[0].value, before)


@pytest.mark.parametrize(
    ("kind", "gates"), list(zip(KINDS, [1, 3, 2, 4, 3], strict=True)), ids=str
)
def test_shapes_names_and_first_values_of_the_parameters(kind, gates):
    layer, _, given, _ = KINDS[kind]
    made, again = (layer(9, [16, 4], random_state=1, **given) for _ in range(2))
    named = made.named_parameters()
    own = ["candidate_bias"] if kind == "GRU" else []
    parts = ["input_weight", "hidden_weight", "bias", *own]
    assert list(named) == [f"cells.{k}.{part}" for k in (0, 1) for part in parts]
    assert named["cells.1.input_weight"].shape == (16, 4 * gates)
    assert named["cells.0.hidden_weight"].shape == (16, 16 * gates)
    assert named["cells.0.bias"].shape == (16 * gates,)
    for name, node in again.named_parameters().items():
        assert node.dtype == np.float32
        np.testing.assert_array_equal(node.value, named[name].value)
        bound = 0.25 if name.startswith("cells.0") else 0.5  # 1 / sqrt(hidden)
        assert np.abs(node.value).max() <= bound
        if name.endswith("weight"):
            assert np.abs(node.value).max() > 0.9 * bound
    ones = layer(9, 4, initialiser=nn.initialisers.ones, **given).cells[0]
    assert ones.input_weight.value.min() == ones.bias.value.min() == 1


def test_the_native_step_computes_what_numpy_computes():
    made = nn.GRU(3, 5, learn_initial=True, random_state=0)
    loss = made(wp.InputNode(draw((2, 6, 3), 90)))[0].square().mean()
    optimizer, nodes = wp.SGD(0.5), made.parameters()
    expected, taken = updates(lambda: numpy_step(loss, optimizer), nodes)
    for step in (plain_step(loss, optimizer), wp.compile(loss, optimizer)):
        value, found = updates(step, nodes)
        assert value == pytest.approx(expected, rel=1e-5)
        for one, wanted in zip(found, taken, strict=True):
            np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-6)


# -- errors ----------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("hidden", [0, -1, [], [4, 0], 2.5], ids=str)
def test_impossible_widths_are_told(kind, hidden):
    layer, _, given, _ = KINDS[kind]
    with pytest.raises(SettingError, match=f"{layer.__name__}.*(hidden|at least 1)"):
        layer(3, hidden, **given)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: nn.GRU(0, 4), SettingError, r"GRU.*\(0, 4\)"),
        (lambda: nn.GRU(3, 4)(wp.InputNode(np.zeros(3))), ShapeError, r"GRU.*\(3,\)"),
        (
            lambda: nn.LSTM(3, 4)(wp.InputNode(np.zeros((5, 2)))),
            ShapeError,
            r"LSTM.*length 3.*\(5, 2\)",
        ),
        (
            lambda: nn.RNNCell(3, 4)(
                wp.InputNode(np.zeros(4)), wp.InputNode(np.zeros(2))
            ),
            ShapeError,
            r"RNNCell.*length 3.*\(2,\)",
        ),
        (
            lambda: nn.RNN(3, [4, 4])(
                wp.InputNode(np.zeros((5, 3))), initial=[wp.InputNode(np.zeros(4))]
            ),
            ShapeError,
            "RNN.*each of its 2 cells",
        ),
        (
            lambda: nn.RNN(3, [4, 4])(
                wp.InputNode(np.zeros((5, 3))), initial=wp.InputNode(np.zeros(4))
            ),
            ShapeError,
            "RNN.*2 cells",
        ),
        (
            lambda: nn.LSTM(3, 4)(
                wp.InputNode(np.zeros((5, 3))), initial=wp.InputNode(np.zeros(4))
            ),
            ShapeError,
            "LSTMCell.*2 nodes",
        ),
        (
            lambda: nn.GRU(3, 4)(
                wp.InputNode(np.zeros((5, 3))), initial=wp.InputNode(np.zeros(3))
            ),
            ShapeError,
            "GRUCell.*length 4",
        ),
        (
            lambda: nn.GRU(3, 4)(wp.InputNode(np.zeros((5, 3))), truncate=0),
            SettingError,
            "truncate",
        ),
        (
            lambda: nn.GRU(3, 4)(wp.InputNode(np.zeros((5, 3))), ragged=3),
            GraphError,
            "ragged",
        ),
    ],
)
def test_wrong_use_is_told(call, error, says):
    with pytest.raises(error, match=says):
        call()
