"""Scripts for own data: hashes back to files, any set to PNG and a table."""

import csv
import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from datasets import write_folder, write_medmnist
from dicoms import write_scans
from run_script import script

from medrobust.cli import composed
from medrobust.datasets import Dicom, MedMNIST
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.plan import built


def again(printed: str) -> ImageSet:
    """Open what the printed command opens."""
    overrides = shlex.split(printed.strip().splitlines()[-1])[2:]
    return built(composed(overrides), "dataset").load()


def test_hashes_are_revealed_to_whoever_holds_the_key(tmp_path: Path) -> None:
    table = write_scans(tmp_path, 4)
    found = Dicom(csv=str(table), size=48).load()
    key = ("--key", tmp_path / ".medrobust_key")
    given = ("dataset=dicom", f"dataset.csv={table}")
    done = script("audit_data", *key, *given)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["id"] for row in rows] == found.ids.tolist()
    assert [row["file"] for row in rows] == [f"series/IM{n:04d}.dcm" for n in range(4)]
    assert [row["patient"] for row in rows] == ["MRN-00000"] * 2 + ["MRN-00001"] * 2
    one = script("audit_data", *key, *given, "--id", found.ids[2])
    assert [row["file"] for row in csv.DictReader(io.StringIO(one.stdout))] == ["series/IM0002.dcm"]
    (tmp_path / "other").write_text("0" * 64)
    wrong = script("audit_data", "--key", tmp_path / "other", *given, "--id", found.ids[2])
    assert wrong.returncode == 1
    assert "unknown with this key" in wrong.stderr
    public = script("audit_data", *key, "dataset=phantoms")
    assert public.stderr.startswith("error: data set 'phantoms' hides no identifiers")
    assert "Traceback" not in public.stderr


@pytest.mark.parametrize("flag", ["breastmnist", "chestmnist", "retinamnist", "bloodmnist"])
def test_any_set_is_written_as_files_that_give_the_same_set(tmp_path: Path, flag: str) -> None:
    write_medmnist(tmp_path, flag, counts=(3, 2, 16), size=28)
    source = (f"dataset={flag}", f"dataset.root={tmp_path}", "dataset.size=28")
    done = script("export_images", tmp_path / "out", *source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("21 images of train, val, test.")
    stored = MedMNIST(flag, root=str(tmp_path), size=28).load()
    found = again(done.stdout)
    np.testing.assert_array_equal(found.images, stored.images)
    np.testing.assert_array_equal(found.labels, stored.labels)
    for name in ("class_names", "task", "positive", "split", "modality"):
        assert getattr(found, name) == getattr(stored, name)
    full = script("export_images", tmp_path / "out", *source)
    assert full.returncode == 1
    assert "is not empty" in full.stderr


def test_own_data_is_written_without_its_names(tmp_path: Path) -> None:
    table = write_folder(tmp_path / "in")
    source = ("dataset=folder", f"dataset.csv={table}", "dataset.size=32")
    done = script("export_images", tmp_path / "out", *source)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out/labels.csv").read_text()
    names = text + "".join(path.name for path in (tmp_path / "out").rglob("*"))
    for secret in ("scan", "MRN"):
        assert secret not in names
    found = again(done.stdout)
    assert (len(found), found.class_names) == (6, ("healthy", "lesion", "scar"))
    assert found.groups is not None
    assert len(set(found.groups)) == 3
    bad = script("export_images", tmp_path / "x", "dataset=phantomz")
    assert bad.returncode == 1
    assert "phantoms" in bad.stderr
    assert "Traceback" not in bad.stderr
