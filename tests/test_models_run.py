"""Models in the main job: prompts are swept on kept features, and what cannot run is refused."""

from pathlib import Path

import pytest
import torch
from checkpoints import (
    TINY_VIT,
    tiny_open_clip,
    write_random_dinov2,
    write_random_open_clip,
)
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import load_file

from medrobust import cli
from medrobust.evaluation.store import Store
from medrobust.jobs import RESOURCES
from medrobust.models.phantomclip import PhantomCLIP

SMALL = ("dataset.per_class=1", "corruption=brightness", "severity=2")


def medrobust(*arguments: str) -> int:
    """Run the entry in this process and return its exit status."""
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main(list(arguments))
    return done.value.code


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count images that go through the image tower."""
    counts: list[int] = []
    original = PhantomCLIP._image_embedding

    def counting(self: PhantomCLIP, pixels: torch.Tensor) -> torch.Tensor:
        counts.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(PhantomCLIP, "_image_embedding", counting)
    return counts


def test_a_sweep_over_prompt_sets_encodes_every_image_once(
    workplace: Path, encoded: list[int]
) -> None:
    assert medrobust("prompts=bare", *SMALL, "store.dir=one") == 0
    once = sum(encoded)
    encoded.clear()
    assert medrobust("-m", "prompts=bare,medical,clip,biomedclip", *SMALL, "store.dir=four") == 0
    assert sum(encoded) == once > 0
    alone = {cell.fingerprint: cell.logits for cell in Store(Path("one")).cells()}
    swept = {cell.fingerprint: cell.logits for cell in Store(Path("four")).cells()}
    assert len(swept) == 4 * len(alone) == 8
    assert all((swept[key] == logits).all() for key, logits in alone.items())


def test_an_image_tower_alone_is_refused_in_one_sentence(workplace: Path, capsys) -> None:
    Path("weights").mkdir()
    write_random_dinov2(Path("weights"))
    capsys.readouterr()
    files = ("model=dinov2_base", "model.local_dir=weights", "model.resolution=56")
    assert medrobust(*files, "dataset=phantoms", *SMALL) == 1
    error = capsys.readouterr().err
    assert "'dinov2_base' has no text side" in error
    assert len(error.strip().splitlines()) == 1


def test_another_precision_makes_other_cells(workplace: Path) -> None:
    assert medrobust(*SMALL) == 0
    assert medrobust(*SMALL, "speed=bf16") == 0
    cells = list(Store(Path("outputs/store")).cells())
    assert len(cells) == 4
    speeds = [cell.record["encoding"].get("speed") for cell in cells]
    assert speeds.count({"precision": "bf16", "channels_last": True}) == 2
    RESOURCES._models.clear()


def test_a_model_of_ones_own_folder_runs_as_the_page_on_models_says(workplace: Path) -> None:
    write_random_open_clip(Path("weights"), tiny_open_clip(TINY_VIT))
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/new.yaml").write_text(
        "# @package _global_\n# A new model, 64 px (MIT, open)\n"
        "defaults:\n  - override /prompts: medical\n"
        "model:\n  _target_: medrobust.models.OpenClip\n  name: new\n  hub_id: some/model\n"
        "  local_dir: weights\n  license: MIT\n  gated: false\n  resolution: 64\n"
        "  trained_on: [pmc_oa]\n"
    )
    assert medrobust("--config-dir", "mine", "model=new", *SMALL) == 0
    (clean, bright) = Store(Path("outputs/store")).cells()
    assert {clean.spec.model, bright.spec.model} == {"new"}
    report = clean.record["load_report"]
    assert report["trained_on"] == ["pmc_oa"]
    assert report["used"] == len(load_file("weights/open_clip_model.safetensors"))
