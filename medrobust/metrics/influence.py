"""How much each image weighs in a number: influence values, float64 (N,) with mean 0.

The variance of an estimate is that of the mean of its influence values (the infinitesimal
jackknife; Efron, JASA 76 (1981) 312). For the AUC these are the structural components of DeLong,
DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, and the variance is theirs. Values of several
cells on the same images add up image by image, which is what pairs them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.base.former_keywords import formerly
from medrobust.types import Float64Array, Int64Array, LabelKind

from .classification import one_versus_rest
from .curves import Curves, curves
from .variances import BORROWED, variance_of_mean

DRAWN = 0.25
"""Degrees of freedom that the usual variance of an AUC counts as, beside that of patients."""


@dataclass(frozen=True, slots=True)
class Areas:
    """The mean of areas under one-versus-rest ROC curves, and what each image adds.

    Attributes:
        value: Mean over the classes that have positives and negatives.
        influence: float64 (N,).
        smallest: Harmonic mean over these classes of the smaller of positives and negatives (or of
            patients who have them).
        degrees: Of freedom of the variance (Satterthwaite): a class of three images has two.
        unseen: Variance of the classes with a single image, taken to be as that of the others.
        classes: How many these are.
        least: The smaller of positives and negatives (or of patients who have them) in the rarest
            of these classes.
    """

    value: float
    influence: Float64Array
    smallest: float
    degrees: float
    unseen: float
    classes: int = 1
    least: float = float("inf")

    @property
    def free(self) -> float:
        """Degrees of freedom that may be relied on: no more than the rarer sides give."""
        return min(self.degrees, self.classes * (self.smallest - 1))


@formerly(task="label_kind")
def areas(
    scores: Float64Array,
    labels: Int64Array,
    *,
    label_kind: LabelKind,
    positive: int | None = None,
    groups: Int64Array | None = None,
) -> Areas | None:
    """Return the AUC of a cell, as `auc` has it, with its influence values.

    Args:
        scores: float64 (N, K) from `class_scores`.
        labels: int64 (N,) or (N, L).
        label_kind: One of MedMNIST's four words for kinds of labels.
        positive: Index of the positive class of a binary set.
        groups: int64 (N,) from 0: few patients of a class make its influence values larger.

    Returns:
        None where no class has both positives and negatives.
    """
    truths = one_versus_rest(labels, scores.shape[1])
    if label_kind == "binary-class":
        assert positive is not None
        scores, truths = scores[:, positive, None], truths[:, positive, None]
    return mean_area(curves(scores, truths), truths, groups)


def mean_area(
    found: Curves, truths: NDArray[np.bool_], groups: Int64Array | None = None
) -> Areas | None:
    """Join the areas of the classes that have one.

    Args:
        found: From `curves`.
        truths: bool (N, K), what they were made from.
        groups: int64 (N,) from 0, or None.
    """
    defined = ~np.isnan(found.areas)
    if not defined.any():
        return None
    own, values = np.ascontiguousarray(truths.T)[defined], found.areas[defined]
    count = own.shape[1]
    ahead = np.count_nonzero(own, axis=1)
    sizes = np.stack([ahead, count - ahead])
    centered = found.shares[defined] - values[:, None]
    if groups is None:
        units: Float64Array = sizes.astype(np.float64)
        scales = (np.sqrt(units / np.maximum(units - 1, 1)) / sizes)[:, :, None]
    else:
        images = _images(own, groups)
        both = np.hstack([images, np.bincount(groups)[:, None] - images])
        units, larger = (found.reshape(2, len(own), *found.shape[1:]) for found in _patients(both))
        scales = np.take(larger / sizes[:, :, None], groups, axis=2)
    influence = centered * np.where(own, scales[0], scales[1])
    smallest = len(values) / float((1 / units.min(axis=0)).sum())
    squares = centered**2
    spread = np.stack([(squares * side).sum(axis=1) for side in (own, ~own)]) / sizes  # (2, K)
    degrees, unseen = _degrees(spread, units)
    mean = influence.mean(axis=0) * len(truths)
    if groups is not None:
        usual = float(_usual(values, units).sum()) / len(values) ** 2
        unseen += DRAWN * max(usual - variance_of_mean(mean, groups)[0], 0.0) / (degrees + 1)
    least = float(units.min())
    return Areas(float(values.mean()), mean, smallest, degrees, unseen, len(values), least)


def _usual(areas: Float64Array, units: Float64Array) -> Float64Array:
    """Return the variance of areas (K,) of (2, K) units as exponential scores would have it.

    References:
        Hanley and McNeil, Radiology 143 (1982) 29.
    """
    ahead, behind = areas / (2 - areas) - areas**2, 2 * areas**2 / (1 + areas) - areas**2
    pairs = areas * (1 - areas) + (units[0] - 1) * ahead + (units[1] - 1) * behind
    result: Float64Array = pairs / (units[0] * units[1])
    return result


def _degrees(spread: Float64Array, units: Float64Array) -> tuple[float, float]:
    """Return degrees of freedom and what classes of one unit hide, of mean squares (2, K)."""
    free = units - 1
    single = free < 1e-9
    shares = spread / np.where(single, 1.0, free)  # of the variance
    usual = (spread * units).sum(axis=1) / np.maximum(free.sum(axis=1), 1)  # over classes
    hidden = np.where(single, usual[:, None], 0.0)
    shares = np.where(single, hidden, shares)
    weights = float((shares**2 / np.where(single, 1.0, free)).sum())
    degrees = float(shares.sum()) ** 2 / weights if weights > 0 else float("inf")
    return degrees, float(hidden.sum()) / units.shape[1] ** 2


def _images(own: NDArray[np.bool_], groups: Int64Array) -> Int64Array:
    """Count the images of each patient in each of K sides (K, N): int64 (G, K)."""
    classes, count = own.shape
    side, image = np.divmod(np.flatnonzero(own), count)
    size = int(groups.max()) + 1
    found = np.bincount(groups[image] * classes + side, minlength=size * classes)
    return found.reshape(size, classes)


def _patients(images: Int64Array) -> tuple[Float64Array, Float64Array]:
    """Say of how many patients each side is, and by what each pulls it towards itself.

    Args:
        images: int64 (G, S), images that a patient has on a side.

    Returns:
        float64 (S,), patients of equal size that would tell as much, 1 / sum of h^2, h being the
        share of a side's images that a patient holds; and float64 (S, G), 1 / sqrt(1 - h), by
        which a patient's images are enlarged (Bell and McCaffrey, Survey Methodology 28 (2002)
        169).
    """
    shares = images / np.maximum(images.sum(axis=0), 1)
    with np.errstate(divide="ignore"):
        larger = np.where(shares < 1, 1 / np.sqrt(np.maximum(1 - shares, 1e-12)), 1.0)
        units = 1 / (shares**2).T.sum(axis=1)
    return units, np.ascontiguousarray(larger.T)


@dataclass(frozen=True, slots=True)
class Precisions:
    """The mean of average precisions, and what its interval needs.

    Attributes:
        value: Mean over the classes that have positives and negatives.
        influence: float64 (N,), mean 0.
        smallest: Harmonic mean over these classes of their positives (or patients).
        degrees: Of freedom of the variance (Satterthwaite), from the positives of each class.
        unseen: Variance of the classes with a single positive, as Boyd et al. have it.
        usual: Variance that the number of positives alone gives (Boyd, Eng and Page, ECML 2013):
            A (1 - A) / n for each class.
        excess: By how much the value is too large on so few positives, as `Curves` has it.
    """

    value: float
    influence: Float64Array
    smallest: float
    degrees: float
    unseen: float
    usual: float
    excess: float


def mean_precision(
    found: Curves, truths: NDArray[np.bool_], groups: Int64Array | None = None
) -> Precisions | None:
    """Join the average precisions of the classes that have one.

    Args:
        found: From `curves`.
        truths: bool (N, K), what they were made from.
        groups: int64 (N,) from 0: a class has as many units as patients with a positive.
    """
    defined = ~np.isnan(found.precisions)
    if not defined.any():
        return None
    own, values = np.ascontiguousarray(truths.T)[defined], found.precisions[defined]
    if groups is None:
        units: Float64Array = own.sum(axis=1).astype(np.float64)
        larger = np.sqrt(units / np.maximum(units - 1, 1))[:, None]
    else:
        units, table = _patients(_images(own, groups))
        larger = np.take(table, groups, axis=1)
    influence = found.precision_influence[defined] * np.where(own, larger, 1.0)
    parts = [
        variance_of_mean(np.where(k, i, 0.0), groups)[0]
        for k, i in zip(own, influence, strict=True)
    ]
    weights = float((np.square(parts) / np.maximum(units - 1, 1)).sum())
    degrees = float(np.sum(parts)) ** 2 / weights if weights > 0 else float("inf")
    usual = np.maximum(values * (1 - values), 0.0) / units  # rounding may leave 1 behind
    return Precisions(
        float(values.mean()),
        influence.mean(axis=0),
        len(values) / float((1 / units).sum()),
        degrees,
        float(usual[units < 1 + 1e-9].sum()) / len(values) ** 2,
        float(usual.sum()) / len(values) ** 2,
        float(found.precision_excess[defined].mean()),
    )


def _unbiased(count: int) -> float:
    return float(np.sqrt(count / (count - 1))) if count > 1 else 1.0


def balanced_influence(
    terms: Float64Array, labels: Int64Array, groups: Int64Array | None = None
) -> Float64Array:
    """Influence values of the mean over classes of a class's mean of terms.

    A class's mean is drawn towards each unit that it is of, so that n of them differ from it by
    too little: the images of a patient with a share h of the class are over sqrt(1 - h), as those
    of an AUC are (`areas`); single images by sqrt(n / (n - 1)).

    Args:
        terms: float64 (..., N): whether an image is wrong, or its mean over conditions.
        labels: int64 (N,).
        groups: int64 (N,) from 0, or None.

    Example:
        >>> terms, labels = np.array([0.0, 1.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
        >>> balanced_influence(terms, labels).round(3).tolist()
        [-0.707, 0.707, 0.0, 0.0]
    """
    result = np.zeros(terms.shape)
    classes = np.unique(labels)
    for k in classes:
        own = labels == k
        count = int(own.sum())
        part = terms[..., own]
        centered = part - part.mean(axis=-1, keepdims=True)
        scale = len(labels) / (count * len(classes))
        if groups is None:
            result[..., own] = centered * (_unbiased(count) * scale)
            continue
        result[..., own] = (
            centered * _beyond((np.bincount(groups[own]) / count)[groups[own]]) * scale
        )
    return result


def _beyond(held: Float64Array) -> Float64Array:
    """Return by how much units with these shares of a class differ from it more than it shows."""
    larger: Float64Array = np.where(held < 1, 1 / np.sqrt(np.maximum(1 - held, 1e-12)), 1.0)
    return larger


def _stretched(
    influence: Float64Array, labels: Int64Array, groups: Int64Array | None
) -> Float64Array:
    """Enlarge what differs from the mean of a class, as `balanced_influence` does: float64 (N,)."""
    sizes = np.bincount(labels)
    apart = influence - (np.bincount(labels, weights=influence) / np.maximum(sizes, 1))[labels]
    held = 1 / sizes[labels]
    if groups is not None:
        pairs = labels * (int(groups.max()) + 1) + groups
        held = np.bincount(pairs)[pairs] * held
    stretched: Float64Array = influence + (_beyond(held) - 1) * apart
    return stretched


def unseen_variance(
    influence: Float64Array, labels: Int64Array, groups: Int64Array | None = None
) -> float:
    """Return the variance that rare classes hide from the influence values of a balanced number.

    Five images of which none is wrong show none. Each class borrows `BORROWED` units at the
    variance of all (as its share does in `intervals.mean_of_shares_interval`), and where that
    makes the sum larger, the difference is what was hidden. Of classes of equally many units, and
    of several labels an image, it is 0.

    Args:
        influence: float64 (N,) that sum to 0 within each class.
        labels: int64 (N,), or (N, L).
        groups: int64 (N,) from 0, or None.
    """
    if labels.ndim == 2:
        return 0.0
    squares, counts = [], []
    for k in np.unique(labels):
        own = influence[labels == k]
        if groups is not None:
            _, place = np.unique(groups[labels == k], return_inverse=True)
            own = np.bincount(place.reshape(-1), weights=own)
        squares.append(float((own**2).sum()))
        counts.append(len(own))
    seen, units = np.array(squares), np.array(counts, dtype=np.float64)
    if float(np.ptp(units)) == 0:
        return 0.0
    usual = float(((units - 1) * units * seen).sum() / (units - 1).sum())
    drawn = (units * units * seen + BORROWED * usual) / ((units + BORROWED) * units)
    return max(float((drawn - seen).sum()), 0.0) / len(labels) ** 2


def f1_influence(
    predicted: Int64Array, labels: Int64Array, groups: Int64Array | None = None
) -> Float64Array:
    """Influence values of macro F1 over the classes that occur or are predicted; 0 without any.

    What an image adds depends on its label and prediction alone: of classes it is looked up. A
    class of few units is drawn towards each, as in `balanced_influence`.

    Args:
        predicted: int64 (N,) or (N, L).
        labels: int64 (N,) or (N, L).
        groups: int64 (N,) from 0, or None.
    """
    if labels.ndim == 2:
        had, said = labels == 1, predicted == 1
        weight = (had.sum(axis=0) + said.sum(axis=0)).astype(float)
        if not weight.any():
            return np.zeros(len(labels))
        occurs = weight > 0
        had, said, weight = had[:, occurs], said[:, occurs], weight[occurs]
        terms = _f1_terms(had, said, (had & said).sum(axis=0), weight)
        columns = zip(terms.T, labels[:, occurs].T, strict=True)
        moved = np.mean([_stretched(term, of, groups) for term, of in columns], axis=0)
        found: Float64Array = moved * len(labels)
        return found
    size = int(max(labels.max(), predicted.max())) + 1
    counts = np.bincount(labels, minlength=size) + np.bincount(predicted, minlength=size)
    weight = counts.astype(np.float64)
    names = np.flatnonzero(weight)
    right = np.bincount(labels[predicted == labels], minlength=size)[names]
    kind = labels * size + predicted
    kinds = np.flatnonzero(np.bincount(kind))
    had, said = (codes[:, None] == names for codes in np.divmod(kinds, size))
    table = np.empty(size**2)
    table[kinds] = _f1_terms(had, said, right, weight[names]).mean(axis=1) * len(labels)
    return _stretched(table[kind], labels, groups)


def _f1_terms(
    had: NDArray[np.bool_], said: NDArray[np.bool_], right: Int64Array, weight: Float64Array
) -> Float64Array:
    """Return what moves the F1 of each class (..., K), of `weight` labels and predictions."""
    scores = 2 * right / weight
    found: Float64Array = (2.0 * (had & said) - scores * (had.astype(float) + said)) / weight
    return found


def kappa_influence(predicted: Int64Array, labels: Int64Array, *, classes: int) -> Float64Array:
    """Influence values of the quadratic-weighted kappa, which must be defined."""
    grades = np.arange(classes)
    own = (labels - predicted) ** 2.0
    had = np.bincount(labels, minlength=classes) / len(labels)
    said = np.bincount(predicted, minlength=classes) / len(labels)
    against_said = ((grades[:, None] - grades) ** 2 * said).sum(axis=1)
    against_had = ((grades[:, None] - grades) ** 2 * had).sum(axis=1)
    observed, expected = own.mean(), float((had * against_said).sum())
    moved = against_said[labels] + against_had[predicted] - 2 * expected
    result: Float64Array = -(own - observed) / expected + observed / expected**2 * moved
    return result
