"""How much likelier each image is among others than among its own: weights of a covariate shift."""

import numpy as np

from medrobust.types import Float32Array, Float64Array

DIRECTIONS = 16
"""Main directions of the features of both sets that tell them apart; more would tell all apart."""

RIDGE = 1.0
STEPS = 50
BOUND = 30.0
"""Log-odds are kept within this: sets that do not overlap at all have infinite ones."""


def density_ratio(
    own: Float32Array | Float64Array, other: Float32Array | Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return weights p_other / p_own of images of both sets: float64 (n,) and (m,).

    A logistic regression with a ridge tells the sets apart by the main directions of their
    features; its odds, times n / m, are the ratio. Clean and corrupted images hardly overlap, so
    few weights carry all: `effective_size` of the first says how many.

    Args:
        own: (n, D), of calibration images.
        other: (m, D), of test images.

    Example:
        >>> same = np.random.default_rng(0).normal(size=(200, 3))
        >>> weights, _ = density_ratio(same, same)
        >>> bool(np.allclose(weights, 1))
        True
    """
    both = np.vstack([own, other]).astype(np.float64)
    both -= both.mean(axis=0)
    values, vectors = np.linalg.eigh(both.T @ both / len(both))
    kept = vectors[:, np.argsort(-values)[:DIRECTIONS]]
    inputs = both @ kept
    inputs /= np.maximum(inputs.std(axis=0), 1e-12)
    inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
    truth = np.repeat([0.0, 1.0], [len(own), len(other)])
    odds = np.exp(np.clip(inputs @ _logistic(inputs, truth), -BOUND, BOUND))
    ratio = odds * len(own) / len(other)
    return ratio[: len(own)], ratio[len(own) :]


def _logistic(inputs: Float64Array, truth: Float64Array) -> Float64Array:
    """Fit by Newton's method; the last input, a constant, has no ridge."""
    penalty = np.full(inputs.shape[1], RIDGE)
    penalty[-1] = 1e-9
    found = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        chances = 1 / (1 + np.exp(-np.clip(inputs @ found, -BOUND, BOUND)))
        slope = inputs.T @ (chances - truth) + penalty * found
        weights = np.maximum(chances * (1 - chances), 1e-9)
        step = np.linalg.solve((inputs * weights[:, None]).T @ inputs + np.diag(penalty), slope)
        found = found - step
        if np.abs(step).max() < 1e-9:
            break
    return found
