"""Write what POT 0.9.7, river 0.26 and NannyML 0.13.1 find on seeded data: expected.json.

Run in an environment of its own: `pip install POT river nannyml`, then `python make.py`. flaml is
replaced by an empty module where its part for learning is not installed: nothing here learns.
"""

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
SIZES = ((40, 40), (30, 47))
"""Rows of both samples of a transport."""

SEEDS = range(4)
"""Of the series that Page-Hinkley reads."""

Array = NDArray[Any]


def samples(first: int, second: int) -> tuple[Array, Array, Array]:
    """Draw two samples of five numbers, and fifty directions (50, 5)."""
    rng = np.random.default_rng(first)
    x, y = rng.normal(size=(first, 5)), rng.normal(0.4, 1.2, size=(second, 5))
    directions = rng.normal(size=(50, 5))
    return x, y, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def series(seed: int) -> Array:
    """Draw 300 values about 0, then 200 about 1.5."""
    rng = np.random.default_rng(seed)
    return np.r_[rng.normal(size=300), rng.normal(1.5, 1, size=200)]


def scored(seed: int = 7) -> tuple[Array, Array, Array]:
    """Draw scores (400,) with their right answers, and scores of another set (300,): no ties."""
    rng = np.random.default_rng(seed)
    source, target = rng.random(400), rng.random(300) ** 1.3
    return source, (rng.random(400) < source**2).astype(int), target


def of_pot() -> list[dict[str, float]]:
    """Solve transports."""
    import ot

    found = []
    for first, second in SIZES:
        x, y, directions = samples(first, second)
        cost = ot.dist(x, y)  # squared Euclidean is its default
        weights = np.full(first, 1 / first), np.full(second, 1 / second)
        sliced = ot.sliced_wasserstein_distance(x, y, projections=directions.T)
        found.append(
            {
                "squared": float((ot.emd(*weights, cost, numItermax=1_000_000) * cost).sum()),
                "one": float(ot.wasserstein_1d(x[:, 0], y[:, 0], p=1)),
                "sliced": float(sliced),
            }
        )
    return found


def of_river() -> list[int]:
    """Return the step at which Page-Hinkley alarms in each series."""
    from river import drift

    found = []
    for seed in SEEDS:
        theirs = drift.PageHinkley(min_instances=30, delta=0.005, threshold=50.0, alpha=0.9999,
                                   mode="up")  # fmt: skip
        for step, value in enumerate(series(seed)):
            theirs.update(float(value))
            if theirs.drift_detected:
                found.append(step)
                break
    return found


def of_nannyml() -> dict[str, Any]:
    """Calibrate scores, and estimate accuracy and AUROC of the other set."""
    stub: Any = types.ModuleType("flaml")
    stub.AutoML = object
    sys.modules["flaml"] = stub
    from nannyml.calibration import IsotonicCalibrator
    from nannyml.performance_estimation.confidence_based.metrics import (
        estimate_accuracy,
        estimate_roc_auc,
    )

    source, truth, target = scored()
    calibrator = IsotonicCalibrator()
    calibrator.fit(source, truth)
    chances = calibrator.calibrate(target)
    return {
        "chances": [float(c) for c in chances[:20]],
        "accuracy": float(estimate_accuracy((target >= 0.5).astype(int), chances)),
        "area": float(estimate_roc_auc(chances, target)),
    }


if __name__ == "__main__":
    everything = {"pot": of_pot(), "river": of_river(), "nannyml": of_nannyml()}
    (HERE / "expected.json").write_text(json.dumps(everything, indent=1) + "\n")
