"""Data: columns for `fit`, readers of files, datasets, interactions and splits.

The names below are public, as `wp.data.Dataset`. Those that need pyarrow, which is
slow to import, are loaded when they are first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from wyrm_py.data.corpus import Corpus, keep_probabilities
from wyrm_py.data.dataset import Dataset
from wyrm_py.data.events import Events
from wyrm_py.data.feature_files import read_features
from wyrm_py.data.files import read_text
from wyrm_py.data.histories import Histories
from wyrm_py.data.ids import IdMap
from wyrm_py.data.idx import mnist, read_idx
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.data.split import (
    leave_out_split,
    positives,
    predicate_split,
    random_split,
    time_split,
    user_split,
)
from wyrm_py.data.synthetic import synthetic_ratings
from wyrm_py.data.text import Characters, windows
from wyrm_py.data.titles import read_titles

if TYPE_CHECKING:
    from wyrm_py.data.csvfile import read_csv
    from wyrm_py.data.movielens import movielens_100k
    from wyrm_py.data.readers import read_ratings
    from wyrm_py.data.streams import stream

__all__ = [
    "Characters",
    "Corpus",
    "Dataset",
    "Events",
    "Histories",
    "IdMap",
    "Interactions",
    "RaggedColumn",
    "keep_probabilities",
    "leave_out_split",
    "mnist",
    "movielens_100k",
    "positives",
    "predicate_split",
    "random_split",
    "read_csv",
    "read_features",
    "read_idx",
    "read_ratings",
    "read_text",
    "read_titles",
    "stream",
    "synthetic_ratings",
    "time_split",
    "user_split",
    "windows",
]

_LATE = {
    "movielens_100k": "movielens",
    "read_csv": "csvfile",
    "read_ratings": "readers",
    "stream": "streams",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LATE[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
