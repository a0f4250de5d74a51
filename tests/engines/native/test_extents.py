"""Axis lengths: which are one, which fixed, which follow batch and ragged lengths."""

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.engines.native.extents import Extents
from wyrm_py.errors import CompileError


def lengths(node, batched=False):
    """Return the extents of a node, with what it was found among."""
    found = Extents.of(node._applications(), batched)
    return found.shapes[node], found


def test_a_length_of_one_is_a_literal_and_others_are_not():
    node = wp.InputNode(np.zeros((1, 5))) * 2.0
    (one, five), _ = lengths(node)
    assert one.is_one
    assert not five.is_one
    assert five.fixed == 5
    assert "5" not in {one.text, five.text}


def test_equal_lengths_have_one_name():
    a, b = wp.InputNode(np.zeros((3, 5))), wp.InputNode(np.zeros((5, 3)))
    (rows, columns), found = lengths(a.dot(b).dot(a))
    assert found.shapes[a] == (rows, columns)
    assert found.shapes[b] == (columns, rows)


def test_ragged_lengths_are_followed_through_joins():
    table = wp.ParameterNode(np.zeros((9, 2)))
    first = wp.IndexInputNode([1], capacity=4)
    second = wp.IndexInputNode([2, 3], capacity=4)
    joined = first.concatenate(second).concatenate(wp.IndexInputNode([1, 2, 3]))
    (length, width), found = lengths(table.index(joined))
    assert width.fixed == 2
    assert length.fixed is None
    symbols = {found.ragged[first]: 4, found.ragged[second]: 1}
    assert length.length(symbols) == 4 + 1 + 3


def test_the_batch_is_followed_through_reshapes():
    x = wp.InputNode(np.zeros((1, 4, 6)))
    (flat,), _ = lengths(x.reshape(-1), batched=True)
    assert flat.length({"batch": 7}) == 7 * 4 * 6
    (first, second), _ = lengths(x.reshape(-1, 6), batched=True)
    assert first.length({"batch": 7}) == 28
    assert second.fixed == 6


def test_a_batch_of_one_in_the_graph_is_no_literal_one():
    x = wp.InputNode(np.zeros((1, 4)))
    (batch, _), _ = lengths(x * 2.0, batched=True)
    assert not batch.is_one
    assert batch.text == "batch"


def test_parameters_and_constants_do_not_grow_with_the_batch():
    weights = wp.ParameterNode(np.zeros((4, 3)))
    x = wp.InputNode(np.zeros((1, 4)))
    node = x.dot(weights) + np.zeros((1, 3))
    (batch, width), found = lengths(node, batched=True)
    assert batch.text == "batch"
    assert width.fixed == 3
    assert [e.fixed for e in found.shapes[weights]] == [4, 3]


def test_a_length_that_is_no_multiple_is_refused():
    rows = wp.IndexInputNode([1, 2], capacity=8)
    table = wp.ParameterNode(np.zeros((9, 2)))
    pairs = table.index(rows).dot(table.index(rows).t()).reshape(-1)
    with pytest.raises(CompileError, match="does not grow in proportion"):
        lengths(pairs)


def test_row_numbers_of_an_axis_that_varies_are_refused():
    """The last batch is shorter, the next ragged value may be: nothing would check."""
    x, rows = wp.InputNode(np.zeros((4, 3))), wp.IndexInputNode([0, 1, 2, 3])
    weights = wp.ParameterNode(np.ones((3, 2)), np.float64)
    columns = {x: np.ones((6, 3)), rows: np.full(6, 3)}
    for table in (x, x.dot(weights)):
        with pytest.raises(CompileError, match="index: an axis whose length"):
            wp.evaluate(table.index(rows), columns, batch_size=4)
        assert wp.evaluate(table.index([3, 0]), {x: np.ones((2, 4, 3))}).shape[0] == 2
    chosen = x * x.pick([3, 1, 0], axis=0)
    with pytest.raises(CompileError, match="pick: an axis whose length"):
        wp.evaluate(chosen, {x: np.ones((6, 3))}, batch_size=4)
    table = wp.ParameterNode(np.ones((9, 2)))
    ragged = wp.IndexInputNode([1, 2], capacity=8)
    seen = table.index(ragged)
    with pytest.raises(CompileError, match="index: an axis whose length"):
        wp.compile(seen.index([1]).sum(), wp.SGD())
    numbers = wp.IndexInputNode([0, 1])
    outputs, _ = wp.scan(lambda s, k: (s, seen.index(k)), numbers, x[0])
    with pytest.raises(CompileError, match="index: an axis whose length"):
        wp.compile(outputs.sum(), wp.SGD())


def test_the_lengths_that_vary_are_counted():
    table = wp.ParameterNode(np.zeros((9, 2)))
    total = None
    for _ in range(11):
        rows = wp.IndexInputNode([1], capacity=3)
        part = table.index(rows).sum()
        total = part if total is None else total + part
    with pytest.raises(CompileError, match="up to 10 lengths that vary.*got 11"):
        lengths(total)
