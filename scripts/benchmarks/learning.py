"""How well networks learn real data: the examples, run whole, on one core.

MNIST with the dense and the convolutional network of `examples/mnist.py`, and the
characters of the Penn Treebank with the GRUs of `examples/characters.py`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from .measure import Mark, Measurement, Recorder, mark

PTB_WIDTHS = [50, 100, 100]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _named(part: str, quick: bool) -> str:
    """Return the record's name; quick runs are too short to be judged."""
    return f"{part}-quick" if quick else part


def _seconds(spent: Mark) -> dict[str, float]:
    return {"cpu_s": round(spent.cpu / 1e9, 1), "wall_s": round(spent.wall / 1e9, 1)}


def mnist(recorder: Recorder, data: Path, quick: bool) -> None:
    """Record the accuracy of both networks on the test digits."""
    import wyrm_py as wp

    example = _example("mnist")
    training, test = wp.data.mnist(data / "mnist")
    for kind in example.NETWORKS:
        before = mark()
        model, _ = example.train(kind, training, epochs=1 if quick else None)
        record = Measurement(_named("mnist", quick), "wyrm_py", {"network": kind})
        record.extra = _seconds(mark() - before)
        record.extra["accuracy"] = round(example.accuracy(model, test), 4)
        recorder.add(record)


def characters(recorder: Recorder, data: Path, quick: bool) -> None:
    """Record the perplexity in the last of five epochs of training."""
    import wyrm_py as wp
    from wyrm_py import nn

    text = wp.data.read_text(data / "ptb" / "ptb.train.txt.gz")
    if quick:
        text = text[:200_000]
    symbols = wp.data.Characters(text)
    windows = wp.data.windows(symbols.encode(text), 50)
    reader = _example("characters").Reader(symbols.symbols, "GRU", [50, *PTB_WIDTHS])
    rule = wp.Adam(wp.schedules.Exponential(0.004, gamma=0.7), clip_norm=1.0)
    model = nn.Model(reader, nn.losses.cross_entropy, rule)
    before = mark()
    history = model.fit(
        windows.records,
        windows.labels,
        batch_size=32,
        epochs=5,
        random_state=0,
        progress=False,
    )
    record = Measurement(
        _named("ptb", quick), "wyrm_py", {"network": "GRU", "widths": PTB_WIDTHS}
    )
    record.extra = _seconds(mark() - before)
    record.extra["perplexity"] = round(wp.evaluation.perplexity(history.losses[-1]), 3)
    recorder.add(record)
