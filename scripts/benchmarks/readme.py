"""Writes what was measured into README.md and docs/.

    python3 scripts/benchmarks/readme.py

A whole run of scripts/benchmark does it at its end. Needs only the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "scripts" / "benchmarks" / "results"
Record = dict[str, Any]


class Results:
    """The records of a run."""

    def __init__(self, lines: str) -> None:
        self._records: list[Record] = [json.loads(line) for line in lines.splitlines()]

    def find(self, name: str, system: str, **config: Any) -> Record | None:
        """Return the first record that matches and did not fail, or None."""
        for record in self._records:
            named = record["name"] == name and record["system"] == system
            same = all(record["config"].get(key) == v for key, v in config.items())
            if named and same and record["failure"] is None:
                return record
        return None

    def machine(self) -> str:
        """Return the machine in words."""
        found = self._records[0]["machine"]
        return f"{found['processor'].replace('(R)', '')}, {found['cores']} cores"


def nanoseconds(record: Record, clock: str = "cpu") -> str:
    """Return the time of an example with its unit."""
    return f"{record[f'{clock}_ns_per_example']:,.0f} ns"


class Line(NamedTuple):
    """A line of the short table: a task, what does it, and the figures that count."""

    task: str
    name: str
    ours: dict[str, Any]
    theirs: dict[str, Any]
    figures: Callable[[Record], str]
    system: str = "wyrm_py"

    def row(self, found: Results) -> list[str] | None:
        """Return the cells, or None where one of the two was not measured."""
        here = found.find(self.name, self.system, **self.ours)
        there = found.find(self.name, **self.theirs)
        if here is None or there is None:
            return None
        peer = f"{self.theirs['system']}: {self.figures(there)}"
        return [self.task, self.figures(here), peer]


def _quality(record: Record) -> str:
    found = f"{nanoseconds(record)} an example, AUC {record['auc']:.3f}"
    batch = record["config"].get("batch", 1)
    return found + (f", in batches of {batch}" if batch > 1 else "")


LINES = (
    Line(
        "WARP recommender, MovieLens 100K, one thread",
        "recommenders",
        {"workers": 1},
        {"system": "LightFM", "workers": 1},
        lambda r: f"{_quality(r)}, precision@10 {r['precision_at_10']:.3f}",
        "FactorizationRecommender",
    ),
    Line(
        "the same, Gowalla, 30,000 users x 41,000 places, two threads",
        "gowalla",
        {},
        {"system": "LightFM"},
        lambda r: (
            f"recall@20 {r['extra']['recall_at_20']:.3f} for "
            f"{r['extra']['cpu_s']:.0f} s of CPU time"
        ),
        "FactorizationRecommender",
    ),
    Line(
        "BPR, 5 million positives, two threads",
        "synthetic",
        {"optimizer": "sgd", "workers": 2, "backend": "threads"},
        {"system": "implicit", "optimizer": "sgd", "workers": 2},
        _quality,
    ),
    Line(
        "a model of your own: BPR by hand, MovieLens 100K",
        "movielens",
        {"optimizer": "adagrad", "workers": 1, "negatives": "uniform"},
        {"system": "PyTorch", "optimizer": "adagrad", "batch": 256},
        _quality,
    ),
    Line(
        "factorisation machine, a9a",
        "a9a",
        {"model": "machine"},
        {"system": "Vowpal Wabbit", "model": "machine"},
        lambda r: f"{nanoseconds(r)} a row, accuracy {r['extra']['accuracy']:.3f}",
    ),
    Line(
        "skip-gram, Brown corpus, width 100",
        "skipgram-100",
        {},
        {"system": "gensim"},
        lambda r: (
            f"{1e9 / r['cpu_ns_per_example']:,.0f} words/s, held-out loss "
            f"{r['extra']['held_out_loss']:.3f}"
        ),
    ),
    Line(
        "online learning from Python tuples, width 32",
        "online",
        {"loss": "bpr", "form": "Python tuples"},
        {"system": "river"},
        lambda r: f"{r['extra']['events_per_s']:,} events/s",
    ),
    Line(
        "ten best of 50,000 items for one user",
        "serving",
        {"model": "trained"},
        {"system": "implicit", "model": "trained"},
        lambda r: f"{r['extra']['recommend_ms']:.2f} ms",
    ),
)


def headline(found: Results) -> list[list[str]]:
    """Return what stands at the top of the README: task, here, today's choice."""
    rows = (line.row(found) for line in LINES)
    return [row for row in rows if row is not None]


def scaling(found: Results) -> Iterator[tuple[str, ...]]:
    """Yield the speed-up of two workers on a large and on a small model."""
    titles = {
        "synthetic": "100,000 users x 50,000 items, width 64",
        "movielens": "943 users x 1,682 items, width 32",
    }
    for name, title in titles.items():
        for optimizer in ("adagrad", "sgd"):
            one = found.find(
                *(name, "wyrm_py"),
                optimizer=optimizer,
                workers=1,
                engine="native",
                negatives="uniform",
            )
            for backend in ("processes", "threads"):
                two = found.find(
                    *(name, "wyrm_py"), optimizer=optimizer, workers=2, backend=backend
                )
                if one is None or two is None:
                    continue
                wall, cpu = "wall_ns_per_example", "cpu_ns_per_example"
                yield (
                    title,
                    f"{optimizer}, two {backend}",
                    f"{nanoseconds(one, 'wall')}, {nanoseconds(two, 'wall')}",
                    f"{one[wall] / two[wall]:.2f}x",
                    f"{2 * one[cpu] / two[cpu]:.2f}x",
                    f"{two['auc'] - one['auc']:+.4f}",
                )


def table(heads: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines])


def between(text: str, mark: str, body: str) -> str:
    """Return the text with another body between the two comments of a mark."""
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    before, rest = text.split(start, 1)
    _, after = rest.split(end, 1)
    return f"{before}{start}\n{body}\n\n{end}{after}"


def pages() -> dict[Path, str]:
    """Return each page that quotes results, as it ought to be."""
    found = Results((RESULTS / "results.jsonl").read_text(encoding="utf-8"))
    readme, hogwild = ROOT / "README.md", ROOT / "docs" / "hogwild.md"
    short = table(("task", "wyrm_py", "today's choice"), headline(found))
    heads = "tables", "workers", "an example: one, two", "faster", "by CPU time", "AUC"
    speeds = table(heads, scaling(found))
    return {
        readme: between(
            readme.read_text(encoding="utf-8"),
            "measured",
            f"{short}\n\n{found.machine()}. Times are CPU time, without start-up.",
        ),
        hogwild: between(hogwild.read_text(encoding="utf-8"), "measured", speeds),
        ROOT / "docs" / "benchmarks.md": (RESULTS / "table.md").read_text("utf-8"),
    }


def quote() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    quote()
