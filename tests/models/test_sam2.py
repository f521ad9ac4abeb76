"""SAM 2 outlines what transformers' own does, from the same pixels, boxes and points."""

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import segmented
import torch
from safetensors.torch import load_file
from segmenters import write_random_sam2

from medrobust.exceptions import WeightsMismatchError
from medrobust.models import TransformersSam2
from medrobust.tasks.segmentation import Segmentation

BOXES = torch.tensor([[[0.1, 0.2, 0.6, 0.7], [0.5, 0.0, 1.0, 0.5]], [[0.0, 0.0, 1.0, 1.0]] * 2])
POINTS = torch.tensor([[[0.3, 0.4], [0.9, 0.1]], [[0.5, 0.5], [0.02, 0.98]]])


def pictures() -> torch.Tensor:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    return torch.from_numpy(coarse.repeat(8, axis=2).repeat(8, axis=3))


def source(folder: Path) -> TransformersSam2:
    return TransformersSam2("sam2", "nobody/nothing", local_dir=str(folder), micro_batch=4)


@pytest.fixture(scope="module", params=["sam2", "sam2_video"])
def sam2(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, write_random_sam2(folder, request.param)


@pytest.mark.parametrize("prompt", ["boxes", "points"])
def test_logits_are_those_of_transformers(sam2: Any, prompt: str) -> None:
    kind, folder, original = sam2
    model = source(folder).load()
    assert len(model.report.dropped) == (2 if kind == "sam2_video" else 0)
    pixels = model.preprocess(pictures())
    decoder = model.mask_decoder(())
    given = BOXES if prompt == "boxes" else POINTS
    inputs = {"input_boxes": given * 64}
    if prompt == "points":
        inputs = {"input_points": given[:, :, None] * 64}
    with torch.no_grad():
        found = decoder(*model.encode_image_and_patches(pixels, decoder.blocks), given)
        wanted = original(pixel_values=pixels, multimask_output=False, **inputs).pred_masks[:, :, 0]
        embedding = original.get_image_embeddings(pixels)[-1].mean(dim=(2, 3))
        torch.testing.assert_close(model.embed_image(pixels), embedding, atol=1e-5, rtol=0)
    assert wanted.shape == (2, 2, 16, 16)
    assert wanted.std() > 0.01
    assert (wanted[:, 0] - wanted[:, 1])[0].abs().max() > 0.001
    torch.testing.assert_close(found[:, 1:], wanted, atol=1e-5, rtol=1e-5)
    assert not found[:, 0].any()


@pytest.mark.parametrize("sam2", ["sam2"], indirect=True)
def test_a_box_that_lacks_and_keys_that_do_not_fit(sam2: Any, tmp_path: Path) -> None:
    _, folder, _ = sam2
    model = source(folder).load()
    decoder, boxes = model.mask_decoder(()), BOXES.clone()
    boxes[0, 1] = torch.nan
    with torch.no_grad():
        encoded = model.encode_image_and_patches(model.preprocess(pictures()), decoder.blocks)
        found = decoder(*encoded, boxes)
    assert torch.equal(found[0, 2], torch.full_like(found[0, 2], -torch.inf))
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    state["mask_decoder.hq_token.weight"] = torch.zeros(1)
    checkpoints.save(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsMismatchError, match=r"Left over: mask_decoder\.hq_token"):
        source(tmp_path).load()
    checkpoints.write_json(tmp_path / "config.json", {"model_type": "sam"})
    with pytest.raises(WeightsMismatchError, match="describes 'sam', not 'sam2'"):
        source(tmp_path).load()


@pytest.mark.parametrize("sam2", ["sam2"], indirect=True)
def test_boxes_segment_in_a_run(sam2: Any, tmp_path: Path) -> None:
    cells = segmented.heads_of(tmp_path, Segmentation(), source=source(sam2[1]))
    arrays = cells["own"].arrays
    shows = arrays["true_area"] > 0
    assert (arrays["predicted_area"][~shows] == 0).all()
    assert np.isfinite(arrays["nsd"]).all()
