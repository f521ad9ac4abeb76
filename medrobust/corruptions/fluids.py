"""Fluids in front of a batch of pictures: pools of blood, and bubbles."""

from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .planes import by_image, fractions
from .shapes import blended, bubbles, patches

SEEDS = 6
"""Patches of a pool that run into each other."""


def pooled(
    images: UInt8Batch, share: float, opacity: float, color: tuple[int, int, int], seeds: Choice
) -> UInt8Batch:
    """Cover a share of each picture with smooth patches of a color.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        share: Of the pixels.
        opacity: Of the fluid.
        color: Its red, green and blue.
        seeds: (N, 18) in [0, 1), or keyed draws: row, column and size of six patches.

    Returns:
        uint8 batch of shape (N, 3, H, W), rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
    """
    check_batch(images)
    drawn = fractions(seeds, 3 * SEEDS).reshape(len(images), SEEDS, 3)

    def covered(image: Float64Array, n: int) -> Float64Array:
        cover = patches((image.shape[1], image.shape[2]), drawn[n], share)
        return blended(image, opacity * cover, color)

    return by_image(images.expand(-1, 3, -1, -1), covered)


def bubbled(
    images: UInt8Batch, count: int, largest: float, rim: float, places: Choice
) -> UInt8Batch:
    """Lay bubbles over each picture.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        count: Of bubbles.
        largest: Radius, as a fraction of the shorter side.
        rim: Grey values that the rim of a bubble adds.
        places: (N, 3 count) in [0, 1), or keyed draws: of each row, column, and radius (from a
            quarter of the largest on).

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
    """
    check_batch(images)
    drawn = fractions(places, 3 * count).reshape(len(images), count, 3)
    return by_image(images, lambda image, n: bubbles(image, drawn[n], largest, rim))
