"""A small finding erased or moved: the control that measures of a whole image miss.

What is changed is the disc of an image that stands out most from its surroundings, as a nodule or a
drusen would. All is whole numbers, so that every device finds the same place and the same pixels.
"""

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medrobust.base.numba_threads import empty
from medrobust.exceptions import ConfigurationError
from medrobust.types import UInt8Batch

from .artifacts import Choice, chosen
from .batches import check_batch
from .dispatch import compiled, route_of

Window: TypeAlias = tuple[Tensor, Tensor]
"""Rows (N, S, 1) and columns (N, 1, S) of a square in each image."""

FULL = 1024
"""Weight of a pixel well inside the disc."""

PIXELS = 2**21
"""Of images that PyTorch looks at together: sums over all squares of them take 16 MiB."""

CANDIDATES = 16
"""Drawn places of which a moved disc takes the one whose surroundings are most like its own."""


def local_erase(images: UInt8Batch, radius: float) -> UInt8Batch:
    """Fill the disc that stands out most with the mean of what surrounds it.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        radius: Of the disc, as a fraction of the shorter side, to the nearest pixel and at least
            one; its rim is softened over a fifth of it.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If the disc and its surroundings, a square ring twice as wide, do not
            fit into the image.

    Example:
        >>> picture = torch.full((1, 1, 64, 64), 90, dtype=torch.uint8)
        >>> picture[0, 0, 38:43, 18:23] = 160
        >>> local_erase(picture, 0.08).unique().tolist()
        [90]
    """
    check_batch(images)
    wide = _pixels(images, radius)
    none = torch.empty(len(images), 0, 2, dtype=torch.int64)
    old = _places(images, wide, none)[:, :2]
    return _put(images, *_around(images, old, wide), sign=-1)


def local_move(images: UInt8Batch, radius: float, *, place: Choice) -> UInt8Batch:
    """Move the disc that stands out most to a drawn place.

    Its old place is filled as by `local_erase`; what it adds to its surroundings is added at the
    new one: of 16 drawn places that where the mean of the surroundings is nearest to its own, among
    those that it does not overlap, if there are any.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        radius: As in `local_erase`.
        place: Row and column of 16 middles, (N, 32), or keyed draws: anywhere that the disc and its
            surroundings fit; given ones are brought there.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: As in `local_erase`.

    Example:
        >>> picture = torch.full((1, 1, 64, 64), 90, dtype=torch.uint8)
        >>> picture[0, 0, 38:43, 18:23] = 160
        >>> moved = local_move(picture, 0.08, place=torch.tensor([[15, 45] * 16]))
        >>> moved[0, 0, [15, 40], [45, 20]].tolist()
        [160, 90]
    """
    check_batch(images)
    wide = _pixels(images, radius)
    first, last = 2 * wide, [side - 1 - 2 * wide for side in images.shape[2:]]
    drawn = chosen(place, first, torch.tensor(last * CANDIDATES), 2 * CANDIDATES)
    drawn = drawn.reshape(len(drawn), drawn.shape[1] // 2, 2).clamp(
        torch.tensor([first] * 2), torch.tensor(last)
    )
    places = _places(images, wide, drawn)
    old, new = places[:, :2], places[:, 2:]
    window, added = _around(images, old, wide)
    erased = _put(images, window, added, sign=-1)
    return _put(erased, _window(new, wide), added, sign=1)


def standing_out(images: UInt8Batch, radius: float) -> Tensor:
    """Find where a disc stands out most from the square ring around it, twice as wide.

    Args:
        images: As in `local_erase`.
        radius: As in `local_erase`.

    Returns:
        int64 (N, 2), row and column of the middle of each disc.

    Raises:
        ConfigurationError: As in `local_erase`.

    Example:
        >>> picture = torch.full((1, 1, 64, 64), 90, dtype=torch.uint8)
        >>> picture[0, 0, 37:44, 17:24] = 160
        >>> standing_out(picture, 0.06).tolist()
        [[40, 20]]
    """
    none = torch.empty(len(images), 0, 2, dtype=torch.int64)
    return _places(images, _pixels(images, radius), none)[:, :2]


def _pixels(images: UInt8Batch, radius: float) -> int:
    side = min(images.shape[2:])
    wide = max(1, math.floor(radius * side + 0.5))
    if radius <= 0 or 4 * wide + 1 > side:
        raise ConfigurationError(
            f"radius={radius!r}: a disc and its surroundings, 4 x {radius!r} of {side} pixels "
            f"wide, do not fit into the image. Give more than 0 and at most 0.24."
        )
    return wide


def _in_ring(wide: int) -> int:
    """Return how many pixels a ring has."""
    return (4 * wide + 1) ** 2 - (2 * wide + 1) ** 2


def _places(images: UInt8Batch, wide: int, drawn: Tensor) -> Tensor:
    """Find the disc that stands out most, and the drawn place that is most like its own.

    Args:
        images: As in `local_erase`.
        wide: Radius in pixels.
        drawn: int64 (N, K, 2) on the CPU, K = 0 where nothing is moved.

    Returns:
        int64 (N, 4) on the device of the images: row and column of the one and of the other.
    """
    if route_of(images) == "numba":
        found = compiled(
            images, "local_change.find_places", wide, drawn,
            out=lambda: empty((len(images), 4), np.int64),
        )  # fmt: skip
        assert found is not None  # all that numba serves has this form
        return found
    count, there = max(1, PIXELS // math.prod(images.shape[2:])), drawn.to(images.device)
    parts = [slice(start, start + count) for start in range(0, max(len(images), 1), count)]
    return torch.cat([_places_of(_plane(images[part]), wide, there[part]) for part in parts])


def _plane(images: UInt8Batch) -> Tensor:
    """Sum the channels, a grey one three times, so that equal channels are what one is."""
    return images.sum(1, dtype=torch.int64) * (3 // images.shape[1])


def _places_of(plane: Tensor, wide: int, drawn: Tensor) -> Tensor:
    """Compare sums over squares and the rings around them, then look for the middle."""
    inner, rest = (2 * wide + 1) ** 2, _in_ring(wide)
    sums = functional.pad(plane.cumsum(1).cumsum(2), (1, 0, 1, 0))
    inside = _squares(sums, 2 * wide + 1)[:, wide:-wide, wide:-wide]
    ring = _squares(sums, 4 * wide + 1) - inside
    # means compared without a division: |inside / inner - ring / rest|
    best = (inside * rest - ring * inner).abs().flatten(1).argmax(1)
    columns = inside.shape[2]
    places = torch.stack([best // columns, best % columns], dim=1) + 2 * wide
    old = _centred(plane, places, wide)
    if not drawn.shape[1]:
        return torch.cat([old, old], dim=1)
    each = torch.arange(len(plane), device=plane.device)
    own = ring[each, old[:, 0] - 2 * wide, old[:, 1] - 2 * wide]
    there = ring[each[:, None], drawn[..., 0] - 2 * wide, drawn[..., 1] - 2 * wide]
    unlike = (there - own[:, None]).abs()
    overlaps = (drawn - old[:, None]).abs().amax(2) <= 2 * wide
    chosen_one = (unlike + overlaps * (unlike.amax(1, keepdim=True) + 1)).argmin(1)
    return torch.cat([old, drawn[each, chosen_one]], dim=1)


def _squares(sums: Tensor, side: int) -> Tensor:
    """Return the sums over all squares of a side, from sums over all upper left rectangles."""
    return (
        sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side]
        + sums[:, :-side, :-side]
    )  # fmt: skip


def _centred(plane: Tensor, places: Tensor, wide: int) -> Tensor:
    """Move squares to the middle of what stands out in them; their rings stay inside the image."""
    around = _read(plane[:, None], _window(places, 2 * wide))[:, 0]
    own = around[:, wide:-wide, wide:-wide]
    ring = around.sum((1, 2)) - own.sum((1, 2))
    apart = (own * _in_ring(wide) - ring[:, None, None]).abs()
    weights = (apart - apart.amax((1, 2), keepdim=True) // 2).clamp_min(0)
    total = weights.sum((1, 2)).clamp_min(1)
    steps = torch.arange(-wide, wide + 1, device=plane.device)
    found = []
    for axis, side in enumerate(plane.shape[1:]):
        moment = (weights.sum(2 - axis) * steps).sum(1)
        moved = places[:, axis] + (2 * moment + total) // (2 * total)
        found.append(moved.clamp(2 * wide, side - 1 - 2 * wide))
    return torch.stack(found, dim=1)


def _window(places: Tensor, wide: int) -> Window:
    """Return the square about each middle, int64 (N, 2)."""
    steps = torch.arange(-wide, wide + 1, device=places.device)
    rows, columns = places[:, :, None, None].unbind(1)
    return rows + steps[:, None], columns + steps


def _around(images: UInt8Batch, places: Tensor, wide: int) -> tuple[Window, tuple[Tensor, int]]:
    """Return the square of each disc, and what its pixels add to the mean around it, weighted.

    The second is a fraction: int64 (N, C, S, S), and what all of it is to be divided by.
    """
    window = _window(places, wide)
    own = _read(images, window).long()
    whole = _read(images, _window(places, 2 * wide))
    ring = whole.sum((2, 3), dtype=torch.int64) - own.sum((2, 3))
    count = _in_ring(wide)
    added = (own * count - ring[..., None, None]) * _rim(wide).to(images.device)
    return window, (added, FULL * count)


@lru_cache(maxsize=64)
def _rim(wide: int) -> Tensor:
    """Return weights of a disc, 1024 inside and falling to 0 over a fifth of its radius."""
    steps = torch.arange(-wide, wide + 1, dtype=torch.float64)
    distance = (steps[:, None] ** 2 + steps**2).sqrt()
    rim = ((wide + 1 - distance) / max(1.0, wide / 5)).clamp(0, 1)
    return (FULL * rim + 0.5).long()


def _read(images: Tensor, window: Window) -> Tensor:
    """Return the pixels of a window in each image, (N, C, S, S)."""
    each = torch.arange(len(images), device=images.device)[:, None, None]
    return images.movedim(1, 3)[each, window[0], window[1]].movedim(3, 1)


def _put(images: UInt8Batch, window: Window, added: tuple[Tensor, int], *, sign: int) -> UInt8Batch:
    """Add a fraction to the pixels of a window, or take it away, rounded."""
    value, parts = added
    changed = (2 * (_read(images, window).long() * parts + sign * value) + parts) // (2 * parts)
    out = images.clone(memory_format=torch.contiguous_format)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    pixels = changed.clamp(0, 255).to(torch.uint8).movedim(1, 3)
    out.movedim(1, 3)[each, window[0], window[1]] = pixels
    return out
