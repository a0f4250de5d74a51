"""How good a model is: metrics of rankings and of predictions."""

from wyrm_py.evaluation.prediction import (
    accuracy,
    auc,
    log_loss,
    mae,
    perplexity,
    rmse,
)
from wyrm_py.evaluation.ranking import (
    RankingMetrics,
    popularity_metrics,
    ranking_metrics,
    ranking_metrics_of_scores,
)

__all__ = [
    "RankingMetrics",
    "accuracy",
    "auc",
    "log_loss",
    "mae",
    "perplexity",
    "popularity_metrics",
    "ranking_metrics",
    "ranking_metrics_of_scores",
    "rmse",
]
