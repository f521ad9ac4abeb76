"""Artifacts of devices on stored values, before the window that shows them: `domain=stored`.

The kernels are those of pictures, on float64 planes that are neither rounded nor clipped. A plane
has the grey values of a picture in which the physics of the kernel holds:

    MRI         v = 255 value / (width of the window): magnitudes from 0 on, clipped nowhere
    CT          v = the greys that attenuate as much: mu = WATER (1 + HU / 1000) by pixel of known
                size, or of an image of FIELD cm
    x-ray       v = -255 ln(I) / DENSITY, I the share of the stored range for values that are linear
                in the intensity, and 10^(-DECADES share) for those in its logarithm
    window      v = 255 (value - low) / (high - low), below 0 and above 255, too

Afterwards v goes back to values, by the same map, and these are shown in the image's own window. Of
CT the change alone goes back, so that nothing else is rounded. An image of the data set's size is
then what is shown; one that was brought to it moves by as much as what is shown.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from medrobust.base.once import say_once
from medrobust.base.stored_planes import StoredPlane
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Key
from medrobust.types import Float64Array, UInt8Batch

from .ct import grey_attenuation
from .dispatch import kernels_of
from .kernels import KERNELS
from .shell import run_kernel
from .suites import load_suite, suite_name
from .xray import DENSITY, greys_of, intensity

_LOG = logging.getLogger(__name__)

VERSION: Final = 1
"""Of the maps below, part of every description: raised whenever a pixel moves."""

WATER: Final = 0.2
"""Attenuation of water, by cm."""

FIELD: Final = 40.0
"""Centimetres that an image of CT shows across, where its header does not say."""

DECADES: Final = 4.0
"""Powers of ten that the stored range holds, where values are a logarithm of the intensity."""

LOGARITHM: Final = float(DECADES * np.log(10) * 255 / DENSITY)
"""Greys that the stored range takes then."""

PICTURES: Final = ("overlays", "medfm")
"""Modules of kernels that draw on grey values."""

MOST_HU: Final = 3071.0
"""Beyond which a value of CT attenuates no more."""

Map: TypeAlias = Callable[[StoredPlane], Float64Array]
Back: TypeAlias = Callable[[StoredPlane, Float64Array, Float64Array], Float64Array]
"""Plane, greys before, greys after -> values."""


@dataclass(frozen=True, slots=True)
class Step:
    """One corruption of stored values.

    Attributes:
        kernel: One that has such a form.
        parameters: All but its draws, which are those of the picture.
        key: From `shell.key_of`.
    """

    kernel: str
    parameters: Mapping[str, Any]
    key: Key


def has_stored_form(kernel: str) -> bool:
    """Say whether a kernel can act on stored values.

    Example:
        >>> [has_stored_form(name) for name in ("low_dose", "laterality_marker", "contrast")]
        [True, False, False]
    """
    return KERNELS[kernel].device in DEVICES and KERNELS[kernel].module not in PICTURES


def corrupt_stored(
    images: UInt8Batch,
    planes: Sequence[StoredPlane],
    steps: Sequence[Step],
    *,
    rows: Tensor,
) -> UInt8Batch:
    """Corrupt stored values and show what it changes, uint8 of the shape of `images`.

    Pictures were made 8 bits wide before they were brought to their size, planes are shown after
    it: by how much what is shown moves is added to the picture, which no change leaves to the bit.

    Args:
        images: uint8 (N, C, H, W) of equal channels, as the data set shows its planes.
        planes: Of the N images.
        steps: Each of the values that the one before leaves.
        rows: int64 (N,), what the draws are keyed by.
    """
    after = planes
    for step in steps:
        left = corrupted_values(after, step, rows=rows)
        after = [replace(one, changed=new) for one, new in zip(after, left, strict=True)]
    moved = [
        last.shown(last.values).astype(np.int16) - first.shown(first.values)
        for first, last in zip(planes, after, strict=True)
    ]
    added = images.cpu() + torch.from_numpy(np.stack(moved))[:, None]
    return added.clip(0, 255).to(torch.uint8).to(images.device)


def corrupted_values(
    planes: Sequence[StoredPlane], step: Step, *, rows: Tensor
) -> list[Float64Array]:
    """Corrupt stored values of images of one size, float64 (H, W) each; see `corrupt_stored`."""
    kernel = step.kernel
    to_greys, back = MAPS["window" if kernel == "window_error" else KERNELS[kernel].device]
    greys = np.stack([to_greys(plane) for plane in planes])
    with kernels_of("torch"):  # compiled forms take whole greys alone
        taken = torch.from_numpy(greys)[:, None]
        batch = run_kernel(taken, kernel, step.parameters, key=step.key, rows=rows)
    changed = batch[:, 0].numpy()
    return [back(*one) for one in zip(planes, greys, changed, strict=True)]


def refuse_without_form(name: str, kernel: str) -> None:
    """Refuse a corruption that no device makes before a window.

    Raises:
        ConfigurationError: Naming it.
    """
    if not has_stored_form(kernel):
        raise ConfigurationError(
            f"corruption.domain=stored: {name!r} has no form on stored values, which artifacts of "
            f"MRI, CT and radiography have. Leave corruption.domain out, or take one of those."
        )


def having_form(suite: str, names: Sequence[str]) -> list[str]:
    """Return the corruptions of a suite that have a form on stored values; say what is left out.

    Raises:
        ConfigurationError: If none has.
    """
    entries = load_suite(suite)
    kept = [name for name in names if has_stored_form(entries[name].kernel)]
    left = [name for name in names if name not in kept]
    if not kept:
        refuse_without_form(left[0], entries[left[0]].kernel)
    if left:
        named = suite_name(suite, entries)
        say_once(
            _LOG,
            logging.INFO,
            f"corruption.domain=stored: {', '.join(left)} of {named} have no form on stored values "
            f"and are left out",
        )
    return kept


def _width(plane: StoredPlane) -> float:
    return max(float(plane.facts["high"] - plane.facts["low"]), 1e-9)


def _of_magnitude(plane: StoredPlane) -> Float64Array:
    return plane.values * (255 / _width(plane))


def _to_magnitude(plane: StoredPlane, before: Float64Array, after: Float64Array) -> Float64Array:
    return np.maximum(after, 0.0) * (_width(plane) / 255)


def _of_window(plane: StoredPlane) -> Float64Array:
    whole: Float64Array = (plane.values - _black(plane)) * (255 / _width(plane))
    return 255 - whole if plane.facts["inverted"] else whole


def _to_window(plane: StoredPlane, before: Float64Array, after: Float64Array) -> Float64Array:
    greys = 255 - after if plane.facts["inverted"] else after
    values: Float64Array = _black(plane) + greys * (_width(plane) / 255)
    return values


def _black(plane: StoredPlane) -> float:
    """Return the value where a window begins: half a width below the centre of a sigmoid."""
    low = float(plane.facts["low"])
    return low - _width(plane) / 2 if plane.facts["sigmoid"] else low


def _grey_of_water(plane: StoredPlane) -> float:
    """Return the greys that attenuate as water does."""
    height, width = plane.codes.shape
    side = float(plane.facts["pixel"]) or FIELD / max(height, width)
    return WATER * side / grey_attenuation((height, width))


def _of_hounsfield(plane: StoredPlane) -> Float64Array:
    units = np.clip(plane.values, -1000.0, MOST_HU)
    most = (1 << 21) // float(np.hypot(*plane.codes.shape))  # sums of a ray have 31 bits
    greys: Float64Array = np.rint(_grey_of_water(plane) * (1 + units / 1000))
    return np.minimum(greys, most)


def _to_hounsfield(plane: StoredPlane, before: Float64Array, after: Float64Array) -> Float64Array:
    values: Float64Array = plane.values + (after - before) * (1000 / _grey_of_water(plane))
    return values


def _of_exposure(plane: StoredPlane) -> Float64Array:
    shares = _shares(plane)
    if plane.facts["linear"]:
        least = 0.5 / float(plane.facts["codes"])
        return greys_of(np.maximum(shares, least))
    greys: Float64Array = (1 - shares) * LOGARITHM
    return greys


def _to_exposure(plane: StoredPlane, before: Float64Array, after: Float64Array) -> Float64Array:
    shares = intensity(after) if plane.facts["linear"] else 1 - after / LOGARITHM
    whole = np.clip(1 - shares if plane.facts["falling"] else shares, 0.0, 1.0)
    values: Float64Array = _ends(plane)[0] + whole * np.subtract(*_ends(plane)[::-1])
    return values


def _shares(plane: StoredPlane) -> Float64Array:
    """Return the share of the stored range, 1 for the most intensity."""
    least, most = _ends(plane)
    shares: Float64Array = (plane.values - least) / (most - least)
    return 1 - shares if plane.facts["falling"] else shares


def _ends(plane: StoredPlane) -> tuple[float, float]:
    first, step = float(plane.facts["first"]), float(plane.facts["step"])
    least, most = sorted((first, first + step * (float(plane.facts["codes"]) - 1)))
    return least, most


MAPS: Mapping[str, tuple[Map, Back]] = MappingProxyType(
    {
        "MRI": (_of_magnitude, _to_magnitude),
        "CT": (_of_hounsfield, _to_hounsfield),
        "x-ray": (_of_exposure, _to_exposure),
        "window": (_of_window, _to_window),
    }
)
"""Device -> values to the greys of its kernels, and back."""

DEVICES: Final = frozenset(MAPS)
