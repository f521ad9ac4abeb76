"""SAM 3 outlines what transformers' own finds, from the same pixels and sentences."""

from dataclasses import replace
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


class Small:
    """A random checkpoint, what is loaded from it, and what the original library answers."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPTokenizer

        self.folder = folder
        self.original = write_random_sam3(folder, "sam3")
        self.model = source(folder).load()
        self.pixels = self.model.preprocess(pictures())
        sentences = [sentence for sentences in TEXTS[1:] for sentence in sentences]
        tokens = CLIPTokenizer.from_pretrained(folder)(
            sentences, padding="max_length", max_length=32, return_tensors="pt"
        )
        self.answers = {}
        with torch.no_grad():
            for row, sentence in enumerate(sentences):
                asked = {key: value[[row, row]] for key, value in tokens.items()}
                self.answers[sentence] = self.original(pixel_values=self.pixels, **asked)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(tmp_path_factory.mktemp("sam3"))


def test_instances_are_those_of_transformers_and_a_class_is_their_union(small: Small) -> None:
    from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor

    scores = [
        one.pred_logits.sigmoid() * one.presence_logits.sigmoid() for one in small.answers.values()
    ]
    threshold = float(torch.cat(scores).median())  # so that some count and some do not
    decoder = replace(small.model.mask_decoder(TEXTS), score_threshold=threshold)
    with torch.no_grad():
        encoded = small.model.encode_image_and_patches(small.pixels, decoder.blocks)
        found = decoder(*encoded, None)
        none = replace(decoder, score_threshold=0.999)(*encoded, None)
    assert not found[:, 0].any()
    assert (none[:, 1:] == -torch.inf).all()
    counted = set()
    for place, sentences in enumerate(TEXTS[1:], 1):
        logits = torch.full_like(found[:, 0], -torch.inf)
        union = torch.zeros_like(logits, dtype=torch.bool)
        for sentence in sentences:
            one = small.answers[sentence]
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


@pytest.mark.slow
def test_a_file_for_videos_holds_the_same_model_and_a_tracker(small: Small, tmp_path: Path) -> None:
    write_random_sam3(tmp_path, "sam3_video")
    model = source(tmp_path).load()
    assert len(model.report.dropped) == 2
    assert model.preprocess == small.model.preprocess
    ours, theirs = model.state_dict(), small.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("side", [64, 104])
def test_pixels_and_features_are_those_of_transformers(small: Small, side: int) -> None:
    """A resize of torchvision rounds a few greys otherwise than Pillow's, by one."""
    from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor

    images = pictures(side)
    processor = Sam3ImageProcessor.from_pretrained(small.folder)
    wanted = processor(images=list(images), return_tensors="pt").pixel_values
    found = small.model.preprocess(images)
    step = 2 / 255
    assert (found - wanted).abs().max() < (1e-5 if side == 64 else step + 1e-5)
    assert ((found - wanted).abs() > 1e-5).float().mean() < 0.02
    with torch.no_grad():
        maps = small.original.vision_encoder(found).fpn_hidden_states
        torch.testing.assert_close(
            small.model.embed_image(found), maps[2].mean(dim=(2, 3)), atol=1e-5, rtol=0
        )


def test_keys_that_do_not_fit_and_other_models_are_refused(small: Small, tmp_path: Path) -> None:
    for file in small.folder.iterdir():
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
        source(small.folder, score_threshold=1)
    with pytest.raises(ConfigurationError, match="of the background and of each class"):
        small.model.mask_decoder([["nothing"]])


@pytest.mark.slow
def test_classes_are_outlined_by_their_names_in_a_run(small: Small, tmp_path: Path) -> None:
    low = source(small.folder, score_threshold=0.0)
    cells = segmented.run(tmp_path, TASK, source=low)
    head = cells["clean", 0].head
    assert head["segmenter"] == "own"
    assert cells["clean", 0].arrays["predicted_area"].sum() > 0
