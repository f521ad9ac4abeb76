"""DICOM files whose pixels are cut off, mislabelled, too deep or no numbers: refused, or said."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicoms import dataset
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless

from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import read_dicom
from medrobust.exceptions import InvalidImageError

TWELVE = np.arange(4096).reshape(64, 64).astype(np.uint16)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_pydicom():
        yield


def jpeg(progressive: bool = False) -> tuple[bytes, np.ndarray]:
    """A stream, and its pixels as another decoder has them."""
    rows, columns = np.mgrid[:64, :64]
    target = io.BytesIO()
    image = Image.fromarray((rows * columns % 256).astype(np.uint8))
    image.save(target, "JPEG", quality=90, progressive=progressive)
    return target.getvalue(), np.asarray(Image.open(io.BytesIO(target.getvalue())))


def packed(tmp_path: Path, stream: bytes, fragments: int = 1, **tags: Any) -> Path:
    made = dataset(np.zeros((64, 64), np.uint8), TransferSyntaxUID=JPEGBaseline8Bit)
    made.PixelData = encapsulate([stream], fragments_per_frame=fragments)
    made["PixelData"].is_undefined_length = True
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.5, 0.8, 0.99])
def test_a_jpeg_that_stops_within_its_frame_is_refused(
    tmp_path: Path, kept: float, progressive: bool
) -> None:
    stream, _ = jpeg(progressive)
    file = packed(tmp_path, stream[: int(len(stream) * kept)])
    with pytest.raises(InvalidImageError, match=r"^a\.dcm is damaged: "):
        read_dicom(file)


@pytest.mark.parametrize(("fragments", "padding"), [(1, 0), (1, 1), (1, 14), (3, 0)])
def test_padding_and_fragments_do_not_make_a_jpeg_a_damaged_one(
    tmp_path: Path, fragments: int, padding: int
) -> None:
    stream, pixels = jpeg()
    found = read_dicom(packed(tmp_path, stream + bytes(padding), fragments)).pixels
    assert np.abs(found.astype(int) - pixels).max() <= 1


def test_jpeg_2000_under_the_name_of_jpeg_is_refused(tmp_path: Path) -> None:
    made = dataset(TWELVE, BitsStored=12, HighBit=11)
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm .*JPEG Baseline.* stream of JPEG 2000:"):
        read_dicom(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_jpeg_under_another_name_is_refused(tmp_path: Path, syntax: str) -> None:
    made = dataset(np.zeros((64, 64), np.uint8), TransferSyntaxUID=syntax)
    made.PixelData = encapsulate([jpeg()[0]])
    made["PixelData"].is_undefined_length = True
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm .*JPEG.* stream of JPEG: "):
        read_dicom(tmp_path / "a.dcm")
