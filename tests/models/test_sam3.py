"""SAM 3 outlines what transformers' own finds, from the same pixels and sentences."""

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import segmented
import torch
from safetensors.torch import load_file
from segmenters import write_random_sam3

from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models import TransformersSam3
from medrobust.tasks.segmentation import TASK

TEXTS = [["background"], ["a disc", "a picture of a disc"], ["a bar"]]


def pictures(side: int = 64) -> torch.Tensor:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, 3, side // 8, side // 8)).astype(np.uint8)
    return torch.from_numpy(coarse.repeat(8, axis=2).repeat(8, axis=3))


def source(folder: Path, **options: Any) -> TransformersSam3:
    given = {"local_dir": str(folder), "micro_batch": 4} | options
    return TransformersSam3("sam3", "nobody/nothing", **given)


@pytest.fixture(scope="module", params=["sam3", "sam3_video"])
def sam3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, write_random_sam3(folder, request.param)


def answered(original: Any, folder: Path, pixels: torch.Tensor, text: str) -> Any:
    """Ask the original library, which pads sentences to 32 tokens."""
    from transformers import CLIPTokenizer

    tokens = CLIPTokenizer.from_pretrained(folder)(
        [text] * len(pixels), padding="max_length", max_length=32, return_tensors="pt"
    )
    with torch.no_grad():
        return original(pixel_values=pixels, **tokens)


def test_instances_are_those_of_transformers_and_a_class_is_their_union(sam3: Any) -> None:
    from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor

    kind, folder, original = sam3
    answers = {}
    pixels = source(folder).load().preprocess(pictures())
    for text in ("a disc", "a picture of a disc", "a bar"):
        answers[text] = answered(original, folder, pixels, text)
    scores = [one.pred_logits.sigmoid() * one.presence_logits.sigmoid() for one in answers.values()]
    threshold = float(torch.cat([*scores]).median())  # so that some count and some do not
    model = source(folder, score_threshold=threshold).load()
    assert len(model.report.dropped) == (2 if kind == "sam3_video" else 0)
    decoder = model.mask_decoder(TEXTS)
    with torch.no_grad():
        found = decoder(*model.encode_image_and_patches(pixels, decoder.blocks), None)
    assert not found[:, 0].any()
    counted = set()
    for place, sentences in enumerate(TEXTS[1:], 1):
        logits = torch.full_like(found[:, 0], -torch.inf)
        union = torch.zeros_like(logits, dtype=torch.bool)
        for sentence in sentences:
            one = answers[sentence]
            kept = Sam3ImageProcessor().post_process_instance_segmentation(one, threshold)
            for image, instances in enumerate(kept):
                counted.add(len(instances["masks"]))
                if len(instances["masks"]):
                    union[image] |= instances["masks"].any(dim=0)
            own = one.pred_logits.sigmoid() * one.presence_logits.sigmoid() > threshold
            masks = one.pred_masks.masked_fill(~own[:, :, None, None], -torch.inf)
            logits = torch.maximum(logits, masks.amax(dim=1))
        torch.testing.assert_close(found[:, place], logits, atol=1e-5, rtol=1e-5)
        certain = found[:, place].abs() > 1e-4
        assert torch.equal((found[:, place] > 0)[certain], union[certain])
    assert max(counted) > 1
    assert min(counted) < 5
    assert (found[:, 1] - found[:, 2]).nan_to_num().abs().max() > 0.01
    none = source(folder, score_threshold=0.999).load().mask_decoder(TEXTS)
    with torch.no_grad():
        found = none(*model.encode_image_and_patches(pixels, decoder.blocks), None)
    assert (found[:, 1:] == -torch.inf).all()


@pytest.mark.parametrize("sam3", ["sam3"], indirect=True)
@pytest.mark.parametrize("side", [64, 104])
def test_pixels_and_features_are_those_of_transformers(sam3: Any, side: int) -> None:
    """A resize of torchvision rounds a few greys otherwise than Pillow's, by one."""
    from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor

    _, folder, original = sam3
    model = source(folder).load()
    images = pictures(side)
    processor = Sam3ImageProcessor.from_pretrained(folder)
    wanted = processor(images=list(images), return_tensors="pt").pixel_values
    found = model.preprocess(images)
    step = 2 / 255
    assert (found - wanted).abs().max() < (1e-5 if side == 64 else step + 1e-5)
    assert ((found - wanted).abs() > 1e-5).float().mean() < 0.02
    with torch.no_grad():
        maps = original.vision_encoder(found).fpn_hidden_states
        torch.testing.assert_close(
            model.embed_image(found), maps[2].mean(dim=(2, 3)), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("sam3", ["sam3"], indirect=True)
def test_keys_that_do_not_fit_and_other_models_are_refused(sam3: Any, tmp_path: Path) -> None:
    _, folder, _ = sam3
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    checkpoints.save(
        state | {"tracker_neck.weight": torch.zeros(1)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(WeightsMismatchError, match=r"Left over: tracker_neck\.weight"):
        source(tmp_path).load()
    state.pop("dot_product_scoring.text_proj.weight")
    checkpoints.save(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsMismatchError, match=r"Missing: dot_product_scoring\.text_proj"):
        source(tmp_path).load()
    checkpoints.write_json(tmp_path / "config.json", {"model_type": "sam2"})
    with pytest.raises(WeightsMismatchError, match="describes 'sam2', not 'sam3'"):
        source(tmp_path).load()
    with pytest.raises(ConfigurationError, match=r"model\.score_threshold=1"):
        source(folder, score_threshold=1)
    with pytest.raises(ConfigurationError, match="of the background and of each class"):
        source(folder).load().mask_decoder([["nothing"]])


@pytest.mark.parametrize("sam3", ["sam3"], indirect=True)
def test_classes_are_outlined_by_their_names_in_a_run(sam3: Any, tmp_path: Path) -> None:
    low = source(sam3[1], score_threshold=0.0)
    cells = segmented.run(tmp_path, TASK, source=low)
    head = cells["clean", 0].head
    assert head["segmenter"] == "own"
    assert cells["clean", 0].arrays["predicted_area"].sum() > 0
