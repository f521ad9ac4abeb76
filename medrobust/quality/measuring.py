"""One batch measured: what several measures stand on is computed once."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.types import UInt8Batch

from . import alone, deep, fidelity, gradients, structure
from .brisque import brisque
from .measures import MEASURES, OF_A_SITE, check_size, known_measures
from .niqe import SiteModel, niqe
from .weights import files_of
from .windows import luma

AT_ONCE = 8
"""Images measured at a time on a CPU: what they need stays in its cache."""

BY_BYTES = frozenset({"mse", "psnr"})
"""Measured of a whole batch: they need nothing but its bytes."""


class _Batch:
    """Images, their clean originals, and what measures share, each made when first asked for."""

    def __init__(
        self,
        images: UInt8Batch,
        clean: UInt8Batch | None,
        site: SiteModel | None,
        local_dir: str | Path | None,
    ) -> None:
        self.images = images
        self._clean, self._site = clean, site
        self.local_dir = local_dir

    @property
    def site(self) -> SiteModel:
        assert self._site is not None  # `measure` has refused it
        return self._site

    @property
    def clean(self) -> UInt8Batch:
        assert self._clean is not None  # `measure` has refused it
        return self._clean

    @cached_property
    def planes(self) -> Tensor:
        return luma(self.images)

    @cached_property
    def clean_planes(self) -> Tensor:
        return luma(self.clean)

    @cached_property
    def alike(self) -> structure.Means:
        return structure.similar_means(self.clean_planes, self.planes)

    @cached_property
    def alike_in_foreground(self) -> structure.Means:
        foreground = alone.foreground(self.clean_planes)
        return structure.similar_means(self.clean_planes, self.planes, foreground)

    def files(self, name: str) -> tuple[Path, ...]:
        return files_of(name, self.local_dir)

    @cached_property
    def counts(self) -> Tensor:
        return alone.counts(self.planes)

    @cached_property
    def parts(self) -> alone.Parts:
        return alone.Parts(self.counts)

    @cached_property
    def sigma(self) -> Tensor:
        return alone.noise_sigma(self.differences)

    @cached_property
    def differences(self) -> alone.Differences:
        return alone.differences(self.planes)


COMPUTE: Mapping[str, Callable[[_Batch], Tensor]] = {
    "mse": lambda b: fidelity.mse(b.clean, b.images),
    "psnr": lambda b: fidelity.psnr(b.clean, b.images),
    "ssim": lambda b: b.alike[0].clamp_max(1),
    "foreground_ssim": lambda b: b.alike_in_foreground[2].clamp_max(1),
    "ms_ssim": lambda b: structure.ms_ssim(b.clean_planes, b.planes, b.alike),
    "vif": lambda b: fidelity.vif(b.clean_planes, b.planes),
    "gmsd": lambda b: gradients.gmsd(b.clean_planes, b.planes),
    "haarpsi": lambda b: gradients.haarpsi(b.clean, b.images),
    "lpips": lambda b: deep.lpips(b.clean, b.images, b.files("lpips")),
    "dists": lambda b: deep.dists(b.clean, b.images, b.files("dists")),
    "noise_sigma": lambda b: b.sigma,
    "haar_sigma": lambda b: alone.haar_sigma(b.planes),
    "laplacian_variance": lambda b: alone.laplacian_variance(b.differences),
    "entropy": lambda b: alone.entropy(b.counts),
    "foreground_entropy": lambda b: alone.entropy(b.parts.foreground),
    "foreground_share": lambda b: b.parts.share,
    "brightness": lambda b: alone.brightness(b.planes),
    "contrast": lambda b: alone.contrast(b.planes),
    "snr": lambda b: alone.snr(b.parts, b.sigma),
    "cnr": lambda b: alone.cnr(b.parts, b.sigma),
    "total_variation": lambda b: alone.total_variation(b.differences),
    "sharpness": lambda b: alone.sharpness(b.planes),
    "niqe": lambda b: niqe(b.planes, b.site),
    "brisque": lambda b: brisque(b.planes, b.files("brisque")),
}
"""Name -> how it is computed; every name of `MEASURES` has one."""


def measure(
    images: UInt8Batch,
    names: Sequence[str],
    *,
    clean: UInt8Batch | None = None,
    site: SiteModel | None = None,
    local_dir: str | Path | None = None,
) -> dict[str, Tensor]:
    """Measure each image of a batch; the numbers do not depend on what else is in it.

    Args:
        images: uint8 (N, C, H, W), C = 1 or 3, on any device.
        names: Of `MEASURES`.
        clean: The originals, as `images`; measures that compare need them.
        site: What clean images of the site are like, from `niqe.fit_site`; niqe needs it.
        local_dir: Folder of the files that learnt measures need: brisque, lpips, dists.

    Returns:
        Name -> float64 (N,) on that device. Not finite where a measure has no value: PSNR of equal
        images, SNR of an image without noise or without two grey levels.

    Raises:
        UnknownNameError: If there is no such measure.
        InvalidImageError: If a batch is not one, or too small for a measure.
        ConfigurationError: If a measure compares and there are no originals, or needs files and no
            folder is given.
        WeightsNotFoundError: If the folder lacks a file.
        WeightsMismatchError: If a file is not the published one.

    Example:
        >>> dark = torch.full((1, 1, 16, 16), 100, dtype=torch.uint8)
        >>> round(measure(dark + 20, ["ssim"], clean=dark)["ssim"].item(), 6)
        0.983611
    """
    known_measures(names)
    _check(images)
    check_size(names, *images.shape[-2:])
    compared = [name for name in names if MEASURES[name].full_reference]
    if compared and clean is None:
        raise ConfigurationError(
            f"{', '.join(compared)} compare with a clean original, and none is given: pass clean=, "
            f"or take measures of an image alone."
        )
    if site is None and OF_A_SITE & set(names):
        raise ConfigurationError(
            "niqe is measured against clean images of the site: pass site=fit_site(...), or in a "
            "run take data with a validation split."
        )
    if clean is not None and (clean.shape != images.shape or clean.dtype != images.dtype):
        raise InvalidImageError(
            f"clean originals of shape {tuple(clean.shape)} do not belong to images of "
            f"{tuple(images.shape)}."
        )
    whole = [name for name in names if name in BY_BYTES or images.device.type != "cpu"]
    found = _of_batch(_Batch(images, clean, site, local_dir), whole)
    few = [name for name in names if name not in whole]
    starts = range(0, len(images), AT_ONCE) if few else ()
    parts = []
    for start in starts:
        rows = slice(start, start + AT_ONCE)
        own = None if clean is None else clean[rows]
        parts.append(_of_batch(_Batch(images[rows], own, site, local_dir), few))
    found |= {name: torch.cat([part[name] for part in parts]) for name in few}
    return {name: found[name] for name in names}


def _of_batch(batch: _Batch, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: COMPUTE[name](batch) for name in names}


def _check(images: UInt8Batch) -> None:
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
        found = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else "none"
        raise InvalidImageError(
            f"a measure of quality takes a uint8 tensor (N, C, H, W), got {found}."
        )
    if images.shape[1] not in (1, 3):
        raise InvalidImageError(
            f"a measure of quality takes 1 or 3 channels, got {images.shape[1]}."
        )
