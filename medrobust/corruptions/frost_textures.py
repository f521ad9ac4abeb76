"""Textures of frost: random fields with the statistics of the published photographs, not copies.

Each is a Gaussian field of a given radial power spectrum whose values are then bent to a given
distribution. The tables are such that crops of 224 pixels of the finished textures have the mean
colors, deviations (within and between crops), quantiles of grey and spectra that were measured on
the textures of imagecorruptions 1.1.2, enlarged 1.1 times as `frost` does. Its second and third
are one picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key
from medrobust.types import Float64Array, UInt8Array

PHOTOGRAPH = 510
"""Pixels a side of a texture before `frost` enlarges it."""

COUNT = 5
SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""Of the quantiles in `Statistics`."""

WAVES = (0.4, 1, 2, 3.5, 6.5, 12.5, 24.5, 48.5, 80, 95, 110, 125, 140, 158)
"""Of the powers in `Statistics`: waves in 224 pixels of the enlarged texture."""


@dataclass(frozen=True)
class Statistics:
    """What makes a texture like one photograph.

    Attributes:
        mean: Of red, green and blue.
        spread: Standard deviation of red, green and blue, over the whole texture.
        quantiles: Of grey, at `SHARES`; only their shape counts.
        power: Of the field, at `WAVES`, in any unit.
        grain: Standard deviation of white noise on top, the same in all colors, in grey levels.
        common: Correlation of red with green and blue.
    """

    mean: tuple[float, float, float]
    spread: tuple[float, float, float]
    quantiles: tuple[float, ...]
    power: tuple[float, ...]
    grain: float
    common: float = 1.0


PHOTOGRAPHS = (
    Statistics(
        mean=(81, 145.3, 161.9),
        spread=(28.9, 16.6, 15.7),
        quantiles=(81, 96, 103, 116, 128, 141, 163, 177, 224),
        power=(
            3480,
            100,
            27,
            24.9,
            2.19,
            0.351,
            0.186,
            0.124,
            0.0316,
            0.00655,
            0.00749,
            0.00193,
            0.000521,
            0.000965,
        ),
        grain=0.66,
        common=0.6,
    ),
    Statistics(
        mean=(199.3, 203.8, 213.1),
        spread=(20.3, 20.9, 21.7),
        quantiles=(57, 140, 165, 193, 208, 220, 235, 244, 254),
        power=(
            3040,
            100,
            5.51,
            14.9,
            1.98,
            1.16,
            0.28,
            0.0897,
            0.0192,
            0.00359,
            0.00304,
            0.000871,
            0.000116,
            8.31e-05,
        ),
        grain=0,
    ),
    Statistics(
        mean=(192, 196.2, 205.2),
        spread=(20.2, 20.8, 21.6),
        quantiles=(57, 140, 165, 193, 208, 220, 235, 244, 254),
        power=(
            19400,
            100,
            23.2,
            37.1,
            14.4,
            4.48,
            1.07,
            0.331,
            0.0726,
            0.0137,
            0.0111,
            0.00346,
            0.000354,
            0.000198,
        ),
        grain=0,
    ),
    Statistics(
        mean=(137, 151.8, 164.2),
        spread=(29.2, 29.3, 30.8),
        quantiles=(24, 81, 103, 132, 150, 167, 195, 229, 255),
        power=(
            36100,
            100,
            13.1,
            47.4,
            16.7,
            5.47,
            2.91,
            1.13,
            0.265,
            0.0483,
            0.0634,
            0.0103,
            0.00315,
            0.00427,
        ),
        grain=0.27,
    ),
    Statistics(
        mean=(96.3, 107.7, 119.7),
        spread=(37.4, 37, 36.2),
        quantiles=(8, 43, 58, 90, 117, 148, 201, 236, 255),
        power=(
            2600,
            0.1,
            0.55,
            1.29,
            0.271,
            0.0642,
            0.0304,
            0.00685,
            0.00194,
            0.00074,
            0.000941,
            0.000419,
            0.000196,
            0.000173,
        ),
        grain=3.54,
    ),
)


def frost_textures(smallest: int, zoom: float, folder: str | None = None) -> list[UInt8Array]:
    """Make the textures, or read those of a folder.

    Args:
        smallest: Pixels a side that a crop needs; textures are larger than that.
        zoom: Enlargement of the textures, where they are large enough.
        folder: With pictures of one's own, in the order of their names; None for the built-in.

    Returns:
        uint8 (3, H, W) arrays, H and W above `smallest`.

    Raises:
        ConfigurationError: If the folder has no pictures.
    """
    if folder is not None:
        return _own_textures(folder, smallest, zoom)
    return _textures(int(np.ceil(max(PHOTOGRAPH * zoom, smallest * 1.1))))


@lru_cache(maxsize=4)
def _own_textures(folder: str, smallest: int, zoom: float) -> list[UInt8Array]:
    return [_fit(picture, smallest, zoom) for picture in _read(folder)]


@lru_cache(maxsize=4)
def _textures(side: int) -> list[UInt8Array]:
    return [_texture(number, side) for number in range(COUNT)]


def _texture(number: int, side: int) -> UInt8Array:
    facts = PHOTOGRAPHS[number]
    normal = NormalDist()
    places = [normal.inv_cdf(min(max(share, 5e-5), 1 - 5e-5)) for share in SHARES]
    grey = np.array(facts.quantiles)
    common, own = (_field(facts.power, number, part, side) for part in (0, 1))
    common = np.interp(common, places, grey)
    common = (common - common.mean()) / common.std()
    red = facts.common * common + np.sqrt(1 - facts.common**2) * own
    grain = facts.grain * _noise(number, 2, side)
    planes = [
        mean + spread * field + grain
        for mean, spread, field in zip(facts.mean, facts.spread, (red, common, common), strict=True)
    ]
    return np.asarray(np.rint(np.stack(planes)).clip(0, 255), np.uint8)


def _field(power: Sequence[float], number: int, part: int, side: int) -> Float64Array:
    """Make a wrapped Gaussian field (side, side), mean 0 and variance 1.

    Its waves are those of a picture of `PHOTOGRAPH` pixels, whatever the side it is made for.
    """
    waves = np.fft.rfft2(_noise(number, part, PHOTOGRAPH))
    down = np.fft.fftfreq(PHOTOGRAPH)[:, None] * PHOTOGRAPH
    along = np.arange(waves.shape[1])
    radius = np.hypot(down, along) * (224 / (1.1 * PHOTOGRAPH))
    table = np.interp(np.log(radius.clip(0.3)), np.log(WAVES), np.log(power))
    waves *= np.exp(0.5 * table)
    waves[0, 0] = 0
    keep = min(side, PHOTOGRAPH) // 2
    spectrum = np.zeros((side, side // 2 + 1), complex)
    spectrum[:keep, :keep] = waves[:keep, :keep]
    spectrum[1 - keep :, :keep] = waves[1 - keep :, :keep]
    field = np.fft.irfft2(spectrum, (side, side))
    return np.asarray(field / field.std())


def _noise(number: int, part: int, side: int) -> Float64Array:
    """Make standard normals (side, side), the same everywhere and always."""
    import torch

    draws = Draws(derive_key(0, "frost textures", "frost", 0), torch.tensor([number]), part)
    return np.asarray(draws.normal(side * side)[0].double().reshape(side, side))


def _read(folder: str) -> list[UInt8Array]:
    from PIL import Image

    found = sorted(
        path
        for path in Path(folder).glob("*")
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
    )
    if not found:
        raise ConfigurationError(
            f"frost: no PNG, JPEG, BMP or TIFF pictures in {folder!r}. Give a folder of textures, "
            f"or leave `textures` out for the built-in ones."
        )
    return [np.asarray(Image.open(path).convert("RGB")) for path in found]


def _fit(picture: UInt8Array, smallest: int, zoom: float) -> UInt8Array:
    """Enlarge a picture (H, W, 3) as the reference does, bicubically, and put channels first."""
    import cv2

    height, width = picture.shape[:2]
    scale = zoom
    if min(height, width) * zoom <= smallest:
        scale = max(smallest / height, smallest / width) * max(zoom, 1.1)
    size = (int(np.ceil(width * scale)), int(np.ceil(height * scale)))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))
