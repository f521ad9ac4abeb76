"""Artifacts of glass slides: blood, and the pathologist's pen. Our own models."""

import numpy as np

from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice, chosen
from .batches import check_batch
from .fluids import pooled
from .planes import by_image, fractions
from .shapes import around, blended, strands

BLOOD = (178, 34, 48)
"""Red, green and blue of packed red cells, stained."""

BUBBLE = (236, 232, 236)
"""Red, green and blue of the light through a bubble of air."""

PENS = ((24, 54, 150), (12, 104, 62), (22, 22, 26))
"""Blue, green and black."""


def slide_blood(
    images: UInt8Batch, share: float, opacity: float = 0.75, *, seeds: Choice
) -> UInt8Batch:
    """Cover a share of the slide with blood.

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
        >>> grey = torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)
        >>> slide_blood(grey, 0.1, 1.0, seeds=torch.full((1, 18), 0.5))[0, :, 32, 32].tolist()
        [178, 34, 48]
    """
    return pooled(images, share, opacity, BLOOD, seeds)


def slide_marking(
    images: UInt8Batch,
    strokes: int,
    width: float,
    opacity: float = 0.85,
    *,
    color: Choice,
    ends: Choice,
) -> UInt8Batch:
    """Mark the slide with a pen: broad strokes of one color that let a little light through.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified. Three
            equal channels of grey pictures become colored.
        strokes: How many.
        width: Of the pen, as a fraction of the shorter side.
        opacity: Of the ink.
        color: Of `PENS`, (N, 1), or keyed draws.
        ends: (N, 6 strokes) in [0, 1), or keyed draws: row and column of beginning, bend and end.

    Returns:
        uint8 batch of shape (N, 3, H, W), rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey, black = torch.full((1, 3, 64, 64), 200, dtype=torch.uint8), torch.tensor([[2]])
        >>> ends = torch.tensor([[0.5, 0.0, 0.5, 0.5, 0.5, 1.0]])
        >>> out = slide_marking(grey, 1, 0.2, 1.0, color=black, ends=ends)
        >>> out[0, 0, [0, 32], 30].tolist()
        [200, 22]
    """
    check_batch(images)
    pens = chosen(color, 0, len(PENS) - 1, 1)[:, 0].tolist()
    drawn = fractions(ends, 6 * strokes).reshape(len(images), strokes, 3, 2)

    def marked(image: Float64Array, n: int) -> Float64Array:
        size = (image.shape[1], image.shape[2])
        return blended(image, opacity * strands(size, drawn[n], width * min(size)), PENS[pens[n]])

    return by_image(images.expand(-1, 3, -1, -1), marked)


def slide_bubble(
    images: UInt8Batch, ratio: float, radius: float = 0.2, *, place: Choice
) -> UInt8Batch:
    """Enclose one bubble of air under the cover glass: blended in, paler within a dark rim.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified. Three
            equal channels of grey pictures become colored.
        ratio: Of the bubble; the rest is the slide.
        radius: Of the bubble, as a fraction of the shorter side.
        place: (N, 2) in [0, 1), or keyed draws: row and column.

    Returns:
        uint8 batch of shape (N, 3, H, W), rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
        >>> slide_bubble(grey, 0.5, place=torch.full((1, 2), 0.5))[0, :, 32, 32].tolist()
        [168, 166, 168]
    """
    check_batch(images)
    drawn = fractions(place, 2)

    def enclosed(image: Float64Array, n: int) -> Float64Array:
        size = (image.shape[1], image.shape[2])
        reach = radius * min(size)
        row, column = drawn[n].tolist()
        (rows, columns), down, right = around(size, (row, column), reach + 1)
        far = np.hypot(down, right)
        light = np.where(far > 0.88 * reach, 0.35, 1.0)
        cover = ratio * (reach + 0.5 - far).clip(0, 1)
        out = image.copy()
        part = out[:, rows, columns]
        out[:, rows, columns] = part + (np.array(BUBBLE)[:, None, None] * light - part) * cover
        return out

    return by_image(images.expand(-1, 3, -1, -1), enclosed)
