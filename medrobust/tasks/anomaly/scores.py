"""What the scores of a stored cell are worth: detection, false alarms, and where lesions lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.anomaly import SENSITIVITY, f1_influence, f1_max
from medrobust.metrics.curves import curves
from medrobust.metrics.detection import OperatingPoint, operating_point
from medrobust.metrics.estimates import Estimate, Metric, with_bounds
from medrobust.metrics.influence import Areas, mean_area, mean_precision
from medrobust.metrics.intervals import Bounds, Spread, logit_interval, share_interval
from medrobust.metrics.paired import FEWEST_UNITS
from medrobust.metrics.pixels import NUMBERS, PixelCounts, PixelCurve
from medrobust.tasks.base import Cell, Scores, Terms
from medrobust.types import Float64Array, Int64Array

from .states import abnormal

FEWEST_ABNORMAL = 12
"""Abnormal images (or patients) that the interval of a precision or an F1 needs."""

ROUNDING = 1e-6
"""Share of influence that single precision may leave where it cancels out."""

OF_THRESHOLD = f"at the threshold of {SENSITIVITY:.0%} sensitivity on clean validation images"

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "misranked_pairs": Metric("pairs misranked (1 − image AUROC)", False),
        "false_alarm_rate": Metric(f"normal images flagged {OF_THRESHOLD}", False),
        "missed_abnormal_rate": Metric(f"abnormal images passed {OF_THRESHOLD}", False),
        "image_auroc": Metric("AUROC of images", True),
        "image_aupr": Metric("average precision of images", True),
        "image_f1_max": Metric("largest F1 of images", True),
        "misranked_pixels": Metric("pixels misranked (1 − pixel AUROC)", False),
        "missed_overlap": Metric("overlap of regions missed (1 − AUPRO)", False),
        "pixel_auroc": Metric("AUROC of pixels", True),
        "aupro": Metric("AUPRO, overlap of regions up to 30 % false positives", True),
        "pixel_f1_max": Metric("largest F1 of pixels", True),
    }
)
"""Every metric of a cell, in the order of the tables."""

OF_PIXELS = ("misranked_pixels", "missed_overlap", *NUMBERS)
"""Those that need lesions and normal pixels."""

LOSSES = (
    "misranked_pairs",
    "false_alarm_rate",
    "missed_abnormal_rate",
    "image_auroc",
    "misranked_pixels",
    "missed_overlap",
)
"""What means, CE, mCE and tests are made of."""

FITTED: Mapping[str, str] = MappingProxyType(
    {"false_alarm_rate": "false alarms", "missed_abnormal_rate": "missed abnormal images"}
)

OF_ALL_ONLY: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("misranked_pixels", "missed_overlap"), "pixels are counted over all images")
)

CHANCE: Mapping[str, float] = MappingProxyType(
    {"misranked_pairs": 0.5, "misranked_pixels": 0.5, "missed_overlap": 0.85}
)


@dataclass(frozen=True)
class Detected:
    """The scores of a cell beside what they should tell.

    Attributes:
        scores: float64 (N,), more where an image is less normal.
        abnormal: bool (N,).
        patients: int64 (N,) from 0, or None.
    """

    scores: Float64Array
    abnormal: NDArray[np.bool_]
    patients: Int64Array | None

    @cached_property
    def both(self) -> bool:
        """Whether there are normal and abnormal images."""
        return bool(self.abnormal.any() and not self.abnormal.all())


def detected(cell: Cell) -> Detected:
    """Put the scores of a cell beside the states of its images."""
    scores = cell.arrays["score"].astype(np.float64)
    return Detected(scores, abnormal(cell.data, cell.head["normal"]), cell.patients)


def fit(clean_val: Cell) -> OperatingPoint | None:
    """Set the threshold on clean validation images; None where they have one state alone."""
    found = detected(clean_val)
    return operating_point(found.scores, found.abnormal, sensitivity=SENSITIVITY)


def scores(cell: Cell, fitted: OperatingPoint | None) -> Scores:
    """Compute every number of a cell, with intervals over images or patients.

    Losses that are no means of images have as terms their value and the influence of each image,
    so that means over cells, differences and ratios add up image by image.
    """
    found = detected(cell)
    estimates: dict[str, Estimate] = {}
    terms: dict[str, Terms | Areas] = {}
    if found.both:
        _of_images(found, estimates, terms)
    answers = None
    if fitted is not None:
        answers = found.scores >= fitted.threshold
        _of_threshold(found, answers, estimates, terms)
    if len(cell.arrays["normal_pixels"]):
        _of_pixels(cell, found, estimates, terms)
    ordered = {name: estimates[name] for name in METRICS if name in estimates}
    chance = {name: value for name, value in CHANCE.items() if name in terms}
    return Scores(ordered, terms, None if answers is None else answers.astype(np.int64), chance)


def _of_images(
    found: Detected, estimates: dict[str, Estimate], terms: dict[str, Terms | Areas]
) -> None:
    truth = found.abnormal[:, None]
    curve = curves(found.scores[:, None], truth)
    area = mean_area(curve, truth, found.patients)
    precision = mean_precision(curve, truth, found.patients)
    best = f1_max(found.scores, found.abnormal)
    assert area is not None
    assert precision is not None
    assert best is not None
    bounds = logit_interval(
        area.value,
        area.influence,
        found.patients,
        smallest=area.smallest,
        degrees=area.degrees,
        unseen=area.unseen,
    )
    estimates["image_auroc"] = with_bounds(area.value, bounds)
    estimates["misranked_pairs"] = _less(estimates["image_auroc"])
    terms["image_auroc"] = area
    values = 1 - area.value - _centered(area.influence)
    spread = Spread(area.degrees, area.unseen)
    terms["misranked_pairs"] = Terms(
        values, first_order=True, smallest=area.smallest, spread=spread
    )
    enough = precision.smallest >= FEWEST_ABNORMAL
    for name, value, influence in (
        ("image_aupr", precision.value, precision.influence),
        ("image_f1_max", best[0], f1_influence(found.scores, found.abnormal, best[1])),
    ):
        own = logit_interval(value, influence, found.patients, smallest=precision.smallest)
        note = "" if enough else f"fewer than {FEWEST_ABNORMAL} abnormal images or patients"
        estimates[name] = with_bounds(value, own if enough else None, note)


def _centered(influence: Float64Array) -> Float64Array:
    """Take out what rounding and enlarged patients leave of a mean that should be 0."""
    centered: Float64Array = influence - influence.mean()
    return centered


def _less(estimate: Estimate) -> Estimate:
    """Return one minus a number, with its interval."""
    value, low, high = estimate.value, estimate.low, estimate.high
    assert value is not None
    if low is None or high is None:
        return Estimate(1 - value, note=estimate.note)
    return with_bounds(1 - value, (1 - high, 1 - low))


def _of_threshold(
    found: Detected,
    flagged: NDArray[np.bool_],
    estimates: dict[str, Estimate],
    terms: dict[str, Terms | Areas],
) -> None:
    for name, wrong, among in (
        ("false_alarm_rate", flagged, ~found.abnormal),
        ("missed_abnormal_rate", ~flagged, found.abnormal),
    ):
        if not among.any():
            continue
        own = wrong[among].astype(np.float64)
        patients = group_codes(None if found.patients is None else found.patients[among])
        estimates[name] = with_bounds(float(own.mean()), share_interval(own, patients))
        terms[name] = Terms(wrong[among], rows=np.flatnonzero(among), groups=patients)


def pixel_counts(arrays: Mapping[str, NDArray[Any]]) -> PixelCounts:
    """Return what a cell holds of the pixels of its maps."""
    overlap = arrays["region_overlap"]
    regions = round(float(overlap.sum()))  # every region has a sum of one
    return PixelCounts(arrays["normal_pixels"], arrays["lesion_pixels"], overlap, regions)


def _of_pixels(
    cell: Cell,
    found: Detected,
    estimates: dict[str, Estimate],
    terms: dict[str, Terms | Areas],
) -> None:
    counts = pixel_counts(cell.arrays)
    if not counts.defined:
        note = "masks show no normal pixel" if counts.regions else "masks show no lesion"
        estimates.update(dict.fromkeys(OF_PIXELS, Estimate(None, note=note)))
        return
    influence = cell.arrays["pixel_influence"].astype(np.float64)
    smallest = _units(found)
    enough = smallest >= FEWEST_UNITS
    note = "" if enough else f"fewer than {FEWEST_UNITS} abnormal images or patients"
    for place, (name, value) in enumerate(zip(NUMBERS, PixelCurve(counts).values, strict=True)):
        moved = _centered(_settled(influence[:, place], found.patients))
        bounds: Bounds = logit_interval(value, moved, found.patients, smallest=smallest)
        estimates[name] = with_bounds(value, bounds if enough else None, note)
        loss = {"pixel_auroc": "misranked_pixels", "aupro": "missed_overlap"}.get(name)
        if loss is not None:
            estimates[loss] = _less(estimates[name])
            terms[loss] = Terms(
                1 - value - moved,
                first_order=True,
                smallest=smallest,
                spread=Spread(),
                unbounded=note,
            )


def _settled(influence: Float64Array, patients: Int64Array | None) -> Float64Array:
    """Take for nothing what is left where images of every patient cancel out but for rounding.

    A cell keeps influence in single precision. Of patients who are alike image by image the sums
    are that rounding alone, which would count as a variance, and make a point of an interval.
    """
    if patients is None:
        return influence
    sums, sizes = (np.bincount(patients, one) for one in (influence, np.abs(influence)))
    return np.zeros_like(influence) if (np.abs(sums) <= ROUNDING * sizes).all() else influence


def _units(found: Detected) -> float:
    """Count abnormal images, or the patients who have one: a perfect number rests on them."""
    if found.patients is None:
        return float(found.abnormal.sum())
    return float(len(np.unique(found.patients[found.abnormal])))


def collapsed(cell: Cell) -> str | None:
    """Name what is the same for every image of a cell, or None."""
    given = cell.arrays["score"]
    return "the same score" if len(given) > 1 and bool((given == given[0]).all()) else None
