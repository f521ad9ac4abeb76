"""Files of models from strangers: refused in one sentence that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest

from medrobust.exceptions import WeightsMismatchError
from medrobust.models import TransformersClip
from medrobust.models.settings import DEEPEST, LARGEST, read_settings, read_table


def written(folder: Path, text: str) -> Path:
    (folder / "config.json").write_text(text)
    return folder / "config.json"


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '{"a": 1}}'])
def test_what_is_no_table_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(WeightsMismatchError, match=r"config\.json is no JSON"):
        read_settings(written(tmp_path, text))


@pytest.mark.parametrize(
    "inner",
    [
        {"num_hidden_layers": DEEPEST + 1},
        {"depths": [2, 99999]},
        {"vision_config": {"hidden_size": LARGEST + 1}},
        {"mlp_ratio": float("nan")},
        {"mlp_ratio": float("inf")},
        {"hidden_size": -LARGEST - 1},
    ],
)
def test_numbers_that_no_model_has_are_refused(tmp_path: Path, inner: dict[str, Any]) -> None:
    (key,) = inner.keys() - {"vision_config"} or {"hidden_size"}
    with pytest.raises(WeightsMismatchError, match=rf"config\.json states {key} "):
        read_settings(written(tmp_path, json.dumps(inner)))


def test_numbers_of_models_are_read_and_a_vocabulary_has_any(tmp_path: Path) -> None:
    values = {"num_hidden_layers": 48, "vocab_size": 250_002, "layer_norm_eps": 1e-12}
    assert read_settings(written(tmp_path, json.dumps(values))) == values
    assert read_table(written(tmp_path, '{"layers</w>": 3030}')) == {"layers</w>": 3030}


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("preprocessor_config.json", "image_mean", float("nan"), "nan, which is no finite number"),
        ("preprocessor_config.json", "image_std", [1, float("inf"), 1], "inf, which is no finite"),
        ("preprocessor_config.json", "rescale_factor", "a", "'a', where a number is needed"),
        ("preprocessor_config.json", "resample", [1], r"\[1\], where a number is needed"),
        ("config.json", "logit_scale_init_value", "a", "'a', where a number is needed"),
        ("config.json", "projection_dim", "a", "'a', where a whole number"),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_is_needed(
    clip: tuple[Path, Any], tmp_path: Path, name: str, key: str, value: Any, said: str
) -> None:
    for file in clip[0].iterdir():
        (tmp_path / file.name).symlink_to(file)
    stated = json.loads((tmp_path / name).read_text()) | {key: value}
    (tmp_path / name).unlink()
    (tmp_path / name).write_text(json.dumps(stated))
    with pytest.raises(WeightsMismatchError, match=rf"^{name} states {key} {said}"):
        TransformersClip(name="c", hub_id="a/b", local_dir=str(tmp_path), micro_batch=1).load()


def test_a_vocabulary_that_is_a_list_is_called_one(clip: tuple[Path, Any], tmp_path: Path) -> None:
    for file in clip[0].iterdir():
        if file.name != "tokenizer.json":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "vocab.json").unlink()
    (tmp_path / "vocab.json").write_text('["a", "b"]')
    with pytest.raises(
        WeightsMismatchError, match=r"^vocab\.json is no JSON object \(it holds a l"
    ):
        TransformersClip(name="c", hub_id="a/b", local_dir=str(tmp_path), micro_batch=1).load()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"model_type": "clip", "text_config": 3}'),
        ("config.json", '{"model_type": "clip", "vision_config": {"hidden_act": "os.system"}}'),
        ("preprocessor_config.json", '{"size": 224, "crop_size": 224}'),
        ("tokenizer.json", '{"model": {"type": "BPE"}}'),
        ("pytorch_model.bin", "{}"),
    ],
)
def test_what_a_library_raises_is_one_sentence_that_names_the_files(
    clip: tuple[Path, Any], tmp_path: Path, name: str, content: str
) -> None:
    for file in clip[0].iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(WeightsMismatchError) as caught:
        TransformersClip("mine", "nobody/nothing", local_dir=str(tmp_path)).load()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
