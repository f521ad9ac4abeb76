"""Artifacts of endoscopy: reflections, bubbles, blood in front of the mucosa. Our own models."""

import numpy as np

from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .fluids import bubbled, pooled
from .planes import by_image, fractions
from .shapes import around

BLOOD = (120, 10, 14)
"""Red, green and blue of a pool of blood."""


def glare(images: UInt8Batch, count: int, largest: float = 0.05, *, spots: Choice) -> UInt8Batch:
    """Reflect the lamp in wet places: white ellipses with soft edges.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        count: Of reflections.
        largest: Half axis, as a fraction of the shorter side.
        spots: (N, 5 count) in [0, 1), or keyed draws: of each row, column, length (from a fifth of
            the largest on), width by length (0.3 to 1), and direction.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 64, 64), 100, dtype=torch.uint8)
        >>> glare(grey, 1, spots=torch.full((1, 5), 0.5))[0, 0, 32, [0, 32]].tolist()
        [100, 255]
    """
    check_batch(images)
    drawn = fractions(spots, 5 * count).reshape(len(images), count, 5)

    def reflecting(image: Float64Array, n: int) -> Float64Array:
        size = (image.shape[1], image.shape[2])
        cover = np.zeros(size)
        for row, column, length, width, turn in drawn[n]:
            half = largest * min(size) * (0.2 + 0.8 * length)
            window, down, right = around(size, (row, column), 1.5 * half + 1)
            cosine, sine = np.cos(np.pi * turn), np.sin(np.pi * turn)
            along, across = down * sine + right * cosine, down * cosine - right * sine
            far = np.hypot(along, across / (0.3 + 0.7 * width)) / half
            cover[window] = np.maximum(cover[window], (2.5 * (1.2 - far)).clip(0, 1))
        return image + (255 - image) * cover

    return by_image(images, reflecting)


def lens_bubbles(
    images: UInt8Batch, count: int, largest: float = 0.08, *, places: Choice
) -> UInt8Batch:
    """Blow bubbles in front of the lens: bright rims, a highlight, a little less light within.

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
        >>> grey = torch.full((1, 1, 64, 64), 100, dtype=torch.uint8)
        >>> lens_bubbles(grey, 1, places=torch.full((1, 3), 0.5))[0, 0, 32, [0, 32]].tolist()
        [100, 88]
    """
    return bubbled(images, count, largest, 90, places)


def endoscopy_blood(
    images: UInt8Batch, share: float, opacity: float = 0.8, *, seeds: Choice
) -> UInt8Batch:
    """Cover a share of the picture with blood.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified. Three
            equal channels of grey pictures become colored.
        share: Of the pixels.
        opacity: Of the blood.
        seeds: (N, 18) in [0, 1), or keyed draws: row, column and size of six patches.

    Returns:
        uint8 batch of shape (N, 3, H, W), rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
        >>> endoscopy_blood(grey, 0.1, seeds=torch.full((1, 18), 0.5))[0, :, 32, 32].tolist()
        [116, 28, 31]
    """
    return pooled(images, share, opacity, BLOOD, seeds)
