"""Can an index of nearest neighbours answer in place of the model, and how well?

Scores are inner products plus a bias. The model hands out vectors in which that is the
plain inner product, or, with one column more, the order by distance or by angle, so
that any index fits. Needs the extra `index`: pip install "wyrm-py[index]".
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from usearch.index import Index

import wyrm_py as wp
from wyrm_py.models import FactorizationRecommender
from wyrm_py.models.index_vectors import Metric

METRICS: dict[Metric, str] = {
    "inner_product": "ip",
    "euclidean": "l2sq",
    "cosine": "cos",
}


def build(model: FactorizationRecommender, metric: Metric) -> Index:
    """Return an index of the model's items; its keys are rows of `item_ids_`."""
    items = model.item_index_vectors(metric)
    index = Index(ndim=items.shape[1], metric=METRICS[metric], dtype="f32")
    index.add(np.arange(len(items)), items)
    return index


def main() -> None:
    """Compare the ten best of the model with the ten nearest of each index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--users", type=int, default=1_000)
    options = parser.parse_args()

    ratings = wp.data.synthetic_ratings(
        n_users=options.users, n_items=options.items, n_ratings=100_000, random_state=0
    )
    model = FactorizationRecommender("bpr", width=32, epochs=5, random_state=0)
    model.fit(ratings)
    users = model.user_ids_
    start = time.perf_counter()
    exact = model.recommend(users, n=10, exclude_seen=False)
    report("the model", 1.0, (time.perf_counter() - start) / len(users))
    for metric in METRICS:
        index, queries = build(model, metric), model.user_index_vectors(users, metric)
        start = time.perf_counter()
        keys = index.search(queries, 10).keys
        seconds = (time.perf_counter() - start) / len(users)
        pairs = zip(model.item_ids_[keys.astype(int)], exact.ids, strict=True)
        report(
            metric, float(np.mean([np.isin(a, b).mean() for a, b in pairs])), seconds
        )

    with tempfile.TemporaryDirectory() as folder:  # an index is kept beside its model
        path = Path(folder) / "items.usearch"
        build(model, "cosine").save(path)
        mapped = Index(ndim=model.width + 2, metric="cos", dtype="f32")
        mapped.view(path)
        nearest = mapped.search(model.user_index_vectors(users[0], "cosine")[0], 3).keys
        print(f"{users[0]}: {', '.join(model.item_ids_[nearest.astype(int)])}")
        print(f"{users[0]}: {', '.join(exact.ids[0][:3])} by the model")


def report(name: str, right: float, seconds: float) -> None:
    """Print one line of the comparison."""
    print(f"{name:14} {right:6.1%} right, {seconds * 1e6:5.1f} us a user")


if __name__ == "__main__":
    main()
