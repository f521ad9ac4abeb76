"""What a model is worth that may leave images to a person: risk against coverage.

Images are accepted from the surest on. The share of images that is accepted is the coverage c; the
mean loss of the accepted is the selective risk R(c), and their loss over all images, c R(c), the
generalised risk G(c): the chance that an error passes undetected. Images of equal confidence are
accepted together, or in the mean over all their orders: no number depends on how they lie.

`confidence` is float64 (N,), higher is surer; `loss` float64 (N,) in [0, 1], 1 where an answer is
wrong. A coverage outside (0, 1], or a risk or error outside [0, 1], raises a ConfigurationError.

References:
    Geifman and El-Yaniv, arXiv:1705.08500; Geifman et al., arXiv:1805.08206 (AURC, E-AURC); Traub
    et al., arXiv:2407.01032 (AUGRC).
"""

from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

from .checks import check_share


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Risks at every threshold there is, from the surest on.

    Attributes:
        thresholds: float64 (T,), distinct confidences, descending: `confidence >= threshold` is
            accepted.
        counts: int64 (T,), how many are accepted.
        sums: float64 (T,), their losses.
        total: How many images there are.
    """

    thresholds: Float64Array
    counts: Int64Array
    sums: Float64Array
    total: int

    @property
    def coverages(self) -> Float64Array:
        """Share that is accepted."""
        found: Float64Array = self.counts / self.total
        return found

    @property
    def risks(self) -> Float64Array:
        """Mean loss of the accepted."""
        found: Float64Array = self.sums / self.counts
        return found

    @property
    def generalised(self) -> Float64Array:
        """Loss of the accepted over all images."""
        found: Float64Array = self.sums / self.total
        return found


def risk_coverage(confidence: Float64Array, loss: Float64Array) -> RiskCoverage:
    """Sort images from the surest on, those of equal confidence together.

    Example:
        >>> found = risk_coverage(np.array([0.9, 0.9, 0.5, 0.5]), np.array([0.0, 1.0, 0.0, 1.0]))
        >>> found.coverages.tolist(), found.risks.tolist()
        ([0.5, 1.0], [0.5, 0.5])
    """
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    sums = np.cumsum(loss[order])[last]
    return RiskCoverage(ordered[last], last.astype(np.int64) + 1, sums, len(confidence))


def aurc(found: RiskCoverage) -> float:
    """Return the area under R(c): trapezoids between thresholds, and R of the surest down to 0.

    Example:
        >>> tied = risk_coverage(np.array([0.9, 0.9, 0.5, 0.5]), np.array([0.0, 1.0, 0.0, 1.0]))
        >>> aurc(tied)
        0.5
    """
    coverages = np.r_[0.0, found.coverages]
    risks = np.r_[found.risks[0], found.risks]
    return float((np.diff(coverages) * (risks[1:] + risks[:-1]) / 2).sum())


def mean_selective_risk(found: RiskCoverage) -> float:
    """Return AURC as Geifman had it: the mean of R(k / n) over k = 1 .. n.

    Of images that are equally sure it is the mean over all their orders.

    Example:
        >>> one = risk_coverage(np.array([0.9, 0.8]), np.array([1.0, 0.0]))
        >>> mean_selective_risk(one)
        0.75
    """
    places = np.arange(1, found.total + 1)
    return float((_sums_at(found, places.astype(float)) / places).mean())


def _sums_at(found: RiskCoverage, accepted: Float64Array) -> Float64Array:
    """Return the expected loss of the first images, equally sure ones in any order."""
    result: Float64Array = np.interp(accepted, np.r_[0, found.counts], np.r_[0.0, found.sums])
    return result


def least_aurc(risk: float) -> float:
    """Return the AURC of the best order of answers of which a share `risk` is wrong.

    Example:
        >>> round(least_aurc(0.4), 10)
        0.0935046257
    """
    return risk + (1 - risk) * log(1 - risk) if risk < 1 else 1.0


def excess_aurc(found: RiskCoverage) -> float:
    """Return E-AURC: what the order of the images costs, AURC less its least."""
    return aurc(found) - least_aurc(float(found.sums[-1] / found.total))


def augrc(found: RiskCoverage) -> float:
    """Return the area under G(c) by trapezoids from 0: the mean risk of an undetected error.

    It is (1 - AUROC of failure) accuracy error + error^2 / 2: between error^2 / 2 for the best
    order and error - error^2 / 2 for the worst.

    Example:
        >>> sure = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.45, 0.4, 0.3, 0.2])
        >>> wrong = np.array([0.0, 0, 1, 0, 0, 1, 0, 1, 0, 1])
        >>> round(augrc(risk_coverage(sure, wrong)), 12)
        0.15
    """
    coverages = np.r_[0.0, found.coverages]
    risks = np.r_[0.0, found.generalised]
    return float((np.diff(coverages) * (risks[1:] + risks[:-1]) / 2).sum())


def augrc_influence(confidence: Float64Array, loss: Float64Array) -> Float64Array:
    """Return what each image adds to the AUGRC: float64 (N,), mean 0.

    The AUGRC is the mean over pairs of the loss of the surer, so these are the means over the
    pairs that an image is in.
    """
    below, above = _ranks(confidence), _loss_above(confidence, loss)
    value = float((loss * below).mean())
    found: Float64Array = loss * below + above - 2 * value
    return found


def _ranks(confidence: Float64Array) -> Float64Array:
    """Return the share of images less sure than each, equally sure ones half: float64 (N,)."""
    _, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    found: Float64Array = ((np.cumsum(counts) - counts / 2) / len(confidence))[place.reshape(-1)]
    return found


def _loss_above(confidence: Float64Array, loss: Float64Array) -> Float64Array:
    """Return the loss of images surer than each, equally sure ones half, over all: (N,)."""
    _, place = np.unique(confidence, return_inverse=True)
    sums = np.bincount(place.reshape(-1), weights=loss)
    found: Float64Array = ((sums.sum() - np.cumsum(sums) + sums / 2) / len(loss))[place.reshape(-1)]
    return found


def aurc_influence(confidence: Float64Array, loss: Float64Array) -> Float64Array:
    """Return what each image adds to the AURC: float64 (N,), mean 0 nearly.

    R(c) moves by (loss - R(c)) / c for each image that is accepted at c.
    """
    found = risk_coverage(confidence, loss)
    share = np.diff(np.r_[0, found.counts]) / found.total
    inverse = share / found.coverages
    ahead = np.cumsum(inverse[::-1])[::-1]  # over thresholds at which an image is accepted
    spent = np.cumsum((inverse * found.risks)[::-1])[::-1]
    place = len(found.thresholds) - 1 - np.searchsorted(found.thresholds[::-1], confidence)
    terms = loss * ahead[place] - spent[place] + found.risks[place]
    result: Float64Array = terms - terms.mean()
    return result


def failure_auroc(confidence: Float64Array, wrong: Float64Array) -> float | None:
    """Return how often a right answer is surer than a wrong one; None where one kind is missing.

    Args:
        confidence: float64 (N,).
        wrong: float64 (N,) of 0 and 1.

    Example:
        >>> failure_auroc(np.array([0.9, 0.8, 0.8]), np.array([0.0, 1.0, 0.0]))
        0.75
    """
    failed = wrong == 1
    if failed.all() or not failed.any():
        return None
    others = (~failed).sum()
    _, place = np.unique(confidence, return_inverse=True)
    right = np.bincount(place.reshape(-1), weights=(~failed).astype(float))
    ahead = right.sum() - np.cumsum(right) + right / 2
    return float(ahead[place.reshape(-1)][failed].mean() / others)


def risk_at_coverage(found: RiskCoverage, coverage: float) -> float:
    """Return R of the surest ceil(coverage n) images; of equally sure ones the mean over orders.

    Example:
        >>> found = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 1.0, 0.0, 1.0]))
        >>> risk_at_coverage(found, 0.5)
        0.5
    """
    check_share("coverage", coverage, ends="1")
    accepted = max(1, ceil(coverage * found.total - 1e-9))
    return float(_sums_at(found, np.array([float(accepted)]))[0] / accepted)


def coverage_at_risk(found: RiskCoverage, risk: float) -> float:
    """Return the largest coverage whose selective risk is within `risk`; 0 if none is.

    Example:
        >>> found = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 1.0, 0.0, 1.0]))
        >>> coverage_at_risk(found, 0.4)
        0.75
    """
    check_share("risk", risk, ends="01")
    within = found.risks <= risk + 1e-12
    return float(found.coverages[within].max()) if within.any() else 0.0


def threshold_for_coverage(confidence: Float64Array, coverage: float) -> float:
    """Return the largest threshold that accepts a share `coverage` of images at least."""
    check_share("coverage", coverage, ends="1")
    accepted = max(1, ceil(coverage * len(confidence) - 1e-9))
    return float(np.sort(confidence)[len(confidence) - accepted])


def threshold_for_risk(found: RiskCoverage, risk: float) -> float | None:
    """Return the threshold of `coverage_at_risk`; None where no coverage has such a risk."""
    check_share("risk", risk, ends="01")
    within = np.flatnonzero(found.risks <= risk + 1e-12)
    return float(found.thresholds[within[-1]]) if len(within) else None


def system_loss(
    loss: Float64Array, accepted: NDArray[np.bool_], reader_error: float
) -> Float64Array:
    """Return the loss of each image where those not accepted are read by a person: float64 (N,).

    Its mean is c R + (1 - c) e.

    Example:
        >>> system_loss(np.array([1.0, 1.0]), np.array([True, False]), 0.1).tolist()
        [1.0, 0.1]
    """
    check_share("reader_error", reader_error, ends="01")
    return np.where(accepted, loss, reader_error)


def balanced_selective_risk(
    loss: Float64Array, accepted: NDArray[np.bool_], labels: Int64Array
) -> float:
    """Return the mean over classes of the selective risk; a class without any accepted adds 0.

    Example:
        >>> accepted = np.array([True, True, False])
        >>> balanced_selective_risk(np.array([1.0, 0.0, 1.0]), accepted, np.array([0, 0, 1]))
        0.25
    """
    parts = [loss[accepted & (labels == k)] for k in np.unique(labels)]
    return float(np.mean([part.mean() if len(part) else 0.0 for part in parts]))


def balanced_loss(loss: Float64Array, labels: Int64Array) -> Float64Array:
    """Weight losses by n / (K n_class): generalised risks and AUGRC of them are balanced ones.

    Example:
        >>> balanced_loss(np.array([1.0, 1.0, 1.0, 1.0]), np.array([0, 0, 0, 1])).round(3).tolist()
        [0.667, 0.667, 0.667, 2.0]
    """
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: Float64Array = len(labels) / (len(counts) * counts[place.reshape(-1)])
    return loss * weights
