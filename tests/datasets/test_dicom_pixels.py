"""Pixels of DICOM files against pydicom's own functions, the standard and known files."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import dataset, item, write_dicom
from PIL import Image
from pydicom.data.data_manager import DATA_ROOT
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from medrobust.datasets.own.codestream import codestream
from medrobust.datasets.own.dicom_grey import AS_STORED, NO_WINDOW, Window
from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import (
    BURNT_IN,
    CONTRADICTION,
    OVERLAYS,
    PROFILE,
    is_grey_dicom,
    read_dicom,
    read_notes,
)
from medrobust.exceptions import InvalidImageError

BUNDLED = Path(DATA_ROOT) / "test_files"
GREY_8 = np.arange(16, dtype=np.uint8).reshape(4, 4)


@pytest.fixture(autouse=True)
def quiet():
    with quiet_pydicom():
        yield


def grey(tmp_path: Path, pixels: np.ndarray, **options: Any) -> list[int]:
    """First row of one grey frame after reading; capitals are DICOM keywords."""
    tags = {name: options.pop(name) for name in list(options) if name[0].isupper()}
    file = write_dicom(tmp_path / "a.dcm", pixels, **tags)
    return read_dicom(file, **options).pixels[0].tolist()


def size_of(packed: bytes) -> tuple[int, int]:
    found = codestream(packed)
    assert found is not None
    return found.width, found.height


def row(*values: int, dtype: Any = np.int16) -> np.ndarray:
    return np.array([values], dtype=dtype)


@pytest.mark.parametrize("name", ["MR_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"])
def test_windowed_grey_equals_pydicoms_own_functions(name: str) -> None:
    whole = pydicom.dcmread(BUNDLED / name)
    shown = apply_voi_lut(apply_modality_lut(whole.pixel_array, whole), whole)
    ends = np.array([-(2.0 ** (whole.BitsStored - 1)), 2.0 ** (whole.BitsStored - 1) - 1])
    low, high = ends * float(whole.get("RescaleSlope", 1)) + float(whole.get("RescaleIntercept", 0))
    found = read_dicom(BUNDLED / name).pixels
    assert found.dtype == np.uint8
    assert np.abs(found - (shown - low) / (high - low) * 255).max() <= 0.51


@pytest.mark.parametrize(
    "name",
    ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "expb", "implicit", "padded"],
)
def test_lossless_packings_of_one_image_give_the_same_pixels(name: str) -> None:
    plain = read_dicom(BUNDLED / "MR_small.dcm").pixels
    np.testing.assert_array_equal(read_dicom(BUNDLED / f"MR_small_{name}.dcm").pixels, plain)
    assert 20 < plain.mean() < 200


def test_colours_of_known_files_are_what_they_should_be() -> None:
    # bars of 10 rows: red, pale red, green, pale green, blue, pale blue, black, greys, white
    for file in sorted(BUNDLED.glob("SC_rgb_*.dcm")):
        found = read_dicom(file).pixels
        if found.shape != (100, 100, 3):
            continue
        bars = found[5::10, 50].astype(int)
        for bar, colour in ((0, (255, 0, 0)), (2, (0, 255, 0)), (4, (0, 0, 255)), (9, (255,) * 3)):
            assert np.abs(bars[bar] - colour).max() <= 6, (file.name, bar)
        assert not is_grey_dicom(file)
    text = read_dicom(BUNDLED / "GDCMJ2K_TextGBR.dcm").pixels
    first = text[60:100, 30:160].reshape(-1, 3).astype(int)
    red = first[np.abs(first - first.mean(1, keepdims=True)).max(1).argmax()]
    assert red.argmax() == 0


def test_palettes_and_ybr_become_rgb_as_pydicom_makes_them() -> None:
    whole = pydicom.dcmread(BUNDLED / "examples_palette.dcm")
    table = apply_color_lut(whole.pixel_array, whole)
    expected = np.rint(table / 65535 * 255) if table.dtype == np.uint16 else table
    found = read_dicom(BUNDLED / "examples_palette.dcm").pixels
    assert np.abs(found.astype(int) - expected).max() <= 1
    ybr = read_dicom(BUNDLED / "SC_ybr_full_422_uncompressed.dcm").pixels
    rgb = read_dicom(BUNDLED / "SC_rgb_rle.dcm").pixels
    assert np.abs(ybr.astype(int) - rgb).max() <= 6


def test_the_window_of_the_header_is_the_first_one(tmp_path: Path) -> None:
    # width 256 around 128: low end 0, high end 255, so values are their own grey level
    tags = {"WindowCenter": [128, 40], "WindowWidth": [256, 400]}
    assert grey(tmp_path, row(-9, 0, 7, 255, 300), **tags) == [0, 0, 7, 255, 255]
    tags |= {"RescaleSlope": 2, "RescaleIntercept": -10}
    assert grey(tmp_path, row(0, 5, 8, 130, 200), **tags) == [0, 0, 6, 250, 255]


def test_window_functions_follow_the_standard(tmp_path: Path) -> None:
    tags = {"WindowCenter": 50, "WindowWidth": 100}
    values = row(0, 25, 50, 75, 100)
    linear = [((v - 49.5) / 99 + 0.5) * 255 for v in (0, 25, 50, 75, 100)]
    expected = [int(np.floor(min(max(v, 0), 255) + 0.5)) for v in linear]
    assert grey(tmp_path, values, **tags) == expected
    exact = grey(tmp_path, values, VOILUTFunction="LINEAR_EXACT", **tags)
    assert exact == [0, 64, 128, 191, 255]
    sigmoid = [255 / (1 + np.exp(-4 * (v - 50) / 100)) for v in (0, 25, 50, 75, 100)]
    assert grey(tmp_path, values, VOILUTFunction="SIGMOID", **tags) == [
        int(np.floor(v + 0.5)) for v in sigmoid
    ]


def test_a_given_window_is_in_rescaled_values(tmp_path: Path) -> None:
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 1, "WindowWidth": 2}
    found = grey(tmp_path, row(824, 1024, 1064, 1264), window=(40, 400), **tags)
    low = 40 - 0.5 - 399 / 2
    assert found == [
        int(np.floor(min(max((v - low) / 399, 0), 1) * 255 + 0.5)) for v in (-200, 0, 40, 240)
    ]


def test_without_a_window_the_images_own_range_is_used_and_said(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", row(100, 200, 300), PixelPaddingValue=100)
    found = read_dicom(file)
    assert (found.pixels[0].tolist(), found.notes) == ([0, 0, 255], (NO_WINDOW,))
    assert read_dicom(file, window="range").notes == ()
    assert grey(tmp_path, row(7, 7)) == [0, 0]
    empty = {"WindowCenter": "", "WindowWidth": ""}
    assert grey(tmp_path, row(1, 2, 3), **empty) == [0, 128, 255]
    assert grey(tmp_path, row(1, 2, 3), WindowCenter=5, WindowWidth=0) == [0, 128, 255]


def test_stored_bits_set_the_range_where_asked_and_for_bytes(tmp_path: Path) -> None:
    assert grey(tmp_path, row(0, 9, 255, dtype=np.uint8)) == [0, 9, 255]
    twelve = {"BitsStored": 12, "HighBit": 11}
    assert grey(tmp_path, row(0, 2048, 4095), window="stored", PixelRepresentation=0, **twelve) == [
        0,
        128,
        255,
    ]
    assert grey(tmp_path, row(-32768, 0, 32767), window="stored") == [0, 128, 255]
    assert grey(tmp_path, row(0, 65535, dtype=np.uint16), window="stored") == [0, 255]


def test_monochrome1_is_shown_inverted(tmp_path: Path) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    assert grey(tmp_path, row(0, 9, 255, dtype=np.uint8), **tags) == [255, 246, 0]
    assert is_grey_dicom(tmp_path / "a.dcm")


def test_tables_of_values_are_applied(tmp_path: Path) -> None:
    voi = item(LUTDescriptor=[3, 0, 8], LUTData=[10, 200, 90])
    voi[0]["LUTDescriptor"].VR, voi[0]["LUTData"].VR = "US", "US"
    found = grey(tmp_path, row(0, 1, 2, 5, dtype=np.uint16), VOILUTSequence=voi)
    assert found == [10, 200, 90, 90]


def test_frames_are_counted_from_one_and_the_middle_is_taken(tmp_path: Path) -> None:
    frames = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    file = write_dicom(tmp_path / "a.dcm", frames, NumberOfFrames=4)
    assert [read_dicom(file, frame=n).pixels[0, 0] for n in (None, 1, 2, 4)] == [1, 0, 1, 3]
    for wrong in (0, 5):
        with pytest.raises(InvalidImageError, match=rf"^a\.dcm has 4 frames; frame {wrong} was"):
            read_dicom(file, frame=wrong)
    packed = dataset(frames, NumberOfFrames=4)
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(tmp_path / "b.dcm")
    assert [read_dicom(tmp_path / "b.dcm", frame=n).pixels[0, 0] for n in (1, 3)] == [0, 2]


def test_enhanced_images_have_a_window_and_a_scale_for_each_frame(tmp_path: Path) -> None:
    frames = np.full((2, 1, 2), 10, np.uint16)
    per_frame = [
        item(
            FrameVOILUTSequence=item(WindowCenter=centre, WindowWidth=101),
            PixelValueTransformationSequence=item(RescaleSlope=slope, RescaleIntercept=0),
        )[0]
        for centre, slope in ((10.5, 1), (0.5, 5))
    ]
    file = write_dicom(
        tmp_path / "a.dcm",
        frames,
        NumberOfFrames=2,
        PerFrameFunctionalGroupsSequence=per_frame,
        SharedFunctionalGroupsSequence=item(
            FrameVOILUTSequence=item(WindowCenter=999, WindowWidth=1)
        ),
    )
    assert read_dicom(file, frame=1).pixels[0, 0] == 128
    assert read_dicom(file, frame=2).pixels[0, 0] == 255


def test_text_burnt_into_pixels_is_told_to_the_owner(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", row(1, 2, dtype=np.uint8), BurnedInAnnotation="YES")
    assert read_dicom(file).notes == (BURNT_IN, AS_STORED)


def test_overlays_are_left_out_and_said_also_in_unused_bits(tmp_path: Path) -> None:
    values = (np.arange(64, dtype=np.uint16) * 60).reshape(8, 8)
    bits = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    plain = read_dicom(write_dicom(tmp_path / "a.dcm", values, **bits))
    drawn = dataset(values | np.uint16(1 << 12), **bits)
    drawn.add_new((0x6002, 0x0010), "US", 8)
    drawn.add_new((0x6002, 0x3000), "OW", b"\xff" * 8)
    pydicom.dcmwrite(tmp_path / "b.dcm", drawn, enforce_file_format=True)
    found = read_dicom(tmp_path / "b.dcm")
    np.testing.assert_array_equal(found.pixels, plain.pixels)
    assert (plain.notes, found.notes) == ((), (OVERLAYS,))


def test_colour_profiles_and_contradicting_presentation_shapes_are_said(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    colours = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    found = read_dicom(write_dicom(file, colours, ICCProfile=b"\0" * 128))
    np.testing.assert_array_equal(found.pixels, colours)
    assert found.notes == (PROFILE,)
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for kind, shape, notes in (
        ("MONOCHROME1", "INVERSE", (AS_STORED,)),
        ("MONOCHROME2", "IDENTITY", (AS_STORED,)),
        ("MONOCHROME2", "INVERSE", (CONTRADICTION, AS_STORED)),
        ("MONOCHROME1", "IDENTITY", (CONTRADICTION, AS_STORED)),
    ):
        tags = {"PhotometricInterpretation": kind, "PresentationLUTShape": shape}
        found = read_dicom(write_dicom(file, grey, **tags))
        np.testing.assert_array_equal(found.pixels, 255 - grey if kind[-1] == "1" else grey)
        assert found.notes == notes


def test_hostile_sizes_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    for rows, columns in ((65535, 65535), (65535, 1), (8193, 8193)):
        file = write_dicom(tmp_path / "a.dcm", row(1, 2), Rows=rows, Columns=columns)
        with pytest.raises(InvalidImageError, match=rf"^a\.dcm declares {columns} × {rows} pixels"):
            read_dicom(file)
    file = write_dicom(tmp_path / "a.dcm", row(1, 2), NumberOfFrames=2**31 - 1)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm cannot be read"):
        read_dicom(file)
    file = write_dicom(tmp_path / "a.dcm", row(1, 2), Rows=4000, Columns=4000)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm cannot be read"):
        read_dicom(file)


def test_compressed_pixels_larger_than_the_header_says_are_refused(tmp_path: Path) -> None:
    Image.new("L", (64, 48)).save(tmp_path / "a.jpg")
    packed = (tmp_path / "a.jpg").read_bytes()
    place = packed.index(b"\xff\xc0") + 5
    assert size_of(packed) == (64, 48)
    bomb = packed[:place] + struct.pack(">HH", 65500, 65500) + packed[place + 4 :]
    for name, content in (("good", packed), ("bomb", bomb)):
        made = dataset(np.zeros((48, 64), np.uint8), TransferSyntaxUID=JPEGBaseline8Bit)
        made.PixelData = pydicom.encaps.encapsulate([content])
        made["PixelData"].is_undefined_length = True
        made.save_as(tmp_path / f"{name}.dcm")
    assert read_dicom(tmp_path / "good.dcm").pixels.max() == 0
    with pytest.raises(InvalidImageError, match=r"^bomb\.dcm is damaged: .* 65500 × 65500"):
        read_dicom(tmp_path / "bomb.dcm")


def test_every_bundled_compressed_stream_names_the_size_of_its_header() -> None:
    for name in ("JPEG2000", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "SC_rgb_jpeg"):
        whole = pydicom.dcmread(BUNDLED / f"{name}.dcm")
        packed = pydicom.encaps.get_frame(whole.PixelData, 0, number_of_frames=1)
        assert size_of(packed) == (whole.Columns, whole.Rows)
    assert codestream(b"") is None
    assert codestream(b"\xff\xd8\xff") is None


def test_a_deflated_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = read_dicom(BUNDLED / "image_dfl.dcm").pixels
    assert plain.shape == (512, 512)
    tags = {"TransferSyntaxUID": DeflatedExplicitVRLittleEndian}
    file = write_dicom(tmp_path / "a.dcm", np.zeros((4000, 4000), np.uint8), **tags)
    assert file.stat().st_size < 100_000
    monkeypatch.setattr("medrobust.datasets.own.dicom_headers.LARGEST_INFLATED", 10_000_000)
    with pytest.raises(InvalidImageError, match=r"^a\.dcm unpacks to more than"):
        read_dicom(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidImageError, match=r"^a\.dcm cannot be read"):
        read_dicom(file)


def test_what_is_no_image_is_said_and_no_value_of_a_header(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("hello")
    with pytest.raises(InvalidImageError, match=r"^text\.dcm is no DICOM file"):
        read_dicom(tmp_path / "text.dcm")
    write_dicom(tmp_path / "report.dcm", None, PatientName="Secret^Name")
    with pytest.raises(InvalidImageError, match=r"^report\.dcm is a DICOM file without an image"):
        read_dicom(tmp_path / "report.dcm")
    made = dataset(row(1, 2), PatientName="Secret^Name")
    del made.PixelData
    made.save_as(tmp_path / "empty.dcm")
    with pytest.raises(InvalidImageError, match=r"^empty\.dcm is a DICOM file without pixels"):
        read_dicom(tmp_path / "empty.dcm")
    write_dicom(tmp_path / "cmyk.dcm", row(1, 2), PhotometricInterpretation="CMYK")
    with pytest.raises(InvalidImageError, match=r"^cmyk\.dcm holds pixels of a kind"):
        read_dicom(tmp_path / "cmyk.dcm")
    whole = write_dicom(tmp_path / "cut.dcm", np.zeros((32, 32), np.int16)).read_bytes()
    for part in (200, 400, len(whole) - 2):
        (tmp_path / "cut.dcm").write_bytes(whole[:part])
        with pytest.raises(InvalidImageError, match=r"^cut\.dcm (cannot be read|is a DICOM file)"):
            read_dicom(tmp_path / "cut.dcm")


@pytest.mark.slow
def test_any_flipped_byte_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    content = (BUNDLED / "MR_small_RLE.dcm").read_bytes()
    start = content.index(b"DICM")
    rng = np.random.default_rng(0)
    file = tmp_path / "a.dcm"
    for place in rng.integers(start, len(content), 150).tolist():
        broken = bytearray(content)
        broken[place] ^= int(rng.integers(1, 256))
        file.write_bytes(bytes(broken))
        sentence = ""
        try:
            assert read_dicom(file).pixels.dtype == np.uint8
        except InvalidImageError as error:
            sentence = str(error)
        assert not sentence or sentence.startswith("a.dcm ")
        assert "\n" not in sentence


def test_floating_pixels_are_shown_over_their_range(tmp_path: Path) -> None:
    made = dataset(row(0, 0))
    del made.PixelData
    made.BitsAllocated, made.Columns = 32, 3
    del made.BitsStored
    made.FloatPixelData = np.array([0.0, 0.5, 1.0], "<f4").tobytes()
    made.save_as(tmp_path / "a.dcm")
    assert read_dicom(tmp_path / "a.dcm").pixels[0].tolist() == [0, 128, 255]


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    flat = np.full((20, 40), 90, np.uint8)
    for tags, shape in (
        ({"PixelSpacing": [2, 1]}, (40, 40)),
        ({"PixelSpacing": [0.5, 1]}, (20, 80)),
        ({"PixelSpacing": [0.7, 0.7], "PixelAspectRatio": [2, 1]}, (20, 40)),
        ({"PixelAspectRatio": [3, 2]}, (30, 40)),
        (
            {
                "SharedFunctionalGroupsSequence": item(
                    PixelMeasuresSequence=item(PixelSpacing=[2, 1])
                )
            },
            (40, 40),
        ),
        ({"PixelSpacing": [1000, 1]}, (20, 40)),
        ({"PixelSpacing": [0, 1]}, (20, 40)),
    ):
        found = read_dicom(write_dicom(tmp_path / "a.dcm", flat, **tags)).pixels
        assert (found.shape, found.min(), found.max()) == (shape, 90, 90)
    colour = np.full((20, 40, 3), (1, 2, 3), np.uint8)
    found = read_dicom(write_dicom(tmp_path / "a.dcm", colour, PixelSpacing=[2, 1])).pixels
    assert (found.shape, found[39, 39].tolist()) == ((40, 40, 3), [1, 2, 3])


def test_all_stored_values_are_shown_as_if_one_by_one(tmp_path: Path) -> None:
    tags = {"WindowCenter": 100, "WindowWidth": 30_000, "RescaleSlope": 0.5, "RescaleIntercept": 7}
    for dtype in (np.int16, np.uint16):
        info = np.iinfo(dtype)
        every = np.arange(info.min, info.max + 1).astype(dtype).reshape(512, 128)
        file = write_dicom(tmp_path / "a.dcm", every, **tags)
        share = (every * 0.5 + 7 - (100 - 0.5)) / 29_999 + 0.5
        expected = np.floor(np.clip(share, 0, 1) * 255 + 0.5)
        np.testing.assert_array_equal(read_dicom(file).pixels, expected)
    flat = np.full((300, 2), -2000, np.int16)
    flat[0] = [-1000, 1000]
    file = write_dicom(tmp_path / "b.dcm", flat, PixelPaddingValue=-2000)
    found = read_dicom(file, window="range").pixels
    assert (found[0].tolist(), found[1:].max()) == ([0, 255], 0)


def test_a_large_image_takes_little_more_memory_than_its_pixels(tmp_path: Path) -> None:
    large = np.zeros((4096, 4096), np.int16)
    large[0, 0] = 1
    file = write_dicom(tmp_path / "a.dcm", large, WindowCenter=0, WindowWidth=10)
    del large
    tracemalloc.start()
    read_dicom(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 4096 * 4096


@pytest.mark.slow
@pytest.mark.parametrize("window", ["header", "range", "stored", (40, 400)])
@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (GREY_8, {}),
        (GREY_8, {"RescaleSlope": 1, "RescaleIntercept": 0}),
        (GREY_8, {"RescaleSlope": 2, "RescaleIntercept": 0}),
        (GREY_8 * 0, {"RescaleSlope": 2, "RescaleIntercept": 0}),
        (GREY_8, {"RescaleSlope": 1, "RescaleIntercept": -3}),
        (GREY_8.astype(np.int8), {}),
        (GREY_8.astype(np.int8) - 9, {}),
        (GREY_8.astype(np.uint16), {"BurnedInAnnotation": "YES"}),
        (GREY_8, {"WindowCenter": 40, "WindowWidth": 400}),
        (GREY_8, {"WindowCenter": 40, "WindowWidth": 0}),
        (np.stack([GREY_8] * 3, axis=-1), {"BurnedInAnnotation": "YES"}),
    ],
)
def test_notes_read_alone_are_those_of_the_picture(
    tmp_path: Path, pixels: np.ndarray, tags: dict[str, Any], window: Window
) -> None:
    file = write_dicom(tmp_path / "a.dcm", pixels, **tags)
    assert tuple(read_notes(file, window=window)) == read_dicom(file, window=window).notes


@pytest.mark.parametrize(
    ("keyword", "other"),
    [("WindowCenter", "WindowWidth"), ("WindowWidth", "WindowCenter"),
     ("RescaleSlope", "RescaleIntercept"), ("RescaleIntercept", "RescaleSlope")],
)  # fmt: skip
def test_a_number_of_the_header_that_is_none_is_named_without_its_value(
    tmp_path: Path, keyword: str, other: str
) -> None:
    file = write_dicom(tmp_path / "a.dcm", row(1, 2, 3), **{keyword: "105", other: "100"})
    file.write_bytes(file.read_bytes().replace(b"105 ", b"1,05"))
    with pytest.raises(InvalidImageError, match=rf"^a\.dcm has a {keyword} that is no number"):
        read_dicom(file)


@pytest.mark.parametrize(
    ("keyword", "other"),
    [("RescaleSlope", {"RescaleIntercept": 0}), ("RescaleIntercept", {"RescaleSlope": 1}),
     ("PixelPaddingValue", {})],
)  # fmt: skip
def test_two_values_where_one_decides_the_pixels_are_refused(
    tmp_path: Path, keyword: str, other: dict[str, Any]
) -> None:
    file = write_dicom(tmp_path / "a.dcm", row(1, 2, 3), **{keyword: [1, 2]}, **other)
    with pytest.raises(InvalidImageError, match=rf"^a\.dcm has a {keyword} with 2 values"):
        read_dicom(file)
