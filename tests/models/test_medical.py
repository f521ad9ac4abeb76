"""What is peculiar to single families: padding, case, heads, adapters, published sizes."""

import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES
from torch.nn import functional

from medrobust.exceptions import ConfigurationError, UnknownNameError, WeightsMismatchError
from medrobust.models import MedClip, PmcClip, RobustMedClip, cxr_clip, medclip, pmc_clip
from medrobust.models.architectures import packaged
from medrobust.models.open_clip_towers import build_towers


@pytest.fixture(scope="module")
def medclip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("medclip")
    FAMILIES["medclip_vit"](folder)
    return folder


@pytest.fixture(scope="module")
def pmc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pmc")
    FAMILIES["pmc_clip"](folder)
    return folder


def medclip_source(folder: Path, **options: Any) -> MedClip:
    config = str(folder / "architecture.json")
    return MedClip("medclip", "", local_dir=str(folder), config=config, **options)


def pmc_source(folder: Path, **options: Any) -> PmcClip:
    config = str(folder / "architecture.json")
    return PmcClip("pmc", "", local_dir=str(folder), config=config, **options)


def test_medclips_sentences_do_not_depend_on_their_neighbours(medclip_folder: Path) -> None:
    model = medclip_source(medclip_folder).load()
    together = model.encode_text(["no mass", "evidence of severe disease in the chest ray"])
    torch.testing.assert_close(together[:1], model.encode_text(["no mass"]), atol=1e-6, rtol=0)


def test_medclips_padding_is_a_named_choice_that_changes_texts_and_fingerprint(
    medclip_folder: Path,
) -> None:
    each, full = medclip_source(medclip_folder), medclip_source(medclip_folder, padding="context")
    cosine = (each.load().encode_text(["no mass"]) * full.load().encode_text(["no mass"])).sum()
    assert cosine < 0.999
    assert each.weights_fingerprint() != full.weights_fingerprint()
    with pytest.raises(ConfigurationError, match=r"model\.padding"):
        medclip_source(medclip_folder, padding="longest")


def test_medclip_reads_lower_case_whatever_is_typed(medclip_folder: Path) -> None:
    model = medclip_source(medclip_folder).load()
    assert torch.equal(model.encode_text(["Chest X-RAY"]), model.encode_text(["chest x-ray"]))


def test_medclip_sees_color_images_as_grey_with_its_own_statistics(medclip_folder: Path) -> None:
    preprocess = medclip_source(medclip_folder).load().preprocess
    red = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    red[:, 0] = 200
    weighed = round(200 * 0.299)
    expected = (weighed / 255 - 0.5862785803) / 0.2795008897
    assert preprocess(red).unique().tolist() == pytest.approx([expected], abs=1e-5)
    assert preprocess.description()["grey"] is True


@pytest.mark.parametrize("option", [{"heads": 2}, {"text_pooling": "pooler"}])
def test_pmc_clips_readings_change_features_and_fingerprint(
    pmc_folder: Path, option: dict[str, Any]
) -> None:
    one, two = pmc_source(pmc_folder, heads=4), pmc_source(pmc_folder, **{"heads": 4} | option)
    assert one.weights_fingerprint() != two.weights_fingerprint()
    generator = torch.Generator().manual_seed(0)
    pixels = functional.interpolate(torch.randn(1, 3, 4, 4, generator=generator), (64, 64))
    first, second = one.load(), two.load()
    with torch.no_grad():
        same_image = torch.allclose(first.encode_image(pixels), second.encode_image(pixels), 1e-4)
    same_text = torch.allclose(first.encode_text(["a"]), second.encode_text(["a"]), 1e-4)
    assert (same_image, same_text) == ("text_pooling" in option, "heads" in option)


def test_readings_that_do_not_exist_are_refused(pmc_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.layout"):
        pmc_source(pmc_folder, layout="zip")
    with pytest.raises(UnknownNameError, match="pmc_clip"):
        PmcClip("pmc", "", local_dir=str(pmc_folder), config="pmc_clp").load()


def test_adapters_alone_are_refused_because_those_of_the_keys_are_missing(tmp_path: Path) -> None:
    FAMILIES["robustmedclip_vit"](tmp_path)
    torch.save({"w_a_000": torch.zeros(4, 64)}, tmp_path / "lora_weights.pth")
    with pytest.raises(WeightsMismatchError, match=r"model\.pth"):
        RobustMedClip("r", "x/y", local_dir=str(tmp_path), weights="lora_weights.pth").load()


def test_another_rank_than_the_named_one_is_refused(tmp_path: Path) -> None:
    FAMILIES["robustmedclip_vit"](tmp_path)
    config = str(tmp_path / "architecture.json")
    with pytest.raises(WeightsMismatchError, match=r"model\.rank"):
        RobustMedClip("r", "x/y", local_dir=str(tmp_path), config=config, rank=8).load()


def test_two_copies_of_an_adapter_that_differ_are_refused(tmp_path: Path) -> None:
    family = FAMILIES["robustmedclip_resnet"](tmp_path)
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    state["lora_resnet.w_Bs.3.weight"] = state["lora_resnet.w_Bs.3.weight"] + 1
    shutil.copy(tmp_path / "model.pth", tmp_path / "original.pth")
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(WeightsMismatchError, match=r"w_Bs\.3\.weight"):
        family.source(str(tmp_path)).load()


@pytest.mark.slow
def test_what_glorias_trainer_left_beside_the_tensors_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = FAMILIES["gloria"](tmp_path)
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    kept: Any = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = kept  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    content = torch.load(tmp_path / "chexpert.ckpt", weights_only=False)
    torch.save(content | {"callbacks": {kept: {"best": 0.1}}}, tmp_path / "chexpert.ckpt")
    assert family.source(str(tmp_path)).load().report.used > 0


def size(module: torch.nn.Module) -> tuple[int, float]:
    """Count tensors and millions of parameters."""
    millions = sum(parameter.numel() for parameter in module.parameters()) / 1e6
    return len(module.state_dict()), round(millions, 2)


@pytest.mark.slow
def test_published_sizes_are_met_on_the_meta_device() -> None:
    with torch.device("meta"):
        swin = medclip.build_towers(packaged("medclip_vit"))
        resnet = medclip.build_towers(packaged("medclip_resnet50"))
        chest = cxr_clip.CxrClipTowers(packaged("cxr_clip_resnet50"))
        pmc = pmc_clip._Towers(packaged("pmc_clip"), heads=32, pooler=False)
    # 434 keys of the published file, less 13 index buffers and 2 of the unread pooler.
    assert size(swin)[0] == 434 - 13 - 2
    assert size(swin.vision_model.model)[1] == 27.52
    assert size(resnet.vision_model) == (319, 24.56)
    assert size(resnet.text_model.model)[0] == 197
    assert size(chest.image_encoder)[0] == 318
    assert tuple(pmc.visual.attnpool.c_proj.weight.shape) == (768, 2048)
    assert size(pmc.text_encoder)[0] == 197


def test_robustmedclip_adapts_a_model_of_422_keys() -> None:
    towers, renames = build_towers(packaged("biomedclip"), "x")
    keys = {rename_all(key, renames) for key in towers.state_dict()} - {"logit_scale"}
    adapters = 12 * 3 * 2
    assert len(keys) + adapters == 422


def rename_all(key: str, renames: tuple[Any, ...]) -> str:
    from medrobust.models.loading import _origin

    return _origin(key, renames).key
