"""Rules as text: a few lines of Python that both engines can run.

A line is `name = expression` over names, numbers, arithmetic, comparisons and the
functions of `wyrm_py.engines.functions`. NumPy runs the lines over arrays; native
code prints them inside its loops, every number in the parameter's dtype.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from wyrm_py.engines import functions
from wyrm_py.errors import SettingError

FUNCTIONS: dict[str, Any] = {
    name: getattr(functions, name) for name in (*functions.__all__, "linear_power")
}
_OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.UAdd, ast.USub),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)
_ARGUMENTS = {
    name: len(inspect.signature(function).parameters)
    for name, function in FUNCTIONS.items()
}


@dataclass(frozen=True)
class Formula:
    """Checked lines of a rule.

    reads : names it needs from outside, in order of appearance
    assigns : names it gives a value, in order of appearance
    """

    text: str
    reads: tuple[str, ...]
    assigns: tuple[str, ...]
    code: CodeType

    def run(self, names: dict[str, Any], number: Any) -> None:
        """Run over arrays or numbers, in place; `number` is the type of literals."""
        exec(self.code, {**FUNCTIONS, "T": number, "__builtins__": {}}, names)

    def lines(self, names: Mapping[str, str], number: str) -> list[str]:
        """Return the lines with other names, and `number` as type of literals."""
        return _Renamed({"T": number, **names}).lines(self.text)


@dataclass(frozen=True)
class Formulas:
    """All lines of an optimizer; see `Optimizer` for what each is."""

    once: Formula
    rule: Formula
    missed_once: Formula
    missed: Formula

    @property
    def counts(self) -> bool:
        """Whether the updates of a parameter are counted."""
        return "step" in self.once.reads or self.catches_up

    @property
    def catches_up(self) -> bool:
        """Whether the updates that a row missed are made up for."""
        return bool(self.missed.assigns)


@functools.lru_cache(maxsize=256)
def formula(text: str, who: str) -> Formula:
    """Check and prepare some lines.

    Raises
    ------
    SettingError
        If a line is more than an assignment of an elementwise expression.
    """
    try:
        return _checked(text, who)
    except SyntaxError as error:
        raise SettingError(f"{who}: not Python, {error.msg}: {text!r}.") from None
    except (MemoryError, RecursionError):  # what the parser says about "-----..."
        raise SettingError(f"{who}: nested too deeply: {text[:100]!r}.") from None


def _checked(text: str, who: str) -> Formula:
    tree = ast.parse(text)
    reads: dict[str, None] = {}
    assigns: dict[str, None] = {}
    for line in tree.body:
        targets = _targets(line)
        if not isinstance(line, ast.Assign) or not targets:
            raise SettingError(
                f"{who}: each line must be `name = expression`, got "
                f"{ast.unparse(line)!r}."
            )
        for name in _names(line.value, who):
            if name not in assigns:
                reads[name] = None
        assigns.update(dict.fromkeys(targets))
    typed = ast.fix_missing_locations(_TypedNumbers().visit(tree))
    code = compile(typed, "rule", "exec")
    return Formula(ast.unparse(typed), tuple(reads), tuple(assigns), code)


def _targets(line: ast.stmt) -> list[str]:
    """Return the names an assignment sets; none if it is not a plain one."""
    if not isinstance(line, ast.Assign) or len(line.targets) != 1:
        return []
    target = line.targets[0]
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else []


def _names(expression: ast.expr, who: str) -> list[str]:
    """Return the names of an expression, or raise a SettingError."""
    if isinstance(expression, ast.Name):
        return [expression.id]
    if isinstance(expression, ast.Constant):
        number: Any = expression.value
        if type(number) in (int, float) and abs(number) <= sys.float_info.max:
            return []
    elif isinstance(expression, ast.Call):
        called = expression.func
        if (
            isinstance(called, ast.Name)
            and _ARGUMENTS.get(called.id) == len(expression.args)
            and not expression.keywords
        ):
            return [name for part in expression.args for name in _names(part, who)]
    elif _is_arithmetic(expression):
        parts = [n for n in ast.iter_child_nodes(expression) if isinstance(n, ast.expr)]
        return [name for part in parts for name in _names(part, who)]
    raise SettingError(
        f"{who}: an elementwise expression of names, numbers, arithmetic and "
        f"{', '.join(functions.__all__)} is required, got "
        f"{ast.unparse(expression)!r}."
    )


def _is_arithmetic(expression: ast.expr) -> bool:
    """Tell whether operators combine parts elementwise: `a < b < c` is no such."""
    if isinstance(expression, ast.Compare):
        (first, *chained) = expression.ops
        return not chained and isinstance(first, _OPERATORS)
    both = ast.BinOp | ast.UnaryOp
    return isinstance(expression, both) and isinstance(expression.op, _OPERATORS)


class _TypedNumbers(ast.NodeTransformer):
    """Wraps numbers as T(number) and writes powers as calls.

    An untyped number would make float32 arithmetic float64 in native code.
    """

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Call(ast.Name("T", ast.Load()), [node], [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        return ast.Call(ast.Name("power", ast.Load()), [node.left, node.right], [])


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def lines(self, text: str) -> list[str]:
        return ast.unparse(self.visit(ast.parse(text))).splitlines()
