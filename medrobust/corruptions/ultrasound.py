"""Artifacts of ultrasound, made on the envelope before it is compressed to grey values.

A picture shows 60 dB by a logarithm: v = 255 is the largest echo, v = 0 all below a thousandth of
it, so that a factor of the envelope is a sum of grey values. Black stays black: there is no echo,
or no picture. The probe is at the top, beams run down; sectors are treated as if they were that.
"""

from functools import lru_cache

import numpy as np

from medrobust.keys import NORMAL_SCALE
from medrobust.types import Float64Array, UInt8Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .planes import by_plane, fractions, half_words

DECIBELS = 60.0
"""From black to white."""

GREYS = 255 / DECIBELS
"""Grey values a decibel."""

ENVELOPE_BITS = 16
"""Of the table that compresses envelopes."""


def ultrasound_speckle(images: UInt8Batch, looks: int, *, grain: Choice) -> UInt8Batch:
    """Multiply the envelope by speckle: Rayleigh amplitudes, the mean intensity of `looks` of them.

    One look is fully developed speckle, mean by standard deviation sqrt(pi / (4 - pi)) = 1.913 of
    the amplitude and 1 of the intensity. The mean intensity is kept. Independent from pixel to
    pixel, the same in all channels.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        looks: Pictures that are averaged; fewer are more speckle.
        grain: Which of 65,536 equally likely amplitudes, (N, H, W), or keyed draws: 16 bits.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Wagner et al., IEEE Trans Sonics Ultrason 30, 1983.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> middle = torch.full((1, 28, 28), 32768)
        >>> ultrasound_speckle(grey, 1, grain=middle).unique().tolist()
        [93]
    """
    check_batch(images)
    table = speckle_greys(looks)

    def speckled(plane: Float64Array, n: int) -> Float64Array:
        return plane + table[half_words(grain, n, plane.shape)] * (plane > 0)

    return by_plane(images, speckled)


@lru_cache(maxsize=16)
def speckle_greys(looks: int) -> Float64Array:
    """Tabulate what speckle adds to grey values: float64 (65536,), rising.

    Example:
        >>> speckle_greys(1)[[655, 64881]].round(1).tolist()
        [-84.9, 28.2]
    """
    added: Float64Array = GREYS * 10 * np.log10(speckle_intensity(looks))
    return added


def speckle_intensity(looks: int) -> Float64Array:
    """Tabulate the intensity of speckle at equally likely points: mean 1, float64 (65536,).

    Example:
        >>> round(float(speckle_intensity(4).std()), 2)
        0.5
    """
    from scipy.special import gammaincinv

    at = (np.arange(NORMAL_SCALE) + 0.5) / NORMAL_SCALE
    intensities: Float64Array = gammaincinv(looks, at) / looks
    return intensities


def acoustic_shadow(
    images: UInt8Batch, attenuation: float, width: float = 0.25, *, place: Choice
) -> UInt8Batch:
    """Darken what lies behind something that lets little sound through.

    Below a depth the envelope is multiplied by 1 - A (1 - exp(-3 t)), t from 0 there to 1 at the
    lower border; to the sides the shadow fades over a quarter of its width.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        attenuation: A, 0 to below 1.
        width: Of the shadow, as a fraction of the picture's.
        place: (N, 2) in [0, 1), or keyed draws: middle of the shadow, between its half widths, and
            its depth, from a tenth to half of the height.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 200, dtype=torch.uint8)
        >>> acoustic_shadow(grey, 0.9, place=torch.full((1, 2), 0.5))[0, 0, ::9, 14].tolist()
        [200, 194, 155, 130]
    """
    check_batch(images)
    height, length = images.shape[2:]
    places = fractions(place, 2)

    def shadowed(plane: Float64Array, n: int) -> Float64Array:
        middle = width / 2 + (1 - width) * places[n, 0]
        depth = 0.1 + 0.4 * places[n, 1]
        across = np.abs((np.arange(length) + 0.5) / length - middle)
        side = ((width / 2 - across) / (width / 4)).clip(0, 1)
        down = (((np.arange(height) + 0.5) / height - depth) / (1 - depth)).clip(0, None)
        behind = attenuation * (1 - np.exp(-3 * down))
        change: Float64Array = GREYS * 20 * np.log10(1 - behind[:, None] * side)
        return plane + change

    return by_plane(images, shadowed)


def reverberation(
    images: UInt8Batch, strength: float, decay: float = 0.5, echoes: int = 4, *, spacing: Choice
) -> UInt8Batch:
    """Repeat the picture below itself, weaker each time: sound that runs to and fro.

    The envelope E(y) becomes E(y) + sum over k of strength decay^(k - 1) E(y - k spacing).

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        strength: Of the first echo, as a fraction of the envelope.
        decay: Of an echo by the one before it.
        echoes: How many.
        spacing: (N, 1) in [0, 1), or keyed draws: from a tenth to a quarter of the height.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> line = torch.zeros(1, 1, 40, 28, dtype=torch.uint8)
        >>> line[:, :, 2] = 200
        >>> out = reverberation(line, 0.1, 0.5, 2, spacing=torch.zeros(1, 1))
        >>> out[0, 0, 2:12:4, 0].tolist()
        [200, 115, 89]
    """
    check_batch(images)
    height = images.shape[2]
    steps = np.rint(height * (0.1 + 0.15 * fractions(spacing, 1)[:, 0])).astype(int).tolist()
    envelopes, back = envelope(np.arange(256.0)), _compressed()

    def repeated(plane: Float64Array, n: int) -> Float64Array:
        direct = envelopes[plane.astype(np.int64)]
        total, weight = direct.copy(), strength
        for k in range(1, echoes + 1):
            total[k * steps[n] :] += weight * direct[: max(height - k * steps[n], 0)]
            weight *= decay
        places = np.rint(np.minimum(total, 1) * (1 << ENVELOPE_BITS)).astype(np.int64)
        greys: Float64Array = back[places].astype(np.float64)
        return np.where(total == direct, plane, greys)

    return by_plane(images, repeated)


def envelope(values: Float64Array) -> Float64Array:
    """Return the envelope behind grey values: 1 for white, 0 for black.

    Example:
        >>> envelope(np.array([0.0, 127.5, 255.0])).round(4).tolist()
        [0.0, 0.0316, 1.0]
    """
    behind: Float64Array = 10 ** ((values / GREYS - DECIBELS) / 20) * (values > 0)
    return behind


@lru_cache(maxsize=1)
def _compressed() -> UInt8Array:
    """Tabulate grey values of envelopes in steps of 2^-16: uint8 (65537,)."""
    steps = np.maximum(np.arange((1 << ENVELOPE_BITS) + 1), 1) / (1 << ENVELOPE_BITS)
    greys = np.rint(GREYS * (20 * np.log10(steps) + DECIBELS)).clip(0, 255)
    return greys.astype(np.uint8)


def ultrasound_gain(
    images: UInt8Batch, decibels: float, sliders: int = 6, *, curve: Choice
) -> UInt8Batch:
    """Set the gain wrongly over depth: sliders at equal depths, straight lines between them.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        decibels: Largest error of a slider, either way.
        sliders: How many, at least 2.
        curve: (N, sliders) in [0, 1), or keyed draws; 0.5 is no error.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> ultrasound_gain(grey, 12, 2, curve=torch.tensor([[0, 1.0]]))[0, 0, ::27, 0].tolist()
        [49, 151]
    """
    check_batch(images)
    curves = 2 * fractions(curve, sliders) - 1
    depths = np.linspace(0, sliders - 1, images.shape[2])

    def amplified(plane: Float64Array, n: int) -> Float64Array:
        gain: Float64Array = GREYS * decibels * np.interp(depths, np.arange(sliders), curves[n])
        return plane + gain[:, None] * (plane > 0)

    return by_plane(images, amplified)
