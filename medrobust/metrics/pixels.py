"""Numbers of maps of values over normal pixels and lesions, from counts of levels.

A map is read in levels: whole numbers that rise with its values. Of a few maps their distinct
values are the levels, and nothing is lost (`pixel_numbers`). Of many maps the bins of a grid are,
counted a chunk of images at a time; a bin hides the order of what lies in it and no more, which
bounds what it can cost a number (`PixelCurve.bounds`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array, Int64Array, UInt8Array

LIMIT = 0.3
"""False-positive rate up to which the overlap of regions is integrated."""

NUMBERS = ("pixel_auroc", "aupro", "pixel_f1_max")
"""Numbers of pixels, in the order of `pixel_influence`."""


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """What all maps of a split hold, by level.

    Attributes:
        normal: int64 (B,), pixels of no lesion.
        lesion: int64 (B,), pixels of lesions.
        overlap: float64 (B,), sum over regions of the share of a region that lies at the level.
        regions: Connected parts of lesions, eight neighbours a pixel, each of one image.
    """

    normal: Int64Array
    lesion: Int64Array
    overlap: Float64Array
    regions: int

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        """Join the counts of other images to these."""
        return PixelCounts(
            self.normal + other.normal,
            self.lesion + other.lesion,
            self.overlap + other.overlap,
            self.regions + other.regions,
        )

    @property
    def defined(self) -> bool:
        """Whether there are normal pixels and lesions, without which there are no numbers."""
        return self.regions > 0 and bool(self.normal.any())


Masks: TypeAlias = NDArray[np.bool_] | UInt8Array
"""Whether pixels are of a lesion: 1, or 0; those of another number count as nothing."""


def count_pixels(levels: NDArray[np.integer], masks: Masks, bins: int) -> PixelCounts:
    """Count the pixels of some images by level.

    Args:
        levels: Whole numbers (N, H, W) below `bins`.
        masks: (N, H, W), as `Masks` has it.
        bins: How many levels there are.
    """
    inside, outside = levels[masks == 1], levels[masks == 0]
    overlap = np.zeros(bins)
    regions = 0
    for image, labelled, sizes in _regions(masks):
        own = labelled > 0
        weights = 1 / sizes[labelled[own]]
        overlap += np.bincount(levels[image][own], weights, bins)
        regions += len(sizes) - 1
    normal, lesion = (np.bincount(side, minlength=bins) for side in (outside, inside))
    return PixelCounts(normal.astype(np.int64), lesion.astype(np.int64), overlap, regions)


def _regions(masks: Masks) -> Iterator[tuple[int, Int64Array, Int64Array]]:
    """Number the connected parts of each mask that has any, from 1, with their sizes."""
    from scipy import ndimage  # half a second that a report without maps need not wait

    lesions = masks == 1
    for image in np.flatnonzero(lesions.any(axis=(1, 2))).tolist():
        labelled, _ = ndimage.label(lesions[image], structure=np.ones((3, 3)))
        yield image, labelled, np.bincount(labelled.ravel())


@dataclass(frozen=True, eq=False)
class PixelCurve:
    """ROC, overlap and F1 of all thresholds, from counts.

    AUPRO, after Bergmann et al. (CVPR 2020): the mean over regions of the share of a region that is
    at least a threshold, against the share of normal pixels of all images that is, integrated by
    trapezoids from 0 to .3 and divided by .3. A perfect map has 1, one of noise .15.

    Args:
        counts: With normal pixels and regions.
        limit: False-positive rate up to which is integrated.

    Raises:
        InvalidDataError: If there are no normal pixels, or no regions.
    """

    counts: PixelCounts
    limit: float = LIMIT

    def __post_init__(self) -> None:
        if not self.counts.defined:
            raise InvalidDataError(
                "numbers of pixels need normal pixels and lesions: the masks have only one of them."
            )

    @cached_property
    def false(self) -> Float64Array:
        """Share of normal pixels at least at each level, and 0 above all: float64 (B + 1,)."""
        return _from_above(self.counts.normal)

    @cached_property
    def found(self) -> Float64Array:
        """Share of lesion pixels likewise."""
        return _from_above(self.counts.lesion)

    @cached_property
    def overlapped(self) -> Float64Array:
        """Mean share of a region likewise."""
        share: Float64Array = _sums_from_above(self.counts.overlap) / self.counts.regions
        return np.minimum(share, 1.0)

    @cached_property
    def auroc(self) -> float:
        """Area under the ROC curve of all pixels; pixels of one level are ties, one half each."""
        return float(self.counts.lesion @ self.right_lesion) / float(self.counts.lesion.sum())

    @cached_property
    def right_lesion(self) -> Float64Array:
        """Share of normal pixels that a lesion pixel of each level is above: float64 (B,)."""
        return 1 - (self.false[1:] + self.false[:-1]) / 2

    @cached_property
    def right_normal(self) -> Float64Array:
        """Share of lesion pixels that a normal pixel of each level is below: float64 (B,)."""
        return (self.found[1:] + self.found[:-1]) / 2

    @cached_property
    def region_weight(self) -> Float64Array:
        """Area that a region has for what of it lies at each level: float64 (B,), 0 to 1."""
        above, at = self.false[1:], self.false[:-1]
        end = np.minimum(at, self.limit)
        width = np.where(at > above, at - above, 1.0)
        ramp = np.maximum(end - above, 0.0) ** 2 / (2 * width)
        weight: Float64Array = (ramp + np.maximum(self.limit - at, 0.0)) / self.limit
        return weight

    @cached_property
    def aupro(self) -> float:
        """Area under the mean overlap of regions up to the limit, over the limit."""
        return min(float(self.counts.overlap @ self.region_weight) / self.counts.regions, 1.0)

    @cached_property
    def _f1(self) -> Float64Array:
        """F1 of the threshold at each level: float64 (B,)."""
        hits, false = (_sums_from_above(side)[:-1] for side in (self.counts.lesion, self._normal))
        f1: Float64Array = 2 * hits / (hits + false + self.counts.lesion.sum())
        return f1

    @property
    def _normal(self) -> Int64Array:
        return self.counts.normal

    @cached_property
    def f1_level(self) -> int:
        """Level of the threshold that has the largest F1, the highest of equal ones."""
        return len(self._f1) - 1 - int(np.argmax(self._f1[::-1]))

    @property
    def f1_max(self) -> float:
        """Largest F1 of all thresholds."""
        return float(self._f1[self.f1_level])

    @property
    def values(self) -> tuple[float, float, float]:
        """Return the numbers in the order of `NUMBERS`."""
        return self.auroc, self.aupro, self.f1_max

    @property
    def bounds(self) -> tuple[float, float]:
        """Return by how much AUROC and AUPRO can differ at most from those of unbinned values.

        Within a level the true curve lies anywhere in the rectangle that its ends span: half of it
        is the most that a trapezoid is off, and all of it where the limit falls into the level.
        """
        roc = np.diff(self.false) @ np.diff(self.found) / 2
        above, at = self.false[1:], self.false[:-1]
        width = np.clip(np.minimum(at, self.limit) - above, 0.0, None)
        share = np.where(at > self.limit, 1.0, 0.5)
        overlap = (width * -np.diff(self.overlapped)) @ share / self.limit
        return float(roc), float(overlap)


def _sums_from_above(counts: NDArray[np.generic]) -> Float64Array:
    sums: Float64Array = np.append(np.cumsum(counts[::-1], dtype=np.float64)[::-1], 0.0)
    return sums


def _from_above(counts: Int64Array) -> Float64Array:
    sums = _sums_from_above(counts)
    shares: Float64Array = sums / sums[0]
    return shares


def pixel_influence(
    curve: PixelCurve, levels: NDArray[np.integer], masks: Masks, images: int
) -> Float64Array:
    """Say how much each image moves the numbers, to first order.

    Pixels of one image are no units of their own: the influence is that of the image as a whole,
    through its lesions and its normal pixels. Its mean over all images is 0.

    Args:
        curve: Of all images.
        levels: Whole numbers (n, H, W), of some of them.
        masks: (n, H, W), as `Masks` has it.
        images: How many there are in all.

    Returns:
        float64 (n, 3), in the order of `NUMBERS`.
    """
    tables, bins = _Tables(curve), len(curve.counts.normal)
    result = np.zeros((len(levels), len(NUMBERS)))
    for row, (level, mask) in enumerate(zip(levels, masks, strict=True)):
        result[row] = tables.of_normal @ np.bincount(level[mask == 0], minlength=bins)
        result[row] += tables.of_lesion @ np.bincount(level[mask == 1], minlength=bins)
    middle = curve.aupro
    for row, labelled, sizes in _regions(masks):
        own = labelled > 0
        area = (curve.region_weight[levels[row][own]] / sizes[labelled[own]]).sum()
        result[row, 1] += (area - middle * (len(sizes) - 1)) / curve.counts.regions
    return result * images


class _Tables:
    """What one pixel of each level adds to each number: float64 (3, B)."""

    def __init__(self, curve: PixelCurve) -> None:
        normal, lesion = float(curve.counts.normal.sum()), float(curve.counts.lesion.sum())
        none = np.zeros(len(curve.counts.normal))
        at_least = np.arange(len(none)) >= curve.f1_level
        f1 = curve.f1_max
        called = float((curve.counts.normal + curve.counts.lesion)[at_least].sum())
        self.of_normal = np.stack(
            [
                (curve.right_normal - curve.auroc) / normal,
                _of_false_positives(curve) / normal,
                -f1 * at_least / (called + lesion),
            ]
        )
        self.of_lesion = np.stack(
            [
                (curve.right_lesion - curve.auroc) / lesion,
                none,
                (2.0 * at_least - f1 * (1.0 + at_least)) / (called + lesion),
            ]
        )


def _of_false_positives(curve: PixelCurve) -> Float64Array:
    """Say how a normal pixel of each level moves AUPRO, times the normal pixels there are.

    A false positive takes room below the limit from the pixels at it: it brings the overlap at its
    own level and drives out that at the limit.
    """
    above, at = curve.false[1:], curve.false[:-1]
    overlap = curve.overlapped
    part = np.clip((curve.limit - above) / np.where(at > above, at - above, 1.0), 0.0, 1.0)
    end = overlap[1:] + part * (overlap[:-1] - overlap[1:])
    at_limit = float(np.interp(curve.limit, curve.false[::-1], overlap[::-1]))
    moved = part * ((overlap[1:] + end) / 2 - at_limit)
    share = curve.counts.normal / curve.counts.normal.sum()
    centered: Float64Array = (moved - float(share @ moved)) / curve.limit
    return centered


def pixel_numbers(maps: NDArray[np.floating], masks: NDArray[np.bool_]) -> PixelCurve:
    """Return the numbers of maps that lie in memory, without any grid.

    Args:
        maps: Real (N, H, W), more where a lesion is more likely.
        masks: bool (N, H, W), lesions.

    Raises:
        InvalidDataError: If shapes differ, values are not finite, or there are no lesions.

    Example:
        >>> masks = np.zeros((1, 4, 4), bool)
        >>> masks[0, 1:3, 1:3] = True
        >>> pixel_numbers(masks.astype(float), masks).values
        (1.0, 1.0, 1.0)
    """
    if maps.shape != masks.shape:
        raise InvalidDataError(f"maps {maps.shape} and masks {masks.shape} must have one shape.")
    if not np.isfinite(maps).all():
        raise InvalidDataError("maps must be finite: some of their values are not.")
    values, levels = np.unique(maps, return_inverse=True)
    return PixelCurve(count_pixels(levels.reshape(maps.shape), masks, len(values)))
