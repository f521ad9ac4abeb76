import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from checkpoints import write_random_clip
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch.nn import functional
from transformers import CLIPImageProcessor

from medrobust.exceptions import WeightsMismatchError
from medrobust.models import TransformersClip, VisionLanguageModel

SENTENCES = [
    "a photo of a Basophil.",
    "chest X-ray showing   pleural effusion; naïve café",
    "very " * 100,
]


def load(folder: Path) -> VisionLanguageModel:
    return TransformersClip("clip", "nobody/nothing", local_dir=str(folder)).load()


def embedding(output: Any) -> torch.Tensor:
    """Return unit features, which transformers 5 wraps and transformers 4 does not."""
    return functional.normalize(getattr(output, "pooler_output", output), dim=-1)


def test_image_features_equal_those_of_transformers_from_the_same_pictures(
    clip: tuple[Path, Any], images: torch.Tensor
) -> None:
    folder, original = clip
    processor = CLIPImageProcessor.from_pretrained(folder)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    model = load(folder)
    with torch.no_grad():
        truth = embedding(original.get_image_features(pixel_values=pixels))
        ours = model.encode_image(model.preprocess(images))
    torch.testing.assert_close(ours, truth, atol=1e-5, rtol=0)
    assert ours.std(dim=0).max() > 1e-3


@pytest.mark.slow
def test_token_ids_equal_those_of_the_vocabulary_that_open_clip_bundles(
    clip: tuple[Path, Any],
) -> None:
    ids, mask = load(clip[0]).tokenizer(SENTENCES)
    original = SimpleTokenizer()(SENTENCES)
    assert torch.equal(ids * mask, original * mask)
    assert int(mask.sum()) == int((original != 0).sum())


@pytest.mark.slow
def test_safetensors_and_pickle_give_the_same_model(
    clip: tuple[Path, Any], tmp_path: Path, images: torch.Tensor
) -> None:
    write_random_clip(tmp_path, safetensors=True)
    one, two = load(clip[0]), load(tmp_path)
    pixels = one.preprocess(images)
    assert torch.equal(one.encode_image(pixels), two.encode_image(pixels))
    assert set(two.report.files) > {"model.safetensors"}


@pytest.mark.slow
def test_the_report_accounts_for_every_key(clip: tuple[Path, Any]) -> None:
    folder, original = clip
    report = load(folder).report
    assert report.used == len(original.state_dict())
    assert set(report.dropped) == {
        "text_model.embeddings.position_ids",
        "vision_model.embeddings.position_ids",
    }


def test_another_model_type_or_preprocessing_is_refused(
    clip: tuple[Path, Any], tmp_path: Path
) -> None:
    shutil.copytree(clip[0], tmp_path, dirs_exist_ok=True)
    pictures = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pictures | {"crop_size": 200}))
    with pytest.raises(WeightsMismatchError, match="crop 200"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip"}))
    with pytest.raises(WeightsMismatchError, match="'siglip'"):
        load(tmp_path)


@pytest.mark.slow
def test_the_vocabulary_alone_gives_the_same_text_features(
    clip: tuple[Path, Any], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(clip[0], copy)
    (copy / "tokenizer.json").unlink()
    torch.testing.assert_close(
        load(copy).encode_text(SENTENCES), load(clip[0]).encode_text(SENTENCES), atol=1e-6, rtol=0
    )
    (copy / "vocab.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(WeightsMismatchError, match=r"not the vocabulary of CLIP"):
        load(copy)


def test_the_large_models_have_the_published_number_of_keys_and_parameters() -> None:
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = transformers.CLIPConfig(
        text_config={"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
        vision_config=large | {"intermediate_size": 4096, "patch_size": 14, "image_size": 336},
        projection_dim=768,
    )
    with torch.device("meta"):
        model = transformers.CLIPModel(config)
    assert len(model.state_dict()) == 590
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(427.94, abs=0.01)
