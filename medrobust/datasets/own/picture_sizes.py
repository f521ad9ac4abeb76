"""Size and turn of picture files as they are shown, by their EXIF orientation."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.exceptions import InvalidImageError

from .picture_depth import HEIGHT, WIDTH

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION, TURNED, UPRIGHT = 0x0112, (5, 6, 7, 8), 1
"""Tag of EXIF; its values by which width and height change places; that of an upright picture."""


def shown_size(file: Path) -> tuple[int, int]:
    """Return width and height of an image as it is shown; its pixels are not read.

    Raises:
        InvalidImageError: If it is no readable image file; names it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            return size_shown(opened)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InvalidImageError(f"the image {file.name} cannot be read ({error}).") from error


def size_shown(opened: "Image") -> tuple[int, int]:
    """Return width and height as they are shown, of a picture just opened."""
    turned = orientation(opened) in TURNED
    width, height = opened.size
    if opened.format == "TIFF":  # whose size is that of the turned picture, by version
        tags: Any = opened
        width, height = tags.tag_v2[WIDTH], tags.tag_v2[HEIGHT]
    return (height, width) if turned else (width, height)


def orientation(opened: "Image") -> int | None:
    """Return the EXIF orientation (1 to 8) of a picture just opened; None if it tells none."""
    found = opened.getexif().get(ORIENTATION)
    return found if found in range(1, 9) else None
