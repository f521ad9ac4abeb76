"""Which measures of image quality there are, and which of them a run takes: facts, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medrobust.exceptions import ConfigurationError, InvalidImageError, unknown_name

from .weights import digests

VERSION = 1
"""Of all definitions together: another one makes other cells."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of image quality.

    Attributes:
        title: For the head of a column; names the variant where there are several.
        full_reference: Whether it compares an image with its clean original.
        higher_is_better: False where more is worse; None where neither end is good.
        smallest: Pixels that the shorter side must have.
        unit: "dB", "grey levels", ...; empty for plain numbers.
    """

    title: str
    full_reference: bool
    higher_is_better: bool | None
    smallest: int = 8
    unit: str = ""


MEASURES: Mapping[str, Measure] = {
    "mse": Measure("mean squared error", True, False, 1, "grey levels²"),
    "psnr": Measure("PSNR", True, True, 1, "dB"),
    "ssim": Measure("SSIM (Gaussian 11×11, σ 1.5, luma)", True, True, 11),
    "foreground_ssim": Measure("SSIM of the foreground of the clean image", True, True, 11),
    "ms_ssim": Measure("MS-SSIM (5 scales, luma)", True, True, 176),
    "vif": Measure("VIF (pixel domain, luma)", True, True, 41),
    "gmsd": Measure("GMSD", True, False, 8),
    "haarpsi": Measure("HaarPSI", True, True, 16),
    "lpips": Measure("LPIPS (AlexNet)", True, False, 64),
    "dists": Measure("DISTS", True, False, 16),
    "noise_sigma": Measure("noise σ (Immerkær)", False, False, 3, "grey levels"),
    "haar_sigma": Measure("noise σ (Haar HH, median)", False, False, 2, "grey levels"),
    "laplacian_variance": Measure("variance of the Laplacian", False, None, 3),
    "entropy": Measure("entropy", False, None, 1, "bits"),
    "foreground_entropy": Measure("entropy of the foreground", False, None, 1, "bits"),
    "foreground_share": Measure("share of the foreground", False, None, 1),
    "brightness": Measure("mean brightness", False, None, 1, "grey levels"),
    "contrast": Measure("standard deviation of brightness", False, None, 1, "grey levels"),
    "snr": Measure("signal to noise (estimate)", False, True, 3),
    "cnr": Measure("contrast to noise (estimate)", False, True, 3),
    "total_variation": Measure("total variation", False, None, 2, "grey levels"),
    "sharpness": Measure("share of edges that second differences see", False, None, 5),
    "niqe": Measure("NIQE (model of the site's clean images)", False, False, 92),
    "brisque": Measure("BRISQUE (model of photographs)", False, False, 32),
}
"""Name -> what it is, in the order of tables. Definitions: docs/quality.md."""


def known_measures(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as given, each checked.

    Raises:
        UnknownNameError: With the near misses.
        ConfigurationError: If there is none, or one twice.
    """
    for name in names:
        if name not in MEASURES:
            raise unknown_name("measure of image quality", str(name), MEASURES)
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(
            f"quality.measures={list(names)}: name at least one measure, and each once."
        )
    return tuple(names)


OF_A_SITE = frozenset({"niqe"})
"""Measures that are fitted on clean validation images."""

SITE_IMAGES = 96
"""Of the validation split that they are fitted on, spread evenly over it."""


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """What conf/quality builds: the measures that a run takes of its images.

    Attributes:
        measures: Names, in table order.
        local_dir: Folder of the files that learnt measures need.
    """

    measures: Sequence[str]
    local_dir: str | None = None

    def __post_init__(self) -> None:
        known_measures(self.measures)

    @property
    def head(self) -> Mapping[str, Any]:
        """What turns images into the arrays of a cell, for its fingerprint.

        Raises:
            ConfigurationError: If a learnt measure is asked for without `local_dir`.
            WeightsNotFoundError: If that folder lacks a file.
        """
        head = {"kind": "image_quality", "measures": list(self.measures), "version": VERSION}
        learnt = digests(self.measures, self.local_dir)
        return {**head, "files": learnt} if learnt else head

    @property
    def of_a_site(self) -> bool:
        """Whether a measure is fitted on clean validation images."""
        return bool(OF_A_SITE & set(self.measures))

    def head_of(self, site: str | None) -> Mapping[str, Any]:
        """Return `head`, and the clean images that a measure is fitted on, by fingerprint."""
        if site is None:
            return self.head
        return {**self.head, "site": {"data": site, "images": SITE_IMAGES}}

    def check_size(self, height: int, width: int) -> None:
        """Refuse images that are too small for a measure.

        Raises:
            InvalidImageError: Naming the measure, and what to do.
        """
        check_size(self.measures, height, width)


def check_size(names: Sequence[str], height: int, width: int) -> None:
    """Refuse images that are too small for a measure, as `ImageQuality.check_size`."""
    for name in names:
        smallest = MEASURES[name].smallest
        if min(height, width) < smallest:
            rest = ",".join(n for n in names if MEASURES[n].smallest <= min(height, width))
            raise InvalidImageError(
                f"{name} takes images of at least {smallest} pixels a side, and these have "
                f"{height} x {width}: leave it out by 'quality.measures=[{rest}]'."
            )
