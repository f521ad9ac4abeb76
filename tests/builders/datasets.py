"""Tiny files in exactly the published layouts, for tests of any room."""

import csv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medrobust.datasets.published.medmnist_facts import medmnist_facts

SPLITS = ("train", "val", "test")


def random_images(count: int, size: int, channels: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, size, size) or (count, size, size, 3): noise over a gradient of its own."""
    rng = np.random.default_rng(seed)
    shape = (count, size, size) if channels == 1 else (count, size, size, 3)
    base = rng.integers(0, 200, (count, 1, 1) + ((1,) if channels == 3 else ()))
    return (base + rng.integers(0, 56, shape)).astype(np.uint8)


def medmnist_arrays(
    flag: str, counts: Sequence[int] = (8, 4, 8), size: int = 224, seed: int = 0
) -> dict[str, np.ndarray]:
    """Arrays of a MedMNIST file: every class occurs in every split that has room for it."""
    facts = medmnist_facts(flag)
    classes = len(facts.class_names)
    arrays = {}
    for position, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        labels = (np.arange(count) % classes)[:, None]
        if facts.label_kind == "multi-label, binary-class":
            labels = np.random.default_rng(position).integers(0, 2, (count, classes))
        arrays[f"{split}_images"] = random_images(count, size, facts.channels, seed=seed + position)
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    return arrays


def write_medmnist(
    folder: Path, flag: str, counts: Sequence[int] = (8, 4, 8), size: int = 224, seed: int = 0
) -> Path:
    """Write `<flag>_224.npz` (28: `<flag>.npz`) as published, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz")
    save_packed(file, **medmnist_arrays(flag, counts, size, seed))
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


MEDIMETA_TASKS: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "aml": (
        "morphological class",
        "MULTICLASS_CLASSIFICATION",
        (
            "BAS Basophil",
            "EBO Erythroblast",
            "EOS Eosinophil",
            "KSC Smudge cell",
            "LYA Lymphocyte (atypical)",
            "LYT Lymphocyte (typical)",
            "MMZ Metamyelocyte",
            "MOB Monoblast",
            "MON Monocyte",
            "MYB Myelocyte",
            "MYO Myeloblast",
            "NGB Neutrophil (band)",
            "NGS Neutrophil (segmented)",
            "PMB Promyelocyte (bilobled)",
            "PMO Promyelocyte",
        ),
    ),
    "bus": ("case category", "MULTICLASS_CLASSIFICATION", ("normal", "benign", "malignant")),
    "crc": ("tissue class", "MULTICLASS_CLASSIFICATION", [f"tissue {i}" for i in range(9)]),
    "cxr": ("disease labels", "MULTILABEL_CLASSIFICATION", [f"finding {i}" for i in range(14)]),
    "derm": ("disease category", "MULTICLASS_CLASSIFICATION", [f"lesion {i}" for i in range(7)]),
    "dr_regular": ("DR level", "ORDINAL_REGRESSION", [f"grade {i}" for i in range(5)]),
    "dr_uwf": ("DR level", "ORDINAL_REGRESSION", [f"grade {i}" for i in range(5)]),
    "fundus": ("disease presence", "BINARY_CLASSIFICATION", ("normal", "abnormal")),
    "glaucoma": ("glaucoma suspect", "BINARY_CLASSIFICATION", ("no", "yes")),
    "mammo_calc": ("pathology", "BINARY_CLASSIFICATION", ("benign", "malignant")),
    "mammo_mass": ("pathology", "BINARY_CLASSIFICATION", ("benign", "malignant")),
    "oct": ("disease class", "MULTICLASS_CLASSIFICATION", ("CNV", "DME", "DRUSEN", "NORMAL")),
    "organs_axial": ("organ label", "MULTICLASS_CLASSIFICATION", [f"organ {i}" for i in range(11)]),
    "organs_coronal": (
        "organ label",
        "MULTICLASS_CLASSIFICATION",
        [f"organ {i}" for i in range(11)],
    ),
    "organs_sagittal": (
        "organ label",
        "MULTICLASS_CLASSIFICATION",
        [f"organ {i}" for i in range(11)],
    ),
    "pbc": (
        "cell class",
        "MULTICLASS_CLASSIFICATION",
        (
            "neutrophil",
            "eosinophil",
            "basophil",
            "lymphocyte",
            "monocyte",
            "immature granulocyte",
            "erythroblast",
            "platelet",
        ),
    ),
    "pneumonia": ("disease class", "MULTICLASS_CLASSIFICATION", ("NORMAL", "BACTERIA", "VIRUS")),
    "skinl_derm": ("diagnosis", "MULTICLASS_CLASSIFICATION", [f"diagnosis {i}" for i in range(15)]),
    "skinl_photo": (
        "diagnosis",
        "MULTICLASS_CLASSIFICATION",
        [f"diagnosis {i}" for i in range(15)],
    ),
}
"""Set -> name, target and classes of its main task, as `info.yaml` has them."""

GREY = ("bus", "cxr", "mammo_calc", "mammo_mass", "oct", "pneumonia")


def medimeta_labels(flag: str, count: int) -> np.ndarray:
    """Labels of all images: every class in turn; random rows of 0 and 1 for label sets."""
    classes = len(MEDIMETA_TASKS[flag][2])
    if MEDIMETA_TASKS[flag][1] == "MULTILABEL_CLASSIFICATION":
        return np.random.default_rng(1).integers(0, 2, (count, classes))
    return np.arange(count) % classes


def write_medimeta(
    root: Path,
    flag: str,
    counts: Sequence[int] = (6, 4, 5),
    *,
    size: int = 224,
    stacked: bool = True,
    labels: np.ndarray | None = None,
    patients: Sequence[str] | None = None,
    seed: int = 7,
) -> dict[str, Any]:
    """Write the folder of a set in MedIMeta's layout; images of the splits lie interleaved.

    Returns:
        `images` and `labels` of the whole set, and `rows`: split -> rows in its file's order.
    """
    import h5py
    import yaml

    folder, count = root / flag, sum(counts)
    for inside in ("images", "splits", "task_labels"):
        (folder / inside).mkdir(parents=True, exist_ok=True)
    grey = flag in GREY or flag.startswith("organs_")
    images = random_images(count, size, 1 if grey else 3, seed=seed)
    labels = medimeta_labels(flag, count) if labels is None else labels
    order = np.random.default_rng(2).permutation(count)
    rows = dict(zip(SPLITS, np.split(order, np.cumsum(counts)[:-1]), strict=True))
    if stacked:
        with h5py.File(folder / "images.hdf5", "w") as file:
            file.create_dataset("images", data=images)
    else:
        for row, image in enumerate(images):
            Image.fromarray(image).save(folder / "images" / f"{row:06d}.tiff")
    for split in SPLITS:
        lines = "".join(f"images/{row:06d}.tiff\n" for row in rows[split])
        (folder / "splits" / f"{split}.txt").write_text(lines)
    task, target, names = MEDIMETA_TASKS[flag]
    info = {
        "id": flag,
        "tasks": [
            {"task_name": task, "task_target": target, "labels": dict(enumerate(names))},
            {
                "task_name": "odd row",
                "task_target": "BINARY_CLASSIFICATION",
                "labels": {0: "even", 1: "odd"},
            },
        ],
        "input_size": [1 if grey else 3, size, size],
    }
    (folder / "info.yaml").write_text(yaml.safe_dump(info))
    np.save(folder / "task_labels" / f"{task}.npy", labels)
    np.save(folder / "task_labels" / "odd row.npy", np.arange(count)[:, None] % 2)
    table = []
    for row in range(count):
        line: dict[str, Any] = {"filepath": f"images/{row:06d}.tiff"}
        line["split"] = next(split for split in SPLITS if row in rows[split])
        if labels.ndim == 1:
            line |= {f"tasks/{task}": int(labels[row]), task: names[int(labels[row])]}
        if patients is not None:
            line["patient_id"] = patients[row]
        table.append(line)
    write_table(folder / "annotations.csv", table)
    return {"images": images, "labels": labels, "rows": rows}


def shifted(images: np.ndarray, number: int) -> np.ndarray:
    """Stand in for a corruption: other pixels for each number, the same every time."""
    return (images.astype(np.int64) + 7 * number).astype(np.uint8)


def save_packed(file: Path, **arrays: Any) -> None:
    """Write what `numpy.savez_compressed` does, packed in a third of the time."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def write_medmnist_c(root: Path, flag: str, names: Sequence[str], clean: Mapping[str, Any]) -> None:
    """Write files of MedMNIST-C beside nothing else: severity s of name n is shifted by 10 n + s.

    Args:
        root: Folder of the sets.
        flag: Name of the set.
        names: Corruptions.
        clean: Arrays of the MedMNIST+ file.
    """
    (root / flag).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        blocks = [shifted(clean["test_images"], 10 * number + s) for s in range(1, 6)]
        save_packed(
            root / flag / f"{name}.npz",
            test_images=np.concatenate(blocks),
            test_labels=np.concatenate([clean["test_labels"]] * 5),
        )


def write_robustmedclip(
    root: Path,
    flag: str,
    names: Sequence[str],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    split: str = "test",
) -> Path:
    """Write `<root>/<flag>/<split>/`: clean.npz and `<name>_severity_<s>.npz`, shifted as above."""
    folder = root / flag / split
    folder.mkdir(parents=True, exist_ok=True)
    save_packed(folder / "clean.npz", images=images, labels=labels)
    for number, name in enumerate(names):
        for severity in range(1, 6):
            save_packed(
                folder / f"{name}_severity_{severity}.npz",
                images=shifted(images, 10 * number + severity),
                labels=labels,
            )
    return folder
