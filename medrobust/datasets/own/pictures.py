"""Image files to uint8 arrays of one size, by rules that are stated and lose no grey levels."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np

from medrobust.datasets.cache import ArrayWriter
from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.types import UInt8Array

if TYPE_CHECKING:
    from PIL.Image import Image

Fit = Literal["pad", "crop", "squash"]

THREADS = 4
CHUNK = 64

LARGEST_SIDE = 16384
LARGEST_AREA = 1 << 26
"""Pixels beyond which a picture is taken for a hostile one: 8192 squared."""

Thing = TypeVar("Thing")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Framing:
    """How an image becomes `size` × `size` uint8.

    Attributes:
        size: Pixels a side.
        fit: "pad": whole image, black border; "crop": shortest side and centre; "squash": both
            sides, aspect lost. All with antialiased bicubic; an image of that size is not touched.
        bit_depth: Of images with more than 8 bits: 2**bit_depth - 1 becomes 255. Larger
            values are refused, never saturated.
    """

    size: int
    fit: Fit = "pad"
    bit_depth: int = 16

    def __post_init__(self) -> None:
        """Refuse choices that do not exist.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.size < 16:
            raise ConfigurationError(f"dataset.size={self.size} must be at least 16 pixels.")
        if self.fit not in get_args(Fit):
            raise ConfigurationError(f"dataset.fit={self.fit!r}: there are pad, crop and squash.")
        if not 8 <= self.bit_depth <= 16:
            raise ConfigurationError(f"dataset.bit_depth={self.bit_depth} must be 8 to 16.")


def framed(pixels: UInt8Array, framing: Framing, *, grey: bool) -> UInt8Array:
    """Bring pixels, (H, W) or (H, W, 3), to their size and kind."""
    from PIL import Image

    final = fitted(Image.fromarray(pixels).convert("L" if grey else "RGB"), framing)
    return np.asarray(final, dtype=np.uint8)


def eight_bits(values: np.ndarray, bit_depth: int, name: str, top: int | None = None) -> UInt8Array:
    """Scale 0..2**bit_depth-1 to 0..255, rounded to the nearest.

    Args:
        values: Whole numbers.
        bit_depth: That they may take.
        name: Of the file.
        top: What becomes 255, if it is not the greatest number of these bits.

    Raises:
        InvalidImageError: If a value lies outside, which scaling would saturate.
    """
    top = top or 2**bit_depth - 1
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > top:
        raise InvalidImageError(
            f"{name} holds values from {low} to {high}, outside 0..{top}: pass dataset.bit_depth "
            f"up to 16, or rescale the file."
        )
    scaled: UInt8Array = ((values.astype(np.uint64) * 255 + top // 2) // top).astype(np.uint8)
    return scaled


def check_area(name: str, width: int, height: int) -> None:
    """Refuse a picture whose declared size no image of medicine has, before it is unpacked.

    Raises:
        InvalidImageError: Naming the file.
    """
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE) or (
        width * height > LARGEST_AREA
    ):
        raise InvalidImageError(
            f"{name} declares {width} × {height} pixels; up to {LARGEST_SIDE} a side and "
            f"{LARGEST_AREA / 1e6:.0f} million in all are read. Cut or shrink it first."
        )


def fitted(image: "Image", framing: Framing) -> "Image":
    """Bring an 8-bit image to its size."""
    from PIL import Image, ImageOps

    target = (framing.size, framing.size)
    if image.size == target:
        return image
    if framing.fit == "pad":
        return ImageOps.pad(image, target, Image.Resampling.BICUBIC)
    if framing.fit == "crop":
        return ImageOps.fit(image, target, Image.Resampling.BICUBIC)
    return image.resize(target, Image.Resampling.BICUBIC)


def each(function: Callable[[Thing], Result], things: Sequence[Thing]) -> Iterator[Result]:
    """Call a function of each thing in a few threads; yields in order, little waits in memory."""
    with ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(things), CHUNK):
            yield from threads.map(function, things[start : start + CHUNK])


def write_images(
    images: Iterable[UInt8Array], count: int, size: int, grey: bool, target: Path
) -> str:
    """Write images one after the other as one array.

    Args:
        images: uint8 (size, size) or (size, size, 3).
        count: How many there are.
        size: Pixels a side.
        grey: Whether the array is (N, H, W) instead of (N, H, W, 3).
        target: The `.npy` file.

    Returns:
        The digest of the array.

    Raises:
        StoreError: If the disk is too full.
        MedRobustError: As reading an image raises it.
    """
    shape = (count, size, size, *(() if grey else (3,)))
    with ArrayWriter(target, np.dtype(np.uint8), shape) as writer:
        for image in images:
            writer.write(image.tobytes())
        return writer.close()


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Ready image libraries for threads and silence their warnings, which may quote a file.

    To be entered outside `each`: warning filters belong to the process, not to a thread.
    """
    from PIL import Image

    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
