"""Files beside the weights that state what no model could mean."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from medrobust.exceptions import WeightsMismatchError
from medrobust.models.loading import multiplier, read_checkpoint
from medrobust.models.preprocessor import channels
from medrobust.models.settings import built, check_open_clip, check_towers, read_settings


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("patch_size", 0, "patch_size 0"),
        ("patch_size", "16", "patch_size '16'"),
        ("num_attention_heads", 2.5, r"num_attention_heads 2\.5"),
        ("hidden_act", "nope", "hidden_act 'nope'"),
    ],
)
def test_a_tower_that_cannot_be_built_is_named(key: str, value: Any, said: str) -> None:
    with pytest.raises(WeightsMismatchError, match=rf"^config\.json states {said} in vision_con"):
        check_towers({"vision_config": {key: value}, "text_config": None}, "config.json")


def test_heads_that_do_not_divide_a_width_are_named() -> None:
    tower = {"hidden_size": 32, "num_attention_heads": 3}
    said = r"num_attention_heads 3 in text_config, which does not divide its hidden_size 32"
    with pytest.raises(WeightsMismatchError, match=rf"^config\.json states {said}"):
        check_towers({"text_config": tower}, "config.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("logit_scale_init_value", "a"),
        ("projection_dim", "16"),
        ("initializer_factor", [1]),
        ("vision_config", {"layer_norm_eps": "tiny"}),
        ("text_config", {"attention_dropout": "none"}),
        ("text_config", {"num_attention_heads": 7}),
    ],
)
def test_what_transformers_refuses_is_one_sentence_with_the_file_and_the_key(
    key: str, value: Any
) -> None:
    from transformers import CLIPConfig

    with pytest.raises(WeightsMismatchError) as caught:
        built(lambda: CLIPConfig.from_dict({key: value}), "config.json")
    told = str(caught.value)
    assert told.startswith("config.json describes no model (")
    assert (key if not isinstance(value, dict) else next(iter(value)).split("_")[-1]) in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embed_dim": "512"}, "embed_dim '512'"),
        ({"vision_cfg": {"layers": 12, "width": 768, "patch_size": 0}}, "patch_size 0 in vision_"),
        ({"vision_cfg": {"layers": "12", "width": 768}}, "layers '12' in vision_cfg"),
        ({"vision_cfg": {"width": 770, "head_width": 64}}, "head_width 64 in vision_cfg, which"),
        ({"text_cfg": {"width": 512, "heads": 3}}, "heads 3 in text_cfg, which does not divide"),
        ({"text_cfg": {"mlp_ratio": "4"}}, "mlp_ratio '4' in text_cfg"),
        ({"text_cfg": {"context_length": True}}, "context_length True in text_cfg"),
    ],
)
def test_a_tower_of_open_clip_that_cannot_be_built_is_named(
    change: dict[str, Any], said: str
) -> None:
    values = {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}} | change
    with pytest.raises(WeightsMismatchError, match=rf"^open_clip_config\.json states {said}"):
        check_open_clip(values, "open_clip_config.json")


def test_towers_of_open_clip_as_published_pass() -> None:
    for file in sorted((Path(open_clip.__file__).parent / "model_configs").glob("*.json")):
        check_open_clip(json.loads(file.read_text(encoding="utf-8")), file.name)


def test_towers_as_published_pass() -> None:
    from transformers import CLIPConfig, SiglipConfig

    for config in (CLIPConfig(), SiglipConfig()):
        check_towers(json.loads(config.to_json_string(use_diff=False)), "config.json")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pointer_in_place_of_a_file_says_how_to_get_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n")
    read: Any = read_settings if path.suffix == ".json" else read_checkpoint
    with pytest.raises(WeightsMismatchError, match=r"pointer of Git LFS.*`git lfs pull`"):
        read(path)


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ([123, 117, 104], [0.5] * 3, "the mean .* divide by 255"),
        ([0.5] * 3, [58.4, 57.1, 57.4], "the std .* divide by 255"),
        ([0.5] * 3, [0, 0.5, 0.5], "the std .* none of them 0"),
        ([0.5], [0.5] * 3, "the mean"),
        ("a", [0.5] * 3, "the mean"),
        (None, [0.5] * 3, "the mean None"),
        ([float("nan")] * 3, [0.5] * 3, "the mean"),
    ],
)
def test_a_normalisation_of_another_scale_is_refused(mean: Any, std: Any, said: str) -> None:
    with pytest.raises(WeightsMismatchError, match=rf"^p\.json asks for {said}"):
        channels(mean, std, "p.json")


@pytest.mark.parametrize("logarithm", [100.0, 50.0, -1e9, -14.0])
def test_a_multiplier_that_leaves_no_probabilities_is_refused(logarithm: float) -> None:
    with pytest.raises(WeightsMismatchError, match="the checkpoint's logit_scale is"):
        multiplier(torch.tensor(logarithm))


def test_a_multiplier_is_the_exponential_of_what_is_stored() -> None:
    assert multiplier(torch.tensor([4.6052])) == pytest.approx(100, abs=0.01)
