"""A saved model answers in another process, and a damaged file does no harm there."""

import json
import subprocess
import sys

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.data import Interactions
from wyrm_py.models import FactorizationRecommender

ASK = """
import json, sys
from wyrm_py.models import FactorizationRecommender
model = FactorizationRecommender.load(sys.argv[1])
best, near = model.recommend(sys.argv[2], n=5), model.similar_items("item 3", n=4)
model.item_vectors_[:] = 0  # in this process alone
answers = [best.ids, best.scores, near.ids, near.scores]
print(json.dumps([answer.tolist() for answer in answers]))
"""


def made(n_jobs=1):
    rng = np.random.default_rng(0)
    users = np.char.add("user ", rng.integers(0, 60, 900).astype(str))
    items = np.char.add("item ", rng.integers(0, 80, 900).astype(str))
    data = Interactions(users, items)
    model = FactorizationRecommender(
        "bpr", width=8, epochs=1, n_jobs=n_jobs, random_state=0
    )
    return model.fit(data), users.tolist(), items.tolist()


def test_two_workers_train_and_another_process_answers_from_the_file(tmp_path):
    model, users, _ = made(n_jobs=2)
    path = tmp_path / "model.wyrm"
    model.save(path)
    before = path.read_bytes()
    command = [sys.executable, "-W", "error", "-c", ASK, str(path), users[0]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    best, near = model.recommend(users[0], n=5), model.similar_items("item 3", n=4)
    expected = [best.ids, best.scores, near.ids, near.scores]
    assert json.loads(done.stdout) == [answer.tolist() for answer in expected]
    assert path.read_bytes() == before


@pytest.mark.parametrize("seed", range(25))
def test_a_mapped_file_with_damaged_content_answers_or_says_so(tmp_path, seed, fitted):
    """Content is not read on loading: nothing in it may lead out of an array."""
    model, users, items = fitted
    path = tmp_path / "model.wyrm"
    model.save(path)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 600))
    place = int(rng.integers(header, len(content) - size))
    content[place : place + size] = rng.integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(content)
    with pytest.raises(wp.errors.CorruptCheckpointError):
        FactorizationRecommender.load(path, verify=True)
    for ask in (
        lambda found: found.recommend(users[0]),
        lambda found: found.recommend(users[:50], filter=items[:20]),
        lambda found: found.similar_items(items[3]),
        lambda found: found.similar_users(users[:3]),
        lambda found: found.rank(users[5], items[:5]),
        lambda found: found.predict(users[:50], items[:50]),
        lambda found: found.metrics(Interactions(users[:30], items[:30])),
        lambda found: found.item_index_vectors("cosine"),
        lambda found: found.recommend_history(items[:3]),
    ):
        try:
            with np.errstate(all="ignore"):
                ask(FactorizationRecommender.load(path))
        except wp.WyrmError as error:
            assert len(str(error)) > 20  # it says what is wrong


@pytest.fixture(scope="module")
def fitted():
    return made()
