"""Charts as SVG text."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from wyrm_py.charts import bar, line_chart, nice_ticks, tick_texts, whole_ticks


def parsed(text):
    return ElementTree.fromstring(text)


def dots(chart):
    circles = parsed(chart).iter("circle")
    return [(float(c.get("cx")), float(c.get("cy")), c[0].text) for c in circles]


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0.2, 0.5), (-3, 7), (1e-9, 2e-9), (5, 5), (0, 0), (-1e12, 3e12)],
)
def test_ticks_are_even_and_reach_around_the_values(low, high):
    ticks = nice_ticks(low, high)
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert ticks[0] <= low <= high <= ticks[-1] and 2 <= len(ticks) <= 8
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert len(set(tick_texts(ticks))) == len(ticks)  # neighbours read differently


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([0.0, 0.25, 0.5], ["0.00", "0.25", "0.50"]),
        ([0.0, 2.5, 5.0], ["0.0", "2.5", "5.0"]),
        ([0.0, 500.0, 1000.0], ["0", "500", "1,000"]),
        ([5e6, 7.5e6, 1e7], ["5.0 M", "7.5 M", "10.0 M"]),
        ([0.0, 2e-5], ["0", "2e-05"]),
    ],
)
def test_ticks_show_the_digits_that_matter(ticks, texts):
    assert tick_texts(ticks) == texts


def test_epochs_are_marked_at_round_numbers():
    assert whole_ticks(5) == [1, 2, 3, 4, 5]
    assert whole_ticks(100, 10) == [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert whole_ticks(0) == []


def test_higher_values_stand_higher_and_epochs_go_right():
    (x0, y0, first), (x1, y1, _), (x2, y2, last) = dots(line_chart({"auc": [1, 3, 2]}))
    assert x0 < x1 < x2 and y1 < y2 < y0
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(2 * (y2 - y1), abs=0.2)
    assert (first, last) == ("auc, epoch 1: 1", "auc, epoch 3: 2")


def test_what_is_not_finite_leaves_a_gap():
    chart = line_chart({"loss": [1.0, 2.0, math.nan, 3.0, math.inf, 1.0]})
    assert len(dots(chart)) == 4
    (path,) = parsed(chart).iter("path")
    assert re.sub(r"[-\d.,]", "", path.get("d")) == "MLMM"


@pytest.mark.parametrize(
    "lines", [{}, {"a": []}, {"a": [math.nan]}, {"a": [0.0, 1e308, -1e308]}]
)
def test_charts_of_little_are_whole(lines):
    assert parsed(line_chart(lines)).tag == "svg"


def test_names_are_escaped_and_bars_keep_their_room():
    assert "<b>" not in line_chart({"<b>&": [1.0]})
    widths = [parsed(bar(share))[1].get("width") for share in (-1, 0.25, 7, math.nan)]
    assert widths == ["0.0", "25.0", "100.0", "0.0"]
