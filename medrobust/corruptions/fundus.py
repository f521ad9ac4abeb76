"""Artifacts of fundus photography: light that falls unevenly, leaks in, or does not arrive.

After the models of Shen et al., IEEE TMI 40, 2021 (cofe-Net); the constants are our own. Black
about the picture of the retina stays black.
"""

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .planes import by_image, fractions
from .shapes import around, distances

DARK = 12
"""Grey value up to which all channels of a pixel count as the black about the retina."""


def lit(image: Float64Array) -> NDArray[np.bool_]:
    """Say which pixels show the retina: bool (H, W).

    Example:
        >>> lit(np.array([[[5.0, 90.0]], [[6.0, 0.0]]])).tolist()
        [[False, True]]
    """
    seen: NDArray[np.bool_] = image.max(axis=0) > DARK
    return seen


def fundus_illumination(images: UInt8Batch, strength: float, *, place: Choice) -> UInt8Batch:
    """Light the retina from aside: times 1 - strength d^2, d the distance from where light falls.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        strength: What is missing a shorter side away from there.
        place: (N, 2) in [0, 1), or keyed draws: row and column of the light, in the middle 60 %.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> out = fundus_illumination(grey, 1.0, place=torch.full((1, 2), 0.5))
        >>> out[0, 0, 14, [14, 27]].tolist()
        [100, 77]
    """
    check_batch(images)
    places = 0.2 + 0.6 * fractions(place, 2)

    def dimmed(image: Float64Array, n: int) -> Float64Array:
        far = distances(image.shape[1:], (places[n, 0], places[n, 1]))
        out: Float64Array = image * (1 - strength * far**2).clip(0, 1)
        return out

    return by_image(images, dimmed)


def fundus_halo(images: UInt8Batch, strength: float, *, ring: Choice) -> UInt8Batch:
    """Add a colored ring of stray light with soft edges.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        strength: Of the brightest channel, as a fraction of white.
        ring: (N, 6) in [0, 1), or keyed draws: row, column (the middle half), radius (0.2 to 0.5 of
            the shorter side), and weights of red, green and blue (1/2 to 1).

    Returns:
        uint8 batch of the same shape, rounded; what is black about the retina is left black.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 64, 64), 100, dtype=torch.uint8)
        >>> out = fundus_halo(grey, 0.2, ring=torch.full((1, 6), 0.5))
        >>> out[0, 0, 32, [32, 54]].tolist()
        [100, 138]
    """
    check_batch(images)
    rings = fractions(ring, 6)

    def ringed(image: Float64Array, n: int) -> Float64Array:
        row, column, radius, *weights = rings[n]
        far = distances(image.shape[1:], (0.25 + row / 2, 0.25 + column / 2))
        light = np.exp(-(((far - 0.2 - 0.3 * radius) / 0.06) ** 2) / 2) * lit(image)
        colors = 0.5 + np.array(weights[: len(image)])[:, None, None] / 2
        out: Float64Array = image + 255 * strength * colors * light
        return out

    return by_image(images, ringed)


def fundus_hole(images: UInt8Batch, depth: float, *, place: Choice) -> UInt8Batch:
    """Lose the light of a large round part, as a small pupil or an eyelash does.

    There `depth` times the mean of the retina is taken off, with a soft edge.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        depth: Fraction of the mean of each channel over the retina.
        place: (N, 3) in [0, 1), or keyed draws: row, column (the middle half), and diameter (0.4 to
            0.7 of the shorter side).

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 64, 64), 100, dtype=torch.uint8)
        >>> fundus_hole(grey, 0.3, place=torch.full((1, 3), 0.5))[0, 0, 32, [0, 32]].tolist()
        [100, 70]
    """
    check_batch(images)
    places = fractions(place, 3)

    def holed(image: Float64Array, n: int) -> Float64Array:
        row, column, size = places[n]
        far = distances(image.shape[1:], (0.25 + row / 2, 0.25 + column / 2))
        seen = lit(image)
        mean = (image * seen).sum(axis=(1, 2), keepdims=True) / max(int(seen.sum()), 1)
        hole = np.exp(-((far / (0.2 + 0.15 * size)) ** 6))
        out: Float64Array = image - depth * mean * hole
        return out

    return by_image(images, holed)


def fundus_spots(
    images: UInt8Batch, strength: float, count: int = 8, *, spots: Choice
) -> UInt8Batch:
    """Add soft bright spots, as dust on the lens leaves.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        strength: Of a spot's middle, as a fraction of white.
        count: How many.
        spots: (N, 3 count) in [0, 1), or keyed draws: of each row, column, and radius (0.01 to 0.05
            of the shorter side).

    Returns:
        uint8 batch of the same shape, rounded; what is black about the retina is left black.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 63, 63), 100, dtype=torch.uint8)
        >>> fundus_spots(grey, 0.2, 1, spots=torch.full((1, 3), 0.5))[0, 0, 31, [0, 31]].tolist()
        [100, 151]
    """
    check_batch(images)
    drawn = fractions(spots, 3 * count).reshape(len(images), count, 3)

    def spotted(image: Float64Array, n: int) -> Float64Array:
        size = (image.shape[1], image.shape[2])
        light = np.zeros(size)
        for row, column, radius in drawn[n]:
            reach = (0.01 + 0.04 * radius) * min(size)
            window, down, right = around(size, (row, column), 4 * reach)
            light[window] += np.exp(-(down**2 + right**2) / reach**2)
        return image + 255 * strength * light * lit(image)

    return by_image(images, spotted)
