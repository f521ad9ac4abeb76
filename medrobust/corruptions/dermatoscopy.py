"""Artifacts of dermatoscopy: hair, a dark border, a ruler, bubbles in the gel. Our own models."""

import numpy as np

from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .fluids import bubbled
from .planes import by_image, fractions
from .shapes import blended, distances, strands

HAIR = (38, 28, 22)
"""Red, green and blue of hair."""

TICKS = 40
"""Of a ruler, a side; every fifth is long."""


def hair(
    images: UInt8Batch,
    count: int,
    width: float = 0.012,
    opacity: float = 0.9,
    *,
    ends: Choice,
) -> UInt8Batch:
    """Lay hairs over the skin: curves from one place to another by way of a third.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified. Three
            equal channels of grey pictures become colored.
        count: Of hairs.
        width: Of a hair, as a fraction of the shorter side.
        opacity: Of a hair.
        ends: (N, 6 count) in [0, 1), or keyed draws: row and column of its beginning, bend and end,
            a tenth beyond the borders at most.

    Returns:
        uint8 batch of shape (N, 3, H, W), rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> skin = torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)
        >>> ends = torch.tensor([[0.5, 0.0, 0.5, 0.5, 0.5, 1.0]])
        >>> hair(skin, 1, 0.05, 1.0, ends=ends)[0, 0, [0, 32], 30].tolist()
        [200, 38]
    """
    check_batch(images)
    drawn = 1.2 * fractions(ends, 6 * count).reshape(len(images), count, 3, 2) - 0.1

    def hairy(image: Float64Array, n: int) -> Float64Array:
        size = (image.shape[1], image.shape[2])
        return blended(image, opacity * strands(size, drawn[n], width * min(size)), HAIR)

    return by_image(images.expand(-1, 3, -1, -1), hairy)


def vignette(images: UInt8Batch, strength: float) -> UInt8Batch:
    """Darken towards the corners: times 1 - strength d^2, d = 1 in the corners.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        strength: What is missing in the corners.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> white = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
        >>> vignette(white, 0.5)[0, 0, [0, 14], [0, 14]].tolist()
        [136, 255]
    """
    check_batch(images)
    size = (images.shape[2], images.shape[3])
    far = distances(size, (0.5, 0.5)) / np.hypot(size[0], size[1]) * (2 * min(size))
    light = 1 - strength * far**2
    return by_image(images, lambda image, _: image * light)


def ruler(images: UInt8Batch, opacity: float, *, side: Choice) -> UInt8Batch:
    """Lay the scale of a ruler along one side: dark ticks on a bright strip.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        opacity: Of strip and ticks.
        side: (N, 2) in [0, 1), or keyed draws: which side (top, right, bottom, left), and how far
            from it, up to a tenth.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> skin = torch.full((1, 1, 80, 80), 100, dtype=torch.uint8)
        >>> ruler(skin, 1.0, side=torch.zeros(1, 2))[0, 0, [0, 0, 79], [0, 1, 0]].tolist()
        [20, 235, 100]
    """
    check_batch(images)
    drawn = fractions(side, 2)

    def measured(image: Float64Array, n: int) -> Float64Array:
        turns = int(4 * drawn[n, 0])
        turned = np.rot90(image, turns, axes=(1, 2)).copy()
        first = int(0.1 * drawn[n, 1] * turned.shape[1])
        strip = scale(turned.shape[1], turned.shape[2])
        under = turned[:, first : first + len(strip)]
        under += (strip[: under.shape[1]] - under) * opacity
        return np.rot90(turned, -turns, axes=(1, 2))

    return by_image(images, measured)


def scale(height: int, width: int) -> Float64Array:
    """Draw a ruler, an eighth of the height high: grey values, float64 (H / 8, W).

    Example:
        >>> scale(80, 80)[:, 2].tolist()
        [20.0, 20.0, 20.0, 20.0, 20.0, 235.0, 235.0, 235.0, 235.0, 235.0]
    """
    strip = np.full((max(height // 8, 4), width), 235.0)
    for tick in range(TICKS):
        left = tick * width // TICKS
        long = len(strip) * (4 if tick % 5 == 0 else 2) // 4
        strip[:long, left : left + max(width // 160, 1)] = 20
    return strip


def gel_bubbles(
    images: UInt8Batch, count: int, largest: float = 0.04, *, places: Choice
) -> UInt8Batch:
    """Leave bubbles in the gel between skin and glass: small, with bright rims.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        count: Of bubbles.
        largest: Radius, as a fraction of the shorter side.
        places: (N, 3 count) in [0, 1), or keyed draws: of each row, column, and radius (from a
            quarter of the largest on).

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> skin = torch.full((1, 1, 64, 64), 100, dtype=torch.uint8)
        >>> gel_bubbles(skin, 1, 0.1, places=torch.full((1, 3), 0.5))[0, 0, 32, [0, 32]].tolist()
        [100, 88]
    """
    return bubbled(images, count, largest, 60, places)
