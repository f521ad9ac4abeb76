"""Intervals over repeated draws of shots, and over draws and test images together.

Student's t over draws, for five draws are too few to resample: a percentile bootstrap over five
draws covers the mean 83 times of 100, not 95. All draws are evaluated on the same images, whose
sampling no spread over draws can show: `hierarchical_interval` joins both.
"""

from collections.abc import Sequence
from math import hypot, inf, sqrt
from statistics import fmean, stdev

from .intervals import Bounds

T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
"""Upper 97.5 % points of Student's t with 1 to 30 degrees of freedom."""


def t_interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Return mean, lower and upper 95 % bound over draws; None for fewer than two draws.

    Args:
        values: One number a draw; more than 31 draws use the last entry of the table, which is
            wider than need be.

    Example:
        >>> [round(value, 3) for value in t_interval([0.1, 0.2, 0.3])]
        [0.2, -0.048, 0.448]
    """
    if len(values) < 2:
        return None
    mean = fmean(values)
    half = T_975[min(len(values) - 1, len(T_975)) - 1] * stdev(values) / sqrt(len(values))
    return mean, mean - half, mean + half


def hierarchical_interval(
    values: Sequence[float], images: Bounds, *, limits: Bounds = (-inf, inf)
) -> tuple[float, float, float]:
    """Return mean, lower and upper 95 % bound over draws and images resampled together.

    A number of a recipe, measured with D draws on the same N images, is off by three independent
    things: the draws, the images, and what of both. The first has D - 1 degrees of freedom and
    Student's t over draws; the second has the interval of the mean over draws as a number of the
    images alone; the third is in both, which errs on the long side. They are joined by MOVER:

        low = mean - sqrt((t s)^2 / D + (mean - images_low)^2), high likewise

    Args:
        values: One number a draw; with one alone, the interval is that of the images.
        images: Interval of their mean over images, draws taken as given.
        limits: Range of the number, at which the interval ends.

    References:
        Zou and Donner, Statistics in Medicine 27 (2008) 1693. Coverage: `benchmarks/coverage.py`.

    Example:
        >>> [round(value, 3) for value in hierarchical_interval([0.1, 0.2, 0.3], (0.1, 0.35))]
        [0.2, -0.068, 0.49]
    """
    over = t_interval(values)
    mean = fmean(values)
    half = 0.0 if over is None else over[2] - mean
    low, high = mean - hypot(half, mean - images[0]), mean + hypot(half, images[1] - mean)
    return mean, max(limits[0], low), min(limits[1], high)
