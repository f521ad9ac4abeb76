"""A small finding erased or moved: the control that measures of a whole image miss.

What is erased is the place of an image that stands out most from its surroundings, as a nodule or a
drusen would: found by sums of whole numbers, so that every device finds the same one.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.types import UInt8Batch


def standing_out(images: UInt8Batch, share: float) -> tuple[Tensor, int]:
    """Find where a square stands out most from the square ring around it, twice as wide.

    Args:
        images: uint8 (N, C, H, W).
        share: Of the area of an image that the disc in the square covers, above 0.

    Returns:
        int64 (N, 2), row and column of the middle of each; and the radius of the disc in pixels.

    Raises:
        ConfigurationError: If the ring does not fit into the image.

    Example:
        >>> picture = torch.full((1, 1, 64, 64), 90, dtype=torch.uint8)
        >>> picture[0, 0, 37:44, 17:24] = 160
        >>> standing_out(picture, 0.01)
        (tensor([[40, 20]]), 4)
    """
    height, width = images.shape[-2:]
    radius = max(1, round(math.sqrt(share * height * width / math.pi)))
    inner, outer = 2 * radius + 1, 4 * radius + 1
    if not 0 < share < 1 or outer > min(height, width):
        raise ConfigurationError(
            f"a blob of {100 * share:g} % of an image of {height} x {width} pixels and a ring "
            f"around it do not fit into it: take a smaller share."
        )
    sums = functional.pad(images.long().sum(1).cumsum(1).cumsum(2), (1, 0, 1, 0))
    inside = _squares(sums, inner)[:, radius:-radius, radius:-radius]
    ring = _squares(sums, outer) - inside
    # means compared without a division: |inside / inner² - ring / (outer² - inner²)|
    apart = (inside * (outer**2 - inner**2) - ring * inner**2).abs()
    best = apart.flatten(1).argmax(1)
    columns = apart.shape[2]
    places = torch.stack([best // columns, best % columns], 1) + 2 * radius
    moved = [
        _centred(image.long().sum(0), row, column, radius)
        for image, (row, column) in zip(images, places.tolist(), strict=True)
    ]
    return torch.tensor(moved), radius


def _centred(plane: Tensor, row: int, column: int, radius: int) -> tuple[int, int]:
    """Move a square to the middle of what stands out in it; its ring stays inside the image."""
    around = plane[row - 2 * radius : row + 2 * radius + 1, column - 2 * radius :][
        :, : 4 * radius + 1
    ]
    own = around[radius:-radius, radius:-radius]
    count = around.numel() - own.numel()
    apart = (own * count - (around.sum() - own.sum())).abs()
    weights = (apart - apart.max() // 2).clamp_min(0)
    total = int(weights.sum())
    if not total:
        return row, column
    steps = torch.arange(-radius, radius + 1, device=plane.device)
    found = []
    for axis, (place, side) in enumerate(zip((row, column), plane.shape, strict=True)):
        moment = int((weights.sum(1 - axis) * steps).sum())
        moved = place + (2 * moment + total) // (2 * total)
        found.append(min(max(moved, 2 * radius), side - 1 - 2 * radius))
    return found[0], found[1]


def _squares(sums: Tensor, side: int) -> Tensor:
    """Return the sums over all squares of a side, from sums over all upper left rectangles."""
    return (
        sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side]
        + sums[:, :-side, :-side]
    )  # fmt: skip


def erase_blob(images: UInt8Batch, share: float = 0.01) -> UInt8Batch:
    """Fill the disc that stands out most with what surrounds it, softened at its rim.

    Args:
        images: uint8 (N, C, H, W), C = 1 or 3; not modified.
        share: Of the area of an image that the disc covers.

    Returns:
        uint8 of the same shape.

    Raises:
        ConfigurationError: As `standing_out`.

    Example:
        >>> picture = torch.full((1, 1, 64, 64), 90, dtype=torch.uint8)
        >>> picture[0, 0, 38:43, 18:23] = 160
        >>> erase_blob(picture, 0.02).unique().tolist()
        [90]
    """
    places, radius = standing_out(images, share)
    out = images.clone()
    for image, (row, column) in zip(out, places.tolist(), strict=True):
        _fill(image, row, column, radius)
    return out


def move_blob(images: UInt8Batch, share: float = 0.01) -> UInt8Batch:
    """Move the disc that stands out most to the other side of the image, at the same height.

    Its old place is filled as by `erase_blob`; what it adds to its surroundings is added at the new
    one, the mirrored column.

    Args:
        images: As in `erase_blob`.
        share: As in `erase_blob`.
    """
    places, radius = standing_out(images, share)
    out = erase_blob(images, share)
    weights = _rim(radius, images.device)
    width = images.shape[-1]
    for old, new, (row, column) in zip(images, out, places.tolist(), strict=True):
        own, there = _window(row, column, radius), _window(row, width - 1 - column, radius)
        added = (old[own].float() - new[own].float()) * weights
        new[there] = (new[there].float() + added).round().clamp(0, 255).to(torch.uint8)
    return out


def _window(row: int, column: int, radius: int) -> tuple[slice, slice, slice]:
    return (
        slice(None),
        slice(row - radius, row + radius + 1),
        slice(column - radius, column + radius + 1),
    )


def _rim(radius: int, device: torch.device) -> Tensor:
    """Return weights of a disc, 1 inside and falling to 0 over a fifth of the radius."""
    steps = torch.arange(-radius, radius + 1, device=device, dtype=torch.float32)
    distance = (steps[:, None] ** 2 + steps**2).sqrt()
    return ((radius + 1 - distance) / max(1.0, radius / 5)).clamp(0, 1)


def _fill(image: Tensor, row: int, column: int, radius: int) -> None:
    """Fill a disc of one image (C, H, W) with the mean of the ring around it."""
    around, own = _window(row, column, 2 * radius), _window(row, column, radius)
    whole, inner = image[around].float(), image[own].float()
    count = whole[0].numel() - inner[0].numel()
    mean = (whole.sum((1, 2)) - inner.sum((1, 2))) / count
    weights = _rim(radius, image.device)
    filled = inner + (mean[:, None, None] - inner) * weights
    image[own] = filled.round().clamp(0, 255).to(torch.uint8)
