"""Rules over tables of width one: numbers at several rows are updated by vectors."""

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan

COLUMNS = 60
CASES = [
    (wp.Adagrad(0.1), np.float32),
    (wp.Adagrad(0.1, l2=0.01, clip=0.3), np.float64),
    (wp.Adagrad(0.1, clip_norm=0.5), np.float32),
    (wp.FTRL(0.1), np.float32),
    (wp.Adam(0.01), np.float64),
    (wp.SGD(0.1, momentum=0.5), np.float32),
]


def _graph(dtype=np.float32):
    start = np.linspace(-1, 1, COLUMNS)[:, None]
    weights = wp.ParameterNode(start, dtype=dtype, name="weights")
    rows = wp.SparseInputNode(sparse.csr_array((1, COLUMNS)), dtype=dtype)
    target = wp.InputNode([[0.0]], dtype=dtype)
    return weights, rows, target, (rows.dot(weights) - target).square()


def _data():
    """Return rows that store 0 to 40 numbers, around the lengths of vectors."""
    rng = np.random.default_rng(0)
    lengths = [0, 1, 3, 15, 16, 17, 31, 32, 33, 40, 0, 16, 7]
    dense = np.zeros((len(lengths), COLUMNS), np.float32)
    for row, length in enumerate(lengths):
        dense[row, rng.permutation(COLUMNS)[:length]] = rng.uniform(0.1, 1, length)
    return sparse.csr_array(dense), rng.standard_normal((len(lengths), 1))


@pytest.mark.parametrize(("optimizer", "dtype"), CASES, ids=repr)
def test_numbers_of_a_sparse_row_agree_with_numpy(optimizer, dtype):
    matrix, targets = _data()
    fitted = {}
    for engine in ("native", "numpy"):
        weights, rows, target, loss = _graph(dtype)
        inputs = {rows: matrix, target: targets}
        wp.fit(loss, optimizer, inputs, epochs=3, shuffle=False, engine=engine)
        slots = {name: state.copy() for name, state in weights.block.slots().items()}
        fitted[engine] = {"value": weights.value, **slots}
    assert fitted["native"].keys() == fitted["numpy"].keys()
    for name, array in fitted["numpy"].items():
        np.testing.assert_allclose(
            fitted["native"][name], array, rtol=2e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize(
    ("optimizer", "packed"),
    [(wp.Adagrad(0.1), True), (wp.SGD(0.1), False), (wp.Adam(0.1), True)],
    ids=repr,
)
def test_rules_with_quotients_are_packed(optimizer, packed):
    _, rows, _, loss = _graph()
    settings = Settings(distinct=frozenset({rows}))
    text = generate(Plan.training(loss), optimizer, settings).text
    assert ("weights_packed" in text) == packed


def test_rows_that_may_come_twice_are_not_packed():
    _, _, _, loss = _graph()
    assert "packed" not in generate(Plan.training(loss), wp.Adagrad(0.1)).text
