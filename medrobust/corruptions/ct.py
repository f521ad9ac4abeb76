"""Artifacts of computed tomography, made in the projections of a slice.

A picture is taken for the attenuation of a slice: black is air, white takes ATTENUATION (8) over
the longer side. What happens to the projections is reconstructed alone and added to the picture
(`tomography.py`), so that nothing else about it changes.
"""

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice, chosen
from .counts import poisson
from .planes import by_plane, check_planes, fractions, half_words, normal_plane
from .tomography import ATTENUATION, VIEWS, projected, rays, reconstructed


def grey_attenuation(size: tuple[int, int]) -> float:
    """Return the attenuation of one grey value over one pixel.

    Example:
        >>> grey_attenuation((224, 100)) * 255 * 224
        8.0
    """
    return ATTENUATION / (255 * max(size))


def low_dose(
    images: UInt8Batch,
    photons: float,
    electronic: float = 10.0,
    *,
    quanta: Choice,
    current: Choice,
) -> UInt8Batch:
    """Count few photons: noise and streaks, most where a ray passes much.

    I = Poisson(photons exp(-p)) + N(0, electronic^2), and -log(max(I, 1) / photons) is
    reconstructed.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        photons: That reach each bin of the detector at each angle through air.
        electronic: Standard deviation of the noise of the readout, in photons.
        quanta: 16-bit quantiles of the counts, (N, VIEWS, bins), or keyed draws.
        current: Standard normals of the readout, (N, VIEWS, bins), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Leuschner et al., LoDoPaB-CT, Scientific Data 8, 2021, for the counts.

    Example:
        >>> import torch
        >>> from medrobust.keys import Draws
        >>> black = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> keyed = [Draws((1, 2), torch.tensor([0]), number) for number in (0, 16)]
        >>> bool(low_dose(black, 1e9, quanta=keyed[0], current=keyed[1]).max() <= 1)
        True
    """
    check_planes(images)
    size = (images.shape[2], images.shape[3])
    unit, shape = grey_attenuation(size), (VIEWS, rays(size).bins)

    def noisy(plane: Float64Array, n: int) -> Float64Array:
        depth = projected(plane) * unit
        counts = poisson(photons * np.exp(-depth), half_words(quanta, n, shape))
        counts += electronic * normal_plane(current, n, shape)
        change = -np.log(np.maximum(counts, 1) / photons) - depth
        return plane + reconstructed(change, size) / unit

    return by_plane(images, noisy)


def sparse_view(images: UInt8Batch, step: int) -> UInt8Batch:
    """Look from few angles: streaks, as every `step`-th view of 360 alone leaves them.

    The difference of the reconstructions from the kept views and from all is added to the picture.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        step: Every how many views one is kept, a divisor of 360: 360 / step views remain.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If the step does not divide 360.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8)
        >>> sparse_view(grey, 1).unique().tolist()
        [90]
    """
    check_planes(images)
    if step < 1 or VIEWS % step:
        raise ConfigurationError(f"step={step} does not divide {VIEWS} views. Give a divisor.")
    size = (images.shape[2], images.shape[3])
    weights = np.full((VIEWS, 1), -1.0)
    weights[::step] += step

    def streaked(plane: Float64Array, _: int) -> Float64Array:
        return plane + reconstructed(weights * projected(plane), size)

    return by_plane(images, streaked)


def limited_angle(images: UInt8Batch, degrees: float, *, start: Choice) -> UInt8Batch:
    """Leave out a wedge of angles: edges along the missing rays fade, streaks leave their ends.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        degrees: Of 180 that are missing.
        start: First missing view of 360, half a degree each, (N, 1), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8)
        >>> limited_angle(grey, 0, start=torch.tensor([[7]])).unique().tolist()
        [90]
    """
    check_planes(images)
    size = (images.shape[2], images.shape[3])
    starts = chosen(start, 0, VIEWS - 1, 1)[:, 0].tolist()
    missing = np.arange(round(degrees * VIEWS / 180))

    def wedged(plane: Float64Array, n: int) -> Float64Array:
        views = (starts[n] + missing) % VIEWS
        return plane - reconstructed(projected(plane)[views], size, views)

    return by_plane(images, wedged)


def ring_artifact(images: UInt8Batch, gain: float, *, gains: Choice) -> UInt8Batch:
    """Give every bin of the detector a gain of its own: rings about the middle.

    A bin and its mirror image share the mean of their logarithms, as over a full turn.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        gain: Standard deviation of the gain about 1.
        gains: Standard normals, (N, bins), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey, even = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8), torch.zeros(1, 43)
        >>> ring_artifact(grey, 0.1, gains=even).unique().tolist()
        [90]
    """
    check_planes(images)
    size = (images.shape[2], images.shape[3])
    unit, bins = grey_attenuation(size), rays(size).bins

    def ringed(plane: Float64Array, n: int) -> Float64Array:
        change = -np.log(np.maximum(1 + gain * normal_plane(gains, n, (1, bins)), 0.01))
        change = (change + change[:, ::-1]) / 2
        return plane + reconstructed(change.repeat(VIEWS, axis=0), size) / unit

    return by_plane(images, ringed)


def metal_artifact(
    images: UInt8Batch,
    radius: float,
    density: float = 12.0,
    floor: float = 3e-4,
    *,
    place: Choice,
) -> UInt8Batch:
    """Put two disks of metal into the slice: streaks, where no quanta are left behind them.

    Intensities below `floor` are read as `floor`, so that rays through much metal show too little.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        radius: Of a disk, as a fraction of the longer side.
        density: Attenuation of the metal, in whites.
        floor: Least intensity that is read, as a share of that through air.
        place: (N, 4) in [0, 1), or keyed draws: row and column of each disk, in the middle half.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> black = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
        >>> out = metal_artifact(black, 0.05, place=torch.full((1, 4), 0.5))
        >>> out[0, 0, 32, [2, 32]].tolist()
        [0, 255]
    """
    check_planes(images)
    size = (images.shape[2], images.shape[3])
    unit, places = grey_attenuation(size), fractions(place, 4).reshape(-1, 2, 2) - 0.5
    most = -np.log(floor)

    def streaked(plane: Float64Array, n: int) -> Float64Array:
        depth = projected(plane) * unit
        paths = [
            chords(size, (size[0] * down / 2, size[1] * right / 2), radius * max(size))
            for down, right in places[n].tolist()
        ]
        metal = 255 * density * unit * (paths[0] + paths[1])
        change = np.minimum(depth + metal, np.maximum(most, depth)) - depth
        return plane + reconstructed(change, size) / unit

    return by_plane(images, streaked)


def chords(size: tuple[int, int], middle: tuple[float, float], radius: float) -> Float64Array:
    """Measure rays within a disk, mean over each bin: float64 (VIEWS, bins), in pixels.

    Args:
        size: Of the slice.
        middle: Rows and columns from the middle of the slice.
        radius: In pixels.

    Example:
        >>> round(float(chords((28, 28), (0, 0), 5)[100, 21]), 2)
        9.98
    """
    angles = np.pi * np.arange(VIEWS)[:, None] / VIEWS
    bins = rays(size).bins
    seen = middle[1] * np.cos(angles) + middle[0] * np.sin(angles)
    aside = np.arange(bins) - (bins - 1) / 2 - seen
    ends = (aside[..., None] + [-0.5, 0.5]).clip(-radius, radius)
    areas = ends * np.sqrt(radius**2 - ends**2) + radius**2 * np.arcsin(ends / radius)
    lengths: Float64Array = np.diff(areas, axis=2)[..., 0]
    return lengths


def beam_hardening(images: UInt8Batch, beta: float) -> UInt8Batch:
    """Read too little where rays pass much: p - beta p^2, which hollows the picture.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        beta: Of the square; below 1 / (2 p) of the largest projection, so that more passed reads
            as more.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8)
        >>> beam_hardening(grey, 0).unique().tolist()
        [90]
    """
    check_planes(images)
    size = (images.shape[2], images.shape[3])
    unit = grey_attenuation(size)

    def hollowed(plane: Float64Array, _: int) -> Float64Array:
        depth = projected(plane) * unit
        return plane - reconstructed(beta * depth**2, size) / unit

    return by_plane(images, hollowed)
