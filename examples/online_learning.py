"""How does a recommender keep up with a stream whose tastes change, while it answers?

Events of new and old users come in chunks: each is predicted first, then learned from
(progressive validation). Half-way through all users change their tastes. Adagrad's
steps shrink with everything it has ever seen, so that a long life makes it slow to
turn round; with a half-life it forgets how long it has lived, and a constant rate
never slows down. Meanwhile another process reads the tables as they are trained.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import wyrm_py as wp
from wyrm_py.models import FactorizationRecommender

USERS, ITEMS, GROUPS = 2_000, 500, 10
CHUNK, CHUNKS = 5_000, 48

ASK = """
import sys
from wyrm_py.models import FactorizationRecommender
model = FactorizationRecommender.attach(sys.argv[1])
for line in sys.stdin:  # each answer is from the tables as they are by then
    print(*model.recommend(line.strip(), n=5, exclude_seen=False).ids, flush=True)
"""


def stream(seed: int) -> Iterator[wp.data.Events]:
    """Yield chunks of events; users come bit by bit, and all change their tastes."""
    rng = np.random.default_rng(seed)
    for chunk in range(CHUNKS):
        here = USERS * (chunk + 1) // CHUNKS
        users = rng.integers(0, here, CHUNK)
        group = (users + (chunk >= CHUNKS // 2)) % GROUPS
        items = group + GROUPS * rng.integers(0, ITEMS // GROUPS, CHUNK)
        names = [f"user {user}" for user in users]
        yield wp.data.Events(names, [f"item {item}" for item in items])


def learn(optimizer: wp.Optimizer, half_life: int | None = None) -> list[float]:
    """Return the recent AUC after each chunk."""
    model = FactorizationRecommender("bpr", width=16, optimizer=optimizer)
    model.set_params(random_state=0).begin_stream(window=CHUNK, half_life=half_life)
    found: list[float] = []
    model.partial_fit(
        stream(seed=0), callback=lambda progress: found.append(progress.auc.recent)
    )
    return found


def group_of(items: str) -> str:
    """Return the groups of some items: the last digits of their numbers."""
    return " ".join(name.strip()[-1] for name in items.split("item ")[1:])


def answer_while_learning() -> tuple[str, str]:
    """Return what another process recommends before and after the change."""
    model, answers = FactorizationRecommender("bpr", width=16, random_state=0), []
    model.begin_stream(half_life=20_000)
    with tempfile.TemporaryDirectory() as folder:
        place = model.publish(Path(folder) / "live")
        chunks = list(stream(seed=0))
        command = [sys.executable, "-c", ASK, place]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdin is not None and reader.stdout is not None
            for part in (chunks[: CHUNKS // 2], chunks[CHUNKS // 2 :]):
                model.partial_fit(part)
                reader.stdin.write("user 3\n")
                reader.stdin.flush()
                answers.append(group_of(reader.stdout.readline()))
            reader.stdin.close()
    return answers[0], answers[1]


def main() -> None:
    """Print how each way of forgetting copes with the change."""
    print(f"AUC of the last {CHUNK} events: before the change, right after, at the end")
    for name, optimizer, half_life in [
        ("Adagrad", wp.Adagrad(0.1), None),
        ("Adagrad, half-life 20,000", wp.Adagrad(0.1), 20_000),
        ("SGD, constant rate", wp.SGD(0.2), None),
    ]:
        auc = learn(optimizer, half_life)
        middle = CHUNKS // 2
        figures = " ".join(f"{auc[k]:.3f}" for k in (middle - 1, middle, -1))
        print(f"{name:26} {figures}")
    before, after = answer_while_learning()
    print(f"another process, groups of user 3's best items: {before}, then {after}")


if __name__ == "__main__":
    main()
