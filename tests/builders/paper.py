"""The twelve sets and the models of the RobustMedCLIP paper, tiny and random, as published."""

import json
from pathlib import Path

import checkpoints
import numpy as np
import pytest
from datasets import MEDIMETA_TASKS, write_medimeta, write_medmnist
from families import FAMILIES, robustmedclip_vit

from medrobust.datasets.published.medmnist_facts import FACTS
from medrobust.models import architectures

MEDMNIST = ("bloodmnist", "breastmnist", "octmnist", "pneumoniamnist", "retinamnist")
MEDIMETA = ("aml", "fundus", "mammo_calc", "mammo_mass", "pneumonia", "oct", "pbc")


def classes(name: str) -> int:
    """Number of classes of one of the twelve sets."""
    return len(FACTS[name].class_names if name in FACTS else MEDIMETA_TASKS[name][2])


def write_the_twelve_sets(root: Path, size: int) -> None:
    """Write MedMNIST+ files and MedIMeta folders below a data folder.

    Eight test images, or one a class; two images a class in train and in val; none occurs twice.
    """
    for number, name in enumerate((*MEDMNIST, *MEDIMETA)):
        counts = [max(4, 2 * classes(name))] * 2 + [max(8, classes(name))]
        if name in MEDMNIST:
            write_medmnist(root, name, counts, size, seed=100 * number)
        else:
            labels = np.arange(sum(counts)) % classes(name)
            folder = root / "medimeta"
            write_medimeta(folder, name, counts, size=size, labels=labels, seed=100 * number)


def write_the_papers_models(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Write a folder for each model that a preset names, called as its file in conf/model.

    The sizes that the package knows of the published towers become those of the tiny ones.
    """
    for name in ("medclip_vit", "medclip_resnet50", "robustmedclip_vit"):
        (folder / name).mkdir(parents=True)
    checkpoints.write_random_clip(folder / "clip_vit_b16")
    small = checkpoints.tiny_open_clip(checkpoints.TINY_RESNET)
    checkpoints.write_random_open_clip(folder / "clip_rn50", small)
    checkpoints.write_random_biomedclip(folder / "biomedclip")
    checkpoints.write_random_unimed(folder / "unimedclip_b16")
    FAMILIES["medclip_vit"](folder / "medclip_vit")
    FAMILIES["medclip_resnet"](folder / "medclip_resnet50")
    robustmedclip_vit(folder / "robustmedclip_vit", rank=16)
    bert = "google/bert_uncased_L-2_H-128_A-2"
    known = {
        "biomedclip": checkpoints.biomedclip_config("test_vit", bert, 64, 160)["model_cfg"],
        "medclip_vit": checkpoints.SWIN_ARCHITECTURE,
        "medclip_resnet50": checkpoints.RESNET_ARCHITECTURE,
        "unimed_vit_b16": json.loads((folder / "unimedclip_b16/architecture.json").read_text()),
    }
    for name, sizes in known.items():
        patch.setitem(architectures.table("whole"), name, sizes)
