"""Writes the results as the Markdown table that docs/benchmarks.md is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .measure import Measurement, Recorder, machine, versions
from .verdict import Verdict

TITLES = {
    "movielens": "BPR, MovieLens 100K (`ua`, rating >= 4), width 32",
    "synthetic": "BPR, 100,000 users x 50,000 items, 5 million positives, width 64",
    "warp": "WARP, MovieLens 100K, width 32",
    "lstm": "LSTM, sequence 4, embedding 16, hidden 32, 10 classes, batch 1",
    "lstm-wide": "LSTM, 20 inputs, width 128, batch 1",
    "skipgram-32": "Skip-gram, Brown corpus, width 32 (an example is a word)",
    "skipgram-100": "Skip-gram, Brown corpus, width 100 (an example is a word)",
    "convolution": "Convolutional network on MNIST, batch 32",
}
TIMES = {
    "regression-fit": "linear regression, an example in `fit`",
    "step-set-values": "linear regression, `set_value`, `set_value`, `step()`",
    "step-alone": "`step()` alone",
    "set-value": "`set_value` alone",
}


def markdown(
    recorder: Recorder, found: Sequence[Verdict], load: float, quick: bool
) -> str:
    """Return the whole document."""
    facts = machine()
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        "# Benchmark results",
        "",
        "Written by `scripts/benchmark`; not edited by hand.",
        "",
        f"Machine: {facts['processor']}, {facts['cores']} cores, "
        f"AVX-512 {'yes' if facts.get('avx512') else 'no'}, {facts['system']}; "
        f"load before the run {load:.2f}.",
        f"Versions: {packages}.",
        "",
        "Time is in ns per example, median over the repeats with the quartiles in "
        "brackets. CPU time adds up all threads and worker processes; it bears other "
        "work on the machine better than wall time does. Start-up is not in it. "
        "LightFM and implicit draw negatives in proportion to popularity, which costs "
        "AUC and helps P@10; the hand-fused loop is given its negatives.",
    ]
    if quick:
        lines += ["", "**A quick run**: few repeats, smaller tables, short epochs."]
    for name, title in TITLES.items():
        records = [m for m in recorder.measurements if m.name == name]
        if records:
            lines += ["", f"## {title}", "", *_systems(records)]
    lines += ["", "## Steps, start and memory", "", *_others(recorder.measurements)]
    lines += ["", "## Targets", "", *verdict_table(found), ""]
    return "\n".join(lines)


def verdict_table(found: Sequence[Verdict]) -> list[str]:
    """Return the verdicts as the lines of a table."""
    words = {True: "yes", False: "**no**", None: ""}
    rows = [(v.what, v.target, v.measured, words[v.held]) for v in found]
    return _table(("what", "target", "measured", "held"), rows)


def _systems(records: Iterable[Measurement]) -> list[str]:
    heads = ("system", "setting", "CPU ns", "wall ns", "AUC", "P@10", "repeats")
    rows = []
    for record in records:
        setting = _setting(record)
        if record.failure is not None:
            rows.append((record.system, setting, record.failure, "", "", "", ""))
            continue
        rows.append(
            (
                record.system,
                setting,
                _time(record.cpu_ns_per_example, record.cpu_spread),
                _time(record.wall_ns_per_example, record.wall_spread),
                "" if record.auc is None else f"{record.auc:.3f}",
                ""
                if record.precision_at_10 is None
                else f"{record.precision_at_10:.3f}",
                str(record.repeats or ""),
            )
        )
    shown = [k for k, head in enumerate(heads) if k < 2 or any(row[k] for row in rows)]
    return _table([heads[k] for k in shown], [[row[k] for k in shown] for row in rows])


def _setting(record: Measurement) -> str:
    config = dict(record.config)
    words = [str(config.pop("optimizer", ""))]
    workers = config.get("workers", 1)
    if workers > 1:
        words.append(f"{workers} {config.get('backend', 'threads')}")
    if config.get("batch", 1) > 1:
        words.append(f"batch {config['batch']}")
    if config.get("engine", "native") != "native":
        words.append(f"engine {config['engine']}")
    if config.get("prefetch"):
        words.append("prefetch")
    if config.get("negatives", "uniform") not in ("uniform", "warp"):
        words.append(f"negatives {config['negatives']}")
    return ", ".join(word for word in words if word)


def _time(middle: float | None, spread: tuple[float, float] | None) -> str:
    if middle is None or spread is None:
        return ""
    digits = 1 if middle < 1000 else 0
    low, high = spread
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def _others(measurements: Iterable[Measurement]) -> list[str]:
    rows = []
    for record in measurements:
        what = TIMES.get(record.name)
        if record.failure is not None:
            if record.name not in TITLES:
                rows.append((record.name, _plain(record.config), record.failure))
        elif what is not None:
            time = _time(record.cpu_ns_per_example, record.cpu_spread)
            rows.append((what, f"{time} ns", _plain(record.config)))
        elif record.name not in TITLES:
            title = f"{record.name} {_plain(record.config)}"
            rows.append((title, _plain(record.extra), ""))
    return _table(("what", "measured", "with"), rows)


def _plain(values: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return lines
