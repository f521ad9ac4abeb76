"""Drawing primitives of the phantoms: float32 planar images (C, 224, 224) in [0, 1].

Anti-aliased shapes are drawn by OpenCV with sub-pixel positions on uint8 masks and composited in
float32. Points are (n, 2) arrays of x and y in pixels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.random import Generator

from medrobust.types import Float32Array, Float64Array, UInt8Array

SIZE = 224
_SHIFT = 4  # bits of sub-pixel position


def blank() -> UInt8Array:
    """Return an empty mask to draw into."""
    return np.zeros((SIZE, SIZE), np.uint8)


def _fixed_point(points: Float64Array) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.round(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)


def fill(mask: UInt8Array, points: Float64Array) -> UInt8Array:
    """Fill a closed outline in `mask`, in place."""
    cv2.fillPoly(mask, [_fixed_point(points)], 255, cv2.LINE_AA, _SHIFT)
    return mask


def stroke(mask: UInt8Array, points: Float64Array, thickness: int) -> UInt8Array:
    """Draw an open line in `mask`, in place."""
    cv2.polylines(mask, [_fixed_point(points)], False, 255, thickness, cv2.LINE_AA, _SHIFT)
    return mask


def dots(mask: UInt8Array, centers: Float64Array, radii: Float64Array) -> UInt8Array:
    """Draw filled discs in `mask`, in place."""
    for (x, y), radius in zip(_fixed_point(centers), _fixed_point(radii), strict=True):
        cv2.circle(mask, (int(x), int(y)), int(radius), 255, -1, cv2.LINE_AA, _SHIFT)
    return mask


def soften(mask: UInt8Array | Float32Array, sigma: float = 0.0) -> Float32Array:
    """Turn a uint8 mask into opacities 0..1 (floats stay), blurred by `sigma` pixels."""
    soft = mask.astype(np.float32)
    if mask.dtype == np.uint8:
        soft /= np.float32(255)
    if sigma > 0:
        soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), sigma))
    return soft


def paint(
    image: Float32Array, opacity: Float32Array, color: Sequence[float] | Float32Array | Float64Array
) -> None:
    """Blend `color` (one value a channel, or a planar image) over `image`, in place."""
    for plane, value in zip(image, color, strict=True):
        plane += opacity * (np.float32(value) - plane)


def mark(lesion: Float32Array | None, opacity: Float32Array) -> None:
    """Note how much of each pixel a lesion covers, in place: float32 (224, 224), 0 to 1."""
    if lesion is not None:
        np.maximum(lesion, opacity, out=lesion)


def ring(count: int) -> Float64Array:
    """Return `count` angles around the circle."""
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def outline(
    rng: Generator,
    center: tuple[float, float],
    radii: tuple[float, float],
    *,
    angle: float = 0.0,
    roughness: float = 0.05,
    terms: int = 4,
) -> Float64Array:
    """Return an ellipse whose radius is disturbed by `terms` random Fourier terms."""
    theta = ring(72)
    orders = np.arange(2, 2 + terms)
    amplitude = roughness * rng.standard_normal(terms) / np.sqrt(orders)
    phase = rng.uniform(0, 2 * np.pi, terms)
    radius = 1 + (amplitude[:, None] * np.cos(orders[:, None] * theta + phase[:, None])).sum(0)
    x, y = radii[0] * radius * np.cos(theta), radii[1] * radius * np.sin(theta)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([center[0] + cos * x - sin * y, center[1] + sin * x + cos * y], axis=1)


def walk(
    rng: Generator,
    start: tuple[float, float],
    heading: float,
    steps: int,
    *,
    stride: float,
    wiggle: float,
    bend: float = 0.0,
) -> Float64Array:
    """Return a random walk: the heading changes by `bend` and a random `wiggle` a step."""
    headings = heading + np.cumsum(bend + wiggle * rng.standard_normal(steps))
    path = np.stack([np.cos(headings), np.sin(headings)], axis=1).cumsum(axis=0) * stride
    moved: Float64Array = np.concatenate([np.zeros((1, 2)), path]) + np.asarray(start)
    return moved


def field(rng: Generator, grid: int) -> Float32Array:
    """Return a smooth random field (224, 224), about standard normal at the grid's knots."""
    knots = rng.standard_normal((grid, grid)).astype(np.float32)
    smooth: Float32Array = cv2.resize(knots, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return smooth


def grain(rng: Generator, sigma: float) -> Float32Array:
    """Return Gaussian noise blurred by `sigma` pixels and scaled back to unit variance."""
    drawn = rng.standard_normal((SIZE, SIZE), np.float32)
    noise: Float32Array = cv2.GaussianBlur(drawn, (0, 0), sigma)
    return noise / np.float32(noise.std())


def coordinates() -> tuple[Float32Array, Float32Array]:
    """Return x (1, 224) and y (224, 1) in pixels, to broadcast."""
    line = np.arange(SIZE, dtype=np.float32)
    return line[None, :], line[:, None]


def move(
    image: Float32Array, angle: float, scale: float, shift: tuple[float, float], *, mirror: bool
) -> Float32Array:
    """Rotate by `angle` degrees, scale and shift about the center; beyond the edges mirror or 0."""
    center = ((SIZE - 1) / 2, (SIZE - 1) / 2)
    matrix = cv2.getRotationMatrix2D(center, angle, scale)
    matrix[:, 2] += shift
    border = cv2.BORDER_REFLECT if mirror else cv2.BORDER_CONSTANT
    planes = [
        cv2.warpAffine(plane, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border)
        for plane in image
    ]
    return np.stack(planes)


@contextmanager
def single_threaded_cv2() -> Iterator[None]:
    """Let OpenCV draw on the calling thread: its own pool is slower on images this small."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
