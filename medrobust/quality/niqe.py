"""NIQE: how unlike clean images of a site the fine structure of an image is.

Thirty-six statistics of normalised brightness of each patch, at two scales; a normal distribution
of them from clean images of the site itself, and one from the patches of an image; the distance of
both. The published model is of photographs and is not used: it would measure black borders.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import gamma as gamma_function

import numpy as np
import torch
from torch import Tensor

from medrobust.exceptions import InvalidImageError
from medrobust.types import Float64Array

from .windows import gaussian, halved, inside

WINDOW = gaussian(7, 7 / 6)
MARGIN = 3
"""Pixels that the window takes from each border."""

PATCH = 80
"""Pixels a side of a patch inside the margin, at the first scale; patches overlap by half."""

SMALLEST = PATCH + 4 * MARGIN
"""Pixels that the shorter side must have, so that one patch fits at both scales."""

SHARP = 0.75
"""Of the sharpest patch of an image: patches of clean images that are as sharp count."""

FEWEST_PATCHES = 72
"""Of clean images: twice as many as there are statistics."""

SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours whose products are looked at: right, below, and on both diagonals."""

SHAPES = np.arange(0.2, 10.001, 0.001)


@dataclass(frozen=True, slots=True)
class SiteModel:
    """What clean images of a site are like.

    Attributes:
        mean: float64 (36,).
        covariance: float64 (36, 36).
    """

    mean: Float64Array
    covariance: Float64Array


@lru_cache(maxsize=1)
def ratios() -> Float64Array:
    """Return E|x|² / E x² of generalised normal distributions of all `SHAPES`: rising."""
    return np.array([gamma_function(2 / a) ** 2 / gamma_function(1 / a) / gamma_function(3 / a)
                     for a in SHAPES])  # fmt: skip


def asymmetric_fit(values: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Fit asymmetric generalised normal distributions by their moments, row by row.

    Args:
        values: float64 (P, n).

    Returns:
        Shape, and scale left and right of zero, float64 (P,) each.

    References:
        Lasmar et al., Multiscale skewed heavy tailed model for texture analysis, 2009.
    """
    squares = values**2
    below, above = values < 0, values > 0
    left = np.sqrt(_mean_where(squares, below))
    right = np.sqrt(_mean_where(squares, above))
    ratio = np.where(right > 0, left / np.where(right > 0, right, 1.0), 1.0)
    whole = squares.mean(axis=1)
    observed = np.abs(values).mean(axis=1) ** 2 / np.where(whole > 0, whole, 1.0)
    symmetric = observed * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    place = np.searchsorted(ratios(), symmetric).clip(0, len(SHAPES) - 1)
    shape: Float64Array = SHAPES[place]
    first, third = (np.array([gamma_function(k / a) for a in shape]) for k in (1, 3))
    scale = np.sqrt(first / third)
    return shape, left * scale, right * scale


def _mean_where(values: Float64Array, where: "np.ndarray") -> Float64Array:
    found: Float64Array = (values * where).sum(axis=1) / np.maximum(where.sum(axis=1), 1)
    return found


def _statistics(patches: Float64Array) -> Float64Array:
    """Return the eighteen statistics of patches (P, h, w) at one scale: float64 (P, 18)."""
    flat = patches.reshape(len(patches), -1)
    shape, left, right = asymmetric_fit(flat)
    found = [shape, (left + right) / 2]
    for down, across in SHIFTS:
        height, width = patches.shape[1:]
        near = patches[:, : height - down, max(0, -across) : width - max(0, across)]
        far = patches[:, down:, max(0, across) : width + min(0, across)]
        shape, left, right = asymmetric_fit((near * far).reshape(len(patches), -1))
        ratio = np.array([gamma_function(2 / a) / gamma_function(1 / a) for a in shape])
        found += [shape, (right - left) * ratio, left, right]
    return np.stack(found, axis=1)


def _normalised(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return brightness less its local mean over its local deviation plus one, and that one."""
    mean = inside(planes, WINDOW)
    spread = (inside(planes * planes, WINDOW) - mean**2).clamp_min(0).sqrt()
    middle = planes[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    return (middle - mean) / (spread + 1), spread


def _patches(planes: Tensor, side: int) -> Float64Array:
    """Cut planes (N, H, W) into patches that overlap by half: float64 (N, P, side, side)."""
    cut = planes.unfold(1, side, side // 2).unfold(2, side, side // 2)
    found: Float64Array = cut.flatten(1, 2).double().cpu().numpy()
    return found


def patch_statistics(planes: Tensor) -> tuple[Float64Array, Float64Array]:
    """Return the statistics of the patches of each image, and how sharp each patch is.

    Args:
        planes: float32 (N, H, W) from 0 to 255, `SMALLEST` pixels a side or more.

    Returns:
        float64 (N, P, 36) and (N, P).
    """
    first, spread = _normalised(planes)
    second, _ = _normalised(halved(planes))
    whole, half = _patches(first, PATCH), _patches(second, PATCH // 2)
    sharp = _patches(spread, PATCH).mean(axis=(2, 3))
    count = min(whole.shape[1], half.shape[1])
    if whole.shape[1] != half.shape[1]:  # the margin may cost the halved image its last patches
        whole, half, sharp = whole[:, :count], half[:, :count], sharp[:, :count]
    parts = [_statistics(p.reshape(-1, *p.shape[2:])).reshape(len(p), count, 18)
             for p in (whole, half)]  # fmt: skip
    return np.concatenate(parts, axis=2), sharp


def fit_site(planes: Tensor) -> SiteModel:
    """Describe clean images of a site by their sharp patches.

    Args:
        planes: As in `patch_statistics`.

    Raises:
        InvalidImageError: If they have too few patches.
    """
    found, sharp = patch_statistics(planes)
    kept = found[sharp >= SHARP * sharp.max(axis=1, keepdims=True)]
    if len(kept) < FEWEST_PATCHES:
        raise InvalidImageError(
            f"niqe describes clean validation images by {FEWEST_PATCHES} sharp patches at least, "
            f"and these have {len(kept)}: take more images, or leave niqe out."
        )
    return SiteModel(kept.mean(axis=0), np.cov(kept, rowvar=False))


def niqe(planes: Tensor, site: SiteModel) -> Tensor:
    """Return the distance of each image from clean images of a site: float64 (N,), 0 is best.

    √(Δμᵀ ((Σ₁ + Σ₂) / 2)⁻¹ Δμ), pseudo-inverse; all patches of an image count.

    Args:
        planes: As in `patch_statistics`.
        site: From `fit_site`.

    References:
        Mittal et al., Making a completely blind image quality analyzer, 2013.
    """
    found, _ = patch_statistics(planes)
    distances = []
    for each in found:
        apart = each.mean(axis=0) - site.mean
        own = np.cov(each, rowvar=False) if len(each) > 1 else np.zeros_like(site.covariance)
        inverse = np.linalg.pinv((own + site.covariance) / 2, hermitian=True)
        distances.append(float(np.sqrt(max(0.0, apart @ inverse @ apart))))
    return torch.tensor(distances, dtype=torch.float64, device=planes.device)
