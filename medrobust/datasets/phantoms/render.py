"""From a drawn phantom to the stored picture: pose, illumination, scanner, and no shortcuts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.random import Generator

from medrobust.types import Float32Array, UInt8Array

from . import blood as phantom_blood
from . import chest as phantom_chest
from . import fundus as phantom_fundus
from . import oct as phantom_oct
from . import ultrasound as phantom_ultrasound
from .draw import SIZE, coordinates, move

Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Family:
    """One modality-like family.

    Attributes:
        name: Key in ids ("blood").
        modality: Words for prompts.
        classes: In label order within the family.
        draw: (generator, class) -> float32 planar image (C, 224, 224); of a family with lesions
            also (generator, class, lesion), which is set to what they cover.
        mean: Typical mean of each stored channel, on the scale of [0, 1].
        std: Typical standard deviation of each stored channel.
        rotation: Largest rotation in degrees.
        flips: Whether left and right may be exchanged.
        mixed: Whether the images of one patient show different classes.
        normal: Class without any lesion; empty where there is none.
        lesions: Classes that differ from it by lesions whose place is known.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    draw: Callable[..., Float32Array]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rotation: float
    flips: bool
    mixed: bool = False
    normal: str = ""
    lesions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """What a hospital's stain and scanner do to all its images.

    Attributes:
        code: Part of every seed.
        tint: Added to the mean of red, green and blue (RGB families).
        brightness: Added to the mean of all channels.
        contrast: Factor on the typical standard deviation.
        gamma: Range of the exponent, on a logarithmic scale.
        blur: Range of the sigma of the blur in pixels.
        blurred: Share of images that are blurred.
        noise: Range of the standard deviation of the sensor noise, on the scale of [0, 1].
    """

    code: int
    tint: tuple[float, float, float]
    brightness: float
    contrast: float
    gamma: Range
    blur: Range
    blurred: float
    noise: Range


SITES = {
    "a": Site(0, (0.0, 0.0, 0.0), 0.0, 1.0, (0.8, 1.25), (0.3, 0.9), 0.5, (0.005, 0.03)),
    "b": Site(1, (-0.07, 0.04, 0.09), 0.06, 0.62, (1.1, 1.6), (0.9, 1.5), 1.0, (0.04, 0.07)),
    "c": Site(2, (0.08, -0.03, -0.06), -0.08, 1.25, (0.6, 0.9), (0.5, 1.2), 0.8, (0.02, 0.05)),
    "d": Site(3, (0.02, 0.06, -0.05), 0.1, 0.8, (0.7, 1.1), (1.0, 2.0), 0.7, (0.01, 0.04)),
}

FAMILIES = (
    Family(
        "blood",
        "blood cell microscopy",
        phantom_blood.CLASSES,
        phantom_blood.draw,
        (0.78, 0.66, 0.72),
        (0.15, 0.17, 0.12),
        180,
        True,
        mixed=True,
    ),
    Family(
        "fundus",
        "fundus photography",
        phantom_fundus.CLASSES,
        phantom_fundus.draw,
        (0.60, 0.31, 0.16),
        (0.11, 0.09, 0.06),
        10,
        False,
        normal="healthy retina",
        lesions=("hard exudates", "retinal hemorrhages", "neovascularization"),
    ),
    Family(
        "chest",
        "chest x-ray",
        phantom_chest.CLASSES,
        phantom_chest.draw,
        (0.48,),
        (0.20,),
        5,
        False,
        normal="normal lungs",
        lesions=("lobar opacity", "pleural effusion"),
    ),
    Family(
        "oct",
        "retinal oct",
        phantom_oct.CLASSES,
        phantom_oct.draw,
        (0.24,),
        (0.18,),
        0,
        True,
        normal="normal macula",
        lesions=("drusen", "cystoid fluid", "neovascular membrane"),
    ),
    Family(
        "ultrasound",
        "breast ultrasound",
        phantom_ultrasound.CLASSES,
        phantom_ultrasound.draw,
        (0.42,),
        (0.17,),
        4,
        True,
        normal="normal breast tissue",
        lesions=("benign mass", "malignant mass"),
    ),
)


@dataclass(frozen=True, slots=True)
class Habitus:
    """What all images of one patient share: size, staining and exposure.

    Attributes:
        scale: Of the anatomy.
        brightness: Added to the mean of the image.
        contrast: Factor on the standard deviation.
        gamma: Position 0..1 within the range of the site.
        stain: Added to the mean of each channel.
    """

    scale: float
    brightness: float
    contrast: float
    gamma: float
    stain: tuple[float, ...]


def habitus(rng: Generator) -> Habitus:
    """Draw a patient."""
    scale, brightness, contrast, gamma = rng.uniform((0.94, -0.06, 0.8, 0), (1.06, 0.06, 1.22, 1))
    return Habitus(scale, brightness, contrast, gamma, tuple(rng.uniform(-0.025, 0.025, 3)))


def render(rng: Generator, family: Family, kind: str, patient: Habitus, site: Site) -> UInt8Array:
    """Draw one image of class `kind` and take its picture.

    Mean and standard deviation of each channel are set to values drawn without regard to the
    class, so that no class can be told by its brightness or contrast.

    Returns:
        uint8 (224, 224, 3); grey families have three equal channels.
    """
    return picture_with_lesions(rng, family, family.draw(rng, kind), patient, site, 0)[0]


def render_with_lesion(
    rng: Generator, family: Family, kind: str, patient: Habitus, site: Site
) -> tuple[UInt8Array, UInt8Array]:
    """Draw the same image, and where its lesions lie.

    Returns:
        uint8 (224, 224, 3); and uint8 (224, 224), 1 where a lesion covers at least half of a pixel.
    """
    lesion = np.zeros((SIZE, SIZE), np.float32)
    image = family.draw(rng, kind, lesion)
    layers = np.concatenate([image, lesion[None]])
    picture, (moved,) = picture_with_lesions(rng, family, layers, patient, site, 1)
    return picture, (moved >= 0.5).astype(np.uint8)


def picture_with_lesions(
    rng: Generator,
    family: Family,
    drawn: Float32Array,
    patient: Habitus,
    site: Site,
    lesions: int,
) -> tuple[UInt8Array, Float32Array]:
    """Take the picture of an image, whose last channels say what lesions cover.

    Returns:
        uint8 (224, 224, 3); and float32 (lesions, 224, 224), what lesions cover of the picture.
    """
    fundus = family.name == "fundus"
    seen = phantom_fundus.view()[None] if fundus else np.ones_like(drawn[:1])
    posed = _pose(rng, np.concatenate([drawn, seen]), family, patient)
    channels = len(drawn) - lesions
    image, seen = posed[:channels], posed[-1]
    image = np.clip(image * _illumination(rng), 0, 1)
    low, high = np.log(site.gamma)
    image = image ** np.float32(np.exp(low + patient.gamma * (high - low)))
    if rng.random() < site.blurred:
        sigma = rng.uniform(*site.blur)
        image = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in image])
    _expose(rng, image, seen, family, patient, site)
    image *= seen
    noise = rng.standard_normal(image.shape, np.float32)
    image += np.float32(rng.uniform(*site.noise)) * noise
    stored = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    colored = np.broadcast_to(stored, (3, *stored.shape[1:])).transpose(1, 2, 0)
    return np.ascontiguousarray(colored), posed[channels:-1] * seen


def _pose(rng: Generator, image: Float32Array, family: Family, patient: Habitus) -> Float32Array:
    angle = rng.uniform(-family.rotation, family.rotation)
    scale = patient.scale * rng.uniform(0.98, 1.02)
    flip = rng.random() < 0.5 and family.flips
    shift = tuple(rng.uniform(-8, 8, 2))
    posed = move(image, angle, scale, shift, mirror=family.name != "fundus")
    return np.ascontiguousarray(posed[..., ::-1]) if flip else posed


def _illumination(rng: Generator) -> Float32Array:
    x, y = coordinates()
    slope_x, slope_y = rng.uniform(-0.12, 0.12, 2).astype(np.float32)
    plane: Float32Array = 1 + slope_x * (x / 112 - 1) + slope_y * (y / 112 - 1)
    return plane


def _expose(
    rng: Generator,
    image: Float32Array,
    seen: Float32Array,
    family: Family,
    patient: Habitus,
    site: Site,
) -> None:
    """Shift and scale each channel to its drawn mean and standard deviation, in place."""
    lift = patient.brightness + site.brightness + rng.uniform(-0.03, 0.03)
    stretch = patient.contrast * site.contrast * rng.uniform(0.94, 1.07)
    inside = seen > 0.5
    color = len(family.mean) == 3
    for channel, plane in enumerate(image):
        tint = patient.stain[channel] + site.tint[channel] if color else 0.0
        values = plane[inside]
        gain = family.std[channel] * stretch / max(float(values.std()), 1e-6)
        plane -= np.float32(values.mean())
        plane *= np.float32(gain)
        plane += np.float32(family.mean[channel] + lift + tint)
