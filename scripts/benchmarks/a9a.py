"""Linear models and factorisation machines on a9a, in passes over the same rows.

All run on one core, 10 passes from memory, and are timed by the CPU time of a whole
call, compilation aside. Vowpal Wabbit reads a binary cache instead, its fast path; the
pass that parses the text and makes the cache is left out. What stands beside a
factorisation machine: `--lrq`, the same model (one pass); and scikit-learn's linear
classifier, of the columns alone and over the products of all pairs, made before. As
that classifier trains by SGD with a falling rate, so does a second factorisation
machine; the first has the default, Adagrad.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .measure import Measurement, Recorder, mark, summarise
from .verdict import Verdict, cpu_ns, missing

PASSES = 10
WIDTH = 8
COLUMNS = 123
TITLE = f"FactorizationMachine, width {WIDTH}"
TITLE_SGD = f"{TITLE}, SGD"
ONCE = (("Vowpal Wabbit", "machine"),)
"""What takes so long, seconds a pass, that one pass of one run must do."""
AGAINST = (
    ("logistic", "SparseLinear", "scikit-learn", "logistic"),
    ("logistic", "SparseLinear", "Vowpal Wabbit", "logistic"),
    ("logistic, ftrl", "SparseLinear, FTRL", "Vowpal Wabbit", "logistic, ftrl"),
    ("machine", TITLE, "scikit-learn", "logistic"),
    ("machine", TITLE, "scikit-learn", "logistic of pairs"),
    ("machine", TITLE, "Vowpal Wabbit", "machine"),
    ("machine, sgd", TITLE_SGD, "scikit-learn", "logistic"),
    ("machine, sgd", TITLE_SGD, "Vowpal Wabbit", "machine"),
)
"""Our model and its title, and the peer and its model."""
LEAST = 0.849
"""The accuracy that a logistic model must come to."""


class Rows(NamedTuple):
    """Rows and labels, to train and to test."""

    train: Any
    labels: Any
    test: Any
    truth: Any


def read(folder: Path) -> Rows:
    """Read a9a as float32 CSR rows and labels -1 and 1."""
    from sklearn.datasets import load_svmlight_files

    paths = [str(folder / name) for name in ("a9a.gz", "a9a.t.gz")]
    rows = Rows(*load_svmlight_files(paths, n_features=COLUMNS, dtype=np.float32))
    for matrix in (rows.train, rows.test):  # scikit-learn takes no int64
        matrix.indices = matrix.indices.astype(np.int32)
        matrix.indptr = matrix.indptr.astype(np.int32)
    return rows


Run = Callable[[], tuple[tuple[float, float], float]]
"""Trains once; the CPU and wall time a row of a pass, and the accuracy."""


def measure(recorder: Recorder, data: Path, quick: bool) -> None:
    """Train every system in turn, and record its time a row and its accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        runs = _runs(read(data / "a9a"), Path(folder))
        readings: dict[Any, list[tuple[float, float]]] = {name: [] for name in runs}
        records = {
            name: Measurement("a9a", name[0], {"model": name[1]}) for name in runs
        }
        for number in range(3 if quick else 8):  # the first warms up
            for name, run in runs.items():
                record = records[name]
                if record.failure is not None or (number and name in ONCE):
                    continue
                try:
                    spent, accuracy = run()
                    readings[name].append(spent)
                    record.extra = {"accuracy": round(accuracy, 4)}
                except Exception as error:
                    record.failure = f"{type(error).__name__}: {error}".splitlines()[0]
    for name, record in records.items():
        if record.failure is None:
            record.timed(summarise(readings[name][1:] or readings[name]))
            record.extra["cpu_ns_per_row"] = round(cpu_ns(record), 1)
        recorder.add(record)


def _runs(rows: Rows, folder: Path) -> dict[tuple[str, str], Run]:
    """Return what trains once, by system and model: ((CPU, wall) a row, accuracy)."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import PolynomialFeatures

    from wyrm_py import SGD, schedules
    from wyrm_py.models import FactorizationMachine, SparseLinear

    pairs = PolynomialFeatures(interaction_only=True, include_bias=False)
    products = rows._replace(
        train=pairs.fit_transform(rows.train), test=pairs.transform(rows.test)
    )
    settings = {"loss": "log_loss", "max_iter": PASSES, "tol": None, "random_state": 0}

    def estimator(make: Callable[[], Any], given: Rows) -> Run:
        def run() -> tuple[tuple[float, float], float]:
            model = make()
            gc.collect()  # what others left would be collected in these 40 ms
            before = mark()
            model.fit(given.train, given.labels)
            spent = mark() - before
            count = PASSES * given.train.shape[0]
            accuracy = model.score(given.test, given.truth)
            return (spent.cpu / count, spent.wall / count), accuracy

        return run

    def linear(optimizer: str) -> Run:
        return estimator(
            lambda: SparseLinear(optimizer=optimizer, epochs=PASSES, random_state=0),
            rows,
        )

    def machine(**more: Any) -> Run:
        chosen = {"width": WIDTH, "epochs": PASSES, "random_state": 0, **more}
        return estimator(lambda: FactorizationMachine(**chosen), rows)

    falling = SGD(schedules.Cosine(0.01, PASSES))

    wabbit = Wabbit(rows, folder)
    return {
        ("wyrm_py", "logistic"): linear("adagrad"),
        ("wyrm_py", "logistic, ftrl"): linear("ftrl"),
        ("wyrm_py", "machine"): machine(),
        ("wyrm_py", "machine, sgd"): machine(optimizer=falling),
        ("scikit-learn", "logistic"): estimator(
            lambda: SGDClassifier(**settings), rows
        ),
        ("scikit-learn", "logistic of pairs"): estimator(
            lambda: SGDClassifier(**settings), products
        ),
        ("Vowpal Wabbit", "logistic"): wabbit.runner(""),
        ("Vowpal Wabbit", "logistic, ftrl"): wabbit.runner("--ftrl"),
        ("Vowpal Wabbit", "machine"): wabbit.runner(f"--lrq aa{WIDTH}", passes=1),
    }


class Wabbit:
    """Vowpal Wabbit on the rows as text, in the namespace `a`."""

    def __init__(self, rows: Rows, folder: Path) -> None:
        self.folder, self.rows = folder, rows
        _write(folder / "train", rows.train, rows.labels)
        _write(folder / "test", rows.test, rows.truth)

    def runner(self, options: str, passes: int = PASSES) -> Run:
        """Return what trains once; a pass more makes the cache and is left out."""

        def run() -> tuple[tuple[float, float], float]:
            first = self._train(options, 1)
            spent = self._train(options, passes + 1) - first
            count = passes * self.rows.train.shape[0]
            return (spent.cpu / count, spent.wall / count), self._accuracy()

        return run

    def _train(self, options: str, passes: int) -> Any:
        from vowpalwabbit import Workspace

        names = {name: self.folder / name for name in ("train", "cache", "model")}
        before = mark()
        Workspace(
            f"--data {names['train']} --cache_file {names['cache']} --kill_cache "
            f"--final_regressor {names['model']} --passes {passes} --holdout_off "
            f"--loss_function logistic --random_seed 1 --quiet {options}"
        ).finish()
        return mark() - before

    def _accuracy(self) -> float:
        from vowpalwabbit import Workspace

        out = self.folder / "scores"
        Workspace(
            f"--data {self.folder / 'test'} --testonly --predictions {out} --quiet "
            f"--initial_regressor {self.folder / 'model'}"
        ).finish()
        scores = np.loadtxt(out, usecols=0)
        return float(((scores > 0) == (self.rows.truth > 0)).mean())


def _write(path: Path, matrix: Any, labels: Any) -> None:
    with path.open("w") as out:
        for row, label in enumerate(labels):
            begin, end = matrix.indptr[row : row + 2]
            columns = " ".join(map(str, matrix.indices[begin:end]))
            out.write(f"{int(label)} |a {columns}\n")


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare accuracies with the least, and rows a second with the peers."""
    found = []
    models = {"logistic": "SparseLinear", "machine": TITLE, "machine, sgd": TITLE_SGD}
    for model, title in models.items():
        ours = recorder.find("a9a", "wyrm_py", model=model)
        what, target = f"a9a: accuracy of {title}, {PASSES} passes", f">= {LEAST}"
        if ours is None:
            found.append(missing(what, target))
            continue
        accuracy = ours.extra["accuracy"]
        found.append(Verdict(what, target, f"{accuracy:.4f}", accuracy >= LEAST))
    for model, title, system, other in AGAINST:
        what = f"a9a: rows/s of {title} against {system}, {other}"
        ours = recorder.find("a9a", "wyrm_py", model=model)
        theirs = recorder.find("a9a", system, model=other)
        if ours is None or theirs is None:
            found.append(missing(what, ">= 1x"))
            continue
        ratio = cpu_ns(theirs) / cpu_ns(ours)
        measured = f"{ratio:.2f}x ({cpu_ns(ours):.0f} ns, {cpu_ns(theirs):.0f} ns)"
        found.append(Verdict(what, ">= 1x", measured, ratio >= 1))
    return found
