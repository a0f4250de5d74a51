"""What the README says is run, or compared with where it is decided."""

import doctest
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE

import wyrm_py as wp

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SESSIONS = [block for block in BLOCKS if block.startswith(">>>")]
SCRIPT = "\n".join(block for block in BLOCKS if block not in SESSIONS)


def table(head: str) -> list[list[str]]:
    """Return the rows of the README's table under a heading line."""
    _, after = README.split(f"\n{head}\n", 1)
    rows = after.split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_python_runs_from_top_to_bottom(tmp_path):
    path = tmp_path / "readme.py"
    path.write_text(
        SCRIPT + "\nassert history.losses[-1] < history.losses[0]"
        "\nassert abs(slope.value.item() - 3) < 1e-3\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20 * PATIENCE, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "def " in done.stdout  # the text of the step
    assert "2 workers" in done.stdout


@pytest.mark.parametrize("session", SESSIONS)
def test_error_is_the_one_shown(session):
    names = {"wp": wp, "np": np}
    test = doctest.DocTestParser().get_doctest(session, names, "README", None, 0)
    found: list[str] = []
    options = doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(verbose=False, optionflags=options)
    runner.run(test, out=found.append)
    assert found == []


def test_every_dependency_has_its_reason():
    named = [re.split(r"[<>=]", entry)[0] for entry in PROJECT["dependencies"]]
    rows = table("| package | why |")
    assert sorted(row[0] for row in rows) == sorted(named)
    assert all(len(row[1]) > 10 for row in rows)


def test_the_oldest_versions_are_the_ones_required():
    bounds = dict(entry.split(">=") for entry in PROJECT["dependencies"])
    oldest = table("| | Python | NumPy | Numba |")[0]
    required = (
        PROJECT["requires-python"].removeprefix(">="),
        bounds["numpy"],
        bounds["numba"],
    )
    for stated, wanted in zip(oldest[1:], required, strict=True):
        assert stated == wanted or stated == f"{wanted}.0"


def test_the_benchmark_table_is_the_last_one_written():
    path = ROOT / "scripts" / "benchmarks" / "readme.py"
    spec = importlib.util.spec_from_file_location("benchmark_readme", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not (module.RESULTS / "table.md").exists():
        pytest.skip("scripts/benchmark has not been run in this checkout")
    pages = module.pages()
    assert len(pages) == 3
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run {path.name}"


def test_the_scripts_it_names_exist():
    named = re.findall(r"(?:`|^)((?:scripts|examples)/\w*(?:\.py)?)", README, re.M)
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []
