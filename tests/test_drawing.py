"""Graphs as text, as DOT and as pictures."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import wyrm_py as wp

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def loss():
    x = wp.InputNode(np.zeros((1, 4)), name="x")
    weight = wp.ParameterNode(np.zeros((4, 3)), name="weight")
    hidden = (x @ weight).tanh().named("hidden")
    gates = hidden.concatenate(hidden, axis=1).chunk(2, axis=1)
    return (gates[0] * 0.5 - gates[1].dropout(0.25)).square().sum(axis=1)


def texts(drawing):
    """Return the texts of a picture in reading order: title, detail, title, ..."""
    return [text.text for text in ET.fromstring(drawing.svg).iter(f"{SVG}text")]


def test_the_text_lists_every_node_with_what_it_reads_and_its_shape(loss):
    lines = [re.split(r"  +", line) for line in str(wp.draw(loss)).splitlines()]
    assert lines == [
        ["#0", "x: input", "float32[1, 4]"],
        ["#1", "weight: parameter", "float32[4, 3]"],
        ["#2", "dot(#0, #1)", "float32[1, 3]"],
        ["#3", "hidden: tanh(#2)", "float32[1, 3]"],
        ["#4", "concatenate axis=1(#3, #3)", "float32[1, 6]"],
        ["#5", "chunk count=2 axis=1(#4)", "2 of float32[1, 3]"],
        ["#6", "multiply(#5.0, 0.5)", "float32[1, 3]"],
        ["#7", "dropout_mask p=0.25(#5.1)", "float32[1, 3]"],
        ["#8", "multiply(#5.1, #7)", "float32[1, 3]"],
        ["#9", "subtract(#6, #8)", "float32[1, 3]"],
        ["#10", "square(#9)", "float32[1, 3]"],
        ["#11", "sum axis=1(#10)", "float32[1]"],
        ["12 nodes; parameters: 1 of 12 numbers"],
    ]


def test_the_columns_of_the_text_are_aligned(loss):
    lines = str(wp.draw(loss)).splitlines()[:-1]
    lines.pop(5)  # "2 of float32"
    assert len({line.index("float32") for line in lines}) == 1


def test_a_drawing_shows_itself_as_text_or_as_a_picture(loss):
    drawing = wp.draw(loss)
    assert repr(drawing) == str(drawing)
    assert drawing._repr_svg_() == drawing.svg
    assert isinstance(drawing, wp.Drawing)


def test_the_picture_has_a_box_a_node_and_a_line_an_edge(loss):
    picture = ET.fromstring(wp.draw(loss).svg)
    assert len(list(picture.iter(f"{SVG}rect"))) == 12
    lines = [p for p in picture.iter(f"{SVG}path") if p.get("marker-end")]
    assert len(lines) == 13  # the concatenation reads one node twice
    shown = texts(wp.draw(loss))
    titles, details = shown[::2], shown[1::2]
    assert titles[:4] == ["x", "weight", "dot", "hidden"]
    assert details[:4] == ["input 1x4", "parameter 4x3", "1x3", "tanh 1x3"]
    assert titles[6] == "multiply 0.5"
    assert details[5] == "2 values: 1x3"
    assert details[-1] == "1"


def test_boxes_stand_within_the_picture_and_do_not_overlap(loss):
    picture = ET.fromstring(wp.draw(loss).svg)
    wide, high = (float(picture.get(k)) for k in ("width", "height"))
    boxes = [
        [float(box.get(k)) for k in ("x", "y", "width", "height")]
        for box in picture.iter(f"{SVG}rect")
    ]
    for x, y, w, h in boxes:
        assert x >= 0 and y >= 0 and x + w <= wide and y + h <= high
    for k, (x, y, w, _) in enumerate(boxes):
        for other, beside, more, _ in boxes[:k]:
            assert y != beside or x + w < other or other + more < x


def test_what_is_drawn_is_told_apart_by_color(loss):
    colors = [
        box.get("fill") for box in ET.fromstring(wp.draw(loss).svg).iter(f"{SVG}rect")
    ]
    assert len(set(colors)) == 4  # input, parameter, random, op
    assert colors[0] != colors[1] != colors[2] == colors[3]


def test_names_cannot_break_the_picture_or_the_dot_text():
    node = wp.ParameterNode(1.0, name='<a & "b">\\').exp()
    assert texts(wp.draw(node))[0] == '<a & "b">\\'
    assert '[label="<a & \\"b\\">\\\\\\nparameter ()"' in wp.draw(node).dot


def test_dot_lists_nodes_and_edges():
    a = wp.ParameterNode(np.ones((2, 2)), np.float64, name="a")
    text = wp.draw(a.exp() * a).dot
    assert text.startswith("digraph {\n") and text.endswith("}\n")
    assert 'n0 [label="a\\nparameter 2x2 float64"' in text
    assert 'n2 [label="multiply\\n2x2 float64"' in text
    edges = re.findall(r"n(\d) -> n(\d);", text)
    assert edges == [("0", "1"), ("1", "2"), ("0", "2")]


def test_of_a_huge_graph_the_part_nearest_to_the_root_is_drawn():
    a = wp.ParameterNode(np.ones((2, 2)), name="a")
    node = a
    for _ in range(1500):
        node = (node + a).tanh()
    drawing = wp.draw(node, most=10)
    titles = texts(drawing)[::2]
    assert len(titles) == 11
    assert titles[0] == "2,991 more"
    assert titles.count("a") == 1 and titles[-1] == "tanh"
    assert str(drawing).splitlines()[-1] == "3001 nodes; parameters: 1 of 4 numbers"
    assert drawing.dot.count("label=") == 3001


def test_all_leaves_can_be_drawn_and_a_leaf_alone():
    rows = wp.IndexInputNode([1, 2], capacity=4, name="rows")
    table = wp.ParameterNode(np.ones((5, 3)), trainable=False)
    assert texts(wp.draw(table.index(rows).segment_sum(rows)))[:4] == [
        "parameter",
        "5x3",
        "rows",
        "index input 2 int64",
    ]
    assert texts(wp.draw(wp.InputNode(2.0))) == ["input", "()"]


def test_only_nodes_are_drawn():
    with pytest.raises(wp.errors.GraphError, match="draw: `node` must be a node"):
        wp.draw(np.ones(3))
