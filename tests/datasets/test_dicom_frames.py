"""DICOM files of several frames whose header and pixels are counted against one another."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dicoms import dataset
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import read_dicom
from medrobust.exceptions import InvalidImageError

GREYS = (10, 90, 170, 250)
FRAMES = np.array(GREYS, np.uint8)[:, None, None] * np.ones((1, 16, 16), np.uint8)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_pydicom():
        yield


def native(tmp_path: Path, body: bytes, declared: int) -> Path:
    made = dataset(FRAMES, NumberOfFrames=declared)
    made.PixelData = body
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm"


def streams(count: int, kind: str = "JPEG") -> list[bytes]:
    made = []
    for frame in FRAMES[:count]:
        target = io.BytesIO()
        noise = np.random.default_rng(0).integers(-5, 6, frame.shape)  # long enough to be split
        Image.fromarray((frame + noise).astype(np.uint8)).save(target, kind)
        made.append(target.getvalue())
    return made


def packed(tmp_path: Path, body: bytes, declared: int, syntax: str = JPEGBaseline8Bit) -> Path:
    made = dataset(FRAMES, NumberOfFrames=declared, TransferSyntaxUID=syntax)
    made.PixelData = body
    made["PixelData"].is_undefined_length = True
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm"


def run_length(tmp_path: Path, declared: int) -> Path:
    made = dataset(FRAMES, NumberOfFrames=4)
    made.compress(RLELossless, generate_instance_uid=False)
    made.NumberOfFrames = declared
    made.save_as(tmp_path / "a.dcm")
    return tmp_path / "a.dcm"


def assert_read(file: Path) -> None:
    for number, grey in enumerate(GREYS, start=1):
        assert abs(read_dicom(file, frame=number).pixels.mean() - grey) < 2
    assert abs(read_dicom(file).pixels.mean() - GREYS[1]) < 2


@pytest.mark.parametrize(
    ("declared", "kept", "held"),
    [(5, 1024, "5 frames in the header, 4"), (4, 700, "4 .*, 2"), (3, 1024, "3 .*, 4")],
)
def test_uncompressed_frames_of_another_number_are_refused_with_both(
    tmp_path: Path, declared: int, kept: int, held: str
) -> None:
    file = native(tmp_path, FRAMES.tobytes()[:kept], declared)
    with pytest.raises(InvalidImageError, match=rf"^a\.dcm .*: {held} whole in the pixels; corr"):
        read_dicom(file)


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("fragments", [1, 2])
@pytest.mark.parametrize(("held", "declared"), [(3, 4), (4, 3), (4, 1), (2, 4)])
def test_compressed_frames_of_another_number_are_refused_with_both(
    tmp_path: Path, held: int, declared: int, fragments: int, table: bool
) -> None:
    body = encapsulate(streams(held), fragments_per_frame=fragments, has_bot=table)
    told = rf"^a\.dcm has {declared} frames? in its header \(NumberOfFrames\) and {held} in its "
    with pytest.raises(InvalidImageError, match=told):
        read_dicom(packed(tmp_path, body, declared))


@pytest.mark.parametrize("declared", [3, 5])
def test_run_length_frames_of_another_number_are_refused_with_both(
    tmp_path: Path, declared: int
) -> None:
    with pytest.raises(InvalidImageError, match=rf"has {declared} frames in .* and 4 in its comp"):
        read_dicom(run_length(tmp_path, declared))


@pytest.mark.parametrize("padding", [0, 1, 2, 64])
def test_uncompressed_frames_of_that_number_are_read(tmp_path: Path, padding: int) -> None:
    assert_read(native(tmp_path, FRAMES.tobytes() + bytes(padding), 4))


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("fragments", [1, 2])
@pytest.mark.parametrize(
    ("kind", "syntax"), [("JPEG", JPEGBaseline8Bit), ("JPEG2000", JPEG2000Lossless)]
)
def test_compressed_frames_of_that_number_are_read(
    tmp_path: Path, kind: str, syntax: str, fragments: int, table: bool
) -> None:
    body = encapsulate(streams(4, kind), fragments_per_frame=fragments, has_bot=table)
    assert_read(packed(tmp_path, body, 4, syntax))


def test_run_length_frames_of_that_number_are_read(tmp_path: Path) -> None:
    assert_read(run_length(tmp_path, 4))


def test_an_extended_offset_table_is_counted(tmp_path: Path) -> None:
    body, offsets, lengths = encapsulate_extended(streams(4))
    made = dataset(FRAMES, NumberOfFrames=4, TransferSyntaxUID=JPEGBaseline8Bit)
    made.PixelData = body
    made["PixelData"].is_undefined_length = True
    made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = offsets, lengths
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert_read(tmp_path / "a.dcm")
    made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = offsets[:24], lengths[:24]
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InvalidImageError, match=r"has 4 frames in its header .* and 3 in its comp"):
        read_dicom(tmp_path / "a.dcm")
