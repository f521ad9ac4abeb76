"""What every kernel needs: checks of a batch, levels, the way to grey."""

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medrobust.exceptions import InvalidImageError
from medrobust.types import UInt8Batch

Int32Array: TypeAlias = NDArray[np.int32]

SMALLEST, LARGEST = 28, 1024
"""Pixels a side that the kernels are made and tested for."""

LEVELS = np.arange(256) / 255.0
"""Pixels as float64 values of 0 to 1."""

GREY_WEIGHTS = (19595, 38470, 7471)
"""ITU-R 601 luma in 16-bit fixed point, as Pillow converts to mode L."""


def check_batch(images: UInt8Batch) -> None:
    """Refuse what is not a uint8 batch (N, C, H, W) of 1 or 3 channels and 28 to 1024 a side."""
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InvalidImageError(
            f"a corruption takes a uint8 tensor, got {kind}. Corrupt images as they are stored, "
            f"before scaling them to floats."
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InvalidImageError(
            f"a corruption takes a batch (N, C, H, W) with 1 or 3 channels, got shape "
            f"{tuple(images.shape)}. Put channels second and add the batch axis."
        )
    if min(images.shape[2:]) < SMALLEST or max(images.shape[2:]) > LARGEST:
        raise InvalidImageError(
            f"a corruption takes images of {SMALLEST} to {LARGEST} pixels a side, got "
            f"{images.shape[2]} x {images.shape[3]}. Resize them first."
        )


def to_grey(images: UInt8Batch) -> UInt8Batch:
    """Convert (N, 3, H, W) to (N, 1, H, W) with the 601 weights, rounded as Pillow does.

    Example:
        >>> pixel = torch.tensor([200, 100, 50], dtype=torch.uint8).reshape(1, 3, 1, 1)
        >>> to_grey(pixel).item()
        124
    """
    red, green, blue = (images[:, c : c + 1].int() for c in range(3))
    weighted = GREY_WEIGHTS[0] * red + GREY_WEIGHTS[1] * green + GREY_WEIGHTS[2] * blue
    return ((weighted + 32768) >> 16).to(torch.uint8)
