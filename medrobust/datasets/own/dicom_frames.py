"""Frames of a DICOM file counted in its pixels: another number than its header says is refused.

Otherwise "the middle one" would be another frame than the middle of those that are there.
"""

from io import BytesIO
from typing import TYPE_CHECKING, Final

from medrobust.base.wording import counted
from medrobust.exceptions import InvalidImageError

from .codestream import START_J2K

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

START_JPEG: Final = b"\xff\xd8"
START_JP2: Final = b"\x00\x00\x00\x0cjP  "
START_RLE: Final = b"\x40\x00\x00\x00"
"""Place of the first segment, in the second word of each RLE frame (PS3.5, G.5)."""


def frames_of_header(header: "FileDataset") -> int:
    """Return the number of frames that a header declares; 1 where it declares none."""
    return int(header.get("NumberOfFrames") or 1)


def frames_against(header: "FileDataset", held: float) -> str:
    """Name the frames of uncompressed pixels and of their header; nothing where they agree.

    Args:
        header: Of the file.
        held: Frames that its pixels hold, with a part of one.
    """
    frames, whole = frames_of_header(header), int(held + 1e-10)
    if frames == 1 or frames == whole:
        return ""
    return (
        f": {counted(frames, 'frame')} in the header, {whole} whole in the pixels; correct "
        f"NumberOfFrames, or fetch or export the file again"
    )


def check_frames(whole: "FileDataset", name: str) -> None:
    """Refuse compressed pixels of another number of frames than their header declares.

    Where neither an offset table nor the starts of their fragments tell it, nothing is refused.

    Args:
        whole: The file, with its pixels.
        name: Of the file.

    Raises:
        InvalidImageError: Naming the file and both numbers.
    """
    frames = frames_of_header(whole)
    for held in _frames_of_pixels(whole):
        if held != frames:
            raise InvalidImageError(
                f"{name} has {counted(frames, 'frame')} in its header (NumberOfFrames) and {held} "
                f"in its compressed pixels: correct the header, or fetch or export the file again."
            )


def _frames_of_pixels(whole: "FileDataset") -> list[int]:
    """Count frames by the starts of their streams, and by the offset table (PS3.5, A.4)."""
    from pydicom.encaps import parse_basic_offsets, parse_fragments

    packed = whole.PixelData
    buffer = BytesIO(packed)
    offsets = len(parse_basic_offsets(buffer))
    if whole.get("ExtendedOffsetTable") and whole.get("ExtendedOffsetTableLengths"):
        offsets = len(whole.ExtendedOffsetTable) // 8
    _, places = parse_fragments(buffer)
    starts = [_starts_frame(packed[place + 8 : place + 24]) for place in places]
    begun = sum(starts) if starts and starts[0] else 0
    return [number for number in (begun, offsets) if number]


def _starts_frame(head: bytes) -> bool:
    r"""Say whether a fragment is the first of its frame, by the first bytes of its stream.

    Example:
        >>> _starts_frame(b"\xff\xd8\xff\xe0"), _starts_frame(b"\x3f\xd8\xff\xe0")
        (True, False)
    """
    packbits = 1 <= int.from_bytes(head[:4], "little") <= 15 and head[4:8] == START_RLE
    return packbits or head.startswith((START_JPEG, START_J2K, START_JP2))
