"""SAM and MedSAM outline what transformers' own does, from the same pixels, boxes and points."""

import re
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import segmented
import torch
from segmenters import write_random_sam
from torch.nn import functional

from medrobust.exceptions import ConfigurationError, UnknownNameError, WeightsMismatchError
from medrobust.models import SamCheckpoint
from medrobust.models.vision import VisionModel
from medrobust.tasks.segmentation import Segmentation

WEIGHTS = {
    "sam_vit_b_transformers": "model.safetensors",
    "sam_vit_b": "sam_vit_b_01ec64.pth",
    "medsam_vit_b": "medsam_vit_b.pth",
}

BOXES = torch.tensor([[[0.1, 0.2, 0.6, 0.7], [0.5, 0.0, 1.0, 0.5]], [[0.0, 0.0, 1.0, 1.0]] * 2])
POINTS = torch.tensor([[[0.3, 0.4], [0.9, 0.1]], [[0.5, 0.5], [0.02, 0.98]]])


@pytest.fixture(scope="module", params=sorted(WEIGHTS))
def sam(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, write_random_sam(folder, request.param)


def source(folder: Path, name: str) -> SamCheckpoint:
    return SamCheckpoint(
        name,
        "nobody/nothing",
        local_dir=str(folder),
        config=str(folder / "architecture.json"),
        weights=WEIGHTS[name],
        micro_batch=4,
    )


def pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 8, generator=generator)
    return (functional.interpolate(coarse, (64, 64), mode="bilinear") * 255).byte()


def wanted_of(original: Any, pixels: torch.Tensor, **prompts: torch.Tensor) -> torch.Tensor:
    """Return the low-resolution logits (n, K - 1, 16, 16) of transformers."""
    with torch.no_grad():
        found = original(pixel_values=pixels, multimask_output=False, **prompts)
    return found.pred_masks[:, :, 0]


@pytest.mark.parametrize("prompt", ["boxes", "points"])
def test_logits_are_those_of_transformers(sam, prompt: str) -> None:
    name, folder, original = sam
    model = source(folder, name).load()
    pixels = model.preprocess(pictures())
    decoder = model.mask_decoder(())
    given = BOXES if prompt == "boxes" else POINTS
    inputs = {"input_boxes": given * 64}
    if prompt == "points":
        inputs = {"input_points": given[:, :, None] * 64}
    low = wanted_of(original, pixels, **inputs)
    with torch.no_grad():
        found = decoder(*model.encode_image_and_patches(pixels, decoder.blocks), given)
    assert low.std() > 0.01
    assert (low[:, 0] - low[:, 1])[0].abs().max() > 0.001
    if name == "medsam_vit_b":
        wanted = low.sigmoid() - 0.5
    else:
        wanted = functional.interpolate(low, (64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(found[:, 0], torch.zeros_like(found[:, 0]))
    torch.testing.assert_close(found[:, 1:], wanted, atol=1e-5, rtol=1e-5)


def test_every_key_is_accounted_for_and_features_are_those_of_the_tower(sam) -> None:
    name, folder, original = sam
    whole = source(folder, name).load()
    assert not whole.report.dropped
    assert whole.report.used == len(original.state_dict()) - 1  # one tensor is there twice
    pixels = whole.preprocess(pictures())
    with torch.no_grad():
        truth = original.vision_encoder(pixels).last_hidden_state.mean(dim=(2, 3))
        torch.testing.assert_close(whole.embed_image(pixels), truth, atol=1e-5, rtol=0)


def test_a_class_without_a_box_has_no_pixel(sam) -> None:
    name, folder, _ = sam
    model = source(folder, name).load()
    decoder, boxes = model.mask_decoder(()), BOXES.clone()
    boxes[0, 1] = torch.nan
    encoded = model.encode_image_and_patches(model.preprocess(pictures()), decoder.blocks)
    with torch.no_grad():
        found, whole = decoder(*encoded, boxes), decoder(*encoded, BOXES)
    assert torch.equal(found[0, 2], torch.full_like(found[0, 2], -torch.inf))
    torch.testing.assert_close(found[0, 1], whole[0, 1])
    torch.testing.assert_close(found[1], whole[1])


def _copied(sam: Any, tmp_path: Path, change: Any) -> SamCheckpoint:
    name, folder, _ = sam
    for file in (WEIGHTS[name], "architecture.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    if name == "sam_vit_b_transformers":
        from safetensors.torch import load_file

        state = load_file(tmp_path / WEIGHTS[name])
    else:
        state = torch.load(tmp_path / WEIGHTS[name], weights_only=True)
    checkpoints.save(change(state), tmp_path / WEIGHTS[name])
    return source(tmp_path, name)


def test_a_file_of_the_image_encoder_alone_is_an_image_tower(sam, tmp_path: Path) -> None:
    prefixes = ("image_encoder.", "vision_encoder.")
    alone = _copied(
        sam, tmp_path, lambda state: {k: v for k, v in state.items() if k.startswith(prefixes)}
    ).load()
    assert type(alone) is VisionModel
    assert not hasattr(alone, "mask_decoder")


@pytest.mark.slow
def test_a_decoder_with_a_tensor_less_or_more_is_refused(sam, tmp_path: Path) -> None:
    key = "mask_decoder.iou_token.weight"

    def without(state: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in state.items() if name != key}

    with pytest.raises(WeightsMismatchError, match=f"Missing: {key}. Left over: none"):
        _copied(sam, tmp_path, without).load()
    odd = {"mask_decoder.hq_token.weight": torch.zeros(1, 16)}
    with pytest.raises(WeightsMismatchError, match=r"Left over: mask_decoder\.hq_token"):
        _copied(sam, tmp_path, lambda state: state | odd).load()


def test_the_published_decoder_has_the_sizes_and_keys_that_are_loaded() -> None:
    """What `sam_vit_b_01ec64.pth` holds beside its image encoder, written out by hand."""
    import timm

    from medrobust.models.sam import META, _prompted

    with torch.device("meta"):
        tower = timm.create_model("samvit_base_patch16", num_classes=0)
    prompted = _prompted(tower, 1024)
    keys = {}
    for key, value in prompted.state_dict().items():
        for rename in META:
            key = re.sub(rename.pattern, rename.replacement, key)
        keys[key] = tuple(value.shape)

    def both(*names: str) -> set[str]:
        return {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}

    attention = ("q_proj", "k_proj", "v_proj", "out_proj")
    layer = ["norm1", "norm2", "norm3", "norm4", "mlp.lin1", "mlp.lin2"]
    for one in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"):
        layer += [f"{one}.{part}" for part in attention]
    decoder = [f"transformer.layers.{n}.{name}" for n in range(2) for name in layer]
    decoder += [f"transformer.final_attn_token_to_image.{part}" for part in attention]
    decoder += ["transformer.norm_final_attn", *(f"output_upscaling.{n}" for n in (0, 1, 3))]
    decoder += [f"output_hypernetworks_mlps.{m}.layers.{n}" for m in range(4) for n in range(3)]
    decoder += [f"iou_prediction_head.layers.{n}" for n in range(3)]
    wanted = both(*(f"mask_decoder.{name}" for name in decoder))
    wanted |= {f"mask_decoder.{name}.weight" for name in ("iou_token", "mask_tokens")}
    wanted |= both(*(f"prompt_encoder.mask_downscaling.{n}" for n in (0, 1, 3, 4, 6)))
    singles = ("not_a_point_embed", "no_mask_embed", *(f"point_embeddings.{n}" for n in range(4)))
    wanted |= {f"prompt_encoder.{name}.weight" for name in singles}
    wanted |= {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"}
    assert set(keys) == wanted
    assert keys["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] == (2, 128)
    assert keys["mask_decoder.transformer.layers.0.mlp.lin1.weight"] == (2048, 256)
    assert keys["mask_decoder.iou_prediction_head.layers.2.weight"] == (4, 256)
    assert keys["mask_decoder.output_upscaling.3.weight"] == (64, 32, 2, 2)


def test_boxes_and_points_segment_in_a_run(tmp_path: Path) -> None:
    write_random_sam(tmp_path, "sam_vit_b")
    moved = Segmentation(prompt_corruption="shift", prompt_severities=[5])
    boxes = segmented.heads_of(tmp_path / "a", moved, source=source(tmp_path, "sam_vit_b"))
    assert boxes["own"].head["box"] == {"kind": "tight", "seed": 0}
    assert "prompt_overlap" not in boxes["own"].arrays
    kept = boxes["own, shift 5"].arrays["prompt_overlap"]
    shows = boxes["own"].arrays["true_area"] > 0
    assert ((kept < 0.8) & (kept > 0.3))[shows].all()
    assert np.isnan(kept[~shows]).all()
    assert (boxes["own"].arrays["predicted_area"][~shows] == 0).all()
    points = segmented.heads_of(
        tmp_path / "b", Segmentation(prompted_by="points"), source=source(tmp_path, "sam_vit_b")
    )
    assert points["own"].head["point"] == "deepest"
    areas = [one["own"].arrays["predicted_area"] for one in (boxes, points)]
    assert not np.array_equal(*areas)


def test_prompts_that_a_model_does_not_take_are_said_or_refused(tmp_path: Path, caplog) -> None:
    with caplog.at_level("INFO"):
        cells = segmented.heads_of(tmp_path, Segmentation(prompt_corruption=["shrink"]))
    assert list(cells) == ["own"]
    assert "segments by none: it has no row for them" in caplog.text
    with pytest.raises(ConfigurationError, match="a point has no size"):
        Segmentation(prompted_by="points", prompt_corruption="enlarge")
    with pytest.raises(ConfigurationError, match="6 is no severity; there are 1 to 5"):
        Segmentation(prompt_corruption="shift", prompt_severities=[6])
    with pytest.raises(ConfigurationError, match="text_corruption changes sentences"):
        Segmentation(text_corruption=object())
    with pytest.raises(UnknownNameError, match="turn"):
        Segmentation(prompt_corruption="turn")
