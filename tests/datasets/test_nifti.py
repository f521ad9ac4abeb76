"""Masks in NIfTI: slices as ITK reads them, spacing of the header, and files that are refused."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from datasets import write_table
from PIL import Image

from medrobust.base.targets import Masks
from medrobust.datasets import Folder
from medrobust.datasets.own.nifti import TYPES, Volumes, read_layout
from medrobust.exceptions import InvalidDataError, InvalidImageError, MedRobustError


def nifti(volume: np.ndarray, *, order: str = "<", version: int = 1, **said) -> bytes:
    """Write a volume (columns, rows, slices) by the fields of the published headers."""
    volume = volume.astype(volume.dtype.newbyteorder(order))
    code = next(code for code, name in TYPES.items() if name == volume.dtype.str[1:])
    dim = (*said.get("dim", (volume.ndim, *volume.shape)), *(1,) * 8)[:8]
    pixdim = (*said.get("pixdim", (1, 0.5, 0.25, 3)), *(0,) * 8)[:8]
    slope, inter, units = said.get("slope", 1), said.get("inter", 0), said.get("units", 2)
    head = bytearray(352 if version == 1 else 544)
    if version == 1:
        struct.pack_into(f"{order}i", head, 0, 348)
        struct.pack_into(f"{order}8h", head, 40, *dim)
        struct.pack_into(f"{order}2h", head, 70, said.get("code", code), volume.itemsize * 8)
        struct.pack_into(f"{order}8f", head, 76, *pixdim)
        struct.pack_into(f"{order}3f", head, 108, said.get("offset", 352), slope, inter)
        head[123], head[344:348] = units, said.get("magic", b"n+1\0")
    else:
        struct.pack_into(f"{order}i", head, 0, 540)
        head[4:12] = b"n+2\0\r\n\x1a\n"
        struct.pack_into(f"{order}2h", head, 12, code, volume.itemsize * 8)
        struct.pack_into(f"{order}8q", head, 16, *dim)
        struct.pack_into(f"{order}8d", head, 104, *pixdim)
        struct.pack_into(f"{order}q2d", head, 168, 544, slope, inter)
        struct.pack_into(f"{order}i", head, 500, units)
    return bytes(head) + volume.tobytes(order="F")


VOLUME = np.arange(7 * 5 * 3).reshape(7, 5, 3) % 4


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", ["u1", "i2", "f4"])
def test_a_slice_is_that_of_the_third_axis_with_rows_along_the_second(
    tmp_path: Path, order: str, version: int, kind: str
) -> None:
    written = nifti(VOLUME.astype(kind), order=order, version=version)
    (tmp_path / "a.nii").write_bytes(written)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(written))
    volumes = Volumes()
    for name in ("a.nii", "b.nii.gz"):
        found = volumes.read(tmp_path / name, 2)
        np.testing.assert_array_equal(found, VOLUME[:, :, 2].T)
        assert read_layout(tmp_path / name).spacing == (0.25, 0.5)


def own(folder: Path, rows: list[tuple[str, str]], **options) -> Folder:
    for number in range(len(rows)):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 28)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    lines = [
        {"path": f"{n}.png", "mask": mask, "mask_slice": k} for n, (mask, k) in enumerate(rows)
    ]
    table = str(write_table(folder / "t.csv", lines))
    return Folder(**({"csv": table, "size": 28, "target": "masks"} | options))


def test_slices_are_masks_of_own_images_and_their_header_tells_millimetres(tmp_path: Path) -> None:
    volume = np.zeros((28, 20, 4), np.uint8)
    volume[3:9, 2:12, 1], volume[20:, 15:, 3] = 1, 2
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(nifti(volume)))
    rows = [("v.nii.gz", "1"), ("", ""), ("v.nii.gz", "3")]
    found = own(tmp_path, rows, mask_classes=["background", "cyst", "stone"]).load().target
    assert isinstance(found, Masks)
    inside = found.pixels(slice(None))[:, 4:24]
    np.testing.assert_array_equal(inside, [volume[:, :, 1].T, volume[:, :, 0].T, volume[:, :, 3].T])
    assert found.spacing is not None
    assert found.spacing[[0, 2]].tolist() == [[0.25, 0.5]] * 2
    named = own(tmp_path, [rows[0]], spacing_column="path")
    with pytest.raises(InvalidDataError, match=r"the spacing '0\.png' is no number"):
        named.load()  # a column that is named holds over headers
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(nifti(volume, units=0)))
    assert own(tmp_path, rows).load().target.spacing is None


REFUSED = {
    "has 4 slices: name one of 0 to 3": (nifti(np.zeros((28, 20, 4), "u1")), ""),
    "has no slice 4; there are 0 to 3": (nifti(np.zeros((28, 20, 4), "u1")), "4"),
    "20x28 and 28x20 pixels": (nifti(np.zeros((20, 28, 1), "u1")), "0"),
    "holds numbers that are not whole": (nifti(np.full((28, 20, 1), 0.5, "f4")), ""),
    "not whole, as of": (nifti(np.full((28, 20), np.nan, "f4")), ""),
    "is scaled by its header": (nifti(np.zeros((28, 20), "u1"), slope=0.5), ""),
    "of datatype 128": (nifti(np.zeros((28, 20), "u1"), code=128), ""),
    "has axes": (nifti(np.zeros((28, 20, 1, 2), "u1")), "0"),
    "declares 20000": (nifti(np.zeros((28, 20), "u1"), dim=(2, 20000, 2)), ""),
    "names byte 0.0 as its first voxel": (nifti(np.zeros((28, 20), "u1"), offset=0), ""),
    "is no NIfTI file of one piece": (nifti(np.zeros((28, 20), "u1"), magic=b"ni1\0"), ""),
    "no NIfTI file of one": (b"", ""),
    "is cut off": (nifti(np.zeros((28, 20), "u1"))[:-1], ""),
    "cannot be unpacked": (gzip.compress(nifti(np.zeros((28, 20), "u1")))[:40], ""),
    "unpacks to 320 MB": (gzip.compress(nifti(np.zeros(2, "u1"), dim=(3, 8192, 8192, 5))), "0"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_files_that_cannot_be_masks_are_refused_with_their_line(
    tmp_path: Path, sentence: str
) -> None:
    written, number = REFUSED[sentence]
    (tmp_path / "m.nii").write_bytes(written)
    with pytest.raises(InvalidImageError, match=sentence) as refused:
        own(tmp_path, [("m.nii", number)]).load()
    assert "t.csv, line 2" in str(refused.value)


def test_slices_that_are_no_numbers_or_of_pictures_are_refused(tmp_path: Path) -> None:
    for mask, number in (("m.nii", "two"), ("m.nii", "-1"), ("m.png", "1")):
        with pytest.raises(MedRobustError, match=r"line 2: mask_slice is '.*numbered from 0"):
            own(tmp_path, [(mask, number)]).load()
