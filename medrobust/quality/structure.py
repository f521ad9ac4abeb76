"""SSIM and MS-SSIM (Wang et al. 2004 and 2003), on luma."""

import numpy as np
import torch
from torch import Tensor

from .compiled import similarities
from .windows import compiled_pair, gaussian, halved, inside, mean_of

WINDOW = gaussian(11, 1.5)

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM, finest scale first."""

Means = tuple[Tensor, Tensor, Tensor]
"""Of light times structure, of structure, and of the former under a mask: float64 (N,) each."""

NO_MASK = torch.empty(0, 0, 0)

MIDDLE = 128.0
"""Taken off before squares: variances stay, and float32 keeps more of their digits."""


def ssim(clean: Tensor, planes: Tensor) -> Tensor:
    """Return the structural similarity of each plane.

    Gaussian window 11 x 11 of sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, population covariance,
    mean over the places where the window lies inside the image, no downsampling: scikit-image's
    with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.

    Args:
        clean: float32 (N, H, W) from 0 to 255.
        planes: As `clean`.

    Returns:
        float64 (N,).

    References:
        Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.
    """
    return similar_means(clean, planes)[0].clamp_max(1)


def ms_ssim(clean: Tensor, planes: Tensor, finest: Means | None = None) -> Tensor:
    """Return the multi-scale similarity: structure at five scales, light at the coarsest.

    Scales are halved by means of 2 x 2 pixels; a mean structure below zero counts as zero.

    Args:
        clean: float32 (N, H, W) from 0 to 255, 176 pixels a side or more.
        planes: As `clean`.
        finest: Their `similar_means`, where they are known.

    Returns:
        float64 (N,).

    References:
        Wang et al., Multi-scale structural similarity for image quality assessment, 2003.
    """
    product = torch.ones(len(clean), dtype=torch.float64, device=clean.device)
    for scale, exponent in enumerate(SCALES, 1):
        means = finest if scale == 1 and finest is not None else similar_means(clean, planes)
        found = means[0] if scale == len(SCALES) else means[1]
        product = product * found.clamp_min(0) ** exponent
        if scale < len(SCALES):
            clean, planes = halved(clean), halved(planes)
    return product.clamp_max(1)


def similar_means(clean: Tensor, planes: Tensor, masks: Tensor = NO_MASK) -> Means:
    """Return the mean of light times structure over an image, that of structure alone, and another.

    Args:
        clean: float32 (N, H, W) from 0 to 255.
        planes: As `clean`.
        masks: float32 (N, H, W), 1 where the middle of a window counts for the third mean; without
            them it has no value.
    """
    if planes.device.type == "cpu":
        means = np.empty((len(planes), 3))
        taps, constants = np.array(WINDOW, np.float32), (np.float32(C1), np.float32(C2))
        similarities(*compiled_pair(clean, planes), taps, *constants, masks.numpy(), means)
        whole, structure, masked = torch.from_numpy(means).unbind(1)
        return whole, structure, masked
    light, alike = similarity_maps(clean, planes)
    return mean_of(light * alike), mean_of(alike), _masked_mean(light * alike, masks)


def _masked_mean(found: Tensor, masks: Tensor) -> Tensor:
    """Return the mean of a map (N, H - 10, W - 10) where the middles of its windows are masked."""
    if not len(masks):
        return torch.full((len(found),), torch.nan, dtype=torch.float64, device=found.device)
    around = len(WINDOW) // 2
    middles = masks[:, around:-around, around:-around].double()
    return (middles * found).flatten(1).sum(1) / middles.flatten(1).sum(1)


def similarity_maps(clean: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return how alike light and structure are at each place, float32 (N, H - 10, W - 10)."""
    x, y = clean - MIDDLE, planes - MIDDLE
    mean_x, mean_y = inside(x, WINDOW), inside(y, WINDOW)
    both = inside((x * x).addcmul_(y, y), WINDOW)
    shared = inside(x.mul_(y), WINDOW)
    squares = (mean_x * mean_x).addcmul_(mean_y, mean_y)
    product = mean_x * mean_y
    structure = (shared - product).mul_(2).add_(C2)
    structure.div_(both.sub_(squares).clamp_min_(0).add_(C2))
    offset = mean_x.add_(mean_y).mul_(2 * MIDDLE).add_(2 * MIDDLE**2 + C1)  # of means from 0 up
    return product.mul_(2).add_(offset).div_(squares.add_(offset)), structure
