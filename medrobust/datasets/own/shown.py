"""How an image is shown, by its header alone: what its mask has to fit."""

from dataclasses import dataclass
from pathlib import Path

from medrobust.exceptions import InvalidImageError

from .dicom_frames import frames_of_header
from .dicom_headers import opened
from .dicom_pixels import check_header, frame_index, squared_size
from .dicom_seg import Imaged, grid_of
from .picture_sizes import UPRIGHT, orientation, size_shown


@dataclass(frozen=True, slots=True)
class Shown:
    """An image as it is shown, which its mask has to fit.

    Attributes:
        size: Width and height.
        turn: EXIF orientation by which it was turned.
        dicom: The image in its file, before its pixels are made square, if that is DICOM.
    """

    size: tuple[int, int]
    turn: int = UPRIGHT
    dicom: Imaged | None = None


def picture_shown(file: Path) -> Shown:
    """Say how a picture is shown.

    Raises:
        InvalidImageError: If it is no readable image file; names it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            return Shown(size_shown(picture), orientation(picture) or UPRIGHT)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InvalidImageError(f"the image {file.name} cannot be read ({error}).") from error


def dicom_shown(file: Path, frame: int | None) -> Shown:
    """Say how an image of DICOM is shown.

    Args:
        file: The file.
        frame: As for `read_dicom`.

    Raises:
        InvalidImageError: As `read_dicom` raises it for a header; names the file.
    """
    with opened(file) as (header, _):
        check_header(header, file.name)
        index = frame_index(header, frame, file.name)
        grid = grid_of(header, index)
        number = index + 1 if frames_of_header(header) > 1 else None
        image = Imaged(str(header.get("SOPInstanceUID", "")), number, grid)
        return Shown(squared_size(header, index, grid.size, file.name), dicom=image)
