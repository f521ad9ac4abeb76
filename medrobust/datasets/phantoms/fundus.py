"""Fundus phantoms: disc, macula and vessels, told apart by the lesions on them."""

import numpy as np
from numpy.random import Generator

from medrobust.types import Float32Array, Float64Array

from .draw import (
    SIZE,
    blank,
    coordinates,
    dots,
    field,
    fill,
    grain,
    mark,
    outline,
    paint,
    soften,
    stroke,
    walk,
)

CLASSES = ("healthy retina", "hard exudates", "retinal hemorrhages", "neovascularization")
RADIUS = 102.0
"""Of the field of view, in pixels; outside it the image is black."""


def view() -> Float32Array:
    """Return the opacity (224, 224) of the circular field of view."""
    center = (SIZE - 1) / 2
    x, y = coordinates()
    distance = np.sqrt((x - center) ** 2 + (y - center) ** 2)
    return np.clip(RADIUS - distance, 0, 1).astype(np.float32)


def draw(rng: Generator, kind: str, lesion: Float32Array | None = None) -> Float32Array:
    """Draw one image (3, 224, 224) of the class `kind`; black outside the field of view.

    Args:
        rng: Draws everything.
        kind: One of `CLASSES`.
        lesion: (224, 224), set to how much of each pixel a lesion covers.
    """
    side = 1.0 if rng.random() < 0.5 else -1.0
    middle = SIZE / 2
    disc = np.array([middle + side * rng.uniform(44, 56), middle + rng.uniform(-9, 9)])
    macula = np.array([disc[0] - side * rng.uniform(72, 84), disc[1] + rng.uniform(0, 10)])
    image = _background(rng, disc, macula)
    _vessels(image, rng, disc, side)
    _distractors(image, rng)
    if kind == "hard exudates":
        mark(lesion, _exudates(image, rng, macula))
    elif kind == "retinal hemorrhages":
        mark(lesion, _hemorrhages(image, rng))
    elif kind == "neovascularization":
        mark(lesion, _new_vessels(image, rng, disc))
    return image


def _background(rng: Generator, disc: Float64Array, macula: Float64Array) -> Float32Array:
    image = np.empty((3, SIZE, SIZE), np.float32)
    image[:] = np.array([0.72, 0.37, 0.17], np.float32)[:, None, None]
    x, y = coordinates()
    falloff = ((x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2) / np.float32(RADIUS**2)
    image *= 1 - np.float32(rng.uniform(0.2, 0.35)) * falloff
    image *= 1 + np.float32(0.04) * field(rng, 6) + np.float32(0.02) * grain(rng, 1.5)
    spot = dots(blank(), macula[None], rng.uniform(13, 18, 1))
    paint(image, soften(spot, 7) * np.float32(rng.uniform(0.4, 0.6)), (0.42, 0.16, 0.07))
    radius = rng.uniform(13, 17)
    rim = fill(blank(), outline(rng, tuple(disc), (radius * 0.9, radius), roughness=0.03))
    paint(image, soften(rim, 1.2) * np.float32(0.9), (0.95, 0.76, 0.46))
    cup = dots(blank(), disc[None], np.array([radius * rng.uniform(0.35, 0.55)]))
    paint(image, soften(cup, 1.5) * np.float32(0.7), (0.98, 0.90, 0.68))
    return image


def _vessels(image: Float32Array, rng: Generator, disc: Float64Array, side: float) -> None:
    wide, thin = blank(), blank()
    for vertical in (-1.0, 1.0):
        for temporal in (True, False):
            across = -side if temporal else side
            start = np.arctan2(vertical, across * (0.35 if temporal else 0.7))
            bend = across * vertical * -0.035 if temporal else 0.0
            path = walk(
                rng,
                tuple(disc),
                start,
                34,
                stride=4.2,
                wiggle=0.07,
                bend=bend * rng.uniform(0.8, 1.3),
            )
            stroke(wide, path[:20], 3)
            stroke(wide, path[19:], 2)
            for at in rng.integers(4, 30, 4):
                heading = start + rng.choice((-1, 1)) * rng.uniform(0.4, 0.9)
                branch = walk(rng, tuple(path[at]), heading, 16, stride=3.5, wiggle=0.12)
                stroke(thin, branch, 1)
    paint(image, soften(wide, 0.6) * np.float32(0.65), (0.45, 0.10, 0.08))
    paint(image, soften(thin, 0.5) * np.float32(0.55), (0.48, 0.13, 0.09))


def _places(rng: Generator, count: int, reach: float = 0.85) -> Float64Array:
    turn = rng.uniform(0, 2 * np.pi, count)
    distance = RADIUS * reach * np.sqrt(rng.uniform(0.02, 1, count))
    around: Float64Array = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return SIZE / 2 + distance[:, None] * around


def _distractors(image: Float32Array, rng: Generator) -> None:
    bright, dark = int(rng.integers(0, 3)), int(rng.integers(0, 2))
    spots = dots(blank(), _places(rng, bright), rng.uniform(0.8, 1.4, bright))
    paint(image, soften(spots, 0.4) * np.float32(0.7), (0.93, 0.78, 0.42))
    spots = dots(blank(), _places(rng, dark), rng.uniform(1.0, 1.8, dark))
    paint(image, soften(spots, 0.5) * np.float32(0.7), (0.36, 0.07, 0.05))


def _exudates(image: Float32Array, rng: Generator, macula: Float64Array) -> Float32Array:
    mask = blank()
    for _ in range(int(rng.integers(2, 5))):
        near = rng.random() < 0.4
        middle = macula + rng.uniform(-18, 18, 2) if near else _places(rng, 1, 0.75)[0]
        count = int(rng.integers(8, 18))
        places = middle + rng.standard_normal((count, 2)) * rng.uniform(7, 12)
        dots(mask, places, rng.uniform(1.3, 3.6, count))
    opacity = soften(mask, 0.5)
    paint(image, opacity * np.float32(0.9), (0.96, 0.86, 0.48))
    return opacity


def _hemorrhages(image: Float32Array, rng: Generator) -> Float32Array:
    mask = blank()
    for place in _places(rng, int(rng.integers(8, 19))):
        a, b = rng.uniform(2.4, 7.8, 2)
        fill(mask, outline(rng, tuple(place), (a, b), angle=rng.uniform(0, np.pi), roughness=0.18))
    opacity = soften(mask, 0.8)
    paint(image, opacity * np.float32(0.85), (0.34, 0.06, 0.05))
    return opacity


def _new_vessels(image: Float32Array, rng: Generator, disc: Float64Array) -> Float32Array:
    mask = blank()
    for _ in range(int(rng.integers(1, 3))):
        near = rng.random() < 0.5
        middle = disc + rng.uniform(-10, 10, 2) if near else _places(rng, 1, 0.65)[0]
        for _ in range(int(rng.integers(16, 28))):
            start = middle + rng.standard_normal(2) * 4
            path = walk(rng, tuple(start), rng.uniform(0, 2 * np.pi), 18, stride=2.2, wiggle=0.55)
            stroke(mask, path, 1)
    opacity = soften(mask, 0.35)
    paint(image, opacity * np.float32(0.85), (0.40, 0.06, 0.06))
    return opacity
