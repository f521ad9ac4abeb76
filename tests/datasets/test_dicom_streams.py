"""DICOM files whose pixels are cut off, mislabelled, too deep or no numbers: refused, or said."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicoms import dataset, item, write_dicom, write_packed
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from medrobust.datasets.own.dicom_grey import CLIPPED, FEW_GREYS
from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import read_dicom, read_notes
from medrobust.datasets.own.dicom_stored import STREAM_SIGN
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


def rle_encode(pixels: np.ndarray) -> bytes:
    """One segment, a run a literal of one byte or of two."""
    head = np.array([1, 64] + [0] * 14, "<u4").tobytes()
    return head + b"".join(bytes([1, *pair]) for pair in pixels.reshape(-1, 2).tolist())


def packed(tmp_path: Path, stream: bytes, **tags: Any) -> Path:
    return write_packed(tmp_path / "a.dcm", stream, (64, 64), JPEGBaseline8Bit, **tags)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.5, 0.8, 0.99])
def test_a_jpeg_that_stops_within_its_frame_is_refused(
    tmp_path: Path, kept: float, progressive: bool
) -> None:
    stream, _ = jpeg(progressive)
    file = packed(tmp_path, stream[: int(len(stream) * kept)])
    with pytest.raises(InvalidImageError, match=r"^a\.dcm is damaged: "):
        read_dicom(file)


def jpeg_2000_stream() -> bytes:
    target = io.BytesIO()
    Image.fromarray((TWELVE % 251).astype(np.uint8)).save(
        target, "JPEG2000", no_jp2=True, irreversible=False
    )
    return target.getvalue()


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_a_frame_that_no_decoder_reads_for_it_stops_is_called_so(
    tmp_path: Path, syntax: str, kept: float
) -> None:
    """It was said to be of a kind that another decoder reads."""
    whole = jpeg_2000_stream() if syntax == JPEG2000Lossless else rle_encode((TWELVE % 251) // 3)
    file = write_packed(tmp_path / "a.dcm", whole, (64, 64), syntax)
    assert read_dicom(file).pixels.shape == (64, 64)
    file = write_packed(tmp_path / "a.dcm", whole[: int(len(whole) * kept)], (64, 64), syntax)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm is damaged: .* stop before the end"):
        read_dicom(file)


def test_a_broken_frame_that_has_its_end_is_not_called_cut_off(tmp_path: Path) -> None:
    stream = bytearray(jpeg_2000_stream())
    at = stream.index(b"\xff\x93")  # the marker before the data
    stream[at + 2 : at + 200] = b"\xff" * 198
    stream[at - 10 : at - 6] = b"\0\0\0\1"  # the length of the part
    file = write_packed(tmp_path / "a.dcm", bytes(stream), (64, 64), JPEG2000Lossless)
    with pytest.raises(InvalidImageError, match="no installed decoder reads"):
        read_dicom(file)


@pytest.mark.parametrize(("fragments", "padding"), [(1, 0), (1, 1), (1, 14), (3, 0)])
def test_padding_and_fragments_do_not_make_a_jpeg_a_damaged_one(
    tmp_path: Path, fragments: int, padding: int
) -> None:
    stream, pixels = jpeg()
    found = read_dicom(packed(tmp_path, stream + bytes(padding), fragments=fragments)).pixels
    assert np.abs(found.astype(int) - pixels).max() <= 1


def test_jpeg_2000_under_the_name_of_jpeg_is_refused(tmp_path: Path) -> None:
    made = dataset(TWELVE, BitsStored=12, HighBit=11)
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm .*JPEG Baseline.* stream of JPEG 2000:"):
        read_dicom(tmp_path / "a.dcm")


def test_jpeg_2000_under_the_name_of_rle_is_refused(tmp_path: Path) -> None:
    made = dataset(TWELVE, BitsStored=12, HighBit=11)
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = RLELossless
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm .*RLE.* stream of JPEG 2000: correct"):
        read_dicom(tmp_path / "a.dcm")


def jpeg_2000(codes: np.ndarray, representation: int, **tags: Any) -> Any:
    """A data set of 12 bits whose header has that sign, whatever its stream has."""
    made = dataset(codes, BitsStored=12, HighBit=11, **tags)
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    made.PixelRepresentation = representation
    return made


@pytest.mark.parametrize("signed", [0, 1])
def test_a_sign_that_the_header_denies_is_that_of_the_stream(tmp_path: Path, signed: int) -> None:
    codes = TWELVE.astype(np.int16) - 2048 if signed else TWELVE
    made = jpeg_2000(codes, 1 - signed, WindowCenter=0 if signed else 2048, WindowWidth=4096)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    for window in ("header", "range", "stored"):
        found = read_dicom(tmp_path / "a.dcm", window=window)
        np.testing.assert_array_equal(found.pixels, np.floor(TWELVE / 4095 * 255 + 0.5))
        told = f"PixelRepresentation {1 - signed}, {'' if signed else 'un'}signed in the stream"
        assert found.details[STREAM_SIGN] == f"{told}, which was followed"


def test_signed_values_that_were_packed_as_unsigned_ones_are_signed(tmp_path: Path) -> None:
    values = np.arange(-2048, 2048).reshape(64, 64)
    made = jpeg_2000((values & 4095).astype(np.uint16), 1, WindowCenter=0, WindowWidth=4096)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert STREAM_SIGN in read_dicom(tmp_path / "a.dcm").details  # no value wraps: the stream's
    waves = np.tile((2000 * np.sin(np.arange(64) / 3)).astype(int), (64, 1))
    made = jpeg_2000((waves & 4095).astype(np.uint16), 1, WindowCenter=0, WindowWidth=4096)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_dicom(tmp_path / "a.dcm")
    np.testing.assert_array_equal(found.pixels, np.floor((waves + 2048) / 4095 * 255 + 0.5))
    assert found.details[STREAM_SIGN].endswith("which was not followed")


def test_signs_that_make_no_difference_are_passed_over(tmp_path: Path) -> None:
    made = jpeg_2000(TWELVE // 2, 1, WindowCenter=1024, WindowWidth=2048)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert STREAM_SIGN not in read_dicom(tmp_path / "a.dcm").details


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_jpeg_under_another_name_is_refused(tmp_path: Path, syntax: str) -> None:
    made = dataset(np.zeros((64, 64), np.uint8), TransferSyntaxUID=syntax)
    made.PixelData = encapsulate([jpeg()[0]])
    made["PixelData"].is_undefined_length = True
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm .*JPEG.* stream of JPEG: "):
        read_dicom(tmp_path / "a.dcm")


@pytest.mark.parametrize("window", ["header", [2048, 4096]])
def test_a_modality_table_that_ends_before_the_pixels_do_is_said(
    tmp_path: Path, window: Any
) -> None:
    made = item(LUTDescriptor=[256, 0, 12], LUTData=[value * 16 for value in range(256)])
    made[0]["LUTDescriptor"].VR = made[0]["LUTData"].VR = "US"
    tags = {"BitsStored": 12, "HighBit": 11, "ModalityLUTSequence": made}
    found = read_dicom(write_dicom(tmp_path / "a.dcm", TWELVE, **tags), window=window)
    assert found.details[CLIPPED].startswith("93.8% by ")  # 3,840 of 4,096
    assert found.details[CLIPPED].endswith(r"modality LUTDescriptor 256\0\12")


def test_a_palette_that_ends_before_its_indices_do_is_said(tmp_path: Path) -> None:
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [16, 0, 16]
        entries = (np.arange(16) * 4369).astype("<u2")
        tags[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = read_dicom(write_dicom(tmp_path / "a.dcm", indices, **tags))
    assert found.details[CLIPPED] == r"93.8% by palette LUTDescriptor 16\0\16"  # 240 of 256


def test_a_stream_of_fewer_bits_than_the_header_spans_black_to_white(tmp_path: Path) -> None:
    stream, pixels = jpeg()
    file = packed(tmp_path, stream, BitsAllocated=16, BitsStored=12, HighBit=11)
    found = read_dicom(file, window="stored").pixels
    assert np.abs(found.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("signed", [0, 1])
def test_jpeg_2000_of_twelve_bits_spans_black_to_white_whatever_the_header(
    tmp_path: Path, signed: int
) -> None:
    codes = TWELVE.astype(np.int16) - 2048 if signed else TWELVE
    made = dataset(codes, BitsStored=12, HighBit=11)
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    made.BitsStored, made.HighBit = 16, 15
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_dicom(tmp_path / "a.dcm", window="stored").pixels
    np.testing.assert_array_equal(found, np.floor(TWELVE / 4095 * 255 + 0.5))


def test_colours_of_sixteen_bits_that_hold_eight_name_the_header(tmp_path: Path) -> None:
    colours = np.arange(768, dtype=np.uint16).reshape(16, 16, 3) % 256 // 2
    file = write_dicom(tmp_path / "a.dcm", colours)
    assert read_dicom(file).details[FEW_GREYS] == "BitsAllocated 16, BitsStored 16"
    assert read_notes(file)[FEW_GREYS] == "BitsAllocated 16, BitsStored 16"


@pytest.mark.slow
@pytest.mark.parametrize("window", ["header", "range", "stored", [0, 1]])
@pytest.mark.parametrize(
    ("wrong", "told"), [(1, "1 of 256 pixels is"), (256, "256 of 256 pixels are")]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floating_pixels_that_are_no_numbers_are_refused_and_counted(
    tmp_path: Path, window: Any, wrong: int, told: str, value: float
) -> None:
    values = np.linspace(-1, 1, 256, dtype=np.float32)
    values[:wrong] = value
    made = dataset(np.zeros((16, 16), np.uint16))
    del made.PixelData
    made.BitsAllocated, made.FloatPixelData = 32, values.tobytes()
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InvalidImageError, match=rf"^a\.dcm .*: {told} NaN or infinite"):
        read_dicom(tmp_path / "a.dcm", window=window)
