"""Where in an image a corruption is: its foreground, the disc of a fundus, or masks that are given.

A corruption of the background alone tells whether a model uses what is around an organ; one of the
foreground alone, how much of the damage is in what it should look at.

    foreground   the side of Otsu's threshold (IEEE Trans. SMC 9 (1979) 62) of the grey levels that
                 fewer pixels of the border are on; all of an image of one level
    disc         the circle as wide or as high as what is brighter than 15 of 255, of rows and
                 columns where at least 2 % are: a retina that is cut off above and below has its
                 whole circle; nothing of a black image
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from medrobust.types import UInt8Batch

from .batches import to_grey

Region: TypeAlias = Literal["mask", "outside"]
"""Whether pixels of the mask are corrupted, or all others."""

FOREGROUND, DISC, MASKS = "foreground", "disc", "masks"
"""Masks; the first two are computed from the clean image, the third are those of the data set."""

DARK = 15
"""Grey level up to which a pixel is outside the retina."""

FEW = 50
"""One part in so many pixels of a row or column must be lit for the disc to reach it."""


def region_masks(images: UInt8Batch, kind: str) -> Tensor:
    """Compute the mask of each clean image.

    Args:
        images: uint8 (N, C, H, W), C = 1 or 3.
        kind: "foreground" or "disc".

    Returns:
        bool (N, 1, H, W) on the device of the images; from integers, the same on every device.
    """
    grey = (images if images.shape[1] == 1 else to_grey(images))[:, 0]
    found = _foreground(grey) if kind == FOREGROUND else _disc(grey)
    return found[:, None]


def within(clean: UInt8Batch, corrupted: UInt8Batch, mask: Tensor, region: Region) -> UInt8Batch:
    """Take the corrupted pixels of a region, and the clean ones elsewhere.

    Args:
        clean: uint8 (N, C, H, W).
        corrupted: The same, or with three channels where `clean` has one.
        mask: bool (N, 1, H, W).
        region: "mask" or "outside".
    """
    base = clean.expand(-1, corrupted.shape[1], -1, -1)
    return torch.where(mask if region == "mask" else ~mask, corrupted, base)


def otsu(grey: Tensor) -> Tensor:
    """Return Otsu's threshold of each image, int64 (N,): the last grey level of the darker class.

    Args:
        grey: uint8 (N, H, W).

    Example:
        >>> otsu(torch.tensor([[[10, 10, 200, 210]]], dtype=torch.uint8)).tolist()
        [10]
    """
    levels = grey.flatten(1).long()
    counts = torch.zeros(len(grey), 256, dtype=torch.int64, device=grey.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    number = counts.cpu().double()  # whole numbers: the same from every device
    dark, total = number.cumsum(dim=1), number.sum(dim=1, keepdim=True)
    sums = (number * torch.arange(256)).cumsum(dim=1)
    apart = (sums[:, -1:] * dark - sums * total).square()
    between = apart / (dark * (total - dark)).clamp_min(1)
    return between.argmax(dim=1).to(grey.device)


def _foreground(grey: Tensor) -> Tensor:
    bright = grey > otsu(grey).view(-1, 1, 1).to(torch.int16)
    border = torch.cat([bright[:, 0], bright[:, -1], bright[:, 1:-1, 0], bright[:, 1:-1, -1]], 1)
    is_background = 2 * border.sum(dim=1) > border.shape[1]
    one_level = grey.amax(dim=(1, 2)) == grey.amin(dim=(1, 2))
    return (bright ^ is_background.view(-1, 1, 1)) | one_level.view(-1, 1, 1)


def _disc(grey: Tensor) -> Tensor:
    _, height, width = grey.shape
    lit = grey > DARK
    top, bottom = _reach(FEW * lit.sum(dim=2) >= width)
    left, right = _reach(FEW * lit.sum(dim=1) >= height)
    rows = torch.arange(height, device=grey.device).view(1, -1, 1)
    columns = torch.arange(width, device=grey.device).view(1, 1, -1)
    down = (2 * rows - (top + bottom).view(-1, 1, 1)).square()
    across = (2 * columns - (left + right).view(-1, 1, 1)).square()
    wide = torch.maximum(right - left, bottom - top).view(-1, 1, 1) + 1
    return (down + across <= wide.square()) & lit.flatten(1).any(dim=1).view(-1, 1, 1)


def _reach(has: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last place that has something, int64 (N,) each."""
    last = has.shape[1] - 1
    return has.long().argmax(dim=1), last - has.long().flip(1).argmax(dim=1)
