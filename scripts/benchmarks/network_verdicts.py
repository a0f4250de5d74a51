"""The targets of recurrent, convolutional and dense networks."""

from __future__ import annotations

from .measure import Recorder
from .verdict import Verdict, cpu_ns, missing


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare the networks' targets with the measurements of this run."""
    return [*_lstm(recorder), *_convolution(recorder), *_quality(recorder)]


def _lstm(recorder: Recorder) -> list[Verdict]:
    found = []
    for name, title, limit in (
        ("lstm", "LSTM step, sequence 4, embedding 16, hidden 32, SGD", 4.0),
        ("lstm-wide", "LSTM step, 20 inputs, width 128, Adagrad", 400.0),
    ):
        target = f"<= {limit:g} us"
        ours = recorder.find(name, "wyrm_py")
        if ours is None:
            found.append(missing(title, target))
            continue
        measured = f"{cpu_ns(ours) / 1000:.2f} us"
        for peer in ("hand-fused Numba", "PyTorch"):
            theirs = recorder.find(name, peer)
            if theirs is not None:
                ratio = cpu_ns(theirs) / cpu_ns(ours)
                measured += f"; {peer} {cpu_ns(theirs) / 1000:.2f} us ({ratio:.2f}x)"
        found.append(Verdict(title, target, measured, cpu_ns(ours) <= limit * 1000))
    return found


def _convolution(recorder: Recorder) -> list[Verdict]:
    """Best pass against best pass: other programs only ever slow one down.

    Wall time decides, unless other programs held the cores all the while: waiting
    threads of PyTorch then count as work, so its CPU time on one core is taken, as if
    it lost nothing on two.
    """
    found = []
    for workers in (1, 2):
        cores = "one core" if workers == 1 else "two cores"
        what = f"convolution on MNIST, batch 32, {cores}: images/s against PyTorch"
        target = ">= 0.8x" if workers == 2 else "-"
        ours = recorder.find("convolution", "wyrm_py", workers=workers)
        theirs = recorder.find("convolution", "PyTorch", workers=workers)
        if ours is None or theirs is None:
            found.append(missing(what, target))
            continue
        assert ours.wall_best and theirs.wall_best
        assert ours.cpu_best and theirs.cpu_best
        wall = theirs.wall_best / ours.wall_best
        alone = recorder.find("convolution", "PyTorch", workers=1) or theirs
        assert alone.cpu_best
        cpu = alone.cpu_best / ours.cpu_best
        rates = [1e9 / record.wall_best for record in (ours, theirs)]
        others = max(r.extra["cores_held_by_others"] for r in (ours, theirs))
        measured = f"{wall:.2f}x ({rates[0]:,.0f} and {rates[1]:,.0f}; by CPU time "
        measured += f"{cpu:.2f}x)"
        busy = others > 0.05
        if busy:
            measured += f"; others held {others:.1f} cores: judged by CPU time"
        held = (cpu if busy else wall) >= 0.8 if workers == 2 else None
        found.append(Verdict(what, target, measured, held))
    return found


def _quality(recorder: Recorder) -> list[Verdict]:
    found = []
    for network, limit in (("dense", 0.978), ("convolutional", 0.988)):
        what, target = f"MNIST, {network} network, test accuracy", f">= {limit:.1%}"
        record = recorder.find("mnist", network=network)
        if record is None:
            found.append(missing(what, target))
            continue
        accuracy = record.extra["accuracy"]
        found.append(Verdict(what, target, f"{accuracy:.2%}", accuracy >= limit))
    what = "Penn Treebank characters, GRU [50, 100, 100], perplexity after 5 epochs"
    target = "<= 4.16 in training"
    record = recorder.find("ptb")
    if record is None:
        return [*found, missing(what, target)]
    perplexity = record.extra["perplexity"]
    return [*found, Verdict(what, target, f"{perplexity:.2f}", perplexity <= 4.16)]
