"""Artifacts of magnetic resonance: what goes wrong in k-space, the coil, and the receiver.

Every function of one plane takes and returns float64 (H, W); k-space is its spectrum, centred.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medrobust.base.numba_threads import run_native
from medrobust.exceptions import ConfigurationError
from medrobust.keys import NORMAL_SCALE, Draws, normal_table
from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice, chosen
from .dispatch import route_of
from .numba import mri as native
from .planes import by_plane, check_planes, fractions, normal_plane


def ghosting(images: UInt8Batch, ghosts: int, intensity: float, *, axis: Choice) -> UInt8Batch:
    """Repeat the picture along one axis, as motion in step with the acquisition does.

    Every `ghosts`-th plane of k-space is weakened by `intensity`; the central one is kept.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        ghosts: How many copies stand along the axis, the picture itself among them.
        intensity: Share that is taken off the planes: 1 leaves nothing, above 1 they are turned.
        axis: Along rows (0: copies stand below each other) or columns (1), (N, 1), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If there are fewer than two ghosts or more than pixels.

    References:
        TorchIO 1.2.1, `RandomGhosting`, on a slice.

    Example:
        >>> import torch
        >>> grey, rows = torch.full((1, 1, 32, 28), 90, dtype=torch.uint8), torch.tensor([[0]])
        >>> ghosting(grey, 4, 1.0, axis=rows).unique().tolist()
        [90]
    """
    check_planes(images)
    if not 2 <= ghosts <= min(images.shape[2:]):
        raise ConfigurationError(
            f"ghosts={ghosts} does not suit images of {min(images.shape[2:])} pixels. Give 2 or "
            f"more, up to the pixels of a side."
        )
    axes = along(axis)
    if route_of(images) != "torch" and not any(side % (2 * ghosts) for side in images.shape[2:]):
        fast = run_native(native.ghost, images.cpu(), ghosts, float(intensity), np.array(axes))
        return fast.to(images.device)
    return by_plane(images, lambda plane, n: ghosted(plane, ghosts, intensity, axes[n]))


def along(axis: Choice) -> list[int]:
    """Return 0 (rows) or 1 (columns) for each image, as drawn or given.

    Example:
        >>> import torch
        >>> along(torch.tensor([[1], [0]]))
        [1, 0]
    """
    chosen_axes: list[int] = chosen(axis, 0, 1, 1)[:, 0].tolist()
    return chosen_axes


def ghosted(plane: Float64Array, ghosts: int, intensity: float, axis: int) -> Float64Array:
    """Ghost one plane: by sums of its parts where they fit its side, else by its spectrum.

    y = x - (s / n) sum_j roll(x, j N / n) + s mean(x) along the axis, where 2 n divides N.

    Example:
        >>> ghosted(np.array([[8.0, 0, 0, 0]]), 2, 0.5, axis=1).tolist()
        [[7.0, 1.0, -1.0, 1.0]]
    """
    side = plane.shape[axis]
    if side % (2 * ghosts):
        return _ghosted_by_spectrum(plane, ghosts, intensity, axis)
    parts = plane.reshape(ghosts, -1, plane.shape[1]) if axis == 0 else plane
    parts = parts if axis == 0 else plane.reshape(len(plane), ghosts, -1)
    total = parts.sum(axis=axis, keepdims=True)  # of whole numbers: exact
    taken = total * (intensity / ghosts)
    kept = total.sum(axis=axis + 1, keepdims=True) * (intensity / side)
    out: Float64Array = (parts - (taken - kept)).reshape(plane.shape)
    return out


def _ghosted_by_spectrum(
    plane: Float64Array, ghosts: int, intensity: float, axis: int
) -> Float64Array:
    side = plane.shape[axis]
    weights = np.ones(side)
    weights[::ghosts] = 1 - intensity
    weights[side // 2] = 1
    weights = np.fft.ifftshift(weights)
    spectrum = np.fft.fft(plane, axis=axis) * (weights[:, None] if axis == 0 else weights)
    out: Float64Array = np.fft.ifft(spectrum, axis=axis).real
    return out


def spike(images: UInt8Batch, intensity: float, *, row: Choice, column: Choice) -> UInt8Batch:
    """Lay stripes over the picture, as one damaged point of k-space does.

    At that point the largest value of k-space times `intensity` is added, which for grey values is
    the mean of the plane times a cosine: x + r mean(x) cos(2 pi (u y / H + v x / W)).

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        intensity: r, as a multiple of the largest value of k-space.
        row: Cycles a height, (N, 1), 0 to H - 1, or keyed draws.
        column: Cycles a width, (N, 1), 0 to W - 1, or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        TorchIO 1.2.1, `RandomSpike` with one spike, on a slice.

    Example:
        >>> import torch
        >>> grey, still = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8), torch.tensor([[0]])
        >>> spike(grey, 0.5, row=torch.tensor([[14]]), column=still)[0, 0, :3, 0].tolist()
        [135, 45, 135]
    """
    check_planes(images)
    height, width = images.shape[2:]
    rows, columns = (
        chosen(which, 0, side - 1, 1)[:, 0].tolist()
        for which, side in ((row, height), (column, width))
    )
    if route_of(images) != "torch":
        cycles = (np.array(rows), np.array(columns))
        circles = (np.stack(_circle(height)), np.stack(_circle(width)))
        fast = run_native(native.stripe, images.cpu(), float(intensity), *cycles, *circles)
        return fast.to(images.device)
    return by_plane(images, lambda plane, n: striped(plane, intensity, (rows[n], columns[n])))


def striped(plane: Float64Array, intensity: float, cycles: tuple[int, int]) -> Float64Array:
    """Add a cosine of the plane's mean; `cycles` are those of its height and width.

    Example:
        >>> striped(np.full((2, 2), 8.0), 0.5, (1, 0)).round(9).tolist()
        [[12.0, 12.0], [4.0, 4.0]]
    """
    (cosine, sine), (across, sine_across) = (
        _wave(side, count) for side, count in zip(plane.shape, cycles, strict=True)
    )
    waves = cosine[:, None] * across - sine[:, None] * sine_across
    out: Float64Array = plane + (intensity * (plane.sum() / plane.size)) * waves
    return out


def _wave(side: int, cycles: int) -> tuple[Float64Array, Float64Array]:
    """Give cosine and sine of a whole number of cycles: float64 (side,) each."""
    cosines, sines = _circle(side)
    places = np.arange(side) * cycles % side
    return cosines[places], sines[places]


@lru_cache(maxsize=64)
def _circle(side: int) -> tuple[Float64Array, Float64Array]:
    angles = 2 * np.pi * np.arange(side) / side
    return np.cos(angles), np.sin(angles)


def rician_noise(
    images: UInt8Batch,
    std: float,
    of_picture: bool = False,
    *,
    real: Choice,
    imaginary: Choice,
) -> UInt8Batch:
    """Take the magnitude of the picture after noise in both parts: sqrt((x + a)^2 + b^2).

    Dark places become brighter, as they do in a magnitude image. Noise of the receiver is grey: the
    same in all channels.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        std: Standard deviation of either part, as a fraction of full scale.
        of_picture: As a fraction of the deviation of each plane instead.
        real: Standard normal draws, (N, H, W), or keyed draws.
        imaginary: Likewise.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Gudbjartsson and Patz, Magn Reson Med 34, 1995; MONAI, `RandRicianNoise`.

    Example:
        >>> import torch
        >>> black, one = torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.ones(1, 28, 28)
        >>> rician_noise(black, 0.1, real=one, imaginary=one).unique().tolist()
        [36]
    """
    check_planes(images)
    size = (images.shape[2], images.shape[3])
    if isinstance(real, Draws) and isinstance(imaginary, Draws) and route_of(images) != "torch":
        alike = real.key == imaginary.key and real.index is imaginary.index
        if alike and not of_picture:
            normals = 255 * std * (normal_table() / NORMAL_SCALE)
            keyed = (real.index.numpy(), real.number, imaginary.number, *real.key)
            return run_native(native.rice, images.cpu(), normals, *keyed).to(images.device)

    def noisy(plane: Float64Array, n: int) -> Float64Array:
        scale = std * plane.std() if of_picture else 255 * std
        first = plane + scale * normal_plane(real, n, size)
        second = scale * normal_plane(imaginary, n, size)
        magnitude: Float64Array = np.sqrt(first * first + second * second)
        return magnitude

    return by_plane(images, noisy)


def bias_field(
    images: UInt8Batch, coefficient: float, order: int = 3, *, coefficients: Choice
) -> UInt8Batch:
    """Multiply by a smooth field, as an uneven coil does: exp of a polynomial of the place.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        coefficient: Largest absolute coefficient; they are equally likely up to it.
        order: Largest sum of the two powers.
        coefficients: (N, (order + 1) (order + 2) / 2) in [-1, 1], of y^i x^j in the order of i,
            then j, or keyed draws. Rows and columns run from -1 to 1.

    Returns:
        uint8 batch of the same shape, rounded; what grows beyond white is cut off.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Van Leemput et al., IEEE TMI 18, 1999, as TorchIO 1.2.1, `RandomBiasField`, on a slice.

    Example:
        >>> import torch
        >>> grey, constant = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8), torch.zeros(1, 10)
        >>> constant[0, 0] = 1
        >>> bias_field(grey, 0.5, coefficients=constant).unique().tolist()
        [165]
    """
    check_planes(images)
    count = (order + 1) * (order + 2) // 2
    factors = fractions(coefficients, count)
    if isinstance(coefficients, Draws):
        factors = 2 * factors - 1
    size = (images.shape[2], images.shape[3])
    return by_plane(
        images, lambda plane, n: plane * field_of(coefficient * factors[n], order, size)
    )


def field_of(coefficients: Float64Array, order: int, size: tuple[int, int]) -> Float64Array:
    """Make exp(sum of c_ij y^i x^j), i + j up to `order`: float64 (H, W).

    Example:
        >>> field_of(np.array([0, 1.0, 0]), 1, (2, 3)).round(2).tolist()
        [[0.37, 1.0, 2.72], [0.37, 1.0, 2.72]]
    """
    y, x = (np.linspace(-1, 1, side) for side in size)
    exponent, part, given = np.zeros(size), np.empty(size), iter(coefficients)
    for i in range(order + 1):
        row = np.zeros(size[1])
        for j in range(order + 1 - i):
            row += next(given) * x**j
        exponent += np.multiply((y**i)[:, None], row, out=part)
    field: Float64Array = np.exp(exponent, out=exponent)
    return field


def gibbs(images: UInt8Batch, alpha: float) -> UInt8Batch:
    """Ring at edges, as a k-space that was not measured to its rim: keep a disk of it.

    The disk has the radius (1 - alpha) sqrt(2) / 2 of the longer side, about the zero frequency.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        alpha: 0 keeps everything, 1 nothing.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        MONAI, `GibbsNoise`, for the radius.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8)
        >>> gibbs(grey, 0.9).unique().tolist()
        [90]
    """
    check_planes(images)
    kept = disk((images.shape[2], images.shape[3]), alpha)
    return by_plane(images, lambda plane, _: low_pass(plane, kept))


def low_pass(plane: Float64Array, kept: NDArray[np.bool_]) -> Float64Array:
    """Return a plane of the frequencies that are kept, to the bit as by transforms of all of them.

    Columns of k-space of which nothing is kept are transformed neither way.

    Args:
        plane: float64 (H, W).
        kept: bool (H, C), from `disk`.
    """
    space = np.fft.fft(np.fft.rfft(plane)[:, : kept.shape[1]], axis=0)
    space *= kept
    found: Float64Array = np.fft.irfft(np.fft.ifft(space, axis=0), plane.shape[1])
    return found


@lru_cache(maxsize=64)
def disk(size: tuple[int, int], alpha: float) -> NDArray[np.bool_]:
    """Say what is kept of the first columns of the half spectrum of a real plane: bool (H, C).

    Beyond C, up to W // 2 + 1, nothing is kept.

    Example:
        >>> disk((4, 4), 0.6).astype(int).tolist()
        [[1, 1], [1, 0], [0, 0], [1, 0]]
    """
    y, x = np.fft.fftfreq(size[0], 1 / size[0]), np.arange(size[1] // 2 + 1)
    radius = (1 - alpha) * max(size) * np.sqrt(2) / 2
    kept: NDArray[np.bool_] = np.sqrt(y[:, None] ** 2 + x**2) <= radius
    columns = np.flatnonzero(kept.any(axis=0)).max(initial=0) + 1
    return np.ascontiguousarray(kept[:, :columns])
