"""Models in the main job: prompts are swept on kept features, and what cannot run is refused."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import (
    TINY_VIT,
    tiny_open_clip,
    write_random_dinov2,
    write_random_open_clip,
)
from run_entry import medrobust
from safetensors.torch import load_file

from medrobust.evaluation.store import Store
from medrobust.jobs.run import RESOURCES
from medrobust.models.phantomclip import PhantomCLIP

SMALL = ("dataset.per_class=1", "corruption=brightness", "severity=2", "validation=false")
SMALL += ("model.micro_batch=20",)  # all images of a set in one pass


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


@pytest.mark.slow
def test_a_sweep_over_prompt_sets_encodes_every_image_once(
    workplace: Path, encoded: list[int]
) -> None:
    assert medrobust("prompts=bare", *SMALL, "store.dir=one") == 0
    once = sum(encoded)
    encoded.clear()
    assert medrobust("-m", "prompts=bare,medical,clip,biomedclip", *SMALL, "store.dir=four") == 0
    assert sum(encoded) == once > 0
    alone = {cell.fingerprint: cell.arrays["logits"] for cell in Store(Path("one")).cells()}
    swept = {cell.fingerprint: cell.arrays["logits"] for cell in Store(Path("four")).cells()}
    assert len(swept) == 4 * len(alone) == 8
    assert all((swept[key] == logits).all() for key, logits in alone.items())


def logits(root: str) -> dict[str, np.ndarray]:
    return {cell.fingerprint: cell.arrays["logits"] for cell in Store(Path(root)).cells()}


@pytest.mark.slow
def test_several_prompt_sets_in_one_run_encode_once_and_give_the_logits_of_separate_runs(
    workplace: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("bare", "medical", "mine")
    Path("mine/prompts").mkdir(parents=True)
    own = "_target_: medrobust.models.PromptSet\nname: mine\ntemplates: ['a scan of {}']\n"
    Path("mine/prompts/mine.yaml").write_text(own)
    for name in sets:
        encoded.clear()
        own_sets = ("--config-dir", "mine", f"prompts={name}")
        assert medrobust(*own_sets, *SMALL, "store.dir=apart") == 0
    once = sum(encoded)
    texts: list[str] = []
    original = PhantomCLIP.encode_text

    def counting(self: PhantomCLIP, sentences: list[str]) -> torch.Tensor:
        texts.extend(sentences)
        return original(self, sentences)

    monkeypatch.setattr(PhantomCLIP, "encode_text", counting)
    encoded.clear()
    RESOURCES._heads.clear()
    job = ("--config-dir", "mine", f"prompts={','.join(sets)}", *SMALL, "hydra.run.dir=run")
    assert medrobust(*job, "store.dir=together") == 0
    assert sum(encoded) == once > 0
    assert len(texts) == len(set(texts)) > 0
    apart, together = logits("apart"), logits("together")
    assert len(apart) == 6
    assert apart.keys() == together.keys()
    assert all((apart[key] == together[key]).all() for key in apart)
    assert not Path("together/features").exists()
    pictures = [
        sorted(path.relative_to(root) for path in Path(root).rglob("*.png"))
        for root in ("apart", "together")
    ]
    assert pictures[0] == pictures[1] != []
    with Path("run/results.csv").open(encoding="utf-8", newline="") as file:
        clean = [r for r in csv.DictReader(file) if (r["severity"], r["metric"]) == ("0", "error")]
    assert len({row["cell"] for row in clean}) == len(clean) == len(sets)
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert all(f"phantomclip [{name}]" in page for name in sets)


@pytest.mark.slow
def test_only_conditions_of_which_a_prompt_set_lacks_its_cell_are_encoded_again(
    workplace: Path, encoded: list[int]
) -> None:
    job = ("prompts=bare,medical,clip", *SMALL)
    assert medrobust(*job) == 0
    whole, before = sum(encoded), logits("outputs/store")
    (lost,) = [
        cell.folder
        for cell in Store(Path("outputs/store")).cells()
        if (cell.spec.severity, cell.record["head"]["name"]) == (2, "medical")
    ]
    shutil.rmtree(lost)
    encoded.clear()
    assert medrobust(*job, "hydra.run.dir=again") == 0
    assert sum(encoded) == whole / 2
    assert json.loads(Path("again/run.json").read_text())["computed"] == 1
    after = logits("outputs/store")
    assert after.keys() == before.keys()
    assert all((after[key] == before[key]).all() for key in before)
    encoded.clear()
    assert medrobust(*job, "resume=false") == 0
    assert sum(encoded) == whole


@pytest.mark.slow
def test_every_job_of_a_sweep_applies_the_prompt_sets_in_brackets(workplace: Path) -> None:
    models = ("-m", "model=phantomclip,phantomclip_small")
    assert medrobust(*models, "prompts=[bare,clip]", *SMALL, "hydra.sweep.dir=sweep") == 0
    cells = list(Store(Path("outputs/store")).cells())
    assert {(c.spec.model, c.record["head"]["name"]) for c in cells} == {
        (model, prompts)
        for model in ("phantomclip", "phantomclip_small")
        for prompts in ("bare", "clip")
    }
    assert json.loads(Path("sweep/run.json").read_text())["cells"] == len(cells) == 8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("prompts=bare,papr",), "Did you mean 'paper'?"),
        (("prompts=bare,clip", "task=few_shot", "adapter=lora"), "tunes with one prompt set"),
    ],
)
def test_a_list_of_prompt_sets_that_cannot_run_is_refused_in_one_sentence(
    workplace: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert medrobust(*arguments, *SMALL) == 1
    error = capfd.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_dry_run_names_the_prompt_set_of_each_cell(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert medrobust("prompts=bare,clip", *SMALL, "dry_run=true") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" · ")[-1] for line in lines[1:5]] == ["bare", "clip", "bare", "clip"]
    assert lines[5] == "4 cells to run, 0 to skip."


def test_an_image_tower_alone_is_refused_in_one_sentence(workplace: Path, capsys) -> None:
    Path("weights").mkdir()
    write_random_dinov2(Path("weights"))
    capsys.readouterr()
    files = ("model=dinov2_base", "model.local_dir=weights", "model.resolution=56")
    assert medrobust(*files, "dataset=phantoms", *SMALL) == 1
    error = capsys.readouterr().err
    assert "'dinov2_base' has no text side" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_probe_of_an_image_tower_alone_is_told_why_it_has_no_gain(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("weights").mkdir()
    write_random_dinov2(Path("weights"))
    files = ("model=dinov2_base", "model.local_dir=weights", "model.resolution=56")
    probe = ("task=few_shot", "adapter=linear_probe", "task.shots=1", "validation=false")
    data = ("dataset=phantoms_site_b", "dataset.per_class=2")
    assert medrobust(*files, *probe, *data, "corruption=clean") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "probes of dinov2_base have no gains: it has no text side" in printed
    assert "the same command without the adapter" not in printed


@pytest.mark.slow
def test_another_precision_makes_other_cells(workplace: Path) -> None:
    assert medrobust(*SMALL) == 0
    assert medrobust(*SMALL, "speed=bf16") == 0
    cells = list(Store(Path("outputs/store")).cells())
    assert len(cells) == 4
    speeds = [cell.record["encoding"].get("speed") for cell in cells]
    assert speeds.count({"precision": "bf16", "channels_last": True}) == 2
    RESOURCES._models.clear()


@pytest.mark.slow
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
    assert medrobust("--config-dir", "mine", "model=new", *SMALL[:-1]) == 0
    (clean, bright) = Store(Path("outputs/store")).cells()
    assert {clean.spec.model, bright.spec.model} == {"new"}
    report = clean.record["load_report"]
    assert report["trained_on"] == ["pmc_oa"]
    assert report["used"] == len(load_file("weights/open_clip_model.safetensors"))
