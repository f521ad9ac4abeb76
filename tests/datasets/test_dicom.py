"""DICOM folders as data sets: matching, patients, one size, errors; no identifier in clear."""

import logging
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_table
from dicoms import dataset, item, slices, write_dicom, write_scans
from pydicom.encaps import encapsulate

from medrobust.base.once import one_job
from medrobust.datasets import Dicom
from medrobust.datasets.cache import unpacking_at_most
from medrobust.datasets.own import dicom as dicom_module
from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import NOTES
from medrobust.datasets.own.pseudonyms import read_key
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    InvalidImageError,
    MedRobustError,
)


def dicom(table: Path, **options: Any) -> Dicom:
    return Dicom(**({"csv": str(table), "size": 48} | options))


def expected(pixels: np.ndarray) -> np.ndarray:
    """Soft tissue window of `write_scans`, by the standard's formula."""
    share = (pixels.astype(float) - 1024 - 39.5) / 399 + 0.5
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def test_a_series_becomes_a_set_with_patients_of_its_headers(tmp_path: Path) -> None:
    found = dicom(write_scans(tmp_path)).load()
    assert found.images.shape == (8, 48, 48)
    assert isinstance(found.images, np.memmap)
    np.testing.assert_array_equal(found.images, np.stack([expected(s) for s in slices(8)]))
    assert found.labels.tolist() == [0, 1] * 4
    assert (found.label_kind, found.origin, found.split) == ("binary-class", "own", "test")
    assert found.groups is not None
    assert [found.groups.tolist().index(one) for one in found.groups] == [0, 0, 2, 2, 4, 4, 6, 6]


@pytest.mark.slow
def test_rows_find_images_by_instance_and_by_patient_too(tmp_path: Path) -> None:
    by_path = dicom(write_scans(tmp_path)).load()
    table = write_scans(tmp_path, columns=("label", "sop_instance_uid"))
    by_instance = dicom(table, match="instance").load()
    assert by_instance.fingerprint == by_path.fingerprint
    rows = [
        {"patient": f"MRN-{n:05d}", "label": "ab"[n % 2], "split": "test" if n else "train"}
        for n in (3, 1, 0)
    ]
    by_patient = dicom(write_table(tmp_path / "p.csv", rows), match="patient").load()
    assert by_patient.ids.tolist() == by_path.ids[[2, 3, 6, 7]].tolist()
    assert by_patient.labels.tolist() == [1, 1, 1, 1]
    assert by_patient.groups is not None
    assert by_path.groups is not None
    assert by_patient.groups.tolist() == by_path.groups[[2, 3, 6, 7]].tolist()


def test_images_that_no_row_names_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scans(tmp_path)
    write_dicom(tmp_path / "report.dcm", None, PatientID="MRN-00000")
    (tmp_path / "notes.txt").write_text("no DICOM")
    rows = [{"patient": "MRN-00000", "label": "a"}, {"patient": "MRN-00001", "label": "b"}]
    with caplog.at_level(logging.INFO):
        found = dicom(write_table(tmp_path / "p.csv", rows), match="patient").load()
    assert len(found) == 4
    assert "4 DICOM files in the folder are not in the table: left out" in caplog.text
    assert "4 DICOM files in the folder are not in the table: left out" in found.marks
    assert "MRN" not in caplog.text


def test_a_patient_column_wins_over_the_headers(tmp_path: Path) -> None:
    write_scans(tmp_path, 4)
    rows = [{"path": f"series/IM{n:04d}.dcm", "label": n % 2, "patient": "same"} for n in range(4)]
    found = dicom(write_table(tmp_path / "p.csv", rows)).load()
    assert found.groups is not None
    assert len(set(found.groups)) == 1


@pytest.mark.parametrize("options", [{}, {"match": "patient"}])
def test_an_empty_patient_of_the_table_is_an_error(tmp_path: Path, options: dict[str, str]) -> None:
    write_scans(tmp_path, 4)
    rows = [
        {"path": f"series/IM{n:04d}.dcm", "label": n % 2, "patient": patient}
        for n, patient in enumerate(["MRN-00000", "MRN-00001", ""])
    ]
    table = write_table(tmp_path / "p.csv", rows)
    with pytest.raises(InvalidDataError, match=r"p\.csv, line 4: the patient is empty"):
        dicom(table, **options).load()


def test_a_null_patient_column_leaves_the_patients_of_the_headers_alone(tmp_path: Path) -> None:
    assert dicom(write_scans(tmp_path, 4), patient_column=None).load().groups is None


def test_without_patients_anywhere_images_stand_alone(tmp_path: Path) -> None:
    table = write_scans(tmp_path, 4, patient="")
    assert dicom(table).load().groups is None


def test_frames_may_be_named_by_the_table(tmp_path: Path) -> None:
    frames = np.arange(3, dtype=np.uint8)[:, None, None] * np.full((1, 48, 48), 50, np.uint8)
    write_dicom(tmp_path / "cine.dcm", frames, NumberOfFrames=3)
    rows = [{"path": "cine.dcm", "label": n % 2, "frame": n} for n in (1, 2, 3)]
    table = write_table(tmp_path / "t.csv", rows)
    found = dicom(table, frame_column="frame").load()
    assert found.images[:, 0, 0].tolist() == [0, 50, 100]
    assert len(set(found.ids)) == len(set(found.index)) == 3
    with pytest.raises(InvalidDataError, match="names one image in lines 2 and 3"):
        dicom(table).load()
    rows[0]["frame"] = 4
    with pytest.raises(InvalidImageError, match=r"^cine\.dcm .*line 2\) has 3 frames; frame 4"):
        dicom(write_table(tmp_path / "t.csv", rows), frame_column="frame").load()
    one = write_table(tmp_path / "one.csv", [{"path": "cine.dcm", "label": "a"}])
    names = {"class_names": ["a", "b"]}
    assert dicom(one, **names).load().images[0, 0, 0] == 50
    assert dicom(one, frame=3, **names).load().images[0, 0, 0] == 100


def test_other_sizes_are_padded_and_colour_among_grey_makes_all_rgb(tmp_path: Path) -> None:
    write_dicom(tmp_path / "wide.dcm", np.full((20, 40), 200, np.uint8))
    rows = [{"path": "wide.dcm", "label": "a"}]
    names = {"class_names": ["a", "b"]}
    found = dicom(write_table(tmp_path / "t.csv", rows), size=40, **names).load()
    assert found.images.shape == (1, 40, 40)
    assert found.images[0, :, 5].tolist() == [0] * 10 + [200] * 20 + [0] * 10
    write_dicom(tmp_path / "us.dcm", np.full((40, 40, 3), (9, 80, 7), np.uint8))
    rows.append({"path": "us.dcm", "label": "b"})
    mixed = dicom(write_table(tmp_path / "t.csv", rows), size=40).load()
    assert mixed.images[:, 20, 20].tolist() == [[200] * 3, [9, 80, 7]]


def test_what_the_owner_should_know_is_said_once_with_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        write_dicom(tmp_path / f"{name}.dcm", slices(1)[0], BurnedInAnnotation="YES")
    rows = [{"path": f"{name}.dcm", "label": name} for name in "ab"]
    table = write_table(tmp_path / "t.csv", rows)
    with caplog.at_level(logging.WARNING):
        dicom(table).load()
    assert "2 of 2 images: no usable window in the header" in caplog.text
    assert "2 of 2 images: text burnt into the pixels" in caplog.text


def marks(table: Path, *, split: str | None = None, **options: Any) -> tuple[str, ...]:
    """What tables say of a set at the standard size."""
    return dicom(table, size=224, **options).load(split).marks


def test_images_without_a_window_are_counted_by_what_was_used(tmp_path: Path) -> None:
    deep, flat = slices(1)[0], np.full((48, 48), 9, np.uint8)
    write_dicom(tmp_path / "a.dcm", deep, WindowCenter=1000, WindowWidth=500)
    write_dicom(tmp_path / "b.dcm", deep)
    write_dicom(tmp_path / "c.dcm", deep, WindowCenter=1000, WindowWidth=0)
    write_dicom(tmp_path / "d.dcm", flat)
    splits = {"a": "test", "b": "test", "c": "test", "d": "train"}
    rows = [{"path": f"{n}.dcm", "label": "x", "split": s} for n, s in splits.items()]
    table = write_table(tmp_path / "t.csv", rows)
    names = {"class_names": ["x", "y"]}
    window = "2 of 3 images of test: no usable window in the header: the range of the image itself"
    for _ in ("read", "from the cache"):
        (mark,) = marks(table, **names)
        assert mark == f"{window} was used"
    (mark,) = marks(table, split="train", **names)
    assert mark.startswith("1 of 1 image of train: no usable window in the header: values of up")
    for window in ("range", "stored", (1000, 500)):
        assert marks(table, window=window, **names) == ()


def test_what_a_header_does_to_an_image_is_said_with_its_line_and_values(
    tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = slices(1)[0]
    for name, centre in (("a", 1000), ("b", 60000), ("c", 61000)):
        write_dicom(tmp_path / f"{name}.dcm", deep, WindowCenter=centre, WindowWidth=500)
    write_dicom(tmp_path / "d.dcm", deep, RescaleSlope="0", WindowCenter="1000", WindowWidth="500")
    rows = [{"path": f"{name}.dcm", "label": name in "ab"} for name in "abcd"]
    table = write_table(tmp_path / "t.csv", rows)
    few = (
        "2 of 4 images{}: one or two greys are left of more stored values "
        "(t.csv, line 3: WindowCenter 60000, WindowWidth 500; line 4: WindowCenter 61000, "
        "WindowWidth 500)"
    )
    slope = "the rescale slope is 0 or no number: values were taken as stored (t.csv, line 5: Resc"
    with caplog.at_level(logging.WARNING):
        first = marks(table)
    assert few.format("") in caplog.text
    assert f"1 of 4 images: {slope}aleSlope 0" in caplog.text
    assert few.format(" of test") in first
    assert any(mark.startswith(f"1 of 4 images of test: {slope}") for mark in first)
    assert marks(table) == first  # from the cache
    for folder in own_cache.glob("arrays/dicom-notes-*"):
        shutil.rmtree(folder)
    assert marks(table) == first  # from the files


def test_the_frame_that_was_taken_is_said_unless_the_table_names_it(tmp_path: Path) -> None:
    frames = np.arange(4, dtype=np.uint8)[:, None, None] * np.full((1, 48, 48), 50, np.uint8)
    write_dicom(tmp_path / "cine.dcm", frames, NumberOfFrames=4)
    rows = [{"path": "cine.dcm", "label": "a", "frame": 3}]
    table, names = write_table(tmp_path / "t.csv", rows), {"class_names": ["a", "b"]}
    said = "1 of 1 image of test: of several frames one was taken (t.csv, line 2: {} of 4)"
    assert said.format(2) in marks(table, **names)
    assert said.format(4) in marks(table, frame=4, **names)
    assert not any("frames" in m for m in marks(table, frame_column="frame", **names))


@pytest.mark.slow
@pytest.mark.parametrize("match", ["path", "instance"])
def test_files_that_the_table_leaves_out_are_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, match: str
) -> None:
    table = write_scans(tmp_path)
    assert marks(table, match=match) == ()
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "notes.txt").write_text("no DICOM")
    if match == "instance":
        (tmp_path / "DICOMDIR").unlink()  # its header is read, and it has none
    said = "1 DICOM file in the folder is not in the table: left out"
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert marks(table, match=match) == (said,)
    assert caplog.text.count(said) == 1


def test_a_file_beside_the_table_that_cannot_be_opened_stops_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_scans(tmp_path)
    (tmp_path / "locked").write_bytes(b"")
    refuse(monkeypatch, "open", "locked")
    assert marks(table) == ()


def refuse(monkeypatch: pytest.MonkeyPatch, method: str, name: str) -> None:
    """Let a method of paths fail for files of that name, as in a folder that is not to enter."""
    usual = getattr(Path, method)

    def refused(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == name:
            raise PermissionError(13, "Permission denied")
        return usual(self, *args, **kwargs)

    monkeypatch.setattr(Path, method, refused)


@pytest.mark.parametrize("method", ["lstat", "open"])
def test_a_file_that_cannot_be_looked_at_is_passed_over_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    table = write_scans(tmp_path)
    shutil.copy(tmp_path / "series/IM0000.dcm", tmp_path / "series/Doe.dcm")
    with monkeypatch.context() as patched:
        refuse(patched, method, "Doe.dcm")
        told = "series/Doe.dcm (it cannot be read (permission denied))"
        said = f"1 file in the folder was passed over: {told}"
        assert marks(table, match="instance") == (said,)
    with pytest.raises(InvalidDataError, match="2 files in the folder"):  # it is looked at again
        dicom(table, match="instance").load()


def test_a_folder_that_cannot_be_listed_is_passed_over_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, listed = write_scans(tmp_path), os.scandir
    (tmp_path / "Doe").mkdir()

    def refused(path: Any) -> Any:
        if str(path).endswith("Doe"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert marks(table) == ()
    assert marks(table, match="instance") == (
        "1 file in the folder was passed over: Doe (it cannot be read (permission denied))",
    )


def test_a_file_that_is_deleted_during_a_job_is_named_with_what_to_do(tmp_path: Path) -> None:
    told = (
        "is gone since it was looked for: put it back, or take its row off the table if it has "
        "one, and run again."
    )
    table = write_scans(tmp_path)
    with one_job():
        dicom(table, match="instance").load()
        (tmp_path / "series/IM0003.dcm").unlink()
        with pytest.raises(InvalidImageError) as caught:
            dicom(table, match="instance").load()
    assert str(caught.value) == f"IM0003.dcm {told}"
    assert caught.value.for_records == f"a file in the folder of the images {told}"


@pytest.mark.parametrize("step", ["is_grey_dicom", "read_dicom", "read_notes"])
def test_a_file_that_is_deleted_while_it_is_read_names_its_line(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    table, usual = write_scans(tmp_path), getattr(dicom_module, step)
    if step == "read_notes":
        dicom(table).load()
        for folder in own_cache.glob("arrays/dicom-notes-*"):
            shutil.rmtree(folder)

    def deleting(file: Path, **options: Any) -> Any:
        if file.name == "IM0003.dcm":
            file.unlink()
        return usual(file, **options)

    monkeypatch.setattr(dicom_module, step, deleting)
    with pytest.raises(InvalidImageError) as caught:
        dicom(table).load()
    told = "is gone since it was looked for: put it back, or take its row off the table"
    assert str(caught.value).startswith(f"IM0003.dcm (labels.csv, line 5) {told}")
    assert caught.value.for_records.startswith(f"the file of labels.csv, line 5 {told}")


def test_rows_of_paths_open_no_file_that_the_table_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_scans(tmp_path)
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "other.DCM").write_bytes(b"\0" * 128 + b"DICM")
    for name in ("IM0001", "other.DCM"):
        refuse(monkeypatch, "open", name)
    assert marks(table) == ("1 DICOM file in the folder is not in the table: left out",)


@pytest.mark.slow
@pytest.mark.parametrize("match", ["path", "instance"])
def test_a_job_searches_the_folder_once_and_a_load_looks_at_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, match: str
) -> None:
    table = write_scans(tmp_path)
    searched: list[Path] = []
    looked: list[str] = []
    walk, lstat = os.walk, Path.lstat

    def walked(top: Path, **options: Any) -> Any:
        searched.append(top)
        return walk(top, **options)

    def looked_at(self: Path) -> os.stat_result:
        looked.append(self.name)
        return lstat(self)

    monkeypatch.setattr("medrobust.datasets.own.dicom_search.os.walk", walked)
    monkeypatch.setattr(Path, "lstat", looked_at)
    with one_job():
        for _ in range(3):
            dicom(table, match=match).load()
    assert len(searched) == 1
    assert looked.count("IM0003.dcm") == 4  # in the search, and once a load
    shutil.copy(tmp_path / "series/IM0003.dcm", tmp_path / "later.dcm")
    with one_job():
        if match == "path":
            assert "1 DICOM file" in dicom(table).load().marks[-1]
        else:
            with pytest.raises(InvalidDataError, match="2 files in the folder"):
                dicom(table, match=match).load()


def test_notes_that_are_lost_are_read_from_headers_whatever_the_rows(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bits in (("a", np.int16), ("b", np.uint8)):
        write_dicom(tmp_path / f"{name}.dcm", slices(1)[0].astype(bits))
    rows = [{"path": f"{name}.dcm", "label": name} for name in "ab"]
    table = write_table(tmp_path / "t.csv", rows)
    first = marks(table)
    assert len(first) == 2
    (notes,) = own_cache.glob("arrays/dicom-notes-*")
    shutil.rmtree(notes)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("pixels were decoded again")

    monkeypatch.setattr("pydicom.pixels.pixel_array", forbidden)
    with unpacking_at_most(1):
        assert marks(table) == first


def test_other_words_of_a_note_find_it_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path / "a.dcm", slices(1)[0])
    table = write_table(tmp_path / "t.csv", [{"path": "a.dcm", "label": "a"}])
    names = {"class_names": ["a", "b"]}
    marks(table, **names)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a file was read again")

    monkeypatch.setattr("pydicom.dcmread", forbidden)
    monkeypatch.setattr("medrobust.datasets.own.dicom.NOTES", ("in other words", *NOTES[1:]))
    monkeypatch.setattr("medrobust.datasets.own.dicom.WINDOWLESS", ("in other words",))
    assert marks(table, **names) == ("1 of 1 image of test: in other words",)


def test_the_second_open_reads_no_dicom_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_scans(tmp_path)
    first = {match: dicom(table, match=match).load() for match in ("path", "instance")}

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a file was read again")

    monkeypatch.setattr("pydicom.dcmread", forbidden)
    for match in ("path", "instance"):
        assert dicom(table, match=match).load().fingerprint == first[match].fingerprint


def _digest(table: Path, queue: "multiprocessing.Queue[str]") -> None:
    queue.put(dicom(table).load().fingerprint)


@pytest.mark.slow
def test_processes_that_start_at_once_share_one_cache(tmp_path: Path, own_cache: Path) -> None:
    table = write_scans(tmp_path)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_digest, args=(table, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert len({queue.get(timeout=120) for _ in workers}) == 1
    for worker in workers:
        worker.join()
    assert len(list(own_cache.rglob("array.npy"))) == 3  # images, notes, hashes of headers


def test_hashes_lead_back_to_files_and_patients_of_headers(tmp_path: Path) -> None:
    source = dicom(write_scans(tmp_path))
    found = source.load()
    known = {row.id: row for row in source.identities(read_key(tmp_path / ".medrobust_key"))}
    assert [known[one].file for one in found.ids] == [f"series/IM{n:04d}.dcm" for n in range(8)]
    assert [known[one].patient for one in found.ids] == [f"MRN-{n // 2:05d}" for n in range(8)]
    assert found.groups is not None
    assert [known[one].group for one in found.ids] == found.groups.tolist()


def test_identifiers_are_nowhere_in_the_cache_or_the_log(
    tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_scans(tmp_path)
    with caplog.at_level(logging.DEBUG):
        found = [dicom(table, match=match).load() for match in ("path", "instance")]
    written = b"".join(
        p.read_bytes() + p.name.encode() for p in own_cache.rglob("*") if p.is_file()
    )
    visible = written + caplog.text.encode() + repr(found).encode() + repr(found[0].groups).encode()
    for secret in (b"MRN", b"Doe", b"IM000", b"series", b"43.8.498"):
        assert secret not in visible


def broken_folder(folder: Path) -> None:
    """Good slices, and files that go wrong in every way."""
    write_scans(folder)
    good = (folder / "series/IM0000.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(good[: len(good) // 2])
    (folder / "text.dcm").write_text("not DICOM")
    write_dicom(folder / "report.dcm", None)
    write_dicom(folder / "huge.dcm", slices(1)[0], Rows=60000, Columns=60000)
    write_dicom(folder / "cmyk.dcm", slices(1)[0], PhotometricInterpretation="CMYK")
    video = dataset(slices(1)[0], TransferSyntaxUID="1.2.840.10008.1.2.4.100")
    video.PixelData = encapsulate([b"a film"])
    video["PixelData"].is_undefined_length = True
    video.save_as(folder / "video.dcm")
    shutil.move(folder / "series/IM0007.dcm", folder.parent / "outside.dcm")
    (folder / "link.dcm").symlink_to(folder.parent / "outside.dcm")
    lut = item(LUTDescriptor=[3, 0, 16], LUTData=[1])
    lut[0]["LUTDescriptor"].VR, lut[0]["LUTData"].VR = "US", "US"
    write_dicom(folder / "lut.dcm", slices(1)[0], VOILUTSequence=lut)


BAD_FILES: list[tuple[str, type[MedRobustError], str]] = [
    ("cut.dcm", InvalidImageError, "cannot be read as DICOM"),
    ("text.dcm", InvalidImageError, "is no DICOM file"),
    ("report.dcm", InvalidImageError, "is a DICOM file without an image"),
    ("huge.dcm", InvalidImageError, "declares 60000 × 60000 pixels"),
    ("cmyk.dcm", InvalidImageError, "holds pixels of a kind"),
    ("video.dcm", InvalidImageError, "is packed as MPEG2 Main Profile / Main Level"),
    ("link.dcm", InvalidDataError, "is a link out of the folder"),
]


@pytest.mark.parametrize(("name", "kind", "complaint"), BAD_FILES)
def test_a_bad_file_is_named_to_the_user_and_its_line_to_the_records(
    tmp_path: Path, own_cache: Path, name: str, kind: type[MedRobustError], complaint: str
) -> None:
    broken_folder(tmp_path / "in")
    rows = [{"path": "series/IM0000.dcm", "label": "a"}, {"path": name, "label": "b"}]
    with pytest.raises(kind) as caught:
        dicom(write_table(tmp_path / "in/t.csv", rows)).load()
    assert str(caught.value).startswith(f"{name} (t.csv, line 3) {complaint}")
    assert caught.value.for_records.startswith("the file of t.csv, line 3")
    assert name not in caught.value.for_records
    for text in (str(caught.value), caught.value.for_records):
        assert "\n" not in text
        assert "MRN" not in text
    assert not list(own_cache.rglob("*.npy"))
    assert not list(own_cache.rglob("*.partial"))


def test_rows_without_an_image_and_images_found_twice_are_refused_by_line(tmp_path: Path) -> None:
    table = write_scans(tmp_path)
    shutil.move(tmp_path / "series/IM0003.dcm", tmp_path.parent / "gone.dcm")
    with pytest.raises(DatasetNotFoundError, match=r"^1 of 8 rows of labels\.csv .*, line 5 first"):
        dicom(table, match="instance").load()
    shutil.copy(tmp_path / "series/IM0002.dcm", tmp_path / "series/IM0003.dcm")
    shutil.move(tmp_path.parent / "gone.dcm", tmp_path / "series/IM0008.dcm")
    with pytest.raises(InvalidDataError, match=r"^labels\.csv, line 4: 2 files .* SOP instance"):
        dicom(table, match="instance").load()
    rows = [{"patient": "MRN-00000", "label": "a"}, {"patient": "MRN-77777", "label": "b"}]
    table = write_table(tmp_path / "p.csv", rows)
    with pytest.raises(DatasetNotFoundError, match=r"patient id .*, line 3 first") as caught:
        dicom(table, match="patient").load()
    assert "MRN" not in str(caught.value)
    twice = write_table(tmp_path / "p.csv", [rows[0], {"patient": "MRN-00000", "label": "b"}])
    with pytest.raises(InvalidDataError, match="names one patient in lines 2 and 3") as caught:
        dicom(twice, match="patient").load()
    assert "MRN" not in str(caught.value)


def test_a_damaged_header_in_the_folder_is_passed_over_with_its_folder_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scans(tmp_path)
    whole = (tmp_path / "series/IM0001.dcm").read_bytes()
    table = write_table(tmp_path / "p.csv", [{"patient": "MRN-00000", "label": "a"}])
    rows = whole.index(b"\x28\x00\x10\x00US")
    (tmp_path / "in").mkdir()
    for broken, why in (
        (b"\0" * 128 + b"DICM" + b"\7" * 50, "it is cut off or damaged"),
        (whole[:rows], "it is cut off or damaged before its pixels"),
        (b"text", "it is no DICOM file"),
    ):
        (tmp_path / "in/bad.dcm").write_bytes(broken)
        source = dicom(table, match="patient", class_names=["a", "b"])
        with caplog.at_level(logging.WARNING), one_job():
            found = source.load()
        assert len(found) == 2
        said = f"1 file in the folder was passed over: in/bad.dcm ({why}"
        assert said in caplog.text
        assert any(mark.startswith(said) for mark in found.marks)
        assert "MRN" not in caplog.text
        caplog.clear()


@pytest.mark.slow
@pytest.mark.parametrize("match", ["path", "instance", "patient"])
def test_hidden_companions_of_files_are_passed_over_without_a_word(
    tmp_path: Path, match: str
) -> None:
    """As macOS leaves them on foreign disks and in archives: AppleDouble, with a suffix."""
    table = write_scans(tmp_path, columns=("path", "label", "sop_instance_uid"))
    rows = [{"patient": f"MRN-{n:05d}", "label": "ab"[n % 2]} for n in range(4)]
    table = write_table(tmp_path / "p.csv", rows) if match == "patient" else table
    before = dicom(table, match=match).load()
    double = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4064)
    (tmp_path / "__MACOSX/series").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("series/._IM0000.dcm", "__MACOSX/series/IM0000.dcm", ".hidden/a.dcm", ".a.dcm"):
        (tmp_path / name).write_bytes(double)
    after = dicom(table, match=match).load()
    assert (after.fingerprint, after.marks) == (before.fingerprint, before.marks)


def test_rows_without_an_image_are_named_at_once_with_the_files_that_may_be_theirs(
    tmp_path: Path,
) -> None:
    table = write_scans(tmp_path)
    for number in (2, 5):
        file = tmp_path / f"series/IM000{number}.dcm"
        file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DatasetNotFoundError) as caught:
        dicom(table, match="instance").load()
    assert str(caught.value).startswith("2 of 8 rows of labels.csv have no DICOM image of that ")
    assert "line 4 first (then 7)" in str(caught.value)
    file = tmp_path / "series/IM0000.dcm"
    shutil.copy(file, tmp_path / "series/again.dcm")
    (tmp_path / "series/IM0007.dcm").write_bytes((tmp_path / "series/IM0007.dcm").read_bytes()[:-9])
    with pytest.raises(DatasetNotFoundError) as caught:
        dicom(table, match="instance").load()
    kinds = ("2 of 8 rows of", "Besides: labels.csv, line 2: 2 files", "IM0007.dcm (labels.csv, l")
    assert all(kind in str(caught.value) for kind in kinds)
    assert "passed over: series/IM0002.dcm, IM0005.dcm (each " in str(caught.value)
    assert "IM000" not in caught.value.for_records


def test_names_that_are_there_in_other_signs_or_were_rounded_are_said(tmp_path: Path) -> None:
    write_scans(tmp_path)
    root = "1.2.826.0.1.3680043.8.498."
    uids = [f"{root}1", f"{root}2".replace(".", "-"), "1.2E+20", "1.2.3.4"]
    rows = [{"sop_instance_uid": uid, "label": "ab"[n % 2]} for n, uid in enumerate(uids)]
    with pytest.raises(DatasetNotFoundError) as caught:
        dicom(write_table(tmp_path / "i.csv", rows), match="instance").load()
    assert "3 of 4 rows" in str(caught.value)
    assert "Line 3: the folder has that SOP instance UID in other signs" in str(caught.value)
    assert "Line 4: the SOP instance UID is a number that a spreadsheet has" in str(caught.value)
    assert "Line 5:" not in str(caught.value)
    names = ["mrn 1", "MRN-00002", "MRN3", "MRN-9"]  # of 0 to 3
    rows = [{"patient": name, "label": "ab"[n % 2]} for n, name in enumerate(names)]
    with pytest.raises(DatasetNotFoundError) as caught:
        dicom(write_table(tmp_path / "p.csv", rows), match="patient").load()
    assert "Lines 2, 4: the folder has that patient id in other signs" in str(caught.value)
    assert "MRN" not in caught.value.for_records


def test_files_with_one_uid_are_both_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_scans(tmp_path)
    (tmp_path / "copies").mkdir()
    for number in (2, 4):
        shutil.copy(tmp_path / f"series/IM000{number}.dcm", tmp_path / f"copies/{number}.dcm")
    with pytest.raises(InvalidDataError) as caught:
        dicom(table, match="instance").load()
    assert str(caught.value) == (
        "labels.csv, line 4: 2 files in the folder (copies/2.dcm, series/IM0002.dcm) carry the SOP "
        "instance UID of this row; keep one of them. So it is with line 6."
    )
    assert "copies" not in caught.value.for_records
    patients = write_table(tmp_path / "p.csv", [{"patient": "MRN-00001", "label": "a"}])
    with caplog.at_level(logging.WARNING), one_job():
        found = dicom(patients, match="patient", class_names=["a", "b"]).load()
    assert len(found) == 3
    told = "1 SOP instance UID in several files, each of which is taken: copies/2.dcm and series/"
    assert told in caplog.text


def test_choices_that_do_not_exist_are_refused_at_once(tmp_path: Path) -> None:
    for options, complaint in (
        ({"match": "name"}, "path, instance, patient"),
        ({"window": "lung"}, "header, range, stored"),
        ({"window": [40, 0]}, "width of at least 1"),
        ({"window": [float("nan"), 100]}, "width of at least 1"),
        ({"window": [40, float("inf")]}, "width of at least 1"),
        ({"window": [40]}, "width of at least 1"),
        ({"frame": 0}, "middle or a number from 1"),
        ({"match": "patient", "frame_column": "frame"}, "frame_column"),
        ({"fit": "stretch"}, "pad, crop and squash"),
    ):
        with pytest.raises(ConfigurationError, match=complaint):
            dicom(tmp_path / "t.csv", **options)
    table = write_scans(tmp_path)
    with pytest.raises(ConfigurationError, match="label_column names 'sop_instance_uid'"):
        dicom(table, label_column="sop_instance_uid").load()


def test_a_table_of_instances_without_paths_says_how_to_match(tmp_path: Path) -> None:
    table = write_scans(tmp_path, columns=("sop_instance_uid", "label"))
    with pytest.raises(InvalidDataError, match=r"'sop_instance_uid': pass dataset\.match=instance"):
        dicom(table).load()


def test_headers_and_pixels_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    table = write_scans(tmp_path)
    whole = (tmp_path / "series/IM0001.dcm").read_bytes()
    (tmp_path / "series/IM0001.dcm").write_bytes(whole[:-9])
    (tmp_path / "series/IM0002.dcm").write_bytes(b"no DICOM")
    with pytest.raises(InvalidImageError, match=r"IM0001.* In all 2 of 8 images .*IM0002"):
        dicom(table).load()


def test_loggers_below_those_of_pydicom_are_quiet_and_then_as_they_were(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("pydicom.pixels.decoders.base")
    with quiet_pydicom():
        log.error("Doe^Jane")
    log.error("after")
    assert caplog.messages == ["after"]
