"""Which values share a loop nest: sums of rows stand where the rows are computed."""

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan

FEATURES, WIDTH = 30, 5


def _parts(width=WIDTH):
    """Return a table, a sparse leaf, and looked-up rows times stored values."""
    start = np.random.default_rng(1).standard_normal((FEATURES, width))
    table = wp.ParameterNode(start, name="table", dtype=np.float64)
    rows = wp.SparseInputNode(sparse.csr_array((1, FEATURES)), dtype=np.float64)
    return table, rows, table.index(rows.indices) * rows.data.expand_dims(1)


def _pairs(each, rows):
    """Return what a factorization machine adds up, over pairs of stored values."""
    return (each.segment_sum(rows).square() - each.square().segment_sum(rows)).sum()


def _centred(each, rows):
    """Return what reads a sum of rows beside the rows: it needs all of them first."""
    return (each - each.segment_sum(rows)).square().sum()


def _one_column(each, rows):
    """Return a sum of rows of length one, which is a number."""
    return each.sum(1, keepdims=True).segment_sum(rows).square().sum()


def _both(each, rows):
    """Return a sum of computed rows and a sum of their sums."""
    return (
        each.tanh().segment_sum(rows) * each.sum(1, keepdims=True).segment_sum(rows)
    ).sum()


GRAPHS = [_pairs, _centred, _one_column, _both]


def _matrix():
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((40, FEATURES)) * (rng.random((40, FEATURES)) < 0.3)
    dense[7] = 0  # an example without stored values
    return sparse.csr_array(dense)


def _fitted(graph, width, engine, **settings):
    table, rows, each = _parts(width)
    loss = graph(each, rows)
    wp.fit(
        loss, wp.SGD(0.001), {rows: _matrix()}, engine=engine, shuffle=False, **settings
    )
    return table.value


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("width", [1, 5, 8])
def test_sums_of_rows_agree_with_numpy(graph, width):
    native, numpy = (_fitted(graph, width, engine) for engine in ("native", "numpy"))
    assert not np.allclose(numpy, _parts(width)[0].value, atol=1e-6)
    np.testing.assert_allclose(native, numpy, rtol=1e-9, atol=1e-12)


def test_sums_of_several_examples_agree_with_numpy():
    def graph(each, rows):
        squares = each.segment_sum(rows).square() - each.square().segment_sum(rows)
        return squares.sum(1)

    native, numpy = (
        _fitted(graph, WIDTH, engine, batch_size=6) for engine in ("native", "numpy")
    )
    np.testing.assert_allclose(native, numpy, rtol=1e-9, atol=1e-12)


def test_rows_are_summed_where_they_are_computed():
    _, rows, each = _parts()
    text = generate(Plan.training(_pairs(each, rows)), wp.SGD(0.1)).text
    loops = [line for line in text.splitlines() if "in range(entries0)" in line]
    assert len(loops) == 2  # values, update


def test_gradients_of_rows_are_worked_out_by_their_update():
    _, rows, each = _parts()
    squares = each.segment_sum(rows).square() - each.square().segment_sum(rows)
    settings = Settings(distinct=frozenset({rows}))
    plan = Plan.training(squares.sum())
    text = generate(plan, wp.Adagrad(0.1), settings).text
    loops = [line for line in text.splitlines() if "in range(entries0)" in line]
    assert len(loops) == 2  # values, update
    # a norm of all gradients comes before the update: it reads them as well
    clipped = generate(plan, wp.Adagrad(0.1, clip_norm=1.0), settings).text
    assert clipped.count("in range(entries0)") == 3


def _chained(each, rows):
    """Return a loss whose gradient multiplies and adds values that others read too."""
    bent = each.tanh()
    return (bent * each.segment_sum(rows)).sum() + (bent.square() * each).sum()


def _of_the_table(each, rows):
    """Return a loss whose gradient reads the table itself."""
    return (each * each.segment_sum(rows) * each.exp()).sum() * 0.1


@pytest.mark.parametrize("graph", [_pairs, _centred, _both, _chained, _of_the_table])
@pytest.mark.parametrize(
    "optimizer", [wp.Adagrad(0.01), wp.Adagrad(0.01, clip_norm=0.5)]
)
def test_gradients_that_wait_for_their_update_agree_with_numpy(graph, optimizer):
    fitted = []
    for engine in ("native", "numpy"):
        table, rows, each = _parts()
        inputs = {rows: _matrix()}
        wp.fit(graph(each, rows), optimizer, inputs, shuffle=False, engine=engine)
        fitted.append(table.value)
    np.testing.assert_allclose(*fitted, rtol=1e-7, atol=1e-9)
