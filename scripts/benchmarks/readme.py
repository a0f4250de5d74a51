"""Quotes the table in the README: python3 scripts/benchmarks/readme.py

A whole run of scripts/benchmark does it at its end. Needs only the standard library.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "scripts" / "benchmarks" / "results"
START, END = "<!-- benchmark table -->\n", "<!-- end of benchmark table -->\n"


def quoted(readme: str, table: str) -> str:
    """Return the README with the table between its two marks."""
    before, rest = readme.split(START, 1)
    _, after = rest.split(END, 1)
    body = re.sub(r"^# .*\n+", "", table)
    body = re.sub(r"^## ", "### ", body, flags=re.MULTILINE)
    return f"{before}{START}\n{body.strip()}\n\n{END}{after}"


def quote() -> None:
    """Write the last table into the README."""
    table = (RESULTS / "table.md").read_text(encoding="utf-8")
    text = quoted(README.read_text(encoding="utf-8"), table)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    quote()
