"""The presets of the RobustMedCLIP paper end to end, on tiny files in the published layouts."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from datasets import medmnist_arrays
from paper import MEDIMETA, MEDMNIST, classes, write_the_papers_models, write_the_twelve_sets
from run_entry import medrobust, rows

from medrobust.corruptions import suites
from medrobust.reporting import sections

SETS = (*MEDIMETA, *MEDMNIST)
SHORT = (
    "severity=3",
    "dataset.size=64",  # corruptions of a twelfth of the pixels
    "validation=false",
)
FOLDERS = ("model.local_dir=models/${model.name}", "model.resolution=null")
"""Weights as a user keeps them; tiny models have other sizes than the published ones."""

TUNED = (*SHORT, "task.fraction=0.5", "adapter.rank=2", "task.epochs=2", "task.optimizer.lr=0.01")
BOTH_BLOCKS = {name: 8 + (len(suites(name)) if name in MEDMNIST else 0) for name in SETS}
"""Cells of a set: clean, the seven of medimeta_c, then its own registry."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the twelve sets in data/."""
    folder = tmp_path_factory.mktemp("paper")
    write_the_twelve_sets(folder / "data", size=64)
    return folder


@pytest.fixture
def place(files: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the runs, which find the data; their pages go without curves."""
    monkeypatch.setenv("MEDROBUST_DATA", str(files / "data"))
    monkeypatch.setattr(sections, "curves_svg", lambda matrix: "")
    return workplace


@pytest.fixture(scope="module")
def shared(files: Path) -> Iterator[Path]:
    """The same folder with models/, and the cells of the reference in its store."""
    with pytest.MonkeyPatch.context() as patch:
        write_the_papers_models(files / "models", patch)
        patch.setenv("MEDROBUST_DATA", str(files / "data"))
        patch.setattr(sections, "curves_svg", lambda matrix: "")
        patch.chdir(files)
        one = ("experiment=robustmedclip_baselines", "model=clip_vit_b16")
        assert medrobust(*one, *SHORT, *FOLDERS, "hydra.sweep.dir=reference") == 0
        yield files


@pytest.fixture
def weights(shared: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared folder as the current one."""
    monkeypatch.chdir(shared)
    return shared


def cells(folder: str) -> dict[tuple[str, str], Counter[str]]:
    """Count the cells of a table: (model, adapter) -> data set -> cells."""
    counted: dict[tuple[str, str], Counter[str]] = {}
    for row in {
        (r["model"], r["adapter"], r["dataset"], r["cell"]) for r in rows(f"{folder}/results.csv")
    }:
        counted.setdefault(row[:2], Counter())[row[2]] += 1
    return counted


def records(recipe: str) -> list[dict[str, Any]]:
    """Read what the adapters of a recipe were made from."""
    files = Path("outputs/store/adapters").glob("*/medrobust.json")
    found = [json.loads(path.read_text()) for path in files]
    return [record for record in found if record["name"].startswith(f"{recipe} ")]


def beside(folder: str) -> dict[str, list[str]]:
    """Read the first table of published.md, which the page has too: model -> from, the numbers."""
    text = Path(folder, "published.md").read_text()
    page = Path(folder, "report.html").read_text()
    assert "Beside the published averages" in page
    assert "differences are listed, never tuned away" in page
    lines = [line.strip("| ").split(" | ") for line in text.split("Second block")[0].splitlines()]
    found = {line[0]: line[1:] for line in lines if len(line) == 4 and line[0] != "model"}
    for line in found.values():
        assert "<td>" + "</td><td>".join(line) + "</td>" in page
    assert found["RMedCLIP"] == ["published", "62.8", "81.0"]
    return found


def smooth(count: int, channels: int, seed: int) -> np.ndarray:
    """Pictures with large shapes, as photographs have: uint8 (count, 64, 64) or (..., 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, channels)).astype(np.uint8)
    large = [cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC) for one in noise]
    return np.stack(large)


def again(picture: np.ndarray, how: str) -> np.ndarray:
    """The same picture in other bytes."""
    if how == "jpeg":
        return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], -1)
    small = cv2.resize(picture, (40, 40), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR)


def plant(data: Path) -> list[str]:
    """Put test images of bloodmnist and octmnist among the training images of pbc and oct.

    Returns:
        Ids of the planted ones in pbc.
    """
    import h5py

    blood = medmnist_arrays("bloodmnist", (16, 16, 8), 64)
    blood["test_images"] = smooth(8, 3, seed=1)
    np.savez(data / "bloodmnist_64.npz", **blood)
    oct_ = medmnist_arrays("octmnist", (8, 8, 8), 64, seed=200)
    oct_["test_images"] = smooth(8, 1, seed=2)
    np.savez(data / "octmnist_64.npz", **oct_)
    planted = {
        "pbc": [blood["test_images"][0]]
        + [again(blood["test_images"][row], how) for row, how in ((1, "jpeg"), (2, "resized"))],
        "oct": [oct_["test_images"][3]],
    }
    ids = []
    for name, pictures in planted.items():
        folder = data / "medimeta" / name
        train = [Path(line).stem for line in (folder / "splits/train.txt").read_text().split()]
        with h5py.File(folder / "images.hdf5", "r+") as file:
            for stem, picture in zip(train, pictures, strict=False):
                file["images"][int(stem)] = picture
        ids += train[: len(pictures)]
    return [str(int(stem)) for stem in ids[:3]]


@pytest.mark.slow
def test_test_images_of_other_sets_are_taken_out_of_the_pools_and_counted(
    place: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(files / "data", "data")
    planted = plant(Path("data"))
    small = ("experiment=robustmedclip_paper", "model=phantomclip_small", *TUNED)
    options = ("corruption=medimeta_c", f"dataset.root={place / 'data'}", "hydra.sweep.dir=sweep")
    assert medrobust(*small, *options) == 0
    pool = sum(max(4, 2 * classes(name)) for name in SETS)
    sentence = (
        f"4 of {pool} images to tune on show the same as an image of an evaluated split and were "
        f"left out (oct/train 1 of 8, pbc/train 3 of 16)"
    )
    assert sentence in capsys.readouterr().out
    assert escape(sentence) in Path("sweep/report.html").read_text()
    (record,) = records("lora_r2")
    assert record["protocol"] == [sentence]
    pbc = next(data for data in record["data"] if data["dataset"] == "pbc")
    assert not set(planted) & {*pbc["shots"], *pbc["selection"]}
    assert len(pbc["shots"]) + len(pbc["selection"]) == 13
    assert cells("sweep") == {
        ("phantomclip_small", "lora_r2 50% draw 0"): dict.fromkeys(SETS, 8),
    }
    assert beside("sweep")["phantomclip_small + lora_r2 50% draw 0"] == ["this run", "–", "–"]


@pytest.mark.slow
def test_the_baselines_are_set_beside_the_published_averages(weights: Path) -> None:
    swept = ("experiment=robustmedclip_baselines", "corruption=medimeta_c", *SHORT, *FOLDERS)
    assert medrobust(*swept, "hydra.sweep.dir=baselines") == 0
    names = ("clip_vit_b16", "medclip_vit", "biomedclip", "unimedclip_b16", "robustmedclip_vit")
    assert cells("baselines") == {(name, "none"): dict.fromkeys(SETS, 8) for name in names}
    table = beside("baselines")
    assert table["clip_vit_b16"] == ["this run", "100.0", "100.0"]
    assert [table[name][0] for name in names] == ["this run"] * 5
    assert all("–" not in table[name] for name in names)


@pytest.mark.slow
def test_the_papers_protocol_made_sound_runs_to_its_page(weights: Path) -> None:
    sweep = ("experiment=robustmedclip_paper", *TUNED, *FOLDERS)
    assert medrobust(*sweep, "hydra.sweep.dir=paper") == 0
    (record,) = records("lora_r2")
    task, data = record["task"], record["data"]
    assert (task["label_space"], task["choose"], task["pool"]) == ("per_dataset", "best", "train")
    assert [one["dataset"] for one in data] == list(SETS)
    for one in data:
        assert one["selection_split"] == "train"
        assert one["selection"]
        assert not set(one["shots"]) & set(one["selection"])
    assert "belonging" not in json.dumps(record["prompts"])
    assert cells("paper") == {("biomedclip", "lora_r2 50% draw 0"): BOTH_BLOCKS}
    table = beside("paper")
    assert "–" not in table["biomedclip + lora_r2 50% draw 0"]
    second = Path("paper/published.md").read_text().split("Second block")[1]
    assert f"mean over {', '.join(MEDMNIST)}" in second
    found = re.search(r"\| biomedclip \+ lora_r2 50% draw 0 \| this run \| ([\d.]+) \| ", second)
    assert found is not None
    assert "left out" in record["protocol"][0]


@pytest.mark.slow
def test_their_exact_protocol_chooses_on_test_over_57_classes_and_says_so(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows_beside = ("experiment=robustmedclip_baselines", "model=clip_vit_b16", "prompts=paper")
    order = ("dataset.label_order=robustmedclip", "corruption=medimeta_c")
    assert medrobust(*rows_beside, *order, *SHORT, *FOLDERS, "hydra.sweep.dir=theirs") == 0
    sweep = ("experiment=robustmedclip_paper_exact", "corruption=medimeta_c", *TUNED, *FOLDERS)
    assert medrobust(*sweep, "hydra.sweep.dir=exact") == 0
    (record,) = records("lora_exact_r2")
    task, data = record["task"], record["data"]
    assert (task["label_space"], task["features"], task["schedule"]) == ("joint", "raw", "constant")
    assert sum(len(one["class_names"]) for one in data) == 57
    assert {one["pool"] for one in data} == {"val"}
    assert {one["selection_split"] for one in data} == {"test"}
    assert [len(one["selection"]) for one in data] == [max(8, classes(name)) for name in SETS]
    assert "belonging to {dataset}" in json.dumps(record["prompts"])
    assert cells("exact") == {("biomedclip", "lora_exact_r2 50% draw 0"): dict.fromkeys(SETS, 8)}
    left_in, chosen = record["protocol"]
    assert "were left in (aml/val" in left_in
    assert "chosen by the errors of the evaluated split (test), so that these are too low" in chosen
    printed, page = capsys.readouterr().out, Path("exact/report.html").read_text()
    for sentence in (left_in, chosen):
        assert sentence in printed
        assert escape(sentence) in page
    assert "–" not in beside("exact")["biomedclip + lora_exact_r2 50% draw 0"]


@pytest.mark.slow
def test_an_adapter_a_set_sees_that_set_alone(weights: Path) -> None:
    sweep = ("experiment=robustmedclip_per_set", "corruption=medimeta_c", *TUNED, *FOLDERS)
    assert medrobust(*sweep, "hydra.sweep.dir=apart") == 0
    made = records("lora_per_set_r2")
    assert sorted(one["dataset"] for record in made for one in record["data"]) == sorted(SETS)
    assert {len(record["data"]) for record in made} == {1}
    name = "lora_per_set_r2 50% draw 0"
    assert cells("apart") == {("biomedclip", name): dict.fromkeys(SETS, 8)}
    assert "–" not in beside("apart")[f"biomedclip + {name}"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["clip_rn50", "medclip_resnet50"])
def test_the_convolutions_of_residual_networks_are_tuned_too(weights: Path, model: str) -> None:
    sweep = ("experiment=robustmedclip_paper", f"model={model}", "adapter.targets=[conv]")
    options = ("adapter.name=convolutions", "corruption=brightness", *TUNED, *FOLDERS)
    assert medrobust(*sweep, *options, f"hydra.sweep.dir={model}") == 0
    (record,) = [one for one in records("convolutions") if one["base"]["name"] == model]
    assert record["metrics"]["touched modules"] >= 12
    assert cells(model) == {(model, "convolutions 50% draw 0"): dict.fromkeys(SETS, 2)}
