"""Stains of histopathology: what light takes from white, taken apart into dyes."""

from functools import lru_cache

import numpy as np

from medrobust.base.numba_threads import run_native
from medrobust.types import Float64Array, UInt8Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .planes import fractions

DYES = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical densities of hematoxylin, eosin and DAB in red, green and blue (Ruifrok, 2001)."""


def hed_jitter(images: UInt8Batch, sigma: float, *, scale: Choice, shift: Choice) -> UInt8Batch:
    """Change how much of each dye there is, as slides of other laboratories have it.

    Optical densities -ln((I + 1) / 256) are taken apart into three dyes, each amount s becomes
    a s + b, and all is put together again. Computed on the CPU, from a copy where images lie on
    another device.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified. Three
            equal channels of grey pictures become colored.
        sigma: a is even in 1 - sigma to 1 + sigma, b in -sigma to sigma.
        scale: (N, 3) in [0, 1), or keyed draws; 0.5 is a = 1.
        shift: (N, 3) in [0, 1), or keyed draws; 0.5 is b = 0.

    Returns:
        uint8 batch of shape (N, 3, H, W), rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Tellez et al., Medical Image Analysis 58, 2019 (light 0.05, strong 0.2).

    Example:
        >>> import torch
        >>> grey = torch.full((1, 3, 28, 28), 180, dtype=torch.uint8)
        >>> still = torch.full((1, 3), 0.5)
        >>> hed_jitter(grey, 0.2, scale=still, shift=still).unique().tolist()
        [180]
    """
    check_batch(images)
    scales, shifts = (
        1 + sigma * (2 * fractions(scale, 3) - 1),
        sigma * (2 * fractions(shift, 3) - 1),
    )
    colors = images.expand(-1, 3, -1, -1).cpu().contiguous()

    def some(source: UInt8Array, target: UInt8Array, start: int, stop: int) -> None:
        for n in range(start, stop):
            target[n] = restained(source[n], scales[n], shifts[n])

    return run_native(some, colors).to(images.device)


def restained(image: UInt8Array, scale: Float64Array, shift: Float64Array) -> UInt8Array:
    """Scale and shift the dyes of one image, uint8 (3, H, W).

    Example:
        >>> one = np.full((3, 1, 1), 99, np.uint8)
        >>> restained(one, np.full(3, 2.0), np.zeros(3)).ravel().tolist()
        [38, 38, 38]
    """
    dyes = np.array(DYES) / np.linalg.norm(DYES, axis=1, keepdims=True)
    mixing, added = np.linalg.inv(dyes) @ (scale[:, None] * dyes), shift @ dyes
    densities = _densities()[image]
    out = np.empty_like(image)
    for c in range(3):
        density = added[c] + densities[0] * mixing[0, c]
        density = density + densities[1] * mixing[1, c]
        density = density + densities[2] * mixing[2, c]
        out[c] = np.rint(256 * np.exp(-density) - 1).clip(0, 255).astype(np.uint8)
    return out


@lru_cache(maxsize=1)
def _densities() -> Float64Array:
    """Tabulate the optical density of every value: float64 (256,)."""
    return -np.log((np.arange(256) + 1) / 256)
