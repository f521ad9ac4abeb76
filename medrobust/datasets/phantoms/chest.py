"""Chest radiograph phantoms: lungs, ribs, diaphragm and heart."""

import numpy as np
from numpy.random import Generator

from medrobust.types import Float32Array, UInt8Array

from .draw import (
    SIZE,
    blank,
    coordinates,
    field,
    fill,
    grain,
    mark,
    outline,
    paint,
    soften,
    stroke,
)

CLASSES = ("normal lungs", "lobar opacity", "pleural effusion", "enlarged heart")
_MIDDLE = SIZE / 2


def draw(rng: Generator, kind: str, lesion: Float32Array | None = None) -> Float32Array:
    """Draw one image (1, 224, 224) of the class `kind`.

    Args:
        rng: Draws everything.
        kind: One of `CLASSES`.
        lesion: (224, 224), set to how much of each pixel a lesion covers; an enlarged heart is
            none.
    """
    image = np.full((1, SIZE, SIZE), 0.08, np.float32)
    half = rng.uniform(72, 82)  # of the thorax's inner width
    body = fill(blank(), outline(rng, (_MIDDLE, 132), (half + 24, 140), roughness=0.02))
    paint(image, soften(body, 4), (0.62,))
    base = {side: rng.uniform(168, 184) for side in (-1, 1)}
    lungs = {side: _lung(rng, side, half, base[side]) for side in (-1, 1)}
    opacity = soften(np.maximum(lungs[-1], lungs[1]), 2.5)
    paint(image, opacity * np.float32(0.85), (rng.uniform(0.2, 0.28),))
    _markings(image, rng, opacity)
    _bones(image, rng, half)
    ratio = rng.uniform(0.60, 0.72) if kind == "enlarged heart" else rng.uniform(0.38, 0.47)
    _heart(image, rng, ratio * half, min(base.values()))
    if kind == "lobar opacity":
        mark(lesion, _opacity(image, rng, lungs, half))
    elif kind == "pleural effusion":
        mark(lesion, _effusion(image, rng, body, base, half))
    return image


def _lung(rng: Generator, side: int, half: float, base: float) -> UInt8Array:
    top, inner = rng.uniform(26, 36), rng.uniform(13, 17)
    height = np.linspace(0, 1, 24)
    y = top + (base - top) * height
    lateral = half * (0.35 + 0.65 * np.sqrt(np.clip(np.sin(np.pi * (0.06 + 0.5 * height)), 0, 1)))
    lateral *= 1 + 0.02 * rng.standard_normal()
    edge = np.stack([_MIDDLE + side * lateral, y + 14 * height**4], axis=1)
    dome_x = np.linspace(lateral[-1], inner, 12)
    dome_y = base + 14 - 20 * np.sin(np.pi * (1 - np.linspace(0, 1, 12)) * 0.9 + 0.3)
    dome = np.stack([_MIDDLE + side * dome_x, np.minimum(dome_y, base + 14)], axis=1)
    inside = np.stack(
        [np.full(8, _MIDDLE + side * inner), np.linspace(base - 6, top + 8, 8)], axis=1
    )
    return fill(blank(), np.concatenate([edge, dome, inside]))


def _markings(image: Float32Array, rng: Generator, lungs: Float32Array) -> None:
    mask = blank()
    for side in (-1, 1):
        hilum = np.array([_MIDDLE + side * 22, 100 + rng.uniform(-6, 6)])
        for turn in np.linspace(-1.25, 1.25, 7) + 0.1 * rng.standard_normal(7):
            reach = rng.uniform(25, 48)
            step = np.linspace(0, 1, 8)[:, None]
            along = np.array([side * np.cos(turn), np.sin(turn)]) * reach
            stroke(mask, hilum + step * along + 1.2 * rng.standard_normal((8, 2)), 1)
    paint(image, soften(mask, 0.8) * lungs * np.float32(0.35), (0.6,))
    image += np.float32(0.02) * lungs * grain(rng, 2.5) + np.float32(0.015) * field(rng, 7)


def _bones(image: Float32Array, rng: Generator, half: float) -> None:
    mask = blank()
    spacing, start = rng.uniform(17, 20), rng.uniform(34, 44)
    across = np.linspace(0, 1, 16)
    for number in range(8):
        for side in (-1, 1):
            x = _MIDDLE + side * (10 + (half - 4) * across)
            y = start + number * spacing + 26 * across**2 - 12 * across
            stroke(mask, np.stack([x, y], axis=1), 4)
    for side in (-1, 1):
        clavicle = [[_MIDDLE + side * 12, 40], [_MIDDLE + side * 50, 30], [_MIDDLE + side * 88, 34]]
        stroke(mask, np.array(clavicle) + rng.uniform(-3, 3, 2), 6)
    paint(image, soften(mask, 1.3) * np.float32(rng.uniform(0.14, 0.22)), (0.9,))
    spine = fill(blank(), np.array([[101, 0], [123, 0], [125, 224], [99, 224]], np.float64))
    paint(image, soften(spine, 3) * np.float32(0.45), (0.85,))


def _heart(image: Float32Array, rng: Generator, half_width: float, base: float) -> None:
    left, height = _MIDDLE + 0.28 * half_width, rng.uniform(36, 44) * (half_width / 60) ** 0.4
    shape = outline(
        rng, (left, base - 0.62 * height), (half_width, height), angle=0.35, roughness=0.03
    )
    paint(image, soften(fill(blank(), shape), 2) * np.float32(0.85), (0.74,))
    arch = fill(blank(), outline(rng, (_MIDDLE + 9, 76), (15, 24), roughness=0.03))
    paint(image, soften(arch, 2.5) * np.float32(0.6), (0.7,))


def _opacity(
    image: Float32Array,
    rng: Generator,
    lungs: dict[int, UInt8Array],
    half: float,
) -> Float32Array:
    side = int(rng.choice((-1, 1)))
    place = (_MIDDLE + side * half * rng.uniform(0.52, 0.66), rng.choice((62.0, 98.0, 136.0)))
    place = (place[0], place[1] + rng.uniform(-8, 8))
    radius = rng.uniform(18, 30)
    shape = outline(rng, place, (radius, radius * rng.uniform(0.8, 1.2)), roughness=0.16, terms=6)
    texture = np.clip(0.8 + 0.18 * grain(rng, 4), 0.3, 1)
    inside = soften(lungs[side], 1.5)
    opacity = soften(fill(blank(), shape), 4) * inside
    paint(image, opacity * texture * np.float32(0.8), (0.68,))
    return opacity


def _effusion(
    image: Float32Array,
    rng: Generator,
    body: UInt8Array,
    base: dict[int, float],
    half: float,
) -> Float32Array:
    covered = np.zeros((SIZE, SIZE), np.float32)
    x, y = coordinates()
    both = rng.random() < 0.25
    first = int(rng.choice((-1, 1)))
    for side in (-1, 1) if both else (first,):
        depth = rng.uniform(24, 62)
        lateral = np.clip(side * (x - _MIDDLE) / np.float32(half), 0, 1)
        surface = base[side] + 10 - depth * (0.55 + 0.75 * lateral**3)
        below = np.clip((y - surface) / 5, 0, 1) * np.clip((side * (x - _MIDDLE) - 12) / 4, 0, 1)
        level = rng.uniform(0.66, 0.72)
        opacity = soften(body, 4) * below.astype(np.float32)
        paint(image, opacity * np.float32(0.9), (level,))
        mark(covered, opacity)
    return covered
