"""Breast ultrasound phantoms: speckled layers with or without a mass."""

import numpy as np
from numpy.random import Generator

from medrobust.types import Float32Array, Float64Array

from .draw import (
    SIZE,
    blank,
    coordinates,
    field,
    fill,
    grain,
    mark,
    outline,
    ring,
    soften,
    stroke,
)

CLASSES = ("normal breast tissue", "benign mass", "malignant mass")


def draw(rng: Generator, kind: str, lesion: Float32Array | None = None) -> Float32Array:
    """Draw one image (1, 224, 224) of the class `kind`.

    Args:
        rng: Draws everything.
        kind: One of `CLASSES`.
        lesion: (224, 224), set to how much of each pixel a mass covers, without its shadow.
    """
    echo = _tissue(rng)
    for _ in range(int(rng.integers(0, 3))):
        place = (rng.uniform(20, 204), rng.uniform(50, 110))
        lobule = outline(rng, place, (rng.uniform(12, 24), rng.uniform(5, 9)), roughness=0.1)
        echo *= 1 - np.float32(0.45) * soften(fill(blank(), lobule), 2.5)
    if rng.random() < 0.35:
        _beam(echo, rng.uniform(20, 204), rng.uniform(30, 90), rng.uniform(5, 12), 0.6)
    if kind != "normal breast tissue":
        mark(lesion, _mass(echo, rng, kind))
    real, imaginary = grain(rng, 1.1), grain(rng, 1.1)
    speckle = np.sqrt((real**2 + imaginary**2) / 2)
    compressed = np.log1p(30 * np.clip(echo, 0, None) * speckle) / np.log(31.0)
    image: Float32Array = np.clip(compressed, 0, 1.2)[None].astype(np.float32)
    return image


def _tissue(rng: Generator) -> Float32Array:
    x, y = coordinates()
    wave = 5 * np.sin(x / rng.uniform(30, 60) + rng.uniform(0, 6))
    skin, fat, gland = 14, rng.uniform(48, 66), rng.uniform(160, 182)
    steps = [
        (skin, 0.9),
        (fat, 0.22),
        (gland, 0.42),
        (gland + 9, 0.75),
        (SIZE + 40, 0.25),
    ]
    depth = y + wave * (y > skin + 6)
    echo = np.full((SIZE, SIZE), steps[0][1], np.float32)
    levels = [level for _, level in steps]
    for edge, before, after in zip([s[0] for s in steps], levels, levels[1:], strict=False):
        echo += np.clip((depth - edge) / 4, 0, 1).astype(np.float32) * np.float32(after - before)
    echo *= 1 + np.float32(0.2) * field(rng, 8)
    mask = blank()
    for _ in range(int(rng.integers(4, 9))):
        start = np.array([rng.uniform(0, 160), rng.uniform(30, gland)])
        along = np.linspace(0, 1, 10)[:, None] * np.array(
            [rng.uniform(40, 90), rng.uniform(-12, 12)]
        )
        stroke(mask, start + along + rng.uniform(-1.5, 1.5, (10, 2)), 2)
    echo += np.float32(0.25) * soften(mask, 1.2)
    echo *= np.exp(-y / np.float32(rng.uniform(260, 400)))
    return np.clip(echo, 0.01, None)


def _beam(echo: Float32Array, x0: float, top: float, half: float, factor: float) -> None:
    """Multiply a vertical stripe below `top` by `factor`, with soft edges, in place."""
    x, y = coordinates()
    stripe = np.exp(-(((x - x0) / np.float32(half)) ** 4)) * np.clip((y - top) / 10, 0, 1)
    echo *= (1 + np.float32(factor - 1) * stripe).astype(np.float32)


def _mass(echo: Float32Array, rng: Generator, kind: str) -> Float32Array:
    center = (SIZE / 2 + rng.uniform(-38, 38), rng.uniform(88, 122))
    half = rng.uniform(20, 34)
    if kind == "benign mass":
        ratio, change = rng.uniform(0.55, 0.85), 1.6
        shape = outline(
            rng, center, (half, half * ratio), angle=rng.uniform(-0.15, 0.15), roughness=0.02
        )
    else:
        ratio, change = rng.uniform(0.9, 1.25), 0.35
        half *= 0.85
        shape = _spiked(rng, center, half, ratio)
    if rng.random() < 0.7:
        _beam(echo, center[0], center[1] + half * ratio * 0.7, half * 0.85, change)
    mask = fill(blank(), shape)
    inside = soften(mask, 0.8 if kind == "benign mass" else 1.6)
    echo *= 1 - np.float32(rng.uniform(0.78, 0.88)) * inside
    if kind == "benign mass":
        rim = stroke(blank(), np.concatenate([shape, shape[:1]]), 1)
        echo += np.float32(0.22) * soften(rim, 0.7)
    return inside


def _spiked(rng: Generator, center: tuple[float, float], half: float, ratio: float) -> Float64Array:
    theta = ring(180)
    radius = np.full(theta.size, 0.8)
    for turn in ring(int(rng.integers(9, 16))) + rng.uniform(-0.2, 0.2):
        gap = np.angle(np.exp(1j * (theta - turn - rng.uniform(-0.15, 0.15))))
        radius += rng.uniform(0.15, 0.6) * np.exp(-((gap / rng.uniform(0.07, 0.14)) ** 2))
    radius += 0.05 * np.cos(2 * theta + rng.uniform(0, 6))
    return np.stack(
        [
            center[0] + half * radius * np.cos(theta),
            center[1] + half * ratio * radius * np.sin(theta),
        ],
        axis=1,
    )
