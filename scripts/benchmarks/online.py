"""Online learning: events per second from raw ids to the progressive metric.

Each form of the same stream is learned from nothing: ids to rows, tables that grow, a
prediction of every event before it is learned, who saw what. Peers learn chunk by chunk
as well: LightFM with users and items numbered beforehand and no predictions, river
event by event.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .measure import Mark, Measurement, Recorder, mark
from .verdict import Verdict, missing

USERS, ITEMS, EVENTS = 100_000, 20_000, 1_000_000
WIDTH, CHUNK, REPEATS = 32, 8192, 3
LEAST = 200_000
FORMS = ("arrays of integers", "arrays of strings", "Python tuples", "lines of text")
FEATURED = "arrays of integers, three features an item"


def events(count: int) -> tuple[Any, Any]:
    """Return users and items of a stream: skewed, new ones coming all the time."""
    rng = np.random.default_rng(0)
    users = rng.zipf(1.3, count) % USERS
    items = (7 * users + 97 * (rng.zipf(1.4, count) % 200)) % ITEMS
    return users, items


def sources(users: Any, items: Any) -> dict[str, Callable[[], Any]]:
    """Return the stream in every form."""
    import wyrm_py as wp

    names = [f"user{user}" for user in users]
    titles = [f"item{item}" for item in items]
    text = "".join(f"{u},{i}\n" for u, i in zip(names, titles, strict=True)).encode()
    strings = np.array(names, object), np.array(titles, object)
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    return {
        "arrays of integers": lambda: wp.data.Events(users, items),
        "arrays of strings": lambda: wp.data.Events(*strings),
        "Python tuples": lambda: iter(pairs),
        "lines of text": lambda: io.BytesIO(text),
    }


def measure(recorder: Recorder, quick: bool) -> None:
    """Learn the stream in every form, and with the peers that are there."""
    users, items = events(100_000 if quick else EVENTS)
    forms = sources(users, items)
    forms[FEATURED] = forms["arrays of integers"]
    for loss, names in (("bpr", (*FORMS, FEATURED)), ("warp", (FORMS[0], FEATURED))):
        for form in names:
            given = {"item_features": tags} if form == FEATURED else {}
            _ours(forms[form], loss, given)  # compiles
            best, auc = None, 0.0
            for _ in range(1 if quick else REPEATS):
                gc.collect()
                before = mark()
                auc = _ours(forms[form], loss, given)
                spent = mark() - before
                best = spent if best is None else min(best, spent)
            assert best is not None
            config = {"loss": loss, "form": form, "width": WIDTH}
            record = _record("wyrm_py", config, best, len(users))
            record.extra["progressive_auc"] = round(auc, 4)
            recorder.add(record)
    for peer in (_lightfm, _river):
        try:
            recorder.add(peer(users, items))
        except ImportError as error:
            name = peer.__name__.removeprefix("_")
            recorder.add(Measurement("online", name, {}, failure=str(error)))


def _record(
    system: str, config: dict[str, Any], spent: Mark, count: int
) -> Measurement:
    record = Measurement("online", system, config, repeats=1)
    record.cpu_ns_per_example = round(spent.cpu / count, 1)
    record.wall_ns_per_example = round(spent.wall / count, 1)
    record.extra["events_per_s"] = round(count / spent.cpu * 1e9)
    return record


def tags(item: int) -> list[str]:
    """Return three features of an item: of 200, 50 and 10."""
    return [f"author:{item % 200}", f"year:{item % 50}", f"kind:{item % 10}"]


def _ours(source: Callable[[], Any], loss: str, given: dict[str, Any]) -> float:
    from wyrm_py.models import FactorizationRecommender

    model = FactorizationRecommender(loss, WIDTH, random_state=0)
    model.partial_fit(source(), chunk_size=CHUNK, **given)
    return float(model.progress_.auc.mean)


def _lightfm(users: Any, items: Any) -> Measurement:
    from lightfm import LightFM
    from scipy import sparse

    shape = int(users.max()) + 1, int(items.max()) + 1
    model = LightFM(no_components=WIDTH, loss="bpr", random_state=0)
    before = mark()
    for begin in range(0, len(users), CHUNK):
        part = slice(begin, begin + CHUNK)
        ones = np.ones(len(users[part]), np.float32)
        pairs = sparse.coo_matrix((ones, (users[part], items[part])), shape)
        model.fit_partial(pairs, epochs=1, num_threads=1)
    config = {"loss": "bpr", "form": "codes, no metric", "width": WIDTH}
    return _record("LightFM", config, mark() - before, len(users))


def _river(users: Any, items: Any) -> Measurement:
    from river import reco

    model, count = reco.FunkMF(n_factors=WIDTH), min(len(users), 20_000)
    before = mark()
    for user, item in zip(users[:count].tolist(), items[:count].tolist(), strict=True):
        model.predict_one(user, item)
        model.learn_one(user, item, 1.0)
    config = {"loss": "squared", "form": "Python values", "width": WIDTH}
    return _record("river", config, mark() - before, count)


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare the events per second of CPU time with the target."""
    found = []
    for form in (*FORMS, FEATURED):
        what = f"online, BPR, width {WIDTH}, one core: events/s from {form}"
        target = f">= {LEAST:,}"
        ours = recorder.find("online", "wyrm_py", loss="bpr", form=form)
        if ours is None:
            found.append(missing(what, target))
            continue
        rate = ours.extra["events_per_s"]
        measured = f"{rate:,} (AUC {ours.extra['progressive_auc']:.3f})"
        for name in ("LightFM", "river"):
            peer = recorder.find("online", name)
            if peer is not None:
                measured += f"; {name} {peer.extra['events_per_s']:,}"
        found.append(Verdict(what, target, measured, rate >= LEAST))
    return found
