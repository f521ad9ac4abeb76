"""Published corrupted files become cells of a run."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import medmnist_arrays, write_medmnist, write_robustmedclip
from run_entry import medrobust

from medrobust.corruptions import corrupt

FILES = ("dataset=medmnist_repacked_files", "dataset.sets=[octmnist]")
NAMES = ("contrast", "pixelate")


def rows(folder: str) -> list[dict[str, str]]:
    with Path(folder, "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def repacked(workplace: Path) -> Path:
    """octmnist with corrupted files that are exactly what corrupting on the fly makes."""
    write_medmnist(workplace, "octmnist", counts=(1, 1, 8))
    arrays = medmnist_arrays("octmnist", counts=(1, 1, 8))
    folder = write_robustmedclip(
        workplace / "medmnist_repacked",
        "octmnist",
        (),
        arrays["test_images"],
        arrays["test_labels"],
    )
    for name in NAMES:
        for severity in (1, 5):
            images = torch.from_numpy(arrays["test_images"])[:, None]
            out = corrupt(images, name, severity=severity, index=torch.arange(8))
            np.savez(
                folder / f"{name}_severity_{severity}.npz",
                images=out[:, 0].numpy(),
                labels=arrays["test_labels"],
            )
    return workplace


def test_published_files_give_the_numbers_of_their_pixels_under_a_suite_of_their_own(
    repacked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ("model=phantomclip_small", "corruption=contrast", "severity=1,5", "validation=false")
    shared += ("model.micro_batch=8",)
    files = (
        "dataset=medmnist_repacked_files",
        "dataset.sets=[octmnist]",
        f"dataset.root={repacked}",
    )
    assert medrobust(*shared, *files, "hydra.run.dir=files") == 0
    fly = ("dataset=octmnist", f"dataset.root={repacked}")
    assert medrobust(*shared, *fly, "hydra.run.dir=fly") == 0
    published, computed = rows("files"), rows("fly")
    assert {r["suite"] for r in published} == {"none", "medmnist_repacked_files"}
    assert {r["suite"] for r in computed} == {"none", "imagenet_c"}
    values = [[(r["severity"], r["metric"], r["value"]) for r in t] for t in (published, computed)]
    assert values[0] == values[1]
    clean = [[r["cell"] for r in t if r["severity"] == "0"] for t in (published, computed)]
    assert clean[0] == clean[1], "equal clean images are one cell"
    capsys.readouterr()
    assert medrobust(*shared, *files, "hydra.run.dir=again") == 0
    assert rows("again") == published


def test_a_file_that_is_missing_stops_the_run_before_it_begins(
    repacked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (
        "dataset=medmnist_repacked_files",
        "dataset.sets=[octmnist]",
        f"dataset.root={repacked}",
    )
    assert medrobust("model=phantomclip_small", "corruption=medimeta_c", *files) == 1
    message = capsys.readouterr().err
    assert "gaussian_noise_severity_1.npz not found" in message
    assert "contrast, pixelate" in message
    assert not list(Path("outputs/store").glob("cells/**/cell.json"))


@pytest.mark.slow
def test_a_collection_makes_one_table_a_member(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("octmnist", "bloodmnist"):
        write_medmnist(workplace, flag, counts=(1, 1, 12))
    sets = ("dataset=medmnist", "dataset.sets=[octmnist,bloodmnist]", "dataset.limit=8")
    run = ("model=phantomclip_small", "corruption=contrast", "severity=5", "hydra.run.dir=out")
    assert medrobust(*run, *sets, f"dataset.root={workplace}") == 0
    found = rows("out")
    assert list(dict.fromkeys(r["dataset"] for r in found)) == ["octmnist", "bloodmnist"]
    assert {r["n"] for r in found} == {"8"}
    assert "subset of 8 of 12 images" in " ".join(capsys.readouterr().out.split())
