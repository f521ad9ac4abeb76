"""Masks of DICOM SEG: frames go to the image that they were drawn on, or are refused."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from datasets import write_table
from dicoms import item, write_dicom, write_seg
from PIL import Image
from pydicom.uid import RLELossless

from medrobust.base.targets import MaskedLabels
from medrobust.datasets import Dicom, Folder
from medrobust.exceptions import InvalidDataError, InvalidImageError

ROWS, COLUMNS = 31, 37
UIDS = [f"1.2.826.0.1.3680043.8.498.26.{n + 1}" for n in range(3)]
NAMES = ("background", "polyp", "bleeding")


def drawn(top: int, left: int) -> np.ndarray:
    """A rectangle of 6 by 9 pixels; 31 x 37 pixels are no whole number of bytes."""
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[top : top + 6, left : left + 9] = 1
    return pixels


POLYP, BLEEDING, THIRD = drawn(3, 5), drawn(15, 20), drawn(20, 2)


def scans(folder: Path, mask: str = "seg.dcm", **tags) -> Path:
    """Three slices of one patient and a table; each row names the same SEG."""
    rows = []
    for n, uid in enumerate(UIDS):
        pixels = np.random.default_rng(n).integers(0, 2000, (ROWS, COLUMNS)).astype(np.int16)
        own = {
            "SOPInstanceUID": uid,
            "ImagePositionPatient": [0, 0, 10.0 * n],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.5, 0.5],
        }
        write_dicom(folder / f"im{n}.dcm", pixels, **(own | tags))
        rows.append(
            {"path": f"im{n}.dcm", "sop_instance_uid": uid, "patient": "MRN-1"} | {"mask": mask}
        )
    return write_table(folder / "t.csv", rows)


def frames() -> list[tuple[np.ndarray, int, str, float]]:
    """Segment by segment, as encoders write them; the second image is in no segment."""
    return [
        (POLYP, 1, UIDS[2], 20.0),
        (POLYP, 1, UIDS[0], 0.0),
        (BLEEDING, 2, UIDS[0], 0.0),
    ]


def own(folder: Path, **options) -> Dicom:
    given = {"csv": str(folder / "t.csv"), "size": 40, "target": "masks", "key_file": None}
    return Dicom(**(given | options))


def read(folder: Path, **options) -> np.ndarray:
    return np.asarray(own(folder, size=COLUMNS, **options).load().target.values)[:, 3:34]


@pytest.mark.parametrize("match", ["path", "instance"])
def test_frames_go_to_the_images_whose_uid_they_name(tmp_path: Path, match: str) -> None:
    scans(tmp_path)
    write_seg(tmp_path / "seg.dcm", frames(), listed=UIDS)
    found = read(tmp_path, match=match, mask_classes=NAMES)
    wanted = [POLYP + 2 * BLEEDING, 0 * POLYP, POLYP]
    np.testing.assert_array_equal(found, wanted)
    lesions = read(tmp_path, match=match)
    np.testing.assert_array_equal(lesions, np.array(wanted) > 0)


def test_a_seg_is_no_image_of_its_patient_and_is_not_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scans(tmp_path)
    write_seg(tmp_path / "seg.dcm", frames(), listed=UIDS)
    write_table(tmp_path / "t.csv", [{"patient": "MRN-1", "mask": "seg.dcm"}])
    loaded = own(tmp_path, match="patient", size=COLUMNS).load()
    assert len(loaded) == 3
    np.testing.assert_array_equal(loaded.target.values[:, 3:34].any((1, 2)), [True, False, True])
    assert "passed over" not in caplog.text
    write_table(tmp_path / "t.csv", [{"patient": "MRN-1", "label": "a"}])
    named = {"target": "labels", "class_names": ["a", "b"]}
    assert len(own(tmp_path, match="patient", **named).load()) == 3
    assert "seg.dcm (it holds segments of other images (SEG)" in caplog.text


def test_labels_bring_masks_along_and_spacing_is_that_of_the_images(tmp_path: Path) -> None:
    table = scans(tmp_path)
    write_seg(tmp_path / "seg.dcm", frames(), listed=UIDS)
    spacing = own(tmp_path, size=2 * COLUMNS).load().target.spacing
    np.testing.assert_allclose(spacing, np.full((3, 2), 0.25))
    text = table.read_text().splitlines()
    labels = ["label", "0", "1", "0"]
    table.write_text("\n".join(f"{a},{b}" for a, b in zip(text, labels, strict=True)))
    target = own(tmp_path, target="labels", size=COLUMNS).load().target
    assert isinstance(target, MaskedLabels)
    np.testing.assert_array_equal(np.asarray(target.masks)[2, 3:34], POLYP)
    scans(tmp_path, PixelSpacing=None)
    assert own(tmp_path).load().target.spacing is None


def test_frames_of_enhanced_images_go_by_their_number(tmp_path: Path) -> None:
    pixels = np.zeros((2, ROWS, COLUMNS), np.uint8)
    write_dicom(tmp_path / "im.dcm", pixels, SOPInstanceUID=UIDS[0], NumberOfFrames=2)
    rows = [{"path": "im.dcm", "frame": n, "mask": "seg.dcm"} for n in (1, 2)]
    write_table(tmp_path / "t.csv", rows)
    made = write_seg(tmp_path / "seg.dcm", [(POLYP, 1, UIDS[0], 0), (THIRD, 1, UIDS[0], 1)])
    with pytest.raises(InvalidImageError, match="two frames of one segment of this image"):
        read(tmp_path, frame_column="frame")
    whole = pydicom.dcmread(made)
    for number, group in enumerate(whole.PerFrameFunctionalGroupsSequence):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedFrameNumber = number + 1
    whole.save_as(made)
    np.testing.assert_array_equal(read(tmp_path, frame_column="frame"), [POLYP, THIRD])


def test_pixels_that_are_not_square_are_repeated_as_the_image_is_stretched(tmp_path: Path) -> None:
    scans(tmp_path, PixelSpacing=[1.0, 0.5])
    shared = item(PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]))
    made = write_seg(tmp_path / "seg.dcm", frames(), UIDS, SharedFunctionalGroupsSequence=shared)
    assert made.exists()
    found = own(tmp_path, size=62).load().target
    columns = slice(12, 49)  # 37 of 62, padded by 12 and 13
    np.testing.assert_array_equal(found.values[2][:, columns], np.repeat(POLYP, 2, axis=0))
    np.testing.assert_allclose(found.spacing, 0.5)


def test_planes_of_pictures_are_numbered_along_the_normal(tmp_path: Path) -> None:
    write_seg(tmp_path / "seg", frames())
    rows = []
    for n in range(2):
        Image.fromarray(np.zeros((ROWS, COLUMNS), np.uint8)).save(tmp_path / f"{n}.png")
        rows.append({"path": f"{n}.png", "mask": "seg", "mask_slice": n})
    write_table(tmp_path / "t.csv", rows)
    given = {"csv": str(tmp_path / "t.csv"), "size": COLUMNS, "target": "masks"}
    loaded = Folder(**given, mask_classes=NAMES).load().target
    np.testing.assert_array_equal(loaded.values[:, 3:34], [POLYP + 2 * BLEEDING, POLYP])
    np.testing.assert_allclose(loaded.spacing, 0.5)
    for number, said in (("", "2 planes: name one of 0 to 1"), (2, "no plane 2; there are 0 to 1")):
        write_table(tmp_path / "t.csv", [rows[0] | {"mask_slice": number}])
        with pytest.raises(InvalidImageError, match=said):
            Folder(**given).load()
    write_table(tmp_path / "t.csv", [rows[0] | {"mask": "m.png", "mask_slice": 0}])
    with pytest.raises(InvalidDataError, match="line 2: mask_slice is '0'"):
        Folder(**given).load()


@pytest.mark.parametrize("packed", [False, True])
def test_fractions_need_a_threshold_which_is_of_255(tmp_path: Path, packed: bool) -> None:
    scans(tmp_path)
    soft = 40 * POLYP + 80 * BLEEDING  # of 160: a quarter, and a half
    fractional = {"kind": "FRACTIONAL", "MaximumFractionalValue": 160}
    made = write_seg(tmp_path / "seg.dcm", [(soft, 1, UIDS[0], 0)], UIDS, **fractional)
    if packed:
        whole = pydicom.dcmread(made)
        whole.compress(RLELossless, soft, encoding_plugin="pydicom")
        whole.save_as(made)
    with pytest.raises(InvalidImageError, match=r"fractions of segments: pass .*threshold=127"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, mask_threshold=127)[0], BLEEDING)
    np.testing.assert_array_equal(read(tmp_path, mask_threshold=63)[0], POLYP | BLEEDING)
    write_seg(tmp_path / "seg.dcm", frames(), UIDS)
    np.testing.assert_array_equal(read(tmp_path, mask_threshold=127)[0], POLYP | BLEEDING)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": [(POLYP, 1, "1.2.3", 0)]}, r"line 2\).*does not refer to this image"),
        ({"frames": [(POLYP, 1, "", 0)]}, "does not say which image each frame is of"),
        ({"frames": [(POLYP, 1, UIDS[0], 3)]}, "differ in their position"),
        ({"frames": [(POLYP[1:], 1, UIDS[0], 0)]}, "37x30 and 37x31 pixels"),
        ({"frames": [(POLYP, 1, UIDS[0], 0)] * 2}, "two frames of one segment"),
        (
            {"frames": [(POLYP, 1, UIDS[0], 0), (POLYP, 2, UIDS[0], 0)]},
            "segments that overlap in this image",
        ),
        ({"frames": [(POLYP, 3, UIDS[0], 0)]}, "values from 0 to 3, and dataset.mask_classes"),
        ({"SegmentationType": "OTHER"}, "a SEG that is not read"),
        ({"NumberOfFrames": 4}, "a SEG that is not read"),
        ({"DimensionOrganizationType": "TILED_FULL"}, "a SEG that is not read"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "is a DICOM file and no SEG"),
        (
            {
                "SharedFunctionalGroupsSequence": item(
                    PlaneOrientationSequence=item(ImageOrientationPatient=[0, 1, 0, 1, 0, 0])
                )
            },
            "differ in their orientation",
        ),
        (
            {
                "SharedFunctionalGroupsSequence": item(
                    PixelMeasuresSequence=item(PixelSpacing=[0.6, 0.6])
                )
            },
            "differ in their spacing",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_a_sentence(
    tmp_path: Path, change: dict, said: str
) -> None:
    scans(tmp_path)
    given = {"frames": frames(), "listed": UIDS[1:]} | change
    write_seg(tmp_path / "seg.dcm", given.pop("frames"), **given)
    with pytest.raises(InvalidImageError, match=said):
        read(tmp_path, mask_classes=NAMES)


@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_files_that_are_cut_off_or_none_are_refused(tmp_path: Path, kept: float) -> None:
    scans(tmp_path)
    whole = write_seg(tmp_path / "seg.dcm", frames(), UIDS).read_bytes()
    (tmp_path / "seg.dcm").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InvalidImageError, match=r"seg\.dcm"):
        read(tmp_path)
    (tmp_path / "seg.dcm").write_bytes(b"no DICOM")
    with pytest.raises(InvalidImageError, match=r"seg\.dcm .* is no DICOM file"):
        read(tmp_path)


def test_pictures_are_masks_of_dicom_images_too(tmp_path: Path) -> None:
    scans(tmp_path, mask="m.png")
    Image.fromarray(POLYP).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read(tmp_path), [POLYP] * 3)
    Image.fromarray(POLYP[1:]).save(tmp_path / "m.png")
    with pytest.raises(InvalidImageError, match="37x30 and 37x31 pixels"):
        read(tmp_path)
