import errno
import logging
import os
import re
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from datasets import write_folder, write_table
from PIL import Image

from medrobust.base.once import one_job
from medrobust.base.split_facts import are_hashes
from medrobust.datasets import Folder
from medrobust.datasets.own import folder as folder_module
from medrobust.datasets.own.pseudonyms import read_key
from medrobust.datasets.own.samples import file_states, states_kept
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    InvalidImageError,
    MedRobustError,
)


def folder(table: Path, **options: Any) -> Folder:
    return Folder(**({"csv": str(table), "size": 32} | options))


def one_image(
    tmp_path: Path, image: Image.Image, suffix: str = ".png", **options: Any
) -> np.ndarray:
    """Pixels of an image file after its way through a folder set."""
    image.save(tmp_path / f"a{suffix}")
    image.save(tmp_path / f"b{suffix}")
    rows = [{"path": f"a{suffix}", "label": "x"}, {"path": f"b{suffix}", "label": "y"}]
    return np.asarray(folder(write_table(tmp_path / "t.csv", rows), **options).load().images[0])


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".tif"])
def test_images_of_the_right_size_come_unchanged(tmp_path: Path, suffix: str) -> None:
    table = write_folder(tmp_path, size=(32, 32), suffix=suffix)
    found = folder(table).load()
    assert found.images.shape == (6, 32, 32, 3)
    assert isinstance(found.images, np.memmap)
    for row in range(6):
        stored = np.asarray(Image.open(tmp_path / f"images/scan{row:03d}{suffix}"))
        np.testing.assert_array_equal(found.images[row], stored)
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.class_names == ("healthy", "lesion", "scar")
    assert (found.label_kind, found.positive, found.suite, found.origin) == (
        "multi-class",
        None,
        None,
        "own",
    )
    assert found.groups is not None
    assert len(set(found.groups)) == 3
    assert len(folder(table).load("train")) == 6


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path: Path) -> None:
    table = write_folder(tmp_path, size=(32, 32), suffix=".jpg")
    stored = np.asarray(Image.open(tmp_path / "images/scan001.jpg"))
    np.testing.assert_array_equal(folder(table).load().images[1], stored)


def test_grey_files_stay_grey_and_mixed_ones_become_rgb(tmp_path: Path) -> None:
    table = write_folder(tmp_path, size=(32, 32), channels=1)
    assert folder(table).load().images.shape == (6, 32, 32)
    grey = np.asarray(Image.open(tmp_path / "images/scan000.png"))
    Image.new("RGB", (32, 32), (9, 8, 7)).save(tmp_path / "images/scan001.png")
    mixed = folder(table).load().images
    assert mixed.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(mixed[0], np.repeat(grey[..., None], 3, axis=2))
    assert mixed[1, 0, 0].tolist() == [9, 8, 7]


def test_sixteen_bits_are_rescaled_and_never_saturated(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 1024).round().astype(np.uint16).reshape(32, 32)
    for suffix in (".png", ".tif"):
        found = one_image(tmp_path, Image.fromarray(ramp), suffix)
        expected = np.rint(ramp.astype(np.float64) * 255 / 65535)
        np.testing.assert_array_equal(found, expected)
    twelve = ramp // 16
    found = one_image(tmp_path, Image.fromarray(twelve), bit_depth=12)
    np.testing.assert_array_equal(found, np.rint(twelve.astype(np.float64) * 255 / 4095))
    with pytest.raises(
        InvalidImageError,
        match=r"a\.png \(t\.csv, line 2\) holds values from 0 to 65535.*bit_depth",
    ):
        one_image(tmp_path, Image.fromarray(ramp), bit_depth=12)


def test_other_pixel_formats_are_read_as_a_viewer_shows_them(tmp_path: Path) -> None:
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8))
    palette = rgb.quantize(64)
    np.testing.assert_array_equal(one_image(tmp_path, palette), np.asarray(palette.convert("RGB")))
    half = rgb.copy()
    half.putalpha(Image.new("L", (32, 32), 0))
    assert one_image(tmp_path, half).max() == 0
    opaque = rgb.convert("RGBA")
    np.testing.assert_array_equal(one_image(tmp_path, opaque), np.asarray(rgb))
    bits = Image.fromarray(np.asarray(rgb)[..., 0] > 128)
    np.testing.assert_array_equal(
        one_image(tmp_path, bits), np.asarray(bits).astype(np.uint8) * 255
    )


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 16, 32))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    rows = [{"path": "a.jpg", "label": "0"}]
    table = write_table(tmp_path / "t.csv", rows)
    found = np.asarray(folder(table, class_names=["x", "y"]).load().images[0])
    assert found[:12].min() > 200
    assert found[20:].max() < 60


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
def test_fit_brings_every_image_to_one_size(tmp_path: Path, fit: str) -> None:
    wide = Image.new("RGB", (80, 40), (200, 100, 50))
    wide.paste((0, 0, 255), (0, 0, 10, 40))
    found = one_image(tmp_path, wide, fit=fit, size=40)
    assert found.shape == (40, 40, 3)
    border, centre, left = found[2, 20].tolist(), found[20, 20].tolist(), found[20, 1].tolist()
    assert centre == [200, 100, 50]
    assert (border == [0, 0, 0]) == (fit == "pad")
    assert (left == [200, 100, 50]) == (fit == "crop")


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    found = one_image(tmp_path, Image.fromarray(stripes), size=64)
    assert found.std() < 3
    assert abs(float(found.mean()) - 127.5) < 2


def test_class_names_order_numbers_and_words(tmp_path: Path) -> None:
    table = write_folder(tmp_path, classes=("2", "10", "1"))
    assert folder(table).load().class_names == ("1", "2", "10")
    table = write_folder(tmp_path, classes=("0", "1", "2"))
    named = folder(table, class_names=["a", "b", "c"]).load()
    assert named.labels.tolist() == [0, 1, 2, 0, 1, 2]
    table = write_folder(tmp_path)
    turned = folder(table, class_names=["scar", "lesion", "healthy"]).load()
    assert turned.labels.tolist() == [2, 1, 0, 2, 1, 0]
    assert turned.fingerprint != folder(table).load().fingerprint


def test_two_classes_are_binary_and_the_positive_one_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_folder(tmp_path, classes=("malignant", "normal"))
    with caplog.at_level(logging.INFO):
        found = folder(table).load()
    assert (found.label_kind, found.positive) == ("binary-class", 1)
    assert "'normal' is taken as the positive class" in caplog.text
    assert folder(table, positive="malignant").load().positive == 0
    with pytest.raises(ConfigurationError, match="positive"):
        folder(table, positive="benign").load()


def test_grades_and_several_label_columns_are_kinds_of_their_own(tmp_path: Path) -> None:
    table = write_folder(tmp_path, classes=("0", "1", "2"))
    assert folder(table, label_kind="ordinal-regression").load().label_kind == "ordinal-regression"
    rows = [{"path": f"images/scan00{i}.png", "edema": i % 2, "mass": int(i > 1)} for i in range(4)]
    found = folder(write_table(tmp_path / "multi.csv", rows), label_column=["mass", "edema"]).load()
    assert found.label_kind == "multi-label, binary-class"
    assert found.class_names == ("mass", "edema")
    assert found.labels.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    with pytest.raises(ConfigurationError, match=r"dataset\.label_kind='multi-label"):
        folder(table, label_kind="multi-label, binary-class").load()
    with pytest.raises(InvalidDataError, match="line 2: label is 'healthy'"):
        folder(write_folder(tmp_path), label_column=["label"], class_names=["a", "b"]).load()


def test_a_table_without_splits_is_evaluated_whole(tmp_path: Path) -> None:
    write_folder(tmp_path)
    rows = [{"path": f"images/scan00{i}.png", "label": "ab"[i % 2]} for i in range(4)]
    source = folder(write_table(tmp_path / "plain.csv", rows))
    assert len(source.load()) == 4
    assert source.load().groups is None
    with pytest.raises(DatasetNotFoundError, match="no split 'val'"):
        source.load("val")
    with pytest.raises(DatasetNotFoundError, match="its splits: test, train"):
        folder(tmp_path / "labels.csv", split="val").load()


def test_bom_windows_lines_semicolons_and_back_slashes_are_read(tmp_path: Path) -> None:
    write_folder(tmp_path)
    plain = folder(tmp_path / "labels.csv").load()
    text = (tmp_path / "labels.csv").read_text().replace(",", ";").replace("images/", "images\\")
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    found = folder(tmp_path / "excel.csv").load()
    assert found.fingerprint == plain.fingerprint
    assert found.index.tolist() == plain.index.tolist()


def test_identifiers_leave_as_keyed_hashes_only(tmp_path: Path) -> None:
    table = write_folder(tmp_path / "a")
    found = folder(table).load()
    visible = repr(found.ids.tolist()) + repr(found.groups)
    assert "scan" not in visible
    assert "MRN" not in visible
    key = tmp_path / "a" / ".medrobust_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert folder(table).load().fingerprint == found.fingerprint
    key.unlink()
    again = folder(table).load()
    assert not set(again.ids) & set(found.ids)
    assert again.index.tolist() == found.index.tolist()
    cached = [p.name for p in (tmp_path / "cache").rglob("*")]
    assert not any("scan" in name or "MRN" in name for name in cached)


def test_a_new_row_changes_no_other_sample(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    before = folder(table).load()
    lines = table.read_text().splitlines()
    shutil.copy(tmp_path / "images/scan000.png", tmp_path / "images/new.png")
    table.write_text("\n".join([lines[0], "images/new.png,scar,test,MRN-9", *lines[1:]]))
    after = folder(table).load()
    assert after.index[1:].tolist() == before.index.tolist()
    assert after.ids[1:].tolist() == before.ids.tolist()
    assert before.index.min() >= 0


def test_a_key_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    with pytest.raises(ConfigurationError, match=r"dataset\.key_file"):
        folder(table, key_file=str(tmp_path / "no" / "key")).load()
    (tmp_path / "key").write_text("short")
    with pytest.raises(InvalidDataError, match="64 hexadecimal digits"):
        folder(table, key_file=str(tmp_path / "key")).load()


def test_images_are_read_once_and_again_when_one_changes(tmp_path: Path) -> None:
    table = write_folder(tmp_path, size=(32, 32))
    first = folder(table).load()
    assert folder(table).load().images.filename == first.images.filename
    file = tmp_path / "images/scan000.png"
    Image.new("RGB", (32, 32), (1, 2, 3)).save(file)
    os.utime(file, (1, 1))
    changed = folder(table).load()
    assert changed.images[0, 0, 0].tolist() == [1, 2, 3]
    assert changed.fingerprint != first.fingerprint


def test_limit_takes_a_part_by_id(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    part = folder(table, limit=3).load()
    assert sorted(part.labels.tolist()) == [0, 1, 2]
    assert part.marks[-1] == "subset of 3 of 6 images"


BROKEN: list[tuple[str, type[MedRobustError], str]] = [
    ("path,label\n", InvalidDataError, "no rows"),
    ("", InvalidDataError, "no rows"),
    ("path,class\na.png,x\n", InvalidDataError, "no column 'label'; it has: path, class"),
    ("file,label\na.png,x\n", InvalidDataError, "no column 'path'"),
    ("path,label\na.png,x\na.png,y\n", InvalidDataError, "names one image in lines 2 and 3"),
    ("path,label\n../a.png,x\nb.png,y\n", InvalidDataError, "line 2: the path is empty or leaves"),
    ("path,label\n/a.png,x\nb.png,y\n", InvalidDataError, "line 2: the path is empty or leaves"),
    ("path,label\nC:\\a.png,x\nb.png,y\n", InvalidDataError, "line 2: the path is empty or leaves"),
    ("path,label\na.png,x,z\nb.png,y\n", InvalidDataError, "line 2: 3 fields"),
    ("path,path\na.png,x\n", InvalidDataError, "column twice"),
    ("path,label\na.png,x\nc/gone.png,y\n", DatasetNotFoundError, r"1 of 2 images.*, gone\.png"),
    ("path,label\na.png,x\nb.png,x\n", InvalidDataError, "one label only"),
    (
        "path,label\na.png,x\ntext.png,y\n",
        InvalidImageError,
        r"^text\.png \(t\.csv, line 3\) cannot be read",
    ),
    (
        "path,label\na.png,x\ncut.png,y\n",
        InvalidImageError,
        r"^cut\.png \(t\.csv, line 3\) cannot be read",
    ),
    (
        "path,label\na.png,x\nfloat.tif,y\n",
        InvalidImageError,
        r"float\.tif .*line 3\) holds floating",
    ),
    (
        "path,label\na.png,x\npages.tif,y\n",
        InvalidImageError,
        r"pages\.tif .*line 3\) holds 2 images",
    ),
    ('path,label\n"a.png,x\n', InvalidDataError, "cannot be read as CSV"),
]


@pytest.mark.parametrize(("text", "kind", "complaint"), BROKEN)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, own_cache: Path, text: str, kind: type[MedRobustError], complaint: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for name in ("a.png", "b.png", "cut.png"):
        Image.fromarray(noise).save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:1000])
    (tmp_path / "text.png").write_text("not an image")
    Image.fromarray(noise[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    pages = [Image.fromarray(noise), Image.fromarray(noise)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(kind, match=complaint) as caught:
        folder(tmp_path / "t.csv").load()
    assert "\n" not in str(caught.value)
    assert not list(own_cache.rglob("*.npy"))
    for name in ("gone", "text", "cut", "float.", "pages"):
        assert name not in caught.value.for_records


def test_labels_outside_the_named_classes_are_refused(tmp_path: Path) -> None:
    table = write_folder(tmp_path, classes=("0", "1", "5"))
    with pytest.raises(InvalidDataError, match=r"labels\.csv, line 4: label '5' is none of"):
        folder(table, class_names=["a", "b", "c"]).load()
    with pytest.raises(ConfigurationError, match="each named once"):
        folder(table, class_names=["a", "a"]).load()
    with pytest.raises(DatasetNotFoundError, match=r"dataset\.csv"):
        folder(tmp_path / "gone.csv").load()
    with pytest.raises(ConfigurationError, match="pad, crop and squash"):
        folder(table, fit="stretch")
    (tmp_path / "latin.csv").write_bytes("path,label\nü.png,x\n".encode("latin-1"))
    with pytest.raises(InvalidDataError, match="UTF-8"):
        folder(tmp_path / "latin.csv").load()


def test_parquet_says_what_csv_says(tmp_path: Path) -> None:
    table = write_folder(tmp_path, classes=("0", "1", "2"))
    read = pyarrow.csv.read_csv(table)
    assert str(read.schema.field("label").type) == "int64"
    pyarrow.parquet.write_table(read, tmp_path / "labels.parquet")
    found = folder(tmp_path / "labels.parquet").load()
    assert found.fingerprint == folder(table).load().fingerprint
    floats = {"path": ["images/scan000.png", "images/scan001.png"], "a": [1.0, 0.0], "b": [True, 0]}
    flags = pyarrow.table(floats | {"b": [True, False]})
    pyarrow.parquet.write_table(flags, tmp_path / "flags.parquet")
    found = folder(tmp_path / "flags.parquet", label_column=["a", "b"]).load()
    assert found.labels.tolist() == [[1, 1], [0, 0]]


def test_a_damaged_or_oversized_parquet_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pyarrow.csv.read_csv(write_folder(tmp_path))
    file = tmp_path / "labels.parquet"
    pyarrow.parquet.write_table(read, file)
    content = file.read_bytes()
    monkeypatch.setattr("medrobust.datasets.own.table.LARGEST", 100)
    with pytest.raises(InvalidDataError, match=r"labels\.parquet is larger than"):
        folder(file).load()
    monkeypatch.undo()
    for broken in (b"", content[: len(content) // 2], b"PAR1" + content[100:]):
        file.write_bytes(broken)
        with pytest.raises(InvalidDataError, match=r"labels\.parquet is damaged"):
            folder(file).load()
    pyarrow.parquet.write_table(read.slice(0, 0), file)
    with pytest.raises(InvalidDataError, match="no rows"):
        folder(file).load()


def test_named_columns_are_kept_for_subgroups(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    plain = folder(table).load()
    assert (plain.metadata, plain.metadata_columns) == (None, ())
    lines = table.read_text().splitlines()
    sexes = [f"{line},{'FM'[row % 2]},{row // 6}" for row, line in enumerate(lines[1:])]
    table.write_text("\n".join([lines[0] + ",sex,site", *sexes]))
    assert folder(table).load().fingerprint == plain.fingerprint
    found = folder(table, metadata_columns=["site", "sex"]).load()
    assert found.metadata_columns == ("site", "sex")
    assert found.metadata is not None
    assert found.metadata.tolist() == [["0", sex] for sex in "FMFMFM"]
    assert found.fingerprint != plain.fingerprint
    part = found.take([1, 4], fingerprint="x")
    assert part.metadata is not None
    assert part.metadata.tolist() == [["0", "M"], ["0", "F"]]


def test_columns_that_tell_units_apart_are_kept_as_hashes_however_many_there_are(
    tmp_path: Path,
) -> None:
    table = write_folder(tmp_path, per_class=20)
    plain = folder(table).load()
    lines = table.read_text().splitlines()
    names = [f"S{row // 2 if row < 40 else row}" for row in range(60)]
    names[4] = ""
    studies = [f"{line},{name}" for line, name in zip(lines[1:], names, strict=True)]
    table.write_text("\n".join([lines[0] + ",study", *studies]))
    with pytest.raises(InvalidDataError, match=r"name it in dataset\.unit_columns"):
        folder(table, metadata_columns=["study"]).load()
    source = folder(table, unit_columns="study")
    found = source.load()
    assert (found.metadata_columns, source.kept_columns) == (("study",), ("study",))
    hashes = found.metadata[:, 0].tolist()
    assert hashes[4] == ""
    assert are_hashes(found.metadata)
    assert len(set(hashes)) == 16
    assert all(hashes[row] == hashes[row + 1] for row in range(6, 30, 2))
    ids, columns = source.metadata_of("test")
    assert (ids.tolist(), columns.tolist()) == (found.ids.tolist(), found.metadata.tolist())
    assert found.fingerprint != plain.fingerprint == folder(table).load().fingerprint
    with pytest.raises(ConfigurationError, match=r"which is dataset\.unit_columns"):
        folder(table, unit_columns=["study"], metadata_columns=["study"]).load()


def test_what_points_to_a_patient_is_no_subgroup_and_no_label(tmp_path: Path) -> None:
    table = write_folder(tmp_path, per_class=8)
    for role in ("metadata_columns", "label_column"):
        for column in ("patient", "path"):
            with pytest.raises(ConfigurationError, match=f"dataset.{role} names '{column}'"):
                folder(table, **{role: [column]}).load()
    lines = table.read_text().splitlines()
    named = [f"{line},Name{row}" for row, line in enumerate(lines[1:])]
    table.write_text("\n".join([lines[0] + ",who", *named]))
    with pytest.raises(InvalidDataError, match="column 'who' has 24 values in 24 rows") as caught:
        folder(table, metadata_columns=["who"]).load()
    assert "Name" not in str(caught.value)
    with pytest.raises(InvalidDataError, match="24 different labels in 24 rows") as caught:
        folder(table, label_column="who").load()
    assert "Name" not in str(caught.value)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, own_cache: Path) -> None:
    table = write_folder(tmp_path / "in")
    outside = tmp_path / "outside"
    shutil.move(tmp_path / "in/images/scan001.png", tmp_path / "outside.png")
    (tmp_path / "in/images/scan001.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(InvalidDataError, match=r"^scan001\.png \(labels\.csv, line 3\) is a link"):
        folder(table).load()
    shutil.move(tmp_path / "in/images", outside)
    (tmp_path / "in/images").symlink_to(outside)
    with pytest.raises(InvalidDataError, match=r"^scan000\.png \(labels\.csv, line 2\) is a link"):
        folder(table).load()
    assert not own_cache.exists()


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write_folder(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(folder(tmp_path / "link" / "labels.csv").load()) == 6


def test_a_picture_bomb_is_refused_before_it_unpacks(tmp_path: Path, own_cache: Path) -> None:
    def png(width: int, height: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )

    rows = [{"path": "a.png", "label": "x"}, {"path": "bomb.png", "label": "y"}]
    table = write_table(tmp_path / "t.csv", rows)
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    for width, height in ((8193, 8193), (20000, 16), (60000, 60000), (2**31 - 1, 2**31 - 1)):
        (tmp_path / "bomb.png").write_bytes(png(width, height))
        with pytest.raises(InvalidImageError, match=r"^bomb\.png .*(pixels; up to|too large)"):
            folder(table).load()
    assert not list(own_cache.rglob("*.npy"))


def test_no_other_program_is_asked_to_open_a_picture(tmp_path: Path) -> None:
    Image.new("L", (32, 32)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    Image.new("L", (32, 32)).save(tmp_path / "b.png")
    rows = [{"path": "a.png", "label": "x"}, {"path": "b.png", "label": "y"}]
    with pytest.raises(InvalidImageError, match=r"^a\.png .*cannot be read"):
        folder(write_table(tmp_path / "t.csv", rows)).load()


def test_hashes_lead_back_to_files_with_the_key_only(tmp_path: Path) -> None:
    source = folder(write_folder(tmp_path))
    found = source.load()
    assert found.groups is not None
    known = {row.id: row for row in source.identities(read_key(tmp_path / ".medrobust_key"))}
    assert [known[one].file for one in found.ids] == [f"images/scan{i:03d}.png" for i in range(6)]
    assert [known[one].group for one in found.ids] == found.groups.tolist()
    assert [known[one].patient for one in found.ids] == [f"MRN-{i // 2:05d}" for i in range(6)]
    assert len(known) == 12
    others = {row.id for row in source.identities(bytes(32))}
    assert not others & set(found.ids.tolist())


def test_what_an_error_quotes_from_a_table_is_not_for_records(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    names = {"class_names": ["a", "b"]}
    for options, quoted in (
        ({"label_column": "patient", "patient_column": "label", **names}, "MRN-00000"),
        ({"label_column": ["split"], **names}, None),
        ({"label_column": ["split", "label"]}, "'test'"),
        ({"split_column": "label", "label_column": "split"}, "healthy"),
        ({"path_column": "file"}, "it has: path, label, split, patient"),
    ):
        with pytest.raises(MedRobustError) as caught:
            folder(table, **options).load()
        if quoted is not None:
            assert quoted in str(caught.value)
            assert quoted not in caught.value.for_records


@pytest.mark.parametrize("nobody", ["", "NaN", "NA", "None"])
def test_a_row_without_its_patient_is_an_error_that_names_the_line(
    tmp_path: Path, nobody: str
) -> None:
    table = write_folder(tmp_path)
    table.write_text(re.sub("MRN-0000[35]", nobody, table.read_text()))  # lines 8, 9, 12 and 13
    for split in ("test", "train"):
        with pytest.raises(InvalidDataError) as caught:
            folder(table).load(split)
        assert str(caught.value) == (
            "labels.csv, line 8: the patient is empty. Fill it in (a value of its own where it is "
            "unknown), or pass dataset.patient_column=null. So it is in lines 9, 12, 13."
        )
    assert folder(table, patient_column=None).load().groups is None


def test_without_patients_their_column_is_still_refused_in_clear(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    with pytest.raises(ConfigurationError, match="stored in clear"):
        folder(table, patient_column=None, metadata_columns=["patient"]).load()


def test_patients_in_two_splits_are_named_in_every_table(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    lines = table.read_text().splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    for number, row in enumerate(rows):
        row |= {"split": "test" if number % 2 else "train", "patient": f"p{number // 3}"}
    columns = list(rows[0])
    text = [",".join(columns), *(",".join(row[c] for c in columns) for row in rows)]
    table.write_text("\n".join(text) + "\n")
    patients = {
        split: {r["patient"] for r in rows if r["split"] == split} for split in ("train", "test")
    }
    both = patients["train"] & patients["test"]
    marks = Folder(csv=str(table)).load().marks
    assert any(
        mark.startswith(f"{len(both)} patients are in two splits: train (") for mark in marks
    )
    assert not any(name in mark for mark in marks for name in both)


def test_states_name_what_a_link_leads_to_and_are_kept_within_a_load_only(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    file = tmp_path / "real/a.png"
    file.write_bytes(b"abc")
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "b.png").symlink_to("linked/a.png")
    names = [file, tmp_path / "linked/a.png", tmp_path / "b.png"]
    expected = [str(file.resolve()), 3, file.stat().st_mtime_ns]
    assert file_states(names) == [expected] * 3
    with states_kept():
        file_states([file])
        file.write_bytes(b"abcd")
        assert file_states([file]) == [expected]
    assert file_states([file])[0][1] == 4


@pytest.mark.parametrize("step", ["check_files", "cached_array"])
def test_a_picture_that_is_deleted_meanwhile_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, step: str
) -> None:
    table, usual = write_folder(tmp_path), getattr(folder_module, step)

    def deleting(*args: Any, **options: Any) -> Any:
        if step == "check_files":
            usual(*args, **options)
        (tmp_path / "images/scan001.png").unlink()
        return usual(*args, **options) if step == "cached_array" else None

    monkeypatch.setattr(folder_module, step, deleting)
    with pytest.raises(InvalidImageError) as caught:
        folder(table).load()
    told = (
        "is gone since it was looked for: put it back, or take its row off the table if it has "
        "one, and run again."
    )
    assert str(caught.value) == f"scan001.png (labels.csv, line 3) {told}"
    assert caught.value.for_records == f"the file of labels.csv, line 3 {told}"
    assert not list(own_cache.rglob("*.npy"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "cannot be read (permission denied): make it readable, or move it out of the folder "
            "and take its row off the table if it has one.",
        ),
        (
            OSError(errno.EIO, "Input/output error"),
            "cannot be read (Input/output error): see that its disk or network drive is "
            "connected, and run again.",
        ),
        (OSError("image file is truncated"), "cannot be read as an image (OSError): it is damaged"),
    ],
    ids=["locked", "disk lost", "damaged"],
)
def test_a_picture_that_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, told: str
) -> None:
    table, usual = write_folder(tmp_path), Image.open

    def refused(file: Path, *args: Any, **options: Any) -> Any:
        if file.name == "scan002.png":
            raise error
        return usual(file, *args, **options)

    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(InvalidImageError) as caught:
        folder(table).load()
    assert str(caught.value).startswith(f"scan002.png (labels.csv, line 4) {told}")


def test_pictures_that_the_table_leaves_out_are_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_folder(tmp_path / "in")
    assert folder(table).load().marks[1:] == ()
    image = tmp_path / "in/images/scan000.png"
    for stray in ("in/stray.PNG", "in/images/further.jpg", "in/images/scar/more.tif"):
        (tmp_path / stray).parent.mkdir(exist_ok=True)
        shutil.copy(image, tmp_path / stray)
    said = "3 pictures in the folder are not in the table: left out"
    with caplog.at_level(logging.WARNING), one_job():
        for split in ("test", "train"):
            assert folder(table).load(split).marks[1:] == (said,)
    assert caplog.text.count(said) == 1
    shutil.rmtree(tmp_path / "in/images/scar")
    (tmp_path / "in/stray.PNG").unlink()
    assert folder(table).load().marks[1:] == (
        "1 picture in the folder is not in the table: left out",
    )


def test_pictures_of_another_purpose_are_not_counted(tmp_path: Path) -> None:
    """Where the table lies in the working folder, runs write their pictures below it."""
    rows = [{"path": f"{name}/{name}.png", "label": name} for name in "ab"]
    others = (
        "outputs/runs/now/.hydra/config.yaml",
        "outputs/runs/now/figures/curve.png",
        "outputs/report/report.html",
        "outputs/report/matrix.png",
        "outputs/store/cells/m/d/c/cell.json",
        "outputs/store/cells/m/d/c/row-0.png",
        "env/pyvenv.cfg",
        "env/lib/logo.png",
        ".cache/icon.png",
        "._a.png",
        "notes.txt",
    )
    for name in ("a/a.png", "b/b.png", *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32)).save(tmp_path / name, format="PNG")
    (tmp_path / "b/link.png").symlink_to("b.png")
    table = write_table(tmp_path / "t.csv", rows)
    assert folder(table).load().marks[1:] == ()
    (tmp_path / "report.html").write_text("")  # above the listed pictures
    (tmp_path / "c").mkdir()
    shutil.copy(tmp_path / "a/a.png", tmp_path / "c/c.png")
    assert folder(table).load().marks[1:] == (
        "1 picture in the folder is not in the table: left out",
    )


def test_pictures_beside_the_shared_folder_are_counted_in_the_folders_above_alone(
    tmp_path: Path,
) -> None:
    table = write_folder(tmp_path)
    systems = ("images/__MACOSX/x.png", "images/@eaDir/x.png", "images/$Recycle.Bin/x.png")
    for stray in ("root.png", "elsewhere/other.png", *systems):
        (tmp_path / stray).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "images/scan000.png", tmp_path / stray)
    assert folder(table).load().marks[1:] == (
        "1 picture in the folder is not in the table: left out",
    )


def test_all_files_that_rows_name_and_that_cannot_be_read_are_refused_at_once(
    tmp_path: Path,
) -> None:
    table = write_folder(tmp_path)
    for number in (1, 2, 4):
        (tmp_path / f"images/scan00{number}.png").write_text("text")
    (tmp_path / "images/scan005.png").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    with pytest.raises(InvalidImageError) as caught:
        folder(table).load()
    told = str(caught.value)
    assert told.startswith("scan001.png (labels.csv, line 3) cannot be read as an image")
    assert "In all 4 of 6 images cannot be used." in told
    assert "scan002.png (line 4), scan004.png (line 6): likewise." in told
    assert "scan005.png (line 7): is HEIC" in told
    assert "scan" not in caught.value.for_records
    assert "line 4, line 6: likewise." in caught.value.for_records
    cut = tmp_path / "images/scan003.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    with pytest.raises(InvalidImageError, match="In all 5 of 6 images cannot be used"):
        folder(table).load()
    for number in (0, 3):
        (tmp_path / f"images/scan00{number}.png").unlink()
    with pytest.raises(
        DatasetNotFoundError, match=r"^2 of 6 images .*, scan000\.png .*then line 5"
    ) as lacking:
        folder(table).load()
    assert f"Besides: {told}" in str(lacking.value)
    assert "scan" not in lacking.value.for_records


def test_links_missing_files_and_damaged_ones_are_told_at_once(tmp_path: Path) -> None:
    table = write_folder(tmp_path / "in")
    images = tmp_path / "in/images"
    for number in (1, 2):
        shutil.move(images / f"scan00{number}.png", tmp_path)
        (images / f"scan00{number}.png").symlink_to(tmp_path / f"scan00{number}.png")
    whole = (images / "scan003.png").read_bytes()
    (images / "scan003.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MedRobustError) as caught:
        folder(table).load()
    told = str(caught.value)
    assert told.startswith("scan001.png (labels.csv, line 3) is a link out of the folder")
    assert "In all 3 of 6 images cannot be used. scan002.png (line 4): " in told
    assert "scan003.png (line 5): cannot be read as an image" in told
    (images / "scan000.png").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"^1 of 6 images is not .* Besides: scan001"):
        folder(table).load()
