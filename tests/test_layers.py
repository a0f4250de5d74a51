"""The shape of the package: which way imports point, and what is public."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import wyrm_py as wp

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wyrm_py"

# From the bottom up: a module imports only from its own line and those above it.
LAYERS = {
    "errors": "typed errors",
    "seeds": "what a random_state stands for",
    "progress": "the progress bar: numbers in, a line on the terminal out",
    "atomic_file": "files replaced at once or not at all",
    "array_header": "where the arrays of a file are",
    "arrayfile": "named arrays in one file, safe and atomic",
    "parameters": "buffers of parameters, private and shared",
    "graph": "what a graph is: the op contract, order, reverse mode",
    "ops": "the ops and the methods a user types",
    "nodes": "what the user holds",
    "values": "what leaves and columns accept",
    "leaves": "the nodes a graph starts from",
    "growing_rows": "CSR rows that grow in shared memory",
    "sparse_rows": "rows of a constant CSR matrix, chosen inside a graph",
    "samplers": "index nodes that draw",
    "known_items": "index nodes over what a user knows",
    "recurrence": "loops over sequences",
    "engines": "how a plan runs",
    "layout": "where the boxes of a drawing stand",
    "drawing": "graphs as text and as pictures",
    "derivatives": "gradients as nodes, and the gradient checker",
    "optim": "update rules",
    "data": "columns, readers, splits",
    "machine": "what a run ran on",
    "charts": "lines and bars as SVG",
    "plots": "the curves of a run by matplotlib",
    "report_style": "the style sheet of reports",
    "report": "a run as a page of HTML",
    "parallel": "fit and its workers",
    "nn": "layers, losses and initialisers built only from ops",
    "retrieval": "the best rows of a table for each query, natively",
    "evaluation": "metrics of rankings and of predictions",
    "random_state": "what draws next, as JSON",
    "description": "optimizers, schedules and layers as JSON",
    "parameter_arrays": "parameters as named arrays",
    "checkpoint": "save and load",
    "checkpointing": "files of a run while it trains",
    "models": "estimators",
    "console": "tables of the command line",
    "commands": "the commands of the command line, one file each",
    "cli": "the command",
}

# Imports that point up: (module, layer) and why.
UPWARD = {
    ("graph.gradient", "ops"): "reverse mode itself writes two ops: sums of what was "
    "broadcast, and scattered rows",
    ("graph.op", "engines"): "in a function: an expression runs over the NumPy "
    "functions, which stand with their native twins",
    ("graph.body", "nodes"): "in functions: a body is cut out as a graph of nodes",
    ("nodes", "engines"): "in functions: `forward` and `backward` start the engine",
    ("nodes", "leaves"): "in a function: a number becomes a constant",
    ("nodes", "values"): "in a function: fixed row numbers are checked",
}

# `import wyrm_py` must stay quick: these wait until they are needed.
LATE = ("matplotlib", "pandas", "pyarrow", "rich", "sklearn", "torch", "typer")


def modules() -> dict[str, ast.Module]:
    """Return the modules of the package, named from below it."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


MODULES = modules()


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the layers that a module imports when it runs."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and child.module == "wyrm_py":
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom | ast.Import):
            given = [child.module or ""] if isinstance(child, ast.ImportFrom) else []
            given += [a.name for a in child.names if isinstance(child, ast.Import)]
            for name in given:
                first, _, below = name.partition(".")
                if first == "wyrm_py" and below:
                    yield below.split(".")[0]
        yield from imported(child)


def public_objects() -> dict[str, object]:
    """Return the public names with the public methods of the classes."""
    found: dict[str, object] = {}
    for name in wp.__all__:
        value = getattr(wp, name)
        found[name] = value
        if inspect.isclass(value) and value.__module__.startswith("wyrm_py"):
            for member in dir(value):
                held = inspect.getattr_static(value, member)
                own = inspect.isfunction(held) or isinstance(
                    held, property | classmethod | staticmethod
                )
                if own and not member.startswith("_"):
                    found[f"{name}.{member}"] = held
    return found


def test_every_module_has_a_layer():
    assert {name.split(".")[0] for name in MODULES if name} == set(LAYERS)


def test_imports_point_one_way():
    height = {layer: k for k, layer in enumerate(LAYERS)}
    upward = {
        (name, layer)
        for name, tree in MODULES.items()
        if name
        for layer in imported(tree)
        if height[layer] > height[name.split(".")[0]]
    }
    assert upward == set(UPWARD)


def test_nothing_in_the_package_prints_or_asserts():
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Assert), f"{name}, line {node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{name}, line {node.lineno}"


def test_every_module_says_what_it_is():
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_all_is_sorted_and_complete():
    held = {
        name
        for name, value in vars(wp).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(wp.__all__) - {"data", "errors", "evaluation", "nn", "schedules"} == held
    assert len(set(wp.__all__)) == len(wp.__all__)


def test_the_readme_lists_the_public_names():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("\n## Public names\n", 1)[1].split("\n## ", 1)[0]
    firsts = [line.split("|")[1] for line in table.splitlines() if line.count("|") > 2]
    listed = [name for cell in firsts for name in re.findall(r"`(\w+)[^`]*`", cell)]
    assert sorted(listed) == sorted(wp.__all__)


def test_public_names_have_docstrings():
    bare = []
    for name, held in public_objects().items():
        inner = held.__func__ if isinstance(held, classmethod | staticmethod) else held
        bare += [] if inspect.getdoc(inner) else [name]
    assert bare == []


def test_import_stays_light():
    code = f"import sys, wyrm_py; print([n for n in {LATE} if n in sys.modules])"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
