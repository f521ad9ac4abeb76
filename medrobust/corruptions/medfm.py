"""The perturbations of MedFM-Robust that only that benchmark has, each by its published formula.

Grey values are those of 0 to 255, as its programs read them. Four of its faults are left out unless
`published=True` asks for them: every picture that it saves is stretched from its least to its
largest value, a channel at a time; what clips and what is in proportion to white takes the range of
the picture; the phases of its motion are those of a spectrum whose zero lies at the border, applied
to one whose zero lies in the middle. That six of its perturbations are of severity 3 at all levels
is a suite of one's own: `level: 3`. Its draws are those of one seed for all images of a severity;
here each image has its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from medrobust.exceptions import unknown_name
from medrobust.types import Float64Array, UInt8Batch

from . import medfm_optics, medfm_scanners
from .artifacts import Choice
from .batches import check_batch
from .planes import by_image, fractions, normal_plane

UNIFORMS = 400
"""Draws of an image, and two more a row."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a formula takes beside the picture.

    Attributes:
        strength: Of the perturbation, as published.
        level: A whole number, where a formula has one: mostly the severity.
        uniforms: Draws in [0, 1).
        normals: Makes a standard normal a pixel, (H, W).
        low: Least grey value that counts.
        high: Largest.
        published: Whether faults are kept.
    """

    strength: float
    level: int
    uniforms: Float64Array
    normals: Callable[[], Float64Array]
    low: float
    high: float
    published: bool


Formula: TypeAlias = Callable[[Float64Array, Given], Float64Array]
"""Takes float64 (C, H, W) and returns the same."""

FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {**medfm_scanners.FORMULAS, **medfm_optics.FORMULAS}
)
"""Kind -> what it computes."""


def medfm(
    images: UInt8Batch,
    kind: str,
    strength: float = 0.0,
    level: int = 0,
    published: bool = False,
    *,
    place: Choice,
    noise: Choice,
) -> UInt8Batch:
    """Perturb images as MedFM-Robust does.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        kind: One of `FORMULAS`.
        strength: As published, where the formula has one.
        level: A whole number, where the formula has one: mostly the severity itself.
        published: Keep the faults that the module names.
        place: (N, UNIFORMS + 2 H) in [0, 1), or keyed draws.
        noise: Standard normals, (N, H, W), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        UnknownNameError: If there is no such formula.

    References:
        Abnerai et al., MedFM-Robust, arXiv:2605.19027; vfdv52/MedFM-Robust-:
        Segmentation/segmentation_generate_perb_all_V10_adpative_efficient.py,
        VLM/generate_perturbation.py.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> none = torch.zeros(1, 456), torch.zeros(1, 28, 28)
        >>> medfm(grey, "grid", 0.2, place=none[0], noise=none[1])[0, 0, :5, 0].tolist()
        [80, 100, 100, 100, 80]
    """
    check_batch(images)
    if kind not in FORMULAS:
        raise unknown_name("kind", kind, FORMULAS)
    size = (images.shape[2], images.shape[3])
    drawn = fractions(place, UNIFORMS + 2 * size[0])

    def perturbed(image: Float64Array, n: int) -> Float64Array:
        low, high = (float(image.min()), float(image.max())) if published else (0.0, 255.0)

        def normals() -> Float64Array:
            return normal_plane(noise, n, size)

        given = Given(strength, level, drawn[n], normals, low, high, published)
        out = FORMULAS[kind](image, given)
        return stretched(out) if published else out

    return by_image(images, perturbed)


def stretched(image: Float64Array) -> Float64Array:
    """Stretch every channel from black to white, as a saved picture is; a flat one is black.

    Example:
        >>> stretched(np.array([[[3.0, 4.0, 5.0]]])).tolist()
        [[[0.0, 127.0, 255.0]]]
    """
    low, high = (end(axis=(1, 2), keepdims=True) for end in (image.min, image.max))
    whole: Float64Array = np.floor((image - low) * (255 / np.maximum(high - low, 1e-8)))
    return whole
