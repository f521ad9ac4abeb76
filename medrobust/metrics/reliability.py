"""How far confidences are from how often they come true: bins, and measures without bins.

`confidence` is float64 (N,) in [0, 1], `right` float64 (N,) of 0 and 1 (whether it came true).
Every measure of bins is biased upwards on few images: calibrated confidences of 150 images have an
ECE of about .07 in 15 bins. `debiased_square` says what is left after that.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from medrobust.metrics.calibration import BINS, equal_mass, shared
from medrobust.types import Float64Array, Int64Array

Mass: TypeAlias = Literal["equal_width", "equal_mass"]
"""Whether bins are as wide as one another, or hold as many images."""


@dataclass(frozen=True, slots=True)
class Bins:
    """What bins that are not empty hold, from the least sure on.

    Attributes:
        counts: float64 (B,), images.
        confidences: float64 (B,), mean of each.
        shares: float64 (B,), how many came true.
        places: int64 (N,), the bin of each image, in the order given.
    """

    counts: Float64Array
    confidences: Float64Array
    shares: Float64Array
    places: Int64Array

    @property
    def gaps(self) -> Float64Array:
        """Mean confidence less share that came true."""
        found: Float64Array = self.confidences - self.shares
        return found

    @property
    def error(self) -> float:
        """Expected calibration error: mean over images of the size of their bin's gap."""
        return float(self.counts @ np.abs(self.gaps) / self.counts.sum())

    @property
    def square(self) -> float:
        """Mean over images of the square of their bin's gap."""
        return float(self.counts @ self.gaps**2 / self.counts.sum())

    @property
    def debiased_square(self) -> float:
        """`square` less what chance adds to it; may be below 0 (Kumar et al., arXiv:1909.10155).

        Bins of one image are left out: they do not show how much chance adds.
        """
        some = self.counts > 1
        if not some.any():
            return 0.0
        counts, shares = self.counts[some], self.shares[some]
        terms = self.gaps[some] ** 2 - shares * (1 - shares) / (counts - 1)
        return float(counts @ terms / counts.sum())


def bins(
    confidence: Float64Array, right: Float64Array, *, count: int = BINS, mass: Mass = "equal_width"
) -> Bins:
    """Sort images into bins: of equal width (a, b], the first with its 0, or of equal mass.

    Images of equal confidence on the edge of two bins of equal mass share what came true, so that
    their order cannot matter.

    Example:
        >>> sure = np.array([0.95, 0.85, 0.85, 0.65, 0.6, 0.55])
        >>> true = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
        >>> round(bins(sure, true, count=10).error, 7)
        0.2083333
    """
    if mass == "equal_width":
        edges = np.arange(1, count + 1) / count
        places = np.searchsorted(edges + 1e-12, confidence, side="left").clip(max=count - 1)
        smooth = right
    else:
        order = np.argsort(confidence, kind="stable")
        places, smooth = np.empty(len(order), np.int64), np.empty(len(order))
        places[order] = equal_mass(confidence, count)
        smooth[order] = shared(confidence[order], right[order])
    held = np.bincount(places) > 0  # bins that are not empty are numbered anew
    places = (np.cumsum(held) - 1)[places]
    counts = np.bincount(places).astype(np.float64)
    sure = np.bincount(places, weights=confidence) / counts
    return Bins(counts, sure, np.bincount(places, weights=smooth) / counts, places)


def classwise_error(
    chances: Float64Array, labels: Int64Array, *, count: int = BINS, mass: Mass = "equal_width"
) -> float:
    """Return the mean over classes of the calibration error of each class's own chance.

    Args:
        chances: float64 (N, K).
        labels: int64 (N,).
        count: Bins.
        mass: As `bins` has it.

    References:
        Kull et al., arXiv:1910.12656.

    Example:
        >>> round(classwise_error(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 0])), 3)
        0.2
    """
    classes = range(chances.shape[1])
    each = [bins(chances[:, k], (labels == k) * 1.0, count=count, mass=mass).error for k in classes]
    return float(np.mean(each))


def kolmogorov_smirnov_error(confidence: Float64Array, right: Float64Array) -> float:
    """Return the largest gap of running sums of confidence and truth, over N: no bins.

    Images are taken from the least sure on, those of equal confidence together.

    References:
        Gupta et al., arXiv:2006.12800.

    Example:
        >>> kolmogorov_smirnov_error(np.array([0.5, 1.0]), np.array([0.0, 1.0]))
        0.25
    """
    order = np.argsort(confidence, kind="stable")
    ordered = confidence[order]
    ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    running = np.cumsum(ordered - right[order])[ends]
    return float(np.abs(running).max() / len(confidence))
