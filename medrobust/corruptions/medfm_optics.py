"""Formulas of MedFM-Robust for ultrasound, endoscopy, OCT, slides and skin."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from medrobust.types import Float64Array

from .medfm_scanners import smoothed

if TYPE_CHECKING:
    from .medfm import Given


def us_shadow(image: Float64Array, given: "Given") -> Float64Array:
    """Darken what lies below a point by strength (1 - e^-3t), t from 0 there to 1 at the bottom."""
    height, width = image.shape[1:]
    top, middle = (
        _between(given, 0, height / 4, height / 2),
        _between(given, 1, width / 4, 3 * width / 4),
    )
    depth = ((np.arange(height) - top) / (height - top)).clip(0, 1)
    wide = int(width * (0.08 + 0.15 * given.strength)) * (1 + 0.3 * depth)
    edge = np.floor(wide / 6) + 1
    right = np.arange(width)
    aside = np.abs(right - middle)
    cover = ((wide[:, None] / 2 + edge[:, None] - aside) / edge[:, None]).clip(0, 1)
    dark = np.where(np.arange(height) >= top, given.strength * (1 - np.exp(-3 * depth)), 0)
    found: Float64Array = image * (1 - dark[:, None] * cover)
    return found


def us_reverberation(image: Float64Array, given: "Given") -> Float64Array:
    """Add echoes of an interface: bands at equal spacing that fade, over a part of the width."""
    height, width = image.shape[1:]
    strength = given.strength
    interface = int(_between(given, 0, height // 6, height // 3))
    wide = width // 2 + int(_between(given, 1, 0, width // 4))
    middle = int(_between(given, 2, width // 4, 3 * width // 4))
    left, right = max(0, middle - wide // 2), min(width, middle + wide // 2)
    edge = (right - left) // 10 + 1
    places = np.arange(width)
    beyond = np.maximum(left - places, places - (right - 1)).clip(0)
    profile = np.where(beyond <= edge, np.exp(-0.5 * (beyond / (edge / 2)) ** 2), 0)
    spacing, thick = int(0.8 * interface) + int(20 * strength), max(2, int(3 + 8 * strength))
    bright = image[:, interface, left:right].mean(axis=1)
    out = image.copy()
    for i in range(1, max(3, int(3 + 10 * strength)) + 1):
        at = interface + i * spacing
        if at >= height - thick:
            break
        rows = np.arange(max(0, at - thick // 2), min(height, at + thick // 2 + 1))
        band = np.exp(-0.5 * ((rows - at) / (thick / 3)) ** 2)
        echo = strength * (0.6 - 0.15 * strength) ** (i - 1) * band[:, None] * profile
        out[:, rows] += bright[:, None, None] * echo
    return np.minimum(out, given.high)


def endo_highlights(image: Float64Array, given: "Given") -> Float64Array:
    """Add spots of light, sharper than a Gaussian; 2 + 8 strength of them."""
    height, width = image.shape[1:]
    sigma = min(height, width) * (0.02 + 0.03 * given.strength)
    light = np.zeros((height, width))
    for u in _each(given, max(1, int(2 + 8 * given.strength)), 3):
        far = _far(image, height * (1 + 4 * u[0]) / 6, width * (1 + 4 * u[1]) / 6)
        light += np.exp(-(far**2) / (4 * sigma**2)) * given.strength * (0.8 + 0.4 * u[2])
    return (image + light * _white(image, given)).clip(given.low, given.high)


def endo_bubbles(image: Float64Array, given: "Given") -> Float64Array:
    """Look through bubbles: drawn out in the middle, with a brighter rim, inside and highlights."""
    height, width = image.shape[1:]
    side, strength, white = min(height, width), given.strength, _white(image, given)
    out = image.copy()
    for u in _each(given, max(3, int(80 * strength)), 12):
        row, column = height * (0.1 + 0.8 * u[0]), width * (0.1 + 0.8 * u[1])
        least, most = max(8, int(0.03 * side)), max(20, int(0.12 * side))
        radius = least + (most - least) * u[2]
        down, right = np.ogrid[:height, :width]
        dy, dx = down - row, right - column
        far = np.hypot(dy, dx)
        within = far <= radius
        pulled = 1 - (0.25 + 0.6 * strength) * (1 - (far / radius) ** 2)
        pulled = np.where(within, pulled, 1)
        places = (column + dx * pulled).astype(np.float32), (row + dy * pulled).astype(np.float32)
        seen = np.stack([cv2.remap(one, *places, cv2.INTER_LINEAR) for one in out])
        out = np.where(within, seen, out)
        for k in range(2 + int(3 * u[3])):
            reach, angle = radius * (0.5 + 0.45 * u[4 + 2 * k]), 2 * np.pi * u[5 + 2 * k]
            spot = _far(image, row + reach * np.sin(angle), column + reach * np.cos(angle))
            wide = max(3, int(0.25 * radius))
            glow = np.exp(-(spot**2) / (2 * (wide / 2.5) ** 2)) * (spot <= wide)
            out = np.minimum(out + 0.7 * (0.6 + 1.2 * strength) * glow * white, white)
        rim = within & (far > radius - max(3, int(radius) // 3))
        out = np.minimum(out * np.where(rim, 1.15 + 0.25 * strength, 1), white)
        inner = (far <= 0.7 * radius) * (0.05 + 0.1 * strength) * (given.high - given.low)
        out = np.minimum(out + inner, white)
    return out


def endo_blood(image: Float64Array, given: "Given") -> Float64Array:
    """Take green and blue out of soft ellipses, 20 strength of them, and all channels of grey."""
    height, width = image.shape[1:]
    cover = np.zeros((height, width))
    for u in _each(given, max(1, int(20 * given.strength)), 5):
        tall, wide = (
            max(5, side // 20) + (max(10, side // 8) - max(5, side // 20)) * part
            for side, part in ((height, u[2]), (width, u[3]))
        )
        down, right = np.ogrid[:height, :width]
        far = ((down - u[0] * height) / tall) ** 2 + ((right - u[1] * width) / wide) ** 2
        cover = np.maximum(cover, np.exp(-2 * far) * (0.5 + 0.5 * u[4]))
    cover = (5 * given.strength * cover).clip(0, 1)
    shares = (0.4,) if _is_grey(image) else (0.1, 0.5, 0.5)
    return image * (1 - np.array(shares)[:, None, None] * cover)


def endo_overexposure(image: Float64Array, given: "Given") -> Float64Array:
    """Blend white into soft disks."""
    height, width = image.shape[1:]
    side = min(height, width)
    cover = np.zeros((height, width))
    for u in _each(given, max(1, int(15 * given.strength)), 3):
        least, most = max(10, side // 15), max(20, side // 6)
        radius = least + (most - least) * u[2]
        far = _far(image, height * (0.25 + 0.5 * u[0]), width * (0.25 + 0.5 * u[1]))
        cover = np.maximum(cover, np.exp(-2 * (far / radius) ** 2))
    cover = (8 * given.strength * cover).clip(0, 1)
    return image + (_white(image, given) - image) * cover


def oct_shadow(image: Float64Array, given: "Given") -> Float64Array:
    """Blacken columns: 1 to 3 stripes with soft edges, strength of the width wide, more or less."""
    width = image.shape[2]
    light = np.ones(width)
    for u in _each(given, 1 + int(min(3, given.level) * given.uniforms[-1]), 2):
        wide = max(3.0, width * given.strength * (0.7 + 0.6 * u[0]))
        middle = wide + (width - 2 * wide) * u[1]
        light *= _stripe(width, middle, wide, max(2.0, wide / 6))
    return image * light


def oct_blink(image: Float64Array, given: "Given") -> Float64Array:
    """Blacken rows: bands with soft edges, as many as the strength says."""
    height = image.shape[1]
    light = np.ones(height)
    for u in _each(given, int(given.strength), 2):
        least, most = max(2, height // 50), max(5, height // 20)
        tall = least + (most - least) * u[0]
        light *= _stripe(height, tall + (height - 2 * tall) * u[1], tall, max(1.0, tall / 4))
    return image * light[:, None]


def oct_motion(image: Float64Array, given: "Given") -> Float64Array:
    """Move bands of rows sideways by up to strength of the width; the border is repeated."""
    height, width = image.shape[1:]
    out = image.copy()
    for u in _each(given, 1 + int(given.level * given.uniforms[-1]), 3):
        tall = height // 8 + int((height // 3 - height // 8) * u[0])
        top = int((height - tall) * u[1])
        most = int(width * given.strength)
        move = int(np.floor((2 * most + 1) * u[2])) - most
        places = (np.arange(width) - move).clip(0, width - 1)
        out[:, top : top + tall] = out[:, top : top + tall][:, :, places]
    return out


def oct_speckle(image: Float64Array, given: "Given") -> Float64Array:
    """Multiply by log-normal grain of mean 1."""
    grain = np.exp(given.strength * given.normals())
    out: Float64Array = (image * (grain / grain.mean())).clip(given.low, given.high)
    return out


def slide_stain(image: Float64Array, given: "Given") -> Float64Array:
    """Turn the hue by up to 80 strength degrees, scale saturation and value, unevenly above .15."""
    u, strength = 2 * given.uniforms - 1, given.strength
    if _is_grey(image):
        lit: Float64Array = (image * (1 + strength * u[0])).clip(given.low, given.high)
        return lit
    height, width = image.shape[1:]
    hsv = cv2.cvtColor(image.transpose(1, 2, 0).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 80 * strength * u[0]) % 360
    scale = np.full((height, width), 1 + strength * u[1])
    if strength > 0.15:
        side = max(2, min(height, width) // 30)
        coarse = given.uniforms[10 : 10 + side * side].reshape(side, side)
        field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        field = smoothed(field, min(height, width) / 8)
        scale = scale * (1 + 0.8 * strength * (field - field.mean()))
    hsv[..., 1] = (hsv[..., 1] * scale).clip(0, 1)
    hsv[..., 2] = (hsv[..., 2] * (1 + 0.6 * strength * u[2])).clip(0, 1)
    out: Float64Array = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).transpose(2, 0, 1) * 255.0
    return out


def slide_bubbles(image: Float64Array, given: "Given") -> Float64Array:
    """Lay bubbles under the cover glass: paler within, a bright ring, and a dark one around it."""
    height, width = image.shape[1:]
    side, count = min(height, width), int(given.strength)
    glass = np.percentile(image, 92, axis=(1, 2))[:, None, None]
    out = image.copy()
    for u in _each(given, count, 3):
        margin = max(15, side // 12)
        row, column = (
            margin + (length - 2 * margin) * part
            for length, part in ((height, u[0]), (width, u[1]))
        )
        least = max(6, int(side * (0.015 + 0.01 * count / 5)))
        most = max(least + 8, int(side * (0.04 + 0.03 * count / 5)))
        radius = least + (most - least) * u[2]
        far = _far(image, row, column)
        rim = max(2, int(radius) // 5)
        filled = 0.45 * (1 - (far / radius).clip(0, 1) ** 1.5) * (far <= radius - 2 * rim)
        out = out + (glass - out) * filled
        bright = (far > radius - 2 * rim) & (far <= radius - rim)
        out = np.where(bright, np.minimum(1.08 * out, given.high), out)
        dark = (far > radius - rim) & (far <= radius)
        out = np.where(dark, out * (0.82 + 0.1 * (far - radius + rim) / rim), out)
    return out


def skin_vignette(image: Float64Array, given: "Given") -> Float64Array:
    """Multiply by 1 - level / 10 d, d in half shorter sides from the middle."""
    height, width = image.shape[1:]
    far = _far(image, height / 2, width / 2) / (min(height, width) // 2)
    found: Float64Array = image * (1 - 0.1 * given.level * far).clip(0, 1)
    return found


def skin_reflection(image: Float64Array, given: "Given") -> Float64Array:
    """Add one Gaussian light of 0.3 level whites."""
    height, width = image.shape[1:]
    row, column = (
        height * (0.25 + 0.5 * given.uniforms[0]),
        width * (0.25 + 0.5 * given.uniforms[1]),
    )
    sigma = min(height, width) / (10 - given.level)
    light = 0.3 * given.level * np.exp(-(_far(image, row, column) ** 2) / (2 * sigma**2))
    found: Float64Array = (image + light * _white(image, given)).clip(given.low, given.high)
    return found


def skin_hair(image: Float64Array, given: "Given") -> Float64Array:
    """Draw 3 level hairs, cubic curves of a soft pen, in a fifth of the darkest value."""
    height, width = image.shape[1:]
    side = min(height, width)
    ink = np.zeros((height, width), np.uint8)
    t = np.linspace(0, 1, 100)[:, None]
    for u in _each(given, 3 * given.level, 7):
        start, angle = np.array([u[0] * width, u[1] * height]), np.pi * u[2]
        longest = max(side // 2, side // 4 + 1)
        length = min(50, side // 4) + (longest - min(50, side // 4)) * u[3]
        along, across = (
            np.array([np.cos(angle), np.sin(angle)]),
            np.array([-np.sin(angle), np.cos(angle)]),
        )
        bend = (0.1 + 0.3 * u[4]) * length * (1 if u[5] < 0.5 else -1)
        other = bend * (0.5 if u[6] < 0.7 else -0.5)
        first = start + 0.33 * length * along + bend * across
        second = start + 0.67 * length * along + other * across
        end = start + length * along
        path = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second
        path = (path + t**3 * end).astype(np.int32)
        thick = max(1, given.level // 2 + 1)
        for i in range(len(path) - 1):
            pen = max(1, int(thick * (1 - abs(i / len(path) - 0.5))))
            cv2.line(ink, path[i].tolist(), path[i + 1].tolist(), 255, pen)
    cover = cv2.GaussianBlur(ink, (3, 3), 0).astype(np.float64) / 255
    found: Float64Array = image + (0.2 * image.min() - image) * cover
    return found


def _between(given: "Given", number: int, low: float, high: float) -> float:
    return float(low + (high - low) * given.uniforms[number])


def _each(given: "Given", count: int, draws: int) -> Iterator[Float64Array]:
    """Yield `draws` uniforms for each of `count` things."""
    yield from given.uniforms[: count * draws].reshape(count, draws)


def _far(image: Float64Array, row: float, column: float) -> Float64Array:
    """Measure pixels from a point, in pixels: (H, W)."""
    down, right = np.ogrid[: image.shape[1], : image.shape[2]]
    out: Float64Array = np.hypot(down - row, right - column)
    return out


def _white(image: Float64Array, given: "Given") -> Float64Array:
    """Return what counts as white, a channel: (C, 1, 1)."""
    full = np.full((len(image), 1, 1), given.high)
    white: Float64Array = image.max(axis=(1, 2), keepdims=True) if given.published else full
    return white


def _is_grey(image: Float64Array) -> bool:
    return len(image) == 1 or bool((image == image[:1]).all())


def _stripe(side: int, middle: float, wide: float, edge: float) -> Float64Array:
    """Return light along a side: 0 within a stripe, rising to 1 within its edges."""
    inner = np.abs(np.arange(side) - middle) - (wide / 2 - edge)
    out: Float64Array = (inner / edge).clip(0, 1)
    return out


FORMULAS: "Mapping[str, Callable[[Float64Array, Given], Float64Array]]" = MappingProxyType(
    {
        one.__name__: one
        for one in (
            *(us_shadow, us_reverberation),
            *(endo_highlights, endo_bubbles, endo_blood, endo_overexposure),
            *(oct_shadow, oct_blink, oct_motion, oct_speckle),
            *(slide_stain, slide_bubbles),
            *(skin_vignette, skin_reflection, skin_hair),
        )
    }
)
"""Kind -> formula."""
