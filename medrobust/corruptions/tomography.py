"""Computed tomography of a slice: projections along parallel rays, and back by filtered views.

A slice v becomes sums along rays at VIEWS angles of a half turn (Joseph's method: linear between
the two pixels of every row or column that a ray passes), in whole numbers; back it comes by a ramp
filter and linear back-projection in float32, view after view. What is done to the projections is
reconstructed alone and added to the slice, which was reconstructed once already: no change gives
the slice to the bit.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

from .numba import tomography as native

VIEWS = 360
"""Angles of a half turn, evenly from 0 (rays run down) on."""

ATTENUATION = 8.0
"""Natural logarithm that a side of the picture in white takes: water of 40 cm at 0.2 / cm."""


@dataclass(frozen=True, slots=True)
class Rays:
    """Where rays run through slices of one size.

    Attributes:
        bins: Of the detector, one pixel apart; the middle one sees the middle of the slice.
        lines: int32 (VIEWS, 4), as `project` takes them.
        lengths: float64 (VIEWS, 1), what a ray runs from line to line, in pixels.
        places: int32 (VIEWS, 3), as `back_project` takes them.
    """

    bins: int
    lines: NDArray[np.int32]
    lengths: Float64Array
    places: NDArray[np.int32]


@lru_cache(maxsize=16)
def rays(size: tuple[int, int]) -> Rays:
    """Lay rays through slices of (height, width).

    Example:
        >>> rays((28, 28)).bins
        43
    """
    height, width = size
    bins = 2 * int(np.ceil(np.hypot(height, width) / 2)) + 3
    angles = np.pi * np.arange(VIEWS) / VIEWS
    cosine, sine = np.cos(angles), np.sin(angles)
    middle = (bins - 1) / 2, (height - 1) / 2, (width - 1) / 2
    across = np.abs(sine) > np.abs(cosine)
    main, other = np.where(across, sine, cosine), np.where(across, cosine, sine)
    along, beside = (
        np.where(across, middle[1], middle[2]),
        np.where(across, middle[2], middle[1]),
    )
    start = (beside * other - middle[0]) / main + along
    lines = np.stack([across, start, 1 / main, -other / main], axis=1)
    lines[:, 1:] *= 1 << native.PLACE_BITS
    first = middle[0] - middle[2] * cosine - middle[1] * sine
    places = np.stack([first, sine, cosine], axis=1) * (1 << native.PLACE_BITS)
    lengths = 1 / np.abs(main)[:, None]
    return Rays(bins, np.rint(lines).astype(np.int32), lengths, np.rint(places).astype(np.int32))


def projected(plane: Float64Array) -> Float64Array:
    """Sum grey values along all rays: whole ones (H, W) -> float64 (VIEWS, bins), in pixels.

    Example:
        >>> projected(np.full((28, 40), 3.0))[0, 26].tolist()
        84.0
    """
    way = rays((plane.shape[0], plane.shape[1]))
    whole = plane.astype(np.int32)
    sums = np.empty((VIEWS, way.bins), np.int32)
    native.project(_framed(whole), _framed(whole.T), way.lines, sums)
    return sums * (way.lengths / (1 << native.WEIGHT_BITS))


def _framed(lines: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.ascontiguousarray(np.pad(lines, ((0, 0), (2, 2))))


def reconstructed(
    sinogram: Float64Array, size: tuple[int, int], views: Int64Array | None = None
) -> Float64Array:
    """Reconstruct (height, width) from projections by filtered back-projection.

    Args:
        sinogram: float64 (V, bins), of the chosen views.
        size: Of the slice.
        views: Which of VIEWS they are, int64 (V,); all by default. Each counts pi / VIEWS.

    Returns:
        float64 (height, width), in the units of the sinogram by pixel.

    References:
        Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3.

    Example:
        >>> flat = reconstructed(projected(np.full((40, 40), 50.0)), (40, 40))
        >>> bool(abs(flat[10:30, 10:30] - 50).max() < 1)
        True
    """
    way = rays(size)
    places = way.places if views is None else np.ascontiguousarray(way.places[views])
    out = np.empty(size, np.float32)
    native.back_project(filtered(sinogram).astype(np.float32), places, out)
    return out.astype(np.float64) * (np.pi / VIEWS)


def filtered(sinogram: Float64Array) -> Float64Array:
    """Filter every view by the ramp, band-limited to the bins: float64 (V, bins).

    Example:
        >>> filtered(np.array([[0, 1.0, 0, 0]])).round(3).tolist()
        [[-0.101, 0.25, -0.101, 0.0]]
    """
    from scipy.fft import irfft, rfft

    bins = sinogram.shape[1]
    response = _ramp(bins)
    length = 2 * (len(response) - 1)
    out: Float64Array = irfft(rfft(sinogram, length) * response, length)[:, :bins]
    return out


@lru_cache(maxsize=16)
def _ramp(bins: int) -> Float64Array:
    """Transform the ramp's impulse response, 1/4 and -1 / (pi n)^2 at odd n, long enough."""
    from scipy.fft import next_fast_len, rfft

    length = 2 * next_fast_len(bins, real=True)
    places = np.minimum(np.arange(length), length - np.arange(length))
    response = np.where(places % 2 == 1, -1 / (np.pi * np.maximum(places, 1)) ** 2, 0.0)
    response[0] = 0.25
    spectrum: Float64Array = rfft(response).real
    return spectrum
