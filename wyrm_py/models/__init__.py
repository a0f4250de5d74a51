"""Estimators: short graphs over the public API, on scikit-learn's conventions.

`load` reads the file of any of them.
"""

from wyrm_py.models.factorization_machine import FactorizationMachine
from wyrm_py.models.files import load
from wyrm_py.models.linear import SparseLinear
from wyrm_py.models.recommender import FactorizationRecommender
from wyrm_py.models.sequence_recommender import SequenceRecommender
from wyrm_py.models.skipgram import SkipGram

__all__ = [
    "FactorizationMachine",
    "FactorizationRecommender",
    "SequenceRecommender",
    "SkipGram",
    "SparseLinear",
    "load",
]
