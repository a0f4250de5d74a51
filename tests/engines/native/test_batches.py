"""A graph built with one example runs with any batch, as if built with that batch."""

import numpy as np
import pytest
from stepping import numpy_step

import wyrm_py as wp
from wyrm_py.engines.native import build

N, BATCH = 7, 3
RNG = np.random.default_rng(5)
COLUMNS = {
    "x": RNG.standard_normal((N, 4)),
    "y": RNG.standard_normal((N, 2, 3)),
    "row": RNG.integers(0, 5, N),
    "rows": RNG.integers(0, 5, (N, 2)),
}


def parameters():
    rng = np.random.default_rng(6)
    shapes = {"w": (4, 3), "b": (3,), "u": (1, 3), "table": (5, 3), "bias": (5, 1)}
    return {
        name: wp.ParameterNode(rng.standard_normal(shape), np.float64, name=name)
        for name, shape in shapes.items()
    }


def leaves(examples):
    """Return input nodes built with the values of some examples."""
    return {
        "x": wp.InputNode(COLUMNS["x"][examples], np.float64, name="x"),
        "y": wp.InputNode(COLUMNS["y"][examples], np.float64, name="y"),
        "row": wp.IndexInputNode(COLUMNS["row"][examples], name="row"),
        "rows": wp.IndexInputNode(COLUMNS["rows"][examples], name="rows"),
    }


MODELS = {
    "broadcasting": lambda p, n: (n["x"].dot(p["w"]) + p["b"] * p["u"]).tanh().sum(1),
    "vector_dot with one row": lambda p, n: n["x"].dot(p["w"]).vector_dot(p["u"]),
    "squares of sums over examples": lambda p, n: (
        n["x"].dot(p["w"]).sum(0).square() + n["x"].mean() * p["u"]
    ),
    "mean over examples": lambda p, n: (
        (n["x"].dot(p["w"]) - n["x"].dot(p["w"]).mean(0)).square().mean(1)
    ),
    "maximum over examples": lambda p, n: n["x"].dot(p["w"]).max(0) * p["b"],
    "softmax and joins": lambda p, n: (
        n["x"].dot(p["w"]).concatenate(n["x"][:, 1:3], axis=1).softmax()[:, ::2]
    ),
    "rows": lambda p, n: (
        (
            p["table"].index(n["row"]).vector_dot(n["x"].dot(p["w"]))
            + p["bias"].index(n["row"])
        )
        .sigmoid()
        .ln()
    ),
    "several rows an example": lambda p, n: (
        (p["table"].index(n["rows"]) * n["y"]).sum(1).square()
        + p["table"].index(n["row"])
    ),
    "reshapes": lambda p, n: (n["y"].reshape(-1, 6)[:, :4].dot(p["w"])).reshape(-1),
    "transposes": lambda p, n: p["w"].t().dot(n["x"].t()).t().tanh() * p["u"],
}


def by_hand(model, optimizer):
    """Train on graphs built with each batch; return mean loss and parameters."""
    nodes = parameters()
    losses = []
    for begin in range(0, N, BATCH):
        examples = slice(begin, min(begin + BATCH, N))
        loss = MODELS[model](nodes, leaves(examples))
        losses.append(numpy_step(loss, optimizer) * (examples.stop - begin))
    return sum(losses) / N, nodes


def by_fit(model, optimizer, engine):
    nodes, inputs = parameters(), leaves(slice(0, 1))
    loss = MODELS[model](nodes, inputs)
    below = {id(leaf) for leaf in loss._leaves()}
    used = {leaf: COLUMNS[k] for k, leaf in inputs.items() if id(leaf) in below}
    history = wp.fit(
        loss,
        optimizer,
        used,
        batch_size=BATCH,
        shuffle=False,
        progress=False,
        engine=engine,
    )
    return history.losses[0], nodes


def check(model, engine):
    optimizer = wp.Adagrad(0.1, epsilon=1e-3)
    expected, wanted = by_hand(model, optimizer)
    found, nodes = by_fit(model, optimizer, engine)
    assert found == pytest.approx(expected, rel=1e-9)
    for name, node in nodes.items():
        np.testing.assert_allclose(
            node.value, wanted[name].value, rtol=1e-9, atol=1e-9, err_msg=name
        )


@pytest.mark.parametrize("model", MODELS)
def test_batches_give_what_graphs_of_their_size_give(model):
    check(model, "numpy")


@pytest.mark.parametrize("model", MODELS)
def test_batches_of_the_emitted_text_do_too(model, monkeypatch):
    monkeypatch.setattr(build, "load", build.run_in_python)
    check(model, "native")


@pytest.mark.parametrize("model", ["several rows an example"])
def test_batches_of_compiled_steps_do_too(model):
    check(model, "native")


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_batches_of_all_compiled_steps_do_too(model):
    check(model, "native")
