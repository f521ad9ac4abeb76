"""CLIPSeg outlines what transformers' own outlines, from the same pictures and sentences."""

import json
import shutil
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import segmented
import torch
from PIL import Image
from segmenters import write_random_clipseg

from medrobust.exceptions import ConfigurationError, WeightsMismatchError, WeightsNotFoundError
from medrobust.models import TransformersClipseg
from medrobust.tasks.segmentation import TASK

TEXTS = [["background"], ["a disc", "a picture of a disc"], ["a bar"]]


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("clipseg")
    return folder, write_random_clipseg(folder)


def source(folder: Path) -> TransformersClipseg:
    return TransformersClipseg("clipseg", "nobody/nothing", local_dir=str(folder), micro_batch=4)


def processed(folder: Path, texts: list[str], picture: np.ndarray) -> dict[str, torch.Tensor]:
    """Prepare one picture beside each text, by the original library."""
    from transformers import CLIPTokenizer, ViTImageProcessor

    tokens = CLIPTokenizer.from_pretrained(folder)(texts, padding="max_length", return_tensors="pt")
    images = ViTImageProcessor.from_pretrained(folder, use_fast=False)
    pixels = images([Image.fromarray(picture)] * len(texts), return_tensors="pt")
    return {"input_ids": tokens["input_ids"], "pixel_values": pixels["pixel_values"]}


def test_logits_of_each_class_are_those_of_transformers(clipseg) -> None:
    folder, original = clipseg
    model = source(folder).load()
    picture = np.random.default_rng(0).integers(0, 256, (90, 64, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(picture).resize((90, 90), Image.Resampling.BICUBIC))
    inputs = processed(folder, ["a disc", "a bar"], picture)
    images = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        wanted = original(**inputs).logits
        pixels = model.preprocess(images)
        torch.testing.assert_close(pixels, inputs["pixel_values"][:1], atol=0.02, rtol=0)
        decoder = model.mask_decoder([["nothing"], ["a disc"], ["a bar"]])
        given = inputs["pixel_values"][:1]
        found = decoder(*model.encode_image_and_patches(given, decoder.blocks), None)
    assert decoder.blocks == (1, 2, 3)
    assert found.shape == (1, 3, 64, 64)
    assert torch.equal(found[:, 0], torch.zeros(1, 64, 64))
    torch.testing.assert_close(found[0, 1:], wanted, atol=1e-5, rtol=1e-5)
    assert wanted.std() > 0.1
    assert (wanted[0] - wanted[1]).abs().max() > 0.01


@pytest.mark.slow
def test_several_sentences_of_a_class_are_one_by_the_mean_of_their_embeddings(clipseg) -> None:
    folder, original = clipseg
    model = source(folder).load()
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    inputs = processed(folder, TEXTS[1], picture)
    with torch.no_grad():
        both = original.clip.get_text_features(inputs["input_ids"]).pooler_output
        pixels = inputs["pixel_values"][:1]
        wanted = original(pixel_values=pixels, conditional_embeddings=both.mean(dim=0)[None]).logits
        decoder = model.mask_decoder(TEXTS)
        found = decoder(*model.encode_image_and_patches(pixels, decoder.blocks), None)
    torch.testing.assert_close(found[:, 1], wanted.view(1, 64, 64), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_images_and_texts_are_features_of_the_clip_inside(clipseg) -> None:
    folder, original = clipseg
    model = source(folder).load()
    inputs = processed(folder, ["a disc"], np.full((64, 64, 3), 90, np.uint8))
    with torch.no_grad():
        wanted = original.clip(**inputs)
        found = model.encode_image(inputs["pixel_values"])
        torch.testing.assert_close(found, wanted.image_embeds, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            model.encode_text(["a disc"]), wanted.text_embeds, atol=1e-5, rtol=0
        )


def test_the_published_checkpoint_has_the_keys_that_are_loaded() -> None:
    """What `CIDAS/clipseg-rd64-refined` holds, written out by hand."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    def both(*names: str) -> list[str]:
        return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]

    inner = ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj"]
    layer = both(*inner, "layer_norm1", "mlp.fc1", "mlp.fc2", "layer_norm2")
    keys = {"clip.logit_scale", "clip.visual_projection.weight", "clip.text_projection.weight"}
    for tower, first in (
        ("text", ["token_embedding.weight", "position_embedding.weight"]),
        ("vision", ["class_embedding", "patch_embedding.weight", "position_embedding.weight"]),
    ):
        keys |= {f"clip.{tower}_model.embeddings.{name}" for name in first}
        keys |= {f"clip.{tower}_model.encoder.layers.{n}.{k}" for n in range(12) for k in layer}
    keys |= {f"clip.text_model.{name}" for name in both("final_layer_norm")}
    keys |= {f"clip.vision_model.{name}" for name in both("pre_layrnorm", "post_layernorm")}
    convolutions = [f"transposed_convolution.{place}" for place in (0, 2, 4)]
    reduces = [f"reduces.{place}" for place in range(3)]
    keys |= {f"decoder.{name}" for name in both("film_mul", "film_add", *convolutions, *reduces)}
    keys |= {f"decoder.layers.{place}.{name}" for place in range(3) for name in layer}
    said = {"vision_config": {"patch_size": 16}, "use_complex_transposed_convolution": True}
    with torch.device("meta"):
        whole = CLIPSegForImageSegmentation(CLIPSegConfig.from_dict(said))
    assert set(whole.state_dict()) == keys


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "new", "sentence"),
    [
        ("decoder.film_mul.weight", None, "Missing: decoder.film_mul.weight"),
        ("decoder.reduce.weight", torch.zeros(3, 3), "Left over: decoder.reduce.weight"),
        ("decoder.reduces.0.weight", torch.zeros(16, 31), r"shape \(16, 31\), the model needs"),
    ],
)
def test_a_checkpoint_of_other_keys_or_shapes_is_refused(
    clipseg, tmp_path: Path, key: str, new: Any, sentence: str
) -> None:
    folder = shutil.copytree(clipseg[0], tmp_path / "copy")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    state.pop(key, None)
    checkpoints.save(state if new is None else state | {key: new}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsMismatchError, match=sentence):
        source(folder).load()


@pytest.mark.slow
def test_another_model_and_no_weights_are_a_sentence_each(clipseg, tmp_path: Path) -> None:
    folder = shutil.copytree(clipseg[0], tmp_path / "copy")
    said = json.loads((folder / "config.json").read_text())
    checkpoints.write_json(folder / "config.json", said | {"model_type": "clip"})
    with pytest.raises(WeightsMismatchError, match="describes 'clip', not 'clipseg'"):
        source(folder).load()
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"model.safetensors or pytorch_model\.bin not"):
        source(folder).load()
    with pytest.raises(ConfigurationError, match="of the background and of each class"):
        source(clipseg[0]).load().mask_decoder([])


@pytest.mark.slow
def test_classes_are_outlined_by_their_sentences_in_a_run(clipseg, tmp_path: Path) -> None:
    folder, _ = clipseg
    cells = segmented.run(tmp_path, TASK, source=source(folder))
    head = cells["clean", 0].head
    assert head["segmenter"] == "own"
    assert head["texts"][1:] == [["a picture of disc"], ["a picture of bar"]]
    assert {"clean", "contrast"} == {name for name, _ in cells}
    assert cells["clean", 0].arrays["predicted_area"].sum() > 0
