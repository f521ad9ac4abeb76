"""Scripts for own data: hashes back to files, any set to PNG and a table."""

import csv
import io
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import write_folder, write_medmnist, write_table
from dicoms import slices, write_dicom, write_scans
from run_entry import answer

from medrobust.cli.hydra_app import composed
from medrobust.datasets import Dicom, MedMNIST
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.building import built


def again(printed: str) -> ImageSet:
    """Open what the printed command opens."""
    overrides = shlex.split(printed.strip().splitlines()[-1])[2:]
    return built(composed(overrides), "dataset").load()


def test_hashes_are_revealed_to_whoever_holds_the_key(tmp_path: Path) -> None:
    table = write_scans(tmp_path, 4)
    found = Dicom(csv=str(table), size=48).load()
    key = ("--key", tmp_path / ".medrobust_key")
    given = ("dataset=dicom", f"dataset.csv={table}")
    done = answer("audit", *key, *given)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["id"] for row in rows] == found.ids.tolist()
    assert [row["file"] for row in rows] == [f"series/IM{n:04d}.dcm" for n in range(4)]
    assert [row["patient"] for row in rows] == ["MRN-00000"] * 2 + ["MRN-00001"] * 2
    one = answer("audit", *key, *given, "--id", found.ids[2])
    assert [row["file"] for row in csv.DictReader(io.StringIO(one.stdout))] == ["series/IM0002.dcm"]
    (tmp_path / "other").write_text("0" * 64)
    wrong = answer("audit", "--key", tmp_path / "other", *given, "--id", found.ids[2])
    assert wrong.returncode == 1
    assert "unknown with this key" in wrong.stderr
    public = answer("audit", *key, "dataset=phantoms")
    assert public.stderr.startswith("error: data set 'phantoms' hides no identifiers")
    assert "Traceback" not in public.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["breastmnist", "chestmnist", "retinamnist", "bloodmnist"])
def test_any_set_is_written_as_files_that_give_the_same_set(tmp_path: Path, flag: str) -> None:
    write_medmnist(tmp_path, flag, counts=(3, 2, 16), size=28)
    source = (f"dataset={flag}", f"dataset.root={tmp_path}", "dataset.size=28")
    done = answer("export", tmp_path / "Ann's files", *source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("21 images of train, val, test.")
    stored = MedMNIST(flag, root=str(tmp_path), size=28).load()
    found = again(done.stdout)
    np.testing.assert_array_equal(found.images, stored.images)
    np.testing.assert_array_equal(found.labels, stored.labels)
    for name in ("class_names", "task", "positive", "split", "modality"):
        assert getattr(found, name) == getattr(stored, name)
    full = answer("export", tmp_path / "Ann's files", *source)
    assert full.returncode == 1
    assert "is not empty" in full.stderr


def test_own_data_is_written_without_its_names(tmp_path: Path) -> None:
    table = write_folder(tmp_path / "in")
    source = ("dataset=folder", f"dataset.csv={table}", "dataset.size=32")
    done = answer("export", tmp_path / "out", *source)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out/labels.csv").read_text()
    names = text + "".join(path.name for path in (tmp_path / "out").rglob("*"))
    for secret in ("scan", "MRN"):
        assert secret not in names
    found = again(done.stdout)
    assert (len(found), found.class_names) == (6, ("healthy", "lesion", "scar"))
    assert found.groups is not None
    assert len(set(found.groups)) == 3
    bad = answer("export", tmp_path / "x", "dataset=phantomz")
    assert bad.returncode == 1
    assert "phantoms" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_own_data_is_audited_in_all_splits_of_its_table(tmp_path: Path) -> None:
    table = write_folder(tmp_path, classes=("a", "b"))
    lines = table.read_text().splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    for number, row in enumerate(rows):
        row |= {"split": "held out" if number % 2 else "test", "patient": f"p{number // 2}"}
    write_table(table, rows)
    shutil.copy(tmp_path / "images/scan000.png", tmp_path / "stray.png")
    done = answer("audit", "dataset=folder", f"dataset.csv={table}")
    assert done.returncode == 0, done.stderr
    assert "! 1 picture in the folder is not in the table: left out" in done.stdout
    half = len(rows) // 2
    for split in ("test", "held out"):
        assert f"\n  {split}: {half} images of 224" in done.stdout
    shared = f"{half} patients are in two splits: test ({half} images) and held out ({half} images)"
    assert done.stdout.count("in two splits") == done.stdout.count(shared) == 1
    assert "is left out" not in done.stdout


def test_dicom_files_are_audited_with_what_a_reader_must_know(tmp_path: Path) -> None:
    table = write_scans(tmp_path)
    write_dicom(tmp_path / "series" / "further.dcm", slices(1)[0])
    done = answer("audit", "dicom", f"dataset.csv={table}")
    assert done.returncode == 0, done.stderr
    assert "! 1 DICOM file in the folder is not in the table: left out" in done.stdout
    assert "usable window" not in done.stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "error: dataset.csv must be given: add dataset.csv=VALUE to the command."),
        (["dataset.csv=nowhere.csv"], "error: table nowhere.csv not found."),
        (["dataset.pathh=x"], "Did you mean 'dataset.path_column'?"),
    ],
)
def test_an_audit_that_cannot_begin_says_so_in_one_line(typed: list[str], said: str) -> None:
    done = answer("audit", "folder", *typed)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout
