"""Plans: what a step computes, and what it leaves out."""

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.engines.plan import Plan
from wyrm_py.ops.arithmetic import Multiply
from wyrm_py.ops.gather import ScatterRows


def ops(applications):
    return [type(a.op) for a in applications]


@pytest.fixture
def table():
    return wp.ParameterNode(np.ones((6, 2)), name="table")


def test_branches_that_lead_to_no_parameter_get_no_gradient(table):
    frozen = wp.ParameterNode(np.ones((1, 2)), trainable=False)
    given = wp.InputNode(np.ones((1, 2)))
    branch = (given * frozen).exp().tanh().softmax()
    loss = (table.index(wp.IndexInputNode([0])) * branch).sum()
    plan = Plan.training(loss)
    assert ops(plan.backward).count(Multiply) == 1
    assert [update.nodes for update in plan.updates] == [[table]]


def test_only_the_chosen_parameters_have_gradients(table):
    other = wp.ParameterNode(np.ones((1, 2)))
    loss = (table.index(wp.IndexInputNode([0])) * other.tanh()).sum()
    whole, part = Plan.training(loss), Plan.training(loss, [table])
    assert len(part.backward) < len(whole.backward)
    assert [update.nodes for update in part.updates] == [[table]]


def test_rows_stay_rows_and_are_scattered_only_beside_a_dense_gradient(table):
    rows = table.index(wp.IndexInputNode([0, 3])).sum()
    plan = Plan.training(rows)
    assert plan.updates[0].dense is None
    assert len(plan.updates[0].pairs) == 1
    assert ScatterRows not in ops(plan.backward)
    both = Plan.training(rows + table.sum())
    assert both.updates[0].dense is not None
    assert both.updates[0].pairs == []
    assert ops(both.backward).count(ScatterRows) == 1


def test_nodes_over_one_block_share_one_update():
    shared = wp.HogwildParameter(np.ones((4, 2)))
    first, second = wp.ParameterNode.shared(shared), wp.ParameterNode.shared(shared)
    rows = wp.IndexInputNode([1])
    plan = Plan.training((first.index(rows) * second.index(rows)).sum())
    assert [update.block for update in plan.updates] == [shared]
    assert len(plan.updates[0].pairs) == 2


def test_a_gradient_graph_holds_no_literal_shapes_and_stands_in_order(table):
    x = wp.InputNode(np.ones((1, 2)))
    loss = ((x + table.index(wp.IndexInputNode([0]))).mean(0) * 3.0).sum()
    plan = Plan.training(loss)
    seen = set()
    for application in plan.applications:
        assert set(application.inputs) <= seen
        seen |= set(application.outputs)
        assert not any(
            isinstance(value, tuple) and 2 in value
            for value in vars(application.op).values()
        )
