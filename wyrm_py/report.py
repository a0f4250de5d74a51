"""A training run as one page of HTML that needs nothing else: no script, no network.

Light or dark as the reader's system is; whatever comes from names is escaped.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wyrm_py.charts import bar, line_chart
from wyrm_py.report_style import STYLE

if TYPE_CHECKING:
    from wyrm_py.parallel.history import History


def write_report(
    path: str | os.PathLike[str],
    history: History,
    title: str = "Training run",
) -> None:
    """Write a run as a page of HTML.

    Parameters
    ----------
    path : str or path-like, conventionally `*.html`; is overwritten
    history : of a run of `fit`; one from a file comes by `History.from_dict`
    title : heading of the page

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    Path(path).write_text(report_html(history, title), encoding="utf-8")


def report_html(history: History, title: str = "Training run") -> str:
    """Return the text of the page; see `write_report`."""
    sections = [
        _header(history, title),
        _tiles(history),
        _losses(history),
        _small_charts(history),
        _workers(history),
        _graph(history),
        _parameters(history),
        _section("Settings", _facts(_settings(history))),
        _section("Machine", _facts(history.machine)),
        _epochs(history),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _section(heading: str, content: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{content}" if content else ""


def _header(history: History, title: str) -> str:
    parts = [
        _count(len(history.losses), "epoch"),
        _count(history.workers, "worker"),
        str(history.settings.get("optimizer", "")),
        history.started.replace("T", " ").replace("+00:00", " UTC"),
    ]
    line = " · ".join(escape(part) for part in parts if part)
    return f"<h1>{escape(title)}</h1>\n<p>{line}</p>"


def _tiles(history: History) -> str:
    tiles = []
    if history.losses:
        tiles.append((_number(history.losses[-1]), "loss of the last epoch"))
    best = history.best_epoch
    if history.validation_losses:
        at = len(history.validation_losses) - 1 if best is None else best
        where = "last epoch" if best is None else f"epoch {best + 1}, the best"
        found = history.validation_losses[at : at + 1]
        tiles += [(_number(value), f"validation loss, {where}") for value in found]
    tiles.append((f"{history.samples_per_second:,.0f}", "examples a second"))
    tiles.append((_duration(history.seconds), "of training"))
    shown = (
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what in tiles
    )
    return f'<div class="tiles">{"".join(shown)}</div>'


def _losses(history: History) -> str:
    lines = {"training": history.losses, "validation": history.validation_losses}
    known = {name: values for name, values in lines.items() if any(values)}
    if not known:
        return ""
    legend = "".join(
        f'<span><i class="line-{k}"></i>{name} <em>{_number(values[-1])}</em></span>'
        for k, (name, values) in enumerate(known.items())
    )
    if history.best_epoch is not None:
        legend += f"<span><em>best epoch: {history.best_epoch + 1}</em></span>"
    chart = f'<div class="wide">{line_chart(known, mark=history.best_epoch)}</div>'
    return _section("Loss", f'<div class="legend">{legend}</div>{chart}')


def _small_charts(history: History) -> str:
    """Metrics, and what else changed from epoch to epoch."""
    charts = {}
    for name in dict.fromkeys(name for row in history.metrics for name in row):
        charts[name] = [row.get(name, math.nan) for row in history.metrics]
    mark = dict.fromkeys(charts, history.best_epoch)
    floor = {"examples a second": 0.0}
    if len(set(history.learning_rates)) > 1:
        charts["learning rate"] = history.learning_rates
    speeds = _speeds(history)
    if len(speeds) > 1:
        charts["examples a second"] = speeds
    shown = []
    for name, values in charts.items():
        chart = line_chart(
            {name: values}, 420.0, 190.0, mark.get(name), floor.get(name)
        )
        shown.append(f"<div><h3>{escape(name)}</h3>{chart}</div>")
    heading = "Metrics and speed" if history.metrics else "Speed"
    return _section(
        heading, f'<div class="pair">{"".join(shown)}</div>' if shown else ""
    )


def _workers(history: History) -> str:
    pairs = [*zip(history.worker_examples, history.worker_seconds, strict=False)]
    if not pairs:
        return ""
    rows = []
    for number, (examples, seconds) in enumerate(pairs, 1):
        busy = seconds / history.seconds if history.seconds else 0.0
        speed = f"{examples / seconds:,.0f}" if seconds else "-"
        rows.append(
            f'<tr><td>{number}</td><td class="number">{examples:,.0f}</td>'
            f'<td class="number">{speed}</td><td class="number">{seconds:.3g} s</td>'
            f'<td class="number">{100 * min(busy, 1):.0f} %</td>'
            f"<td>{bar(busy)}</td></tr>"
        )
    head = ("worker", "examples", "examples a second", "busy", "of the time", "")
    return _section("Workers", _table(head, rows, numbers=range(1, 5)))


def _graph(history: History) -> str:
    if history.graph is None:
        return ""
    return _section("Model", f'<div class="graph">{history.graph.svg}</div>')


def _parameters(history: History) -> str:
    shapes = history.settings.get("parameters")
    rows = [
        f'<tr><th scope="row">{escape(str(name))}</th>'
        f'<td class="number">{" x ".join(map(str, shape)) or "1"}</td>'
        f'<td class="number">{math.prod(shape):,}</td></tr>'
        for name, shape in (shapes.items() if isinstance(shapes, dict) else ())
        if isinstance(shape, list) and all(isinstance(n, int) for n in shape)
    ]
    if not rows:
        return ""
    head = ("parameter", "shape", "numbers")
    return _section("Parameters", _table(head, rows, numbers=range(1, 3)))


def _settings(history: History) -> dict[str, Any]:
    shown = {k: v for k, v in history.settings.items() if k != "parameters"}
    return {**shown, "seed": history.seed}


def _facts(facts: Mapping[str, Any]) -> str:
    """Return names and values as a table."""
    rows = [
        f'<tr><th scope="row">{escape(str(name).replace("_", " "))}</th>'
        f"<td>{escape(_plain(value))}</td></tr>"
        for name, value in facts.items()
        if value is not None
    ]
    return f"<table><tbody>{''.join(rows)}</tbody></table>" if rows else ""


def _epochs(history: History) -> str:
    columns: dict[str, Sequence[float]] = {
        "loss": history.losses,
        "validation": history.validation_losses,
    }
    for name in dict.fromkeys(name for row in history.metrics for name in row):
        columns[name] = [row.get(name, math.nan) for row in history.metrics]
    columns["learning rate"] = history.learning_rates
    columns["seconds"] = history.epoch_seconds
    columns["examples a second"] = _speeds(history)
    columns = {name: values for name, values in columns.items() if values}
    rows = []
    for k in range(len(history.losses)):
        cells = (
            values[k] if k < len(values) else math.nan for values in columns.values()
        )
        shown = "".join(f'<td class="number">{_number(cell)}</td>' for cell in cells)
        rows.append(f"<tr><td>{k + 1}</td>{shown}</tr>")
    if not rows:
        return ""
    table = _table(("epoch", *columns), rows, numbers=range(1, len(columns) + 1))
    return f"<details><summary>Every epoch</summary>{table}</details>"


def _table(head: Sequence[str], rows: Iterable[str], numbers: range) -> str:
    cells = "".join(
        f'<th scope="col"{" class=number" if k in numbers else ""}>{escape(name)}</th>'
        for k, name in enumerate(head)
    )
    return (
        f'<div class="wide"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _speeds(history: History) -> list[float]:
    """Return examples a second of each epoch."""
    examples = history.settings.get("examples")
    if not isinstance(examples, int):
        return []
    return [examples / s if s > 0 else math.nan for s in history.epoch_seconds]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value < 1 << 40 else str(value)
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "\N{EN DASH}" if math.isnan(value) else str(value)
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
