"""Severities between the published ones: any strength from clean images to severity 5.

The parameters of a kernel lie on straight lines between its published severities, and between those
of severity 1 and those with which it does nothing. Kernels whose tables jump back and forth, or
whose parameters are choices, have no such lines.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from medrobust.exceptions import ConfigurationError

from .config import Corruption
from .suites import SEVERITIES, Entry

if TYPE_CHECKING:
    from medrobust.types import IndexBatch, UInt8Batch

    from .shell import Grey

Images = TypeVar("Images")

HARMLESS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "gaussian_noise": {"std": 0.0},
        "shot_noise": {"rate": math.inf},
        "speckle_noise": {"std": 0.0},
        "impulse_noise": {"amount": 0.0},
        "gaussian_blur": {"sigma": 0.0},
        "defocus_blur": {"radius": 0.5, "alias": 0.1},
        "motion_blur": {"radius": 1, "sigma": 0.1},
        "zoom_blur": {"count": 1, "step": 0.01},
        "brightness": {"shift": 0.0},
        "brightness_factor": {"factor": 1.0},
        "contrast": {"factor": 1.0},
        "contrast_factor": {"factor": 1.0},
        "gamma_correction": {"gamma": 1.0},
        "elastic_transform": {"strength": 0.0},
        "fog": {"amount": 0.0, "decay": 2.0},
        "pixelate": {"scale": 1.0},
        "jpeg_compression": {"quality": 100},
        "ghosting": {"intensity": 0.0, "ghosts": 3},
        "spike": {"intensity": 0.0},
        "rician_noise": {"std": 0.0},
        "bias_field": {"coefficient": 0.0},
        "gibbs": {"alpha": 0.0},
        "mr_motion": {"degrees": 0.0, "shift": 0.0, "moves": 2},
        "xray_scatter": {"ratio": 0.0},
        "xray_exposure": {"factor": 1.0},
        "grid_lines": {"amplitude": 0.0},
        "acoustic_shadow": {"attenuation": 0.0},
        "reverberation": {"strength": 0.0},
        "ultrasound_gain": {"decibels": 0.0},
        "hed_jitter": {"sigma": 0.0},
        "limited_angle": {"degrees": 0.0},
        "ring_artifact": {"gain": 0.0},
        "beam_hardening": {"beta": 0.0},
        "affine": {"degrees": 0.0, "shift": 0.0, "scale": 1.0},
        "hue": {"shift": 0.0},
        "anisotropy": {"factor": 1.0},
        "undersampling": {"acceleration": 1.0},
        "laterality_marker": {"size": 0.0},
        "window_error": {"width": 1.0, "shift": 0.0},
        "stain_swap": {"share": 0.0},
        "slide_blood": {"share": 0.0},
        "fundus_illumination": {"strength": 0.0},
        "fundus_halo": {"strength": 0.0},
        "fundus_hole": {"depth": 0.0},
        "fundus_spots": {"strength": 0.0},
        "glare": {"count": 0},
        "lens_bubbles": {"count": 0},
        "endoscopy_blood": {"share": 0.0},
        "hair": {"count": 0},
        "vignette": {"strength": 0.0},
        "ruler": {"opacity": 0.0},
        "gel_bubbles": {"count": 0},
    }
)
"""Kernel -> parameters of severity 0, of those that have severities in between."""

RECIPROCAL = frozenset({"rate"})
"""Parameters whose reciprocal lies on the line: counts, which are without end at severity 0."""

WHOLE = frozenset(
    {("jpeg_compression", "quality"), ("motion_blur", "radius"), ("zoom_blur", "count")}
    | {("ghosting", "ghosts"), ("mr_motion", "moves")}
    | {(name, "count") for name in ("glare", "lens_bubbles", "hair", "gel_bubbles")}
)
"""(kernel, parameter) that takes whole numbers alone: rounded."""


def parameters_at(entry: Entry, severity: float) -> dict[str, Any]:
    """Give the parameters of a corruption at a severity above 0 and up to 5.

    Args:
        entry: Of a suite.
        severity: At a whole one they are the published parameters.

    Raises:
        ConfigurationError: If the corruption has no severities in between.

    Example:
        >>> from medrobust.corruptions.suites import find_entry
        >>> round(parameters_at(find_entry("imagenet_c", "gaussian_noise"), 1.5)["std"], 6)
        0.1
        >>> parameters_at(find_entry("imagenet_c", "shot_noise"), 0.5)
        {'rate': 120.0}
    """
    if not 0 < severity <= SEVERITIES[-1]:
        raise ConfigurationError(f"a severity of {severity} is not above 0 and at most 5.")
    if float(severity).is_integer():
        return entry.parameters(int(severity))
    if entry.kernel not in HARMLESS:
        raise ConfigurationError(
            f"corruption {entry.name!r} has no severities between the published ones: its "
            f"parameters are choices, or jump back and forth."
        )
    harmless = HARMLESS[entry.kernel]
    return {
        name: _at(entry.kernel, name, [harmless[name], *value], severity)
        if name in harmless and isinstance(value, list)
        else value
        for name, value in entry.table.items()
    }


def _at(kernel: str, name: str, values: Sequence[float], severity: float) -> float:
    """Return the value of a parameter on the lines through its values at 0, 1, ..., 5."""
    known = np.array(values, np.float64)
    if name in RECIPROCAL:
        return float(1 / np.interp(severity, range(len(known)), 1 / known))
    value = float(np.interp(severity, range(len(known)), known))
    return round(value) if (kernel, name) in WHOLE else value


@dataclass(frozen=True, slots=True)
class Equalisation:
    """What `severity=ssim` asks for: levels at which all corruptions change images as much.

    Attributes:
        targets: Median SSIM of levels 1 to 5, falling.
        images: Of the validation split that it is measured on, spread evenly over it.
        tolerance: How far from its target a level may be.

    Raises:
        ConfigurationError: If they do not fall, or a number cannot be.
    """

    targets: Sequence[float]
    images: int = 64
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.targets, self.targets[1:], strict=False))
        within = all(0 < target < 1 for target in self.targets)
        if len(self.targets) != len(SEVERITIES) or not (falling and within):
            raise ConfigurationError(
                f"severity.equalise.targets={list(self.targets)}: write five SSIM between 1 and 0, "
                f"falling, one a level."
            )
        if self.images < 2 or not 0 < self.tolerance < 1:
            raise ConfigurationError(
                f"severity.equalise.images={self.images} must be 2 or more, and "
                f"severity.equalise.tolerance={self.tolerance} between 0 and 1."
            )


@dataclass(frozen=True, slots=True)
class Between:
    """What `severity=2.5` asks for: all corruptions at one severity between the published ones.

    Attributes:
        at: Above 0, below 5, and no whole number. The level, and the draws, are those of the next
            published severity.

    Raises:
        ConfigurationError: If it is none.
    """

    at: float

    def __post_init__(self) -> None:
        between = type(self.at) is float and 0 < self.at < SEVERITIES[-1]
        if not between or self.at.is_integer():
            raise ConfigurationError(
                f"severity.equalise.at={self.at}: write a severity between the published ones, as "
                f"severity=2.5."
            )


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a corruption that lies at severities in between.

    Attributes:
        level: 1 to 5, as tables call it.
        severity: What it is in severities of the suite.
        target: Median SSIM that was asked for; None where a severity was.
        quantiles: SSIM that was reached: 5, 25, 50, 75, 95 % of the validation images.
    """

    level: int
    severity: float
    target: float | None = None
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class InBetween(ABC):
    """A corruption at severities between the published ones: a column of its own.

    Attributes:
        computed: Always: from the clean images.
        of: The published one, expanded.
    """

    computed: ClassVar[bool] = True

    of: Corruption

    @property
    def name(self) -> str:
        """Of the corruption."""
        return self.of.name

    @property
    def grey(self) -> "Grey":
        """How grey images are treated."""
        return self.of.grey

    @abstractmethod
    def lies_at(self, level: int) -> float:
        """Return what a level, whose draws it has, is in severities of the suite."""

    def random(self, severity: int) -> bool:
        """Say whether draws are used."""
        return self.of.random(severity)

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels: the parameters of the severity in between.

        Args:
            severity: The level; the draws are those of this number.
            shape: As in `Corruption.identity`.
        """
        return identity_at(self.of, self.lies_at(severity), severity)

    def images(self, clean: Images, severity: int) -> Images:
        """Return what is read to be corrupted: the clean images."""
        return clean

    def __call__(
        self,
        images: "UInt8Batch",
        *,
        severity: int,
        seed: int = 0,
        stream: str = "",
        index: "IndexBatch",
    ) -> "UInt8Batch":
        """Corrupt a batch; see `corrupt_at`."""
        keyed = (seed, stream, severity)
        return corrupt_at(self.of, images, self.lies_at(severity), keyed=keyed, index=index)


@dataclass(frozen=True, slots=True)
class ContinuousCorruption(InBetween):
    """A corruption whose levels lie at severities in between, as tables have them.

    Attributes:
        levels: Where each level lies.
        target: What was equalised, or the severity, in the name of its suite.
    """

    levels: tuple[Level, ...] = field(compare=False)
    target: str = "ssim"

    @property
    def suite(self) -> str:
        """The published suite and the target: no table joins it with the published one."""
        return f"{self.of.suite}@{self.target}"

    def lies_at(self, level: int) -> float:
        """Return where a level was placed."""
        return next(one.severity for one in self.levels if one.level == level)


def identity_at(corruption: Corruption, severity: float, level: int) -> dict[str, Any]:
    """Give the plain values that decide the pixels of a corruption at any severity.

    Args:
        corruption: An expanded one.
        severity: Where its parameters lie.
        level: Whose draws it has.
    """
    from medrobust import keys

    entry = corruption.entry
    return corruption.place_identity() | {
        "name": corruption.name,
        "kernel": entry.kernel,
        "parameters": parameters_at(entry, severity),
        "version": entry.version,
        "grey": corruption.grey,
        "keys": keys.FORMAT,
        "severity": level,
    }


def corrupt_at(
    corruption: Corruption,
    images: "UInt8Batch",
    severity: float,
    *,
    keyed: tuple[int, str, int],
    index: "IndexBatch",
) -> "UInt8Batch":
    """Corrupt a batch at any severity above 0 and up to 5.

    Args:
        corruption: An expanded one.
        images: uint8 (N, C, H, W), C = 1 or 3; not modified.
        severity: Where its parameters lie.
        keyed: Seed, stream and level of the draws: equal ones at every severity.
        index: int64 (N,), the row of each image in its source split.
    """
    from medrobust.keys import derive_key

    from .batches import check_batch
    from .shell import rows_of, run_kernel

    check_batch(images)
    entry = corruption.entry
    seed, stream, level = keyed
    parameters, key = (
        parameters_at(entry, severity),
        derive_key(seed, stream, corruption.name, level),
    )
    if corruption.domain == "stored":
        from .stored import Step

        return corruption.of_stored(images, [Step(entry.kernel, parameters, key)], index)
    return run_kernel(
        images,
        entry.kernel,
        parameters,
        key=key,
        rows=rows_of(images, index),
        grey=corruption.grey,
    )
