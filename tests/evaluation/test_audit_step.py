"""An ordinary run finds repeated pictures without being asked, and says so everywhere."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import medmnist_arrays
from PIL import Image
from run_entry import medrobust

from medrobust.datasets.phantoms.source import phantom

RUN = ("model=phantomclip_small", "dataset=dermamnist", "dataset.root=.", "corruption=pixelate",
       "severity=1", "validation=false", "model.micro_batch=7")  # fmt: skip
FOUND = "3 images of test nearly repeat one of train, 1 identical"
PAIRS = f"{FOUND} (ids 0=7, 1=8, 2=9)"


@pytest.fixture
def planted(workplace: Path, monkeypatch: Any) -> Path:
    """Test images 0 to 2 are in train, too: as they are, as a JPEG, at half size and back."""
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    arrays = medmnist_arrays("dermamnist", (20, 4, 14))
    arrays["train_images"] = np.stack([phantom(row, split="train") for row in range(20)])
    arrays["test_images"] = np.stack([phantom(row, split="test") for row in range(14)])
    exact, encoded, small = arrays["test_images"][:3]
    stream = io.BytesIO()
    Image.fromarray(encoded).save(stream, "JPEG", quality=50)
    half = Image.fromarray(small).resize((112, 112))
    arrays["train_images"][7] = exact
    arrays["train_images"][8] = np.asarray(Image.open(stream))
    arrays["train_images"][9] = np.asarray(half.resize((224, 224)))
    np.savez(workplace / "dermamnist_224.npz", **arrays)
    return workplace


def words(text: str) -> str:
    return " ".join(text.split())


def test_test_images_in_train_are_shown_by_an_ordinary_run(planted: Path, capfd: Any) -> None:
    assert medrobust(*RUN, "hydra.run.dir=first") == 0
    assert FOUND in words(capfd.readouterr().out)
    page = Path("first/report.html").read_text(encoding="utf-8")
    assert page.count(FOUND) >= 2, "below the table and in the audit"
    assert page.count(PAIRS) == 1, "in the audit alone"
    assert FOUND in Path("first/summary.csv").read_text()
    (file,) = Path("outputs/store/data").glob("*/data.json")
    assert json.loads(file.read_text())["facts"]["compared"] == ["test", "train", "val"]
    results = Path("first/results.csv").read_bytes()
    assert medrobust(*RUN, "audit=false", "store.dir=other", "hydra.run.dir=second") == 0
    assert Path("second/results.csv").read_bytes() == results
    assert "Not looked at: audit=false" in Path("second/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_sweep_says_it_in_its_joint_report(planted: Path, capfd: Any) -> None:
    sweep = ("-m", *RUN[:4], "severity=1,3", RUN[5], "hydra.sweep.dir=sweep")
    assert medrobust(*sweep) == 0
    assert words(capfd.readouterr().out).count(FOUND) == 1
    page = Path("sweep/report.html").read_text(encoding="utf-8")
    assert FOUND in page
    titles = re.findall(r"Configuration: ([^<]+)<", page)
    assert titles == [f"phantomclip_small · severity.levels=[{level}]" for level in (1, 3)]


@pytest.mark.slow
def test_an_audit_that_cannot_be_made_stops_no_run(
    workplace: Path, capfd: Any, monkeypatch: Any
) -> None:
    from medrobust.evaluation import audit_step as audited
    from medrobust.exceptions import StoreError

    def full(*_: Any) -> None:
        raise StoreError("the cache needs 9.0 GB.")

    monkeypatch.setattr(audited, "look", full)
    run = ("model=phantomclip_small", *RUN[3:], "dataset.per_class=1", "hydra.run.dir=run")
    assert medrobust(*run) == 0
    assert "phantoms: its pictures are not looked at for repeats" in words(capfd.readouterr().err)
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "not looked for. Not looked at: the cache needs 9.0 GB" in page
