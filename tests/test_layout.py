"""Boxes of a drawing keep apart, in layers, with few crossings."""

import random
from itertools import pairwise

import pytest

from wyrm_py.layout import GAP, _crossings, place


def graph(seed, count=30):
    """Return random widths, and edges from smaller to larger numbers."""
    draw = random.Random(seed)
    edges = {
        (draw.randrange(b), b)
        for b in range(1, count)
        for _ in range(draw.choice([1, 2]))
    }
    return [draw.uniform(20, 120) for _ in range(count)], sorted(edges)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_of_a_layer_never_overlap(seed):
    widths, edges = graph(seed)
    placing = place(widths, edges)
    for layer in set(placing.layer):
        row = sorted(
            (placing.x[v], widths[v]) for v in range(30) if placing.layer[v] == layer
        )
        for (x0, w0), (x1, w1) in pairwise(row):
            assert x1 - x0 >= (w0 + w1) / 2 + GAP - 1e-6
    ends = [(x - w / 2, x + w / 2) for x, w in zip(placing.x, widths, strict=True)]
    assert min(a for a, _ in ends) >= -1e-6
    assert max(b for _, b in ends) <= placing.width + 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_every_edge_leads_down_from_its_box_to_its_reader(seed):
    widths, edges = graph(seed)
    placing = place(widths, edges)
    assert sorted(placing.ways) == edges
    for (a, b), way in placing.ways.items():
        assert len(way) == placing.layer[b] - placing.layer[a] + 1 >= 2
        assert (way[0], way[-1]) == (placing.x[a], placing.x[b])


def test_a_leaf_stands_just_above_its_reader():
    # 0 -> 1 -> 2 -> 4, and the leaf 3 is read by 4 only
    placing = place([50.0] * 5, [(0, 1), (1, 2), (2, 4), (3, 4)])
    assert placing.layer == [0, 1, 2, 2, 3]


def test_a_chain_stands_in_a_line():
    placing = place([30.0, 80.0, 50.0], [(0, 1), (1, 2)])
    assert placing.x == pytest.approx([40.0, 40.0, 40.0])


def test_crossings_that_need_not_be_are_removed():
    # two trees, interleaved: 0, 2 -> 4 and 1, 3 -> 5
    placing = place([20.0] * 7, [(0, 4), (2, 4), (1, 5), (3, 5), (4, 6), (5, 6)])
    order = sorted(range(4), key=lambda v: placing.x[v])
    assert order in ([0, 2, 1, 3], [1, 3, 0, 2], [2, 0, 1, 3], [0, 2, 3, 1])


def test_crossings_are_counted():
    assert _crossings([[0, 1], [2, 3]], [[3], [2], [], []]) == 1
    assert _crossings([[0, 1], [2, 3]], [[2], [3], [], []]) == 0
    assert _crossings([[0, 1, 2], [3, 4]], [[4], [3, 4], [3], [], []]) == 3


def test_a_single_box_is_as_wide_as_the_drawing():
    placing = place([70.0], [])
    assert (placing.x, placing.layer, placing.width) == ([35.0], [0], 70.0)
