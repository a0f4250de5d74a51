"""Encoders and losses of sequence models against loops in NumPy."""

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.models.learned import grown, require_shapes
from wyrm_py.models.runs import history_rows, last_items, replaced
from wyrm_py.models.sequence import ENCODERS, LOSSES, PACE, Search, SequenceModel

ITEMS, WIDTH = 12, 4
HISTORY = [3, 1, 4, 1, 5, 9]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def ewma(p, events):
    s, states = p["start"], []
    for x in events:
        states.append(s)
        s = sigmoid(p["keep"]) * s + (1 - sigmoid(p["keep"])) * x
    return states, s


def pooling(p, events):
    totals = np.cumsum([p["start"], *events], axis=0)
    means = totals / np.arange(1, len(totals) + 1)[:, None]
    return means[:-1], means[-1]


def gru(p, events):
    w, u, b, n_bias = (
        PACE * p[f"cell.{name}"]
        for name in ("input_weight", "hidden_weight", "bias", "candidate_bias")
    )
    h, states = np.zeros(WIDTH), []
    for x in events:
        states.append(h)
        xr, xz, xn = np.split(x @ w + b, 3)
        hr, hz, hn = np.split(h @ u, 3)
        candidate = np.tanh(xn + sigmoid(xr + hr) * (hn + n_bias))
        z = sigmoid(xz + hz)
        h = (1 - z) * candidate + z * h
    return states, h


def lstm(p, events, coupled=False):
    w, u, b = (
        PACE * p[f"cell.{name}"] for name in ("input_weight", "hidden_weight", "bias")
    )
    h, c, states = np.zeros(WIDTH), np.zeros(WIDTH), []
    for x in events:
        states.append(h)
        gates = np.split(x @ w + h @ u + b, 3 if coupled else 4)
        forget, given = sigmoid(gates[0]), gates[1:-2]
        take = 1 - forget if coupled else sigmoid(given[0])
        c = forget * c + take * np.tanh(gates[-2])
        h = sigmoid(gates[-1]) * np.tanh(c)
    return states, h


def coupled_lstm(p, events):
    return lstm(p, events, coupled=True)


def model_of(name, coupled=False):
    rng = np.random.default_rng(1)
    encoder = ENCODERS[name](WIDTH, rng, coupled)
    model = SequenceModel(rng.standard_normal((ITEMS, WIDTH)), encoder)
    for parameter in model.parameters():  # none stays zero
        noise = rng.standard_normal(parameter.shape) * 0.3
        parameter.set_value(parameter.value + noise.astype(np.float32))
    return model


def events_of(*histories, weights=None):
    lengths = [len(history) for history in histories]
    column = RaggedColumn(np.concatenate(histories), np.cumsum([0, *lengths]))
    return history_rows(column, ITEMS, weights)


@pytest.mark.parametrize(
    ("name", "coupled", "loop"),
    [
        ("ewma", False, ewma),
        ("pooling", False, pooling),
        ("gru", False, gru),
        ("lstm", False, lstm),
        ("lstm", True, coupled_lstm),
    ],
)
def test_states_are_those_of_a_loop(name, coupled, loop):
    model = model_of(name, coupled)
    numbers = {
        k: p.value.astype(float) for k, p in model.encoder.named_parameters().items()
    }
    events = wp.SparseInputNode(events_of(HISTORY))
    states, final = model(events)
    vectors = model.items.value.astype(float)
    expected, last = loop(numbers, vectors[HISTORY])
    np.testing.assert_allclose(states.value, expected, atol=2e-6)
    np.testing.assert_allclose(final.value, last, atol=2e-6)
    ragged = [HISTORY, HISTORY[:1], HISTORY[2:]]
    native = wp.evaluate(final, {events: events_of(*ragged)})
    wanted = [loop(numbers, vectors[history])[1] for history in ragged]
    np.testing.assert_allclose(native, wanted, atol=2e-6)


def test_a_history_of_no_items_is_the_state_all_start_from():
    for name in ENCODERS:
        model = model_of(name)
        events = wp.SparseInputNode(events_of(HISTORY))
        _, final = model(events)
        none = RaggedColumn(np.array(HISTORY), [0, 0, len(HISTORY), len(HISTORY)])
        found = wp.evaluate(final, {events: history_rows(none, ITEMS)})
        start = getattr(model.encoder, "start", None)
        expected = np.zeros(WIDTH) if start is None else start.value
        np.testing.assert_allclose(found[[0, 2]], [expected] * 2, atol=1e-7)
        assert np.abs(found[1] - expected).max() > 1e-3


def test_gated_cells_begin_as_averages_of_the_events():
    rng = np.random.default_rng(0)
    events = 0.1 * rng.standard_normal((20, WIDTH))
    for name in ("gru", "lstm"):
        encoder = ENCODERS[name](WIDTH, rng, False)
        _, final = encoder(wp.InputNode(events))
        average = np.zeros(WIDTH)
        for x in events:
            average += (1 - sigmoid(2.0)) * (x - average)
        assert np.corrcoef(final.value, average)[0, 1] > 0.98, name


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_their_formulas_on_the_items_drawn(name):
    model = model_of("ewma")
    events = wp.SparseInputNode(events_of(HISTORY))
    states, _ = model(events)
    loss = LOSSES[name].graph(model, states, events.indices, Search(3, 5))
    loss.forward()
    vectors, biases = model.items.value, model.biases.value[:, 0]
    scores = states.value @ vectors.T + biases  # (T, I)
    right = scores[np.arange(len(HISTORY)), HISTORY][:, None]
    drawn = drawn_under(loss).reshape(len(HISTORY), -1)
    wrong = np.take_along_axis(scores, drawn, 1)
    margins = right - wrong
    if name == "bpr":
        expected = np.log1p(np.exp(-margins)).mean(1)
    else:
        expected = np.maximum(1 - margins, 0).max(1)
    np.testing.assert_allclose(loss.value[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert drawn.shape[1] == (1 if name == "warp" else 3)


def drawn_under(node):
    """Return what the one sampler under a node has drawn."""
    from wyrm_py.graph.order import topological_order

    (found,) = (a for a in topological_order([node]) if a.op.random)
    return found.outputs[0].value


def test_last_items_and_replacements():
    column = RaggedColumn([0, 1, 2, 3, 4, 5], [0, 3, 3, 6])
    short = last_items(column, 2)
    assert [list(short[k]) for k in range(3)] == [[1, 2], [], [4, 5]]
    new = RaggedColumn([7, 8, 9], [0, 1, 3])
    both = replaced(column, np.array([1, 4]), new, 5)
    assert [list(both[k]) for k in range(5)] == [[0, 1, 2], [7], [3, 4, 5], [], [8, 9]]


def test_more_rows_begin_with_vectors_zeros_and_the_steps_of_the_parameter():
    learned = {
        "items": np.ones((2, 3), np.float32),
        "biases": np.ones((2, 1), np.float32),
        "encoder.keep": np.ones(3, np.float32),
        "adam.m:items": np.ones((2, 3), np.float32),
        "adam.last:items": np.array([4, 7]),
        "adam.step:items": np.array(9),
    }
    longer = grown(learned, np.full((1, 3), 5, np.float32))
    assert longer["items"].tolist() == [[1] * 3, [1] * 3, [5] * 3]
    assert longer["biases"].tolist() == [[1], [1], [0]]
    assert longer["adam.m:items"].tolist() == [[1] * 3, [1] * 3, [0] * 3]
    assert longer["adam.last:items"].tolist() == [4, 7, 9]
    assert longer["encoder.keep"] is learned["encoder.keep"]
    shapes = {"items": (3, 3), "biases": (3, 1), "encoder.keep": (3,)}
    require_shapes(longer, shapes)
    for key in longer:
        with pytest.raises(ValueError, match=key):
            require_shapes({**longer, key: np.ones((4, 4))}, shapes)
