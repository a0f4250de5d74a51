"""Runs the parts of the benchmark and writes what they found."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

from . import (
    a9a,
    comparison,
    convolution,
    datasets,
    fast_math,
    feature_costs,
    gowalla,
    learning,
    lstm,
    memory,
    online,
    readme,
    recommenders,
    regression,
    sequences,
    serving,
    skipgram,
    startup,
)
from .measure import Measurement, Recorder
from .table import markdown, verdict_table
from .verdict import NOT_MEASURED
from .verdicts import verdicts

Part = Callable[[Recorder, argparse.Namespace], None]


def _movielens(options: argparse.Namespace) -> datasets.Dataset:
    return datasets.movielens(options.data / "ml-100k")


def _synthetic(recorder: Recorder, options: argparse.Namespace) -> None:
    sizes = (20_000, 10_000, 500_000) if options.quick else ()
    dataset = datasets.synthetic(*sizes)
    comparison.synthetic(dataset, recorder, options.quick)


def _lstm(recorder: Recorder, options: argparse.Namespace) -> None:
    lstm.small(recorder, options.quick)
    lstm.wide(recorder, options.quick)


PARTS: dict[str, Part] = {
    "regression": lambda r, o: regression.fit_examples(r, o.quick),
    "step": lambda r, o: regression.step_calls(r, o.quick),
    "startup": lambda r, o: startup.measure(r, o.quick),
    "memory": lambda r, o: memory.measure(r, o.quick),
    "evaluation": lambda r, o: regression.evaluation(r, _movielens(o)),
    "serving": lambda r, o: serving.measure(r, o.quick),
    "online": lambda r, o: online.measure(r, o.quick),
    "movielens": lambda r, o: comparison.movielens(_movielens(o), r, o.quick),
    "warp": lambda r, o: comparison.warp(_movielens(o), r, o.quick),
    "synthetic": _synthetic,
    "lstm": _lstm,
    "convolution": lambda r, o: convolution.measure(r, o.quick),
    "a9a": lambda r, o: a9a.measure(r, o.data, o.quick),
    "recommenders": lambda r, o: recommenders.measure(r, o.data, o.quick),
    "features": lambda r, o: feature_costs.measure(r, o.data, o.quick),
    "gowalla": lambda r, o: gowalla.measure(r, o.data, o.quick),
    "skipgram": lambda r, o: skipgram.measure(r, o.data, o.quick),
    "sequence": lambda r, o: sequences.measure(r, o.data, o.quick),
}
ON_REQUEST: dict[str, Part] = {
    "mnist": lambda r, o: learning.mnist(r, o.data, o.quick),
    "ptb": lambda r, o: learning.characters(r, o.data, o.quick),
    "transcendentals": lambda r, o: fast_math.measure(r, o.data, o.quick),
}
"""Parts that a whole run leaves out: they take minutes and change seldom."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parts = PARTS | ON_REQUEST
    parser.add_argument("--only", action="append", choices=parts, metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Run the chosen parts; a part that fails is reported and the rest goes on."""
    options = _options()
    load = os.getloadavg()[0]
    warnings.simplefilter("ignore")  # the peers' own, which are not ours to mend
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / "results.jsonl").open("w") as stream:
        recorder = Recorder(stream)
        for name, reason in json.loads(os.environ.get("PEER_FAILURES", "{}")).items():
            recorder.add(Measurement("install", name, {}, failure=reason))
        for name in options.only or PARTS:
            try:
                (PARTS | ON_REQUEST)[name](recorder, options)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                recorder.add(Measurement(name, "wyrm_py", {}, failure=reason))
    found = verdicts(recorder)
    if options.only:
        found = [verdict for verdict in found if verdict.measured != NOT_MEASURED]
    table = options.output / "table.md"
    table.write_text(markdown(recorder, found, load, options.quick))
    if options.output.resolve() == readme.RESULTS and not (
        options.only or options.quick
    ):
        readme.quote()
    print("\n" + "\n".join(verdict_table(found)))
    print(f"\nWritten to {options.output}")


if __name__ == "__main__":
    main()
