"""Tiny files in exactly the published layouts, for tests of any room."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medrobust.datasets.medmnist_facts import medmnist_facts

SPLITS = ("train", "val", "test")


def random_images(count: int, size: int, channels: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, size, size) or (count, size, size, 3): noise over a gradient of its own."""
    rng = np.random.default_rng(seed)
    shape = (count, size, size) if channels == 1 else (count, size, size, 3)
    base = rng.integers(0, 200, (count, 1, 1) + ((1,) if channels == 3 else ()))
    return (base + rng.integers(0, 56, shape)).astype(np.uint8)


def medmnist_arrays(
    flag: str, counts: Sequence[int] = (8, 4, 8), size: int = 224
) -> dict[str, np.ndarray]:
    """Arrays of a MedMNIST file: every class occurs in every split that has room for it."""
    facts = medmnist_facts(flag)
    classes = len(facts.class_names)
    arrays = {}
    for position, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        labels = (np.arange(count) % classes)[:, None]
        if facts.task == "multi-label, binary-class":
            labels = np.random.default_rng(position).integers(0, 2, (count, classes))
        arrays[f"{split}_images"] = random_images(count, size, facts.channels, seed=position)
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    return arrays


def write_medmnist(
    folder: Path, flag: str, counts: Sequence[int] = (8, 4, 8), size: int = 224
) -> Path:
    """Write `<flag>_224.npz` (28: `<flag>.npz`) as published, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz")
    np.savez_compressed(file, **medmnist_arrays(flag, counts, size))
    return file


def write_table(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV, the keys of the first one as header."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_folder(
    folder: Path,
    classes: Sequence[str] = ("healthy", "lesion", "scar"),
    *,
    per_class: int = 4,
    size: tuple[int, int] = (60, 40),
    suffix: str = ".png",
    channels: int = 3,
) -> Path:
    """Write images and `labels.csv` (path, label, split, patient); return the table's path.

    Half of the images are of split "test", the others of "train"; two images a patient.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    rng = np.random.default_rng(3)
    for number in range(per_class * len(classes)):
        shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], 3)
        path = f"images/scan{number:03d}{suffix}"
        pixels = rng.integers(0, 256, shape).astype(np.uint8)
        Image.fromarray(pixels).save(folder / path)
        rows.append(
            {
                "path": path,
                "label": classes[number % len(classes)],
                "split": "test" if number < per_class * len(classes) // 2 else "train",
                "patient": f"MRN-{number // 2:05d}",
            }
        )
    return write_table(folder / "labels.csv", rows)
