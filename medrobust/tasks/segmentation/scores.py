"""What the masks of a stored cell are worth, from counts of pixels and distances of borders.

The Dice of an image is the mean over the classes that its truth or its prediction has, 1 where both
are empty and 0 where one is; its NSD the same. Distances are over images and classes that both
masks have; how many have one alone is counted beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics.aggregates import error_interval, group_codes
from medrobust.metrics.estimates import Estimate, Metric, with_bounds
from medrobust.metrics.intervals import mean_interval, share_interval
from medrobust.metrics.overlaps import dice, iou
from medrobust.tasks.base import Cell, Scores, Terms
from medrobust.types import Float64Array, Int64Array

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "dice_loss": Metric("1 − Dice, mean over images", False, weighted=True),
        "surface_loss": Metric("1 − NSD, share of borders beyond the tolerance", False),
        "foreground_dice_loss": Metric("1 − Dice of images that show something", False),
        "missed_foreground_rate": Metric("images that show something, with an empty mask", False),
        "false_foreground_rate": Metric("images that show nothing, with a mask", False),
        "dice": Metric("Dice, mean over images", True),
        "iou": Metric("IoU, mean over images", True),
        "nsd": Metric("NSD, share of borders within the tolerance", True),
        "worst_class_dice": Metric("Dice of the worst class", True),
        "hd95": Metric("HD95 where both masks have a border, in pixels or mm", False, share=False),
        "assd": Metric("mean distance of borders (ASSD), in pixels or mm", False, share=False),
    }
)
"""Every metric of a cell, in the order of the tables."""

LOSSES = (
    "dice_loss",
    "surface_loss",
    "foreground_dice_loss",
    "missed_foreground_rate",
    "false_foreground_rate",
)
"""What means, CE, mCE and tests are made of."""

FEWEST = 3
"""Images (or patients) with both borders that the interval of a distance needs."""


@dataclass(frozen=True)
class Masked:
    """The arrays of a cell.

    Attributes:
        overlap: int32 (N, C), pixels of each class in both masks.
        true_area: int32 (N, C), in the truth.
        predicted_area: int32 (N, C), in the prediction.
        patients: int64 (N,) from 0, or None.
    """

    overlap: NDArray[np.int32]
    true_area: NDArray[np.int32]
    predicted_area: NDArray[np.int32]
    patients: Int64Array | None

    @cached_property
    def counts(self) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Pixels in both, in the truth, and in the prediction: int64 (N, C)."""
        both = (self.overlap, self.true_area, self.predicted_area)
        one, two, three = (counts.astype(np.int64) for counts in both)
        return one, two, three

    @cached_property
    def there(self) -> NDArray[np.bool_]:
        """Whether truth or prediction have a class, (N, C)."""
        return (self.true_area > 0) | (self.predicted_area > 0)

    @cached_property
    def shows(self) -> NDArray[np.bool_]:
        """Whether the truth has a foreground, (N,)."""
        return np.asarray((self.true_area > 0).any(axis=1))

    @cached_property
    def found(self) -> NDArray[np.bool_]:
        """Whether the prediction has a foreground, (N,)."""
        return np.asarray((self.predicted_area > 0).any(axis=1))

    def of_images(self, of_classes: Float64Array) -> Float64Array:
        """Return the mean of (N, C) over the classes that are there, 1 where none is: (N,)."""
        count = self.there.sum(axis=1)
        sums = np.where(self.there, of_classes, 0).sum(axis=1)
        means: Float64Array = np.where(count > 0, sums / np.maximum(count, 1), 1.0)
        return means

    def of_classes(self, values: Float64Array) -> Float64Array:
        """Return the mean of (N, C) over the images that have a class; NaN where none has: (C,)."""
        count = self.there.sum(axis=0)
        sums = np.where(self.there, values, 0).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means: Float64Array = sums / count
        return means


def masked(arrays: Mapping[str, NDArray[Any]], patients: Int64Array | None = None) -> Masked:
    """Read what the numbers are made of."""
    return Masked(arrays["overlap"], arrays["true_area"], arrays["predicted_area"], patients)


def image_dice(arrays: Mapping[str, NDArray[Any]]) -> Float64Array:
    """Return the Dice of each image, (N,)."""
    found = masked(arrays)
    return found.of_images(dice(*found.counts))


def scores(cell: Cell) -> Scores:
    """Compute every number of a cell, with intervals over images or patients."""
    found = masked(cell.arrays, cell.patients)
    estimates: dict[str, Estimate] = {}
    terms: dict[str, Terms] = {}
    overlaps = {
        "dice": found.of_images(dice(*found.counts)),
        "iou": found.of_images(iou(*found.counts)),
        "nsd": found.of_images(cell.arrays["nsd"].astype(np.float64)),
    }
    for name, of_images in overlaps.items():
        bounds = error_interval(of_images, None, found.patients)
        estimates[name] = with_bounds(float(of_images.mean()), bounds)
    for loss, name in (("dice_loss", "dice"), ("surface_loss", "nsd")):
        own = 1 - overlaps[name]
        estimates[loss] = with_bounds(float(own.mean()), error_interval(own, None, found.patients))
        terms[loss] = Terms(own)
    for loss, values, among in (
        ("foreground_dice_loss", 1 - overlaps["dice"], found.shows),
        ("missed_foreground_rate", ~found.found, found.shows),
        ("false_foreground_rate", found.found, ~found.shows),
    ):
        if among.any():
            estimates[loss], terms[loss] = _among(values, among, found.patients)
    if found.there.shape[1] > 1:
        by_class = found.of_classes(dice(*found.counts))
        if not np.isnan(by_class).all():
            note = "it is the least of several classes, of which no interval is computed"
            estimates["worst_class_dice"] = Estimate(float(np.nanmin(by_class)), note=note)
    for name in ("hd95", "assd"):
        estimates |= _distance(name, cell.arrays[name], found.patients)
    ordered = {name: estimates[name] for name in METRICS if name in estimates}
    return Scores(ordered, terms, found.found.astype(np.int64))


def _among(
    values: NDArray[Any], among: NDArray[np.bool_], patients: Int64Array | None
) -> tuple[Estimate, Terms]:
    """Return the mean over some images, and what each of these adds to it."""
    own = values[among].astype(np.float64)
    groups = group_codes(None if patients is None else patients[among])
    estimate = with_bounds(float(own.mean()), share_interval(own, groups))
    return estimate, Terms(values[among], rows=np.flatnonzero(among), groups=groups)


def _distance(
    name: str, distances: NDArray[np.float32], patients: Int64Array | None
) -> dict[str, Estimate]:
    """Return the mean over images of that over their classes, where both masks have a border."""
    both = np.isfinite(distances)
    some = both.any(axis=1)
    if not some.any():
        return {}
    sums = np.where(both, distances, 0).astype(np.float64).sum(axis=1)
    own = (sums / np.maximum(both.sum(axis=1), 1))[some]
    units = None if patients is None else patients[some]
    value = float(own.mean())
    if (len(own) if units is None else len(np.unique(units))) < FEWEST:
        return {name: Estimate(value, note=f"fewer than {FEWEST} images or patients have it")}
    bounds = mean_interval(own, units, limits=(0.0, float("inf")))
    if bounds[0] == bounds[1]:
        return {name: Estimate(value, note="all images have the same: no interval tells of others")}
    return {name: with_bounds(value, bounds)}


def collapsed(cell: Cell) -> str | None:
    """Name what is the same for every image of a cell, or None."""
    area = cell.arrays["predicted_area"]
    return "an empty mask" if len(area) > 1 and not area.any() else None
