"""Where an operand lies in memory: an array, a start and strides, as texts.

Operands only say how one element is read. Most read `array[position]` with a
position that is linear in the indices (views of views included): start and strides
are the coefficients of that text.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from wyrm_py.engines.native.operands import Operand, group, plus, times

_Terms = dict[str, str]  # index name (or "" for none): its coefficient


@dataclass(frozen=True)
class Layout:
    """Element (i, j, ...) is array[start + i * strides[0] + j * strides[1] + ...]."""

    array: str
    start: str
    strides: tuple[str, ...]


def layout(operand: Operand) -> Layout | None:
    """Return where an operand lies; None where no strides lead from row to row.

    That is so for looked-up rows, shuffled batches, casts and reversed axes. An
    axis of length one has stride zero.
    """
    axes = [f"axis{k}_" for k in range(len(operand.extents))]
    tree = ast.parse(operand.at(*axes), mode="eval").body
    if not isinstance(tree, ast.Subscript) or not isinstance(tree.value, ast.Name):
        return None
    terms = _linear(tree.slice, set(axes))
    if terms is None:
        return None
    start = terms.get("", "u64(0)")
    strides = tuple(terms.get(axis, "u64(0)") for axis in axes)
    return Layout(tree.value.id, start, strides)


def line_of(operand: Operand) -> tuple[str, str] | None:
    """Return the array and the start of numbers that lie side by side, else None.

    Row numbers may be cast where they are read.
    """

    def read(index: str) -> str:
        tree = ast.parse(operand.at(index), mode="eval").body
        while isinstance(tree, ast.Call) and ast.unparse(tree.func) == "u64":
            tree = tree.args[0]
        return ast.unparse(tree)

    found = layout(Operand(operand.dtype, operand.extents, read))
    if found is None or found.strides != ("u64(1)",):
        return None
    return found.array, found.start


def strides_of(text: str, axes: Sequence[str]) -> list[str] | None:
    """Return how far apart in memory an element's neighbours along each axis lie.

    "0" along an axis that the text does not name; None as for `layout`.
    """
    if not any(axis in text for axis in axes):
        return ["0"] * len(axes)
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Subscript) or not isinstance(tree.value, ast.Name):
        return None
    terms = _linear(tree.slice, set(axes))
    return None if terms is None else [terms.get(axis, "0") for axis in axes]


def _linear(tree: ast.expr, axes: set[str]) -> _Terms | None:
    """Return the coefficients of a text that is linear in the axes, else None."""
    if not any(isinstance(n, ast.Name) and n.id in axes for n in ast.walk(tree)):
        return {"": ast.unparse(tree)}
    if isinstance(tree, ast.Name):
        return {tree.id: "u64(1)"}
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) == "u64":
        terms = _linear(tree.args[0], axes)
        return terms and {axis: _as_u64(text) for axis, text in terms.items()}
    if not isinstance(tree, ast.BinOp):
        return None
    left, right = _linear(tree.left, axes), _linear(tree.right, axes)
    if left is None or right is None:
        return None
    if isinstance(tree.op, ast.Add):
        return {
            axis: plus(left.get(axis, "0"), right.get(axis, "0"))
            for axis in {**left, **right}
        }
    if isinstance(tree.op, ast.Mult):
        scaled, factor = (left, right) if set(right) == {""} else (right, left)
        if set(factor) == {""}:
            return {k: times(group(v), group(factor[""])) for k, v in scaled.items()}
    return None


def _as_u64(text: str) -> str:
    return text if text.startswith("u64(") and text.count("(") == 1 else f"u64({text})"
