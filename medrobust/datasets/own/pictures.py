"""Image files to uint8 arrays of one size, by rules that are stated and lose no grey levels."""

import os
import posixpath
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np

from medrobust.base.once import found_once
from medrobust.base.safe_files import system_errors_named
from medrobust.datasets.cache import ArrayWriter
from medrobust.exceptions import ConfigurationError, InvalidImageError, MedRobustError
from medrobust.types import UInt8Array

if TYPE_CHECKING:
    from PIL.Image import Image

Fit = Literal["pad", "crop", "squash"]

GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "LA")
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    LookupError,
    TypeError,
    MemoryError,
    OverflowError,
)
THREADS = 4
CHUNK = 64

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
"""What is opened. Pillow knows more, some of which call other programs."""

SUFFIXES = (
    ".bmp", ".gif", ".j2k", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip
"""What pictures are known by without being opened, in lower case."""

OTHER_PURPOSES = {".hydra", "report.html", "cell.json", "pyvenv.cfg"}
"""What lies in folders whose pictures are no data: of runs, reports, stored cells and Python."""

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


def pictures_left_out(root: Path, listed: Set[str]) -> int:
    """Count the pictures beside those of a table that it does not list, by their names.

    Looked at are the folder that all listed pictures share, with all below it, and the folders
    above it up to the root. Links, hidden files and folders, and folders of `OTHER_PURPOSES` are
    passed over; so is what cannot be looked at.

    Args:
        root: Folder that paths start from.
        listed: Paths in it, POSIX text.
    """
    folders = {PurePosixPath(path).parent for path in listed}
    if not folders:
        return 0
    holding = folders.union(*(folder.parents for folder in folders))
    shared = PurePosixPath(posixpath.commonpath(map(str, folders)))
    found = found_once(
        ("pictures", os.path.abspath(root), frozenset(folders)),
        lambda: [*_pictures_above(root, shared), *_pictures_below(root, shared, holding)],
    )
    return sum(name not in listed and not os.path.islink(root / name) for name in found)


def _pictures_above(root: Path, shared: PurePosixPath) -> Iterator[str]:
    for inside in shared.parents:
        names = next(os.walk(root / inside), ("", [], []))[2]
        yield from (str(inside / name) for name in names if _is_named_as_picture(name))


def _pictures_below(
    root: Path, shared: PurePosixPath, holding: Set[PurePosixPath]
) -> Iterator[str]:
    for parent, folders, names in os.walk(root / shared):
        inside = PurePosixPath(Path(parent).relative_to(root).as_posix())
        if inside not in holding and not OTHER_PURPOSES.isdisjoint((*folders, *names)):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (str(inside / name) for name in names if _is_named_as_picture(name))


def _is_named_as_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


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
        final = fitted(image.convert("L" if grey else "RGB"), framing)
        return np.asarray(final, dtype=np.uint8)


def framed(pixels: UInt8Array, framing: Framing, *, grey: bool) -> UInt8Array:
    """Bring pixels, (H, W) or (H, W, 3), to their size and kind."""
    from PIL import Image

    final = fitted(Image.fromarray(pixels).convert("L" if grey else "RGB"), framing)
    return np.asarray(final, dtype=np.uint8)


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


def write_pictures(files: Sequence[Path], framing: Framing, target: Path) -> str:
    """Write image files as one array, (N, H, W) if all are grey, else (N, H, W, 3).

    Returns:
        The digest of the array.

    Raises:
        InvalidImageError: For the first file that cannot be read.
        StoreError: If the disk is too full.
    """
    with quiet_decoders():
        grey = all(each(is_grey, files))
        read = partial(read_picture, framing=framing, grey=grey)
        return write_images(each(read, files), len(files), framing.size, grey, target)


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


@contextmanager
def _opened(file: Path) -> "Iterator[Image]":
    from PIL import Image

    with Image.open(file, formats=FORMATS) as image:
        check_area(file.name, *image.size)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise InvalidImageError(f"{file.name} holds {frames} images: write one file an image.")
        yield image


@contextmanager
def _read_errors_named(file: Path) -> Iterator[None]:
    """Turn what decoders raise into one sentence that names the file, not its folder."""
    from PIL.Image import DecompressionBombError, DecompressionBombWarning

    try:
        with system_errors_named(file):
            yield
    except MedRobustError:
        raise
    except (*READ_ERRORS, DecompressionBombError, DecompressionBombWarning) as error:
        raise InvalidImageError(
            f"{file.name} cannot be read as an image ({type(error).__name__}): it is damaged, "
            f"too large or of an unknown format."
        ) from error
