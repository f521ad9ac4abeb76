"""Blood cell microscopy phantoms: one white cell among red ones, told apart by its nucleus."""

import numpy as np
from numpy.random import Generator

from medrobust.types import Float32Array, Float64Array, UInt8Array

from .draw import (
    SIZE,
    blank,
    dots,
    field,
    fill,
    grain,
    outline,
    paint,
    soften,
    stroke,
)

CLASSES = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")


def draw(rng: Generator, kind: str) -> Float32Array:
    """Draw one image (3, 224, 224) of the class `kind`."""
    image = np.empty((3, SIZE, SIZE), np.float32)
    image[:] = np.array([0.92, 0.87, 0.86], np.float32)[:, None, None]
    image += np.float32(0.02) * field(rng, 5)
    _red_cells(image, rng)
    low, high = {"lymphocyte": (40, 56), "monocyte": (50, 66)}.get(kind, (44, 62))
    radius = rng.uniform(low, high)
    center = tuple(SIZE / 2 + rng.uniform(-7, 7, 2))
    cell = outline(rng, center, (radius, radius * rng.uniform(0.9, 1.1)), roughness=0.04)
    body = soften(fill(blank(), cell), 0.8)
    paint(image, body, rng.uniform((0.74, 0.66, 0.76), (0.84, 0.76, 0.86)))
    image += np.float32(0.015) * body * grain(rng, 2.0)
    if kind == "eosinophil":
        _granules(image, rng, center, radius, (90, 130), (1.6, 2.6), (0.86, 0.42, 0.36), 0.9)
    nucleus = _nucleus(rng, kind, np.array(center), radius)
    opacity = soften(nucleus, 0.7) * body
    paint(image, opacity * np.float32(0.93), rng.uniform((0.36, 0.20, 0.48), (0.46, 0.30, 0.58)))
    image += np.float32(0.035) * opacity * grain(rng, 1.6)
    if kind == "neutrophil":
        _granules(image, rng, center, radius, (50, 70), (0.7, 1.1), (0.66, 0.46, 0.62), 0.6)
    if kind == "basophil":
        _granules(image, rng, center, radius, (60, 90), (1.9, 3.3), (0.26, 0.13, 0.40), 0.9)
    if kind == "monocyte" and rng.random() < 0.6:
        _granules(image, rng, center, radius, (2, 5), (2.0, 3.5), (0.90, 0.86, 0.90), 0.7)
    return image


def _red_cells(image: Float32Array, rng: Generator) -> None:
    for _ in range(int(rng.integers(5, 12))):
        turn, distance, radius = rng.uniform((0, 78, 17), (2 * np.pi, 130, 24))
        center = (
            SIZE / 2 + distance * float(np.cos(turn)),
            SIZE / 2 + distance * float(np.sin(turn)),
        )
        disc = fill(
            blank(), outline(rng, center, (radius, radius * rng.uniform(0.85, 1)), angle=turn)
        )
        paint(image, soften(disc, 0.8) * np.float32(0.8), (0.87, 0.60, 0.58))
        pale = dots(blank(), np.array([center]), np.array([radius * 0.45]))
        paint(image, soften(pale, radius * 0.18) * np.float32(0.5), (0.93, 0.78, 0.76))


def _granules(
    image: Float32Array,
    rng: Generator,
    center: tuple[float, ...],
    radius: float,
    count: tuple[int, int],
    size: tuple[float, float],
    color: tuple[float, float, float],
    opacity: float,
) -> None:
    number = int(rng.integers(count[0], count[1] + 1))
    distance = radius * 0.9 * np.sqrt(rng.random(number))
    turn = rng.uniform(0, 2 * np.pi, number)
    places = np.stack([np.cos(turn), np.sin(turn)], axis=1) * distance[:, None] + np.array(center)
    mask = dots(blank(), places, rng.uniform(*size, number))
    paint(image, soften(mask) * np.float32(opacity), color)


def _directions(angles: Float64Array) -> Float64Array:
    around: Float64Array = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return around


def _nucleus(rng: Generator, kind: str, center: Float64Array, radius: float) -> UInt8Array:
    mask = blank()
    turn = rng.uniform(0, 2 * np.pi)
    if kind == "lymphocyte":
        size = radius * rng.uniform(0.68, 0.84)
        place = center + rng.uniform(-0.1, 0.1, 2) * radius
        return fill(mask, outline(rng, tuple(place), (size, size * rng.uniform(0.92, 1.08))))
    if kind == "monocyte":
        span = np.deg2rad(rng.uniform(110, 195))
        angles = turn + np.linspace(-span / 2, span / 2, 24)
        path = center + radius * 0.42 * _directions(angles)
        return stroke(mask, path, round(radius * rng.uniform(0.5, 0.64)))
    lobes, spread, reach, step = {
        "neutrophil": (int(rng.integers(3, 6)), (0.24, 0.31), 0.46, rng.uniform(1.05, 1.25)),
        "eosinophil": (2, (0.36, 0.43), 0.44, rng.uniform(2.2, 3.0)),
        "basophil": (int(rng.integers(2, 4)), (0.34, 0.42), 0.36, rng.uniform(1.6, 2.1)),
    }[kind]
    turns: Float64Array = turn + step * np.arange(lobes, dtype=np.float64)
    reaches = radius * reach * rng.uniform(0.88, 1.12, lobes)
    centers = center + reaches[:, None] * _directions(turns)
    for lobe in centers:
        a, b = radius * rng.uniform(spread[0], spread[1], 2)
        fill(mask, outline(rng, tuple(lobe), (a, b), angle=rng.uniform(0, np.pi), roughness=0.07))
    return stroke(mask, centers, int(rng.integers(3, 6)))
