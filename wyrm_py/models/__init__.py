"""Recommenders: short graphs over the public API, with fit, recommend and files."""

from wyrm_py.models.recommender import FactorizationRecommender

__all__ = ["FactorizationRecommender"]
