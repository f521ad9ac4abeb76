"""What is burned into a picture: the marker of a side, and lines of text. Whole pixels alone."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from medrobust.types import Float64Array, Int64Array, UInt8Batch

from .artifacts import Choice, chosen
from .batches import check_batch
from .planes import by_image

GLYPHS: Mapping[str, str] = MappingProxyType(
    {
        "0": "01110100011001110101110011000101110",
        "1": "00100011000010000100001000010001110",
        "2": "01110100010000100010001000100011111",
        "3": "11111000100010000010000011000101110",
        "4": "00010001100101010010111110001000010",
        "5": "11111100001111000001000011000101110",
        "6": "00110010001000011110100011000101110",
        "7": "11111000010001000100010000100001000",
        "8": "01110100011000101110100011000101110",
        "9": "01110100011000101111000010001001100",
        ":": "00000001000010000000001000010000000",
        "/": "00000000010001000100010001000000000",
        " ": "00000000000000000000000000000000000",
        "L": "10000100001000010000100001000011111",
        "R": "11110100011000111110101001001010001",
    }
)
"""Pictures of 5 x 7 pixels, row after row."""

WIDTH, HEIGHT = 5, 7
TEXT = tuple("0123456789:/ ")
LETTERS_A_LINE = 12
MARGIN = 0.03
"""Of the shorter side, about text and marker."""


@lru_cache(maxsize=64)
def glyph(letter: str, pixels: int) -> Int64Array:
    """Draw a letter, each of its pixels `pixels` wide: 0 and 1, (7 pixels, 5 pixels).

    Example:
        >>> glyph("L", 1)[:, 0].tolist(), glyph("L", 1)[6].tolist()
        ([1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1])
    """
    bits = [int(bit) for bit in GLYPHS[letter]]
    return np.array(bits).reshape(HEIGHT, WIDTH).repeat(pixels, axis=0).repeat(pixels, axis=1)


def stamped(image: Float64Array, picture: Int64Array, top: int, left: int) -> None:
    """Write a picture of 0 and 1 in white, with a black shadow a pixel below and to the right.

    What lies beyond the border is cut off. `image` (C, H, W) is changed.

    Example:
        >>> grey = np.full((1, 3, 3), 9.0)
        >>> stamped(grey, np.array([[1]]), 0, 0)
        >>> grey[0].tolist()
        [[255.0, 9.0, 9.0], [9.0, 0.0, 9.0], [9.0, 9.0, 9.0]]
    """
    height, width = image.shape[1:]
    for shift, value in ((1, 0), (0, 255)):
        rows, columns = (at + shift for at in np.nonzero(picture))
        rows, columns = rows + top, columns + left
        seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        image[:, rows[seen], columns[seen]] = value


def laterality_marker(
    images: UInt8Batch, size: float, *, letter: Choice, corner: Choice
) -> UInt8Batch:
    """Lay a marker of lead, L or R, into a corner: white, however large.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        size: Height of the letter, as a fraction of the shorter side.
        letter: L (0) or R (1), (N, 1), or keyed draws.
        corner: Top left, top right, bottom left, bottom right, (N, 1), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey, first = torch.full((1, 1, 70, 70), 9, dtype=torch.uint8), torch.tensor([[0]])
        >>> out = laterality_marker(grey, 0.1, letter=first, corner=first)
        >>> int((out == 255).sum()), out[0, 0, 2:9, 2].unique().tolist()
        (11, [255])
    """
    check_batch(images)
    letters, corners = (
        chosen(which, 0, most, 1)[:, 0].tolist() for which, most in ((letter, 1), (corner, 3))
    )
    short = min(images.shape[2:])
    covers = [letter_cover(one, size * short / HEIGHT) for one in "LR"]

    def marked(image: Float64Array, n: int) -> Float64Array:
        cover = covers[letters[n]]
        top, left = placed(image.shape, cover.shape, corners[n], round(MARGIN * short))
        under = image[:, top : top + cover.shape[0], left : left + cover.shape[1]]
        under += (255 - under) * cover
        return image

    return by_image(images, marked)


def letter_cover(letter: str, pixels: float) -> Float64Array:
    """Draw a letter, each of its pixels `pixels` wide: what it covers of each pixel, 0 to 1.

    Example:
        >>> letter_cover("L", 0.5)[:, 0].tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    down, right = (_overlaps(count, pixels) for count in (HEIGHT, WIDTH))
    cover: Float64Array = down @ glyph(letter, 1) @ right.T
    return cover


def _overlaps(count: int, pixels: float) -> Float64Array:
    """Measure how much of each pixel lies in each of `count` strips: float64 (length, count)."""
    at = np.arange(int(np.ceil(count * pixels - 1e-9)))[:, None]
    first = np.arange(count) * pixels
    shared: Float64Array = np.minimum(at + 1, first + pixels) - np.maximum(at, first)
    return shared.clip(0, 1)


def placed(
    image: tuple[int, ...], picture: tuple[int, ...], corner: int, margin: int
) -> tuple[int, int]:
    """Give the top and left of a picture in a corner: 0 and 1 at the top, 0 and 2 at the left.

    Example:
        >>> placed((1, 50, 60), (7, 5), 3, 2)
        (41, 53)
    """
    low, right = corner // 2, corner % 2
    top = image[1] - picture[0] - margin if low else margin
    return top, image[2] - picture[1] - margin if right else margin


def burned_in_text(
    images: UInt8Batch, lines: int, height: float = 0.035, *, character: Choice
) -> UInt8Batch:
    """Burn lines of digits into the corners, as consoles do with dates and settings.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        lines: How many, corner after corner, then below each other.
        height: Of a line, as a fraction of the shorter side.
        character: Of `TEXT`, twelve a line, (N, 12 lines), or keyed draws.

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey, ones = torch.full((1, 1, 224, 224), 9, dtype=torch.uint8), torch.ones(1, 12)
        >>> int((burned_in_text(grey, 1, character=ones) == 255).sum())
        120
    """
    check_batch(images)
    drawn = chosen(character, 0, len(TEXT) - 1, LETTERS_A_LINE * lines).numpy()
    short = min(images.shape[2:])
    pixels, margin = max(round(height * short / HEIGHT), 1), round(MARGIN * short)

    def written(image: Float64Array, n: int) -> Float64Array:
        for line, letters in enumerate(drawn[n].reshape(lines, LETTERS_A_LINE).tolist()):
            gap = np.zeros((HEIGHT * pixels, pixels), np.int64)
            parts = [part for k in letters for part in (glyph(TEXT[k], pixels), gap)]
            picture = np.concatenate(parts[:-1], axis=1)
            below = line // 4 * (HEIGHT + 2) * pixels
            at = placed(image.shape, picture.shape, line % 4, margin + below)
            left = placed(image.shape, picture.shape, line % 4, margin)[1]
            stamped(image, picture, at[0], left)
        return image

    return by_image(images, written)
