"""`docs/parity.md` is honest: its rows are complete, its names and tests exist."""

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import wyrm_py as wp

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
GROUPS = {
    "G": 20, "O": 21, "P": 7, "L": 10, "S": 9, "T": 9, "R": 3, "I": 4, "D": 5,
    "H": 6, "C": 5, "F": 5, "X": 7, "M": 5, "E": 4,
}  # fmt: skip
IDS = [f"{group}{n + 1}" for group, count in GROUPS.items() for n in range(count)]
LEFT_OUT = "left out: "


class Row(NamedTuple):
    id: str
    feature: str
    names: str
    tests: str


def rows(pattern):
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in TEXT.splitlines()
        if re.match(pattern, line)
    ]
    assert all(len(row) == 4 for row in cells), cells
    return [Row(*row) for row in cells]


FEATURES, DEFECTS = rows(r"\| [A-Z]\d+ \|"), rows(r"\| \d+\w? \|")
every_row = pytest.mark.parametrize("row", FEATURES + DEFECTS, ids=lambda row: row.id)


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def require_name(name):
    """Find a public name, the keywords in its parentheses, or a file."""
    if "/" in name:
        assert (ROOT / name).exists(), f"{name}: there is no such file"
        return
    match = re.fullmatch(r"([\w.]+)(?:\((.*)\))?", name)
    assert match, f"{name}: not a name"
    path, arguments = match.groups()
    found, seen = wp, "wyrm_py"
    for part in path.removeprefix("wp.").split("."):
        assert part == "__getitem__" or not part.startswith("_"), f"{name}: not public"
        if inspect.ismodule(found) and not hasattr(found, part):
            importlib.import_module(f"{seen}.{part}")
        found, seen = getattr(found, part), f"{seen}.{part}"
    for keyword in re.findall(r"(\w+)=", arguments or ""):
        assert keyword in inspect.signature(found).parameters, f"{name}: no {keyword}"


@functools.cache
def functions(path):
    """Return the test functions of a file by name; none of a file marked skipped."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "pytestmark"
        ):
            assert not unconditional(node.value), f"{path}: all of it is skipped"
    return {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}


def unconditional(mark):
    """Whether a mark keeps a test from running, or from having to pass."""
    return re.search(r"mark\.(skip|xfail|slow)\b", ast.unparse(mark))


def require_test(name):
    path, _, function = name.partition("::")
    assert re.fullmatch(r"tests/(\w+/)*test_\w+\.py", path), f"{name}: not a test"
    assert (ROOT / path).exists(), f"{name}: there is no such file"
    assert function.startswith("test_") and function in functions(path), name
    for mark in functions(path)[function].decorator_list:
        assert not unconditional(mark), f"{name}: {ast.unparse(mark)}"


def test_every_feature_has_one_row_in_order():
    assert [row.id for row in FEATURES] == IDS


@every_row
def test_names_and_tests_exist(row):
    assert row.feature
    if row.tests.startswith(LEFT_OUT):
        assert row.id == "F4" and len(row.tests) > 40
        return
    for name in quoted(row.names):
        require_name(name)
    tests = quoted(row.tests)
    assert tests, f"{row.id}: no test"
    for name in tests:
        require_test(name)
