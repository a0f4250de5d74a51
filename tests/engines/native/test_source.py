"""The emitted text: readable, deterministic, and free of what is known at run time.

Run as a script, with tests/ on PYTHONPATH, it writes the golden file anew.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stepping import plain_step

import wyrm_py as wp
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan

GOLDEN = Path(__file__).parent / "golden" / "bpr_adagrad.txt"


def bpr(users=7, items=10, width=32):
    """Return the loss of a matrix factorisation by Bayesian personalised ranking."""
    left = wp.ParameterNode(np.zeros((users, width)), name="users")
    right = wp.ParameterNode(np.zeros((items, width)), name="items")
    user = wp.IndexInputNode([0], name="user")
    item = wp.IndexInputNode([0], name="item")
    negative = wp.sample_uniform(item, items)
    difference = right.index(item) - right.index(negative)
    return -left.index(user).vector_dot(difference).sigmoid().ln()


def emitted(loss, optimizer=None):
    return generate(Plan.training(loss), optimizer or wp.Adagrad(0.05)).text


def code(text):
    """Return the lines that are compiled: comments hold the graph's shapes."""
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def test_the_step_of_matrix_factorisation_is_the_golden_file():
    assert emitted(bpr()).splitlines() == GOLDEN.read_text().splitlines()


def test_the_text_is_the_same_in_another_process():
    program = (
        f"import runpy; print(runpy.run_path({str(__file__)!r})['emitted']"
        f"(runpy.run_path({str(__file__)!r})['bpr']()))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert texts == {emitted(bpr()).strip()}


def test_table_sizes_and_widths_leave_no_trace_in_the_code():
    text = emitted(bpr())
    assert code(text) == code(emitted(bpr(users=1000, items=77, width=48)))
    assert "range(32)" not in text


def test_settings_leave_no_trace_in_the_code_but_which_are_used():
    text = emitted(bpr(), wp.Adagrad(0.05, l2=0.1))
    assert text == emitted(bpr(), wp.Adagrad(0.7, l2=0.2, epsilon=1e-3))
    assert text != emitted(bpr(), wp.Adagrad(0.05))
    assert "0.05" not in text


def test_every_node_has_one_comment_with_its_op_and_shape():
    loss = bpr()
    text = emitted(loss)
    comments = [line.strip() for line in text.splitlines() if "# v" in line]
    numbers = [line.split(":")[0] for line in comments]
    assert len(set(numbers)) == len(numbers)
    for application in Plan.training(loss).applications:
        if application.is_leaf:
            continue
        node = application.outputs[0]
        shape = "x".join(map(str, node.shape)) or "()"
        start = f" {application.op.name}("
        assert any(start in c and f"-> {shape}" in c for c in comments), start


def test_the_text_is_a_python_module_of_reasonable_width():
    text = emitted(bpr())
    compile(text, "step", "exec")
    assert "\t" not in text
    listing = re.compile(r" steps\(|^@part|return call\(")  # all arrays on one line
    lines = [line for line in text.splitlines() if not listing.search(line)]
    assert max(map(len, lines)) <= 120


def test_names_that_are_no_identifiers_or_taken_are_replaced():
    first = wp.ParameterNode([[1.0]], name="lambda")
    second = wp.ParameterNode([[2.0]], name="total")
    third = wp.ParameterNode([[3.0]], name="total")
    fourth = wp.ParameterNode([[4.0]], name="my table; import os")
    loss = first * second * third * fourth
    step = plain_step(loss, wp.SGD(0.01))
    assert step() == 24.0
    assert second.value.item() == pytest.approx(2 - 0.01 * 12)
    assert third.value.item() == pytest.approx(3 - 0.01 * 8)
    assert "import os" not in "\n".join(code(step.source))


def test_a_parameters_block_stands_in_one_argument_however_many_nodes_use_it():
    shared = wp.HogwildParameter(np.ones((4, 2)))
    nodes = [wp.ParameterNode.shared(shared) for _ in range(3)]
    loss = sum(node.index(wp.IndexInputNode([1])).sum() for node in nodes)
    values = [
        slot
        for slot in generate(Plan.training(loss), wp.SGD()).slots.slots
        if slot.kind == "value"
    ]
    assert len(values) == 1


def test_a_long_step_is_cut_and_gives_the_same_numbers():
    x = wp.ParameterNode(np.linspace(0.5, 1.0, 12).reshape(3, 4), np.float64)
    y = x
    for k in range(90):
        y = y.softmax() + x * 0.1 if k % 3 else y.dot(x.t()).dot(x) * 0.1
    loss = y.square().sum()
    expected = loss.value.item()
    loss.backward()
    wanted = x.value - 0.1 * x.gradient
    step = plain_step(loss, wp.SGD(0.1))
    assert step.source.count("@part") > 2
    assert step() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(x.value, wanted, rtol=1e-10)


if __name__ == "__main__":
    GOLDEN.write_text(emitted(bpr()))


def test_names_of_nodes_stand_in_the_comments_and_cannot_break_the_text():
    x = wp.ParameterNode(np.ones((2, 3)), name="x\ny = 1")
    hidden = (x * 2.0).named("hidden\nlayer")
    text = emitted(hidden.square().sum())
    assert "hidden layer: multiply(v0 2x3, v1 ()) -> 2x3" in text
    assert "ParameterNode x y = 1 2x3" in text
