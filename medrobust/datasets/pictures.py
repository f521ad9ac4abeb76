"""Image files to uint8 arrays of one size, by rules that are stated and lose no grey levels."""

import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from medrobust.datasets.cache import ArrayWriter
from medrobust.exceptions import ConfigurationError, InvalidImageError, MedRobustError
from medrobust.types import UInt8Array

if TYPE_CHECKING:
    from PIL.Image import Image

Fit = Literal["pad", "crop", "squash"]

GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "LA")
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, TypeError)
THREADS = 4
CHUNK = 64


@dataclass(frozen=True, slots=True)
class Framing:
    """How an image becomes `size` × `size` uint8.

    Attributes:
        size: Pixels a side.
        fit: "pad": whole image, black border; "crop": shortest side and centre; "squash": both
            sides, aspect lost. All with antialiased bicubic; an image of that size is not touched.
        bit_depth: Of grey images with more than 8 bits: 2**bit_depth - 1 becomes 255. Larger
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


def is_grey(file: Path) -> bool:
    """Say from its header whether an image file is grey.

    Raises:
        InvalidImageError: If it is not a readable image file; names it.
    """
    with _read_errors_named(file), _opened(file) as image:
        return image.mode in GREY_MODES


def read_picture(file: Path, framing: Framing, *, grey: bool) -> UInt8Array:
    """Read one image file.

    EXIF orientation is applied, transparency is laid over black, colour spaces become RGB.

    Args:
        file: PNG, JPEG, TIFF or whatever Pillow reads, with one image in it.
        framing: Size and the way to it.
        grey: Return (H, W); otherwise (H, W, 3), grey replicated.

    Raises:
        InvalidImageError: If it cannot be read, or holds values beyond `bit_depth`; names it.
    """
    from PIL import Image, ImageOps

    with _read_errors_named(file), _opened(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode in WIDE_MODES:
            narrow = eight_bits(np.asarray(image), framing.bit_depth, file.name)
            image = Image.fromarray(narrow)
        elif image.mode == "F":
            raise InvalidImageError(
                f"{file.name} holds floating-point pixels, whose scale is unknown: convert it to "
                f"8 or 16 bits first."
            )
        elif "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
            seen = image.convert("RGBA")
            black = Image.new("RGBA", seen.size, (0, 0, 0, 255))
            image = Image.alpha_composite(black, seen)
        framed = fitted(image.convert("L" if grey else "RGB"), framing)
        return np.asarray(framed, dtype=np.uint8)


def eight_bits(values: np.ndarray, bit_depth: int, name: str) -> UInt8Array:
    """Scale 0..2**bit_depth-1 to 0..255, rounded to the nearest.

    Raises:
        InvalidImageError: If a value lies outside, which scaling would saturate.
    """
    top = 2**bit_depth - 1
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > top:
        raise InvalidImageError(
            f"{name} holds values from {low} to {high}, outside 0..{top}: pass dataset.bit_depth "
            f"up to 16, or rescale the file."
        )
    scaled: UInt8Array = ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    return scaled


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


def write_pictures(files: Sequence[Path], framing: Framing, target: Path) -> str:
    """Write all files as one array, (N, H, W) if all are grey, else (N, H, W, 3).

    Returns:
        The digest of the array.

    Raises:
        InvalidImageError: For the first file that cannot be read.
        StoreError: If the disk is too full.
    """
    with ThreadPoolExecutor(THREADS) as threads:
        grey = all(threads.map(is_grey, files))
        shape = (len(files), framing.size, framing.size, *(() if grey else (3,)))
        with ArrayWriter(target, np.dtype(np.uint8), shape) as writer:
            for start in range(0, len(files), CHUNK):  # bounds what waits in memory
                part = files[start : start + CHUNK]
                for picture in threads.map(lambda f: read_picture(f, framing, grey=grey), part):
                    writer.write(picture.tobytes())
            return writer.close()


@contextmanager
def _opened(file: Path) -> "Iterator[Image]":
    from PIL import Image

    with Image.open(file) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise InvalidImageError(f"{file.name} holds {frames} images: write one file an image.")
        yield image


@contextmanager
def _read_errors_named(file: Path) -> Iterator[None]:
    """Turn what decoders raise into one sentence that names the file, not its folder."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except MedRobustError:
        raise
    except (*READ_ERRORS, DecompressionBombError) as error:
        raise InvalidImageError(
            f"{file.name} cannot be read as an image ({type(error).__name__}): it is damaged, "
            f"too large or of an unknown format."
        ) from error
