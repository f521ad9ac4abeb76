"""Pure functions from (logits, labels), and from tables of errors, to numbers with intervals."""

from importlib import import_module
from typing import Any

from .baselines import Baseline, baseline, baselines
from .calibration import (
    adaptive_calibration_error,
    brier,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from .classification import (
    accuracy,
    auc,
    balanced_accuracy,
    macro_f1,
    quadratic_weighted_kappa,
)
from .comparisons import (
    Comparison,
    benjamini_hochberg,
    delong_test,
    delong_variance,
    holm,
    mcnemar,
    rank_intervals,
    variance_split,
)
from .detection import auprc, average_precision, operating_point, sensitivity_specificity
from .estimates import Estimate, Metric
from .pairs import compare_areas, compare_errors
from .robustness import (
    Ratios,
    benchmark_error,
    corruption_error,
    effective_robustness,
    error_ratio,
    feature_drift,
    flip_rate,
    mean_corruption_error,
    relative_benchmark_error,
    relative_corruption_error,
    severity_area,
)
from .scores import class_scores, predictions, probabilities

__all__ = [
    "METRICS",
    "Baseline",
    "Comparison",
    "Estimate",
    "Metric",
    "Ratios",
    "Reading",
    "accuracy",
    "adaptive_calibration_error",
    "auc",
    "auprc",
    "average_precision",
    "balanced_accuracy",
    "baseline",
    "baselines",
    "benchmark_error",
    "benjamini_hochberg",
    "brier",
    "cell_estimates",
    "cell_metrics",
    "class_scores",
    "compare_areas",
    "compare_errors",
    "corruption_error",
    "delong_test",
    "delong_variance",
    "effective_robustness",
    "error_ratio",
    "expected_calibration_error",
    "feature_drift",
    "fit_temperature",
    "flip_rate",
    "holm",
    "macro_f1",
    "mcnemar",
    "mean_corruption_error",
    "negative_log_likelihood",
    "operating_point",
    "predictions",
    "probabilities",
    "quadratic_weighted_kappa",
    "rank_intervals",
    "relative_benchmark_error",
    "relative_corruption_error",
    "sensitivity_specificity",
    "severity_area",
    "variance_split",
]

_OF_CLASSIFICATION = {
    "METRICS": ("answers", "METRICS"),
    "Reading": ("answers", "Answers"),
    "cell_estimates": ("intervals", "cell_estimates"),
    "cell_metrics": ("answers", "cell_metrics"),
}
"""Public name -> module and name in `medrobust.tasks.classification`, imported at first use: a
task stands on this room, not this room on a task."""


def __getattr__(name: str) -> Any:
    """Import what belongs to classification on first use (PEP 562)."""
    if name not in _OF_CLASSIFICATION:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _OF_CLASSIFICATION[name]
    return getattr(import_module(f"medrobust.tasks.classification.{module}"), there)
