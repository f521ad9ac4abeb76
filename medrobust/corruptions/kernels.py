"""The kernels by name: where each lives, which draws it takes, what grey images mean to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from inspect import Parameter, signature
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Kernel:
    """Facts about one kernel.

    Attributes:
        module: File in this folder that holds the function of the same name as the kernel.
        draws: Names of its random arguments, in the order in which they are numbered.
        channelwise: Whether three equal channels give three equal channels, each what one channel
            alone gives, so that grey images need no detour over RGB.
        nested: Whether a severity changes what the one before it changes, and more: its draws are
            those of all severities, and of every corruption that it computes.
        unchanged: Function in its module that says, of (height, width) and parameters, whether the
            pixels are those of the version before; empty where the last version changed all.
        moves: Whether it puts pixels where others were, so that masks have to move with them.
        device: Whose artifact it is, as `modality.py` names devices; empty for any image.
        function: Its function in the module, where it has not the name of the kernel.
    """

    module: str
    draws: tuple[str, ...] = ()
    channelwise: bool = True
    nested: bool = False
    unchanged: str = ""
    moves: bool = False
    device: str = ""
    function: str = ""


MEDFM: Mapping[str, str] = {
    **dict.fromkeys(("any", "motion_blur"), ""),
    **{"mri": "MRI", "ct": "CT", "xray": "x-ray", "ultrasound": "ultrasound"},
    **{"endoscopy": "endoscopy", "oct": "OCT", "oct_motion": "OCT"},
    **{"slides": "histopathology", "skin": "dermatoscopy"},
}
"""Kernels of one function, `medfm`: end of the name -> device; those of motion move pixels."""

KERNELS: Mapping[str, Kernel] = MappingProxyType(
    {
        "gaussian_noise": Kernel("noise", draws=("noise",), channelwise=False),
        "impulse_noise": Kernel("noise", draws=("uniform",), channelwise=False),
        "shot_noise": Kernel("noise", draws=("uniform",), channelwise=False),
        "speckle_noise": Kernel("noise", draws=("noise",), channelwise=False),
        "glass_blur": Kernel("displacement", draws=("words",), moves=True),
        "motion_blur": Kernel("blur", draws=("angle",), moves=True),
        "zoom_blur": Kernel("blur", unchanged="zoom_unchanged", moves=True),
        "defocus_blur": Kernel("smoothing"),
        "gaussian_blur": Kernel("smoothing"),
        "gaussian_blur_kernel": Kernel("smoothing"),
        "snow": Kernel("weather", draws=("layer", "angle")),
        "frost": Kernel("weather", draws=("texture", "top", "left"), channelwise=False),
        "fog": Kernel("weather", draws=("uniform",)),
        "spatter": Kernel("weather", draws=("layer",), channelwise=False),
        "brightness": Kernel("photometric"),
        "contrast": Kernel("photometric"),
        "elastic_transform": Kernel("displacement", draws=("words",), moves=True),
        "elastic_transform_affine": Kernel("displacement", draws=("words", "corners"), moves=True),
        "saturate": Kernel("photometric", channelwise=False),
        "pixelate": Kernel("digital"),
        "jpeg_compression": Kernel("jpeg"),
        "brightness_factor": Kernel("photometric"),
        "contrast_factor": Kernel("photometric"),
        "gamma_correction": Kernel("photometric"),
        "stain_deposit": Kernel("artifacts", draws=("count", "mask", "x", "y")),
        "bubble": Kernel("artifacts", draws=("count", "radius", "x", "y")),
        "black_corner": Kernel("artifacts"),
        "characters": Kernel(
            "artifacts",
            draws=("count", "length", "letter", "size", "x", "y", "color"),
            channelwise=False,
        ),
        "occlusion": Kernel("occlusion", draws=("order", "noise"), nested=True),
        "local_erase": Kernel("local_change"),
        "local_move": Kernel("local_change", draws=("place",)),
        "ghosting": Kernel("mri", draws=("axis",), device="MRI"),
        "spike": Kernel("mri", draws=("row", "column"), device="MRI"),
        "rician_noise": Kernel("mri", draws=("real", "imaginary"), device="MRI"),
        "bias_field": Kernel("mri", draws=("coefficients",), device="MRI"),
        "gibbs": Kernel("mri", device="MRI"),
        "mr_motion": Kernel("mri_motion", draws=("axis", "path"), device="MRI"),
        "hed_jitter": Kernel(
            "stains", draws=("scale", "shift"), channelwise=False, device="histopathology"
        ),
        "xray_exposure": Kernel("xray", device="x-ray"),
        "xray_quantum_noise": Kernel("xray", draws=("uniform",), device="x-ray"),
        "xray_scatter": Kernel("xray", device="x-ray"),
        "grid_lines": Kernel("xray", draws=("line",), device="x-ray"),
        "ultrasound_speckle": Kernel("ultrasound", draws=("grain",), device="ultrasound"),
        "acoustic_shadow": Kernel("ultrasound", draws=("place",), device="ultrasound"),
        "reverberation": Kernel("ultrasound", draws=("spacing",), device="ultrasound"),
        "ultrasound_gain": Kernel("ultrasound", draws=("curve",), device="ultrasound"),
        "low_dose": Kernel("ct", draws=("quanta", "current"), device="CT"),
        "sparse_view": Kernel("ct", device="CT"),
        "limited_angle": Kernel("ct", draws=("start",), device="CT"),
        "ring_artifact": Kernel("ct", draws=("gains",), device="CT"),
        "metal_artifact": Kernel("ct", draws=("place",), device="CT"),
        "beam_hardening": Kernel("ct", device="CT"),
        "anisotropy": Kernel("mri_sampling", draws=("axis",), device="MRI"),
        "undersampling": Kernel("mri_sampling", draws=("axis", "lines"), device="MRI"),
        "affine": Kernel("geometry", draws=("place",), moves=True),
        "hue": Kernel("photometric", channelwise=False),
        "window_error": Kernel("xray", draws=("level",), device="x-ray"),
        "laterality_marker": Kernel("overlays", draws=("letter", "corner"), device="x-ray"),
        "burned_in_text": Kernel("overlays", draws=("character",)),
        "stain_swap": Kernel(
            "stains", draws=("target",), channelwise=False, device="histopathology"
        ),
        "slide_blood": Kernel(
            "slides", draws=("seeds",), channelwise=False, device="histopathology"
        ),
        "slide_marking": Kernel(
            "slides", draws=("color", "ends"), channelwise=False, device="histopathology"
        ),
        "fundus_illumination": Kernel("fundus", draws=("place",), device="fundus photography"),
        "fundus_halo": Kernel(
            "fundus", draws=("ring",), channelwise=False, device="fundus photography"
        ),
        "fundus_hole": Kernel("fundus", draws=("place",), device="fundus photography"),
        "fundus_spots": Kernel("fundus", draws=("spots",), device="fundus photography"),
        "glare": Kernel("endoscopy", draws=("spots",), device="endoscopy"),
        "lens_bubbles": Kernel("endoscopy", draws=("places",), device="endoscopy"),
        "endoscopy_blood": Kernel(
            "endoscopy", draws=("seeds",), channelwise=False, device="endoscopy"
        ),
        "hair": Kernel("dermatoscopy", draws=("ends",), channelwise=False, device="dermatoscopy"),
        "vignette": Kernel("dermatoscopy", device="dermatoscopy"),
        "ruler": Kernel("dermatoscopy", draws=("side",), device="dermatoscopy"),
        "bspline_deformation": Kernel("elastic", draws=("grid",), moves=True),
        "slide_bubble": Kernel(
            "slides", draws=("place",), channelwise=False, device="histopathology"
        ),
        **{
            f"medfm_{name}": Kernel(
                "medfm",
                draws=("place", "noise"),
                function="medfm",
                moves="motion" in name,
                device=device,
            )
            for name, device in MEDFM.items()
        },
        "gel_bubbles": Kernel("dermatoscopy", draws=("places",), device="dermatoscopy"),
    }
)


def kernel_function(name: str) -> Callable[..., Any]:
    """Import the function of a kernel.

    Example:
        >>> kernel_function("contrast").__name__
        'contrast'
    """
    return _function(name, KERNELS[name].function or name)


def is_unchanged(name: str, shape: tuple[int, int], parameters: Mapping[str, Any]) -> bool:
    """Say whether images of (height, width) have the pixels of the version before.

    Example:
        >>> is_unchanged("zoom_blur", (448, 448), {"count": 16, "step": 0.01})
        False
    """
    known = KERNELS[name].unchanged
    return bool(known) and bool(_function(name, known)(shape, **parameters))


def _function(kernel: str, name: str) -> Callable[..., Any]:
    module = import_module(f"medrobust.corruptions.{KERNELS[kernel].module}")
    function: Callable[..., Any] = getattr(module, name)
    return function


@lru_cache(maxsize=64)
def kernel_parameters(name: str) -> Mapping[str, bool]:
    """List the parameters of a kernel, images and draws aside: name -> whether it must be given.

    Example:
        >>> dict(kernel_parameters("motion_blur"))
        {'radius': True, 'sigma': True, 'cut': False}
    """
    taken = signature(kernel_function(name)).parameters.values()
    return {
        parameter.name: parameter.default is Parameter.empty
        for parameter in list(taken)[1:]
        if parameter.name not in KERNELS[name].draws
    }
