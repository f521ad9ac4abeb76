"""Encoders with and without text in one matrix, by one command, on random weights."""

import json
import math
import re
from pathlib import Path

import checkpoints
import encoders
import pytest
from datasets import write_medmnist
from run_entry import medrobust, rows

from medrobust.evaluation.store import Store
from medrobust.models import architectures

MODELS = ("clip_vit_b16", "lvm_med_resnet50", "retfound_mae_cfp", "rad_dino")


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models in models/, each called as its file in conf/model, and a small set in data/."""
    for name in MODELS:
        (workplace / "models" / name).mkdir(parents=True)
    checkpoints.write_random_clip(workplace / "models" / "clip_vit_b16")
    writers = {
        "lvm_med_resnet50": ("lvm_med_resnet50", encoders.lvm_med_resnet),
        "retfound_mae_cfp": ("retfound_mae", encoders.retfound_mae),
        "rad_dino": ("", encoders.rad_dino),
    }
    for name, (known, write) in writers.items():
        folder = workplace / "models" / name
        write(folder)
        if known:
            small = json.loads((folder / "architecture.json").read_text())
            monkeypatch.setitem(architectures.table("tower"), known, small)
    write_medmnist(workplace / "data", "bloodmnist", counts=(40, 24, 24), size=64)
    monkeypatch.setenv("MEDROBUST_DATA", str(workplace / "data"))
    return workplace


@pytest.mark.slow
def test_four_kinds_of_encoders_stand_in_one_matrix_by_one_command(place: Path) -> None:
    short = ("severity=3", "dataset.size=64", "tuning.shots=2")
    folders = ("model.local_dir=models/${model.name}", "model.resolution=null")
    command = ("experiment=encoders", *folders, *short, "hydra.sweep.dir=matrix")
    assert medrobust(*command) == 0
    found = rows("matrix/results.csv")
    named = {(row["model"], row["adapter"].split()[0]) for row in found}
    assert named == {(model, head) for model in MODELS for head in ("linear_probe", "knn")}
    conditions = {(row["corruption"], row["severity"]) for row in found}
    assert len(conditions) == 1 + 7
    for name in named:
        own = [r for r in found if (r["model"], r["adapter"].split()[0]) == name]
        assert {(r["corruption"], r["severity"]) for r in own} == conditions
    assert all(math.isfinite(float(row["value"])) for row in found if row["value"])
    errors = {
        model: [r["value"] for r in found if r["model"] == model and "probe" in r["adapter"]]
        for model in MODELS
    }
    assert all(errors.values())
    assert len(set(map(tuple, errors.values()))) == len(MODELS), "each model has its own numbers"
    page = Path("matrix/report.html").read_text(encoding="utf-8")
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    whole = [one for one in tables if all(one.count(model) >= 2 for model in MODELS)]
    assert whole, "one matrix has both heads of every model"
    store = Store(Path("outputs/store"))
    encodings = {cell.record["encoding_fingerprint"] for cell in store.cells()}
    assert len(encodings) == len(MODELS) * (8 + 1), "both heads of a model share its features"
