"""The page's lines with published models and sets run, on random weights in their layouts."""

import re
import shlex
from pathlib import Path

import checkpoints
import numpy as np
import pytest
from datasets import medmnist_arrays, write_table
from PIL import Image
from run_entry import medrobust, rows

from medrobust.datasets.published.medmnist_facts import medmnist_facts

PAGE = (Path(__file__).parents[2] / "docs" / "anomaly.md").read_text("utf-8")
LINES = [line for line in re.findall(r"^    python run.py (.*)$", PAGE, re.M) if "model=" in line]
SHORT = ("corruption=gaussian_noise", "severity=3", "model.resolution=null", "hydra.run.dir=out")
SIZE, IMAGES = 64, 24


def write_set(flag: str) -> np.ndarray:
    """Write a set as published, and return labels of test: of several, half of them none."""
    arrays = medmnist_arrays(flag, counts=(IMAGES,) * 3, size=SIZE)
    if medmnist_facts(flag).label_kind.startswith("multi-label"):
        for split in ("train", "val", "test"):
            arrays[f"{split}_labels"][:] = 0
            arrays[f"{split}_labels"][range(1, IMAGES, 2), range(IMAGES // 2)] = 1
    Path("data").mkdir(exist_ok=True)
    np.savez_compressed(f"data/{flag}_{SIZE}.npz", **arrays)
    return arrays["test_labels"]


def write_picture(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE))
    Image.fromarray(pixels.astype(np.uint8)).save(file)


def write_bmad() -> None:
    for folder, states in (("train", ["good"]), ("valid", ["good", "Ungood"])):
        for split in (folder, "test") if folder == "valid" else (folder,):
            for number, state in enumerate(states * 4):
                name, place = f"{split}{number}.png", Path("bmad", "Brain_AD", split, state)
                write_picture(place / "img" / name, number)
                if state == "Ungood":
                    lesion = np.zeros((SIZE, SIZE), np.uint8)
                    lesion[10:30, 20:40] = 255
                    (place / "anomaly_mask").mkdir(exist_ok=True)
                    Image.fromarray(lesion).save(place / "anomaly_mask" / name)


def write_own() -> None:
    table = []
    for number in range(24):
        write_picture(Path(f"{number}.png"), number)
        state, split = ("normal", "abnormal")[number % 2], ("train", "val", "test")[number % 3]
        table.append({"path": f"{number}.png", "label": state, "split": split})
    write_table(Path("labels.csv"), table)


def run(line: str) -> dict[str, dict[str, str]]:
    """Run a line of the page on small files, and return what it says of clean images."""
    asked = dict(one.split("=", 1) for one in shlex.split(line))
    flag, further = asked["dataset"], {"dataset.size": f"{SIZE}"}
    if flag.startswith("bmad"):
        write_bmad()
        further = {"dataset.root": "bmad"}
    elif flag == "folder":
        write_own()
    else:
        write_set(flag)
        further["dataset.root"] = "data"
    folder = Path("weights")
    folder.mkdir()
    biomedclip = asked["model"] == "biomedclip"
    write = checkpoints.write_random_biomedclip if biomedclip else checkpoints.write_random_clip
    write(folder)
    given = {**asked, **further, "model.local_dir": "weights"}
    assert medrobust(*(f"{key}={value}" for key, value in given.items()), *SHORT) == 0
    return {row["metric"]: row for row in rows("out/results.csv") if row["severity"] == "0"}


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=() if "chestmnist" in line else pytest.mark.slow) for line in LINES],
)
def test_a_line_of_the_page_runs_on_the_published_layouts(workplace: Path, line: str) -> None:
    found = run(line)
    assert {"misranked_pairs", "false_alarm_rate", "missed_abnormal_rate"} <= set(found)
    assert ("aupro" in found) == ("bmad_brain" in line)
    for row in found.values():
        assert 0 <= float(row["value"]) <= 1
    if "chestmnist" in line:
        flagged, facts = write_set("chestmnist"), medmnist_facts("chestmnist")
        stated = re.findall(r"\[(.*?)\]", line)
        own = [name in stated[0].split(",") for name in facts.class_names] if stated else [False]
        other = flagged * ~np.array(own)
        normal = int((other.sum(axis=1) == 0).sum())
        assert normal == IMAGES // 2 + sum(own)
        assert int(found["false_alarm_rate"]["n"]) == normal
        assert int(found["missed_abnormal_rate"]["n"]) == IMAGES - normal
