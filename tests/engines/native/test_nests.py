"""Which axes share a loop."""

import numpy as np
import pytest
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py.engines.native.extents import Extent, fixed
from wyrm_py.engines.native.nests import joined
from wyrm_py.engines.native.operands import buffer

LENGTHS = [fixed(n) for n in (2, 3, 4)]


def operand(name, extents):
    return buffer(name, np.dtype(np.float32), extents)


def loops(*reads, extents=LENGTHS, cuts=()):
    return joined(extents, lambda index: [read(index) for read in reads], cuts)


def test_axes_in_one_row_in_every_operand_share_a_loop():
    whole = operand("x", LENGTHS)
    plane, row = operand("p", LENGTHS[1:]), operand("r", LENGTHS[2:])
    column = operand("c", (*LENGTHS[:1], fixed(1), fixed(1)))
    assert loops(lambda i: whole.at(*i)) == [[0, 1, 2]]
    assert loops(lambda i: whole.at(*i), lambda i: plane.aligned(i)) == [[0], [1, 2]]
    assert loops(lambda i: whole.at(*i), lambda i: row.aligned(i)) == [[0, 1], [2]]
    assert loops(lambda i: whole.at(*i), lambda i: column.at(*i)) == [[0], [1, 2]]
    assert loops(lambda i: "local") == [[0, 1, 2]]
    assert loops(lambda i: whole.at(*i), cuts=(1,)) == [[0], [1, 2]]


def test_other_orders_and_parts_keep_their_loops():
    whole = operand("x", LENGTHS)
    turned = operand("y", LENGTHS[::-1])
    assert loops(lambda i: whole.at(*i), lambda i: turned.at(*i[::-1])) == [
        [0],
        [1],
        [2],
    ]
    wider = operand("z", (LENGTHS[0], LENGTHS[1], fixed(9)))
    assert loops(lambda i: wider.at(*i)) == [[0, 1], [2]]
    assert loops(lambda i: f"x[u64(rows[{i[0]}]) * {i[1]} + {i[2]}]") == [[0], [1], [2]]
    assert loops(lambda i: f"where({i[1]} == {i[2]}, a, b)") == [[0], [1], [2]]


def test_axes_of_length_one_stand_in_no_loop():
    extents = [LENGTHS[0], fixed(1), LENGTHS[1], fixed(1)]
    x = operand("x", extents)
    assert loops(lambda i: x.at(*i), extents=extents) == [[0, 2]]
    assert loops(lambda i: "local", extents=extents[1:2]) == []


def test_a_length_that_varies_is_a_factor():
    batch = Extent("batch", None, 0, (("batch", 1),))
    extents = [batch, *LENGTHS[1:]]
    whole = operand("x", extents)
    assert loops(lambda i: whole.at(*i), extents=extents) == [[0, 1, 2]]
    assert Extent.product(extents).text == "batch * length3_ * length4_"
    assert Extent.product(LENGTHS) == fixed(24)


@pytest.mark.parametrize("native", [False, True])
def test_what_a_joined_nest_computes(native):
    """Pointwise, with a bias, and sums over trailing and over leading axes."""
    rng = np.random.default_rng(0)
    x = wp.ParameterNode(rng.standard_normal((3, 4, 5, 2)), np.float64)
    bias = wp.ParameterNode(rng.standard_normal((4, 1, 1)), np.float64)
    h = ((x + bias).tanh() * x).sum((2, 3)) * x.max((0, 2, 3))
    loss = (h * rng.standard_normal(h.shape)).sum() + x[:, 1:3].square().sum()
    optimizer, both = wp.SGD(1.0), [x, bias]
    step = wp.compile(loss, optimizer) if native else plain_step(loss, optimizer)
    _, wanted = updates(lambda: numpy_step(loss, optimizer), both)
    _, taken = updates(step, both)
    for one, other in zip(taken, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
