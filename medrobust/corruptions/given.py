"""Draws that are given to a kernel instead of drawn: what each may be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from math import ceil, inf, prod
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError

from .kernels import MEDFM, kernel_function

Size: TypeAlias = tuple[int, ...]
"""Channels, height and width of the images."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a draw may be.

    Attributes:
        shape: Of the draw of one image.
        low: Its least number.
        high: Its largest number, or for fractions what they lie below.
        whole: Whether it is whole numbers.
    """

    shape: tuple[int, ...]
    low: float = -inf
    high: float = inf
    whole: bool = False

    @property
    def words(self) -> str:
        """What is asked for, to follow "give"."""
        kind = "whole numbers" if self.whole else "numbers"
        if self.high == inf:
            reach = ""
        elif self.whole or self.low < 0:
            reach = f" from {self.low:g} to {self.high:.10g}"
        else:
            reach = f" from {self.low:g} to below {self.high:g}"
        return f"{prod(self.shape)} finite {kind} an image{reach}"

    def holds(self, values: Tensor) -> bool:
        """Say whether all numbers of a tensor may be."""
        if values.dtype == torch.bool or values.is_complex():
            return False
        if self.whole and values.is_floating_point():
            return False
        if not len(values):
            return True
        exclusive = not self.whole and self.low == 0
        above = (values < self.high) if exclusive else (values <= self.high)
        return bool((above & (values >= self.low) & values.isfinite()).all())


Fits: TypeAlias = Callable[[Size, Mapping[str, Any]], Given]
"""Of the size of the images and all parameters of the kernel, its defaults among them."""


def _fractions(count: str | int, each: int = 1) -> Fits:
    return lambda _, p: Given((each * (p[count] if isinstance(count, str) else count),), 0, 1)


def _choice(last: int) -> Fits:
    return lambda *_: Given((1,), 0, last, whole=True)


def _whole(count: str, low: float, high: str | float, each: int = 1) -> Fits:
    def fits(_: Size, p: Mapping[str, Any]) -> Given:
        return Given((each * p[count],), low, p[high] if isinstance(high, str) else high, True)

    return fits


def _normals(size: Size, _: Mapping[str, Any]) -> Given:
    return Given(size)


def _normal_plane(size: Size, _: Mapping[str, Any]) -> Given:
    return Given(size[1:])


def _count(_: Size, p: Mapping[str, Any]) -> Given:
    return Given((1,), 0, p["most"], whole=True)


def _fraction_planes(size: Size, _: Mapping[str, Any]) -> Given:
    return Given(size, 0, 1)


def _words(size: Size, p: Mapping[str, Any]) -> Given:
    planes = (p["iterations"],) if "iterations" in p else ()
    return Given((*planes, *size[1:]), 0, 2**32 - 1, whole=True)


def _angle(_: Size, p: Mapping[str, Any]) -> Given:
    return Given(())


def _first(_: Size, p: Mapping[str, Any]) -> Given:
    return Given((), 0, 2**31, whole=True)


def _texture(size: Size, p: Mapping[str, Any]) -> Given:
    from .frost_textures import frost_textures

    bank = frost_textures(max(size[1:]), p["zoom"], p["textures"])
    return Given((), 0, len(bank) - 1, whole=True)


def _mask(_: Size, p: Mapping[str, Any]) -> Given:
    from .ink import ink_masks, read_masks

    bank = read_masks(p["masks"]) if p["masks"] else ink_masks(p["size"])
    return Given((p["most"],), 0, len(bank) - 1, whole=True)


def _rays(size: Size, _: Mapping[str, Any]) -> tuple[int, int]:
    from .tomography import VIEWS, rays

    return VIEWS, rays((size[1], size[2])).bins


ANYWHERE = _whole("most", -inf, inf)
AXIS = _choice(1)

PATCHES: Mapping[str, Fits] = {"seeds": _fractions(18)}
BUBBLES: Mapping[str, Fits] = {"places": _fractions("count", 3)}
MEDFM_DRAWS: Mapping[str, Fits] = {
    "place": lambda s, _: Given((400 + 2 * s[1],), 0, 1),
    "noise": _normal_plane,
}

GIVEN: Mapping[str, Mapping[str, Fits]] = MappingProxyType(
    {
        "gaussian_noise": {"noise": _normals},
        "speckle_noise": {"noise": _normals},
        "impulse_noise": {"uniform": _fraction_planes},
        "shot_noise": {"uniform": _fraction_planes},
        "glass_blur": {"words": _words},
        "elastic_transform": {"words": _words},
        "elastic_transform_affine": {"words": _words, "corners": _fractions(6)},
        "motion_blur": {"angle": _angle},
        "snow": {
            "layer": lambda s, p: Given((ceil(s[1] / p["zoom"]), ceil(s[2] / p["zoom"]))),
            "angle": _angle,
        },
        "frost": {"texture": _texture, "top": _first, "left": _first},
        "fog": {
            "uniform": lambda s, _: Given((4 ** (max(s[1:]) - 1).bit_length(),), 0, 1),
        },
        "spatter": {"layer": _normal_plane},
        "stain_deposit": {"count": _count, "mask": _mask, "x": ANYWHERE, "y": ANYWHERE},
        "bubble": {
            "count": _count,
            "radius": _whole("most", 1, "largest"),
            "x": ANYWHERE,
            "y": ANYWHERE,
        },
        "characters": {
            "count": _count,
            "length": _whole("most", 1, "longest"),
            "letter": lambda _, p: Given((p["most"] * p["longest"],), 0, 25, whole=True),
            "size": lambda _, p: Given((p["most"],), 14, int(100 * p["largest"]), whole=True),
            "x": ANYWHERE,
            "y": ANYWHERE,
            "color": _whole("most", 0, 255, each=3),
        },
        "occlusion": {
            "order": lambda _, p: Given((p["grid"] ** 2,), 0, p["grid"] ** 2 - 1, whole=True),
            "noise": lambda s, _: Given(s[1:], 0, 255, whole=True),
        },
        "local_move": {"place": lambda *_: Given((32,), whole=True)},
        "ghosting": {"axis": AXIS},
        "spike": {
            "row": lambda s, _: Given((1,), 0, s[1] - 1, whole=True),
            "column": lambda s, _: Given((1,), 0, s[2] - 1, whole=True),
        },
        "rician_noise": dict.fromkeys(("real", "imaginary"), _normal_plane),
        "bias_field": {
            "coefficients": lambda _, p: Given(((p["order"] + 1) * (p["order"] + 2) // 2,), -1, 1),
        },
        "mr_motion": {"axis": AXIS, "path": _fractions("moves", 4)},
        "anisotropy": {"axis": AXIS},
        "undersampling": {
            "axis": AXIS,
            "lines": lambda s, _: Given((max(s[1:]),), 0, 2**32 - 1, whole=True),
        },
        "hed_jitter": dict.fromkeys(("scale", "shift"), _fractions(3)),
        "xray_quantum_noise": {"uniform": lambda s, _: Given((1, *s[1:]), 0, 1)},
        "grid_lines": {"line": _fractions(3)},
        "window_error": {"level": _fractions(1)},
        "laterality_marker": {"letter": _choice(1), "corner": _choice(3)},
        "burned_in_text": {"character": _whole("lines", 0, 12, each=12)},
        "ultrasound_speckle": {"grain": lambda s, _: Given(s[1:], 0, 2**16 - 1, whole=True)},
        "acoustic_shadow": {"place": _fractions(2)},
        "reverberation": {"spacing": _fractions(1)},
        "ultrasound_gain": {"curve": _fractions("sliders")},
        "low_dose": {
            "quanta": lambda s, p: Given(_rays(s, p), 0, 2**16 - 1, whole=True),
            "current": lambda s, p: Given(_rays(s, p)),
        },
        "limited_angle": {"start": lambda s, p: Given((1,), 0, _rays(s, p)[0] - 1, whole=True)},
        "ring_artifact": {"gains": lambda s, p: Given(_rays(s, p)[1:])},
        "metal_artifact": {"place": _fractions(4)},
        "affine": {"place": _fractions(3)},
        "bspline_deformation": {"grid": lambda _, p: Given((2 * p["points"] ** 2,), 0, 1)},
        "stain_swap": {"target": _choice(3)},
        "slide_blood": PATCHES,
        "endoscopy_blood": PATCHES,
        "slide_marking": {"color": _choice(2), "ends": _fractions("strokes", 6)},
        "slide_bubble": {"place": _fractions(2)},
        "fundus_illumination": {"place": _fractions(2)},
        "fundus_halo": {"ring": _fractions(6)},
        "fundus_hole": {"place": _fractions(3)},
        "fundus_spots": {"spots": _fractions("count", 3)},
        "glare": {"spots": _fractions("count", 5)},
        "lens_bubbles": BUBBLES,
        "gel_bubbles": BUBBLES,
        "hair": {"ends": _fractions("count", 6)},
        "ruler": {"side": _fractions(2)},
        **{f"medfm_{name}": MEDFM_DRAWS for name in MEDFM},
    }
)
"""Kernel -> draw -> what it may be."""


def checked(
    kernel: str, draw: str, values: object, images: Tensor, parameters: Mapping[str, Any]
) -> Tensor:
    """Return a given draw in the shape that its kernel has it in.

    Args:
        kernel: Name of the kernel.
        draw: Name of one of its draws.
        values: Given, (N, ...) of as many numbers an image as the kernel draws.
        images: (N, C, H, W), as the kernel takes them.
        parameters: Of the kernel, without those that are left to their defaults.

    Raises:
        ConfigurationError: If it is no tensor, or of other numbers.

    Example:
        >>> images = torch.zeros(2, 1, 28, 28)
        >>> checked("ghosting", "axis", torch.tensor([0, 1]), images, {}).tolist()
        [[0], [1]]
    """
    fits = GIVEN[kernel][draw](tuple(images.shape[1:]), {**defaults_of(kernel), **parameters})
    if not isinstance(values, Tensor):
        found = f"is of type {type(values).__name__}"
    elif values.shape[:1] != images.shape[:1] or values[:1].numel() != prod(fits.shape):
        found = f"has the shape {tuple(values.shape)}"
    elif not fits.holds(values):
        found = f"has others ({values.dtype})"
    else:
        return values.reshape(len(images), *fits.shape)
    raise ConfigurationError(
        f"the draw {draw!r} of {kernel!r} {found}. Give a tensor of {fits.words}, of "
        f"{counted(len(images), 'image')}."
    )


def defaults_of(kernel: str) -> dict[str, Any]:
    """Return the parameters of a kernel that need not be given.

    Example:
        >>> defaults_of("motion_blur")
        {'cut': True}
    """
    taken = signature(kernel_function(kernel)).parameters.values()
    return {p.name: p.default for p in taken if p.default is not Parameter.empty}
