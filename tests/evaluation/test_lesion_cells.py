"""Cells of lesions: a box of the whole image is that image, and joining one changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_table
from PIL import Image
from run_entry import answer, rows

from medrobust.base.targets import WindowLabels
from medrobust.evaluation.store import Store, StoredCell

SIZE = 64
SHORT = (
    *("model=phantomclip_small", "corruption=gaussian_noise", "severity=3", "validation=false"),
    *("prompts=bare", f"dataset.size={SIZE}", "dataset.name=scans", "dataset.positive=mass"),
)


@pytest.fixture
def folder(workplace: Path) -> Path:
    rng = np.random.default_rng(4)
    images, boxes = [], []
    for number in range(8):
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(workplace / f"scan{number}.png")
        label = ("cyst", "mass")[number % 2]
        images.append({"path": f"scan{number}.png", "label": label, "patient": f"p{number}"})
        box = {"x": 0, "y": 0, "w": SIZE, "h": SIZE}
        boxes.append({"image": f"scan{number}.png", "label": label, **box})
    write_table(workplace / "labels.csv", images)
    write_table(workplace / "boxes.csv", boxes)
    return workplace


def cells(folder: str) -> dict[str, StoredCell]:
    return {cell.spec.corruption: cell for cell in Store(Path(folder)).cells()}


@pytest.mark.slow
def test_a_box_of_the_whole_image_is_plain_classification_to_the_bit(folder: Path) -> None:
    plain = ("dataset=folder", "dataset.csv=labels.csv", "store.dir=plain", "hydra.run.dir=one")
    boxed = ("dataset=lesions", "dataset.csv=labels.csv", "dataset.boxes=boxes.csv")
    ways = (*boxed, "store.dir=boxed", "hydra.run.dir=two", "aggregate=image")
    for words in (plain, ways):
        done = answer(*SHORT, *words)
        assert done.returncode == 0, done.stderr
    first, second = cells("plain"), cells("boxed")
    assert first.keys() == second.keys() == {"clean", "gaussian_noise"}
    for name, cell in first.items():
        np.testing.assert_array_equal(cell.arrays["logits"], second[name].arrays["logits"])
    target = second["clean"].data.target
    assert isinstance(target, WindowLabels)
    np.testing.assert_array_equal(target.lesions.values, [[0, 0, SIZE, SIZE]] * 8)
    numbers = [
        {
            (row["corruption"], row["metric"]): (row["value"], row["low"], row["high"])
            for row in rows(f"{run}/results.csv")
            if row["dataset"] == name
        }
        for run, name in (("one", "scans"), ("two", "scans"), ("two", "scans by whole image (max)"))
    ]
    assert numbers[0] == numbers[1]
    assert len(numbers[2]) > 5
    assert numbers[2] == {key: numbers[0][key] for key in numbers[2]}


@pytest.mark.slow
def test_a_grid_is_classified_and_read_back_from_the_store(folder: Path) -> None:
    words = ("dataset=lesions", "dataset.csv=labels.csv", "dataset.boxes=boxes.csv")
    done = answer(*SHORT[:-1], *words, "dataset.grid=2", "dataset.background=fat")
    assert done.returncode == 0, done.stderr
    clean = cells("outputs/store")["clean"]
    assert clean.arrays["logits"].shape == (32, 3)
    assert clean.data.class_names == ("fat", "cyst", "mass")
