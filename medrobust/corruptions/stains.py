"""Stains of histopathology: what light takes from white, taken apart into dyes."""

from functools import lru_cache

import numpy as np

from medrobust.base.numba_threads import run_native
from medrobust.types import Float64Array, UInt8Array, UInt8Batch

from .artifacts import Choice, chosen
from .batches import check_batch
from .planes import by_image, fractions

DYES = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical densities of hematoxylin, eosin and DAB in red, green and blue (Ruifrok, 2001)."""

TARGETS = (
    (((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581)), (1.9705, 1.0308)),
    (((0.651, 0.701, 0.290), (0.070, 0.991, 0.110)), (1.4, 1.0)),
    (((0.72, 0.62, 0.31), (0.16, 0.86, 0.48)), (1.1, 0.7)),
    (((0.49, 0.77, 0.41), (0.10, 0.93, 0.35)), (1.7, 1.4)),
)
"""Dyes and 99th percentiles of amounts of other laboratories: Macenko's, Ruifrok's dyes, two of our
own (bluer and paler; redder and darker)."""

LEAST_DENSITY = 0.15
LEAST_PIXELS = 16


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


def stain_swap(images: UInt8Batch, share: float, *, target: Choice) -> UInt8Batch:
    """Stain the slide as another laboratory does: its two dyes are found and replaced.

    By Macenko's method: of the pixels whose optical densities are all 0.15 or more, the two dyes
    span the plane of most variance, at its 1st and 99th percentile of angle; amounts are scaled to
    the 99th percentile of the target. Densities move by `share` of the difference. A picture with
    fewer than 16 such pixels has no stain to swap and stays as it is. On the CPU, from a copy.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified. Three
            equal channels of grey pictures become colored.
        share: 0 changes nothing, 1 swaps the stain.
        target: Of `TARGETS`, (N, 1), or keyed draws.

    Returns:
        uint8 batch of shape (N, 3, H, W), rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Macenko et al., ISBI 2009; the first target is the reference of its public MATLAB code.

    Example:
        >>> import torch
        >>> white = torch.full((1, 3, 28, 28), 250, dtype=torch.uint8)
        >>> stain_swap(white, 1.0, target=torch.tensor([[0]])).unique().tolist()
        [250]
    """
    check_batch(images)
    chosen_targets = chosen(target, 0, len(TARGETS) - 1, 1)[:, 0].tolist()

    def swapped(image: Float64Array, n: int) -> Float64Array:
        dyes, most = TARGETS[chosen_targets[n]]
        return restained_as(image, share, np.array(dyes), np.array(most))

    return by_image(images.expand(-1, 3, -1, -1), swapped)


def restained_as(
    image: Float64Array, share: float, dyes: Float64Array, most: Float64Array
) -> Float64Array:
    """Replace the stain of one image by `share`.

    Args:
        image: float64 (3, H, W), whole values of 0 to 255.
        share: 0 to 1.
        dyes: (2, 3), hematoxylin and eosin in red, green and blue, of length 1.
        most: (2,), 99th percentile of their amounts.

    Returns:
        float64 (3, H, W).
    """
    densities = _densities()[image.astype(np.int64)].reshape(3, -1)
    stained = densities[:, (densities >= LEAST_DENSITY).all(axis=0)]
    if stained.shape[1] < LEAST_PIXELS:
        return image
    found = find_dyes(stained)
    amounts = np.linalg.pinv(found.T) @ densities
    now = np.percentile(np.linalg.pinv(found.T) @ stained, 99, axis=1)
    scaled = amounts * (most / np.maximum(now, 1e-6))[:, None]
    densities = densities + share * (dyes.T @ scaled - found.T @ amounts)
    out: Float64Array = 256 * np.exp(-densities.reshape(image.shape)) - 1
    return out


def find_dyes(densities: Float64Array) -> Float64Array:
    """Find two dyes in optical densities (3, P): (2, 3), hematoxylin (more red) first.

    Example:
        >>> amounts = np.random.default_rng(0).uniform(0, 1, (2, 500)) * [[1], [0.7]]
        >>> made = np.array(TARGETS[0][0])
        >>> bool(abs(find_dyes(made.T @ amounts) - made).max() < 0.03)
        True
    """
    _, vectors = np.linalg.eigh(np.cov(densities))
    plane = vectors[:, :0:-1]  # (3, 2), most variance first
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    first, second = plane.T @ densities
    ends = np.percentile(np.arctan2(second, first), [1, 99])
    dyes = np.stack([np.cos(ends), np.sin(ends)], axis=1) @ plane.T
    ordered: Float64Array = dyes[np.argsort(-dyes[:, 0], kind="stable")]
    return ordered


@lru_cache(maxsize=1)
def _densities() -> Float64Array:
    """Tabulate the optical density of every value: float64 (256,)."""
    return -np.log((np.arange(256) + 1) / 256)
