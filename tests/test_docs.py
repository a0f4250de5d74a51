"""What docs/ says is run, and the API reference is what the docstrings say."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE

import wyrm_py as wp

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DATA = ROOT.parent / "shared" / "data" / "ml-100k"
PAGES = [path for path in sorted(DOCS.glob("*.md")) if "```python" in path.read_text()]
GENERATED = ("api.md", "benchmarks.md")


def blocks(page: str) -> list[str]:
    """Return the Python of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def write_films(folder: Path) -> None:
    """Write files in the form of MovieLens 100K: a few users, films of two tastes."""
    rng = np.random.default_rng(0)
    ratings = wp.data.synthetic_ratings(20_000, 300, 200, random_state=0)
    times = 875_000_000 + rng.permutation(len(ratings))
    columns = ratings.users + 1, ratings.items + 1, ratings.ratings.astype(int), times
    lines = ["\t".join(map(str, row)) for row in zip(*columns, strict=True)]
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    genres = rng.integers(0, 2, (ratings.n_items, 19))
    films = [
        f"{k + 1}|Film {k + 1} (1995)|01-Jan-1995||http://films/{k}|"
        + "|".join(map(str, genres[k]))
        for k in range(ratings.n_items)
    ]
    (folder / "u.item").write_text("\n".join(films) + "\n")
    people = [
        f"{k + 1}|{20 + k % 40}|{'MF'[k % 2]}|{('student', 'writer')[k % 2]}|12345"
        for k in range(ratings.n_users)
    ]
    (folder / "u.user").write_text("\n".join(people) + "\n")


def run(script: str, folder: Path) -> str:
    path = folder / "page.py"
    path.write_text(script, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20 * PATIENCE, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "page", [path.name for path in PAGES if path.name not in GENERATED]
)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    films = tmp_path / "ml-100k"
    films.mkdir()
    write_films(films)
    assert run("\n".join(blocks(page)), tmp_path)


@pytest.mark.skipif(not DATA.exists(), reason="MovieLens 100K is not here")
def test_the_tutorial_says_what_it_finds_in_movielens(tmp_path):
    films = tmp_path / "ml-100k"
    films.mkdir()
    for path in DATA.glob("u.*.gz"):
        text = gzip.decompress(path.read_bytes()).decode("latin-1")
        (films / path.stem).write_text(text, encoding="latin-1")
    printed = run("\n".join(blocks("tutorial.md")), tmp_path)
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    said = re.findall(r"^# (\w[\w@ ]*) (\d\.\d+)$", text, re.MULTILINE)
    assert len(said) > 5
    for name, figure in said:
        found = re.findall(rf"^{name} (\d\.\d+)$", printed, re.MULTILINE)
        assert float(figure) == pytest.approx(float(found[0]), abs=0.01), name


def test_the_estimator_of_ones_own_is_short():
    (estimator,) = (text for text in blocks("own_model.md") if "class " in text)
    assert len(estimator.splitlines()) <= 60


def test_the_reference_is_that_of_the_docstrings():
    command = [sys.executable, str(ROOT / "scripts" / "api_reference"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5 * PATIENCE)
    assert done.returncode == 0, done.stderr


def test_links_lead_to_pages_and_headings():
    for path in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", path.read_text()):
            if not target.startswith(("http", "#")):
                assert (path.parent / target).exists(), f"{path.name}: {target}"
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors
