"""Pure functions from (logits, labels), and from tables of errors, to numbers."""

from .classification import (
    METRICS,
    Metric,
    accuracy,
    auc,
    balanced_accuracy,
    cell_metrics,
    quadratic_weighted_kappa,
)
from .robustness import corruption_error, mean_corruption_error, relative_corruption_error
from .scores import class_scores, predictions, probabilities

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "auc",
    "balanced_accuracy",
    "cell_metrics",
    "class_scores",
    "corruption_error",
    "mean_corruption_error",
    "predictions",
    "probabilities",
    "quadratic_weighted_kappa",
    "relative_corruption_error",
]
