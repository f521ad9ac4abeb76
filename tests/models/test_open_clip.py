import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from checkpoints import (
    TINY_RESNET,
    TINY_VIT,
    biomedclip_config,
    original_biomedclip,
    tiny_open_clip,
    write_json,
    write_random_open_clip,
)

from medrobust.cli.hydra_app import composed
from medrobust.evaluation.building import built
from medrobust.exceptions import (
    ConfigurationError,
    UnknownNameError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from medrobust.models import MedClip, OpenClip, VisionLanguageModel
from medrobust.models.architectures import packaged
from medrobust.models.loading import Rename, _origin
from medrobust.models.open_clip_towers import LibraryTowers, build_towers

SENTENCES = [
    "this is a photo of Basophil",
    "evidence of severe disease, mild - x-ray",
    "no " * 300,
]
WEIGHTS = "open_clip_pytorch_model.bin"


def load(folder: Path) -> VisionLanguageModel:
    return OpenClip("biomedclip", "nobody/nothing", local_dir=str(folder)).load()


@pytest.mark.slow
def test_the_vocabulary_alone_gives_the_same_text_features(
    biomedclip: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, _ = biomedclip
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "tokenizer.json").unlink()
    assert torch.equal(load(copy).encode_text(SENTENCES), load(folder).encode_text(SENTENCES))


def test_the_scale_is_the_multiplier_and_the_report_accounts_for_every_key(
    biomedclip: tuple[Path, Any],
) -> None:
    folder, _ = biomedclip
    model = load(folder)
    assert model.logit_scale == pytest.approx(100.0, abs=0.01)
    stored = torch.load(folder / WEIGHTS, weights_only=True)
    assert model.report.used == len(stored) - 1
    assert list(model.report.dropped) == ["text.transformer.embeddings.position_ids"]
    assert "visual.trunk.blocks.0.attn.qkv.weight" in model.report.renamed
    assert set(model.report.files) == {"open_clip_config.json", "tokenizer.json", WEIGHTS}


def test_positions_of_a_finer_grid_are_refused(
    biomedclip: tuple[Path, Any], tmp_path: Path
) -> None:
    for path in biomedclip[0].iterdir():
        if path.name != WEIGHTS:
            (tmp_path / path.name).symlink_to(path)
    state = torch.load(biomedclip[0] / WEIGHTS, weights_only=True)
    state["visual.trunk.pos_embed"] = torch.zeros(1, 197, 64)
    torch.save(state, tmp_path / WEIGHTS)
    with pytest.raises(WeightsMismatchError, match=r"visual\.trunk\.pos_embed"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["open_clip_config.json", WEIGHTS])
def test_a_missing_file_is_named_with_where_to_get_it(
    biomedclip: tuple[Path, Any], tmp_path: Path, name: str
) -> None:
    for path in biomedclip[0].iterdir():
        if path.name != name:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(WeightsNotFoundError, match=name) as caught:
        load(tmp_path)
    assert "nobody/nothing" in str(caught.value)
    assert "model.local_dir=" in str(caught.value)


def expected_rows(original: torch.nn.Module) -> dict[str, int]:
    return {k: v.shape[0] if v.ndim else 1 for k, v in original.state_dict().items()}


def rows(towers: torch.nn.Module, renames: tuple[Rename, ...]) -> dict[str, int]:
    """Count the rows that the keys of our towers take from each key of the checkpoint."""
    found: dict[str, int] = {}
    for key, value in towers.state_dict().items():
        origin = _origin(key, renames).key
        found[origin] = found.get(origin, 0) + (value.shape[0] if value.ndim else 1)
    return found


@pytest.mark.slow
def test_the_published_biomedclip_has_exactly_the_keys_and_shapes_of_open_clip() -> None:
    bert = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    config = biomedclip_config("vit_base_patch16_224", bert, 512, 224)["model_cfg"]
    expected = expected_rows(original_biomedclip(tiny=False, device="meta"))
    assert rows(*build_towers(config, "x")) == expected
    assert len(expected) == 351


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("ViT-L-14-336-quickgelu", 446), ("RN50-quickgelu", 489)]
)
def test_openais_models_have_exactly_the_keys_and_shapes_of_open_clip(
    name: str, count: int
) -> None:
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        original = open_clip.model.CLIP(**config)
    assert rows(*build_towers(config, "x")) == expected_rows(original)
    assert len(original.state_dict()) == count


@pytest.mark.slow
def test_weights_without_a_configuration_take_one_by_its_name_in_open_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = write_random_open_clip(tmp_path, tiny_open_clip(TINY_VIT))
    said = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "open_clip_config.json").unlink()
    weights = next(tmp_path.glob("open_clip*"))
    weights.rename(tmp_path / f"best{weights.suffix}")
    monkeypatch.setattr(open_clip, "get_model_config", {"tiny-ViT": said}.get)
    options = {"local_dir": str(tmp_path), "weights": f"best{weights.suffix}"}
    source = OpenClip("bare", "", config="tiny-ViT", **options)
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a scan of a cell"])
    with torch.no_grad():
        expected = original.encode_text(tokens, normalize=True)
        torch.testing.assert_close(
            source.load().encode_text(["a scan of a cell"]), expected, atol=1e-5, rtol=0
        )
    with pytest.raises(UnknownNameError, match="Did you mean 'ViT-B-32-quickgelu'"):
        OpenClip("bare", "", config="ViT-B-32-quickgel", **options).load()
    with pytest.raises(WeightsNotFoundError, match=r"model\.config=ViT-B-32 model\.weights=FILE"):
        OpenClip("bare", "", **options).load()


def test_cxr_repair_has_exactly_the_keys_and_shapes_of_openais_model_and_greys_of_its_own() -> None:
    said = packaged("clip_vit_b32_xray")
    with torch.device("meta"):
        original = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-32-quickgelu"))
    assert rows(*build_towers(said["model_cfg"], "x")) == expected_rows(original)
    assert len(original.state_dict()) == 302
    pictures = said["preprocess_cfg"]
    values = 255 * np.array([pictures["mean"], pictures["std"]])
    assert values == pytest.approx(np.array([[101.48761] * 3, [83.43944] * 3]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cxr_repair", "chexzero"])
def test_a_checkpoint_of_cxr_repair_is_read_strictly_and_answers_as_the_original(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    original = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-32-quickgelu")).eval()
    torch.save(original.state_dict(), tmp_path / f"{name}.pt")
    source = built(composed([f"model={name}", f"model.local_dir={tmp_path}"]), "model")
    model = source.load()
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224)))
    given = (picture - 101.48761) / 83.43944
    sentences = ["No acute cardiopulmonary process.", "Large left pleural effusion."]
    with torch.no_grad():
        pixels = model.preprocess(picture.to(torch.uint8))
        torch.testing.assert_close(pixels, given.float(), atol=1e-5, rtol=0)
        expected = original.encode_image(given.float(), normalize=True)
        torch.testing.assert_close(model.encode_image(pixels), expected, atol=1e-5, rtol=0)
        tokens = open_clip.get_tokenizer("ViT-B-32")(sentences)
        expected = original.encode_text(tokens, normalize=True)
        torch.testing.assert_close(model.encode_text(sentences), expected, atol=1e-5, rtol=0)
    assert model.logit_scale == pytest.approx(1 / 0.07)
    state = original.state_dict()
    del state["ln_final.bias"]
    torch.save(state, tmp_path / f"{name}.pt")
    with pytest.raises(WeightsMismatchError, match=r"ln_final\.bias"):
        built(composed([f"model={name}", f"model.local_dir={tmp_path}"]), "model").load()


@pytest.mark.parametrize(
    ("name", "count", "parameters"),
    [
        ("unimed_vit_b16", 352, 195.90),
        ("unimed_vit_l14_336_base", 496, 414.37),
    ],
)
def test_unimed_has_the_published_number_of_keys_and_parameters(
    name: str, count: int, parameters: float
) -> None:
    towers, renames = build_towers(packaged(name), name)
    assert len(rows(towers, renames)) == count
    millions = sum(value.numel() for value in towers.parameters()) / 1e6
    assert millions == pytest.approx(parameters, abs=0.005)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [("text_cfg", "hf_model_name", "roberta-base"), ("text_cfg", "hf_tokenizer_name", "t5")],
)
def test_a_configuration_with_an_unknown_text_tower_is_refused(
    biomedclip: tuple[Path, Any], tmp_path: Path, part: str, key: str, value: str
) -> None:
    for path in biomedclip[0].iterdir():
        (tmp_path / path.name).symlink_to(path)
    content = json.loads((biomedclip[0] / "open_clip_config.json").read_text())
    content["model_cfg"][part] = {key: value, "hf_pooler_type": "mean_pooler"}
    (tmp_path / "open_clip_config.json").unlink()
    write_json(tmp_path / "open_clip_config.json", content)
    with pytest.raises(WeightsMismatchError, match=value):
        load(tmp_path)


def test_what_our_towers_cannot_express_is_left_to_the_library(tmp_path: Path) -> None:
    plain = tiny_open_clip(TINY_VIT)
    assert not isinstance(build_towers(plain, "x")[0], LibraryTowers)
    for key, value in (("no_ln_pre", True), ("ls_init_value", 0.1), ("pool_type", "avg")):
        other = plain | {"vision_cfg": TINY_VIT | {key: value}}
        assert isinstance(build_towers(other, "x")[0], LibraryTowers)


@pytest.mark.slow
def test_quick_gelu_can_be_forced_and_changes_features_and_fingerprint(tmp_path: Path) -> None:
    said = tiny_open_clip(TINY_VIT) | {"quick_gelu": False}
    write_random_open_clip(tmp_path, said)
    sources = [OpenClip("m", "x/y", local_dir=str(tmp_path), quick_gelu=q) for q in (None, True)]
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one, two = (source.load().encode_image(pixels) for source in sources)
    assert not torch.allclose(one, two, atol=1e-4)
    assert sources[0].weights_fingerprint() != sources[1].weights_fingerprint()


def test_a_resolution_that_the_files_do_not_have_is_refused(tmp_path: Path) -> None:
    write_random_open_clip(tmp_path, tiny_open_clip(TINY_VIT))
    with pytest.raises(ConfigurationError, match="resolution"):
        OpenClip("m", "x/y", local_dir=str(tmp_path), resolution=224).load()


@pytest.mark.slow
def test_another_size_is_interpolated_only_when_asked(tmp_path: Path) -> None:
    write_random_open_clip(tmp_path, tiny_open_clip(TINY_VIT))
    small, large = (
        OpenClip("m", "x/y", local_dir=str(tmp_path), image_size=side) for side in (None, 96)
    )
    assert small.weights_fingerprint() != large.weights_fingerprint()
    model = large.load()
    assert model.preprocess.size == 96
    pixels = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="size"):
        small.load().encode_image(pixels)
    # Resized here from the grid of 2 by 2 patches to 3 by 3, as transformers does.
    grid = model.visual_encoder.model.embeddings.position_embedding.weight
    patches = grid[1:].detach().T.reshape(1, -1, 2, 2)
    wide = torch.nn.functional.interpolate(
        patches, (3, 3), mode="bicubic", align_corners=False
    ).flatten(2)[0]
    reference = large.load()
    embeddings = reference.visual_encoder.model.embeddings
    embeddings.position_embedding = torch.nn.Embedding.from_pretrained(
        torch.cat([grid[:1].detach(), wide.T])
    )
    embeddings.position_ids = torch.arange(10)[None]
    embeddings.image_size = 96
    reference.visual_encoder.interpolated = False
    torch.testing.assert_close(
        model.encode_image(pixels), reference.encode_image(pixels), atol=1e-5, rtol=0
    )


def test_a_size_that_cannot_be_is_refused(tmp_path: Path) -> None:
    write_random_open_clip(tmp_path, tiny_open_clip(TINY_VIT))
    with pytest.raises(ConfigurationError, match="patch size 32"):
        OpenClip("m", "x/y", local_dir=str(tmp_path), image_size=100).load()
    write_random_open_clip(tmp_path / "rn", tiny_open_clip(TINY_RESNET))
    with pytest.raises(ConfigurationError, match="vision transformers"):
        OpenClip("m", "x/y", local_dir=str(tmp_path / "rn"), image_size=96).load()
    with pytest.raises(ConfigurationError, match="MedClip"):
        MedClip("m", "", image_size=96).check_resolution(224)
