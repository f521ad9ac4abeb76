"""Runs whose corruptions are in a region: masks of the computer, of the set, and of a column."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import write_folder, write_medmnist, write_table
from dicoms import write_dicom
from PIL import Image
from run_entry import medrobust, rows

from medrobust.corruptions import Corruption
from medrobust.datasets import Folder, PhantomLesions
from medrobust.evaluation.regions import with_masks
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError

SIZE = 64


def masked_folder(folder: Path) -> Path:
    """A folder of pictures, each with a mask of its left half, named in a column."""
    table = write_folder(folder, size=(SIZE, SIZE))
    (folder / "masks").mkdir()
    with table.open() as stream:
        given = list(csv.DictReader(stream))
    left = np.zeros((SIZE, SIZE), np.uint8)
    left[:, : SIZE // 2] = 255
    for number, row in enumerate(given):
        row["mask"] = f"masks/{number}.png"
        Image.fromarray(left).save(folder / row["mask"])
    return write_table(table, given)


def columns(region_of: str) -> tuple[Corruption, ...]:
    return Corruption("contrast", region="mask", region_of=region_of).expand(None)


def test_masks_of_a_column_are_fitted_like_the_pictures_and_found_by_index(tmp_path: Path) -> None:
    table = masked_folder(tmp_path)
    source = Folder(csv=str(table), size=SIZE, cache_dir=str(tmp_path / "cache"))
    image_set = source.load("test")
    (column,) = with_masks(columns("masks"), image_set)
    chosen = np.array([4, 1])
    stored = torch.from_numpy(np.stack([image_set.images[row] for row in chosen]))
    clean = stored.permute(0, 3, 1, 2).contiguous()
    index = torch.from_numpy(image_set.index[chosen])
    found = column(clean, severity=5, index=index)
    assert torch.equal(found[..., SIZE // 2 :], clean[..., SIZE // 2 :])
    assert (found[..., : SIZE // 2] != clean[..., : SIZE // 2]).float().mean() > 0.5
    before = column.identity(5)
    Image.new("L", (SIZE, SIZE), 255).save(tmp_path / "masks" / "0.png")
    (again,) = with_masks(columns("masks"), source.load("test"))
    assert again.identity(5) != before, "another mask makes other cells"


def test_masks_of_the_set_are_those_of_its_target(tmp_path: Path) -> None:
    source = PhantomLesions(per_class=2, cache_dir=str(tmp_path))
    image_set = source.load("test")
    (column,) = with_masks(columns("masks"), image_set)
    masks = np.asarray(image_set.target.masks) != 0
    row = int(masks.any(axis=(1, 2)).argmax())
    stored = torch.from_numpy(np.array(image_set.images[row : row + 1]))
    clean = stored.permute(0, 3, 1, 2) if stored.ndim == 4 else stored[:, None]
    index = torch.from_numpy(image_set.index[row : row + 1])
    changed = (column(clean.contiguous(), severity=5, index=index) != clean).any(dim=1)[0].numpy()
    assert changed.any()
    assert not (changed & ~masks[row]).any()


def test_masks_that_a_set_has_not_are_refused_in_a_sentence(tmp_path: Path) -> None:
    table = write_folder(tmp_path, size=(SIZE, SIZE))
    source = Folder(csv=str(table), size=SIZE, cache_dir=str(tmp_path / "cache"))
    image_set = source.load("test")
    with pytest.raises(ConfigurationError, match="has no masks"):
        with_masks(columns("masks"), image_set)
    with pytest.raises(ConfigurationError, match="region_of='lungs' is none of foreground, disc"):
        columns("lungs")


@pytest.mark.slow
def test_a_run_keeps_regions_apart_from_the_whole_image_and_from_each_other(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_medmnist(workplace / "data", "bloodmnist", counts=(8, 8, 16), size=SIZE)
    monkeypatch.setenv("MEDROBUST_DATA", str(workplace / "data"))
    short = ("dataset=bloodmnist", f"dataset.size={SIZE}", "corruption=contrast", "severity=4")
    short = (*short, "model=phantomclip_small", "validation=false", "prompts=bare")
    for words in ((), ("corruption.region=outside",), ("corruption.region=mask",)):
        assert medrobust(*short, *words, "hydra.run.dir=run") == 0
    cells = list(Store(Path("outputs/store")).cells())
    suites = {cell.spec.suite for cell in cells if cell.spec.severity}
    assert suites == {
        "imagenet_c",
        "imagenet_c@outside_foreground",
        "imagenet_c@inside_foreground",
    }
    assert len(cells) == 1 + 3, "the clean cell is shared"
    assert {row["suite"] for row in rows("run/results.csv") if row["severity"] != "0"} == {
        "imagenet_c@inside_foreground"
    }


@pytest.mark.slow
def test_runs_on_stored_values_and_on_parts_of_them_are_read_back_and_verified(
    workplace: Path,
) -> None:
    drawn = np.random.default_rng(0).integers(-200, 300, (4, SIZE, SIZE)).astype(np.int16)
    for number, pixels in enumerate(drawn):
        tags = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0}
        shown = {"WindowCenter": 40, "WindowWidth": 400, "PatientID": f"{number}"}
        write_dicom(Path(f"{number}.dcm"), pixels, **tags, **shown)
    write_table(Path("labels.csv"), [{"path": f"{n}.dcm", "label": "ab"[n % 2]} for n in range(4)])
    short = ("dataset=dicom", "dataset.csv=labels.csv", "dataset.modality=CT", "audit=false")
    short = (*short, "dataset.size=64", "model=phantomclip_small", "validation=false")
    short = (*short, "corruption=ring_artifact", "corruption.domain=stored", "severity=3")
    radius = ("readings=robustness_radius", "readings.robustness_radius.resolution=1")
    for words in (radius, ("corruption.region=mask",)):
        assert medrobust(*short, *words, "hydra.run.dir=run") == 0
    cells = [cell for cell in Store(Path("outputs/store")).cells() if cell.spec.severity]
    suites = {cell.spec.suite for cell in cells}
    assert suites == {
        "ct_physics@stored",
        "ct_physics@stored@between",
        "ct_physics@stored@inside_foreground",
    }
    assert {row["suite"] for row in rows("run/results.csv") if row["severity"] != "0"} == {
        "ct_physics@stored@inside_foreground"
    }
    assert medrobust("verify", "outputs/store", "--cells", "9", "dataset.csv=labels.csv") == 0


def test_equalised_levels_and_regions_exclude_each_other(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("dataset=phantoms_site_b", "dataset.per_class=1", "corruption=contrast")
    assert medrobust(*asked, "severity=ssim", "corruption.region=mask", "dry_run=true") == 1
    assert "contrast is in a region" in capsys.readouterr().err


def test_windows_that_miss_are_refused_by_the_plan_of_whole_images(workplace, capsys) -> None:
    asked = ("model=phantomclip_small", "dataset.per_class=1", "corruption=crop_shift")
    assert medrobust(*asked, "dry_run=true") == 1
    assert "moves the windows of lesions, and data set 'phantoms'" in capsys.readouterr().err
