"""Distances between the borders of two masks: HD95, mean distance, and overlap at a tolerance.

Borders are those of DeepMind's `surface-distance` unless asked otherwise: they run through the
corners between pixels, each with the length of border there ("surfels"). "pixels" are the pixels of
a mask that have a neighbour outside of it, each of weight one, as MONAI counts them.
"""

from dataclasses import dataclass
from math import hypot
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError, InvalidDataError, unknown_name
from medrobust.types import Float64Array, Int64Array, UInt8Array

from .surfaces_numba import border_pixels, nearest, surfels

Elements: TypeAlias = Literal["surfels", "pixels"]
"""What a border is made of."""

ELEMENTS: tuple[Elements, ...] = get_args(Elements)

_GUESS = 4096
"""Elements that are made room for at first."""


@dataclass(frozen=True, slots=True)
class SurfaceDistances:
    """How far the borders of two masks are from each other, each of them not empty.

    Attributes:
        of_truth: float64 (T,), from each element of the border of the truth to the other border.
        truth_weights: float64 (T,), the length of each.
        of_prediction: float64 (P,), from each element of the other border to that of the truth.
        prediction_weights: float64 (P,), the length of each.
        elements: What the borders are made of.
    """

    of_truth: Float64Array
    truth_weights: Float64Array
    of_prediction: Float64Array
    prediction_weights: Float64Array
    elements: Elements = "surfels"

    def hausdorff(self, percent: float = 95.0) -> float:
        """Return the larger of the two directions' percentiles of the distances.

        Of surfels the smallest distance within which that share of the length lies (DeepMind); of
        pixels the percentile with linear interpolation (MONAI).

        Args:
            percent: 95 for HD95, 100 for the largest distance.
        """
        if self.elements == "pixels":
            both = (self.of_truth, self.of_prediction)
            return max(float(np.percentile(one, percent)) for one in both)
        first = _weighted_percentile(self.of_truth, self.truth_weights, percent)
        return max(
            first, _weighted_percentile(self.of_prediction, self.prediction_weights, percent)
        )

    @property
    def mean(self) -> float:
        """ASSD: the mean distance over both borders, by length."""
        first = float(self.of_truth @ self.truth_weights)
        second = float(self.of_prediction @ self.prediction_weights)
        return (first + second) / self._length

    @property
    def directed_means(self) -> tuple[float, float]:
        """The mean distance of each border to the other: of the truth's, of the prediction's."""
        return (
            float(np.average(self.of_truth, weights=self.truth_weights)),
            float(np.average(self.of_prediction, weights=self.prediction_weights)),
        )

    def overlap(self, tolerance: float) -> float:
        """Return NSD: the share of both borders, by length, within a tolerance of the other one.

        Raises:
            ConfigurationError: If the tolerance is below 0 or NaN.
        """
        if not tolerance >= 0:
            raise ConfigurationError(f"tolerance={tolerance} must be 0 or more.")
        first = float(self.truth_weights[self.of_truth <= tolerance].sum())
        second = float(self.prediction_weights[self.of_prediction <= tolerance].sum())
        return (first + second) / self._length

    @property
    def _length(self) -> float:
        return float(self.truth_weights.sum() + self.prediction_weights.sum())


def surface_distances(
    truth: NDArray[np.bool_] | UInt8Array,
    predicted: NDArray[np.bool_] | UInt8Array,
    spacing: tuple[float, float] = (1.0, 1.0),
    *,
    elements: Elements = "surfels",
) -> SurfaceDistances:
    """Measure the distances between the borders of two masks, exactly.

    Args:
        truth: (H, W), not 0 inside; everything beyond the image is outside.
        predicted: (H, W), the same.
        spacing: From one row to the next, and from one column to the next: in millimetres, or 1
            for pixels.
        elements: "surfels" (DeepMind) or "pixels" (MONAI).

    Raises:
        InvalidDataError: If a mask is empty, so that there is no border, or they differ in size.
        UnknownNameError: If borders are made of nothing of that name.

    References:
        Nikolov et al., arXiv:1809.04430, with code in google-deepmind/surface-distance; Maier-Hein
        et al., Metrics Reloaded, arXiv:2206.01653.

    Example:
        >>> truth, predicted = np.zeros((2, 24, 24), np.uint8)
        >>> truth[5:15, 5:15] = predicted[5:15, 7:17] = 1
        >>> found = surface_distances(truth, predicted, elements="pixels")
        >>> found.hausdorff(95), found.mean, round(found.overlap(1), 4), found.overlap(2)
        (2.0, 1.0, 0.5556, 1.0)
    """
    if elements not in ELEMENTS:
        raise unknown_name("definition of a border", elements, ELEMENTS)
    if truth.shape != predicted.shape:
        sizes = " and ".join("x".join(map(str, one.shape)) for one in (truth, predicted))
        raise InvalidDataError(f"masks of {sizes} pixels cannot be compared: bring them to one.")
    borders = [_border(mask, spacing, elements) for mask in (truth, predicted)]
    if not all(len(places) for places, _ in borders):
        raise InvalidDataError("a mask is empty, and has no border: count such images apart.")
    (of_truth, truth_weights), (of_prediction, prediction_weights) = borders
    corners = truth.shape[0] + 1, truth.shape[1] + 1
    return SurfaceDistances(
        _apart(of_truth, of_prediction, spacing, corners),
        truth_weights,
        _apart(of_prediction, of_truth, spacing, corners),
        prediction_weights,
        elements,
    )


def _border(
    mask: NDArray[np.bool_] | UInt8Array, spacing: tuple[float, float], elements: Elements
) -> tuple[Int64Array, Float64Array]:
    """Find the border of a mask: places (M, 2) and lengths (M,)."""
    inside = np.ascontiguousarray(mask != 0).view(np.uint8)
    room = _GUESS
    while True:
        places, weights = np.empty((room, 2), np.int64), np.ones(room)
        if elements == "surfels":
            count = surfels(inside, _lengths(*spacing), places, weights)
        else:
            count = border_pixels(inside, places)
        if count <= room:
            return places[:count], weights[:count]
        room = count


def _lengths(down: float, across: float) -> Float64Array:
    """Return the length of the border around a corner, by which of its pixels are inside.

    The code is 8 upper left + 4 upper right + 2 lower left + 1 lower right. One pixel cuts the
    corner off: half a diagonal; two that touch: a straight line; two across: both cut off.
    """
    corner = 0.5 * hypot(down, across)
    lengths = np.full(16, corner)
    lengths[[0, 15]] = 0.0
    lengths[[3, 12]] = across
    lengths[[5, 10]] = down
    lengths[[6, 9]] = 2 * corner
    return lengths


def _apart(
    places: Int64Array, others: Int64Array, spacing: tuple[float, float], shape: tuple[int, int]
) -> Float64Array:
    distances = np.empty(len(places))
    nearest(places, others, float(spacing[0]), float(spacing[1]), shape[0], shape[1], distances)
    return distances


def _weighted_percentile(distances: Float64Array, weights: Float64Array, percent: float) -> float:
    """Return the smallest distance within which a share of the whole weight lies."""
    order = np.argsort(distances, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    place = min(int(np.searchsorted(share, percent / 100)), len(distances) - 1)
    return float(distances[order[place]])
