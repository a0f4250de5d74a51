"""A model that was saved answers in another process, mapped into memory.

Run as a module it is that process: it loads the file it is given, asks, and prints its
readings as one line of JSON. implicit answers from the same vectors, where it is there.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from .measure import Measurement, Recorder, in_new_process, mark
from .verdict import Verdict, missing

ITEMS, WIDTH = 50_000, 64
ASKED = 200  # users, one after the other
MILLISECOND = 1e3
BUSY = 0.5  # cores: what others hold then, a request has to wait for


def measure(recorder: Recorder, quick: bool) -> None:
    """Train with two workers, save, and ask in fresh processes; load a large file."""
    import wyrm_py as wp
    from wyrm_py.models import FactorizationRecommender

    many = np.arange(100_000 if quick else 1_000_000)
    models = {
        "trained": (_interactions(100_000 if quick else 500_000), 1),
        "large": (wp.data.Interactions(many, many), 0),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (data, epochs) in models.items():
            model = FactorizationRecommender(
                "bpr", WIDTH, epochs=epochs, n_jobs=2, random_state=0
            )
            path = Path(folder) / f"{name}.wyrm"
            model.fit(data).save(path)
            readings = in_new_process("serving", path)
            readings["wyrm_py file_mb"] = path.stat().st_size / 1e6
            config = {"model": name, "items": data.n_items, "width": WIDTH}
            _record(recorder, config, readings)


def _interactions(count: int) -> Any:
    """Return interactions with all items, under ids that are text."""
    import wyrm_py as wp

    rng = np.random.default_rng(0)
    users = rng.integers(0, count // 25, count)
    items = np.concatenate([np.arange(ITEMS), rng.integers(0, ITEMS, count - ITEMS)])
    return wp.data.Interactions(
        np.char.add("user ", users.astype(str)), np.char.add("item ", items.astype(str))
    )


def _record(
    recorder: Recorder, config: dict[str, Any], readings: dict[str, float]
) -> None:
    for system in ("wyrm_py", "implicit"):
        own = {
            name.partition(" ")[2]: round(value, 3)
            for name, value in readings.items()
            if name.startswith(system)
        }
        if own:
            record = Measurement("serving", system, config, repeats=ASKED)
            record.extra = own
            recorder.add(record)


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare what was measured with the targets."""
    what = f"recommend, {ITEMS:,} items of width {WIDTH}, model of another process"
    target = "< 2 ms"
    trained = recorder.find("serving", "wyrm_py", model="trained")
    found = [missing(what, target)]
    if trained is not None:
        wall, cpu = (trained.extra[f"recommend_{kind}"] for kind in ("ms", "cpu_ms"))
        others = trained.extra["cores_held_by_others"]
        text = f"{wall:.2f} ms ({cpu:.2f} ms of CPU time)"
        if others > BUSY:
            text += f"; others held {others:.1f} cores: judged by CPU time"
        peer = recorder.find("serving", "implicit", model="trained")
        if peer is not None:
            text += f", implicit {peer.extra['recommend_ms']:.2f} ms"
        found = [Verdict(what, target, text, (cpu if others > BUSY else wall) < 2)]
    what, target = "load a saved model, whatever its size", "< 50 ms"
    loads = [recorder.find("serving", model=name) for name in ("trained", "large")]
    if any(record is None for record in loads):
        return [*found, missing(what, target)]
    times = [record.extra["load_ms"] for record in loads if record is not None]
    text = ", ".join(
        f"{record.extra['load_ms']:.1f} ms for {record.extra['file_mb']:.0f} MB"
        for record in loads
        if record is not None
    )
    return [*found, Verdict(what, target, text, max(times) < 50)]


def _child(path: str) -> None:
    from wyrm_py.models import FactorizationRecommender

    start = time.perf_counter()
    model = FactorizationRecommender.load(path)
    readings = {"wyrm_py load_ms": (time.perf_counter() - start) * MILLISECOND}
    users = model.users_.take(np.arange(ASKED))
    start = time.perf_counter()
    model.recommend(users[-1])
    readings["wyrm_py first_ms"] = (time.perf_counter() - start) * MILLISECOND
    readings |= _asked("wyrm_py", lambda k: model.recommend(users[k]))
    try:
        from implicit.cpu.bpr import BayesianPersonalizedRanking
    except ImportError:
        sys.stdout.write(json.dumps(readings))
        return
    peer = BayesianPersonalizedRanking(factors=model.width)
    peer.user_factors = np.asarray(model.user_vectors_[:ASKED])
    peer.item_factors = np.asarray(model.item_vectors_)
    seen = scipy.sparse.csr_matrix(model.seen_.csr(len(model.items_)))
    rows = [seen[k] for k in range(ASKED)]
    readings |= _asked("implicit", lambda k: peer.recommend(k, rows[k], N=10))
    sys.stdout.write(json.dumps(readings))


def _asked(system: str, ask: Callable[[int], Any]) -> dict[str, float]:
    """Return the median wall and CPU time of single requests."""
    start, walls, cpus = mark(), [], []
    for k in range(ASKED):
        cpu, wall = time.process_time(), time.perf_counter()
        ask(k)
        walls.append((time.perf_counter() - wall) * MILLISECOND)
        cpus.append((time.process_time() - cpu) * MILLISECOND)
    return {
        f"{system} recommend_ms": statistics.median(walls),
        f"{system} recommend_cpu_ms": statistics.median(cpus),
        f"{system} cores_held_by_others": (mark() - start).others(),
    }


if __name__ == "__main__":
    _child(sys.argv[1])
