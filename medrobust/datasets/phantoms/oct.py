"""Retinal OCT phantoms: layers of one depth profile between two boundary curves."""

import numpy as np
from numpy.random import Generator

from medrobust.types import Float32Array, Float64Array, UInt8Array

from .draw import (
    SIZE,
    blank,
    coordinates,
    fill,
    grain,
    mark,
    outline,
    paint,
    soften,
)

CLASSES = ("normal macula", "drusen", "cystoid fluid", "neovascular membrane")
_PROFILE = np.array(
    [0.10, 0.80, 0.72, 0.46, 0.50, 0.30, 0.48, 0.34, 0.22, 0.20, 0.60, 0.36, 0.95, 0.92, 0.55]
)
"""Brightness from the inner limiting membrane to the pigment epithelium, at equal steps."""


def draw(rng: Generator, kind: str, lesion: Float32Array | None = None) -> Float32Array:
    """Draw one image (1, 224, 224) of the class `kind`.

    Args:
        rng: Draws everything.
        kind: One of `CLASSES`.
        lesion: (224, 224), set to how much of each pixel a lesion covers: cysts, or what lies
            between the raised pigment epithelium and where it would lie, and fluid above that.
    """
    x = np.arange(SIZE, dtype=np.float32)
    tilt = rng.uniform(-18, 18)
    line = 138 + rng.uniform(-12, 12) + tilt * (x / SIZE - 0.5) + 6 * ((x / SIZE - 0.5) * 2) ** 2
    thickness = np.full(SIZE, rng.uniform(58, 70), np.float32)
    fovea = SIZE / 2 + rng.uniform(-14, 14)
    pit = np.exp(-(((x - fovea) / rng.uniform(22, 30)) ** 2))
    thickness -= rng.uniform(16, 26) * pit
    lift = np.zeros(SIZE, np.float32)
    if rng.random() < 0.5:
        lift += _bump(x, rng.uniform(20, 204), rng.uniform(1, 2.5), rng.uniform(4, 8))
    usual = lift
    cysts = None
    if kind == "drusen":
        for place in rng.uniform(24, 200, int(rng.integers(4, 10))):
            lift = np.maximum(lift, _bump(x, place, rng.uniform(5.5, 11.5), rng.uniform(5, 10)))
    elif kind == "neovascular membrane":
        lift = np.maximum(
            lift, _bump(x, fovea + rng.uniform(-30, 30), rng.uniform(16, 27), rng.uniform(24, 42))
        )
    elif kind == "cystoid fluid":
        thickness += rng.uniform(10, 24) * np.exp(-(((x - fovea) / 45) ** 2))
        cysts = _cysts(rng, fovea, line, thickness)
    top = line - thickness - 0.75 * lift
    image = _layers(rng, top, line, lift)
    if kind == "neovascular membrane" and rng.random() < 0.6:
        mark(lesion, _gap(image, rng, line - lift, lift))
    if cysts is not None:
        inside = soften(cysts, 0.8)
        paint(image, inside * np.float32(0.9), (0.06,))
        mark(lesion, inside)
    mark(lesion, _raised(line, lift, usual))
    image *= 1 + np.float32(0.22) * grain(rng, 0.8)
    image += np.float32(0.02) * np.abs(grain(rng, 0.6))
    return image


def _raised(line: Float64Array, lift: Float32Array, usual: Float32Array) -> Float32Array:
    """Return what a lesion has raised: all that lies where it lifts by more than two pixels."""
    _, y = coordinates()
    inside = (y >= line - lift) & (y < line) & (lift - usual > 2)
    return inside.astype(np.float32)


def _bump(x: Float32Array, place: float, height: float, half: float) -> Float32Array:
    bump: Float32Array = np.float32(height) * np.exp(-(((x - place) / np.float32(half)) ** 2))
    return bump


def _layers(
    rng: Generator, top: Float64Array, line: Float64Array, lift: Float32Array
) -> Float32Array:
    """Look the profile up by relative depth between `top` and the lifted `line`."""
    _, y = coordinates()
    raised = line - lift
    depth = (y - top) / (raised - top)
    levels = _PROFILE * rng.uniform(0.9, 1.1, _PROFILE.size)
    retina = np.interp(depth, np.linspace(0, 1, levels.size), levels)
    below = y - line
    choroid = 0.42 * np.exp(-np.clip(below, 0, None) / rng.uniform(22, 34))
    raised_by = np.clip((y - raised) / 3, 0, 1) * np.clip((line - y) / 3, 0, 1)
    image = np.where(depth < 0, 0.06, np.where(depth <= 1, retina, choroid))
    image = np.where(depth > 1, image + raised_by * 0.2, image).astype(np.float32)
    image = np.asarray(soften(image, 0.7))
    texture = np.float32(0.12) * grain(rng, 3) * (depth > 1)
    seen: Float32Array = np.clip(image * (1 + texture), 0, 1)[None].astype(np.float32)
    return seen


def _cysts(rng: Generator, fovea: float, line: Float64Array, thickness: Float32Array) -> UInt8Array:
    mask = blank()
    for _ in range(int(rng.integers(3, 9))):
        place = float(np.clip(fovea + rng.uniform(-48, 48), 12, 212))
        column = int(place)
        depth = line[column] - thickness[column] * rng.uniform(0.38, 0.72)
        a, b = rng.uniform(5, 13), rng.uniform(4.5, 11)
        fill(mask, outline(rng, (place, float(depth)), (a, b), roughness=0.06))
    return mask


def _gap(
    image: Float32Array, rng: Generator, raised: Float64Array, lift: Float32Array
) -> Float32Array:
    _, y = coordinates()
    height = lift * np.float32(rng.uniform(0.25, 0.45))
    inside = np.clip((y - (raised - 9 - height)) / 2, 0, 1) * np.clip((raised - 9 - y) / 2, 0, 1)
    opacity = inside.astype(np.float32) * (lift > 3)
    paint(image, opacity, (0.08,))
    return opacity
