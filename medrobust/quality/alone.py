"""Measures of an image alone: noise, sharpness, grey levels, foreground and background."""

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
import torch
from torch import Tensor

from .compiled_alone import SUMS, difference_sums, smooth_difference_sums
from .windows import inside

LEVELS = 256


@dataclass(frozen=True, slots=True)
class Differences:
    """Means over the places of each image where neighbours lie inside it, float64 (N,) each.

    Attributes:
        noise: Of |I * N|, N the second difference along both axes.
        laplacian: Variance of x[left] + x[right] + x[up] + x[down] - 4 x.
        steps: Absolute difference of neighbours, across plus down.
    """

    noise: Tensor
    laplacian: Tensor
    steps: Tensor


def differences(planes: Tensor) -> Differences:
    """Return what measures of neighbours need, in one pass on a CPU.

    Args:
        planes: float32 (N, H, W) from 0 to 255.
    """
    if planes.device.type != "cpu":
        return differences_of_maps(planes)
    sums = np.empty((len(planes), len(SUMS)))
    difference_sums(planes.contiguous().numpy(), sums)
    height, width = planes.shape[1:]
    with np.errstate(divide="ignore", invalid="ignore"):  # a side of one pixel has no neighbours
        noise, mean, squares = (
            sums[:, k] / np.float64((height - 2) * (width - 2)) for k in (0, 1, 2)
        )
        across = sums[:, 3] / np.float64(height * (width - 1))
        down = sums[:, 4] / np.float64((height - 1) * width)
    variance = np.maximum(squares - mean**2, 0)
    return Differences(*(torch.from_numpy(a) for a in (noise, variance, across + down)))


def differences_of_maps(planes: Tensor) -> Differences:
    """Return the same on any device."""
    noise = _second(_second(planes, 1), 2).abs_().flatten(1).mean(1).double()
    edges = _second(planes, 1)[:, :, 1:-1] + _second(planes, 2)[:, 1:-1]
    laplacian = edges.flatten(1).var(1, correction=0).double()
    across = (planes[:, :, 1:] - planes[:, :, :-1]).abs_().flatten(1).mean(1)
    down = (planes[:, 1:] - planes[:, :-1]).abs_().flatten(1).mean(1)
    return Differences(noise, laplacian, (across + down).double())


def noise_sigma(found: Differences) -> Tensor:
    """Estimate the standard deviation of white noise in grey levels; texture adds to it.

    sqrt(pi / 2) / (6 (W - 2) (H - 2)) times the sum of |I * N|, N the second difference along both
    axes.

    Args:
        found: From `differences`.

    Returns:
        float64 (N,).

    References:
        Immerkær, Fast noise variance estimation, 1996.
    """
    return sqrt(pi / 2) / 6 * found.noise


def _second(planes: Tensor, axis: int) -> Tensor:
    """Return x[i] - 2 x[i + 1] + x[i + 2] along an axis."""
    length = planes.shape[axis] - 2
    ends = planes.narrow(axis, 0, length) + planes.narrow(axis, 2, length)
    return ends.sub_(planes.narrow(axis, 1, length), alpha=2)


def haar_sigma(planes: Tensor) -> Tensor:
    """Estimate the standard deviation of white noise from the median of diagonal details / 0.67449.

    Args:
        planes: float32 (N, H, W) from 0 to 255.

    Returns:
        float64 (N,).

    References:
        Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994.
    """
    height, width = planes.shape[1] // 2 * 2, planes.shape[2] // 2 * 2
    even = planes[:, :height, :width]
    first = even[:, 0::2, 0::2] - even[:, 0::2, 1::2]
    second = even[:, 1::2, 1::2] - even[:, 1::2, 0::2]
    details = ((first + second) / 2).abs().flatten(1)
    if details.device.type == "cpu":
        middle = (details.shape[1] - 1) // 2  # the lower of two, as torch has it
        found = torch.from_numpy(np.partition(details.numpy(), middle, axis=1)[:, middle])
    else:
        found = details.median(1).values
    return found.double() / 0.67449


def laplacian_variance(found: Differences) -> Tensor:
    """Return the variance of x[left] + x[right] + x[up] + x[down] - 4 x, float64 (N,).

    Sharp edges raise it and so does noise: white noise of variance v gives 20 v.
    """
    return found.laplacian


def brightness(planes: Tensor) -> Tensor:
    """Return the mean grey level, float64 (N,)."""
    return planes.flatten(1).mean(1, dtype=torch.float64)


def contrast(planes: Tensor) -> Tensor:
    """Return the standard deviation of grey levels over an image, float64 (N,)."""
    return planes.flatten(1).std(1, correction=0).double()


def total_variation(found: Differences) -> Tensor:
    """Return the mean difference of neighbours across plus that down, float64 (N,)."""
    return found.steps


BOX = (1 / 3, 1 / 3, 1 / 3)


def sharpness(planes: Tensor) -> Tensor:
    """Return how much of the steepness of a smoothed image sits in single steps: blur lowers it.

    Means of 3 x 3 pixels first, so that noise counts little; then the mean second difference along
    an axis over the mean difference of pixels two apart. 0 for a constant image.

    Args:
        planes: float32 (N, H, W) from 0 to 255.

    Returns:
        float64 (N,).
    """
    if planes.device.type == "cpu":
        sums = np.empty((len(planes), 2))
        smooth_difference_sums(planes.contiguous().numpy(), sums)
        second, steep = torch.from_numpy(sums).unbind(1)
    else:
        second, steep = smooth_differences_of_maps(planes)
    return torch.where(steep > 0, second / steep, 0.0)


def smooth_differences_of_maps(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean second differences and differences two apart of means of 3 x 3 pixels."""
    smooth = inside(planes, BOX)
    second = [_second(smooth, axis).abs_().flatten(1).mean(1).double() for axis in (1, 2)]
    apart = [
        (smooth.narrow(a, 2, smooth.shape[a] - 2) - smooth.narrow(a, 0, smooth.shape[a] - 2))
        .abs_()
        .flatten(1)
        .mean(1)
        .double()
        for a in (1, 2)
    ]
    return second[0] + second[1], apart[0] + apart[1]


def counts(planes: Tensor) -> Tensor:
    """Count the grey levels, rounded to whole ones: float64 (N, 256)."""
    if planes.device.type == "cpu":
        bytes_of = planes.round().to(torch.uint8).numpy()
        found = [np.bincount(plane.ravel(), minlength=LEVELS) for plane in bytes_of]
        return torch.from_numpy(np.stack(found)).double()
    rounded = planes.round().long().flatten(1)
    rows = torch.arange(len(planes), device=planes.device)[:, None] * LEVELS
    counted = torch.bincount((rounded + rows).flatten(), minlength=len(planes) * LEVELS)
    return counted.view(len(planes), LEVELS).double()


def entropy(counted: Tensor) -> Tensor:
    """Return the entropy of grey levels in bits, float64 (N,): 8 where all are as frequent.

    Args:
        counted: float64 (N, 256), how often each level occurs; 0 where none does.
    """
    shares = counted / counted.sum(1, keepdim=True).clamp_min(1)
    return -(shares * torch.log2(shares.clamp_min(1e-300))).sum(1)


def thresholds(counted: Tensor) -> Tensor:
    """Return the highest level of the darker part by Otsu's method, int64 (N,).

    Args:
        counted: float64 (N, 256).

    References:
        Otsu, A threshold selection method from gray-level histograms, 1979.
    """
    levels = torch.arange(LEVELS, dtype=torch.float64, device=counted.device)
    below, total = counted.cumsum(1), counted.sum(1, keepdim=True)
    sums = (counted * levels).cumsum(1)
    above = total - below
    apart = sums / below.clamp_min(1) - (sums[:, -1:] - sums) / above.clamp_min(1)
    return (below * above * apart**2).argmax(1)


def foreground(planes: Tensor) -> Tensor:
    """Return 1 where a pixel is of the brighter part by Otsu's method, float32 (N, H, W)."""
    limits = thresholds(counts(planes))[:, None, None]
    return (planes.round() > limits).float()


class Parts:
    """The brighter part of each image, its foreground, and the darker one: split by Otsu's method.

    Args:
        counted: float64 (N, 256), how often each grey level occurs.
    """

    def __init__(self, counted: Tensor) -> None:
        levels = torch.arange(LEVELS, dtype=torch.float64, device=counted.device)
        darker = levels <= thresholds(counted)[:, None]
        self.foreground = counted.masked_fill(darker, 0.0)
        background = counted - self.foreground
        self.share = self.foreground.sum(1) / counted.sum(1)
        self.bright = (self.foreground * levels).sum(1) / self.foreground.sum(1)
        self.dark = (background * levels).sum(1) / background.sum(1)


def snr(parts: Parts, sigma: Tensor) -> Tensor:
    """Return the mean of the foreground over the noise, float64 (N,): no number without either."""
    return parts.bright / sigma


def cnr(parts: Parts, sigma: Tensor) -> Tensor:
    """Return the difference of both parts' means over the noise, float64 (N,)."""
    return (parts.bright - parts.dark).abs() / sigma
