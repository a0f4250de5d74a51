"""Estimators from files, whatever their kind."""

from __future__ import annotations

import os
from typing import Any

from wyrm_py.arrayfile import read_manifest
from wyrm_py.errors import CorruptCheckpointError
from wyrm_py.models.factorization_machine import FactorizationMachine
from wyrm_py.models.linear import SparseLinear
from wyrm_py.models.recommender import FactorizationRecommender
from wyrm_py.models.sequence_recommender import SequenceRecommender
from wyrm_py.models.skipgram import SkipGram

_ESTIMATORS: tuple[Any, ...] = (
    FactorizationMachine,
    FactorizationRecommender,
    SequenceRecommender,
    SkipGram,
    SparseLinear,
)


def load(path: str | os.PathLike[str], *, verify: bool = False) -> Any:
    """Read a file that any estimator's `save` wrote.

    Parameters
    ----------
    path : str or path-like
    verify : bool
        Check every byte against its digest, which reads the whole file.

    Returns
    -------
    the estimator, of the class that wrote the file

    Raises
    ------
    CorruptCheckpointError
        The file is damaged, truncated, from a newer version, or holds no estimator.
    OSError
        The file cannot be read.
    """
    kind = read_manifest(path)["metadata"].get("kind")
    for estimator in _ESTIMATORS:
        if estimator._kind == kind:
            return estimator.load(path, verify=verify)
    raise CorruptCheckpointError(
        f"{path} holds {kind or 'parameters'!r}, not an estimator. Give a file made by "
        "`wyrm fit` or by an estimator's `save`; `wp.load` and `wp.load_model` read "
        "others."
    )
