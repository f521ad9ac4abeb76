"""Detectors: from a standardised series to a statistic that alarms when it passes its limit.

A series has one value a step (a study, a day) and may have further axes (streams, replicas), which
are followed side by side. A series of a clean stream has mean 0 and spread 1. Every statistic is
at least 0 or grows with drift, and alarms above the limit.
"""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Protocol

import numpy as np

from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.types import Float64Array

LARGEST = "largest of all"
"""What most detectors follow: the largest standardised distance of all streams of a window."""

SHAPE = "embedding shape"
"""The stream that holds the MMD of a window's embeddings from those of the reference."""


class Detector(Protocol):
    """Turns a series into the statistic that is compared with a limit.

    Attributes:
        follows: The stream whose series it is given, or `LARGEST`.
    """

    follows: ClassVar[str]

    def path(self, series: Float64Array) -> Float64Array:
        """Return the statistic after each step: float64 (T, ...) of a series (T, ...)."""
        ...


@dataclass(frozen=True, slots=True)
class Shewhart:
    """The value itself; 3 gives a false alarm in 370 independent Gaussian steps (two-sided).

    Attributes:
        two_sided: Whether a fall alarms, too.
    """

    two_sided: bool = False
    follows: ClassVar[str] = LARGEST

    def path(self, series: Float64Array) -> Float64Array:
        """Return the values, or their sizes."""
        return np.abs(series) if self.two_sided else series.copy()


@dataclass(frozen=True, slots=True)
class Cusum:
    """S_t = max(0, S_{t-1} + z_t - slack): Page's cumulative sum.

    Attributes:
        slack: Half the shift that it is best at, in spreads.
        two_sided: Whether a fall alarms, too: the larger of the two sums.

    References:
        Page, Biometrika 41 (1954) 100.
    """

    slack: float = 0.5
    two_sided: bool = False
    follows: ClassVar[str] = LARGEST

    def path(self, series: Float64Array) -> Float64Array:
        """Return the sum after each step."""
        up = _cumulated(series - self.slack)
        return np.maximum(up, _cumulated(-series - self.slack)) if self.two_sided else up


@dataclass(frozen=True, slots=True)
class Ewma:
    """Z_t = w z_t + (1 - w) Z_{t-1}, in units of its lasting spread sqrt(w / (2 - w)).

    Attributes:
        weight: Of the newest value; the smaller, the smaller the shifts that are seen.
        two_sided: Whether a fall alarms, too.

    References:
        Lucas and Saccucci, Technometrics 32 (1990) 1.
    """

    weight: float = 0.1
    two_sided: bool = False
    follows: ClassVar[str] = LARGEST

    def path(self, series: Float64Array) -> Float64Array:
        """Return the average after each step."""
        found = np.empty(series.shape)
        mean = np.zeros(series.shape[1:])
        for step, values in enumerate(series):
            mean = mean + self.weight * (values - mean)
            found[step] = mean
        found /= sqrt(self.weight / (2 - self.weight))
        return np.abs(found) if self.two_sided else found


@dataclass(frozen=True, slots=True)
class PageHinkley:
    """m_t = f m_{t-1} + z_t - mean_t - slack; the statistic is m_t - min m: CUSUM, mean unknown.

    Attributes:
        slack: As published .005, for series of any scale.
        forgetting: f; as published .9999.
        fewest: Steps before which it is silent (statistic 0).

    References:
        Page, Biometrika 41 (1954) 100; Hinkley, 58 (1971) 509, in the form of MOA and river.
    """

    slack: float = 0.005
    forgetting: float = 0.9999
    fewest: int = 30
    follows: ClassVar[str] = LARGEST

    def path(self, series: Float64Array) -> Float64Array:
        """Return the rise over the lowest sum so far."""
        found = np.zeros(series.shape)
        total, low = np.zeros(series.shape[1:]), np.full(series.shape[1:], np.inf)
        mean = np.zeros(series.shape[1:])
        for step, values in enumerate(series):
            mean = mean + (values - mean) / (step + 1)
            total = self.forgetting * total + values - mean - self.slack
            low = np.minimum(low, total)
            if step + 1 >= self.fewest:
                found[step] = total - low
        return found


@dataclass(frozen=True, slots=True)
class OnlineMmd:
    """The MMD of a sliding window's vectors from the reference, and of nothing else.

    The window forgets by itself, so nothing is gathered: an alarm is a value above the limit, which
    is set so that the run time on clean streams is the expected one. Windows slide by days here,
    and their kernel is one of random waves, so that sums of days are enough.

    References:
        Cobb, Van Looveren and Klaise, AISTATS 2022, arXiv:2108.00883.
    """

    follows: ClassVar[str] = SHAPE

    def path(self, series: Float64Array) -> Float64Array:
        """Return the values."""
        return series.copy()


DETECTORS = {
    "shewhart": Shewhart,
    "cusum": Cusum,
    "ewma": Ewma,
    "page_hinkley": PageHinkley,
    "online_mmd": OnlineMmd,
}
"""Name -> class, as options have them."""


def detector_of(name: str) -> Detector:
    """Return a detector with its usual settings, one-sided: a distance alarms when it rises.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    if name not in DETECTORS:
        raise unknown_name("detector", name, DETECTORS)
    found: Detector = DETECTORS[name]()
    return found


def check_budget(name: str, budget: float) -> None:
    """Refuse a budget that a detector keeps by its silence: any limit would do, even 0.

    Args:
        name: Of a detector.
        budget: Steps between false alarms.

    Raises:
        ConfigurationError: If Page-Hinkley is silent for more than half of it.
    """
    silent = getattr(detector_of(name), "fewest", 0)
    if budget < 2 * silent:
        raise ConfigurationError(
            f"--budget {budget:g} is too small for {name}, which is silent before its day {silent} "
            f"and keeps such a budget by that: take {2 * silent} or more, or another detector."
        )


def _cumulated(steps: Float64Array) -> Float64Array:
    """Return the sum of steps, never below 0."""
    found = np.empty(steps.shape)
    total = np.zeros(steps.shape[1:])
    for index, step in enumerate(steps):
        total = np.maximum(0.0, total + step)
        found[index] = total
    return found
