"""Pictures of every depth, photometric interpretation and colours, against numpy by hand."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_table
from dicoms import dataset
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000Lossless
from raw_pictures import netpbm, png, tiff

from medrobust.datasets import Folder
from medrobust.datasets.own.picture_files import (
    ALPHA,
    CMYK,
    DEEP,
    FEW_GREYS,
    FIRST,
    OPAQUE,
    is_grey,
    read_noted,
    read_picture,
)
from medrobust.datasets.own.pictures import Framing, quiet_decoders
from medrobust.exceptions import InvalidImageError

TRUTH = np.add.outer(np.arange(16) * 16, np.arange(16)).astype(np.int64)
"""0 to 255, each once, (16, 16)."""


def ramp(bits: int) -> np.ndarray:
    """All that so many bits hold, or 256 of it."""
    return np.rint(TRUTH / 255 * (2**bits - 1)).astype(np.int64)


def coloured(bits: int, channels: int = 3) -> np.ndarray:
    """Samples (16, 16, C) that tell rows, columns and channels apart."""
    grey = ramp(bits)
    turns = [grey, grey.T, grey[::-1], np.full_like(grey, 2**bits - 1)]
    return np.stack(turns[:channels], axis=-1)


def eight(values: np.ndarray, top: int) -> np.ndarray:
    return np.floor(values / top * 255 + 0.5).astype(int)


def read(
    tmp_path: Path, content: bytes, suffix: str = ".png", *, bit_depth: int = 16, grey: bool = False
) -> tuple[np.ndarray, dict[str, str]]:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    with quiet_decoders():
        seen = read_noted(file, Framing(16, "pad", bit_depth), grey=grey)
    return seen.pixels.astype(int), dict(seen.notes)


def refused(
    tmp_path: Path, content: bytes, told: str, suffix: str = ".png", **options: Any
) -> None:
    with pytest.raises(InvalidImageError) as caught:
        read(tmp_path, content, suffix, **options)
    assert str(caught.value).startswith(f"a{suffix} ")
    assert told in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_of_any_depth_spans_black_to_white(tmp_path: Path, bits: int) -> None:
    found, notes = read(tmp_path, png(ramp(bits), bits), grey=True)
    np.testing.assert_array_equal(found, eight(ramp(bits), 2**bits - 1))
    assert is_grey(tmp_path / "a.png")
    assert notes == ({DEEP: "65535"} if bits == 16 else {})


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_grey_that_a_png_calls_transparent_becomes_black(tmp_path: Path, bits: int) -> None:
    values, key = ramp(bits), int(ramp(bits)[15, 15])
    hidden = values == key
    assert hidden.any()
    found, notes = read(tmp_path, png(values, bits, transparent=key.to_bytes(2)), grey=True)
    expected = np.where(hidden, 0, eight(values, 2**bits - 1))
    np.testing.assert_array_equal(found, expected)
    assert ALPHA in notes


def test_a_transparent_grey_is_compared_in_all_its_bits(tmp_path: Path) -> None:
    values = 514 + (TRUTH % 2)  # alike in their upper eight bits
    found, _ = read(tmp_path, png(values * 100, 16, transparent=(51500).to_bytes(2)), grey=True)
    np.testing.assert_array_equal(found, np.where(values == 515, 0, eight(values * 100, 65535)))
    unused = png(values * 100, 16, transparent=(1).to_bytes(2))
    assert ALPHA not in read(tmp_path, unused)[1]


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_keep_their_upper_eight_bits(tmp_path: Path, bits: int) -> None:
    values = coloured(bits)
    for content, suffix in (
        (png(values, bits, "rgb"), ".png"),
        (tiff(values, bits, 2), ".tif"),
        (tiff(values, bits, 2, order=">"), ".tif"),
    ):
        found, notes = read(tmp_path, content, suffix)
        np.testing.assert_array_equal(found, values >> (bits - 8))
        assert ALPHA not in notes
        plain = np.asarray(Image.open(tmp_path / f"a{suffix}").convert("RGB"))
        np.testing.assert_array_equal(found, plain)  # as release 0.1 read them


@pytest.mark.parametrize("bit_depth", [10, 12, 14])
def test_bit_depth_scales_grey_and_colours_alike(tmp_path: Path, bit_depth: int) -> None:
    grey, colours, top = ramp(bit_depth), coloured(bit_depth), 2**bit_depth - 1
    both = [
        (png(grey, 16), ".png", grey),
        (png(colours, 16, "rgb"), ".png", colours),
        (tiff(grey, 16, 1), ".tif", grey),
        (tiff(grey, 16, 1, order=">"), ".tif", grey),
        (tiff(colours, 16, 2), ".tif", colours),
        (tiff(colours, 16, 2, order=">"), ".tif", colours),
        (netpbm(grey, 65535), ".pgm", grey),
        (netpbm(colours, 65535), ".ppm", colours),
        (netpbm(grey, top), ".pgm", grey),
        (netpbm(colours, top), ".ppm", colours),
    ]
    for content, suffix, values in both:
        found, _ = read(tmp_path, content, suffix, bit_depth=bit_depth, grey=values.ndim == 2)
        assert np.abs(found - eight(values, top)).max() <= (suffix == ".ppm")
    beyond = png(coloured(16), 16, "rgb")
    refused(tmp_path, beyond, "pass dataset.bit_depth", bit_depth=bit_depth)


def test_the_greatest_value_of_netpbm_is_white(tmp_path: Path) -> None:
    for top in (200, 1000, 4095, 65535):
        values = np.rint(TRUTH / 255 * top).astype(np.int64)
        found, _ = read(tmp_path, netpbm(values, top), ".pgm", grey=True)
        assert np.abs(found - eight(values, top)).max() <= 1
        found, _ = read(tmp_path, netpbm(np.stack([values] * 3, -1), top), ".ppm")
        assert np.abs(found[..., 0] - eight(values, top)).max() <= 1


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("top", [100, 254, 1000])
def test_netpbm_values_beyond_the_greatest_are_refused(
    tmp_path: Path, top: int, colour: bool
) -> None:
    values = np.minimum(TRUTH, top)
    suffix = ".ppm" if colour else ".pgm"
    content = netpbm(np.stack([values] * 3, -1) if colour else values, top)
    read(tmp_path, content, suffix, grey=not colour)
    values[3, 5] = top + 1
    content = netpbm(np.stack([values] * 3, -1) if colour else values, top)
    refused(tmp_path, content, f"values up to {top + 1}, beyond the {top} ", suffix)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
@pytest.mark.parametrize("photometric", [0, 1], ids=["white is zero", "black is zero"])
def test_grey_tiff_is_black_where_it_says_so(
    tmp_path: Path, photometric: int, bits: int, order: str
) -> None:
    found, _ = read(tmp_path, tiff(ramp(bits), bits, photometric, order=order), ".tif", grey=True)
    shown = eight(ramp(bits), 2**bits - 1)
    np.testing.assert_array_equal(found, shown if photometric else 255 - shown)
    assert is_grey(tmp_path / "a.tif")


@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_zero_also_of_twelve_bits_in_sixteen(tmp_path: Path, order: str) -> None:
    content = tiff(ramp(12), 16, 0, order=order)
    found, _ = read(tmp_path, content, ".tif", bit_depth=12, grey=True)
    np.testing.assert_array_equal(found, 255 - eight(ramp(12), 4095))


def test_signed_and_floating_samples_are_refused_where_they_have_no_scale(tmp_path: Path) -> None:
    signed = (ramp(16) - 32768) & 0xFFFF
    refused(tmp_path, tiff(signed, 16, 1, sample_format=2), "outside 0..65535", ".tif")
    whole = np.where(TRUTH % 2 == 0, 0, 2**32 - 1)
    refused(tmp_path, tiff(whole, 32, 1), "values from 0 to 4294967295, outside 0..65535", ".tif")
    fractions = TRUTH.astype(np.float32).view(np.uint32).astype(np.int64)
    refused(tmp_path, tiff(fractions, 32, 1, sample_format=3), "floating-point", ".tif")


def test_signed_samples_of_eight_bits_are_refused_where_they_are_negative(tmp_path: Path) -> None:
    refused(tmp_path, tiff(TRUTH, 8, 1, sample_format=2), "values from -128 on", ".tif")
    found, _ = read(tmp_path, tiff(TRUTH // 2, 8, 1, sample_format=2), ".tif", grey=True)
    np.testing.assert_array_equal(found, TRUTH // 2)


def test_colours_in_planes_are_read_or_refused_by_their_tags(tmp_path: Path) -> None:
    found, _ = read(tmp_path, tiff(coloured(8), 8, 2, planar=2), ".tif")
    np.testing.assert_array_equal(found, coloured(8))
    for content in (
        tiff(coloured(16), 16, 2, planar=2),
        tiff(coloured(16), 16, 2, sample_format=2),
        tiff(coloured(16)[..., :2], 16, 1, extra=[2]),
    ):
        refused(tmp_path, content, "BitsPerSample 16", ".tif")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["grey+alpha", "rgb+alpha"])
def test_what_is_transparent_is_laid_over_black_and_said(
    tmp_path: Path, kind: str, bits: int
) -> None:
    top, channels = 2**bits - 1, 1 if kind == "grey+alpha" else 3
    colours = coloured(bits, channels)
    alpha = np.where(TRUTH % 3 == 0, 0, np.where(TRUTH % 3 == 1, top // 2, top))
    for given, note in ((alpha, ALPHA), (np.full_like(alpha, top), OPAQUE)):
        samples = np.concatenate([colours, given[..., None]], axis=-1)
        found, notes = read(tmp_path, png(samples, bits, kind))
        assert np.abs(found - colours / top * given[..., None] / top * 255).max() <= 2
        assert note in notes
        assert len({ALPHA, OPAQUE} & notes.keys()) == 1


def test_alpha_of_sixteen_bits_beside_twelve_bits_of_colour(tmp_path: Path) -> None:
    colours = coloured(12)
    for top in (4095, 65535):
        alpha = np.where(TRUTH % 2, top, 0)[..., None]
        samples = np.concatenate([colours, alpha], axis=-1)
        found, notes = read(tmp_path, png(samples, 16, "rgb+alpha"), bit_depth=12)
        np.testing.assert_array_equal(found, np.where(alpha, eight(colours, 4095), 0))
        assert ALPHA in notes


@pytest.mark.parametrize("bits", [8, 16])
def test_the_colour_that_a_png_calls_transparent_becomes_black(tmp_path: Path, bits: int) -> None:
    colours = coloured(bits)
    key = b"".join(int(value).to_bytes(2) for value in colours[3, 5])
    found, notes = read(tmp_path, png(colours, bits, "rgb", transparent=key))
    hidden = (colours == colours[3, 5]).all(-1, keepdims=True)
    np.testing.assert_array_equal(found, np.where(hidden, 0, colours >> (bits - 8)))
    assert ALPHA in notes


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_with_alpha_are_laid_over_black(tmp_path: Path, bits: int) -> None:
    indices, count = TRUTH % 2**bits, 2**bits
    palette = np.stack([np.arange(count) * 255 // (count - 1)] * 3, -1)
    palette[:, 1] = 255 - palette[:, 1]
    opaque = png(indices, bits, "palette", palette=palette.astype(np.uint8).tobytes())
    found, notes = read(tmp_path, opaque)
    np.testing.assert_array_equal(found, palette[indices])
    assert notes == {}
    seen = png(
        indices, bits, "palette", palette=palette.astype(np.uint8).tobytes(), transparent=b"\0"
    )  # the first colour is hidden
    found, notes = read(tmp_path, seen)
    np.testing.assert_array_equal(found, np.where(indices[..., None] == 0, 0, palette[indices]))
    assert ALPHA in notes


def test_palettes_of_tiff_have_their_upper_bits(tmp_path: Path) -> None:
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)]) * 257
    found, _ = read(tmp_path, tiff(TRUTH, 8, 3, colours=table), ".tif")
    np.testing.assert_array_equal(found, (table >> 8).T[TRUTH])


def test_palettes_of_tiff_may_hold_eight_bits(tmp_path: Path) -> None:
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)])
    found, _ = read(tmp_path, tiff(TRUTH, 8, 3, colours=table), ".tif")
    np.testing.assert_array_equal(found, table.T[TRUTH])


def test_alpha_of_tiff_whether_colours_were_multiplied_by_it_or_not(tmp_path: Path) -> None:
    alpha = np.where(TRUTH % 2, 255, 128)[..., None]
    colours = coloured(8)
    plain = np.concatenate([colours, alpha], -1)
    found, notes = read(tmp_path, tiff(plain, 8, 2, extra=[2]), ".tif")
    assert np.abs(found - colours * alpha / 255).max() <= 1
    assert ALPHA in notes
    multiplied = np.concatenate([np.rint(colours * alpha / 255).astype(int), alpha], -1)
    found, notes = read(tmp_path, tiff(multiplied, 8, 2, extra=[1]), ".tif")
    assert np.abs(found - colours * alpha / 255).max() <= 2
    assert ALPHA in notes
    unknown = read(tmp_path, tiff(plain, 8, 2, extra=[0]), ".tif")[0]
    np.testing.assert_array_equal(unknown, colours)  # a fourth sample that is not called alpha
    deep = np.concatenate([coloured(16), alpha * 257], -1)
    unknown = read(tmp_path, tiff(deep, 16, 2, extra=[0]), ".tif")[0]
    np.testing.assert_array_equal(unknown, coloured(16) >> 8)
    found, notes = read(tmp_path, tiff(deep, 16, 2, extra=[2]), ".tif")
    assert np.abs(found - coloured(16) / 65535 * alpha).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk_becomes_rgb_and_is_said(tmp_path: Path, bits: int) -> None:
    inks = coloured(bits, 4)
    inks[..., 3] = 0
    found, notes = read(tmp_path, tiff(inks, bits, 5), ".tif")
    np.testing.assert_array_equal(found, 255 - (inks[..., :3] >> (bits - 8)))
    assert CMYK in notes
    if bits == 16:
        refused(tmp_path, tiff(inks, 16, 5), "dataset.bit_depth=12", ".tif", bit_depth=12)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF 2.32, tag 274: how an image that lies so is to be shown."""
    ways = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90,
    }
    return ways[orientation](pixels) if orientation in ways else pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_at_every_depth(tmp_path: Path, orientation: int) -> None:
    for bits, bit_depth in ((8, 16), (16, 16), (16, 12)):
        grey = ramp(min(bits, bit_depth))
        colours = coloured(min(bits, bit_depth))
        top = 2 ** min(bits, bit_depth) - 1
        for content, suffix, values in (
            (png(grey, bits, orientation=orientation), ".png", grey),
            (png(colours, bits, "rgb", orientation=orientation), ".png", colours),
            (tiff(grey, bits, 1, orientation=orientation), ".tif", grey),
            (tiff(grey, bits, 0, orientation=orientation, order=">"), ".tif", top - grey),
            (tiff(colours, bits, 2, orientation=orientation), ".tif", colours),
        ):
            found, _ = read(tmp_path, content, suffix, bit_depth=bit_depth, grey=values.ndim == 2)
            expected = turned(eight(values, top), orientation)
            assert np.abs(found - expected).max() <= 1


def test_the_first_picture_of_a_phone_is_taken_and_other_series_are_refused(
    tmp_path: Path,
) -> None:
    for kind, suffix in (("MPO", ".jpg"), ("TIFF", ".tif"), ("GIF", ".gif"), ("PNG", ".png")):
        first, other = Image.fromarray(coloured(8).astype(np.uint8)), Image.new("RGB", (8, 8))
        stream = io.BytesIO()
        first.save(stream, kind, save_all=True, append_images=[other])
        if kind != "MPO":
            refused(tmp_path, stream.getvalue(), "holds 2 images", suffix)
            continue
        found, notes = read(tmp_path, stream.getvalue(), suffix)
        assert np.abs(found - coloured(8)).mean() < 40
        assert notes == {FIRST: "1 of 2"}


def test_files_of_other_kinds_are_called_by_their_name(tmp_path: Path) -> None:
    for content, told in (
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC"),
        (bytes(128) + b"DICM" + bytes(100), "dataset=dicom"),
        (b"%PDF-1.7" + bytes(100), "PDF"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (b"NRRD0004\ntype: short\n", "NRRD"),
    ):
        refused(tmp_path, content, f"a.png is {told}" if told[0] in "HPN" else told)
    lab = Image.new("LAB", (16, 16))
    stream = io.BytesIO()
    lab.save(stream, "TIFF")
    refused(tmp_path, stream.getvalue(), "(LAB)", ".tif")


def test_damaged_colours_of_sixteen_bits_are_refused_without_a_librarys_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = png(coloured(16), 16, "rgb")
    for broken in (whole[:-30], whole.replace(b"IDAT", b"IDAT" + b"xyz", 1)):
        with pytest.raises(InvalidImageError, match=r"^a\.png cannot be read as an image"):
            read(tmp_path, broken)
    assert capfd.readouterr().err == ""


def test_values_that_leave_two_greys_are_said(tmp_path: Path) -> None:
    assert read(tmp_path, png(TRUTH % 200, 16))[1][FEW_GREYS] == "dataset.bit_depth=16"
    assert FEW_GREYS not in read(tmp_path, png(TRUTH % 2, 16))[1]
    assert FEW_GREYS in read(tmp_path, png(np.stack([TRUTH % 9] * 3, -1), 16, "rgb"))[1]


def folder(tmp_path: Path, contents: list[bytes], **options: Any) -> Folder:
    rows = []
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
        rows.append({"path": f"{number}.png", "label": "ab"[number % 2]})
    table = write_table(tmp_path / "t.csv", rows)
    return Folder(**({"csv": str(table), "size": 224} | options))


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_twelve_bits_in_sixteen_are_hinted_at_in_log_and_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    values = ramp(12) if kind == "grey" else coloured(12)
    dark = [png(values, 16, kind)] * 2
    hint = "no value exceeds 4095. If they hold 12 bits, pass dataset.bit_depth=12"
    with caplog.at_level(logging.WARNING):
        source = folder(tmp_path, dark)
        assert any(hint in mark for mark in source.load().marks)
    assert hint in caplog.text
    assert any(hint in mark for mark in source.load().marks)  # from the cache
    assert folder(tmp_path, dark, bit_depth=12).load().marks == ()
    assert folder(tmp_path, [*dark, png(ramp(16), 16)]).load().marks == ()


def test_what_became_of_alpha_is_said_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alpha = np.concatenate([coloured(8), np.where(TRUTH % 2, 255, 9)[..., None]], -1)
    opaque = coloured(8, 4)
    contents = [png(alpha, 8, "rgb+alpha"), png(opaque, 8, "rgb+alpha"), png(TRUTH, 8)]
    with caplog.at_level(logging.INFO):
        marks = folder(tmp_path, contents).load().marks
    assert f"1 of 3 images of test: {ALPHA} (t.csv, line 2)" in marks
    assert f"1 of 3 images: {ALPHA} (t.csv, line 2)" in caplog.text
    assert f"1 of 3 images: {OPAQUE} (t.csv, line 3)" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "Git LFS, which is not read here: fetch its content",
        ),
        (b"\0\x05\x16\x07" + bytes(80), "companion file of macOS"),
        (b"<!DOCTYPE HTML><p>log in", "a page of HTML, as of a login"),
        (b"\x93NUMPY\x01\0", "a NumPy array, which is not read here: save it as PNG"),
        (bytes(128) + b"DICM", "DICOM, which is not read here: pass dataset=dicom"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    refused(tmp_path, content, said)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_jpeg_2000_is_scaled_from_its_own_white(tmp_path: Path, bits: int) -> None:
    codes = (np.arange(64 * 64).reshape(64, 64) * ((1 << bits) - 1) // 4095).astype(np.uint16)
    made = dataset(codes, BitsStored=bits, HighBit=bits - 1)
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    file = tmp_path / "a.j2k"
    file.write_bytes(next(generate_frames(made.PixelData, number_of_frames=1)))
    exact = np.floor(codes / ((1 << bits) - 1) * 255 + 0.5)
    np.testing.assert_array_equal(read_picture(file, Framing(64), grey=True), exact)


@pytest.mark.parametrize("top", [300, 1000, 4095, 65535])
def test_deep_netpbm_is_scaled_from_its_own_white(tmp_path: Path, top: int) -> None:
    codes = (np.arange(64 * 64).reshape(64, 64) * top // 4095).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 64 64 %d\n" % top + codes.tobytes())
    exact = (codes.astype(np.int64) * 255 + top // 2) // top
    found = read_picture(tmp_path / "a.pgm", Framing(64), grey=True)
    np.testing.assert_array_equal(found, exact)
