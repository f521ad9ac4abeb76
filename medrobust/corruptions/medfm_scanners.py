"""Formulas of MedFM-Robust for scanners: any, magnetic resonance, computed tomography, x-ray."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from medrobust.types import Float64Array

if TYPE_CHECKING:
    from .medfm import Given

RADIAL = 0.5
"""Of the strength, by how much a bias field falls off to the corners."""


def ranged(image: Float64Array, like: Float64Array) -> Float64Array:
    """Bring values into the range of others, from end to end."""
    low, high = image.min(), image.max()
    if high - low <= 1e-8:
        return image
    out: Float64Array = like.min() + (image - low) * ((like.max() - like.min()) / (high - low))
    return out


def smoothed(plane: Float64Array, sigma: float) -> Float64Array:
    """Blur (H, W) as SciPy does, mirrored at its borders."""
    from scipy.ndimage import gaussian_filter

    out: Float64Array = gaussian_filter(plane, sigma)
    return out


def planewise(
    formula: "Callable[[Float64Array, Given], Float64Array]",
) -> "Callable[[Float64Array, Given], Float64Array]":
    """Apply a formula of (H, W) to every channel, equal ones once."""

    def changed(image: Float64Array, given: "Given") -> Float64Array:
        out = np.empty_like(image)
        for c, plane in enumerate(image):
            alike = c > 0 and np.array_equal(plane, image[c - 1])
            out[c] = out[c - 1] if alike else formula(plane, given)
        return out

    return changed


def motion_blur(plane: Float64Array, given: "Given") -> Float64Array:
    """Mean along a line of `level` pixels at any angle, turned as OpenCV 5 turns a picture.

    OpenCV 4 rounds places to 1/32 of a pixel, which moves up to half of the grey levels.
    """
    from scipy.ndimage import affine_transform

    side = given.level
    line = np.zeros((side, side))
    line[side // 2] = 1 / side
    angle = np.deg2rad(360 * given.uniforms[0] - 180)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.full(2, side // 2)
    offset = middle - turn @ middle
    kernel = affine_transform(line, turn, offset, order=1, mode="grid-constant")
    found: Float64Array = cv2.filter2D(plane, -1, kernel)
    return found


def brightness_contrast(image: Float64Array, given: "Given") -> Float64Array:
    """Scale about the mean of every channel, then all, each by 1 plus or minus the strength."""
    contrast, brightness = 1 + given.strength * (2 * given.uniforms[:2] - 1)
    mean = image.mean(axis=(1, 2), keepdims=True)
    out: Float64Array = (((image - mean) * contrast + mean) * brightness).clip(
        given.low, given.high
    )
    return out


def mr_line_motion(plane: Float64Array, given: "Given") -> Float64Array:
    """Move rows of k-space sideways in the picture, those about the centre (5 %) excepted.

    `level` hundredths of the rows move by up to `strength` pixels.
    """
    height, width = plane.shape
    spectrum = np.fft.fftshift(np.fft.fft2(plane))
    kept = max(height // 20, 2)
    begin, end = height // 2 - kept // 2, height // 2 + kept // 2
    free = np.r_[0:begin, end:height]
    count = min(int(height * given.level / 100), len(free))
    order = np.argsort(given.uniforms[: len(free)], kind="stable")
    moves = np.zeros(height)
    shifts = given.uniforms[height : height + count]
    moves[free[order[:count]]] = given.strength * (2 * shifts - 1)
    moves = smoothed(moves, 0.5)
    cycles = np.fft.fftfreq(width)
    if not given.published:
        cycles = np.fft.fftshift(cycles)
    ramps = np.exp(-2j * np.pi * cycles * moves[:, None])
    moved = spectrum * np.where(np.abs(moves)[:, None] > 0.01, ramps, 1)
    return ranged(np.abs(np.fft.ifft2(np.fft.ifftshift(moved))), plane)


def mr_bias(image: Float64Array, given: "Given") -> Float64Array:
    """Multiply by a smooth field of 1 - strength to 1 + strength."""
    height, width = image.shape[1:]
    side = 2 + 3 * given.level
    coarse = given.uniforms[: side * side].reshape(side, side)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    field = smoothed(field, min(height, width) / (15 + 5 * given.level))
    down, right = np.mgrid[:height, :width]
    for wave in range(1, given.level + 2):
        cycles, phase = 3 * wave * np.pi / max(height, width), 2 * np.pi * given.uniforms[-wave]
        there = np.sin(cycles * right + phase) * np.cos(0.8 * cycles * down + phase)
        field = field + 0.2 * given.strength * there
    field = field * (1 - _far(image) * given.strength * RADIAL)
    field = (field - field.min()) / (field.max() - field.min())
    out: Float64Array = image * (1 - given.strength + 2 * given.strength * field)
    return out.clip(given.low, given.high)


def mr_roll_ghosts(plane: Float64Array, given: "Given") -> Float64Array:
    """Add level + 1 blurred copies, by halves of the height, from level 3 on by quarters aside."""
    height, width = plane.shape
    total = plane.copy()
    for i in range(1, given.level + 2):
        share = given.strength / i**0.8
        below = np.roll(plane, (height // 2) * i % height, axis=0)
        total += share * smoothed(below, 0.2 + 0.1 * i)
        if given.level >= 3:
            beside = np.roll(plane, (width // 4) * i % width, axis=1)
            total += 0.3 * share * smoothed(beside, 0.3 + 0.1 * i)
    return ranged(total, plane)


def ct_streaks(image: Float64Array, given: "Given") -> Float64Array:
    """Draw 8 + 4 level rays from a point, by turns brighter and darker, fading out."""
    height, width = image.shape[1:]
    at = [
        int(side * (0.25 + 0.5 * u))
        for side, u in zip((height, width), given.uniforms, strict=False)
    ]
    count, length = 8 + 4 * given.level, min(height, width) // 2
    steps = np.arange(length)
    factors = np.ones((height, width))
    for i in range(count):
        angle = 2 * np.pi * i / count
        right = (at[1] + steps * np.cos(angle)).astype(np.int64)
        down = (at[0] + steps * np.sin(angle)).astype(np.int64)
        inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
        fading = 0.15 * given.level * (1 - steps / length)
        np.multiply.at(
            factors,
            (down[inside], right[inside]),
            1 + (fading if i % 2 == 0 else -fading)[inside],
        )
    return (image * factors).clip(given.low, given.high)


def ct_cupping(image: Float64Array, given: "Given") -> Float64Array:
    """Multiply by 1 - level / 10 d^2, d = 1 in the corners."""
    return image * (1 - 0.1 * given.level * _far(image) ** 2)


def ct_starvation(image: Float64Array, given: "Given") -> Float64Array:
    """Add normal noise of strength times the root of the grey value and one."""
    noise = given.strength * np.sqrt(np.abs(image) + 1) * given.normals()
    found: Float64Array = (image + noise).clip(given.low, given.high)
    return found


def xray_veil(plane: Float64Array, given: "Given") -> Float64Array:
    """Add strength times the picture blurred by 30 pixels."""
    veiled = plane + given.strength * smoothed(plane, 30)
    return veiled.clip(given.low, given.high)


def exposure(image: Float64Array, given: "Given") -> Float64Array:
    """Multiply by the strength."""
    return (image * given.strength).clip(0 if given.strength < 1 else given.low, given.high)


def grid(image: Float64Array, given: "Given") -> Float64Array:
    """Darken every fourth row, from the first on."""
    out = image.copy()
    out[:, ::4] *= 1 - given.strength
    return out


def window(image: Float64Array, given: "Given") -> Float64Array:
    """Show a window narrower by half the strength, its middle off by up to all of it."""
    span = given.high - given.low
    middle = (given.high + given.low) / 2 + given.strength * (2 * given.uniforms[0] - 1) * span
    width = span * (1 - 0.5 * given.strength)
    shown = (image - (middle - width / 2)) / max(width, 1e-8) * span + given.low
    out: Float64Array = shown.clip(given.low, given.high)
    return out


def _far(image: Float64Array) -> Float64Array:
    """Measure pixels from the middle, 1 in the corners, as the program counts pixels."""
    height, width = image.shape[1:]
    down, right = np.ogrid[:height, :width]
    out: Float64Array = np.hypot(down - height / 2, right - width / 2)
    found: Float64Array = out / np.hypot(height / 2, width / 2)
    return found


FORMULAS: "Mapping[str, Callable[[Float64Array, Given], Float64Array]]" = MappingProxyType(
    {
        "motion_blur": planewise(motion_blur),
        "brightness_contrast": brightness_contrast,
        "mr_line_motion": planewise(mr_line_motion),
        "mr_bias": mr_bias,
        "mr_roll_ghosts": planewise(mr_roll_ghosts),
        "ct_streaks": ct_streaks,
        "ct_cupping": ct_cupping,
        "ct_starvation": ct_starvation,
        "xray_veil": planewise(xray_veil),
        "exposure": exposure,
        "grid": grid,
        "window": window,
    }
)
"""Kind -> formula."""
