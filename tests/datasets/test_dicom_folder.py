"""A job on the folder of pydicom's own test files, as they are: ten of them have a row."""

import html
import re
import shutil
from pathlib import Path

import pydicom
import pytest
from datasets import write_table
from pydicom.data.data_manager import DATA_ROOT
from run_entry import medrobust

CHOSEN = (
    "693_J2KI.dcm",
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "JPEGLSNearLossless_08.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "dicomdirtests/77654033/CR1/6154",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "image_dfl.dcm",
)


def without_an_image(file: Path) -> bool:
    """Say of a file that a search meets, by pydicom itself, whether it has no image."""
    named = file.suffix in (".dcm", ".dicom", ".ima")
    if not named and file.read_bytes()[128:132] != b"DICM":
        return False  # not met: it is neither called DICOM nor begins so
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    except Exception:  # of whatever kind: it cannot be read
        return True
    return not header.get("Rows") or not header.get("SOPInstanceUID")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_folder_of_all_kinds_of_files_ends_in_a_report_that_lists_what_was_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "files"
    shutil.copytree(Path(DATA_ROOT) / "test_files", folder)
    rows = []
    for number, name in enumerate(CHOSEN):
        uid = pydicom.dcmread(folder / name, stop_before_pixels=True).SOPInstanceUID
        rows.append({"sop_instance_uid": uid, "label": "ab"[number % 2], "patient": f"p{number}"})
    write_table(Path("labels.csv"), rows)
    status = medrobust(
        "model=phantomclip_small", "corruption=clean", "validation=false", "dataset=dicom",
        "dataset.csv=labels.csv", "dataset.root=files", "dataset.match=instance",
        "dataset.modality=x-ray",
    )  # fmt: skip
    assert status == 0
    (page,) = tmp_path.glob("outputs/runs/*/report.html")
    text = html.unescape(page.read_text(encoding="utf-8"))
    listed = " ".join(re.findall(r"passed over: [^<]*", text))
    missing = [
        name
        for name in sorted(p.name for p in folder.rglob("*") if p.is_file() and without_an_image(p))
        if not re.search(rf"[ /]{re.escape(name)}[,; ]", listed)
    ]
    assert missing == []
    assert "dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/IM000000" in listed
    assert not any(f"{Path(name).name}," in listed for name in CHOSEN)
    assert "DICOM files in the folder are not in the table: left out" in text
    (table,) = tmp_path.glob("outputs/runs/*/summary.csv")
    assert "passed over" not in table.read_text(encoding="utf-8")  # tables stay short
