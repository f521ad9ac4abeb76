"""docs/first-report.md, as a new user: the two folders, and the commands one after the other."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_folder, write_table
from dicoms import slices, write_dicom
from hydra.core.global_hydra import GlobalHydra
from pages import ROOT, Command, commands
from run_entry import answer

from medrobust.cli import entry as cli

PAGE = "docs/first-report.md"
COMMANDS = [c for c in commands() if c.page == PAGE and "\n" not in c.text and "--" not in c.text]
OFFLINE = [
    c for c in COMMANDS if c.words[0] in ("python", "medrobust") and "biomedclip" not in c.text
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several sizes with patients, and DICOM files that a table names by instance."""
    root = tmp_path_factory.mktemp("user")
    write_folder(root / "xrays", classes=("normal", "pneumonia"), per_class=3)
    rows = []
    for number, pixels in enumerate(slices(6)):
        uid = f"1.2.826.0.1.3680043.8.498.{number + 1}"
        file = root / "dicoms" / f"series{number % 2}" / f"IM{number:03d}"
        write_dicom(file, pixels.astype(np.uint16), SOPInstanceUID=uid, PatientID=f"P{number // 2}")
        rows.append({"sop_instance_uid": uid, "label": ("normal", "pneumonia")[number % 2]})
    write_table(root / "dicom_labels.csv", rows)
    return root


@pytest.mark.parametrize("command", OFFLINE, ids=lambda c: c.text[:50])
def test_each_step_of_the_first_report_works(
    command: Command, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    program, *given = command.words
    if program == "medrobust":
        done = answer(*given)
        assert done.returncode == 0, done.stderr
        assert (folders / "dicoms" / "sheet.png").is_file()
        return
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main([*given[1:], "model.micro_batch=3", "hydra.run.dir=last", "hydra.sweep.dir=last"])
    assert done.value.code == 0
    if "dry_run=true" not in given:
        page = (folders / "last" / "report.html").read_text(encoding="utf-8")
        assert "demonstration only, says nothing about medicine" in page
        for hidden in ("MRN-", "scan00", "IM00"):
            assert hidden not in page


def test_the_page_has_the_steps_that_are_tried() -> None:
    assert len(OFFLINE) == 4
    assert (ROOT / PAGE).is_file()
