"""DICOM files without an image: those that never had one, and those that were cut off before it."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from medrobust.exceptions import InvalidImageError

from .dicom_headers import DEFLATED, library

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

SEGMENTATIONS: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes: segmentation, and label map segmentation."""

NO_IMAGE: Final = "holds no image (a report, a plan, a directory, a header alone)"
SEGMENTS: Final = "holds segments of other images (SEG), which rows name as their mask"
CUT_OFF: Final = "is cut off or damaged before its pixels"

ENDS: Final = (b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xff\xfe\xe0\xdd\0\0\0\0")
"""What closes a sequence whose length is not stated, in either order of bytes."""

IMAGE_GROUP: Final = 0x0028
"""Group of the elements that describe an image."""


def check_image(header: "FileDataset", stream: BinaryIO, file: Path) -> None:
    """Refuse a file without pixels, their size or a UID, by which rows of a table find it, and SEG.

    Args:
        header: As far as it is there.
        stream: The file, where the header ends.
        file: Its name.

    Raises:
        InvalidImageError: Saying which; names the file.
    """
    if header.get("SOPClassUID") in SEGMENTATIONS:
        raise InvalidImageError(f"{file.name} {SEGMENTS}.")
    sized = bool(header.get("Rows"))
    pixels = _deflated(header) or stream.tell() < file.stat().st_size
    if sized and pixels and header.get("SOPInstanceUID"):
        return
    if _is_whole(header, stream, file):
        if pixels and not _deflated(header):
            lacking = "SOP Instance UID" if sized else "size of its pixels (Rows)"
            raise InvalidImageError(f"{file.name} lacks the {lacking}.")
        if not sized and not any(tag.group == IMAGE_GROUP for tag in header.keys()):  # noqa: SIM118
            raise InvalidImageError(f"{file.name} {NO_IMAGE}.")
    kind = header.file_meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID")
    imageless = kind is not None and kind.name != kind and "Image Storage" not in kind.name
    raise InvalidImageError(f"{file.name} {NO_IMAGE if imageless else CUT_OFF}.")


def _deflated(header: "FileDataset") -> bool:
    return bool(header.file_meta.get("TransferSyntaxUID") == DEFLATED)


def _is_whole(header: "FileDataset", stream: BinaryIO, file: Path) -> bool:
    """Say whether the header ends where its last element does, and not within it."""
    tags = sorted(header.keys())
    if not tags or _deflated(header):
        return bool(tags)
    last, end = header.get_item(tags[-1]), stream.tell()
    if isinstance(last, library().dataelem.RawDataElement) and last.length != 0xFFFFFFFF:
        return bool(last.value_tell + last.length == end <= file.stat().st_size)
    stream.seek(max(0, end - 8))
    return stream.read(8) in ENDS
