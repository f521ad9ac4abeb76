"""Artifacts of the task: ink, bubbles, dark corners, burnt-in text; integers on any device."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from medrobust.corruptions import letters
from medrobust.keys import Draws
from medrobust.types import Int64Array, UInt8Array, UInt8Batch

from .batches import Int32Array, check_batch
from .dispatch import painted

Choice: TypeAlias = Tensor | Draws
"""Whole numbers, given or keyed."""

MARGIN = 10
"""Pixels that ink and text keep from the border, where the image has room."""

RIM, RIM_ALPHA, FILL_ALPHA = 2, 130, 100
"""A bubble: a rim of two pixels, and how white rim and inside are, of 255."""

LEAST_BUBBLES, LEAST_RADIUS, LEAST_LETTERS, LEAST_SIZE = 7, 3, 3, 14
LETTER_ROOM = 8
"""Pixels a letter that a word keeps free to its right, whatever its size."""


def stain_deposit(
    images: UInt8Batch,
    most: int,
    size: int,
    masks: str | None = None,
    *,
    count: Choice,
    mask: Choice,
    x: Choice,
    y: Choice,
) -> UInt8Batch:
    """Put black marks of ink on every image.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        most: Largest number of marks.
        size: Side of a mark in pixels; images below `size` + 20 leave it a narrower margin.
        masks: Folder with pictures of marks of one's own instead; `size` is then theirs.
        count: Marks, (N,), or keyed draws: 1 to `most`.
        mask: Which of the masks, (N, most), or keyed draws.
        x: Left column of each mark, (N, most), or keyed draws: 10 pixels inside the image.
        y: Upper row of each mark, likewise.

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If the folder has no pictures of one size.

    References:
        arXiv:2406.17536; `medmnistc:corruptions/microscopy.py`. Masks are our own: see `ink.py`.

    Example:
        >>> white = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
        >>> one, at = torch.tensor([1]), torch.tensor([[9]])
        >>> first = torch.tensor([[0]])
        >>> stain_deposit(white, 1, 10, count=one[None], mask=first, x=at, y=at).unique().tolist()
        [0, 255]
    """
    from .ink import ink_masks, read_masks

    check_batch(images)
    bank = read_masks(masks) if masks else ink_masks(size)
    height, width = images.shape[2:]
    rows, columns = _inside(height, bank.shape[1]), _inside(width, bank.shape[2])
    counts = chosen(count, 1, most, 1)[:, 0]
    which = chosen(mask, 0, len(bank) - 1, most)
    left, top = chosen(x, *columns, most), chosen(y, *rows, most)
    fast = painted(images, "artifacts.stamp_ink", bank, counts, which, left, top)
    if fast is not None:
        return fast
    stamps = torch.from_numpy(bank).to(images.device)
    margin = bank.shape[1:]
    ink = images.new_zeros(len(images), height + 2 * margin[0], width + 2 * margin[1])
    for k in range(most):
        stamp = stamps[which[:, k]] * (k < counts).to(images.device)[:, None, None]
        under = _window(left[:, k], top[:, k], margin, images)
        ink[under] |= stamp
    return torch.where(_trim(ink, margin)[:, None] > 0, 0, images)


def _inside(side: int, box: int) -> tuple[int, int]:
    """Give the first and last place of a box along a side."""
    first = min(MARGIN, max((side - box) // 2, 0))
    return first, max(side - box - first, first)


def bubble(
    images: UInt8Batch,
    largest: int,
    most: int,
    *,
    count: Choice,
    radius: Choice,
    x: Choice,
    y: Choice,
) -> UInt8Batch:
    """Lay translucent white disks with a brighter rim over every image.

    Where bubbles overlap the later one counts alone. Where an image is narrower than a bubble its
    middle lies anywhere between the two places at which it would touch a border.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        largest: Largest radius in pixels, at least 3.
        most: Largest number of bubbles, at least 7.
        count: Bubbles, (N,), or keyed draws: 7 to `most`.
        radius: Radius of each, (N, most), or keyed draws: 3 to `largest`.
        x: Column of each middle, (N, most), or keyed draws: radius to width - radius.
        y: Row of each middle, likewise.

    Returns:
        uint8 batch of the same shape: (255 a + u (255 - a)) / 255, rounded as Pillow composites.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:2406.17536; `medmnistc:corruptions/microscopy.py`, which exchanges height and width
        (no difference on square images, which is all that MedMNIST-C has).

    Example:
        >>> black = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> one, four, middle = (torch.tensor([[value]]) for value in (1, 4, 14))
        >>> bubble(black, 5, 1, count=one, radius=four, x=middle, y=middle)[0, 0, 14, 7:11].tolist()
        [0, 130, 130, 100]
    """
    check_batch(images)
    height, width = images.shape[2:]
    counts = chosen(count, LEAST_BUBBLES, most, 1)[:, 0]
    radii = chosen(radius, LEAST_RADIUS, largest, most)
    column = chosen(x, *_between(radii, width), most)
    row = chosen(y, *_between(radii, height), most)
    table, halves = bubble_table(), disk_rows(int(radii.max()) + RIM)
    disks = (counts, radii, column, row)
    fast = painted(images, "artifacts.lay_bubbles", table, halves, RIM, *disks)
    if fast is not None:
        return fast
    half = torch.from_numpy(halves).to(images.device)
    down, across = (torch.arange(side, device=images.device) for side in (height, width))
    layer = torch.zeros(len(images), height, width, dtype=torch.int64, device=images.device)
    radii, column, row, counts = (t.to(images.device) for t in (radii, column, row, counts))
    for k in range(most):
        dy = (down - row[:, k, None]).abs().clamp(max=len(halves))
        dx = (across - column[:, k, None]).abs()
        for code, grown in ((1, RIM), (2, 0)):
            reach = half[radii[:, k, None] + grown, dy].masked_fill((k >= counts)[:, None], -1)
            layer.masked_fill_(dx[:, None] <= reach[..., None], code)
    values = torch.from_numpy(table).to(images.device)
    return values.flatten()[layer[:, None] * 256 + images]


def _between(radii: Tensor, side: int) -> tuple[Tensor, Tensor]:
    return torch.minimum(radii, side - radii), torch.maximum(radii, side - radii)


@lru_cache(maxsize=1)
def bubble_table() -> UInt8Array:
    """Give the new value at [0 none, 1 rim, 2 inside; old value]: uint8 (3, 256)."""
    levels = np.arange(256)
    rows = [(255 * a + levels * (255 - a) + 127) // 255 for a in (0, RIM_ALPHA, FILL_ALPHA)]
    return np.stack(rows).astype(np.uint8)


@lru_cache(maxsize=64)
def disk_rows(largest: int) -> Int32Array:
    """Give the half width of a disk at [radius, rows from its middle], -1 outside: (R+1, R+2).

    The outline is a walk from the rightmost pixel to the top one, each step (up, left, or both) to
    where |x^2 + y^2 - r^2| is least: the circles that Pillow fills.

    Example:
        >>> disk_rows(2)[2].tolist()  # rows 0, 1, 2 of a disk of radius 2; -1: none
        [2, 2, 1, -1]
    """
    halves = np.full((largest + 1, largest + 2), -1, np.int32)
    for radius in range(largest + 1):
        x, y = radius, 0
        halves[radius, 0] = radius
        while x > 0 and y < radius:
            steps = ((x, y + 1), (x - 1, y + 1), (x - 1, y))
            x, y = min(steps, key=lambda p: abs(p[0] ** 2 + p[1] ** 2 - radius**2))
            halves[radius, y] = max(halves[radius, y], x)
    return halves


def black_corner(images: UInt8Batch, share: float) -> UInt8Batch:
    """Blacken what lies outside a circle about the middle, as a dermatoscope does.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        share: Radius as a multiple of half the shorter side, truncated to pixels.

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:2406.17536. The published severity 4 (0.90) is harsher than 5 (0.95).

    Example:
        >>> white = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
        >>> black_corner(white, 0.5)[0, 0, [0, 14], [0, 14]].tolist()
        [0, 255]
    """
    check_batch(images)
    first, last = lens_rows(images.shape[2], images.shape[3], share)
    fast = painted(images, "artifacts.keep_rows", first, last)
    if fast is not None:
        return fast
    column = torch.arange(images.shape[3], device=images.device)
    low, high = (torch.from_numpy(t).to(images.device)[:, None] for t in (first, last))
    return torch.where((column >= low) & (column < high), images, 0)


@lru_cache(maxsize=64)
def lens_rows(height: int, width: int, share: float) -> tuple[Int64Array, Int64Array]:
    """Give, row by row, the first column of the lens and the one after its last: int64 (H,).

    The circle is the midpoint circle, as OpenCV fills it.

    Example:
        >>> first, last = lens_rows(5, 5, 0.8)
        >>> first.tolist(), last.tolist()
        ([3, 2, 1, 2, 3], [3, 3, 4, 3, 3])
    """
    x, y = width // 2, height // 2
    radius = int(min(x, y, width - x, height - y) * share)
    halves = np.full(radius + 1, -1)
    far, near, error = radius, 0, 0
    while far >= near:
        halves[near], halves[far] = max(halves[near], far), max(halves[far], near)
        near, error = near + 1, error + 2 * near + 1
        if error > 0:
            far, error = far - 1, error - 2 * far + 1
    half = np.full(height, -1)
    rows = abs(np.arange(height) - y)
    half[rows <= radius] = halves[rows[rows <= radius]]
    first, last = np.clip(x - half, 0, width), np.clip(x + half + 1, 0, width)
    return first, np.maximum(first, last)


def characters(
    images: UInt8Batch,
    most: int,
    longest: int,
    largest: float,
    *,
    count: Choice,
    length: Choice,
    letter: Choice,
    size: Choice,
    x: Choice,
    y: Choice,
    color: Choice,
) -> UInt8Batch:
    """Write colored words of random letters on every image, anti-aliased.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified. One
            channel takes the red value of the color.
        most: Largest number of words.
        longest: Largest number of letters of a word, at least 3.
        largest: Largest font scale, at least 0.14: an x-height of 14 times the scale, in pixels.
        count: Words, (N,), or keyed draws: 1 to `most`.
        length: Letters of each word, (N, most), or keyed draws: 3 to `longest`.
        letter: 0 (a) to 25 (z), (N, most * longest), word after word, or keyed draws.
        size: Scale of each word in hundredths, (N, most), or keyed draws: 14 to 100 `largest`.
        x: Column at which each word begins, (N, most), or keyed draws: 10 to width - 8 a letter
            (10 where that is less).
        y: Row of each baseline, (N, most), or keyed draws: 10 to height - 10.
        color: Red, green and blue of each word, (N, most * 3), or keyed draws: 0 to 255.

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:2406.17536; `medmnistc:corruptions/microscopy.py`. The font is our own: `letters.py`.
    """
    check_batch(images)
    height, width = images.shape[2:]
    counts = chosen(count, 1, most, 1)[:, 0]
    lengths = chosen(length, LEAST_LETTERS, longest, most)
    sizes = chosen(size, LEAST_SIZE, int(100 * largest), most)
    last = (width - LETTER_ROOM * lengths).clamp(min=MARGIN)
    begins = chosen(x, torch.full_like(last, MARGIN), last, most)
    baselines = chosen(y, MARGIN, max(height - MARGIN, MARGIN), most)
    colors = chosen(color, 0, 255, 3 * most)
    text = chosen(letter, 0, 25, most * longest)
    places, phases = _typeset(text, lengths, sizes, begins, longest)
    stamps, above = letters.font(LEAST_SIZE, int(100 * largest))
    ascents = torch.from_numpy(above)
    scales = sizes - LEAST_SIZE
    tops = baselines - ascents[scales]
    words = (counts, lengths, text, scales, places, phases, tops, colors)
    fast = painted(images, "artifacts.write_words", stamps, *words)
    if fast is not None:
        return fast
    table = torch.from_numpy(stamps).to(images.device)
    margin = stamps.shape[3:]
    out = torch.nn.functional.pad(images, (margin[1], margin[1], margin[0], margin[0]))
    out = out.movedim(1, 3)
    for k in range(most * longest):
        word, position = divmod(k, longest)
        shown = (word < counts) & (position < lengths[:, word])
        alpha = (
            table[scales[:, word], text[:, k], phases[:, k]].int()
            * shown.to(images.device)[:, None, None]
        )
        under = _window(places[:, k], tops[:, word], margin, images)
        ink = colors[:, None, None, 3 * word : 3 * word + images.shape[1]].to(images.device)
        mixed = out[under] * (255 - alpha[..., None]) + ink * alpha[..., None]
        out[under] = ((mixed + 127) // 255).to(torch.uint8)
    return _trim(out, margin).movedim(3, 1).contiguous()


def _typeset(
    text: Tensor, lengths: Tensor, sizes: Tensor, begins: Tensor, longest: int
) -> tuple[Tensor, Tensor]:
    """Give the left column of each letter's picture and its phase: int64 (N, words * longest)."""
    count, words = lengths.shape
    advance = torch.from_numpy(letters.advances())[text].reshape(count, words, longest)
    before = advance.cumsum(2) - advance
    steps = letters.STEPS // letters.PHASES
    place = (before * sizes[..., None] + steps // 2) // steps
    left = begins[..., None] + place // letters.PHASES - letters.BEARING
    return left.reshape(count, -1), (place % letters.PHASES).reshape(count, -1)


def chosen(choice: Choice, low: int | Tensor, high: int | Tensor, count: int) -> Tensor:
    """Give int64 (N, count) on the CPU: as given, or drawn from low to high inclusive.

    Example:
        >>> chosen(torch.tensor([[3]]), 1, 5, 1).tolist()  # given: taken as it is
        [[3]]
    """
    if isinstance(choice, Tensor):
        return choice.cpu().long().reshape(len(choice), -1)
    from medrobust.corruptions.numba.philox import make_words

    words = torch.empty(len(choice.index), count, dtype=torch.int64)
    make_words(words.numpy(), choice.index.numpy(), choice.number, *choice.key)
    return low + (words * (high - low + 1) >> 32)


def _window(
    left: Tensor, top: Tensor, shape: Sequence[int], images: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Give image, row and column of each pixel under a stamp, on a canvas with a margin.

    The margin is as wide as the stamp, which is moved there where it lies further out.
    """
    height, width = images.shape[2:]
    device = images.device
    first_row = top.clamp(-shape[0], height).to(device) + shape[0]
    first_column = left.clamp(-shape[1], width).to(device) + shape[1]
    row = first_row[:, None, None] + torch.arange(shape[0], device=device)[:, None]
    column = first_column[:, None, None] + torch.arange(shape[1], device=device)
    return torch.arange(len(images), device=device)[:, None, None], row, column


def _trim(canvas: Tensor, margin: Sequence[int]) -> Tensor:
    """Cut the margin off (N, H, W, ...)."""
    height, width = canvas.shape[1:3]
    return canvas[:, margin[0] : height - margin[0], margin[1] : width - margin[1]]
