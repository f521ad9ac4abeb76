"""Sets of answers that hold the right one at a stated rate, and where that promise ends.

Split conformal prediction: scores of the right answers of n calibration images give a quantile, and
an image's set is every answer whose score is within it. If calibration and test images are
exchangeable, a set holds the right answer with a chance of at least 1 - alpha, whatever the model.
Corrupted images are not exchangeable with clean ones; how far coverage falls is what is measured.

Scores are float64 (N, K), larger is stranger. Chances are float64 (N, K) with rows that sum to 1.
An alpha or level that does not lie between 0 and 1 raises a ConfigurationError.

References:
    Vovk et al., Algorithmic Learning in a Random World (2005); Angelopoulos and Bates,
    arXiv:2107.07511.
"""

from dataclasses import dataclass
from math import ceil, floor, lgamma

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, Int64Array

from .checks import check_share


def lac_scores(chances: Float64Array) -> Float64Array:
    """Return 1 - p, the least ambiguous classifier's (Sadinle et al., arXiv:1609.00451).

    Example:
        >>> lac_scores(np.array([[0.75, 0.25]])).tolist()
        [[0.25, 0.75]]
    """
    return 1.0 - chances


def aps_scores(chances: Float64Array, uniforms: Float64Array | None = None) -> Float64Array:
    """Return the chance of all answers that are at least as likely, this one included.

    Args:
        chances: float64 (N, K).
        uniforms: float64 (N,), one an image: that share of the answer's own chance is left out, so
            that coverage is exact; None leaves none out, and covers more than asked.

    References:
        Romano et al., arXiv:2006.02544.

    Example:
        >>> aps_scores(np.array([[0.5, 0.3, 0.15, 0.05]])).round(10).tolist()
        [[0.5, 0.8, 0.95, 1.0]]
    """
    sums, _ = _at_least_as_likely(chances)
    return sums if uniforms is None else sums - uniforms[:, None] * chances


def raps_scores(
    chances: Float64Array,
    uniforms: Float64Array | None = None,
    *,
    penalty: float = 0.01,
    allowed: int = 1,
) -> Float64Array:
    """Return APS scores with `penalty` for each rank beyond the first `allowed`: smaller sets.

    References:
        Angelopoulos et al., arXiv:2009.14193.

    Example:
        >>> scores = raps_scores(np.array([[0.5, 0.3, 0.15, 0.05]]), penalty=0.1)
        >>> scores.round(10).tolist()
        [[0.5, 0.9, 1.15, 1.3]]
    """
    ranks = _at_least_as_likely(chances)[1]
    return aps_scores(chances, uniforms) + penalty * np.maximum(ranks - allowed, 0)


def _at_least_as_likely(chances: Float64Array) -> tuple[Float64Array, Int64Array]:
    """Return sum and number of the chances that are at least each chance: (N, K) both."""
    order = np.argsort(-chances, axis=1, kind="stable")
    ordered = np.take_along_axis(chances, order, axis=1)
    sums, ranks = np.cumsum(ordered, axis=1), np.arange(1, chances.shape[1] + 1)
    ranks = np.broadcast_to(ranks, chances.shape).copy()
    for k in range(
        chances.shape[1] - 2, -1, -1
    ):  # equal chances: all of them are at least as likely
        tied = ordered[:, k] == ordered[:, k + 1]
        sums[:, k] = np.where(tied, sums[:, k + 1], sums[:, k])
        ranks[:, k] = np.where(tied, ranks[:, k + 1], ranks[:, k])
    found, places = np.empty_like(chances), np.empty(chances.shape, np.int64)
    np.put_along_axis(found, order, sums, axis=1)
    np.put_along_axis(places, order, ranks, axis=1)
    return found, places


def of_labels(scores: Float64Array, labels: Int64Array) -> Float64Array:
    """Return the score of each image's right answer: float64 (N,)."""
    found: Float64Array = scores[np.arange(len(labels)), labels]
    return found


def fewest(alpha: float) -> int:
    """Return how many calibration images a finite quantile needs.

    Example:
        >>> fewest(0.1), fewest(0.05)
        (9, 19)
    """
    check_share("alpha", alpha)
    return ceil(1 / alpha - 1e-9) - 1


def place_of_quantile(count: int, alpha: float) -> int:
    """Return which of n sorted scores the quantile is, from 1; above n there is none."""
    check_share("alpha", alpha)
    return ceil((count + 1) * (1 - alpha) - 1e-9)


def conformal_quantile(scores: Float64Array, alpha: float) -> float:
    """Return the ceil((n + 1)(1 - alpha))-th smallest score; infinite where there are too few.

    Args:
        scores: float64 (n,), of the right answers of calibration images; `fewest` of them give a
            finite quantile, with fewer every set holds every answer.
        alpha: Share of sets that may miss.

    Raises:
        ConfigurationError: If alpha does not lie between 0 and 1, or a score is NaN.

    Example:
        >>> conformal_quantile(np.arange(1.0, 10.0), 0.1), conformal_quantile(np.ones(8), 0.1)
        (9.0, inf)
    """
    if np.isnan(scores).any():
        raise ConfigurationError(
            f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN: no quantile is known."
        )
    place = place_of_quantile(len(scores), alpha)
    return float(np.partition(scores, place - 1)[place - 1]) if place <= len(scores) else np.inf


def class_quantiles(
    scores: Float64Array, labels: Int64Array, classes: int, alpha: float
) -> Float64Array:
    """Return a quantile a class, of its own images (Mondrian): float64 (K,), infinite for few.

    Args:
        scores: float64 (N,), of the right answers.
        labels: int64 (N,).
        classes: K.
        alpha: Share that sets may miss, of each class.
    """
    return np.array([conformal_quantile(scores[labels == k], alpha) for k in range(classes)])


def weighted_quantiles(
    scores: Float64Array, weights: Float64Array, test_weights: Float64Array, alpha: float
) -> Float64Array:
    """Return the quantile of each test image under a covariate shift: float64 (M,).

    The (1 - alpha)-quantile of the calibration scores, each with its weight, and of infinity with
    the weight of the test image itself.

    Args:
        scores: float64 (n,), of the right answers of calibration images.
        weights: float64 (n,), how much likelier each of them is among test images, up to a factor.
        test_weights: float64 (M,), the same of test images.
        alpha: Share that sets may miss.

    References:
        Tibshirani et al., arXiv:1904.06019.

    Example:
        >>> scores, weights = np.array([0.1, 0.2, 0.3, 0.4, 5.0]), np.array([1.0, 1, 2, 4, 8])
        >>> weighted_quantiles(scores, weights, np.array([1.0]), 0.1).tolist()
        [5.0]
    """
    check_share("alpha", alpha)
    order = np.argsort(scores, kind="stable")
    ordered, reached = scores[order], np.cumsum(weights[order])
    asked = (1 - alpha) * (reached[-1] + test_weights)
    place = np.searchsorted(reached, asked - 1e-12 * reached[-1], side="left")
    known = (place < len(ordered)) & (asked > 0)  # of weights that are all 0 nothing is known
    return np.where(known, ordered[np.minimum(place, len(ordered) - 1)], np.inf)


def effective_size(weights: Float64Array) -> float:
    """Return how many equal weights would vary as little: (sum w)^2 / sum w^2.

    Example:
        >>> effective_size(np.array([1.0, 1.0, 2.0]))
        2.6666666666666665
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def controlled_place(losses: Float64Array, alpha: float, *, highest: float = 1.0) -> int | None:
    """Return the first place on a scale whose risk is controlled; None where none is.

    The loss must not rise along the scale. The expected loss of a new image at the place that is
    found is at most alpha.

    Args:
        losses: float64 (n, L), of calibration images at each place.
        alpha: The risk.
        highest: What a loss can be at most.

    References:
        Angelopoulos et al., Conformal risk control, arXiv:2208.02814.

    Example:
        >>> controlled_place(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), 0.3)
        1
    """
    check_share("alpha", alpha)
    count = len(losses)
    within = (losses.sum(axis=0) + highest) / (count + 1) <= alpha + 1e-12
    return int(np.argmax(within)) if within.any() else None


def coverage_band(
    calibrated: int, tested: int, alpha: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Return where the coverage of test images lies, at `level`, if the promise holds.

    The covered of m images are beta-binomial: the coverage given a calibration set of n is
    Beta(k, n + 1 - k), k = ceil((n + 1)(1 - alpha)).

    Args:
        calibrated: n.
        tested: m.
        alpha: Share that sets may miss.
        level: Of the band, half of the rest on either side.

    Returns:
        Shares; (1, 1) where the quantile is infinite.

    References:
        Vovk, arXiv:1209.2673; Angelopoulos and Bates, arXiv:2107.07511, 3.2.

    Example:
        >>> coverage_band(500, 1000, 0.1)
        (0.866, 0.93)
    """
    check_share("level", level)
    place = place_of_quantile(calibrated, alpha)
    if place > calibrated:
        return 1.0, 1.0
    first, second = float(place), float(calibrated + 1 - place)
    hits = np.arange(tested)
    ratios = np.log((tested - hits) * (hits + first)) - np.log(
        (hits + 1) * (tested - hits - 1 + second)
    )
    logs = np.r_[0.0, np.cumsum(ratios)]
    shares = np.exp(logs - logs.max())
    reached = np.cumsum(shares) / shares.sum()
    ends = np.searchsorted(reached, [(1 - level) / 2, (1 + level) / 2])
    return float(ends[0] / tested), float(ends[1] / tested)


def coverage_deviation(calibrated: int, alpha: float) -> float:
    """Return the standard deviation of coverage over calibration sets of n images.

    Example:
        >>> [round(coverage_deviation(n, 0.1), 4) for n in (19, 100, 500, 1000)]
        [0.0655, 0.0296, 0.0134, 0.0095]
    """
    place = place_of_quantile(calibrated, alpha)
    share = place / (calibrated + 1)
    return float(np.sqrt(share * (1 - share) / (calibrated + 2)))


def exact_tail(count: int, losses: float, alpha: float) -> float:
    """Return the chance of at most so many errors of n if the risk were alpha: a p-value.

    Example:
        >>> round(exact_tail(500, 40, 0.1), 7), round(exact_tail(100, 5, 0.1), 7)
        (0.0750893, 0.0575769)
    """
    check_share("alpha", alpha)
    hits = np.arange(floor(losses + 1e-9) + 1)
    logs = np.array([lgamma(count + 1) - lgamma(x + 1) - lgamma(count - x + 1) for x in hits])
    return min(
        1.0, float(np.exp(logs + hits * np.log(alpha) + (count - hits) * np.log1p(-alpha)).sum())
    )


def hoeffding_bentkus(count: int, risk: float, alpha: float) -> float:
    """Return a p-value of "the risk is above alpha" for a mean of n losses in [0, 1].

    For losses of 0 and 1 `exact_tail` is sharper.

    References:
        Bates et al., arXiv:2101.02703; Angelopoulos et al., arXiv:2110.01052.

    Example:
        >>> round(hoeffding_bentkus(500, 0.08, 0.1), 7), round(hoeffding_bentkus(100, 0.05, 0.1), 7)
        (0.2041139, 0.1565102)
    """
    check_share("alpha", alpha)
    check_share("risk", risk, ends="01")
    least = min(risk, alpha)
    entropy = (least * np.log(least / alpha) if least > 0 else 0.0) + (1 - least) * np.log(
        (1 - least) / (1 - alpha)
    )
    hoeffding = float(np.exp(-count * entropy))
    bentkus = float(np.e) * exact_tail(count, ceil(count * risk - 1e-9), alpha)
    return min(1.0, hoeffding, bentkus)


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What sets of answers are worth.

    Attributes:
        covered: float64 (N,), 1 where a set holds the right answer.
        sizes: int64 (N,).
        by_class: float64 (K,), coverage of each class that occurs.
        by_size: Size -> images and coverage.
    """

    covered: Float64Array
    sizes: Int64Array
    by_class: Float64Array
    by_size: dict[int, tuple[int, float]]

    @property
    def coverage(self) -> float:
        """Share of sets that hold the right answer."""
        return float(self.covered.mean())

    def class_gap(self, alpha: float) -> float:
        """Return the mean over classes of how far their coverage is from 1 - alpha."""
        check_share("alpha", alpha)
        return float(np.abs(self.by_class - (1 - alpha)).mean())

    def least_by_size(self, fewest_images: int = 1) -> float:
        """Return the least coverage of sets of one size, of at least so many images."""
        kept = [share for count, share in self.by_size.values() if count >= fewest_images]
        return min(kept) if kept else self.coverage


def set_facts(sets: NDArray[np.bool_], labels: Int64Array) -> SetFacts:
    """Measure sets of answers.

    Args:
        sets: bool (N, K), which answers each holds.
        labels: int64 (N,).

    Example:
        >>> found = set_facts(np.array([[True, False], [True, True]]), np.array([1, 1]))
        >>> found.coverage, found.sizes.tolist(), found.by_size
        (0.5, [1, 2], {1: (1, 0.0), 2: (1, 1.0)})
    """
    covered = sets[np.arange(len(labels)), labels].astype(np.float64)
    sizes = sets.sum(axis=1).astype(np.int64)
    by_class = np.array([covered[labels == k].mean() for k in np.unique(labels)])
    by_size = {
        int(size): (int((sizes == size).sum()), float(covered[sizes == size].mean()))
        for size in np.unique(sizes)
    }
    return SetFacts(covered, sizes, by_class, by_size)
