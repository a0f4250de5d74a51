"""The targets of the project, each with what this run measured."""

from __future__ import annotations

import itertools

from . import (
    a9a,
    feature_costs,
    gowalla,
    network_verdicts,
    online,
    recommenders,
    sequences,
    serving,
    skipgram,
)
from .measure import Measurement, Recorder
from .verdict import Verdict, cpu_ns, missing


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare all targets with the measurements of this run."""
    return [
        *_against_hand(recorder),
        *_against_peers(recorder),
        *_regression(recorder),
        *_two_workers(recorder),
        *_warp(recorder),
        *_memory(recorder),
        *_startup(recorder),
        *serving.verdicts(recorder),
        *network_verdicts.verdicts(recorder),
        *online.verdicts(recorder),
        *skipgram.verdicts(recorder),
        *a9a.verdicts(recorder),
        *recommenders.verdicts(recorder),
        *feature_costs.verdicts(recorder),
        *gowalla.verdicts(recorder),
        *sequences.verdicts(recorder),
    ]


def _one_worker(
    recorder: Recorder, name: str, optimizer: str, negatives: str = "uniform"
) -> Measurement | None:
    return recorder.find(
        name,
        "wyrm_py",
        optimizer=optimizer,
        workers=1,
        engine="native",
        negatives=negatives,
    )


def _against_hand(recorder: Recorder) -> list[Verdict]:
    """The hand-fused loop has no sampler; the faster of its two forms counts."""
    found = []
    for name in ("movielens", "synthetic"):
        for optimizer in ("adagrad", "sgd"):
            what = f"{name}, {optimizer}: wyrm_py against the hand-fused loop"
            target = "<= 1.5x" if (name, optimizer) == ("movielens", "adagrad") else "-"
            ours = _one_worker(recorder, name, optimizer)
            hands = [
                hand
                for ahead in (False, True)
                if (
                    hand := recorder.find(
                        name, "hand-fused Numba", optimizer=optimizer, prefetch=ahead
                    )
                )
            ]
            if ours is None or not hands:
                found.append(missing(what, target))
                continue
            hand_ns = min(cpu_ns(hand) for hand in hands)
            ratio = cpu_ns(ours) / hand_ns
            measured = f"{ratio:.2f}x ({cpu_ns(ours):.1f} ns, {hand_ns:.1f} ns)"
            held = None if target == "-" else ratio <= 1.5
            found.append(Verdict(what, target, measured, held))
    return found


def _against_peers(recorder: Recorder) -> list[Verdict]:
    found = []
    for name, peer, optimizer, times in (
        ("movielens", "LightFM", "adagrad", 8.0),
        ("movielens", "implicit", "sgd", 2.0),
        ("synthetic", "LightFM", "adagrad", 6.0),
        ("synthetic", "implicit", "sgd", 3.0),
    ):
        what = f"{name}, {optimizer}: examples/s against {peer}, one worker"
        target = f">= {times:g}x at equal or better AUC"
        ours = _one_worker(recorder, name, optimizer)
        theirs = recorder.find(name, peer, workers=1)
        if ours is None or theirs is None or ours.auc is None or theirs.auc is None:
            found.append(missing(what, target))
            continue
        ratio = cpu_ns(theirs) / cpu_ns(ours)
        measured = f"{ratio:.1f}x, AUC {ours.auc:.3f} against {theirs.auc:.3f}"
        held = ratio >= times and ours.auc >= theirs.auc
        found.append(Verdict(what, target, measured, held))
    return found


def _regression(recorder: Recorder) -> list[Verdict]:
    found = []
    for name, what, limit in (
        ("regression-fit", "linear regression, `fit`, per example", 6.0),
        ("step-set-values", "`set_value`, `set_value`, `step()` from Python", 1000.0),
    ):
        record = recorder.find(name)
        target = f"<= {limit:g} ns"
        if record is None:
            found.append(missing(what, target))
            continue
        cpu = cpu_ns(record)
        found.append(Verdict(what, target, f"{cpu:.1f} ns", cpu <= limit))
    return found


def _two_workers(recorder: Recorder) -> list[Verdict]:
    """Best epoch against best epoch: other programs only ever slow one down.

    Wall time decides, unless other programs held the cores all the while; then the
    ratio of CPU times does: what two idle cores would have given.
    """
    found = []
    for optimizer in ("adagrad", "sgd"):
        one = _one_worker(recorder, "synthetic", optimizer)
        for backend in ("processes", "threads"):
            what = f"synthetic, {optimizer}: two {backend} against one worker"
            target = ">= 1.85x, AUC within 0.005"
            two = recorder.find(
                "synthetic", "wyrm_py", optimizer=optimizer, workers=2, backend=backend
            )
            if one is None or two is None or one.auc is None or two.auc is None:
                found.append(missing(what, target))
                continue
            assert one.wall_best and two.wall_best and one.cpu_best and two.cpu_best
            wall = one.wall_best / two.wall_best
            cpu = 2 * one.cpu_best / two.cpu_best
            others = max(r.extra["cores_held_by_others"] for r in (one, two))
            busy = others > 0.05
            change = two.auc - one.auc
            measured = f"{wall:.2f}x (by CPU time {cpu:.2f}x), AUC {change:+.4f}"
            if busy:
                measured += f"; others held {others:.1f} cores: judged by CPU time"
            held = (cpu if busy else wall) >= 1.85 and abs(change) <= 0.005
            found.append(Verdict(what, target, measured, held))
    return found


def _warp(recorder: Recorder) -> list[Verdict]:
    what = "WARP on MovieLens 100K, 10 epochs"
    target = "AUC > 0.90, P@10 above popularity, < 2 s"
    ours = recorder.find("warp", "wyrm_py", workers=1)
    base = recorder.find("movielens", "popularity")
    if ours is None or base is None:
        return [missing(what, target)]
    assert ours.auc is not None and ours.precision_at_10 is not None
    assert base.precision_at_10 is not None
    seconds = float(ours.extra["train_seconds"])
    measured = (
        f"AUC {ours.auc:.3f}, P@10 {ours.precision_at_10:.3f} "
        f"(popularity {base.precision_at_10:.3f}), {seconds:.2f} s"
    )
    good = ours.auc > 0.90 and ours.precision_at_10 > base.precision_at_10
    return [Verdict(what, target, measured, good and seconds < 2)]


def _memory(recorder: Recorder) -> list[Verdict]:
    what = "1,000,000 x 64, two processes, sum of PSS"
    target = "<= 1.2 x (table + state) + 250 MB per process"
    record = recorder.find("memory", workers=2)
    if record is None:
        return [missing(what, target)]
    extra = record.extra
    # the columns exist twice: the caller's, and the copy the workers share
    used = extra["peak_pss_mb"] - 2 * extra["columns_mb"]
    limit = 1.2 * extra["table_and_state_mb"] + 250 * 2
    measured = f"{used:.0f} MB of {limit:.0f} MB"
    return [Verdict(what, target, measured, used <= limit)]


def _startup(recorder: Recorder) -> list[Verdict]:
    found = []
    steps = {
        "step": ("a small step", 2.0),
        "lstm-4": ("an LSTM step, 4 inputs long", 4.0),
        "lstm-200": ("an LSTM step, 200 inputs long", 4.0),
    }
    for step, cache in itertools.product(steps, ("cold", "cached")):
        title, limit = steps[step]
        what = f"compile {title}, {cache}"
        limit = limit if cache == "cold" else 0.3
        target = f"<= {limit:g} s"
        record = recorder.find("compile", what=step, cache=cache)
        if record is None:
            found.append(missing(what, target))
            continue
        seconds, cpu = record.extra["seconds"], record.extra["cpu_s"]
        measured = f"{cpu:.2f} s of CPU time ({seconds:.2f} s wall)"
        found.append(Verdict(what, target, measured, cpu <= limit))
    record = recorder.find("evaluation")
    what, target = "rank and measure all of MovieLens 100K", "< 0.2 s"
    if record is None:
        return [*found, missing(what, target)]
    seconds = record.extra["seconds"]
    return [*found, Verdict(what, target, f"{seconds:.3f} s", seconds < 0.2)]
