"""Segmenters by texts, by boxes and by a probe in one matrix, by one command, on random weights."""

import json
from pathlib import Path

import checkpoints
import pytest
from run_entry import medrobust, rows
from segmenters import write_random_clipseg, write_random_sam

from medrobust.models import architectures


@pytest.mark.slow
def test_clipseg_medsam_and_a_probe_stand_in_one_matrix_by_one_command(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers = {
        "clip_vit_b16": checkpoints.write_random_clip,
        "clipseg": write_random_clipseg,
        "medsam": lambda folder: write_random_sam(folder, "medsam_vit_b"),
    }
    for name, write in writers.items():
        folder = workplace / "models" / name
        folder.mkdir(parents=True)
        write(folder)
    small = json.loads((workplace / "models/medsam/architecture.json").read_text())
    monkeypatch.setitem(architectures.table("tower"), "medsam_vit_b", small)
    folders = ("model.local_dir=models/${model.name}", "model.resolution=null")
    short = ("dataset.per_class=6", "corruption=elastic_transform")
    command = ("experiment=segmentation", *folders, *short, "hydra.sweep.dir=matrix")
    assert medrobust(*command) == 0
    found = [row for row in rows("matrix/results.csv") if row["metric"] == "dice"]
    assert {(row["model"], row["corruption"]) for row in found} == {
        (model, name) for model in writers for name in ("clean", "elastic_transform")
    }
    assert len(found) == 2 * (len(writers) + 1), "MedSAM's moved boxes are a row of their own"
    prompts = rows("matrix/segmentation_prompts.csv")
    assert [row["moved"] for row in prompts] == ["", "shift"]
    assert 0.3 < float(prompts[1]["prompt_overlap"]) < 0.9
    page = Path("matrix/report.html").read_text("utf-8")
    assert "Dice by how far prompts are off" in page
    assert all(name in page for name in ("contours", *writers))
