"""DICOM files whose header and pixels disagree: resolved by the standard and said, or refused."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import dataset, item, write_dicom, write_packed
from jpeg_lossless import jpeg_lossless
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from medrobust.datasets.own.dicom_colour import PALETTE_BITS, STREAM_COLOURS
from medrobust.datasets.own.dicom_grey import (
    CLIPPED,
    FEW_GREYS,
    NARROW,
    NO_FUNCTION,
    NO_SLOPE,
    TABLE_BITS,
)
from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import ONE_FRAME, Picture, read_dicom
from medrobust.datasets.own.dicom_stored import HIGH_BIT, STREAM_BITS, UNUSED_BITS
from medrobust.exceptions import InvalidImageError

TWELVE = (np.arange(256) * 16).reshape(16, 16).astype(np.uint16)
"""0, 16, ... 4080."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_pydicom():
        yield


def eight(share: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5)


def read(tmp_path: Path, pixels: np.ndarray, window: Any = "header", **tags: Any) -> Picture:
    return read_dicom(write_dicom(tmp_path / "a.dcm", pixels, **tags), window=window)


def refused(tmp_path: Path, pixels: np.ndarray, told: str, **tags: Any) -> None:
    with pytest.raises(InvalidImageError) as caught:
        read(tmp_path, pixels, **tags)
    assert str(caught.value).startswith("a.dcm")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def table(descriptor: list[int], entries: Any, kind: str = "US") -> dict[str, Any]:
    made = item(LUTDescriptor=descriptor, LUTData=entries)
    made[0]["LUTDescriptor"].VR = "SS" if min(descriptor) < 0 else "US"
    made[0]["LUTData"].VR = kind
    return {"VOILUTSequence": made}


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("written", [-1000, 64536], ids=["signed", "unsigned"])
def test_the_first_input_of_a_voi_table_has_the_sign_of_the_rescaled_values(
    tmp_path: Path, syntax: str, written: int
) -> None:
    tags = table([4096, written, 12], list(range(4096)))
    scale = {"RescaleSlope": "1", "RescaleIntercept": "-1000", "TransferSyntaxUID": syntax}
    found = read(tmp_path, TWELVE, BitsStored=12, HighBit=11, **scale, **tags)
    np.testing.assert_array_equal(found.pixels, eight(TWELVE / 4095))


def test_an_unsigned_first_input_is_kept_for_signed_pixels_that_are_rescaled_above_zero(
    tmp_path: Path,
) -> None:
    stored = (TWELVE.astype(np.int32) - 2048).astype(np.int16)
    first = 40000
    tags = table([4096, first - 65536, 12], list(range(4096)))  # as a reader of SS takes it
    scale = {"RescaleSlope": "1", "RescaleIntercept": str(first + 2048)}
    bits = {"BitsStored": 12, "HighBit": 11}
    np.testing.assert_array_equal(
        read(tmp_path, stored, **bits, **scale, **tags).pixels, eight(TWELVE / 4095)
    )


def test_a_voi_table_of_all_sixteen_bits_has_its_count_written_as_zero(tmp_path: Path) -> None:
    stored = (np.arange(256) * 257).reshape(16, 16).astype(np.uint16)
    entries = np.arange(65536)[::-1].astype("<u2").tobytes()
    found = read(tmp_path, stored, **table([0, 0, 16], entries, "OW"))
    np.testing.assert_array_equal(found.pixels, eight((65535 - stored.astype(int)) / 65535))


@pytest.mark.parametrize(
    ("declared", "entries", "top"),
    [(16, 4095, 4095), (16, 1000, 1023), (12, 255, 255), (16, 255, 255), (10, 4095, 4095)],
)
def test_entries_of_other_bits_than_declared_are_scaled_by_their_own(
    tmp_path: Path, declared: int, entries: int, top: int
) -> None:
    values = np.rint(np.linspace(0, entries, 4096)).astype(int)
    found = read(tmp_path, TWELVE, **table([4096, 0, declared], values.tolist()))
    np.testing.assert_array_equal(found.pixels, eight(values[TWELVE] / top))
    assert f"{declared}, {top.bit_length()} bits" in found.details[TABLE_BITS]


def test_a_table_that_leaves_less_than_half_unused_is_believed(tmp_path: Path) -> None:
    values = np.rint(np.linspace(0, 40000, 4096)).astype(int)
    found = read(tmp_path, TWELVE, **table([4096, 0, 16], values.tolist()))
    np.testing.assert_array_equal(found.pixels, eight(values[TWELVE] / 65535))
    assert TABLE_BITS not in found.notes


def test_entries_of_eight_bits_may_come_two_in_a_word(tmp_path: Path) -> None:
    entries = (np.arange(4096) // 16).astype(np.uint8)
    for data in (entries.tobytes(), entries.astype("<u2").tobytes()):
        found = read(tmp_path, TWELVE, **table([4096, 0, 8], data, "OW"))
        np.testing.assert_array_equal(found.pixels, entries[TWELVE])


def test_tables_that_contradict_their_descriptor_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, TWELVE, "4096 entries of 12 bits (LUTDescr", **table([4096, 0, 12], [1, 2]))
    refused(tmp_path, TWELVE, "declares 7 bits an entry", **table([2, 0, 7], [1, 2]))
    refused(tmp_path, TWELVE, "three numbers", **table([2, 0], [1, 2]))


def test_values_beside_a_voi_table_take_its_ends_whatever_the_bits_of_an_entry(
    tmp_path: Path,
) -> None:
    entries = np.linspace(10, 250, 1024).astype(int)  # more entries than eight bits count
    found = read(tmp_path, TWELVE, **table([1024, 1000, 8], entries.tolist()))
    expected = entries[np.clip(TWELVE.astype(int) - 1000, 0, 1023)]
    np.testing.assert_array_equal(found.pixels, expected)


def test_a_modality_table_maps_more_values_than_bytes_hold(tmp_path: Path) -> None:
    lut = item(LUTDescriptor=[200, -100, 16], LUTData=[5 * n for n in range(200)])
    lut[0]["LUTDescriptor"].VR, lut[0]["LUTData"].VR = "SS", "US"
    stored = (np.arange(256) - 128).reshape(16, 16).astype(np.int8)
    window = {"WindowCenter": "500", "WindowWidth": "1000", "VOILUTFunction": "LINEAR_EXACT"}
    found = read(tmp_path, stored, ModalityLUTSequence=lut, **window)
    values = 5 * np.clip(stored.astype(int) + 100, 0, 199)
    np.testing.assert_array_equal(found.pixels, eight(values / 1000))


@pytest.mark.parametrize("width", ["0.8", "0.999"])
def test_windows_below_one_are_applied_exactly_and_said(tmp_path: Path, width: str) -> None:
    tags = {"RescaleSlope": "0.000244140625", "RescaleIntercept": "0"}
    found = read(tmp_path, TWELVE, WindowCenter="0.5", WindowWidth=width, **tags)
    expected = eight((TWELVE / 4096 - 0.5) / float(width) + 0.5)
    assert np.abs(found.pixels - expected).max() <= (width == "0.999")  # halves fall either way
    assert found.details == {NARROW: f"WindowCenter 0.5, WindowWidth {width}"}


@pytest.mark.parametrize("slope", ["0", "0.0", "nan", "inf"])
def test_a_slope_of_no_use_is_left_aside_with_its_intercept(tmp_path: Path, slope: str) -> None:
    tags = {"WindowCenter": "2048", "WindowWidth": "4096", "RescaleIntercept": "-1000"}
    found = read(tmp_path, TWELVE, RescaleSlope=slope, **tags)
    np.testing.assert_array_equal(found.pixels, eight((TWELVE - 2047.5) / 4095 + 0.5))
    assert found.notes == (NO_SLOPE,)
    assert found.details[NO_SLOPE].startswith("RescaleSlope ")


def test_an_unknown_function_of_a_window_is_said(tmp_path: Path) -> None:
    tags = {"WindowCenter": "2048", "WindowWidth": "4096", "VOILUTFunction": "CUBIC"}
    found = read(tmp_path, TWELVE, **tags)
    np.testing.assert_array_equal(found.pixels, eight((TWELVE - 2047.5) / 4095 + 0.5))
    assert found.notes == (NO_FUNCTION,)


def test_pixels_that_fill_the_highest_bits_are_read_from_there(tmp_path: Path) -> None:
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}
    bits = {"BitsStored": 12, "HighBit": 15}
    plain = read(tmp_path, TWELVE, BitsStored=12, HighBit=11, **window).pixels
    left = read(tmp_path, TWELVE << 4, **bits, **window)
    np.testing.assert_array_equal(left.pixels, plain)
    assert left.notes == ()
    drawn = read(tmp_path, (TWELVE << 4) | 1, **bits, **window)  # an overlay in the lowest bit
    np.testing.assert_array_equal(drawn.pixels, plain)
    signed = (TWELVE.astype(np.int32) - 2048).astype(np.int16)
    window["WindowCenter"] = "0"
    found = read(tmp_path, (signed.astype(np.int32) << 4).astype(np.int16), **bits, **window)
    np.testing.assert_array_equal(found.pixels, eight((signed + 0.5) / 4095 + 0.5))


def test_a_high_bit_that_the_pixels_contradict_is_said(tmp_path: Path) -> None:
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}
    odd = TWELVE + 1  # in the lowest bits, whatever the header says
    for high in (15, 7):
        found = read(tmp_path, odd, BitsStored=12, HighBit=high, **window)
        np.testing.assert_array_equal(found.pixels, eight((odd - 2047.5) / 4095 + 0.5))
        assert f"HighBit {high}" in found.details[HIGH_BIT]


def test_bits_beyond_those_stored_are_left_out_and_said(tmp_path: Path) -> None:
    window = {"WindowCenter": "512", "WindowWidth": "1024"}
    found = read(tmp_path, TWELVE, BitsStored=10, HighBit=9, **window)
    np.testing.assert_array_equal(found.pixels, eight(((TWELVE & 1023) - 511.5) / 1023 + 0.5))
    assert "BitsStored 10" in found.details[UNUSED_BITS]


@pytest.mark.parametrize("signed", [False, True])
def test_padding_that_the_stored_bits_cannot_hold_is_no_value_of_the_image(
    tmp_path: Path, signed: bool
) -> None:
    stored = (TWELVE.astype(np.int32) - (2048 if signed else 0)).astype("i2" if signed else "u2")
    stored[:4] = -30000 if signed else 63536
    made = dataset(stored, BitsStored=12, HighBit=11)
    made.add_new("PixelPaddingValue", "US", -30000 % 65536 if signed else 63536)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    inside = stored[4:].astype(int)
    found = read_dicom(tmp_path / "a.dcm")
    share = (inside - inside.min()) / (inside.max() - inside.min())
    np.testing.assert_array_equal(found.pixels[4:], eight(share))
    assert found.pixels[:4].max() == 0
    assert UNUSED_BITS not in found.notes


@pytest.mark.parametrize("written", [63536, 2096], ids=["16 bits", "12 bits"])
def test_a_padding_range_has_the_sign_of_the_pixels(tmp_path: Path, written: int) -> None:
    stored = (TWELVE // 2).astype(np.int16) - 1900
    stored[:2], stored[2:4] = -2000, -1950
    made = dataset(stored, BitsStored=12, HighBit=11)
    made.add_new("PixelPaddingValue", "US", written)  # -2000
    made.add_new("PixelPaddingRangeLimit", "US", -1950 % 65536)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    inside = stored[4:].astype(int)
    share = (inside - inside.min()) / (inside.max() - inside.min())
    np.testing.assert_array_equal(read_dicom(tmp_path / "a.dcm").pixels[4:], eight(share))


@pytest.mark.parametrize("kind", ["f", "d"])
def test_floating_padding_is_no_value_of_the_image(tmp_path: Path, kind: str) -> None:
    values = np.linspace(0, 1, 256).reshape(16, 16)
    values[0] = -1e30
    made = dataset(TWELVE)
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    made.BitsAllocated = 32 if kind == "f" else 64
    name = "FloatPixel" if kind == "f" else "DoubleFloatPixel"
    setattr(made, f"{name}Data", values.astype(f"<{kind}").tobytes())
    setattr(made, f"{name}PaddingValue", float(values.astype(kind)[0, 0]))
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    inside = values[1:]
    share = (inside - inside.min()) / (inside.max() - inside.min())
    assert np.abs(read_dicom(tmp_path / "a.dcm").pixels[1:] - eight(share)).max() <= 1


def test_images_left_with_few_greys_or_clipped_name_the_values_that_did_it(
    tmp_path: Path,
) -> None:
    far = read(tmp_path, TWELVE, WindowCenter="9000", WindowWidth="100")
    assert far.details == {FEW_GREYS: "WindowCenter 9000, WindowWidth 100"}
    step = read(tmp_path, TWELVE, WindowCenter="2048", WindowWidth="1", RescaleSlope="0.5")
    assert step.details == {
        FEW_GREYS: "WindowCenter 2048, WindowWidth 1, RescaleSlope 0.5, intercept 0"
    }
    narrow = read(tmp_path, TWELVE, WindowCenter="2048", WindowWidth="200")
    assert narrow.details == {CLIPPED: "94.9% by WindowCenter 2048, WindowWidth 200"}
    given = read(tmp_path, TWELVE, window=(9000, 100))
    assert given.details == {FEW_GREYS: "dataset.window=[9000,100]"}
    below = read(tmp_path, TWELVE, **table([16, 0, 8], list(range(16))))
    assert below.details[FEW_GREYS] == r"VOI LUTDescriptor 16\0\8"
    assert read(tmp_path, TWELVE, WindowCenter="2048", WindowWidth="800").notes == ()
    padded = np.where(TWELVE < 3800, 0, TWELVE)  # what pads an image is not clipped
    found = read(tmp_path, padded, PixelPaddingValue=0, WindowCenter="3950", WindowWidth="300")
    assert CLIPPED not in found.notes
    two = read(tmp_path, np.where(TWELVE > 9, 1, 0).astype(np.uint16), "stored")
    assert two.notes == ()  # of two values, two greys are left


def test_the_frame_that_was_taken_is_said(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", np.zeros((15, 4, 4), np.uint8), NumberOfFrames=15)
    assert read_dicom(file).details == {ONE_FRAME: "8 of 15"}
    assert read_dicom(file, frame=3).details == {ONE_FRAME: "3 of 15"}


def test_lengths_that_the_header_does_not_explain_are_refused(tmp_path: Path) -> None:
    told = "its header explains"
    refused(tmp_path, TWELVE, told, BitsAllocated=8, BitsStored=8, HighBit=7)
    colour = np.zeros((16, 16, 3), np.uint8)
    refused(tmp_path, colour, told, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    refused(tmp_path, colour, told, PhotometricInterpretation="YBR_FULL_422")  # not thinned out
    refused(tmp_path, np.zeros((3, 4, 4), np.uint8), told)  # frames that are not declared
    for narrower in ({"Columns": 12}, {"Rows": 15}, {"Columns": 15}):  # would be sheared, or cut
        refused(tmp_path, TWELVE, told, **narrower)
    refused(tmp_path, TWELVE, "cannot be read", BitsAllocated=32, BitsStored=32, HighBit=31)
    padded = dataset(TWELVE)
    padded.PixelData += b"\0" * 100
    padded.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    assert read_dicom(tmp_path / "b.dcm").pixels.max() == 255


def test_what_a_header_leaves_out_or_cannot_mean_is_refused_by_its_name(tmp_path: Path) -> None:
    refused(tmp_path, TWELVE, "(BitsStored)", BitsStored=17)
    refused(tmp_path, TWELVE, "(BitsStored)", BitsStored=None)
    refused(tmp_path, TWELVE, "(PixelRepresentation", PixelRepresentation=None)
    refused(tmp_path, TWELVE, "12 bits a pixel", BitsAllocated=12)
    refused(tmp_path, TWELVE, "3 samples", SamplesPerPixel=3)
    colour = np.zeros((16, 16, 3), np.uint8)
    refused(tmp_path, colour, "(PlanarConfiguration)", PlanarConfiguration=None)
    refused(tmp_path, colour, "PlanarConfiguration of 2", PlanarConfiguration=2)
    for uid in (b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.5\0\0\0"):  # packed, it says
        made = dataset(TWELVE)
        made.file_meta.TransferSyntaxUID = uid.rstrip(b"\0").decode()
        made.PixelData = encapsulate([b"ab" * 20])
        made["PixelData"].is_undefined_length = True
        made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        with pytest.raises(InvalidImageError, match=r"^a\.dcm "):
            read_dicom(tmp_path / "a.dcm")


def test_packed_pixels_that_claim_not_to_be_are_refused(tmp_path: Path) -> None:
    file = write_packed(tmp_path / "a.dcm", b"\xff\xd8 something", (16, 16), RLELossless)
    content = file.read_bytes()
    name, plain = RLELossless.encode(), ExplicitVRLittleEndian.encode()
    assert len(name) == len(plain)
    file.write_bytes(content.replace(name, plain, 1))
    with pytest.raises(InvalidImageError, match=r"^a\.dcm says .* \(TransferSyntaxUID"):
        read_dicom(file)


def test_the_encoding_of_the_data_set_is_believed_over_its_meta_information(
    tmp_path: Path,
) -> None:
    plain = read(tmp_path, TWELVE, WindowCenter="2048", WindowWidth="4096").pixels
    file = tmp_path / "a.dcm"
    explicit, implicit = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"
    file.write_bytes(file.read_bytes().replace(explicit, implicit, 1))
    np.testing.assert_array_equal(read_dicom(file).pixels, plain)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "allocated"), [(12, 8), (12, 16), (16, 16), (16, 8)])
def test_a_stream_of_more_bits_than_the_header_is_read_with_its_own(
    tmp_path: Path, bits: int, allocated: int
) -> None:
    codes = np.rint(np.linspace(0, 2**bits - 1, 256)).astype(int).reshape(16, 16)
    tags = {"BitsAllocated": allocated, "BitsStored": 8, "HighBit": 7}
    file = write_packed(
        tmp_path / "a.dcm", jpeg_lossless(codes, bits), (16, 16), JPEGLosslessSV1, **tags
    )
    found = read_dicom(file, window="stored")
    np.testing.assert_array_equal(found.pixels, eight(codes / (2**bits - 1)))
    assert f"{bits} in the stream" in found.details[STREAM_BITS]


def test_a_stream_of_fewer_bits_than_the_header_is_read(tmp_path: Path) -> None:
    codes = np.arange(256).reshape(16, 16)
    tags = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}
    window = {"WindowCenter": "128", "WindowWidth": "256"}
    file = write_packed(
        tmp_path / "a.dcm", jpeg_lossless(codes, 8), (16, 16), JPEGLosslessSV1, **tags, **window
    )
    np.testing.assert_array_equal(read_dicom(file).pixels, codes)


def test_a_stream_with_other_samples_than_the_header_is_refused(tmp_path: Path) -> None:
    stream = jpeg_lossless(np.zeros((16, 16), int), 8)
    file = write_packed(tmp_path / "a.dcm", stream, (16, 16, 3), JPEGLosslessSV1)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm has 1 sample in .* \(SamplesPerPixel\)"):
        read_dicom(file)


def colours() -> np.ndarray:
    """Smooth colours (32, 32, 3), far from grey."""
    y, x = np.mgrid[:32, :32]
    return np.stack([x * 8, y * 8, 255 - x * 4 - y * 4], axis=-1).astype(np.uint8)


def jpeg(sampling: str, *, jfif: bool, adobe: int | None = None, rgb: bool = False) -> bytes:
    """A baseline stream with the markers that are asked for, and no other."""
    stream, kind = io.BytesIO(), Image.fromarray(colours())
    kind.save(stream, "JPEG", quality=95, subsampling=sampling, keep_rgb=rgb)
    content, bare, place = stream.getvalue(), b"\xff\xd8", 2
    if jfif:
        bare += content[2 : 4 + int.from_bytes(content[4:6])]
    if adobe is not None:
        bare += b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00" + bytes([adobe])
    while content[place + 1] != 0xDA:
        length = 2 + int.from_bytes(content[place + 2 : place + 4])
        if content[place + 1] not in range(0xE0, 0xF0):
            bare += content[place : place + length]
        place += length
    return bare + content[place:]


@pytest.mark.parametrize("declared", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize(
    ("stream", "is_rgb"),
    [
        ({"sampling": "4:2:2", "jfif": False}, False),
        ({"sampling": "4:2:0", "jfif": False}, False),
        ({"sampling": "4:4:4", "jfif": True}, False),
        ({"sampling": "4:4:4", "jfif": False, "adobe": 1}, False),
        ({"sampling": "4:4:4", "jfif": False, "adobe": 0, "rgb": True}, True),
        ({"sampling": "4:4:4", "jfif": False, "rgb": True}, True),  # components named R, G, B
    ],
)
def test_the_stream_decides_whether_a_jpeg_is_rgb(
    tmp_path: Path, stream: dict[str, Any], is_rgb: bool, declared: str
) -> None:
    file = write_packed(
        tmp_path / "a.dcm",
        jpeg(**stream),
        (32, 32, 3),
        JPEGBaseline8Bit,
        PhotometricInterpretation=declared,
    )
    found = read_dicom(file)
    worst = 40 if stream["sampling"] == "4:2:0" else 24 if stream["sampling"] == "4:2:2" else 8
    assert np.abs(found.pixels.astype(int) - colours()).max() <= worst
    assert np.abs(found.pixels.astype(int) - colours()).mean() <= 3
    assert (STREAM_COLOURS in found.notes) == (is_rgb != (declared == "RGB"))


def test_a_jpeg_without_marks_is_what_the_header_says(tmp_path: Path) -> None:
    stream = jpeg("4:4:4", jfif=False)  # YCbCr
    for declared in ("YBR_FULL", "YBR_FULL_422"):
        tags = {"PhotometricInterpretation": declared}
        file = write_packed(tmp_path / "a.dcm", stream, (32, 32, 3), JPEGBaseline8Bit, **tags)
        assert np.abs(read_dicom(file).pixels.astype(int) - colours()).max() <= 8


@pytest.mark.parametrize("declared", ["RGB", "YBR_RCT", "YBR_FULL"])
def test_a_transformation_that_jpeg_2000_undoes_is_not_undone_twice(
    tmp_path: Path, declared: str
) -> None:
    made = dataset(colours())
    made.PhotometricInterpretation = "YBR_RCT" if declared != "RGB" else "RGB"
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    made.PhotometricInterpretation = declared
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_dicom(tmp_path / "a.dcm")
    np.testing.assert_array_equal(found.pixels, colours())
    assert (STREAM_COLOURS in found.notes) == (declared == "YBR_FULL")


def ybr(rgb: np.ndarray, bits: int) -> np.ndarray:
    """PS3.3, C.7.6.3.1.2."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    half = 2 ** (bits - 1)
    cb = -0.168736 * r - 0.331264 * g + 0.5 * b + half
    cr = 0.5 * r - 0.418688 * g - 0.081312 * b + half
    planes = np.stack([0.299 * r + 0.587 * g + 0.114 * b, cb, cr], axis=-1)
    return np.clip(np.rint(planes), 0, 2**bits - 1)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
def test_colours_of_any_depth_become_eight_bits(
    tmp_path: Path, kind: str, bits: int, planar: int
) -> None:
    deep = np.rint(colours() / 255 * (2**bits - 1))
    samples = (ybr(deep, bits) if kind == "YBR_FULL" else deep).astype(
        np.uint8 if bits == 8 else np.uint16
    )
    made = dataset(samples, BitsStored=bits, HighBit=bits - 1, PhotometricInterpretation=kind)
    made.PlanarConfiguration = planar
    order = samples.transpose(2, 0, 1) if planar else samples
    made.PixelData = order.astype(order.dtype.newbyteorder("<")).tobytes()
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_dicom(tmp_path / "a.dcm").pixels.astype(int)
    assert np.abs(found - colours()).max() <= (2 if kind == "YBR_FULL" else 0)


def test_colours_have_no_sign(tmp_path: Path) -> None:
    found = read(tmp_path, colours(), PixelRepresentation=1)
    np.testing.assert_array_equal(found.pixels, colours())


@pytest.mark.parametrize(
    ("count", "first", "declared", "size"),
    [
        (256, 0, 8, 1),
        (256, 0, 16, 2),
        (256, 0, 16, 1),
        (4096, 0, 8, 1),
        (4096, 0, 8, 2),
        (200, 10, 16, 2),
    ],
)
def test_palettes_are_applied_whatever_their_packing(
    tmp_path: Path, count: int, first: int, declared: int, size: int
) -> None:
    top = 65535 if (declared, size) == (16, 2) else 255
    indices = np.linspace(0, count - 1, 256).round().astype(np.uint16).reshape(16, 16)
    tags: dict[str, Any] = {}
    planes = []
    for number, colour in enumerate(("Red", "Green", "Blue")):
        entries = np.rint(np.linspace(0, top, count)).astype(int)[:: -1 if number == 1 else 1]
        name = f"{colour}PaletteColorLookupTable"
        tags |= {f"{name}Descriptor": [count, first, declared]}
        tags |= {f"{name}Data": entries.astype(f"<u{size}").tobytes()}
        planes.append(entries[np.clip(indices.astype(int) - first, 0, count - 1)] / top)
    made = dataset(indices, PhotometricInterpretation="PALETTE COLOR", **tags)
    for colour in ("Red", "Green", "Blue"):
        made[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_dicom(tmp_path / "a.dcm")
    np.testing.assert_array_equal(found.pixels, eight(np.stack(planes, axis=-1)))
    assert (PALETTE_BITS in found.notes) == ((declared, size) == (16, 1))


def test_segments_of_a_palette_are_written_out(tmp_path: Path) -> None:
    # 4 entries as they stand, a line of 4 up to 250, and the first segment once more
    segments = bytes([0, 4, 9, 7, 5, 3, 1, 4, 250, 2, 1, 0, 0, 0, 0, 0])
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags |= {f"{colour}PaletteColorLookupTableDescriptor": [12, 0, 8]}
        tags |= {f"Segmented{colour}PaletteColorLookupTableData": segments}
    made = dataset(np.arange(12, dtype=np.uint8).reshape(3, 4), **tags)
    for colour in ("Red", "Green", "Blue"):
        made[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_dicom(tmp_path / "a.dcm").pixels[..., 0].ravel().tolist()
    assert found == [9, 7, 5, 3, 65, 126, 188, 250, 9, 7, 5, 3]


def test_deflated_or_not_a_file_without_pixels_says_so(tmp_path: Path) -> None:
    made = dataset(TWELVE)
    del made.PixelData
    for syntax in (pydicom.uid.DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian):
        made.file_meta.TransferSyntaxUID = syntax
        made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        with pytest.raises(InvalidImageError, match=r"^a\.dcm is a DICOM file without pixels"):
            read_dicom(tmp_path / "a.dcm")


def test_a_file_that_no_installed_decoder_reads_is_not_called_damaged() -> None:
    from pydicom.data.data_manager import DATA_ROOT

    with pytest.raises(InvalidImageError) as caught:
        read_dicom(Path(DATA_ROOT) / "test_files/JPEG-lossy.dcm")
    assert "no installed decoder reads (tried: " in str(caught.value)
    assert "pip install" in str(caught.value)
