"""Start and strides read off the text of an element."""

import numpy as np
import pytest

from wyrm_py.engines.native.extents import ONE, Extent
from wyrm_py.engines.native.layout import Layout, layout
from wyrm_py.engines.native.operands import Operand, buffer, local, offset

F4 = np.dtype(np.float32)
ROWS, WIDTH, HEIGHT = (Extent(name, n) for name, n in (("r", 5), ("w", 3), ("h", 2)))


def reading(*extents):
    """Return a function that makes an operand of a text of its indices."""
    return lambda read: Operand(F4, extents, read)


def test_a_buffer_lies_row_by_row():
    x = buffer("x", F4, (HEIGHT, ROWS, WIDTH))
    assert layout(x) == Layout("x", "u64(0)", ("r * w", "w", "u64(1)"))


def test_axes_of_length_one_have_stride_zero():
    x = buffer("x", F4, (ROWS, ONE, WIDTH))
    assert layout(x) == Layout("x", "u64(0)", ("w", "u64(0)", "u64(1)"))


def test_parts_of_an_array_have_a_start():
    x = offset("x", "e * r * w", F4, (ROWS, WIDTH))
    assert layout(x) == Layout("x", "e * r * w", ("w", "u64(1)"))
    first = buffer("x", F4, (HEIGHT, ROWS, WIDTH)).within("t")
    assert layout(first) == Layout("x", "t * r * w", ("w", "u64(1)"))


def test_views_of_views_keep_strides():
    x = buffer("x", F4, (ROWS, WIDTH))
    turned = reading(WIDTH, ROWS)(lambda i, j: x.at(j, i))
    assert layout(turned) == Layout("x", "u64(0)", ("u64(1)", "w"))
    cut = reading(WIDTH, HEIGHT)(lambda i, j: turned.at(i, f"(u64(1) + u64(2) * {j})"))
    assert layout(cut) == Layout("x", "w", ("u64(1)", "u64(2) * w"))
    spread = reading(HEIGHT, WIDTH)(lambda i, j: x.at("u64(4)", j))
    assert layout(spread) == Layout("x", "u64(4) * w", ("u64(0)", "u64(1)"))


def test_casts_of_sums_of_indices_are_taken_apart():
    x = reading(ROWS, WIDTH)(lambda i, j: f"x[u64((k + {i})) * w + {j}]")
    assert layout(x) == Layout("x", "u64(k) * w", ("w", "u64(1)"))


@pytest.mark.parametrize(
    "read",
    [
        lambda i, j: f"x[u64(order[k + {i}]) * w + {j}]",  # looked up
        lambda i, j: f"x[(u64(4) - u64(1) * {i}) * w + {j}]",  # reversed
        lambda i, j: f"x[{i} * {i} + {j}]",
        lambda i, j: f"f8(x[{i} * w + {j}])",
        lambda i, j: f"f4({i})",
        lambda i, j: "t4",
    ],
)
def test_what_does_not_lie_in_strides_has_no_layout(read):
    assert layout(reading(ROWS, WIDTH)(read)) is None


def test_a_local_has_no_layout():
    assert layout(local("t4", F4, (ONE, ONE))) is None
