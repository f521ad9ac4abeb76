"""What all measures stand on: luma, windows that slide inside the image, means of 2 x 2 pixels."""

from collections.abc import Sequence
from math import exp

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medrobust.types import Float32Array, UInt8Batch

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601, in floating point and not rounded."""


def luma(images: UInt8Batch) -> Tensor:
    """Convert uint8 (N, C, H, W) to brightness, float32 (N, H, W) from 0 to 255.

    Example:
        >>> grey = luma(torch.tensor([200, 100, 50], dtype=torch.uint8).reshape(1, 3, 1, 1))
        >>> round(grey.item(), 4)
        124.2
    """
    if images.shape[1] == 1:
        return images[:, 0].float()
    return weighted(images, LUMA)


def weighted(images: UInt8Batch, weights: Sequence[float]) -> Tensor:
    """Add three channels up with their weights, float32 (N, H, W)."""
    red, green, blue = images.float().unbind(1)
    return weights[0] * red + weights[1] * green + weights[2] * blue


def gaussian(size: int, sigma: float) -> tuple[float, ...]:
    """Return the weights of a Gaussian window, which add up to one."""
    middle = (size - 1) / 2
    raw = [exp(-((i - middle) ** 2) / (2 * sigma**2)) for i in range(size)]
    return tuple(value / sum(raw) for value in raw)


def inside(planes: Tensor, window: Sequence[float]) -> Tensor:
    """Slide a separable window over planes, at the places where it lies inside them.

    Args:
        planes: float32 (N, H, W).
        window: Weights of size k along either axis.

    Returns:
        float32 (N, H - k + 1, W - k + 1).
    """
    if planes.device.type == "cpu":
        return _inside_cpu(planes, window)
    kernel = torch.tensor(window, dtype=planes.dtype, device=planes.device)
    found = functional.conv2d(planes[:, None], kernel.view(1, 1, -1, 1))
    return functional.conv2d(found, kernel.view(1, 1, 1, -1))[:, 0]


def _inside_cpu(planes: Tensor, window: Sequence[float]) -> Tensor:
    """Slide over all planes as over one tall one: what reaches over an edge is cut away."""
    count, height, width = planes.shape
    size = len(window)
    before = size // 2
    tall = planes.reshape(count * height, width).numpy()
    taps = np.array(window)
    found = cv2.sepFilter2D(tall, -1, taps, taps).reshape(count, height, width)
    rows = slice(before, before + height - size + 1)
    columns = slice(before, before + width - size + 1)
    return torch.from_numpy(found[:, rows, columns])


def compiled_pair(clean: Tensor, planes: Tensor) -> tuple[Float32Array, Float32Array]:
    """Return a pair of planes on the CPU as the compiled functions take them."""
    return clean.contiguous().numpy(), planes.contiguous().numpy()


def halved(planes: Tensor) -> Tensor:
    """Return means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = planes.shape[-2] // 2 * 2, planes.shape[-1] // 2 * 2
    even = planes[..., :height, :width]
    upper = even[..., 0::2, 0::2] + even[..., 0::2, 1::2]
    lower = even[..., 1::2, 0::2] + even[..., 1::2, 1::2]
    return (upper + lower) / 4


def mean_of(planes: Tensor) -> Tensor:
    """Return the mean of each plane, float64 (N,)."""
    return planes.flatten(1).mean(1, dtype=torch.float64)
