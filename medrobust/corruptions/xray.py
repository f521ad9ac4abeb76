"""Artifacts of radiography, made on the intensity that reaches the detector.

A picture shows v = 255 for what lets nothing through and v = 0 for the open beam, by a logarithm:
I = exp(-DENSITY v / 255). Negative pictures are to be inverted first.
"""

from functools import lru_cache

import numpy as np
import torch

from medrobust.types import Float64Array, UInt8Array, UInt8Batch

from .artifacts import Choice
from .counts import poisson
from .noise import UInt32Array, alias_slots, chosen_by_alias
from .photometric import looked_up
from .planes import by_plane, check_planes, fractions, half_words, is_exact

DENSITY = 4.0
"""Natural logarithm of open beam by white: white lets 1.8 % through."""

BITS = 16
"""Of the intensities of `xray_scatter`: whole numbers, so that sums are exact in any order."""

WEIGHT_BITS = 20
"""Of the weights of a blur along one axis."""


def intensity(values: Float64Array) -> Float64Array:
    """Return the intensity behind grey values: float64, 1 for the open beam.

    Example:
        >>> intensity(np.array([0.0, 255.0])).round(3).tolist()
        [1.0, 0.018]
    """
    behind: Float64Array = np.exp(values * (-DENSITY / 255))
    return behind


def shown(intensities: Float64Array) -> UInt8Array:
    """Return the grey values of intensities above 0: uint8, rounded and clipped.

    Example:
        >>> shown(np.array([2.0, 1.0, 0.018, 0.001])).tolist()
        [0, 0, 255, 255]
    """
    return np.rint(greys_of(intensities)).clip(0, 255).astype(np.uint8)


def greys_of(intensities: Float64Array) -> Float64Array:
    """Return the grey values of intensities above 0, float64, neither rounded nor clipped."""
    greys: Float64Array = np.log(intensities) * (-255 / DENSITY)
    return greys


def xray_exposure(images: UInt8Batch, factor: float, saturation: float = 1.0) -> UInt8Batch:
    """Expose longer or shorter than was right: multiply the intensity.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        factor: Below 1 is under-exposed, brighter as shown; above 1 over-exposed.
        saturation: Intensity that the detector cannot exceed, as a share of the open beam.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> xray_exposure(grey, 0.5).unique().tolist()
        [144]
    """
    check_planes(images)
    if is_exact(images):

        def exposed(plane: Float64Array, _: int) -> Float64Array:
            return greys_of(np.minimum(intensity(plane) * factor, saturation))

        return by_plane(images, exposed)
    return looked_up(images, _exposed(factor, saturation))


@lru_cache(maxsize=64)
def _exposed(factor: float, saturation: float) -> UInt8Array:
    return shown(np.minimum(intensity(np.arange(256.0)) * factor, saturation))


def xray_quantum_noise(images: UInt8Batch, quanta: float, *, uniform: Choice) -> UInt8Batch:
    """Count few quanta: a Poisson number a pixel, whose mean is `quanta` times the intensity.

    A count of none is shown as one quantum. Noise is grey: the same in all channels. In integers,
    by tables of 256 distributions in steps of 2^-24, as `shot_noise`.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        quanta: A pixel in the open beam; fewer are more noise.
        uniform: Draws in [0, 1), (N, 1, H, W), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> open_beam = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> draws = torch.rand(1, 1, 28, 28)
        >>> int(xray_quantum_noise(open_beam, 1e6, uniform=draws).max())
        0
    """
    check_planes(images)
    if is_exact(images):
        size = (images.shape[2], images.shape[3])

        def counted(plane: Float64Array, n: int) -> Float64Array:
            counts = poisson(quanta * intensity(plane), half_words(uniform, n, size))
            return greys_of(np.maximum(counts, 1) / quanta)

        return by_plane(images, counted)
    table = quantum_table(quanta)
    planes = [images[:, c : c + 1].contiguous() for c in range(images.shape[1])]
    return torch.cat([chosen_by_alias(plane, table, uniform) for plane in planes], dim=1)


@lru_cache(maxsize=64)
def quantum_table(quanta: float) -> UInt32Array:
    """Tabulate the new grey value at [old, slot], as `noise.poisson_table` does.

    Example:
        >>> quantum_table(100.0).shape
        (256, 256)
    """
    table = np.empty((256, 256), np.uint32)
    for old, shares in enumerate(quantum_shares(quanta)):
        edges = np.rint(np.cumsum(shares) * (1 << 24)).astype(np.int64)
        edges[-1] = 1 << 24
        table[old] = alias_slots(np.diff(edges, prepend=0).tolist())
    return table


def quantum_shares(quanta: float) -> Float64Array:
    """Give the chance of each new grey value after each old one: float64 (256, 256).

    Example:
        >>> int(quantum_shares(1e4)[100].argmax())
        100
    """
    from scipy.special import pdtr

    edges: Float64Array = np.arange(255.0) + 0.5
    least = np.ceil(quanta * intensity(edges))  # counts from here on are no brighter
    means = quanta * intensity(np.arange(256.0))
    below = pdtr(np.maximum(least - 1, 0), means[:, None])
    reached = np.where(least <= 1, 1.0, 1 - below)
    steps = np.concatenate([np.zeros((256, 1)), reached, np.ones((256, 1))], axis=1)
    shares: Float64Array = np.diff(steps, axis=1)
    return shares


def xray_scatter(images: UInt8Batch, ratio: float, width: float = 0.1) -> UInt8Batch:
    """Add a veil of scattered quanta: the blurred intensity, `ratio` times as much as the primary.

    Intensities are whole numbers of 16 bits and weights of 20, so that sums are exact.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        ratio: Scatter by primary; the sum is divided by 1 + ratio, as exposure control does.
        width: Standard deviation of the Gaussian, as a fraction of the longer side.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> xray_scatter(grey, 2.0).unique().tolist()
        [100]
    """
    check_planes(images)
    height, length = images.shape[2:]
    sigma = width * max(height, length)
    down, across = blur_matrix(height, sigma), blur_matrix(length, sigma)
    if is_exact(images):

        def behind(plane: Float64Array, _: int) -> Float64Array:
            scatter = down @ intensity(plane) @ across.T / 2.0 ** (2 * WEIGHT_BITS)
            return greys_of((intensity(plane) + ratio * scatter) / (1 + ratio))

        return by_plane(images, behind)
    table, back = _levels()

    def veiled(plane: Float64Array, _: int) -> Float64Array:
        primary = table[plane.astype(np.int64)]
        first = np.floor((down @ primary) / 2.0**14)
        scatter = (first @ across.T) / 2.0 ** (2 * WEIGHT_BITS - 14)
        total = (primary + ratio * scatter) / (1 + ratio)
        greys: Float64Array = back[np.rint(total).astype(np.int64)].astype(np.float64)
        return greys

    return by_plane(images, veiled)


@lru_cache(maxsize=16)
def blur_matrix(side: int, sigma: float) -> Float64Array:
    """Make the Gaussian blur along one side, its ends repeated: whole numbers, (side, side).

    Each row sums to 2^20.

    Example:
        >>> blur_matrix(28, 3.0).sum(axis=1).tolist() == [2.0**20] * 28
        True
    """
    from scipy.special import ndtr

    places = np.arange(side)
    edges = np.concatenate([[-np.inf], places[1:] - 0.5, [np.inf]])
    reached = np.rint(ndtr((edges - places[:, None]) / sigma) * 2**WEIGHT_BITS)
    weights: Float64Array = np.diff(reached, axis=1)
    return weights


@lru_cache(maxsize=1)
def _levels() -> tuple[Float64Array, UInt8Array]:
    """Tabulate 16-bit intensities of grey values, and grey values of all 2^16 + 1 of them."""
    full = 1 << BITS
    levels = np.rint(full * intensity(np.arange(256.0)))
    return levels, shown(np.maximum(np.arange(full + 1), 1) / full)


def window_error(images: UInt8Batch, width: float, shift: float, *, level: Choice) -> UInt8Batch:
    """Show the picture in a wrong window: narrower, and moved up or down.

    255 ((v / 255 - 1/2 - shift (2 level - 1)) / width + 1/2); what lies outside is black or white.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        width: Of the window, as a fraction of the right one.
        shift: Of its middle, as a fraction of white, at most.
        level: (N, 1) in [0, 1), or keyed draws; below 1/2 is a brighter picture.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 153, dtype=torch.uint8)
        >>> window_error(grey, 0.5, 0.2, level=torch.tensor([[0.5]])).unique().tolist()
        [178]
    """
    check_planes(images)
    levels = 0.5 + shift * (2 * fractions(level, 1)[:, 0] - 1)
    return by_plane(images, lambda plane, n: 255 * ((plane / 255 - levels[n]) / width + 0.5))


def grid_lines(
    images: UInt8Batch,
    amplitude: float,
    shortest: float = 4.0,
    longest: float = 8.0,
    *,
    line: Choice,
) -> UInt8Batch:
    """Show the lines of a grid against scatter: a cosine across the intensity.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        amplitude: Of the cosine, as a fraction of the intensity, below 1.
        shortest: Pixels of a period at least.
        longest: Pixels of a period at most.
        line: (N, 3) in [0, 1), or keyed draws: period, phase, and direction (columns below 0.5).

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> grey, line = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8), torch.zeros(1, 3)
        >>> grid_lines(grey, 0.2, line=line)[0, 0, 0, :4].tolist()
        [88, 100, 114, 100]
    """
    check_planes(images)
    lines = fractions(line, 3)

    def lined(plane: Float64Array, n: int) -> Float64Array:
        period = shortest + (longest - shortest) * lines[n, 0]
        across = 0 if lines[n, 2] >= 0.5 else 1
        cycles = np.arange(plane.shape[across]) / period + lines[n, 1]
        change: Float64Array = np.log(1 + amplitude * np.cos(2 * np.pi * cycles)) * (-255 / DENSITY)
        return plane + (change if across else change[:, None])

    return by_plane(images, lined)
