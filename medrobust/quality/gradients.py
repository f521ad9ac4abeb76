"""Similarities of edges: GMSD and HaarPSI."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medrobust.types import UInt8Batch

from .compiled import HAAR_ALPHA, gradient_deviations, haar_sums
from .windows import compiled_pair, halved, luma, weighted

GMSD_T = 170.0
"""Keeps the similarity of weak gradients near one; for planes from 0 to 255."""

CHROMA = ((0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""I and Q of YIQ."""

HAAR_C = 30.0


def gmsd(clean: Tensor, planes: Tensor) -> Tensor:
    """Return the deviation of the similarity of gradient magnitudes: 0 for the clean image.

    Means of 2 x 2 pixels, Prewitt gradients / 3 inside the image, T = 170, population deviation.
    A constant offset of brightness is not seen.

    Args:
        clean: float32 (N, H, W) from 0 to 255.
        planes: As `clean`.

    Returns:
        float64 (N,).

    References:
        Xue et al., Gradient magnitude similarity deviation, 2014.
    """
    if planes.device.type == "cpu":
        found = np.empty(len(planes))
        gradient_deviations(*compiled_pair(clean, planes), np.float32(GMSD_T), found)
        return torch.from_numpy(found)
    return gradient_deviations_of_maps(clean, planes)


def gradient_deviations_of_maps(clean: Tensor, planes: Tensor) -> Tensor:
    """Return the same on any device."""
    x, y = _steepness(halved(clean)), _steepness(halved(planes))
    similar = (2 * (x * y).sqrt() + GMSD_T) / (x + y + GMSD_T)
    return similar.flatten(1).double().std(1, correction=0)


def _steepness(planes: Tensor) -> Tensor:
    """Return the squared magnitude of Prewitt gradients, float32 (N, H - 2, W - 2)."""
    across = planes[:, :, 2:] - planes[:, :, :-2]
    down = planes[:, 2:] - planes[:, :-2]
    across = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
    down = down[:, :, :-2] + down[:, :, 1:-1] + down[:, :, 2:]
    return (across**2 + down**2) / 9


def haarpsi(clean: UInt8Batch, images: UInt8Batch) -> Tensor:
    """Return the Haar wavelet-based perceptual similarity: 1 for the clean image.

    YIQ for colour, luma alone for grey; means of 2 x 2 pixels; C = 30, alpha = 4.2; borders are
    filled with zeros, as the authors' program does.

    Args:
        clean: uint8 (N, C, H, W).
        images: As `clean`.

    Returns:
        float64 (N,).

    References:
        Reisenhofer et al., A Haar wavelet-based perceptual similarity index, 2018.
    """
    pair = luma(clean), luma(images)
    sums_of = edge_sums if images.device.type == "cpu" else edge_sums_of_maps
    over, under, weight = sums_of(*pair)
    if clean.shape[1] == 3:
        pairs = [[_smooth(halved(weighted(i, w))) for i in (clean, images)] for w in CHROMA]
        similar = torch.stack([_alike(a, b) for a, b in pairs]).mean(0)
        over = over + _sum_of(torch.sigmoid(HAAR_ALPHA * similar) * weight)
        under = under + _sum_of(weight)
    share = torch.where(under > 0, over / under, torch.sigmoid(torch.tensor(HAAR_ALPHA).double()))
    return ((torch.logit(share) / HAAR_ALPHA) ** 2).clamp_max(1)


Edges = tuple[Tensor, Tensor, Tensor]
"""Sums of weighted likeness and of weights, float64 (N,), and the mean weight at each place."""


def edge_sums(clean: Tensor, planes: Tensor) -> Edges:
    """Compare fine edges of planes on the CPU, weighted by coarse ones."""
    x, y = compiled_pair(clean, planes)
    sums = np.zeros((len(x), 2))
    weight = np.empty((len(x), x.shape[1] // 2, x.shape[2] // 2), np.float32)
    haar_sums(x, y, np.float32(HAAR_C), sums, weight)
    over, under = torch.from_numpy(sums).unbind(1)
    return over, under, torch.from_numpy(weight)


def edge_sums_of_maps(clean: Tensor, planes: Tensor) -> Edges:
    """Do the same on any device."""
    x, y = _haar(halved(clean)), _haar(halved(planes))
    similar = [(_alike(a[0], b[0]) + _alike(a[1], b[1])) / 2 for a, b in zip(x, y, strict=True)]
    weights = [torch.maximum(a[2], b[2]) for a, b in zip(x, y, strict=True)]
    over = [
        _sum_of(torch.sigmoid(HAAR_ALPHA * s) * w) for s, w in zip(similar, weights, strict=True)
    ]
    under = [_sum_of(w) for w in weights]
    return over[0] + over[1], under[0] + under[1], (weights[0] + weights[1]) / 2


def _sum_of(planes: Tensor) -> Tensor:
    return planes.flatten(1).sum(1, dtype=torch.float64)


def _haar(planes: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return, for edges across and down, magnitudes at the scales 2, 4 and 8, (N, H, W) each."""
    across, down = [], []
    for size in (2, 4, 8):
        padded = _padded(planes, size)
        across.append(_step(_total(padded, size, 1), size, 2).abs() / size)
        down.append(_step(_total(padded, size, 2), size, 1).abs() / size)
    return [(across[0], across[1], across[2]), (down[0], down[1], down[2])]


def _padded(planes: Tensor, size: int) -> Tensor:
    """Fill up with zeros so that a window of an even size gives as many values as pixels."""
    before, after = size // 2 - 1, size // 2
    return functional.pad(planes, (before, after, before, after))


def _total(planes: Tensor, size: int, axis: int) -> Tensor:
    """Add up `size` neighbours along an axis, a power of two."""
    step = 1
    while step < size:
        length = planes.shape[axis] - step
        planes = planes.narrow(axis, 0, length) + planes.narrow(axis, step, length)
        step *= 2
    return planes


def _step(planes: Tensor, size: int, axis: int) -> Tensor:
    """Return the second half of a window minus its first along an axis."""
    halves = _total(planes, size // 2, axis)
    length = halves.shape[axis] - size // 2
    return halves.narrow(axis, size // 2, length) - halves.narrow(axis, 0, length)


def _smooth(planes: Tensor) -> Tensor:
    return (_total(_total(_padded(planes, 2), 2, 1), 2, 2) / 4).abs()


def _alike(x: Tensor, y: Tensor) -> Tensor:
    return (2 * x * y + HAAR_C) / (x * x + y * y + HAAR_C)
